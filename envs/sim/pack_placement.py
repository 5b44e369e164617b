"""ClusterSpec -> the arrays that the scheduler and node autoscalers read (Classes, Topology, Groups).

A node group is one (pool, instance type, capacity type, zone). String rules (selectors, taints) are evaluated
here, once, by `envs.matching`. Clusters of a batch are padded to the largest: padding never runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.cluster import (
    HOSTNAME_KEY,
    ZONE_KEY,
    CapacityType,
    ClusterSpec,
    DisruptionBudget,
    InstanceType,
    NodePool,
    Workload,
    once_per_spec,
)
from envs.matching import hard_taints_tolerated, intolerable_soft_taints, matches_node_affinity
from envs.offerings import group_name, node_labels, offerings
from envs.sim.state import CPU, MEM, Classes, Groups, Topology

GIB = 1 << 30
RESOURCES = 4
DAEMON_PODS = 3  # network, proxy and log agents
DEFAULT_CPU_MILLI, DEFAULT_MEMORY = 100, 200 << 20  # what scoring takes for a missing request


@dataclass(frozen=True)
class NodeGroup:
    """One (pool, instance type, capacity type, zone) and the labels its nodes carry."""

    pool: int
    spec: NodePool
    machine: InstanceType
    zone: str
    labels: dict[str, str]
    capacity_type: CapacityType = "on-demand"
    price_usd_per_h: float = 0.0
    home: bool = True  # of the type and capacity type that the pool's first nodes have

    @property
    def name(self) -> str:
        return group_name(self.spec, self.machine.name, self.zone, self.capacity_type)


@once_per_spec
def node_groups(cluster: ClusterSpec) -> tuple[NodeGroup, ...]:
    """Every (pool, type, capacity type, zone) in declaration order: index g of all arrays.

    A type without a price for a capacity type is not offered there. The first zones of a pool are its home.
    """
    groups = []
    for index, pool in enumerate(cluster.node_pools):
        first: tuple[str, str] | None = None
        for machine, capacity, zone, price in offerings(cluster, pool):
            first = first or (machine.name, capacity)
            labels = node_labels(pool, machine, zone, capacity)
            home = (machine.name, capacity) == first
            groups.append(NodeGroup(index, pool, machine, zone, labels, capacity, price, home))
    return tuple(groups)


def requests(w: Workload) -> list[int]:
    """Requests of one pod: CPU milli, memory bytes, pods, GPU."""
    return [round(w.cpu_request * 1000), round(w.memory_request_gib * GIB), 1, w.gpu_request]


def _spread(w: Workload) -> list[tuple[str, int, bool, int]]:
    """Own constraints, or the scheduler's system defaults (soft: hostname skew 3, zone skew 5)."""
    own = [(c.topology_key, c.max_skew, c.hard, c.min_domains) for c in w.spread]
    return own or [(HOSTNAME_KEY, 3, False, 1), (ZONE_KEY, 5, False, 1)]


def topology_keys(clusters: list[ClusterSpec]) -> list[str]:
    """Key 0 is the hostname; then every key that some workload's rules name."""
    keys = [HOSTNAME_KEY, ZONE_KEY]
    for cluster in clusters:
        for w in cluster.workloads:
            for key in [c[0] for c in _spread(w)] + [a.topology_key for a in w.anti_affinity]:
                if key not in keys:
                    keys.append(key)
    return keys


class Selectors:
    """Interned sets of workload indices: selector index -> members."""

    def __init__(self, workloads: int) -> None:
        self.members: list[tuple[int, ...]] = [(i,) for i in range(workloads)]
        self._index = {m: i for i, m in enumerate(self.members)}

    def intern(self, members: tuple[int, ...]) -> int:
        if members not in self._index:
            self._index[members] = len(self.members)
            self.members.append(members)
        return self._index[members]


@dataclass(frozen=True)
class Terms:
    """(key index, selector index) lists per workload: own anti-affinity, and that of others against it."""

    own: list[list[tuple[int, int]]]
    reverse: list[list[tuple[int, int]]]


