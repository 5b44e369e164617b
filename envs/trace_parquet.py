"""Load files as Parquet. What the footer declares is checked before a page is read, then counted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import InputError
from envs.trace_table import (
    F8,
    I8,
    MAX_BYTES,
    MAX_CELLS,
    MAX_SERIES,
    MIB,
    Layout,
    Table,
    TimeKind,
    find_layout,
    scale_of_epoch,
    unix_time,
)

BATCH_ROWS = 65_536
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def read_parquet(path: Path) -> Table:
    """Every cell of a flat Parquet file. Raises InputError on anything unreadable, too large or nested."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, thrift_string_size_limit=16 * MIB, thrift_container_size_limit=1_000_000) as file:
            layout = _checked_layout(path, file)
            return _read(path, file, layout)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise InputError(path, "parquet", reason, "the file is cut or damaged; write it again") from None


def _checked_layout(path: Path, file: Any) -> Layout:
    meta = file.metadata
    layout = find_layout(path, file.schema_arrow.names)
    cells = meta.num_rows * (len(layout.values) + 1)
    unpacked = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    if meta.num_rows < 0 or cells > MAX_CELLS:
        raise InputError(path, "footer", f"{meta.num_rows} rows", f"give at most {MAX_CELLS} cells")
    if unpacked > MAX_BYTES:
        raise InputError(path, "footer", f"{unpacked // MIB} MiB unpacked", f"at most {MAX_BYTES // MIB} MiB")
    if meta.num_rows == 0:
        raise InputError(path, "footer", "0 rows", "the file has columns but no rows; add samples")
    return layout


def _read(path: Path, file: Any, layout: Layout) -> Table:
    names = file.schema_arrow.names
    wanted = [names[layout.time], *(names[i] for i in layout.values)]
    if layout.series is not None:
        wanted.append(names[layout.series])
    times: list[F8] = []
    values: list[F8] = []
    codes: list[I8] = []
    series: dict[str, int] = {}
    rows, scale, kind = 0, 1.0, _kind(path, file.schema_arrow.field(names[layout.time]).type)
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
        if not batch.num_rows:
            continue
        rows += batch.num_rows
        if rows > file.metadata.num_rows:
            raise InputError(path, "parquet", f"over {rows} rows", "more rows than the footer says; write it again")
        first = rows - batch.num_rows + 1
        stamps, numeric = _times(path, batch.column(names[layout.time]), first)
        if numeric and not times:
            scale, kind = scale_of_epoch(float(stamps[0]))
        times.append(stamps * scale if numeric else stamps)
        columns = [_numbers(path, batch.column(names[i]), names[i], first) for i in layout.values]
        values.append(np.column_stack(columns))
        if layout.series is not None:
            codes.append(_codes(path, batch.column(names[layout.series]), series, first))
    if rows != file.metadata.num_rows:
        raise InputError(path, "parquet", f"{rows} rows", f"the footer says {file.metadata.num_rows}; write it again")
    found = tuple(series) if layout.series is not None else layout.names
    lines = np.arange(1, rows + 1, dtype=np.int64)
    code = np.concatenate(codes) if codes else None
    return Table(path, np.concatenate(times), kind, found, np.concatenate(values), code, lines, "row")


def _kind(path: Path, dtype: Any) -> TimeKind:
    """Unix time for real time types; a time without zone is refused."""
    import pyarrow.types as pt

    if pt.is_timestamp(dtype) and dtype.tz is None:
        mend = 'this time has no zone: write it with one, as pandas does after .dt.tz_localize("UTC")'
        raise InputError(path, "column time", str(dtype), mend)
    return "epoch" if pt.is_timestamp(dtype) or pt.is_string(dtype) or pt.is_large_string(dtype) else "relative"


def _times(path: Path, column: Any, first: int) -> tuple[F8, bool]:
    """Times of one batch in seconds, and whether they were plain numbers (whose unit is still open)."""
    import pyarrow as pa
    import pyarrow.types as pt

    if column.null_count:
        raise InputError(path, f"row {first + _first_null(column)}", "null", "give every row a time")
    if pt.is_timestamp(column.type):
        counts = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return counts.astype(np.float64) * _UNITS[column.type.unit], False
    if pt.is_string(column.type) or pt.is_large_string(column.type):
        return np.array([_unix_time_at(path, cell, first + i) for i, cell in enumerate(column.to_pylist())]), False
    return _numbers(path, column, "time", first), True


def _unix_time_at(path: Path, cell: str, row: int) -> float:
    try:
        return unix_time(cell)
    except (ValueError, OverflowError) as error:
        raise InputError(path, f"row {row}, column time", cell, str(error)) from None


def _numbers(path: Path, column: Any, name: str, first: int) -> F8:
    """A numeric column; null is NaN, a stored NaN or infinity is refused."""
    import pyarrow as pa
    import pyarrow.types as pt

    if not (pt.is_integer(column.type) or pt.is_floating(column.type) or pt.is_decimal(column.type)):
        mend = "store loads as numbers; leave out columns that are not loads"
        raise InputError(path, f"column {name}", str(column.type), mend)
    out = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    known = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
    bad = ~np.isfinite(out) & known
    if bad.any():
        row = int(np.argmax(bad))
        mend = "write a plain number, or null for a missing sample"
        raise InputError(path, f"row {first + row}, column {name}", str(out[row]), mend)
    return np.where(known, out, np.nan)


def _codes(path: Path, column: Any, series: dict[str, int], first: int) -> I8:
    if column.null_count:
        raise InputError(path, f"row {first + _first_null(column)}", "null", "name the series in every row")
    cells = [str(cell) for cell in column.to_pylist()]
    codes = np.fromiter((series.setdefault(cell, len(series)) for cell in cells), np.int64, len(cells))
    if len(series) > MAX_SERIES:
        raise InputError(path, f"row {first}", f"{len(series)} series", f"give at most {MAX_SERIES}")
    return codes


def _first_null(column: Any) -> int:
    return int(np.argmin(column.is_valid().to_numpy(zero_copy_only=False)))
