"""When spot nodes are taken back: f(seed, names), the same for every stack.

A node's hazard h is split: (1 - together) h comes alone, the rest in shocks to all nodes of a (type, zone), at
rate together x h / shock_share, each of which takes every node with probability shock_share. So the mean rate is
h(1 - together) + (together h / shock_share) shock_share = h, whatever the split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.cluster import InstanceType
from envs.fault_draws import DAY_S, day_stream
from envs.spot import SpotMarket


@dataclass(frozen=True)
class Shock:
    """The market of one (type, zone) dries up: some nodes are taken, and there are no new ones until until_s."""

    at_s: float
    until_s: float


def shocks(spot: SpotMarket, machine: InstanceType, key: str, seed: int, horizon_s: float) -> list[Shock]:
    """Shocks of one (type, zone), a Poisson process drawn day by day; stock-outs last exponentially long."""
    if spot.together <= 0:
        return []
    per_day = 24.0 * spot.hazard_per_h(machine) * spot.together / spot.shock_share
    out: list[Shock] = []
    for day in range(math.ceil(horizon_s / DAY_S)):
        rng = day_stream(seed, "spot-shock", day, key)
        count = int(rng.poisson(per_day))
        starts = np.sort(DAY_S * (day + rng.random(count)))
        lengths = rng.exponential(spot.stockout_s, count)
        out += [Shock(float(t), float(t + x)) for t, x in zip(starts, lengths, strict=True) if t < horizon_s]
    return out


def single_notices(
    spot: SpotMarket, machine: InstanceType, group: str, most: int, *, seed: int, horizon_s: float
) -> list[tuple[float, int]]:
    """(time, rank) of nodes that are taken back alone; ranks as in `envs.fault_draws.crash_ranks`."""
    per_day = 24.0 * spot.hazard_per_h(machine) * (1.0 - spot.together) * most
    out: list[tuple[float, int]] = []
    for day in range(math.ceil(horizon_s / DAY_S)):
        rng = day_stream(seed, "spot", day, group)
        count = int(rng.poisson(per_day))
        times, ranks = DAY_S * (day + rng.random(count)), rng.integers(0, most, count)
        out += [(float(t), int(r)) for t, r in zip(times, ranks, strict=True) if t < horizon_s]
    return out


def shock_notices(
    spot: SpotMarket, found: list[Shock], group: str, most: int, *, seed: int, horizon_s: float
) -> list[tuple[float, int]]:
    """(time, rank) of nodes of one group that shocks take, within shock_spread_s of each; highest rank first.

    A node that is taken leaves its rank to the next one, so the ranks of one shock are taken from the top down.
    """
    out: list[tuple[float, int]] = []
    for i, shock in enumerate(found):
        rng = day_stream(seed, "spot-taken", i, group)
        ranks = np.flatnonzero(rng.random(most) < spot.shock_share)[::-1]
        times = np.sort(shock.at_s + spot.shock_spread_s * rng.random(len(ranks)))
        out += [(float(t), int(r)) for t, r in zip(times, ranks, strict=True) if t < horizon_s]
    return out
