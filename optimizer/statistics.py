"""Is a saving more than luck? A paired, stratified bootstrap over simulated days and seeds.

Two stacks run on the same seed and day meet the same requests, so days are compared in pairs: a
resample that holds a busy Monday holds it for both. Seeds are strata: each is resampled within
itself, so that every resample has as many days of every seed as the run had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_BATCH = 250  # resamples at a time: 250 x 31 days x 20 seeds of int64 is 1.2 MB


@dataclass(frozen=True)
class Interval:
    """Percentile interval of a saving, as shares of the base cost. NaN: too few days to tell."""

    low: float
    high: float


def saving_share(base_usd: NDArray[np.float64], other_usd: NDArray[np.float64]) -> float:
    """Share of the base cost that the other one saves: (sum base - sum other) / sum base."""
    total = float(base_usd.sum())
    return (total - float(other_usd.sum())) / total if total > 0 else float("nan")


def saving_interval(
    base_usd: NDArray[np.float64],
    other_usd: NDArray[np.float64],
    strata: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `saving_share` (Efron and Tibshirani 1993, chapter 13).

    base_usd, other_usd: (N,) cost of the same N (seed, day) pairs. strata: (N,) the pair's seed.
    The interval speaks of other days like these, not of another season or another mix of load.
    Fewer than two days in every stratum say nothing about spread: NaN.
    """
    sizes = np.unique(strata, return_counts=True)[1]
    if base_usd.size == 0 or sizes.max() < 2:
        return Interval(float("nan"), float("nan"))
    generator = np.random.Generator(np.random.PCG64(seed))
    shares = [
        _resampled_shares(base_usd, other_usd, strata, generator, min(_BATCH, resamples - done))
        for done in range(0, resamples, _BATCH)
    ]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(shares), [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def _resampled_shares(
    base_usd: NDArray[np.float64],
    other_usd: NDArray[np.float64],
    strata: NDArray[np.int64],
    generator: np.random.Generator,
    count: int,
) -> NDArray[np.float64]:
    """(count,) savings of resamples drawn with replacement inside each stratum."""
    base = np.zeros(count)
    other = np.zeros(count)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = members[generator.integers(0, members.size, (count, members.size))]
        base += base_usd[drawn].sum(axis=1)
        other += other_usd[drawn].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(base > 0, (base - other) / base, np.nan)
