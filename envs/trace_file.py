"""Read a user's load from CSV, CSV.gz or Parquet: `read_trace(path) -> Trace`.

Two shapes: wide (a time column and one column per series) and long (time, series, value; or just
time, value). Times are Unix seconds (or milli-, micro-, nanoseconds), ISO 8601 with a zone, or seconds
from the start; steps may be uneven. A hole of up to `max_gap_s` is bridged by a straight line and
listed in `Trace.gaps`; a longer one is refused. A missing sample never becomes a zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from envs.errors import InputError
from envs.trace_csv import read_csv
from envs.trace_table import F8, I8, MAX_CELLS, Table, nearest

GAP_STEPS = 1.5  # samples further apart than this many median steps have a hole between them
MAX_LOAD = 1e12  # per second; above it a unit is wrong
MAX_SPAN_S = 20 * 365.25 * 86_400.0
_MAGIC = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"BZh": "bzip2: unpack it or use gzip",
    b"\xfd7zXZ": "xz: unpack it or use gzip",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it or use gzip",
    b"\xff\xfe": "UTF-16: save it as CSV in UTF-8",
    b"\xfe\xff": "UTF-16: save it as CSV in UTF-8",
}


@dataclass(frozen=True)
class Gap:
    """A hole that was bridged by a straight line (at an end: by the nearest sample)."""

    start_s: float  # when the first missing sample was due
    length_s: float  # time without a sample
    column: str | None = None  # None = every series


@dataclass(frozen=True)
class Trace:
    """Loads over time, linear between samples. All arrays are read-only."""

    time_s: F8  # (T,) seconds from the first sample, rising, time_s[0] = 0
    columns: dict[str, F8]  # each (T,), never negative, in the file's own unit
    start_utc: str | None  # ISO 8601 of time_s[0]; None when the file counts from its own start
    step_s: float  # median
    gaps: tuple[Gap, ...]
    source: Path

    @property
    def duration_s(self) -> float:
        """How long the trace can be played: to one step after the last sample."""
        return float(self.time_s[-1]) + self.step_s

    def column(self, name: str | None) -> F8:
        """The load called `name`; the only one when None. Raises InputError naming the nearest."""
        if name is None and len(self.columns) == 1:
            return next(iter(self.columns.values()))
        if name is None or name not in self.columns:
            mend = nearest(name or "", self.columns)
            raise InputError(self.source, "column", name, mend if name else f"name one of several: {mend}")
        return self.columns[name]


def read_trace(path: Path | str, *, max_gap_s: float = 3600.0) -> Trace:
    """Read and check a load file; see the module for what is accepted.

    Raises InputError naming the file, the line (CSV, header = 1) or row (Parquet, first = 1), the value
    and the mend. Limits are in `envs.trace_table`.
    """
    path = Path(path)
    try:
        table = _table(path)
    except OSError as error:
        raise InputError(path, "file", error.strerror or str(error), "give a file that can be read") from None
    return _trace(table, max_gap_s)


def read_trace_once(path: Path, *, max_gap_s: float = 3600.0) -> Trace:
    """`read_trace`, remembered until the file's size or time of change differ."""
    try:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        stamp = (0, 0)
    return _remembered(path, max_gap_s, stamp)


@lru_cache(maxsize=32)
def _remembered(path: Path, max_gap_s: float, _stamp: tuple[int, int]) -> Trace:
    return read_trace(path, max_gap_s=max_gap_s)


def _table(path: Path) -> Table:
    if not path.exists():
        raise InputError(path, "file", None, f"no such file{_near_files(path)}")
    if not path.is_file():
        raise InputError(path, "file", None, "not a file; give a CSV, CSV.gz or Parquet file")
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"PAR1"):
        from envs.trace_parquet import read_parquet

        return read_parquet(path)
    for magic, mend in _MAGIC.items():
        if head.startswith(magic):
            raise InputError(path, "format", None, mend)
    return read_csv(path, compressed=head.startswith(b"\x1f\x8b"))


def _near_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f", nor a folder {folder}"
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    return f"; {nearest(path.name, names)}" if names else ""


