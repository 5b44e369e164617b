"""What a rollout measured: 5-minute rows per workload, node group and pool. Pure NumPy.

A rollout hands one Timeline per simulated day to its sink, so a month of 500 workloads never sits
in memory at once. Sums over rows are exact totals: counts are requests, money is USD.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.cluster import ClusterSpec
from envs.offerings import group_name, offerings

Array = NDArray[np.float64]
ROW_S = 300.0
CHURN = (  # columns of a Timeline that count how much the cluster moved, in the order of the simulator's rows
    "pods_started",
    "pods_evicted",
    "nodes_added",
    "nodes_removed",
    "replica_changes",
    "nodes_lost",
    "interruptions",
)


@dataclass(frozen=True)
class Names:
    """Labels of the axes. group_* describe node groups (pool x type x capacity type x zone)."""

    workloads: tuple[str, ...]
    namespaces: tuple[str, ...]  # per workload
    teams: tuple[str, ...]  # per workload
    slo_targets: tuple[float, ...]  # per workload
    kinds: tuple[str, ...]  # per workload
    pools: tuple[str, ...]
    groups: tuple[str, ...]
    group_pool: tuple[int, ...]
    group_type: tuple[str, ...]
    group_zone: tuple[str, ...]
    group_capacity_type: tuple[str, ...]

    @staticmethod
    def of(cluster: ClusterSpec) -> Names:
        """Labels of a cluster; groups in declaration order, as `envs.offerings` gives them."""
        groups = [
            (index, pool, machine.name, capacity, zone)
            for index, pool in enumerate(cluster.node_pools)
            for machine, capacity, zone, _ in offerings(cluster, pool)
        ]
        return Names(
            workloads=tuple(w.name for w in cluster.workloads),
            namespaces=tuple(w.namespace for w in cluster.workloads),
            teams=tuple(w.team for w in cluster.workloads),
            slo_targets=tuple(w.slo_target for w in cluster.workloads),
            kinds=tuple(w.kind for w in cluster.workloads),
            pools=tuple(pool.name for pool in cluster.node_pools),
            groups=tuple(group_name(pool, machine, zone, capacity) for _, pool, machine, capacity, zone in groups),
            group_pool=tuple(index for index, *_ in groups),
            group_type=tuple(machine for *_, machine, _, _ in groups),
            group_zone=tuple(zone for *_, zone in groups),
            group_capacity_type=tuple(capacity for *_, capacity, _ in groups),
        )


@dataclass(frozen=True)
class Timeline:
    """Rows t = 0..T-1; row t covers [time_s[t], time_s[t] + ROW_S)."""

    time_s: Array  # (T,) since the scenario's start
    # per workload (T, W): requests (kind service), items (queue), work units (batch)
    offered: Array
    good: Array
    bad_saturated: Array  # capacity was all there and not enough
    bad_starting: Array  # would have been good had starting pods been ready
    bad_no_node: Array  # would have been good had pending pods found a node
    bad_lost: Array  # sent to pods of a node that had died
    ready: Array  # mean ready replicas
    desired: Array  # mean spec.replicas
    pending: Array  # mean unbound pods
    starting: Array  # mean bound pods that are not ready yet
    capacity_rps: Array  # mean requests/s that the ready replicas could serve
    cpu_used: Array  # mean cores
    cpu_requested: Array  # mean cores, bound pods
    memory_used_gib: Array
    memory_requested_gib: Array
    backlog: Array  # requests waiting, at the end of the row
    oom_restarts: Array
    workload_usd: Array  # allocated node dollars: max(used, requested) share; idle is not allocated
    # per node group (T, G)
    nodes: Array  # mean nodes billed
    node_usd: Array
    # per pool (T, L): the three add up to the pool's node_usd
    used_usd: Array
    requested_unused_usd: Array
    idle_usd: Array
    # cluster (T,)
    pods_started: Array
    pods_evicted: Array
    nodes_added: Array
    nodes_removed: Array
    replica_changes: Array  # sum over workloads of |change of spec.replicas|
    nodes_lost: Array  # died with pods or without a drain
    interruptions: Array  # spot nodes that were told to go

    @property
    def bad(self) -> Array:
        """(T, W) requests that missed the threshold, timed out or failed."""
        return self.bad_saturated + self.bad_starting + self.bad_no_node + self.bad_lost

    @staticmethod
    def concat(parts: list[Timeline]) -> Timeline:
        """Join chunks along time."""
        return Timeline(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Timeline)})


Sink = Callable[[Timeline], None]


@dataclass(frozen=True)
class Rollout:
    """The end of one run. Totals are over the horizon, the warm-up left out."""

    scenario: str
    stack: str
    seed: int
    names: Names
    horizon_s: float
    ticks: int
    wall_s: float
    unreachable_slos: tuple[str, ...]  # workloads whose SLO no replica count can meet
    unschedulable: tuple[str, ...]  # workloads with pods that no node group can hold
    notes: tuple[str, ...]  # e.g. interpolated gaps
    info: dict[str, Any]
