"""Is a stage better than the one before? Paired costs on worlds whose series training never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.plain import Array
from envs.set_point_action import ACTIONS
from envs.stack import Stack
from envs.workload_batch import WorkloadBatch
from envs.world_draw import Draw, LoadSource, draw_scenario
from training.act import Act

PRICES = (30.0, 100.0, 300.0, 1000.0)
RESAMPLES = 2000
ERROR = 0.05  # share of intervals that miss


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


class HeldOut:
    """Worlds that every stage is rolled out on: the same load, start delays and faults for each."""

    def __init__(
        self, loads: Sequence[LoadSource], stacks: Sequence[Stack], draw: Draw, *, clusters: int, seed: int,
        threads: int = 1,
    ) -> None:  # fmt: skip
        self.rng = np.random.default_rng([seed, 7])
        self.worlds = [draw_scenario(self.rng, loads, draw, f"held-out-{b}") for b in range(clusters)]
        self.stacks = [stacks[b % len(stacks)] for b in range(clusters)]
        self.price = np.array([PRICES[i % len(PRICES)] for i in range(clusters * draw.workloads)])
        self.cluster = np.repeat(np.arange(clusters), draw.workloads)
        self.threads = threads

    def batch(self) -> WorkloadBatch:
        """The worlds at their beginning."""
        return WorkloadBatch(self.worlds, self.stacks, self.price, threads=self.threads)

    def roll(self, act: Act) -> tuple[Array, NDArray[np.float32]]:
        """(N,) mean cost of a minute, and some of the observations."""
        return _roll(self.batch(), act)

    def against(self, mine: Array, before: Array, rng: np.random.Generator, *, tried: int = 1) -> Interval:
        """(mean log ratio of costs, low, high). tried: of so many the least was taken, so that each interval is wider
        (Bonferroni): the chance that any of them misses is 5 %.
        """
        return interval(np.log(mine / before), self.cluster, rng, error=ERROR / tried)

    def judged(self, mine: Array, base: Array, seen: NDArray[np.float32]) -> Judged:
        """By price and overall; clusters are resampled for the intervals."""
        ratio, rows = np.log(mine / base), []
        for p in PRICES:
            at = self.price == p
            cost = float(mine[at].mean()), float(base[at].mean())
            rows.append((p, *cost, *interval(ratio[at], self.cluster[at], self.rng)))
        return Judged(rows, seen, interval(ratio, self.cluster, self.rng))


Interval = tuple[float, float, float]


def judge(
    act: Act, loads: Sequence[LoadSource], stacks: Sequence[Stack], draw: Draw, *, clusters: int, seed: int,
    threads: int = 1,
) -> Judged:  # fmt: skip
    """Roll the policy and the base out on the same worlds."""
    held = HeldOut(loads, stacks, draw, clusters=clusters, seed=seed, threads=threads)
    mine, seen = held.roll(act)
    return held.judged(mine, held.roll(idle)[0], seen)


def _roll(batch: WorkloadBatch, act: Act) -> tuple[Array, NDArray[np.float32]]:
    total, steps, seen = np.zeros(len(batch.workloads)), 0, []
    while not batch.done:
        observation = batch.observe()
        if steps % 10 == 0:
            seen.append(observation)
        total += batch.step(act(observation)).cost
        steps += 1
    return total / steps, np.concatenate(seen)


def interval(
    values: Array, cluster: NDArray[Any], rng: np.random.Generator, *, error: float = ERROR
) -> tuple[float, float, float]:
    """(mean, low, high): by the bootstrap over clusters, missing a share `error` of the time."""
    sums = np.bincount(cluster, weights=values)
    counts = np.bincount(cluster, minlength=len(sums)).astype(np.float64)
    pick = rng.integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[pick].sum(axis=1) / np.maximum(counts[pick].sum(axis=1), 1.0)
    low, high = np.quantile(means, (error / 2.0, 1.0 - error / 2.0))
    return float(values.mean()), float(low), float(high)
