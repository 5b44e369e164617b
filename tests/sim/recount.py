"""The simulator's books counted again from its pod and node tables, in plain Python and NumPy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from envs.sim.cluster_sim import ClusterSim
from envs.sim.state import (
    HOSTNAME,
    NODE_BOOTING,
    NODE_DRAINING,
    NODE_FREE,
    NODE_LOST,
    NODE_READY,
    POD_FREE,
    POD_PENDING,
    POD_READY,
    POD_STARTING,
    POD_TERMINATING,
)


def check_books(sim: ClusterSim, b: int = 0) -> None:
    """Every count, list and sum of cluster b agrees with its pods and nodes."""
    s = sim.arrays
    assert s.clock.overflow[b] == 0
    check_slots(s.pods, s.pods.phase, POD_FREE, b)
    check_slots(s.nodes, s.nodes.phase, NODE_FREE, b)
    check_pods(s, b, sim.tick * sim.tick_s)
    check_lists(s, b)
    check_queue(s, b)
    check_nodes(s, b)
    check_flow(s, b)
    check_anti_affinity(s, b)


def check_slots(table: Any, phase: Any, free: int, b: int) -> None:
    """The stack of free slots holds each free slot below `hi` once."""
    spare = table.free[b, : table.n_free[b]].tolist()
    expected = np.flatnonzero(phase[b, : table.hi[b]] == free).tolist()
    assert sorted(spare) == expected
    assert not phase[b, table.hi[b] :].any()


def pods_in(s: Any, b: int, *phases: int) -> list[int]:
    return np.flatnonzero(np.isin(s.pods.phase[b], phases)).tolist()


def check_pods(s: Any, b: int, now_s: float) -> None:
    """Phases, nodes and times of each pod fit together."""
    p, n = s.pods, s.nodes
    for i in pods_in(s, b, POD_PENDING, POD_STARTING, POD_READY, POD_TERMINATING):
        w, phase, node = p.workload[b, i], p.phase[b, i], p.node[b, i]
        assert 0 <= w < p.first_of.shape[1]
        assert p.created_s[b, i] <= now_s
        assert (node < 0) == (phase == POD_PENDING)
        assert np.isinf(p.gone_s[b, i]) == (phase != POD_TERMINATING)
        if phase == POD_PENDING:
            continue
        assert n.phase[b, node] in (NODE_READY, NODE_DRAINING, NODE_LOST), "a pod is on a node that is not there"
        assert s.classes.fits_group[b, w, n.group[b, node]], "selector or taint was ignored"
        assert p.created_s[b, i] <= p.bound_s[b, i] <= now_s
        if phase == POD_READY:
            assert p.bound_s[b, i] <= p.ready_s[b, i] <= now_s
        elif phase == POD_STARTING and n.phase[b, node] == NODE_LOST:
            assert p.ready_s[b, i] <= s.faults.lost_s[b, node] or np.isinf(p.ready_s[b, i])
        elif phase == POD_STARTING:
            assert p.ready_s[b, i] > now_s - 1e-6, "a pod that should be ready still starts"
        else:
            assert p.gone_s[b, i] > now_s - 1e-6, "a pod outlives its grace time"


def walk(first: int, following: Any, before: Any) -> list[int]:
    """Members of a doubly linked list; fails when the links disagree or go round."""
    out, previous = [], -1
    while first >= 0:
        assert before[first] == previous
        out.append(int(first))
        assert len(out) <= len(following)
        previous, first = first, following[first]
    return out


def check_lists(s: Any, b: int) -> None:
    """Lists of workloads and nodes hold exactly their pods; `active` those that start or terminate."""
    p = s.pods
    for w in range(p.first_of.shape[1]):
        members = walk(p.first_of[b, w], p.next_w[b], p.prev_w[b])
        assert sorted(members) == np.flatnonzero((p.workload[b] == w) & (p.phase[b] != POD_FREE)).tolist()
        assert np.all(np.diff(p.created_s[b, members]) <= 0.0), "newest first"
    for n in range(s.nodes.hi[b]):
        if s.nodes.phase[b, n] != NODE_FREE:
            members = walk(s.nodes.first_pod[b, n], p.next_n[b], p.prev_n[b])
            assert sorted(members) == np.flatnonzero((p.node[b] == n) & (p.phase[b] != POD_FREE)).tolist()
    active = s.clock.active[b, : s.clock.n_active[b]].tolist()
    lost = [i for i in pods_in(s, b, POD_STARTING) if s.nodes.phase[b, p.node[b, i]] == NODE_LOST]
    assert sorted([*active, *lost]) == pods_in(s, b, POD_STARTING, POD_TERMINATING)
    assert s.clock.active_at[b, active].tolist() == list(range(len(active)))
    assert np.count_nonzero(s.clock.active_at[b] >= 0) == len(active)


def check_queue(s: Any, b: int) -> None:
    """The scheduling queue holds the pending pods by priority, then age."""
    queue = s.pods.pending[b, : s.pods.n_pending[b]].tolist()
    assert sorted(queue) == pods_in(s, b, POD_PENDING)
    keys = [(-int(s.classes.priority[b, s.pods.workload[b, p]]), float(s.pods.created_s[b, p])) for p in queue]
    assert keys == sorted(keys)


def check_nodes(s: Any, b: int) -> None:
    """What nodes hold is the sum of their pods' requests and within what is allocatable."""
    n, p = s.nodes, s.pods
    counted = np.zeros_like(s.topology.dom_pods[b])
    for i in range(n.hi[b]):
        if n.phase[b, i] == NODE_FREE:
            assert n.group[b, i] == -1
            assert not n.pods_of[b, :, i].any()
            continue
        g = n.group[b, i]
        here = np.flatnonzero((p.node[b] == i) & (p.phase[b] != POD_FREE))
        w = p.workload[b, here]
        used = s.groups.daemon[b, g] + s.classes.req[b, w].sum(axis=0)
        assert np.array_equal(n.used[b, i], used)
        assert np.all(used <= np.maximum(s.groups.alloc[b, g], s.groups.daemon[b, g])), "over its allocatable"
        assert np.array_equal(n.score_used[b, i], s.groups.daemon[b, g, :2] + s.classes.score_req[b, w].sum(axis=0))
        assert n.n_pods[b, i] == len(here)
        alive = w[p.phase[b, here] != POD_TERMINATING]
        of_class = np.bincount(alive, minlength=n.pods_of.shape[1])
        assert np.array_equal(n.pods_of[b, :, i], of_class)
        for t, d in enumerate(s.topology.group_domain[b, g]):
            if t > HOSTNAME and d >= 0:
                counted[t, d] += of_class
    assert np.array_equal(s.topology.dom_pods[b], counted)


