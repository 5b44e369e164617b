"""What had been measured of a scenario's load before it begins: what replay starts from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from envs.demand import Demand
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
