"""Load files as text: CSV and gzipped CSV, read as a stream so that a bomb stops at a limit.

`,` `;` and tab are told apart by the header line. Python's csv module splits, `float` converts: 60 days
of 12 series at one a minute (86,400 rows) take about 0.6 s.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from envs.errors import InputError
from envs.trace_table import (
    F8,
    I8,
    MAX_BYTES,
    MAX_CELLS,
    MAX_LINE_BYTES,
    MAX_RATIO,
    MAX_SERIES,
    MIB,
    RATIO_FREE_BYTES,
    Layout,
    Table,
    TimeKind,
    find_layout,
    scale_of_epoch,
    unix_time,
)

CHUNK_ROWS = 512  # few enough lists at once that the garbage collector leaves them alone


class _Columns:
    """Growing columns of one file; each chunk of rows is converted at once."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self.time: list[F8] = []
        self.values: list[F8] = []
        self.codes: list[I8] = []
        self.lines: list[I8] = []
        self.series: dict[str, int] = {}
        self.iso: bool | None = None  # None until the first row was seen
        self.scale = 1.0
        self.kind: TimeKind = "relative"
        self.cells = 0

    def add(self, rows: list[list[str]], lines: I8) -> None:
        """Convert and append; raises InputError with the line of the first bad cell."""
        self.cells += len(rows) * (len(self.layout.values) + 1)
        if self.cells > MAX_CELLS:
            raise InputError(self.path, f"line {lines[-1]}", f"{self.cells} cells", f"give at most {MAX_CELLS}")
        cells = list(zip(*rows, strict=True))
        self.time.append(self._times(cells[self.layout.time], lines))
        columns = [
            self._numbers(cells[column], lines, name)
            for column, name in zip(self.layout.values, self.layout.names, strict=True)
        ]
        self.values.append(np.column_stack(columns))
        self.lines.append(lines)
        if self.layout.series is not None:
            self.codes.append(self._codes(cells[self.layout.series], lines))

    def _codes(self, cells: Sequence[str], lines: I8) -> I8:
        known = self.series
        codes = np.fromiter((known.setdefault(cell.strip(), len(known)) for cell in cells), np.int64, len(cells))
        if len(known) > MAX_SERIES:
            raise InputError(self.path, f"line {lines[-1]}", f"{len(known)} series", f"give at most {MAX_SERIES}")
        if "" in known:
            raise InputError(self.path, f"line {lines[codes == known['']][0]}", "", "name the series in every row")
        return codes

    def _times(self, cells: Sequence[str], lines: I8) -> F8:
        if self.iso is None:
            self._tell_times(cells[0], int(lines[0]))
        if not self.iso:
            return self._numbers(cells, lines, "time", empty=False) * self.scale
        try:
            return np.fromiter(map(unix_time, cells), np.float64, len(cells))
        except (ValueError, OverflowError):
            for cell, line in zip(cells, lines, strict=True):
                _unix_time_at(self.path, cell, int(line))
            raise

    def _tell_times(self, first: str, line: int) -> None:
        try:
            self.scale, self.kind = scale_of_epoch(float(first))
            self.iso = False
        except ValueError:
            _unix_time_at(self.path, first, line)
            self.iso, self.kind = True, "epoch"

    def _numbers(self, cells: Sequence[str], lines: I8, name: str, *, empty: bool = True) -> F8:
        """One column; NaN where a cell is empty. The fast way first, the cell-by-cell way names the line."""
        holes = "" in cells
        try:
            out = np.fromiter(map(float, [c or "nan" for c in cells] if holes else cells), np.float64, len(cells))
            bad = int(np.count_nonzero(~np.isfinite(out))) - (cells.count("") if holes else 0)
            if not bad and (empty or not holes) and "_" not in "".join(cells):
                return out
        except ValueError:
            pass
        return np.array([_number(self.path, c, int(n), name, empty) for c, n in zip(cells, lines, strict=True)])

    def table(self) -> Table:
        """Everything that was added, as one table."""
        if not self.time:
            raise InputError(self.path, "line 2", None, "the file has a header but no rows; add samples")
        names = tuple(self.series) if self.layout.series is not None else self.layout.names
        codes = np.concatenate(self.codes) if self.codes else None
        values, lines = np.concatenate(self.values), np.concatenate(self.lines)
        return Table(self.path, np.concatenate(self.time), self.kind, names, values, codes, lines)


