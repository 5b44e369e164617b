"""A folder of recorded load: one series a file, and what its manifest.csv says of each.

Files are CSV, CSV.gz or Parquet as `envs.trace_file` reads them. manifest.csv (columns trace, source; others are
left alone) groups traces by source. Without one, or for a file that it does not list, each file is its own source.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.errors import InputError
from envs.trace_file import Trace, read_trace_once

MAX_GAP_S = 1e9  # holes are bridged here; windows are chosen around the long ones
LONG_HOLE_S = 3600.0
ALIVE = 0.2  # a window with less load than this share of the trace's typical load says nothing about a policy
LONGEST_STEP_S = 1800.0
SHORTEST_S = 6 * 3600.0  # of which 3.6 h are judged
RESERVED = "overall"
SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True, eq=False)
class Recorded:
    """One series: its file, where it comes from, and the numbers that scale it."""

    name: str
    source: str
    path: Path
    column: str | None
    sha256: str
    step_s: float
    duration_s: float
    start_utc: str | None
    typical: float  # median of the samples; their mean where the median is 0
    highest: float
    hourly: NDArray[np.float64]  # mean of each hour
    holes: tuple[tuple[float, float], ...]  # (start, end) of those longer than LONG_HOLE_S

    def is_whole(self, start_s: float, length_s: float) -> bool:
        """No long hole within, and no dead stretch: its mean is at least ALIVE of the typical load."""
        if any(a < start_s + length_s and z > start_s for a, z in self.holes):
            return False
        hours = self.hourly[int(start_s // 3600) : max(int((start_s + length_s) // 3600), int(start_s // 3600) + 1)]
        return bool(len(hours)) and float(hours.mean()) >= ALIVE * self.typical


def read_folder(folder: Path, *, only: frozenset[str] | None = None) -> tuple[list[Recorded], list[str]]:
    """(usable series by source and name, one line for each that is skipped). only: files of these names.

    Raises InputError for a folder without load files, a broken manifest, or a file that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(folder, "--load-dir", str(folder), "no such folder")
    files = sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIXES) and p.name != "manifest.csv")
    files = [p for p in files if only is None or stem(p) in only]
    if not files and only is None:
        raise InputError(folder, "--load-dir", str(folder), "put at least one CSV, CSV.gz or Parquet file there")
    names = [stem(path) for path in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(folder, "trace", twice, "is there in two formats; keep one file of each name")
    manifest = read_manifest(folder / "manifest.csv")
    kept: list[Recorded] = []
    skipped: list[str] = []
    for path in files:
        name = stem(path)
        about = manifest.get(name, {})
        trace = read_trace_once(path, max_gap_s=MAX_GAP_S)
        start = about.get("start_utc") or trace.start_utc
        for column in trace.columns:
            label = name if len(trace.columns) == 1 else f"{name}:{column}"
            source = about.get("source") or (label if label != RESERVED else f"{label} (file)")
            one = _recorded(label, source, path, column, trace, start)
            why = _unusable(one)
            if why:
                skipped.append(f"{label}: skipped, {why}")
            else:
                kept.append(one)
    return sorted(kept, key=lambda one: (one.source, one.name)), skipped


def read_manifest(path: Path) -> dict[str, dict[str, str]]:
    """trace -> its line; empty where there is no manifest. Raises InputError for one without the two columns."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, "manifest", None, f"is no CSV in UTF-8 ({error})") from None
    for number, line in enumerate(lines, 2):
        if line.get("source") == RESERVED:
            raise InputError(path, f"line {number}, column source", RESERVED, "is the name of the mean over sources")
        for column in ("trace", "source"):
            if not line.get(column):
                raise InputError(path, f"line {number}, column {column}", None, "give trace and source on every line")
    return {line["trace"]: {k: v for k, v in line.items() if isinstance(v, str)} for line in lines}


def stem(path: Path) -> str:
    """The file's name without what says how it is stored."""
    return next(path.name[: -len(s)] for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.endswith(s))


def _recorded(name: str, source: str, path: Path, column: str, trace: Trace, start: str | None) -> Recorded:
    values = trace.column(column)
    median = float(np.median(values))
    holes = [(g.start_s, g.start_s + g.length_s) for g in trace.gaps if g.column in (None, column)]
    return Recorded(
        name=name,
        source=source,
        path=path,
        column=column,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        step_s=trace.step_s,
        duration_s=trace.duration_s,
        start_utc=start,
        typical=median if median > 0 else float(values.mean()),
        highest=float(values.max()),
        hourly=_hourly(trace, values),
        holes=tuple((a, z) for a, z in holes if z - a > LONG_HOLE_S),
    )


def _hourly(trace: Trace, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each whole hour, on the line between samples."""
    edges = np.arange(0.0, trace.duration_s + 1e-6, 3600.0)
    steps = np.diff(trace.time_s)
    area = np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * steps)])
    last = values[-1] * np.maximum(edges - trace.time_s[-1], 0.0)
    times = np.minimum(edges, trace.time_s[-1])
    return np.asarray(np.diff(np.interp(times, trace.time_s, area) + last) / 3600.0)


def _unusable(one: Recorded) -> str:
    """Why a series cannot be judged; empty when it can."""
    if one.duration_s < SHORTEST_S:
        return f"{one.duration_s / 3600:.2g} h of load are less than the {SHORTEST_S / 3600:g} h that are needed"
    if one.step_s > LONGEST_STEP_S:
        return f"a step of {one.step_s / 60:g} min is coarser than {LONGEST_STEP_S / 60:g} min"
    return "" if one.typical > 0 else "there is no load in it"
