"""Residual set-points: what a learned policy adds to the tuned base, per workload.

The base is the constant set-point that cost the training fleet least at the workload's violation price (the table
behind `envs.setpoints.fleet_regret`), so a policy that answers 0 is the tuned requests-per-second target. An action
in [-1, 1] moves it:

    share    = base share  x exp(SHARE_SPAN x action[0])      load of a replica / its capacity
    window_s = base window x exp(WINDOW_SPAN x action[1])     HPA scale-down stabilization

Both are held to what a plan may write (envs.action). Used by the vector environment, by `policies.learned` and by
replay; there is no second decoder.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from envs.action import HIGH_SHARE, LOW_SHARE
from envs.plain import Array
from envs.setpoints import GRID, fleet_table

ACTIONS = ("share", "window")
SHARE_SPAN = 0.7
WINDOW_SPAN = 2.0
SHORTEST_S, LONGEST_S = 15.0, 1800.0
DIGITS = 4  # actions are rounded: matrix products differ in the last bits with the size of the batch


@lru_cache(maxsize=1)
def _base_table() -> tuple[Array, Array, Array]:
    """(log price, log share, log window) of the best constant at each price of the fleet's table."""
    table = fleet_table()
    best = np.array(table["log_regret"]["requests_per_second"]).reshape(len(table["prices"]), -1).argmin(axis=1)
    points = np.log(np.array(GRID)[best])
    return np.log(table["prices"]), points[:, 0], points[:, 1]


def base_set_points(violation_price: Array) -> tuple[Array, Array]:
    """((N,) share, (N,) window s) of the tuned base; between the table's prices logarithms are interpolated."""
    price, share, window = _base_table()
    at = np.log(np.maximum(violation_price, 1e-9))
    return np.exp(np.interp(at, price, share)), np.exp(np.interp(at, price, window))


def set_points(action: Array, violation_price: Array, scaling: Array | float = 1.0) -> tuple[Array, Array]:
    """((N,) share, (N,) whole seconds) that an action (N, 2) asks for.

    scaling: a factor on the share, as replay tries several. NaN in an action counts as 0.
    """
    return moved(base_set_points(violation_price), action, scaling)


class Steer(NamedTuple):
    """How rows get their set-points, (N,) each: a network moves the base of `told` scaled by `scaling`, or they are
    held at share and window_s, NaN where they are not.
    """

    told: Array
    scaling: Array
    share: Array
    window_s: Array


def steered_points(action: Array, steer: Steer, base: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
    """((N,) share, (N,) seconds): what an action (N, 2) asks for, where the row is not held.

    base: `base_set_points` of what the rows are told, where that is known already.
    """
    share, window = moved(base_set_points(steer.told) if base is None else base, action, steer.scaling)
    held = ~np.isnan(steer.share)
    return np.where(held, steer.share, share), np.where(held, steer.window_s, window)


def moved(base: tuple[Array, Array], action: Array, scaling: Array | float = 1.0) -> tuple[Array, Array]:
    """`set_points` from a base that is known already."""
    share, window = base
    a = np.minimum(np.maximum(np.asarray(action, np.float64), -1.0), 1.0)
    a[np.isnan(a)] = 0.0
    a = np.round(a, DIGITS)
    share = np.minimum(np.maximum(share * scaling * np.exp(SHARE_SPAN * a[:, 0]), LOW_SHARE), HIGH_SHARE)
    window = np.rint(window * np.exp(WINDOW_SPAN * a[:, 1]))
    return share, np.minimum(np.maximum(window, SHORTEST_S), LONGEST_S)
