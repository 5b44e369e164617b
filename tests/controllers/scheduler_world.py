"""Random small clusters as state tuples, with pods bound by plain Python (no kernel under test)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from envs.sim.state import (
    NODE_BOOTING,
    NODE_DRAINING,
    NODE_FREE,
    NODE_READY,
    POD_PENDING,
    POD_READY,
    POD_STARTING,
    POD_TERMINATING,
    Classes,
    Groups,
    Nodes,
    Pods,
    Topology,
    empty_nodes,
    empty_pods,
)

MIB = 1024 * 1024
R = 5


@dataclass(frozen=True)
class Shape:
    """Sizes of a random world."""

    workloads: int = 5
    groups: int = 4
    nodes: int = 12
    keys: int = 3  # topology keys, the hostname included
    domains: int = 3
    spread: int = 2
    terms: int = 2
    pods: int = 40


class PodCounts(NamedTuple):
    """Living pods by class, (1, W), as envs.sim.flow.Flow keeps them."""

    n_ready: np.ndarray
    n_starting: np.ndarray
    n_pending: np.ndarray


@dataclass(frozen=True)
class World:
    """One cluster (b = 0)."""

    classes: Classes
    topology: Topology
    groups: Groups
    nodes: Nodes
    pods: Pods

    def counts(self) -> PodCounts:
        """Recounted from the pods themselves."""
        classes = np.arange(self.classes.priority.shape[1])
        phase, owner = self.pods.phase[0], self.pods.workload[0]

        def count(wanted: int) -> np.ndarray:
            return ((owner[:, None] == classes) & (phase[:, None] == wanted)).sum(axis=0, dtype=np.int32)[None]

        return PodCounts(count(POD_READY), count(POD_STARTING), count(POD_PENDING))

    def selected(self, s: int) -> list[int]:
        """Classes that selector s matches."""
        start = self.topology.sel_start[0]
        return [int(w) for w in self.topology.sel_item[0, start[s] : start[s + 1]]]


def _selectors(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Selector w matches class w only; a few more match random sets."""
    sets = [[w] for w in range(shape.workloads)]
    sets += [sorted(rng.choice(shape.workloads, rng.integers(1, 4), replace=False).tolist()) for _ in range(4)]
    start = np.cumsum([0] + [len(s) for s in sets]).astype(np.int32)
    return start[None], np.array([w for s in sets for w in s], np.int32)[None]


def random_classes(rng: np.random.Generator, shape: Shape, *, terms: float, elig: bool) -> Classes:
    """terms: chance that a constraint or affinity slot is used; elig: give spread_elig a table."""
    w, g, k, a = shape.workloads, shape.groups, shape.spread, shape.terms
    req = np.zeros((1, w, R), np.int64)
    req[0, :, 0] = rng.choice([0, 100, 250, 500, 1000, 2000], w)
    req[0, :, 1] = rng.choice([0, 128, 512, 1024, 3000], w) * MIB
    req[0, :, 2] = 1
    req[0, :, 3] = rng.choice([0, 0, 0, 1], w)
    req[0, :, 4] = rng.choice([0, 0, 2], w)
    score = np.stack(
        [np.where(req[..., 0] == 0, 100, req[..., 0]), np.where(req[..., 1] == 0, 200 * MIB, req[..., 1])], -1
    )

    def key(n: int, chance: float) -> np.ndarray:
        keys = rng.integers(0, shape.keys, (1, w, n))
        return np.where(rng.random((1, w, n)) < chance, keys, -1).astype(np.int32)

    def sel(n: int) -> np.ndarray:
        return rng.integers(0, w + 4, (1, w, n)).astype(np.int32)

    affinity = rng.random((1, w, g)) < 0.8
    return Classes(
        req=req,
        score_req=np.ascontiguousarray(score),
        priority=rng.choice([0, 0, 10, 100], (1, w)).astype(np.int32),
        fits_group=affinity & (rng.random((1, w, g)) < 0.9),
        affinity_ok=affinity,
        soft_taints=rng.integers(0, 3, (1, w, g)).astype(np.int32),
        affinity_score=rng.choice([0, 0, 10, 50], (1, w, g)).astype(np.int32),
        spread_key=key(k, terms),
        spread_skew=rng.integers(1, 4, (1, w, k)).astype(np.int32),
        spread_hard=rng.random((1, w, k)) < 0.5,
        spread_min_domains=rng.integers(1, 4, (1, w, k)).astype(np.int32),
        spread_self=rng.random((1, w, k)) < 0.7,
        spread_sel=sel(k),
        anti_key=key(a, terms * 0.5),
        anti_sel=sel(a),
        ranti_key=key(a, terms * 0.3),
        ranti_sel=sel(a),
        aff_key=key(a, terms * 0.3),
        aff_sel=sel(a),
        aff_self=rng.random((1, w, a)) < 0.5,
        drain_code=np.zeros((1, w), np.int8),
        pdb_kind=rng.integers(0, 5, (1, w)).astype(np.int8),
        pdb_value=np.zeros((1, w)),
        spread_elig=rng.random((1, w, k, g)) < 0.8 if elig else np.zeros((0, 0, 0, 0), np.bool_),
    )


