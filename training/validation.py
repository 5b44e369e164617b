"""Is a stage better than the one before? Paired costs on worlds whose series training never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.observation import encode_rows
from envs.plain import Array
from envs.set_point_action import ACTIONS
from envs.stack import Stack
from envs.workload_batch import WorkloadBatch
from envs.world_draw import Draw, LoadSource, draw_scenario

Act = Callable[[NDArray[np.float32]], Array]
PRICES = (30.0, 100.0, 300.0, 1000.0)
RESAMPLES = 2000


def idle(observation: NDArray[np.float32]) -> Array:
    """The tuned base: no correction."""
    return np.zeros((len(observation), len(ACTIONS)))


@dataclass(frozen=True)
class Judged:
    """Per price: mean cost, log ratio to the base with its 95 % interval; observations seen, for the envelope."""

    rows: list[tuple[float, float, float, float, float, float]]  # price, cost, base cost, log ratio, low, high
    seen: NDArray[np.float32]

    @property
    def better(self) -> bool:
        """Whether the mean log ratio's interval, over all prices, is below 0."""
        return self.overall[2] < 0.0

    overall: tuple[float, float, float] = (0.0, 0.0, 0.0)


def judge(
    act: Act, loads: Sequence[LoadSource], stacks: Sequence[Stack], draw: Draw, *, clusters: int, seed: int,
    threads: int = 1,
) -> Judged:  # fmt: skip
    """Roll the policy and the base out on the same worlds; clusters are resampled for the intervals."""
    rng = np.random.default_rng([seed, 7])
    worlds = [draw_scenario(rng, loads, draw, f"held-out-{b}") for b in range(clusters)]
    picked = [stacks[b % len(stacks)] for b in range(clusters)]
    price = np.array([PRICES[i % len(PRICES)] for i in range(clusters * draw.workloads)])
    mine, seen = _roll(WorkloadBatch(worlds, picked, price, threads=threads), act)
    base, _ = _roll(WorkloadBatch(worlds, picked, price, threads=threads), idle)
    ratio = np.log(mine / base)
    cluster = np.repeat(np.arange(clusters), draw.workloads)
    rows = []
    for p in PRICES:
        at = price == p
        rows.append((p, float(mine[at].mean()), float(base[at].mean()), *interval(ratio[at], cluster[at], rng)))
    return Judged(rows, seen, interval(ratio, cluster, rng))


def _roll(batch: WorkloadBatch, act: Act) -> tuple[Array, NDArray[np.float32]]:
    """(N,) mean cost, and some of the observations."""
    total, steps, seen = np.zeros(len(batch.workloads)), 0, []
    while not batch.done:
        observation = encode_rows(batch.signals(), batch.spec)
        if steps % 10 == 0:
            seen.append(observation)
        total += batch.step(act(observation)).cost
        steps += 1
    return total / steps, np.concatenate(seen)


def interval(values: Array, cluster: NDArray[Any], rng: np.random.Generator) -> tuple[float, float, float]:
    """(mean, low, high): 95 % by the bootstrap over clusters."""
    sums = np.bincount(cluster, weights=values)
    counts = np.bincount(cluster, minlength=len(sums)).astype(np.float64)
    pick = rng.integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[pick].sum(axis=1) / np.maximum(counts[pick].sum(axis=1), 1.0)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