def _trace(table: Table, max_gap_s: float) -> Trace:
    _check_values(table)
    parts = _wide_parts(table) if table.codes is None else _long_parts(table)
    time = table.time if table.codes is None else np.unique(np.concatenate([part.time for part in parts]))
    if len(time) * len(parts) > MAX_CELLS:
        mend = f"{len(parts)} series at {len(time)} times; give at most {MAX_CELLS} cells"
        raise InputError(table.path, "size", None, mend)
    if len(time) < 2:
        raise InputError(table.path, table.at(0), None, "one sample is not a load over time; give at least two")
    if time[-1] - time[0] > MAX_SPAN_S:
        raise InputError(table.path, "time", f"{(time[-1] - time[0]) / 86_400:.0f} days", "give at most 20 years")
    gaps: list[Gap] = []
    columns = {part.name: _filled(part, time, max_gap_s, gaps) for part in parts}
    if len({(gap.start_s, gap.length_s) for gap in gaps}) * len(parts) == len(gaps):
        gaps = [Gap(gap.start_s, gap.length_s) for gap in gaps[: len(gaps) // len(parts)]]
    zero = time[0]
    time = time - zero
    time.flags.writeable = False
    start = datetime.fromtimestamp(float(zero), UTC).isoformat() if table.kind == "epoch" else None
    step = float(np.median(np.diff(time)))
    return Trace(time, columns, start.replace("+00:00", "Z") if start else None, step, tuple(gaps), table.path)


def _check_values(table: Table) -> None:
    wrong = (table.values < 0) | (table.values > MAX_LOAD)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        value = float(table.values[row, column])
        name = table.names[column if table.codes is None else int(table.codes[row])]
        mend = "a load cannot be negative" if value < 0 else f"a load over {MAX_LOAD:g} is no load; check the unit"
        raise InputError(table.path, f"{table.at(row)}, column {name}", value, mend)


@dataclass(frozen=True)
class _Part:
    """One series' own samples, times strictly rising."""

    name: str
    time: F8
    values: F8
    rows: I8  # into the table
    step_s: float  # median over all of its rows, those with an empty cell too
    table: Table


def _wide_parts(table: Table) -> list[_Part]:
    rows = np.arange(len(table.time))
    _check_order(table, rows)
    step_s = _median_step(table.time)
    out = []
    for k, name in enumerate(table.names):
        known = ~np.isnan(table.values[:, k])
        if not known.any():
            raise InputError(table.path, f"column {name}", None, "the column is empty; give samples or leave it out")
        if known.all():
            out.append(_Part(name, table.time, table.values[:, k], rows, step_s, table))
        else:
            out.append(_Part(name, table.time[known], table.values[known, k], rows[known], step_s, table))
    return out


def _long_parts(table: Table) -> list[_Part]:
    assert table.codes is not None
    order = np.argsort(table.codes, kind="stable")
    ends = np.cumsum(np.bincount(table.codes, minlength=len(table.names)))[:-1]
    out = []
    for name, rows in zip(table.names, np.split(order, ends), strict=True):
        _check_order(table, rows)
        kept = rows[~np.isnan(table.values[rows, 0])]
        if not len(kept):
            raise InputError(table.path, f"series {name}", None, "the series is empty; give samples or leave it out")
        step_s = _median_step(table.time[rows])
        out.append(_Part(name, table.time[kept], table.values[kept, 0], kept, step_s, table))
    return out


def _median_step(time: F8) -> float:
    """0 for a single sample."""
    return float(np.median(np.diff(time))) if len(time) > 1 else 0.0


def _check_order(table: Table, rows: I8) -> None:
    steps = np.diff(table.time[rows])
    if (steps > 0).all():
        return
    first = int(np.argmax(~(steps > 0)))
    row = int(rows[first + 1])
    value = float(table.time[row])
    again = "this time is there twice; keep one row" if steps[first] == 0 else "times go back; sort the rows by time"
    raise InputError(table.path, f"{table.at(row)}, column time", value, again)


def _filled(part: _Part, time: F8, max_gap_s: float, gaps: list[Gap]) -> F8:
    """The series on the common times (exact: both are linear in between); its holes go into `gaps`."""
    steps = np.diff(part.time)
    step = part.step_s
    holes = np.flatnonzero(steps > GAP_STEPS * step) + 1
    found = [(float(part.time[i - 1]) + step, float(steps[i - 1]) - step, int(i)) for i in holes]
    if part.time[0] > time[0]:
        found.insert(0, (float(time[0]), float(part.time[0] - time[0]), 0))
    if part.time[-1] < time[-1]:
        found.append((float(part.time[-1]) + step, float(time[-1] - part.time[-1]), len(part.time) - 1))
    for start, length, i in found:
        if length > max_gap_s:
            where = f"{part.table.at(int(part.rows[i]))}, column {part.name}"
            mend = f"over max_gap_s = {max_gap_s:g} s is not bridged; fill or cut the file, or raise it"
            raise InputError(part.table.path, where, f"{length:g} s without a sample", mend)
        gaps.append(Gap(start - float(time[0]), length, part.name))
    out = part.values.copy() if len(part.time) == len(time) else np.interp(time, part.time, part.values)
    out.flags.writeable = False
    return out
