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
HALF_HOUR_MIN, FEWEST = 30, 4
ALL = range(-KEPT_MIN, 0)  # minutes before time 0


def past_rates(demand: Demand, scenarios: Sequence[Scenario], minutes: range = ALL) -> Array:
    """(len(minutes), N) requests/s of these minutes before time 0, as far as each trace goes back; else NaN.

    A live agent reads the same from its metrics store. Made-up load begins with the horizon: no past.
    """
    B, W = demand.shape
    since_s = KEPT_MIN * MINUTE_S
    load = demand.load._replace(offset_s=demand.load.offset_s - since_s)
    out = np.empty((B, len(minutes), W))
    fill_rates(load, minutes.start + KEPT_MIN, MINUTE_S, out)
    recorded = [[isinstance(d, TraceDemand) for d in s.demand] for s in scenarios]
    start_s = (np.array(minutes) + KEPT_MIN) * MINUTE_S - since_s
    known = np.array(recorded)[:, None] & (start_s[:, None] + demand.load.offset_s[:, None] >= 0.0)
    return np.where(known, out, np.nan).transpose(1, 0, 2).reshape(len(minutes), B * W)


def past_day(scenario: Scenario) -> Array:
    """(1440, W) requests/s by minute of the day before time 0; NaN where none is recorded."""
    demand = Demand.pack([scenario], [scenario.seed])
    return past_rates(demand, [scenario], range(-DAY_MIN, 0))


def usual_rates(scenario: Scenario, day: Array) -> Array:
    """(W,) requests/s: the mean of the day before, as far as it was recorded, else what arrives at time 0."""
    known = np.isfinite(day)
    mean = np.where(known, day, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    if known.any(axis=0).all():
        return np.asarray(mean)
    now = Demand.pack([scenario], [scenario.seed]).rates(0, 1)[0, 0]
    return np.where(known.any(axis=0), mean, now)


def roughness(day: Array) -> Array:
    """(W,) how far the highest minute of a half hour stands over its mean, as a logarithm: the mean over the day.

    day (minutes, W): whole half hours. NaN where fewer than four half hours were recorded throughout.
    """
    by_half_hour = day.reshape(-1, HALF_HOUR_MIN, day.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        over = np.log(by_half_hour.max(axis=1) / by_half_hour.mean(axis=1))
    known = np.isfinite(over)
    mean = np.where(known, over, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.sum(axis=0) >= FEWEST, mean, np.nan)
