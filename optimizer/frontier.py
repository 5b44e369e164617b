"""Cost at equal SLO: frontiers of (bad share, cost), and what one costs at the service level of another. Pure.

A frontier is what a stack's settings attain: the points that no other of them beats in both. Between neighbours cost
is linear in log(bad share); beyond its ends nothing is said (NaN), since nobody ran it. Shared by `trimtab evaluate`,
`trimtab tune` and reports. All functions work on rows at once: R resamples, K settings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
LEAST_BAD = 1e-6  # bad shares below one in a million are not told apart


class Frontier(NamedTuple):
    """(R, K) points by rising bad share. on: the point is on the frontier, where cost falls from point to point."""

    bad: F8  # at least LEAST_BAD
    cost: F8
    on: NDArray[np.bool_]

    @property
    def range(self) -> tuple[F8, F8]:
        """(R,) least and greatest bad share on it."""
        low = np.where(self.on, self.bad, np.inf).min(axis=1)
        high = np.where(self.on, self.bad, -np.inf).max(axis=1)
        return low, high


def frontier(bad: F8, cost: F8) -> Frontier:
    """bad, cost: (R, K) or (K,) of a stack's settings, in any order."""
    shares, costs = np.atleast_2d(np.maximum(bad, LEAST_BAD)), np.atleast_2d(cost)
    order = np.lexsort((costs, shares), axis=1)
    shares, costs = np.take_along_axis(shares, order, axis=1), np.take_along_axis(costs, order, axis=1)
    before = np.minimum.accumulate(costs, axis=1)
    cheaper = np.ones(costs.shape, np.bool_)
    cheaper[:, 1:] = costs[:, 1:] < before[:, :-1]
    return Frontier(shares, costs, cheaper)


def cost_at(front: Frontier, bad: F8 | float) -> F8:
    """(R,) what the frontier costs at each bad share; NaN outside its range.

    Worked: points (0.1 %, $200) and (1 %, $100); at 0.316 % = 10^-2.5, half way in the logarithm, $150.
    """
    at = np.broadcast_to(np.maximum(np.asarray(bad, np.float64), LEAST_BAD), front.bad.shape[:1])[:, None]
    K = front.bad.shape[1]
    left, right = front.on & (front.bad <= at), front.on & (front.bad >= at)
    i, j = K - 1 - np.argmax(left[:, ::-1], axis=1), np.argmax(right, axis=1)
    rows = np.arange(len(i))
    low, high = np.log(front.bad[rows, i]), np.log(front.bad[rows, j])
    span = np.where(high > low, high - low, 1.0)
    share = np.clip((np.log(at[:, 0]) - low) / span, 0.0, 1.0)
    between = front.cost[rows, i] * (1.0 - share) + front.cost[rows, j] * share
    return np.where(left.any(axis=1) & right.any(axis=1) & np.isfinite(at[:, 0]), between, np.nan)


def why_no_overlap(front: Frontier, bad: float) -> str:
    """One clause on why `cost_at` of a single frontier says nothing; empty where it does."""
    low, high = (float(edge[0]) for edge in front.range)
    if not np.isfinite(bad):
        return "its own frontier says nothing there"
    at = max(bad, LEAST_BAD)
    if at < low:
        return f"{100 * at:.3g} % bad is less than its safest setting has ({100 * low:.3g} %)"
    return f"{100 * at:.3g} % bad is more than its cheapest setting has ({100 * high:.3g} %)" if at > high else ""


def cheapest_no_worse(bad: F8, cost: F8, missed: F8, *, bad_at: float, missed_at: float) -> float:
    """Least cost among settings (K,) with a bad share and missed SLOs no higher than these; NaN when none is.

    The rule against a single point, such as an incumbent's defaults: nothing is interpolated.
    """
    fits = (bad <= bad_at * (1.0 + 1e-12)) & (missed <= missed_at + 1e-9)
    return float(cost[fits].min()) if fits.any() else float("nan")
