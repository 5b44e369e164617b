"""When faults come: f(seed, names), never of what a stack did, so every stack meets the same ones."""

from __future__ import annotations

import math

import numpy as np

from envs.faults import AFTERMATH_S, Fault
from envs.load_noise import key_of

DAY_S = 86_400.0


def windows(fault: Fault, seed: int, horizon_s: float) -> list[tuple[float, float]]:
    """(start, end) of each occurrence within the horizon, in order, overlapping ones joined.

    At a rate they are a Poisson process, drawn day by day: a longer horizon keeps the days it had.
    """
    starts = [fault.at_s] if fault.at_s is not None else _random_starts(fault, seed, horizon_s)
    return joined([(s, min(s + fault.duration_s, horizon_s)) for s in starts if s < horizon_s])


def joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, overlapping and touching ones as one."""
    out: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def _random_starts(fault: Fault, seed: int, horizon_s: float) -> list[float]:
    if fault.per_day <= 0:
        return []
    starts: list[float] = []
    for day in range(math.ceil(horizon_s / DAY_S)):
        rng = day_stream(seed, fault.name, day)
        starts.extend(np.sort(DAY_S * (day + rng.random(rng.poisson(fault.per_day)))).tolist())
    return starts


def day_stream(seed: int, name: str, day: int, *more: str) -> np.random.Generator:
    """The random numbers of one fault on one day."""
    return np.random.Generator(np.random.Philox(key=key_of(seed, "fault", name, *more, str(day))))


def crash_ranks(fault: Fault, pool: str, most: int, *, seed: int, horizon_s: float) -> list[tuple[float, int]]:
    """(time, rank) of crashes at `per_node_hour` in a pool of at most `most` nodes.

    A Poisson process of rate x most, each point with a rank that is uniform over 0..most-1: the node of that
    rank crashes, and nothing happens when the pool has fewer nodes. So each node that is there crashes at
    exactly that rate, whatever the stack keeps, and all stacks meet the same points.
    """
    out: list[tuple[float, int]] = []
    for day in range(math.ceil(horizon_s / DAY_S)):
        rng = day_stream(seed, fault.name, day, pool)
        count = int(rng.poisson(fault.per_node_hour * 24.0 * most))
        times = np.sort(DAY_S * (day + rng.random(count)))
        ranks = rng.integers(0, most, count)
        out += [(float(t), int(r)) for t, r in zip(times, ranks, strict=True) if t < horizon_s]
    return out


def crash_choices(fault: Fault, pool: str, *, seed: int) -> list[float]:
    """`nodes` numbers in [0, 1): each picks the node at that place among those of the pool that are left."""
    rng = np.random.Generator(np.random.Philox(key=key_of(seed, "fault", fault.name, pool)))
    return [float(u) for u in rng.random(fault.nodes)]


def aftermath(
    fault: Fault, seed: int, horizon_s: float, pools: dict[str, int]
) -> tuple[list[tuple[float, float]], int]:
    """(spans in which a fault's harm is counted, occurrences): from each start to AFTERMATH_S past its end, joined.

    pools: most nodes of each pool, for crashes at a rate, which are counted whether or not they hit a node.
    """
    if fault.kind == "node-crash" and fault.per_node_hour > 0:
        names = [fault.pool] if fault.pool is not None else list(pools)
        ranks = [crash_ranks(fault, name, pools[name], seed=seed, horizon_s=horizon_s) for name in names]
        spans = [(t, t) for points in ranks for t, _ in points]
    else:
        spans = windows(fault, seed, horizon_s)
    return joined([(start, min(end + AFTERMATH_S, horizon_s)) for start, end in spans]), len(spans)
