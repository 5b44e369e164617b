"""What is known of a scenario's load when it begins: what had been measured before time 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.demand import Demand
from envs.load_past import DAY_MIN
from envs.plain import Array
from envs.scenario import Scenario, TraceDemand
from envs.sim.arrivals import fill_rates

MINUTE_S = 60.0


def past_rates(demand: Demand, scenarios: Sequence[Scenario], minutes: int) -> Array:
    """(minutes, N) requests/s of the minutes before time 0, as far as each trace goes back; else NaN.

    A live agent reads the same from its metrics store. Made-up load begins with the horizon: no past.
    """
    B, W = demand.shape
    back_s = minutes * MINUTE_S
    offset = demand.load.offset_s
    load = demand.load._replace(offset_s=offset - back_s)
    out = np.empty((B, minutes, W))
    for b in range(B):
        fill_rates(load, b, 0, MINUTE_S, out[b])
    start_s = np.arange(minutes) * MINUTE_S - back_s
    known = np.zeros((B, minutes, W), bool)
    for b, s in enumerate(scenarios):
        for w, d in enumerate(s.demand):
            if isinstance(d, TraceDemand):
                known[b, :, w] = start_s + offset[b, w] >= 0.0
    return np.where(known, out, np.nan).transpose(1, 0, 2).reshape(minutes, B * W)


def usual_rates(scenario: Scenario) -> Array:
    """(W,) requests/s: the mean of the day before time 0, as far as it was measured, else what arrives at time 0."""
    demand = Demand.pack([scenario], [scenario.seed])
    past = past_rates(demand, [scenario], DAY_MIN)
    known = np.isfinite(past)
    mean = np.where(known, past, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), mean, demand.rates(0, 1)[0, 0])
