"""Interquartile means, and how sure one is of them with few seeds. Pure and seeded.

As in Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice"; percentile
intervals as in Efron and Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
RESAMPLES, LEVEL = 2000, 0.95
LEAST = 3  # values below which an interval would say nothing


def interquartile_mean(values: F8) -> F8:
    """(R,) mean of the middle half of each row of (R, N), a quarter (rounded down) cut at either end; NaN left out."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1)
    cut = count // 4
    place = np.arange(values.shape[1])[None, :]
    kept = (place >= cut[:, None]) & (place < (count - cut)[:, None])
    total = np.where(kept, ordered, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(kept.sum(axis=1), 1), np.nan)


def bootstrapped(values: F8, *, seed: int = 0) -> tuple[float, float, float]:
    """(interquartile mean, low, high) of the finite ones of values (N,): 95 % by the bootstrap over them.

    The ends are NaN for fewer than three values, all three for none.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    value = float(interquartile_mean(known[None])[0])
    if len(known) < LEAST:
        return value, float("nan"), float("nan")
    pick = np.random.default_rng(seed).integers(len(known), size=(RESAMPLES, len(known)))
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(interquartile_mean(known[pick]), [tail, 1.0 - tail])
    return value, float(low), float(high)
