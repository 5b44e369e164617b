"""Fold 5-minute Timelines into hourly tables, day by day, so that a month fits in memory.

Sums stay exact sums (requests, USD, events); levels (replicas, cores, nodes) become means over the
hour's rows. Timelines come in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.cluster import InstanceType
from envs.discounts import CommittedUse, commitment_terms
from envs.timeline import CHURN, ROW_S, Names, Timeline

Array = NDArray[np.float64]
HOUR_S = 3600.0
WORKLOAD_SUMS = (
    "offered",
    "good",
    "bad_saturated",
    "bad_starting",
    "bad_no_node",
    "bad_lost",
    "oom_restarts",
    "workload_usd",
)
WORKLOAD_MEANS = (
    *("ready", "desired", "pending", "starting", "capacity_rps", "cpu_used", "cpu_requested"),
    *("memory_used_gib", "memory_requested_gib", "backlog"),
)
POOL_SUMS = ("used_usd", "requested_unused_usd", "idle_usd")
_LEVELS = frozenset((*WORKLOAD_MEANS, "nodes"))
_COLUMNS = (*WORKLOAD_SUMS, *WORKLOAD_MEANS, *CHURN, *POOL_SUMS, "node_usd", "nodes")


@dataclass
class HourFold:
    """A Sink that keeps hourly sums and means of one rollout.

    committed: a commitment that `usd` of cluster_hours is to be billed under.
    names and instance types label the axes; allocatable CPU of a group comes from its type. row_s: what
    one row of a Timeline covers. A Timeline may end within an hour; the next one goes on with it.
    """

    names: Names
    instance_types: Sequence[InstanceType]
    row_s: float = ROW_S
    committed: CommittedUse | None = None
    _parts: dict[str, list[Array]] = field(default_factory=dict)

    def __call__(self, timeline: Timeline) -> None:
        hour = np.floor(timeline.time_s / HOUR_S)
        starts = np.flatnonzero(np.diff(hour, prepend=-1.0))
        self._keep("hour", hour[starts])
        self._keep("rows", np.diff(np.append(starts, hour.size)).astype(float))
        for name in _COLUMNS:
            self._keep(name, np.add.reduceat(getattr(timeline, name), starts, axis=0))

    def _keep(self, name: str, values: Array) -> None:
        self._parts.setdefault(name, []).append(values)

    def hour(self) -> NDArray[np.int64]:
        """(H,) whole hours since the scenario's start."""
        return np.unique(np.concatenate(self._parts["hour"])).astype(np.int64)

    def hours(self) -> Array:
        """(H,) length of each, in hours: 1 but for a horizon that ends within one."""
        return self._sum("rows") * self.row_s / HOUR_S

    def array(self, name: str) -> Array:
        """(H,) or (H, axis) hourly sums, or means of levels."""
        summed = self._sum(name)
        if name not in _LEVELS:
            return summed
        rows = self._sum("rows")
        return summed / (rows if summed.ndim == 1 else rows[:, None])

    def _sum(self, name: str) -> Array:
        hour = np.concatenate(self._parts["hour"])
        starts = np.flatnonzero(np.diff(hour, prepend=-1.0))
        return np.add.reduceat(np.concatenate(self._parts[name]), starts, axis=0)

    def workload_hours(self) -> pd.DataFrame:
        """Long: one row per hour and workload."""
        columns = {name: self.array(name) for name in (*WORKLOAD_SUMS, *WORKLOAD_MEANS)}
        return self._long("workload", self.names.workloads, columns)

    def pool_hours(self) -> pd.DataFrame:
        """Long: one row per hour and pool; `usd` is the pool's node dollars."""
        pools = len(self.names.pools)
        columns = {name: self.array(name) for name in POOL_SUMS}
        columns["usd"] = _by_label(self.array("node_usd"), self.names.group_pool, pools)
        columns["nodes"] = _by_label(self.array("nodes"), self.names.group_pool, pools)
        return self._long("pool", self.names.pools, columns)

    def type_hours(self) -> pd.DataFrame:
        """Long: one row per hour and (instance type, capacity type)."""
        groups = zip(self.names.group_type, self.names.group_capacity_type, strict=True)
        sold = [name if kind == "on-demand" else f"{name} ({kind})" for name, kind in groups]
        labels = tuple(dict.fromkeys(sold))
        index = [labels.index(name) for name in sold]
        columns = {
            "nodes": _by_label(self.array("nodes"), index, len(labels)),
            "usd": _by_label(self.array("node_usd"), index, len(labels)),
        }
        return self._long("instance_type", labels, columns)

    def cluster_hours(self) -> pd.DataFrame:
        """One row per hour: the whole cluster. Requests are those of services and queues."""
        counted = counts_as_requests(self.names)
        frame = pd.DataFrame({"hour": self.hour(), "hours": self.hours()})
        for name in ("offered", "good", "bad_saturated", "bad_starting", "bad_no_node", "bad_lost"):
            frame[name] = self.array(name)[:, counted].sum(axis=1)
        for name in ("ready", "desired", "pending", "starting", "cpu_used", "cpu_requested", "oom_restarts"):
            frame[name] = self.array(name).sum(axis=1)
        frame["nodes"] = self.array("nodes").sum(axis=1)
        frame["cpu_allocatable"] = self.array("nodes") @ self._allocatable_cpu()
        frame["list_usd"] = self.array("node_usd").sum(axis=1)
        for name, values in self._commitment().items():
            frame[name] = values
        frame["usd"] = frame["list_usd"] - frame["commitment_saved_usd"] + frame["commitment_wasted_usd"]
        for name in POOL_SUMS:
            frame[name] = self.array(name).sum(axis=1)
        for name in CHURN:
            frame[name] = self.array(name)
        return frame

    def _commitment(self) -> dict[str, Array]:
        """What a committed use saved, and how much of it was used and wasted, by the hour; zeros without one."""
        if self.committed is None:
            zero = np.zeros(self.hours().size)
            return {f"commitment_{name}_usd": zero for name in ("saved", "used", "wasted")}
        on_demand = np.array(self.names.group_capacity_type) == "on-demand"
        terms = commitment_terms(self.array("node_usd")[:, on_demand].sum(axis=1), self.committed, self.hours())
        return {f"commitment_{name}_usd": values for name, values in terms.items()}

    def _allocatable_cpu(self) -> Array:
        by_type = {t.name: t.allocatable_cpu for t in self.instance_types}
        return np.array([by_type.get(name, np.nan) for name in self.names.group_type])

    def _long(self, axis: str, labels: tuple[str, ...], columns: dict[str, Array]) -> pd.DataFrame:
        hour = self.hour()
        codes = np.tile(np.arange(len(labels), dtype=np.int32), hour.size)
        head = {
            "hour": np.repeat(hour, len(labels)),
            axis: pd.Categorical.from_codes(codes, categories=pd.Index(labels, dtype="object")),
        }
        return pd.DataFrame(head | {name: values.ravel() for name, values in columns.items()})


def counts_as_requests(names: Names) -> NDArray[np.int64]:
    """Indices of workloads whose units are requests: services and queues; batch only if there is no other."""
    counted = np.flatnonzero([kind != "batch" for kind in names.kinds])
    return counted if counted.size else np.arange(len(names.kinds))


def _by_label(values: Array, index: Sequence[int], count: int) -> Array:
    """(H, count) sums of (H, G) columns that share a label."""
    out = np.zeros((values.shape[0], count))
    for column, label in enumerate(index):
        out[:, label] += values[:, column]
    return out
