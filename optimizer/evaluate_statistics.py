"""Intervals over traces: resampled within their source, seeds resampled inside each trace. Pure and seeded.

Interquartile mean and probability of improvement as in Agarwal et al. 2021, "Deep reinforcement learning at the edge
of the statistical precipice"; percentile intervals as in Efron and Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
RESAMPLES = 1000
LEVEL = 0.95
LEAST_SHARE = 0.5  # of resamples that must say something, else there is no interval


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; NaN ends: too few traces and seeds to tell."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def plain(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


class Draws:
    """R resamples of units (traces) within their strata (sources), and of seeds within each drawn unit.

    strata: (U,) the source of each unit. The first row is the data as it is. `pooled` is what means need (sources
    weigh alike, and traces within a source do), `values` what order statistics need.
    """

    def __init__(self, strata: Sequence[str], seeds: int, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        generator = np.random.Generator(np.random.PCG64(seed))
        U = len(strata)
        self.unit = np.tile(np.arange(U), (resamples + 1, 1))
        self.seed = np.tile(np.arange(seeds), (resamples + 1, U, 1))
        names = list(dict.fromkeys(strata))
        self.weight = np.zeros(U)
        for source in names:
            members = np.flatnonzero([s == source for s in strata])
            drawn = generator.integers(0, len(members), (resamples, len(members)))
            self.unit[1:, members] = members[drawn]
            self.weight[members] = 1.0 / (len(names) * len(members))
        if seeds > 1:
            self.seed[1:] = generator.integers(0, seeds, (resamples, U, seeds))
        self.varies = seeds > 1 or any(list(strata).count(source) > 1 for source in strata)

    def pooled(self, values: F8) -> F8:
        """(R+1, ...) means over units and seeds of values (U, S, ...) in each resample."""
        U, S = values.shape[:2]
        R = len(self.unit)
        index = self.unit[:, :, None] * S + self.seed
        shares = np.zeros((R, U * S))
        np.add.at(shares, (np.arange(R)[:, None, None], index), (self.weight[self.unit] / S)[:, :, None])
        return np.asarray((shares @ values.reshape(U * S, -1)).reshape(R, *values.shape[2:]))

    def values(self, values: F8) -> F8:
        """(R+1, U) each drawn unit's mean over its drawn seeds of values (U, S); NaN seeds do not count."""
        drawn = values[self.unit[:, :, None], self.seed]
        known = np.isfinite(drawn)
        total = np.where(known, drawn, 0.0).sum(axis=2)
        count = known.sum(axis=2)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def estimate(self, per_resample: F8) -> Estimate:
        """(R+1,) figures -> the first with the interval of the others."""
        value, others = float(per_resample[0]), per_resample[1:]
        known = others[np.isfinite(others)]
        if not self.varies or not np.isfinite(value) or len(known) < LEAST_SHARE * len(others):
            return Estimate(value)
        tail = (1.0 - LEVEL) / 2.0
        low, high = np.quantile(known, [tail, 1.0 - tail])
        return Estimate(value, float(low), float(high))


def improvement(ours: F8, theirs: F8) -> F8:
    """(U, S) 1 where ours is less, 1/2 where equal to a millionth; its mean is the probability of improvement."""
    near = np.isclose(ours, theirs, rtol=1e-6, atol=0.0)
    return np.where(near, 0.5, (ours < theirs).astype(np.float64))
