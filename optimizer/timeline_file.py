"""timeline.parquet and timeline_nodes.parquet: 5-minute rows of every cell, one row group per day.

timeline.parquet has one row per (cell, time, workload). timeline_nodes.parquet has one row per (cell,
time, group), (cell, time, pool) and (cell, time): its column `level` says which; columns that do
not belong to a level are null. A cell is written by one process, day by day; the files of all cells
are joined in the order of the grid, row group by row group, so neither step holds more than a day.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from envs.timeline import CHURN, Names, Timeline
from optimizer.hours import POOL_SUMS, WORKLOAD_MEANS, WORKLOAD_SUMS

WORKLOADS_FILE = "timeline.parquet"
NODES_FILE = "timeline_nodes.parquet"
_TEXT = pa.dictionary(pa.int32(), pa.string())
_HEAD = [("stack", _TEXT), ("variation", _TEXT), ("seed", pa.int64()), ("time", pa.timestamp("ms", tz="UTC"))]
# Totals keep float64; levels need no more than seven digits, and half the disk.
WORKLOAD_SCHEMA = pa.schema(
    [
        *_HEAD,
        *[(name, _TEXT) for name in ("workload", "namespace", "team")],
        *[(name, pa.float64()) for name in WORKLOAD_SUMS],
        *[(name, pa.float32()) for name in WORKLOAD_MEANS],
    ]
)
NODE_SCHEMA = pa.schema(
    [
        *_HEAD,
        *[(name, _TEXT) for name in ("level", "pool", "group", "instance_type", "zone", "capacity_type")],
        *[(name, pa.float64()) for name in ("nodes", "node_usd", *POOL_SUMS, *CHURN)],
    ]
)


@dataclass
class TimelineWriter:
    """A Sink that streams one cell into `folder`. Use as a context manager."""

    folder: Path
    stack: str
    variation: str
    seed: int
    start_s: int  # epoch seconds of time 0
    names: Names
    _files: list[pq.ParquetWriter] = field(default_factory=list)

    def __enter__(self) -> TimelineWriter:
        for name, schema in ((WORKLOADS_FILE, WORKLOAD_SCHEMA), (NODES_FILE, NODE_SCHEMA)):
            self._files.append(_writer(self.folder / name, schema))
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def __call__(self, timeline: Timeline) -> None:
        self._files[0].write_table(self._workload_rows(timeline), row_group_size=1 << 30)
        self._files[1].write_table(self._node_rows(timeline), row_group_size=1 << 30)

    def _head(self, timeline: Timeline, repeat: int) -> dict[str, Any]:
        time = np.repeat(timeline.time_s.astype(np.int64) + self.start_s, repeat)
        fixed = {"stack": self.stack, "variation": self.variation}
        return {name: _codes(np.zeros(time.size, np.int32), [text]) for name, text in fixed.items()} | {
            "seed": np.full(time.size, self.seed),
            "time": time * 1000,
        }

    def _workload_rows(self, timeline: Timeline) -> pa.Table:
        rows, width = timeline.offered.shape
        codes = np.tile(np.arange(width, dtype=np.int32), rows)
        columns = self._head(timeline, width)
        columns["workload"] = _codes(codes, list(self.names.workloads))
        columns["namespace"] = _labels(self.names.namespaces, rows)
        columns["team"] = _labels(self.names.teams, rows)
        for name in (*WORKLOAD_SUMS, *WORKLOAD_MEANS):
            columns[name] = getattr(timeline, name).ravel()
        return _table(columns, WORKLOAD_SCHEMA)

    def _node_rows(self, timeline: Timeline) -> pa.Table:
        return pa.concat_tables([self._groups(timeline), self._pools(timeline), self._cluster(timeline)])

    def _groups(self, timeline: Timeline) -> pa.Table:
        names, rows = self.names, timeline.time_s.size
        columns = self._head(timeline, len(names.groups))
        columns["level"] = _labels(("group",) * len(names.groups), rows)
        columns["pool"] = _labels(tuple(names.pools[p] for p in names.group_pool), rows)
        columns["group"] = _labels(names.groups, rows)
        columns["instance_type"] = _labels(names.group_type, rows)
        columns["zone"] = _labels(names.group_zone, rows)
        columns["capacity_type"] = _labels(names.group_capacity_type, rows)
        columns |= {"nodes": timeline.nodes.ravel(), "node_usd": timeline.node_usd.ravel()}
        return _table(columns, NODE_SCHEMA)

    def _pools(self, timeline: Timeline) -> pa.Table:
        names, rows = self.names, timeline.time_s.size
        member = np.equal.outer(np.array(names.group_pool, dtype=np.int64), np.arange(len(names.pools)))
        columns = self._head(timeline, len(names.pools))
        columns["level"] = _labels(("pool",) * len(names.pools), rows)
        columns["pool"] = _labels(names.pools, rows)
        columns |= {
            "nodes": (timeline.nodes @ member).ravel(),
            "node_usd": (timeline.node_usd @ member).ravel(),
        }
        return _table(columns | {name: getattr(timeline, name).ravel() for name in POOL_SUMS}, NODE_SCHEMA)

    def _cluster(self, timeline: Timeline) -> pa.Table:
        columns = self._head(timeline, 1)
        columns["level"] = _labels(("cluster",), timeline.time_s.size)
        columns |= {"nodes": timeline.nodes.sum(axis=1), "node_usd": timeline.node_usd.sum(axis=1)}
        columns |= {name: getattr(timeline, name).sum(axis=1) for name in POOL_SUMS}
        return _table(columns | {name: getattr(timeline, name) for name in CHURN}, NODE_SCHEMA)


CellName = tuple[str, str, int]  # stack, variation, seed: what the rows of a cell say


def join_timelines(out: Path, folders: Mapping[CellName, Path], name: str) -> None:
    """Join the cells' files `name` into `out/name`, atomically, in the order given, and drop them.

    A cell whose own file was joined by a former run is taken from what that run left in `out/name`.
    """
    schema = WORKLOAD_SCHEMA if name == WORKLOADS_FILE else NODE_SCHEMA
    target, partial = out / name, out / f".{name}.partial"
    former = _joined_row_groups(target)
    with _writer(partial, schema) as writer:
        for cell, folder in folders.items():
            own = folder / name
            for table in _row_groups(own) if own.exists() else _row_groups(target, former[cell]):
                writer.write_table(table, row_group_size=1 << 30)
    os.replace(partial, target)
    for folder in folders.values():
        (folder / name).unlink(missing_ok=True)


def has_timelines(out: Path, folder: Path, cell: CellName) -> bool:
    """True when both timelines of a finished cell are there, its own or joined."""
    return all(
        (folder / name).exists() or cell in _joined_row_groups(out / name) for name in (WORKLOADS_FILE, NODES_FILE)
    )


def _joined_row_groups(path: Path) -> dict[CellName, list[int]]:
    """Row groups of each cell in a joined file. A group is of one cell, so its statistics name it."""
    found: dict[CellName, list[int]] = {}
    if not path.exists():
        return found
    metadata = pq.read_metadata(path)
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        stack, variation, seed = (group.column(k).statistics.min for k in range(3))
        found.setdefault((stack, variation, seed), []).append(index)
    return found


def _row_groups(path: Path, indices: Iterable[int] | None = None) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for index in range(file.num_row_groups) if indices is None else indices:
            yield file.read_row_group(index)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Dictionaries for text and times only: building them for floats takes eight times the processor time."""
    floats = [item.name for item in schema if pa.types.is_floating(item.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[item.name for item in schema if item.name not in floats],
        use_byte_stream_split=floats,
    )


def _codes(codes: Any, labels: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(labels, pa.string()))


def _labels(per_column: tuple[str, ...], rows: int) -> pa.DictionaryArray:
    """Labels of (rows, len(per_column)) values raveled; equal labels share a code."""
    distinct = list(dict.fromkeys(per_column))
    codes = np.array([distinct.index(label) for label in per_column], dtype=np.int32)
    return _codes(np.tile(codes, rows), distinct)


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """A table with every column of the schema, null where there is none."""
    size = len(next(iter(columns.values())))
    arrays = []
    for item in schema:
        values = columns.get(item.name)
        if values is None:
            arrays.append(pa.nulls(size, item.type))
        else:
            arrays.append(values if isinstance(values, pa.DictionaryArray) else pa.array(values).cast(item.type))
    return pa.Table.from_arrays(arrays, schema=schema)
