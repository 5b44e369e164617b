"""What had been measured of load: before a scenario begins, and which minutes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from envs.demand import Demand
from envs.history import Series
from envs.scenario import Scenario, TraceDemand

F8 = NDArray[np.float64]
DAY_S = 86_400.0


def backfill(scenario: Scenario, wanted_s: float) -> list[F8]:
    """Load of the days before time 0, (n, W) requests per tick, oldest first, a day each.

    As far back as every workload's trace goes (the horizon may start inside a trace: offset), at most wanted_s.
    Empty where a load is generated or begins with the horizon: then the fleet's table decides at first.
    """
    reach = [_reach_s(scenario, w) for w in range(len(scenario.demand))]
    past_s = np.floor(min([wanted_s, *reach]) / 3600.0) * 3600.0
    if past_s <= 0:
        return []
    shifted = tuple(replace(d, offset_s=d.offset_s - past_s) for d in scenario.demand if isinstance(d, TraceDemand))
    before = replace(scenario, demand=shifted, horizon_s=past_s, warmup_s=0.0)
    demand = Demand.pack([before], [scenario.seed + 7919])  # other noise than the horizon's
    day, total = round(DAY_S / scenario.tick_s), round(past_s / scenario.tick_s)
    return [demand.arrivals(t, min(day, total - t))[0] for t in range(0, total, day)]


def _reach_s(scenario: Scenario, w: int) -> float:
    demand = scenario.demand[w]
    return demand.offset_s if isinstance(demand, TraceDemand) else 0.0


def alike(measured: NDArray[np.bool_]) -> Iterator[slice]:
    """Stretches of time in which the same workloads were measured. measured: (n, W)."""
    cuts = np.flatnonzero((measured[1:] != measured[:-1]).any(axis=1)) + 1
    edges = [0, *cuts.tolist(), len(measured)]
    return (slice(a, b) for a, b in pairwise(edges))


def measured_steps(series: Series, start_s: float, step_s: float, count: int) -> NDArray[np.bool_]:
    """(count,) whether each step from start_s on lies between samples that follow one another and are known.

    What a straight line bridges is load to go through, and nothing to learn from.
    """
    middle = start_s + step_s * (np.arange(count) + 0.5)
    after = np.clip(np.searchsorted(series.time_s, middle, side="right"), 1, len(series.time_s) - 1)
    near = series.time_s[after] - series.time_s[after - 1] <= 1.5 * series.step_s
    held = (middle < series.time_s[0]) | (middle > series.time_s[-1])
    return np.asarray((near | held) & series.known[after] & series.known[after - 1])