def read_csv(path: Path, *, compressed: bool) -> Table:
    """Every cell of a CSV or CSV.gz file. Raises InputError, with the line, on anything unreadable."""
    lines = _lines(path, _gunzipped(path) if compressed else _plain(path))
    first = next(lines, None)
    if first is None or not first.strip():
        raise InputError(path, "line 1", None, "the file is empty; give a header line and samples")
    delimiter = max(",;\t", key=first.count)
    try:
        header = next(csv.reader([first], delimiter=delimiter))
    except csv.Error as error:
        raise InputError(path, "line 1", str(error), "write a plain header such as time,web") from None
    columns = _Columns(path, find_layout(path, header))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        before = reader.line_num + 2
        try:
            rows = list(islice(reader, CHUNK_ROWS))
        except csv.Error as error:
            raise InputError(path, f"line {reader.line_num + 1}", str(error), "write plain CSV") from None
        if not rows:
            return columns.table()
        _add(columns, rows, before, len(header))


def _add(columns: _Columns, rows: list[list[str]], first_line: int, width: int) -> None:
    """Drop blank lines, refuse ragged ones, append the rest."""
    lines = np.arange(first_line, first_line + len(rows), dtype=np.int64)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    wrong = (lengths != width) & (lengths != 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        mend = f"the header has {width} columns; give every row as many"
        raise InputError(columns.path, f"line {lines[row]}", f"{lengths[row]} columns", mend)
    if not lengths.all():
        rows, lines = [row for row in rows if row], lines[lengths != 0]
    if rows:
        columns.add(rows, lines)


def _number(path: Path, cell: str, line: int, name: str, empty: bool) -> float:
    """One number the slow way; an empty cell is NaN, the text `nan` is refused."""
    text = cell.strip()
    if not text and empty:
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value) or "_" in text:
        mend = "write a plain number such as 12.5, or leave the cell empty for a missing sample"
        raise InputError(path, f"line {line}, column {name}", cell, mend)
    return value


def _unix_time_at(path: Path, cell: str, line: int) -> float:
    try:
        return unix_time(cell)
    except (ValueError, OverflowError) as error:
        raise InputError(path, f"line {line}, column time", cell, str(error)) from None


def _plain(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(path, "size", f"{size // MIB} MiB", f"give at most {MAX_BYTES // MIB} MiB: thin or split it")
    with path.open("rb") as stream:
        while chunk := stream.read(MIB):
            yield chunk


def _gunzipped(path: Path) -> Iterator[bytes]:
    """Decompressed chunks; stops with InputError at the size or the ratio bound, or at a broken end."""
    total = 0
    with path.open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as stream:
        while True:
            try:
                chunk = stream.read(MIB)
            except (OSError, EOFError, zlib.error) as error:
                raise InputError(path, "gzip", str(error), "the file is cut or damaged; copy it again") from None
            if not chunk:
                return
            total += len(chunk)
            if total > MAX_BYTES:
                raise InputError(path, "gzip", f"over {total // MIB} MiB unpacked", f"at most {MAX_BYTES // MIB} MiB")
            if total > RATIO_FREE_BYTES and total > MAX_RATIO * raw.tell():
                ratio = f"{total // max(raw.tell(), 1)} bytes out of one"
                raise InputError(path, "gzip", ratio, f"not a load file: at most {MAX_RATIO} are accepted")
            yield chunk


def _lines(path: Path, chunks: Iterator[bytes]) -> Iterator[str]:
    """UTF-8 lines with their line ends; a byte order mark is dropped."""
    tail, number = b"", 1
    for index, chunk in enumerate(chunks):
        block = tail + (chunk.removeprefix(b"\xef\xbb\xbf") if index == 0 else chunk)
        end = block.rfind(b"\n") + 1
        head, tail = block[:end], block[end:]
        if len(tail) > MAX_LINE_BYTES:
            line = number + head.count(b"\n")
            raise InputError(path, f"line {line}", None, f"longer than {MAX_LINE_BYTES} bytes; give one sample a line")
        yield from _decoded(path, head, number)
        number += head.count(b"\n")
    if tail:
        yield from _decoded(path, tail, number)


def _decoded(path: Path, block: bytes, number: int) -> list[str]:
    try:
        text = block.decode("utf-8")
        bad = block.find(b"\0")
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:
        line = number + block.count(b"\n", 0, bad)
        raise InputError(path, f"line {line}", block[bad : bad + 8], "not text in UTF-8; save it as CSV in UTF-8")
    return text.split("\n")[:-1] if block.endswith(b"\n") else text.split("\n")