def affinity_terms(cluster: ClusterSpec, keys: list[str], selectors: Selectors) -> Terms:
    """Resolve names of required anti-affinity to selectors, both ways."""
    names = {w.name: i for i, w in enumerate(cluster.workloads)}
    own: list[list[tuple[int, int]]] = [[] for _ in cluster.workloads]
    holders: dict[tuple[int, int], list[int]] = {}
    for i, w in enumerate(cluster.workloads):
        for term in w.anti_affinity:
            key = keys.index(term.topology_key)
            targets = tuple(sorted(names[n] for n in term.workloads)) or (i,)
            own[i].append((key, selectors.intern(targets)))
            for t in targets:
                holders.setdefault((t, key), []).append(i)
    reverse: list[list[tuple[int, int]]] = [[] for _ in cluster.workloads]
    for (target, key), who in holders.items():
        reverse[target].append((key, selectors.intern(tuple(sorted(set(who))))))
    return Terms(own, reverse)


def pdb_code(pdb: DisruptionBudget | None) -> tuple[int, float]:
    """(pdb_kind, pdb_value) of envs.sim.state.Classes."""
    if pdb is None:
        return 0, 0.0
    kind, value = (1, pdb.min_available) if pdb.min_available is not None else (2, pdb.max_unavailable or 0.0)
    return kind + (2 if pdb.is_share else 0), float(value or 0.0)


def pack_placement(clusters: list[ClusterSpec]) -> tuple[Classes, Topology, Groups]:
    """Arrays of a batch; `dom_pods` starts empty."""
    keys = topology_keys(clusters)
    batch = len(clusters)
    W = max(len(c.workloads) for c in clusters)
    group_lists = [node_groups(c) for c in clusters]
    G = max(len(g) for g in group_lists)
    selectors = [Selectors(W) for _ in clusters]
    terms = [affinity_terms(c, keys, s) for c, s in zip(clusters, selectors, strict=True)]
    K = max(len(_spread(w)) for c in clusters for w in c.workloads)
    A = max([1] + [len(x) for t in terms for x in t.own + t.reverse])
    classes = _empty_classes(batch, W, G, K, A)
    groups = _empty_groups(batch, G)
    for b, cluster in enumerate(clusters):
        for g, group in enumerate(group_lists[b]):
            _write_group(groups, b, g, group)
        for i, w in enumerate(cluster.workloads):
            _write_class(classes, b, i, w, group_lists[b], keys)
            for a, (key, sel) in enumerate(terms[b].own[i]):
                classes.anti_key[b, i, a], classes.anti_sel[b, i, a] = key, sel
            for a, (key, sel) in enumerate(terms[b].reverse[i]):
                classes.ranti_key[b, i, a], classes.ranti_sel[b, i, a] = key, sel
    return classes, _topology(group_lists, selectors, keys, W, G), groups


def _empty_classes(b: int, w: int, g: int, k: int, a: int) -> Classes:
    def full(shape: tuple[int, ...], value: int = 0) -> np.ndarray:
        return np.full(shape, value, np.int32)

    off = np.zeros((b, w, k), np.bool_)
    return Classes(
        req=np.zeros((b, w, RESOURCES), np.int64),
        score_req=np.zeros((b, w, 2), np.int64),
        priority=full((b, w)),
        fits_group=np.zeros((b, w, g), np.bool_),
        affinity_ok=np.zeros((b, w, g), np.bool_),
        soft_taints=full((b, w, g)),
        affinity_score=full((b, w, g)),
        spread_key=full((b, w, k), -1),
        spread_skew=full((b, w, k), 1),
        spread_hard=off.copy(),
        spread_min_domains=full((b, w, k), 1),
        spread_self=off.copy(),
        spread_sel=full((b, w, k)),
        anti_key=full((b, w, a), -1),
        anti_sel=full((b, w, a)),
        ranti_key=full((b, w, a), -1),
        ranti_sel=full((b, w, a)),
        aff_key=full((b, w, a), -1),
        aff_sel=full((b, w, a)),
        aff_self=np.zeros((b, w, a), np.bool_),
        drain_code=np.zeros((b, w), np.int8),
        pdb_kind=np.zeros((b, w), np.int8),
        pdb_value=np.zeros((b, w)),
    )


