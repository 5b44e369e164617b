"""What a forecaster learns from: drawn services on recorded and made-up load, as a policy would see it, and what came.

Each sample is a service at some minute and one of its two leads: the load columns of the observation, the lead, and
log2 of the load then over the load now, both measured minutes with their noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.demand import Demand
from envs.load_past import PAST, LoadPast
from envs.observation import KNOWS_PART, knows_rows, logarithm, past_rows, table
from envs.plain import Array
from envs.recorded_past import past_rates
from envs.world_draw import DAY_S, Draw, LoadSource, draw_scenario
from policies.forecast import KINDS, LONGEST_MIN, SEEN, inputs, leads_min

MINUTE_S = 60.0
RANGE = 3.0  # log2 ratios are held to +-3, as the columns are


@dataclass(frozen=True, eq=False)
class Samples:
    """n samples. kind: index into KINDS; service: which drawn service, so that its samples stay together."""

    given: NDArray[np.float32]  # (n, len(INPUTS))
    came: NDArray[np.float32]  # (n,)
    kind: NDArray[np.int64]
    service: NDArray[np.int64]


def gather_samples(
    loads: Sequence[LoadSource], *, services: int, days: float, every_min: int, seed: int, generated: float = 0.1
) -> Samples:
    """Services drawn on these series, every so many minutes of so many days, under both leads."""
    rng = np.random.default_rng([seed, 41])
    scenario = draw_scenario(rng, loads, Draw(days * DAY_S, workloads=services, generated=generated, spot=0.0))
    demand = Demand.pack([scenario], [scenario.seed])
    ticks, minutes = round(MINUTE_S / scenario.tick_s), round(days * 1440)
    rates = demand.arrivals(0, minutes * ticks)[0].reshape(minutes, ticks, services).sum(axis=1) / MINUTE_S
    leads = np.ceil(leads_min(np.array([w.start_delay_s for w in scenario.cluster.workloads]))).astype(int)
    past = LoadPast(services)
    past.extend(past_rates(demand, [scenario]))
    parts = []
    for minute in range(minutes - round(LONGEST_MIN)):
        past.push(rates[minute])
        if minute % every_min == 0:
            parts.append(_at(rates, minute, leads, past.read()))
    given, came = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    rows = len(KINDS) * services
    return Samples(
        given,
        came,
        np.tile(np.repeat(np.arange(len(KINDS)), services), len(came) // rows),
        np.tile(np.arange(services), len(came) // services),
    )


def _at(rates: Array, minute: int, leads: NDArray[np.int64], past: Array) -> tuple[Any, Any]:
    """(inputs, log2 ratios) of every service under both leads, at the end of this minute."""
    now = rates[minute]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        seen = table([past_rows(now, past), knows_rows(past)], (*PAST, *KNOWS_PART), SEEN)
    given = [inputs(seen, minutes) for minutes in leads]
    came = [logarithm(rates[minute + minutes, np.arange(len(now))], now) for minutes in leads]
    return np.concatenate(given), np.clip(np.concatenate(came), -RANGE, RANGE).astype(np.float32)