def check_flow(s: Any, b: int) -> None:
    """Per-workload and per-group counts, and the limits of pools."""
    p, n, flow = s.pods, s.nodes, s.flow
    for w in range(flow.n_ready.shape[1]):
        phases = Counter(p.phase[b, p.workload[b] == w].tolist())
        counts = (flow.n_pending[b, w], flow.n_starting[b, w], flow.n_ready[b, w], flow.n_terminating[b, w])
        order = (POD_PENDING, POD_STARTING, POD_READY, POD_TERMINATING)
        assert counts == tuple(phases[k] for k in order)
        bound = p.node[b, (p.workload[b] == w) & (p.node[b] >= 0)]
        groups = np.bincount(n.group[b, bound], minlength=flow.bound_in_group.shape[2])
        assert np.array_equal(flow.bound_in_group[b, w], groups)
    live = np.flatnonzero(n.phase[b] != NODE_FREE)
    per_group = np.bincount(n.group[b, live], minlength=s.groups.price.shape[1])
    assert np.array_equal(s.clock.live_nodes[b], per_group)
    assert s.clock.n_booting[b] == np.count_nonzero(n.phase[b] == NODE_BOOTING)
    assert s.faults.n_lost[b] == np.count_nonzero(n.phase[b] == NODE_LOST)
    assert s.clock.n_draining[b] == np.count_nonzero(n.phase[b] == NODE_DRAINING)
    per_pool = np.bincount(s.groups.pool[b], weights=per_group, minlength=s.clock.pool_max.shape[1])
    assert np.all(per_pool <= s.clock.pool_max[b]), "a pool is over its maximum"
    if np.isinf(s.faults.time_s[b, 0]):  # a fault may take nodes below it
        assert np.all(per_group >= s.groups.min_nodes[b]), "a group is under its minimum"


def check_anti_affinity(s: Any, b: int) -> None:
    """Required anti-affinity, which removals cannot break, holds between all pods that stay."""
    start, item = s.topology.sel_start[b], s.topology.sel_item[b]
    for w in range(s.classes.anti_key.shape[1]):
        for key, sel in zip(s.classes.anti_key[b, w], s.classes.anti_sel[b, w], strict=True):
            if key < 0:
                continue
            others = item[start[sel] : start[sel + 1]]
            counts = s.nodes.pods_of[b].T if key == HOSTNAME else s.topology.dom_pods[b, key]
            for row in counts:
                enemies = int(row[others].sum()) - (1 if w in others else 0)
                assert row[w] == 0 or enemies <= 0, "anti-affinity was broken"


def domain_counts(s: Any, b: int, w: int, k: int) -> dict[int, int]:
    """Pods of class w in each eligible domain of its spread constraint k (nodes that are Ready or cordoned)."""
    n, t = s.nodes, s.classes.spread_key[b, w, k]
    keys = [int(x) for x, hard in zip(s.classes.spread_key[b, w], s.classes.spread_hard[b, w], strict=True) if hard]
    out: dict[int, int] = {}
    for i in range(n.hi[b]):
        g = n.group[b, i]
        if n.phase[b, i] not in (NODE_READY, NODE_DRAINING) or not s.classes.affinity_ok[b, w, g]:
            continue
        if any(x > HOSTNAME and s.topology.group_domain[b, g, x] < 0 for x in keys):
            continue
        d = i if t == HOSTNAME else int(s.topology.group_domain[b, g, t])
        out[d] = out.get(d, 0) + int(n.pods_of[b, w, i])
    return out


def worst_skew(s: Any, b: int, w: int, k: int) -> int:
    """Largest count over smallest, as the scheduler's filter sees them."""
    counts = domain_counts(s, b, w, k)
    if not counts:
        return 0
    low = min(counts.values()) if len(counts) >= s.classes.spread_min_domains[b, w, k] else 0
    return max(counts.values()) - low