def _write_class(c: Classes, b: int, i: int, w: Workload, groups: tuple[NodeGroup, ...], keys: list[str]) -> None:
    c.req[b, i] = requests(w)
    c.score_req[b, i, 0] = c.req[b, i, CPU] or DEFAULT_CPU_MILLI
    c.score_req[b, i, 1] = c.req[b, i, MEM] or DEFAULT_MEMORY
    c.priority[b, i] = w.priority
    for g, group in enumerate(groups):
        ok = matches_node_affinity(group.labels, node_selector=dict(w.node_selector))
        c.affinity_ok[b, i, g] = ok
        c.fits_group[b, i, g] = ok and hard_taints_tolerated(w.tolerations, group.spec.taints)
        c.soft_taints[b, i, g] = intolerable_soft_taints(w.tolerations, group.spec.taints)
    for k, (key, skew, hard, domains) in enumerate(_spread(w)):
        c.spread_key[b, i, k] = keys.index(key)
        c.spread_skew[b, i, k], c.spread_hard[b, i, k] = skew, hard
        c.spread_min_domains[b, i, k], c.spread_self[b, i, k] = domains, True
        c.spread_sel[b, i, k] = i
    c.drain_code[b, i] = 0 if w.safe_to_evict else 1
    c.pdb_kind[b, i], c.pdb_value[b, i] = pdb_code(w.pdb)


def _empty_groups(b: int, g: int) -> Groups:
    def ints() -> np.ndarray:
        return np.zeros((b, g), np.int32)

    def amounts() -> np.ndarray:
        return np.ones((b, g, RESOURCES), np.int64)

    return Groups(
        cap=amounts(), alloc=amounts(), daemon=amounts(), price=np.zeros((b, g)), pool=ints(), zone=ints(),
        min_nodes=ints(), max_nodes=ints(), boot_mean_s=np.zeros((b, g)), boot_cv=np.zeros((b, g)),
        priority_tier=np.full((b, g), -(2**31), np.int32), spot=np.zeros((b, g), np.bool_), hazard=np.zeros((b, g)),
    )  # fmt: skip


def split_evenly(total: int, parts: int) -> list[int]:
    """total in whole numbers over parts, the first ones taking the remainder."""
    return [total // parts + (1 if i < total % parts else 0) for i in range(parts)]


def _write_group(groups: Groups, b: int, g: int, group: NodeGroup) -> None:
    pool, m = group.spec, group.machine
    groups.cap[b, g] = [round(m.vcpu * 1000), round(m.memory_gib * GIB), m.max_pods, m.gpu]
    groups.alloc[b, g] = [round(m.allocatable_cpu * 1000), round(m.allocatable_memory_gib * GIB), m.max_pods, m.gpu]
    groups.daemon[b, g] = [round(pool.daemon_cpu * 1000), round(pool.daemon_memory_gib * GIB), DAEMON_PODS, 0]
    groups.price[b, g] = group.price_usd_per_h
    groups.spot[b, g] = group.capacity_type == "spot"
    groups.pool[b, g] = group.pool
    zone = pool.zones.index(group.zone)
    groups.zone[b, g] = zone
    groups.min_nodes[b, g] = split_evenly(pool.min_nodes, len(pool.zones))[zone] if group.home else 0
    groups.max_nodes[b, g] = pool.max_nodes
    groups.boot_mean_s[b, g], groups.boot_cv[b, g] = pool.boot_delay_s, pool.boot_delay_cv


def _topology(
    group_lists: list[tuple[NodeGroup, ...]], selectors: list[Selectors], keys: list[str], W: int, G: int
) -> Topology:
    batch, S = len(group_lists), max(len(s.members) for s in selectors)
    M = max(sum(len(m) for m in s.members) for s in selectors)
    start, item = np.zeros((batch, S + 1), np.int32), np.zeros((batch, M), np.int32)
    domain = np.full((batch, G, len(keys)), -1, np.int32)
    widest = 1
    for b, groups in enumerate(group_lists):
        sizes = [len(m) for m in selectors[b].members] + [0] * (S - len(selectors[b].members))
        start[b] = np.concatenate([[0], np.cumsum(sizes)])
        flat = [i for m in selectors[b].members for i in m]
        item[b, : len(flat)] = flat
        for t, key in enumerate(keys[1:], start=1):
            values = sorted({g.labels[key] for g in groups if key in g.labels})
            widest = max(widest, len(values))
            for g, group in enumerate(groups):
                if key in group.labels:
                    domain[b, g, t] = values.index(group.labels[key])
    return Topology(start, item, domain, np.zeros((batch, len(keys), widest, W), np.int32))
