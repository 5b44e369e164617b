"""What a load looks like in a few numbers, for `scenario init` and reports."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.trace_file import Trace
from envs.trace_table import F8

DAY_S = 86_400.0
MAX_POINTS = 100_000  # 60 days at one a minute are 86,400


@dataclass(frozen=True)
class LoadStats:
    """One series, in the file's own unit, weighted by time (not by sample)."""

    mean: float
    p50: float
    p99: float
    max: float
    peak_to_mean: float  # max / mean; NaN for a series of zeros
    daily_autocorrelation: float  # at a lag of 24 h; NaN below two days or when constant


def describe_trace(trace: Trace) -> dict[str, LoadStats]:
    """Series name -> its numbers, over the trace's whole length. O(samples)."""
    points = int(np.clip(round(float(trace.time_s[-1]) / trace.step_s) + 1, 2, MAX_POINTS))
    grid = np.linspace(0.0, float(trace.time_s[-1]), points)
    lag = round(DAY_S / (grid[1] - grid[0]))
    return {
        name: _stats(np.interp(grid, trace.time_s, values), float(values.max()), lag)
        for name, values in trace.columns.items()
    }


def _stats(values: F8, peak: float, lag: int) -> LoadStats:
    mean = float(values.mean())
    p50, p99 = (float(q) for q in np.quantile(values, (0.5, 0.99)))
    ratio = peak / mean if mean > 0 else math.nan
    return LoadStats(mean, p50, p99, peak, ratio, _autocorrelation(values, lag))


def _autocorrelation(values: F8, lag: int) -> float:
    """Pearson correlation of the series with itself `lag` points later."""
    if lag < 1 or len(values) < 2 * lag:
        return math.nan
    early, late = values[:-lag], values[lag:]
    if np.ptp(early) == 0 or np.ptp(late) == 0:
        return math.nan
    return float(np.corrcoef(early, late)[0, 1])
