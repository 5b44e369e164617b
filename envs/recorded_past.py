"""The load recorded before a simulation begins: what a policy looks back on, and load for the first replay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.demand import Demand
from envs.load_past import DAY_MIN, KEPT_MIN
from envs.plain import Array
from envs.scenario import Scenario, TraceDemand
from envs.sim.arrivals import fill_rates

MINUTE_S = 60.0
ALL = range(-KEPT_MIN, 0)  # minutes before time 0


def past_rates(demand: Demand, scenarios: Sequence[Scenario], minutes: range = ALL) -> Array:
    """(len(minutes), N) requests/s of these minutes before time 0, as far as each trace goes back; else NaN.

    A live agent reads the same from its metrics store. Made-up load begins with the horizon: no past.
    """
    B, W = demand.shape
    since_s = KEPT_MIN * MINUTE_S
    load = demand.load._replace(offset_s=demand.load.offset_s - since_s)
    out = np.empty((B, len(minutes), W))
    for b in range(B):
        fill_rates(load, b, minutes.start + KEPT_MIN, MINUTE_S, out[b])
    recorded = [[isinstance(d, TraceDemand) for d in s.demand] for s in scenarios]
    start_s = (np.array(minutes) + KEPT_MIN) * MINUTE_S - since_s
    known = np.array(recorded)[:, None] & (start_s[:, None] + demand.load.offset_s[:, None] >= 0.0)
    return np.where(known, out, np.nan).transpose(1, 0, 2).reshape(len(minutes), B * W)


def usual_rates(scenario: Scenario) -> Array:
    """(W,) requests/s: the mean of the day before time 0, as far as it was recorded, else what arrives at time 0."""
    demand = Demand.pack([scenario], [scenario.seed])
    past = past_rates(demand, [scenario], range(-DAY_MIN, 0))
    known = np.isfinite(past)
    mean = np.where(known, past, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), mean, demand.rates(0, 1)[0, 0])