def random_groups(rng: np.random.Generator, shape: Shape) -> Groups:
    """Groups with GPU and an extended resource on some."""
    g = shape.groups
    alloc = np.zeros((1, g, R), np.int64)
    alloc[0, :, 0] = rng.choice([1900, 3920, 7910], g)
    alloc[0, :, 1] = rng.choice([3000, 7500, 15000], g) * MIB
    alloc[0, :, 2] = rng.choice([4, 8, 110], g)
    alloc[0, :, 3] = rng.choice([0, 2, 8], g)
    alloc[0, :, 4] = rng.choice([0, 4], g)
    daemon = np.zeros_like(alloc)
    daemon[0, :, 0], daemon[0, :, 2] = 100, 1
    zeros = np.zeros((1, g))
    none = np.zeros((1, g), np.int32)
    return Groups(alloc, alloc, daemon, zeros, none, none, none, none + 100, zeros, zeros, none)


def random_world(seed: int, shape: Shape | None = None, *, terms: float = 0.6, elig: bool = False) -> World:
    """A world whose pods were bound where resources allow, terms ignored (so they may be violated)."""
    shape, rng = shape or Shape(), np.random.default_rng(seed)
    start, items = _selectors(rng, shape)
    domain = rng.integers(-1, shape.domains, (1, shape.groups, shape.keys)).astype(np.int32)
    if rng.random() < 0.6:
        domain = np.maximum(domain, 0)
    topology = Topology(start, items, domain, np.zeros((1, shape.keys, shape.domains, shape.workloads), np.int32))
    classes, groups = random_classes(rng, shape, terms=terms, elig=elig), random_groups(rng, shape)
    classes.pdb_value[0] = np.where(
        classes.pdb_kind[0] >= 3, rng.random(shape.workloads).round(2), rng.integers(0, 4, shape.workloads)
    )
    nodes, pods = (
        empty_nodes(1, shape.workloads, shape.nodes + 2, R),
        empty_pods(1, shape.workloads, shape.pods),
    )
    nodes.hi[0] = shape.nodes
    for n in range(shape.nodes):
        nodes.phase[0, n] = rng.choice([NODE_FREE, NODE_BOOTING, NODE_DRAINING] + [NODE_READY] * 9)
        nodes.group[0, n] = -1 if nodes.phase[0, n] == NODE_FREE else rng.integers(shape.groups)
        if nodes.group[0, n] >= 0:
            nodes.used[0, n] = groups.daemon[0, nodes.group[0, n]]
            nodes.score_used[0, n] = nodes.used[0, n, :2]
    world = World(classes, topology, groups, nodes, pods)
    for p in range(shape.pods):
        _place(world, rng, p)
    return world


def _place(world: World, rng: np.random.Generator, p: int) -> None:
    """Bind a pod of a random class to a random node that has room; else leave the slot free."""
    c, g, n, w = (
        world.classes,
        world.groups,
        int(rng.integers(world.nodes.hi[0])),
        int(rng.integers(world.classes.req.shape[1])),
    )
    if world.nodes.phase[0, n] not in (NODE_READY, NODE_DRAINING):
        return
    if (world.nodes.used[0, n] + c.req[0, w] > g.alloc[0, world.nodes.group[0, n]]).any():
        return
    phase = int(rng.choice([POD_STARTING, POD_READY, POD_READY, POD_TERMINATING]))
    world.nodes.used[0, n] += c.req[0, w]
    world.nodes.score_used[0, n] += c.score_req[0, w]
    world.nodes.n_pods[0, n] += 1
    if phase != POD_TERMINATING:
        world.nodes.pods_of[0, w, n] += 1
        for t in range(1, world.topology.group_domain.shape[2]):
            d = world.topology.group_domain[0, world.nodes.group[0, n], t]
            if d >= 0:
                world.topology.dom_pods[0, t, d, w] += 1
    _link(world, p, n, w)
    world.pods.phase[0, p], world.pods.bound_s[0, p] = phase, float(rng.integers(0, 50))


def _link(world: World, p: int, n: int, w: int) -> None:
    pods = world.pods
    pods.workload[0, p], pods.node[0, p] = w, n
    pods.next_n[0, p] = world.nodes.first_pod[0, n]
    if pods.next_n[0, p] >= 0:
        pods.prev_n[0, pods.next_n[0, p]] = p
    world.nodes.first_pod[0, n] = p
    pods.next_w[0, p] = pods.first_of[0, w]
    if pods.next_w[0, p] >= 0:
        pods.prev_w[0, pods.next_w[0, p]] = p
    pods.first_of[0, w] = p
    pods.hi[0] = max(int(pods.hi[0]), p + 1)
