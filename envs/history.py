"""What was measured of workloads over time, from CSV or Parquet files: `read_history(paths) -> History`.

Files are read by `envs.trace_file`, so times, gaps and limits are those of load files. A column says whose and
what it is:

    cart:served_rps     metric served_rps of workload cart
    served_rps          a file of one workload: its name is the file's (cart.csv)
    cart                a plain load file: offered_rps of workload cart

In the long layout (time, series, value) the series has those names. Samples that a gap's straight line stands
in for are known as such (`known`), and nothing is estimated from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.errors import InputError
from envs.trace_file import Trace, read_trace_once
from envs.trace_table import VALUE_NAMES, nearest

F8 = NDArray[np.float64]
METRICS = {
    "offered_rps": "requests that arrived, per second",
    "served_rps": "requests that were answered well, in time or late, per second",
    "errors_rps": "requests that were refused or failed, per second",
    "timeouts_rps": "requests that the caller gave up, per second",
    "slow_rps": "of the served ones, those over the latency threshold, per second",
    "cpu_cores": "CPU used by all replicas together, cores",
    "replicas": "ready replicas",
    "desired_replicas": "spec.replicas",
    "latency_mean_s": "mean time to answer, seconds",
    "latency_p50_s": "its median, seconds",
    "latency_p95_s": "its 95th percentile, seconds",
}


@dataclass(frozen=True)
class Series:
    """One workload's measurements; every array (T,). known: no gap's bridge is in any of the metrics."""

    name: str
    time_s: F8  # from the first sample, rising
    step_s: float
    metrics: dict[str, F8]
    known: NDArray[np.bool_]
    start_utc: str | None
    source: Path

    def get(self, metric: str) -> F8 | None:
        return self.metrics.get(metric)

    @property
    def lost_rps(self) -> F8:
        """Errors and time-outs; 0 where the file has neither."""
        zero = np.zeros_like(self.time_s)
        return np.asarray(self.metrics.get("errors_rps", zero) + self.metrics.get("timeouts_rps", zero))

    @property
    def offered_rps(self) -> F8:
        """As measured, else served + errors + time-outs: what is served is not what was asked for."""
        if "offered_rps" in self.metrics:
            return self.metrics["offered_rps"]
        if "served_rps" not in self.metrics:
            mend = "give offered_rps, or served_rps with errors_rps and timeouts_rps"
            raise InputError(self.source, f"workload {self.name}", ", ".join(self.metrics), mend)
        return np.asarray(self.metrics["served_rps"] + self.lost_rps)

    @property
    def served_rps(self) -> F8:
        if "served_rps" in self.metrics:
            return self.metrics["served_rps"]
        return np.asarray(np.maximum(self.offered_rps - self.lost_rps, 0.0))

    @property
    def bad_rps(self) -> F8 | None:
        """Errors, time-outs and slow answers; None when the file has none of them."""
        if not {"errors_rps", "timeouts_rps", "slow_rps"} & self.metrics.keys():
            return None
        return np.asarray(self.lost_rps + self.metrics.get("slow_rps", 0.0))


@dataclass(frozen=True)
class History:
    """Every workload found, in the order of files and columns."""

    workloads: tuple[Series, ...]

    def of(self, name: str) -> Series | None:
        return next((series for series in self.workloads if series.name == name), None)


def read_history(paths: Sequence[Path | str], *, max_gap_s: float = 3600.0) -> History:
    """Read one or more files. Raises InputError for what `read_trace` refuses, and for a workload given twice."""
    found: dict[str, Series] = {}
    for path in map(Path, paths):
        for series in _of_file(read_trace_once(path, max_gap_s=max_gap_s)):
            if series.name in found:
                mend = f"is in {found[series.name].source} already; give each workload once"
                raise InputError(path, "workload", series.name, mend)
            found[series.name] = series
    return History(tuple(found.values()))


def _of_file(trace: Trace) -> list[Series]:
    stem = trace.source.name.split(".")[0]
    grouped: dict[str, dict[str, F8]] = {}
    holes: dict[str, list[tuple[float, float]]] = {}
    for column, values in trace.columns.items():
        name, metric = _meaning(column, stem, trace.source)
        if metric in grouped.setdefault(name, {}):
            raise InputError(trace.source, "column", column, f"{metric} of {name} is there twice; keep one")
        grouped[name][metric] = values
        gaps = [gap for gap in trace.gaps if gap.column in (None, column)]
        holes.setdefault(name, []).extend((gap.start_s, gap.start_s + gap.length_s) for gap in gaps)
    return [
        Series(
            name,
            trace.time_s,
            trace.step_s,
            metrics,
            _outside(trace.time_s, holes[name]),
            trace.start_utc,
            trace.source,
        )
        for name, metrics in grouped.items()
    ]


def _meaning(column: str, stem: str, path: Path) -> tuple[str, str]:
    """(workload, metric) of a column."""
    name, colon, metric = column.rpartition(":")
    if not colon:
        if column in METRICS:
            return stem, column
        return (stem if column.lower() in VALUE_NAMES else column), "offered_rps"
    if metric not in METRICS:
        raise InputError(path, "column", column, f"no metric is called {metric}: {nearest(metric, METRICS)}")
    if not name:
        raise InputError(path, "column", column, "name the workload before the colon")
    return name, metric


def _outside(time_s: F8, holes: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    known = np.ones(len(time_s), np.bool_)
    for start, stop in holes:
        known &= (time_s < start - 1e-6) | (time_s >= stop - 1e-6)
    return known


def cut(series: Series, start_s: float, stop_s: float) -> Series:
    """The samples in [start_s, stop_s), with times as they are."""
    kept = (series.time_s >= start_s) & (series.time_s < stop_s)
    metrics = {name: values[kept] for name, values in series.metrics.items()}
    return dataclasses.replace(series, time_s=series.time_s[kept], metrics=metrics, known=series.known[kept])
