"""What a load file holds before it is checked: one time column, value columns, and where each row came from.

Limits, all of them refusals and never silent cuts: 512 MiB of (decompressed) text, 100 bytes out of one
compressed byte once 4 MiB came out, 1 MiB a line, 10,000 series, 100 million cells. Sixty days of 500
series at one a minute are 43 million cells and some 250 MiB.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from envs.errors import InputError

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

MIB = 1 << 20
MAX_BYTES = 512 * MIB
MAX_RATIO = 100
RATIO_FREE_BYTES = 4 * MIB  # below this a high ratio does no harm
MAX_LINE_BYTES = MIB
MAX_SERIES = 10_000
MAX_CELLS = 100_000_000

TIME_NAMES = (
    "time",
    "timestamp",
    "ts",
    "datetime",
    "date",
    "time_s",
    "timestamp_s",
    "timestamp_ms",
    "epoch",
    "t",
)
SERIES_NAMES = ("series", "name", "workload", "service", "metric", "series_name")
VALUE_NAMES = ("value", "rps", "rate", "load", "requests_per_s", "req_per_s")
IGNORED_NAMES = ("unit",)

TimeKind = Literal["epoch", "relative"]


@dataclass(frozen=True)
class Layout:
    """Which column is what, by position in the header. Long format has a `series` column."""

    time: int
    series: int | None
    values: tuple[int, ...]
    names: tuple[str, ...]  # of the value columns


@dataclass(frozen=True)
class Table:
    """A file's cells. NaN in `values` is an empty cell; nothing else may be NaN."""

    path: Path
    time: F8  # (N,) seconds, Unix time or from the start
    kind: TimeKind
    names: tuple[str, ...]  # (K,) series
    values: F8  # (N, K) wide; (N, 1) long
    codes: I8 | None  # (N,) index into names, long format only
    lines: I8  # (N,) where each row stands in the file
    row_word: str = "line"  # "line" of a CSV, "row" of a Parquet file

    def at(self, row: int) -> str:
        """The row's place, for a message: `line 12`."""
        return f"{self.row_word} {int(self.lines[row])}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The mend for a wrong name: what is there, nearest first."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
    shown = close or known[:5]
    more = "" if close or len(known) <= 5 else f" and {len(known) - 5} more"
    return ("did you mean " if close else "there is ") + ", ".join(shown) + more


def find_layout(path: Path, header: Sequence[str]) -> Layout:
    """Read a header: names are matched without case; the first column is the time when no name says so.

    Raises InputError on an empty or repeated name, too many columns, or no value column.
    """
    names = [cell.strip() for cell in header]
    lower = [name.lower() for name in names]
    _check_header(path, names)
    time = next((i for i, name in enumerate(lower) if name in TIME_NAMES), 0)
    rest = [i for i in range(len(names)) if i != time and lower[i] not in IGNORED_NAMES]
    series = next((i for i in rest if lower[i] in SERIES_NAMES), None)
    if series is not None:
        rest = [i for i in rest if lower[i] in VALUE_NAMES] or [i for i in rest if i != series]
        if len(rest) != 1:
            raise InputError(path, "line 1", ",".join(names), "a long file has the columns time, series, value")
    if not rest:
        raise InputError(path, "line 1", ",".join(names), "add a column of loads beside the time column")
    return Layout(time, series, tuple(rest), tuple(names[i] for i in rest))


def _check_header(path: Path, names: list[str]) -> None:
    if len(names) > MAX_SERIES + 1:
        raise InputError(path, "line 1", f"{len(names)} columns", f"give at most {MAX_SERIES} series")
    if all(_is_number(name) for name in names):
        raise InputError(path, "line 1", ",".join(names[:6]), "add a header line such as time,web")
    seen: set[str] = set()
    for position, name in enumerate(names):
        if not name and position:
            raise InputError(path, "line 1", f"column {position + 1} without a name", "name every column")
        if name in seen:
            raise InputError(path, "line 1", name, "this column name is there twice; rename one")
        seen.add(name)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def scale_of_epoch(first: float) -> tuple[float, TimeKind]:
    """Seconds per unit of a numeric time column, told by its first value, and what it counts from.

    1e8 s is March 1973 as a Unix time and 3.2 years as a length; 1e11, 1e14 and 1e17 are the same
    day in milli-, micro- and nanoseconds.
    """
    size = abs(first)
    if size < 1e8:
        return 1.0, "relative"
    for limit, scale in ((1e11, 1.0), (1e14, 1e-3), (1e17, 1e-6)):
        if size < limit:
            return scale, "epoch"
    return 1e-9, "epoch"


def unix_time(stamp: str) -> float:
    """Seconds since 1970 of an ISO 8601 time with a zone. ValueError says what is wrong with it."""
    try:
        moment = datetime.fromisoformat(stamp.strip())
    except ValueError:
        raise ValueError("write the time as 2026-01-05T00:00:00Z, as Unix time, or in seconds from the start") from None
    if moment.tzinfo is None:
        raise ValueError("this time has no zone: write 2026-01-05T00:00:00Z or ...+01:00")
    return moment.timestamp()
