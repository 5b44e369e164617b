"""What the lower bound on cost is computed from: tables of demand and machines. Plain data, NumPy only.

Axes: W workloads, G kinds of node, R resources, T blocks of time, E prices of a bad request, Q prices of a
waiting one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
# Prices of a bad request and of a waiting one, in what a request costs that keeps its slot busy all the time.
PRICES: F8 = np.asarray(1.25 * 1.6 ** np.arange(28.0), np.float64)
WAITS: F8 = np.array([0.0, 1.0, 1.26, 1.6, 2.0, 2.6, 3.5, 5.0])
SLACK = 1e-6  # of the bill: what rounding may put a bound above it
VOID = -1e12  # a table's value below it says nothing


def is_broken(bound_usd: float, bill_usd: float) -> bool:
    """Whether a bound is above a bill that was paid at its service level, which no bound can be: a defect."""
    return bound_usd > bill_usd * (1.0 + SLACK) + 1e-9


def defect(of: str, bound_usd: float, bill_usd: float) -> str:
    """What is said of a broken bound."""
    return (
        f"error: the lower bound of {of} is ${bound_usd:,.2f} where ${bill_usd:,.2f} was paid. No bound can be above a "
        "bill: this is a defect of Trimtab, and the figure is left out. Please report the scenario"
    )


@dataclass(frozen=True)
class ServiceTable:
    """A service. least[t, q, e]: replica-seconds in block t, plus PRICES[e] x unit_s for each bad request plus
    WAITS[q] x unit_s + PRICES[e] x unit_s x idle_bad for each request that waits more at its end than at its
    start, at the very least.
    """

    unit_s: float  # replica-seconds that one request takes at least
    idle_bad: float  # share that is bad even with nobody waiting
    least: F8  # (T, Q, E)


@dataclass(frozen=True)
class WorkTable:
    """A queue or batch workload. A good item that came in block t is worked on in blocks t to t + reach."""

    unit_s: float
    items: F8  # (T,)
    reach: int


@dataclass(frozen=True)
class Machines:
    """What nodes cost and hold.

    price: USD a second, the least in each block. share: the part of a node's resource that one pod takes; what fits
    on a node adds up to at most 1 of each. floor: nodes that are always there. on_demand: what a commitment covers.
    """

    price: F8  # (G, T)
    floor: F8  # (G,)
    share: F8  # (W, G, R)
    allowed: NDArray[np.bool_]  # (W, G)
    on_demand: NDArray[np.bool_]  # (G,)


@dataclass(frozen=True)
class Foresight:
    """All that a clairvoyant would know of one scenario and seed."""

    tables: tuple[ServiceTable | WorkTable, ...]  # (W,)
    machines: Machines
    block_s: F8  # (T,) seconds in each block
    offered: F8  # (W,) requests within the horizon
    promised: tuple[float, float] = (0.0, 0.0)  # committed use: USD a second, and the share off on demand


@dataclass(frozen=True)
class Served:
    """A service level: requests offered, good and bad, (W,) each. What is neither good nor bad still waits."""

    offered: F8
    good: F8
    bad: F8
