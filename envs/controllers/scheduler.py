"""kube-scheduler 1.36: choose a node for one pod. Compiled; reads the cluster, the caller binds.

Filters (`placement`), then adaptive sampling, then scores (`scores`), then the best node with ties
broken at random. Nodes are looked at in an order that goes round the zones, from where the last
search stopped, until enough feasible ones are found. Preemption is in `preemption`.

Left out: preferred inter-pod affinity (no workload has any), images, volumes, nominated pods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from envs.controllers.placement import (
    ON_HOST,
    SOFT_SPREAD,
    FitScratch,
    fit_scratch,
    mark_hosts,
    measure,
    resources_fit,
)
from envs.controllers.preemption import find_preemption
from envs.controllers.scores import (
    CAPACITY_RATIO,
    LEAST_ALLOCATED,
    MOST_ALLOCATED,
    balanced_scores,
    fit_scores,
    gather_feasible,
    normalize,
    spread_scores,
)
from envs.sim.jit import inner
from envs.sim.random import RNG_TIE, below
from envs.sim.state import (
    BOOL,
    CPU,
    F8,
    GPU,
    I1,
    I4,
    I8,
    MEM,
    NODE_FREE,
    NODE_READY,
    PODS,
    Classes,
    Nodes,
    Pods,
    Topology,
)
from envs.stack import SchedulerProfile

__all__ = [
    "ProfileArrays",
    "SchedulerScratch",
    "find_preemption",
    "pack_profile",
    "schedule_one",
    "scheduler_scratch",
]

ZONE = 1  # topology key index
MIN_FEASIBLE, MIN_PERCENT = 100, 5
NO_LIMIT = 1 << 62
SPARSE = 8  # fewer feasible nodes than one in so many: it can be predicted that a node is full
BLOCK = 16  # places of the order whose largest free CPU is kept together
MOST_PODS = 1024  # on one node; no provider allows more than 737
_STRATEGIES = {
    "LeastAllocated": LEAST_ALLOCATED,
    "MostAllocated": MOST_ALLOCATED,
    "RequestedToCapacityRatio": CAPACITY_RATIO,
}
_RESOURCES = {"cpu": CPU, "memory": MEM, "gpu": GPU}


class ProfileArrays(NamedTuple):
    """Scheduler profiles as arrays. `start` is state: where the next search for nodes begins."""

    strategy: I1  # (B,)
    fit_weight: I8  # (B,)
    balanced_weight: I8  # (B,)
    spread_weight: I8  # (B,)
    taint_weight: I8  # (B,)
    affinity_weight: I8  # (B,)
    percentage: I4  # (B,) of nodes to score, 0 = adaptive
    start: I4  # (B,)
    fit_resource: I4  # (B, Q) resource index, -1 = no more
    fit_resource_weight: I8  # (B, Q)
    balanced_resource: I4  # (B, Q)
    shape_x: I8  # (B, H) utilization percent
    shape_y: I8  # (B, H) score 0-100
    n_shape: I4  # (B,)


class SchedulerScratch(NamedTuple):
    """Working memory of the scheduler, one row per cluster. n_victims and victims are its answer too."""

    fit: FitScratch
    order: I4  # (B, N) node slots in the order they are looked at
    n_order: I4  # (B,)
    order_key: I4  # (B, 2) nodes.hi and nodes.epoch when `order` was made
    place: I4  # (B, N) where a slot is in `order`
    most_free: I8  # (B, N / BLOCK + 1) largest free CPU of a block of `order`, NO_LIMIT = not known
    known_at: I8  # (B,) nodes.changed up to which most_free holds
    zone_head: I4  # (B, Z)
    zone_next: I4  # (B, N)
    feasible: I4  # (B, N)
    n_feasible: I4  # (B,)
    in_group: I4  # (B, G) feasible nodes of a group
    has_keys: BOOL  # (B, G) the group's nodes have all soft spread keys
    counts_all: I1  # (B, W, K) soft constraint counts every group that has its key; -1 = not known yet
    group_of: I4  # (B, N) by place in `feasible`
    limit: I8  # (B, G, 3) most that may be in use on a node that takes the class
    core: F8  # (B, 6, N) by place in `feasible`: allocatable, used, scored use; CPU and memory each
    core_ok: BOOL  # (B,)
    spread_sum: F8  # (B, N) by place in `feasible`
    bonus: I8  # (B, G) weighted taint and affinity scores
    weight: F8  # (B, K)
    part: F8  # (B, K, G)
    host_ok: BOOL  # (B, N) hostname terms allow the node
    fit_score: I8  # (B, N) by place in `feasible`, like the next three
    balanced: I8  # (B, N)
    spread_raw: I8  # (B, N)
    spread: I8  # (B, N)
    taint: I8  # (B, G)
    affinity: I8  # (B, G)
    best: I4  # (B, N) nodes that share the highest score
    score: I8  # (B, N) total score, by place in `feasible`
    n_victims: I4  # (B,)
    victims: I4  # (B, V) pod slots, most important first
    candidates: I4  # (B, V)
    violating: BOOL  # (B, V)
    must_go: BOOL  # (B, V)
    budget: I4  # (B, W) disruptions left, in `preemption`
    budget_mark: I4  # (B, W)
    mark: I4  # (B,)
    free: I8  # (B, R) on a node without its candidates, in `preemption`
    allowed: I4  # (B, W) disruptions that budgets allow in this search for a preemption
    allowed_in: I4  # (B, W) the search in which that was worked out
    search: I4  # (B,)


def pack_profile(profiles: Sequence[SchedulerProfile]) -> ProfileArrays:
    """Profiles of a batch as arrays."""
    b, q = len(profiles), max(2, *(len(p.fit_resources) for p in profiles))
    h = max(len(p.fit_shape) for p in profiles)
    fit = np.full((b, q), -1, np.int32)
    weight, shape = np.zeros((b, q), np.int64), np.zeros((2, b, h), np.int64)
    balanced = np.full((b, q), -1, np.int32)
    balanced[:, :2] = [CPU, MEM]
    for i, p in enumerate(profiles):
        for j, (name, value) in enumerate(p.fit_resources):
            fit[i, j], weight[i, j] = _RESOURCES[name], value
        for j, (utilization, score) in enumerate(p.fit_shape):
            shape[:, i, j] = utilization, 10 * score

    def column(values: Sequence[int], kind: Any = np.int64) -> Any:
        return np.array(values, kind)

    return ProfileArrays(
        strategy=column([_STRATEGIES[p.fit_strategy] for p in profiles], np.int8),
        fit_weight=column([p.fit_weight for p in profiles]),
        balanced_weight=column([p.balanced_weight for p in profiles]),
        spread_weight=column([p.spread_weight for p in profiles]),
        taint_weight=column([p.taint_weight for p in profiles]),
        affinity_weight=column([p.affinity_weight for p in profiles]),
        percentage=column([p.percentage_of_nodes_to_score for p in profiles], np.int32),
        start=np.zeros(b, np.int32),
        fit_resource=fit,
        fit_resource_weight=weight,
        balanced_resource=balanced,
        shape_x=shape[0],
        shape_y=shape[1],
        n_shape=column([len(p.fit_shape) for p in profiles], np.int32),
    )


def scheduler_scratch(classes: Classes, topology: Topology, nodes: Nodes, pods: Pods) -> SchedulerScratch:
    """Working memory for a batch. Topology key 1 must be the zone."""
    b, w, k = classes.spread_key.shape
    zones, most = topology.dom_pods.shape[2], min(pods.phase.shape[1], MOST_PODS)
    n, g = nodes.group.shape[1], topology.group_domain.shape[1]

    def ints(*shape: int) -> I4:
        return np.zeros(shape, np.int32)

    def longs(*shape: int) -> I8:
        return np.zeros(shape, np.int64)

    return SchedulerScratch(
        fit=fit_scratch(classes, topology),
        order=ints(b, n),
        n_order=ints(b),
        order_key=np.full((b, 2), -2, np.int32),
        place=ints(b, n),
        most_free=longs(b, n // BLOCK + 1),
        known_at=longs(b),
        zone_head=ints(b, zones),
        zone_next=ints(b, n),
        feasible=ints(b, n),
        n_feasible=ints(b),
        in_group=ints(b, g),
        has_keys=np.zeros((b, g), np.bool_),
        counts_all=np.full((b, w, k), -1, np.int8),
        group_of=ints(b, n),
        limit=longs(b, g, 3),
        core=np.zeros((b, 6, n)),
        core_ok=np.zeros(b, np.bool_),
        spread_sum=np.zeros((b, n)),
        bonus=longs(b, g),
        weight=np.zeros((b, k)),
        part=np.zeros((b, k, g)),
        host_ok=np.zeros((b, n), np.bool_),
        fit_score=longs(b, n),
        balanced=longs(b, n),
        spread_raw=longs(b, n),
        spread=longs(b, n),
        taint=longs(b, g),
        affinity=longs(b, g),
        best=ints(b, n),
        score=longs(b, n),
        n_victims=ints(b),
        victims=ints(b, most),
        candidates=ints(b, most),
        violating=np.zeros((b, most), np.bool_),
        must_go=np.zeros((b, most), np.bool_),
        budget=ints(b, w),
        budget_mark=ints(b, w),
        mark=ints(b),
        free=longs(b, classes.req.shape[2]),
        allowed=ints(b, w),
        allowed_in=ints(b, w),
        search=ints(b),
    )


@inner
def order_nodes(topology: Any, nodes: Any, b: int, scratch: Any) -> None:
    """scratch.order = all slots in use, going round the zones, so that a sample of nodes has them all.

    Made again when slots were taken or given back.
    Booting nodes are in it already; the filter passes over them.
    """
    hi, key = nodes.hi[b], scratch.order_key[b]
    if key[0] == hi and key[1] == nodes.epoch[b]:
        return
    key[0], key[1] = hi, nodes.epoch[b]
    head, after, order = scratch.zone_head[b], scratch.zone_next[b], scratch.order[b]
    phase, group, domain = nodes.phase[b], nodes.group[b], topology.group_domain[b]
    for z in range(head.shape[0]):
        head[z] = -1
    left, count = 0, 0
    for n in range(hi - 1, -1, -1):
        if phase[n] != NODE_FREE:
            z = max(domain[group[n], ZONE], 0)
            after[n] = head[z]
            head[z] = n
            left += 1
    while count < left:
        for z in range(head.shape[0]):
            n = head[z]
            if n >= 0:
                order[count] = n
                scratch.place[b, n] = count
                count += 1
                head[z] = after[n]
    scratch.n_order[b] = count
    forget_room(nodes, b, scratch)


@inner
def forget_room(nodes: Any, b: int, scratch: Any) -> None:
    """Nothing is known of the free CPU of any block."""
    scratch.known_at[b] = nodes.changed[b]
    most_free = scratch.most_free[b]
    for k in range(most_free.shape[0]):
        most_free[k] = NO_LIMIT


@inner
def note_changes(nodes: Any, b: int, scratch: Any) -> None:
    """Forget what was known of blocks in which pods have come or gone since."""
    memory, changed = nodes.changed_on.shape[1], nodes.changed[b]
    if changed - scratch.known_at[b] > memory:
        forget_room(nodes, b, scratch)
    for i in range(scratch.known_at[b], changed):
        scratch.most_free[b, scratch.place[b, nodes.changed_on[b, i % memory]] // BLOCK] = NO_LIMIT
    scratch.known_at[b] = changed


@inner
def lacks_room(groups: Any, nodes: Any, b: int, at: int, cpu: int, scratch: Any) -> bool:
    """Whether no node of the block that begins at place `at` has so much CPU free. After `note_changes`."""
    most_free, k = scratch.most_free[b], at // BLOCK
    if most_free[k] == NO_LIMIT:
        order, group, alloc, used, most = scratch.order[b], nodes.group[b], groups.alloc[b], nodes.used[b], 0
        for i in range(at, min(at + BLOCK, scratch.n_order[b])):
            n = order[i]
            most = max(most, alloc[max(group[n], 0), CPU] - used[n, CPU])
        most_free[k] = most
    return most_free[k] < cpu


@inner
def nodes_to_find(n_nodes: int, percentage: int) -> int:
    """How many feasible nodes are enough: all up to 100, else a share: 50 - n/125 %, at least 5 %."""
    if n_nodes < MIN_FEASIBLE:
        return n_nodes
    if percentage == 0:
        percentage = max(50 - n_nodes // 125, MIN_PERCENT)
    return max(n_nodes * percentage // 100, MIN_FEASIBLE)


@inner
def set_limits(req: Any, alloc: Any, group_ok: Any, limit: Any) -> bool:
    """limit[g, r]: the most that a node of group g may have in use of CPU, memory and pods to take the class.

    Negative where the group takes none; a resource that is not asked for has no limit, even on a node
    that is over it. Returns whether the class asks for extended resources too.
    """
    for g in range(limit.shape[0]):
        for r in range(PODS + 1):
            limit[g, r] = alloc[g, r] - req[r] if req[r] > 0 else NO_LIMIT
        if not group_ok[g]:
            limit[g, CPU] = -1
    extended = 0
    for r in range(PODS + 1, req.shape[0]):
        extended += req[r] > 0
    return extended > 0


@inner
def find_feasible(
    classes: Any, topology: Any, groups: Any, nodes: Any, profile: Any, b: int, w: int, scratch: Any
) -> int:
    """Fill scratch.feasible, from where the last search stopped; the number found. After `order_nodes`."""
    measure(classes, topology, nodes, b, w, scratch.fit)
    if scratch.fit.terms[b] & ON_HOST:
        mark_hosts(classes, topology, nodes, b, w, scratch.fit, scratch.host_ok)
    host_terms, host_ok = scratch.fit.terms[b] & ON_HOST, scratch.host_ok[b]
    group_ok, phase, group = scratch.fit.group_ok[b], nodes.phase[b], nodes.group[b]
    order, feasible, n_all = scratch.order[b], scratch.feasible[b], scratch.n_order[b]
    used, limit = nodes.used[b], scratch.limit[b]
    extended = set_limits(classes.req[b, w], groups.alloc[b], group_ok, limit)
    wanted = nodes_to_find(n_all, profile.percentage[b])
    full = SPARSE * scratch.n_feasible[b] < n_all  # most nodes had no room last time: they go by the first look
    first = profile.start[b] if profile.start[b] < n_all else 0
    found, at, last, cpu = 0, first, n_all, classes.req[b, w, CPU]
    if full:
        note_changes(nodes, b, scratch)
    for _ in range(2):  # from where the last search stopped to the end, then what is before it
        while at < last and found < wanted:
            if full and at % BLOCK == 0 and lacks_room(groups, nodes, b, at, cpu, scratch):
                at = min(at + BLOCK, last)
                continue
            n = np.uint64(order[at])  # unsigned: no check for an index from the end
            g = np.uint64(max(group[n], 0))
            if full and used[n, CPU] > limit[g, CPU]:
                at += 1
                continue
            # no branch on the outcome: which nodes are full cannot be predicted
            ok = (phase[n] == NODE_READY) & (used[n, CPU] <= limit[g, CPU])
            ok &= (used[n, MEM] <= limit[g, MEM]) & (used[n, PODS] <= limit[g, PODS])
            if extended and ok:
                ok = resources_fit(classes.req, groups.alloc, nodes.used, b, w, group[n], order[at])
            if host_terms:
                ok &= host_ok[n]
            feasible[found] = order[at]
            found += ok
            at += 1
        if found >= wanted or first == 0:
            break
        at, last = 0, first
    profile.start[b] = at if at < n_all else 0
    scratch.n_feasible[b] = found
    return found


@inner
def score_feasible(
    classes: Any, topology: Any, groups: Any, nodes: Any, profile: Any, b: int, w: int, scratch: Any
) -> None:
    """scratch.score = the weighted sum of all plugins for each feasible node."""
    gather_feasible(groups, nodes, b, scratch)
    soft = scratch.fit.terms[b] & SOFT_SPREAD
    if soft:
        spread_scores(classes, topology, nodes, b, w, scratch)
    fit_scores(classes, groups, nodes, profile, b, w, scratch)
    balanced_scores(classes, groups, nodes, profile, b, w, scratch)
    normalize(classes.soft_taints[b, w], scratch.in_group[b], True, scratch.taint[b])
    normalize(classes.affinity_score[b, w], scratch.in_group[b], False, scratch.affinity[b])
    taint, affinity, bonus, group_of = (
        scratch.taint[b],
        scratch.affinity[b],
        scratch.bonus[b],
        scratch.group_of[b],
    )
    fit, balanced, spread, out = (
        scratch.fit_score[b],
        scratch.balanced[b],
        scratch.spread[b],
        scratch.score[b],
    )
    fit_weight, balanced_weight = profile.fit_weight[b], profile.balanced_weight[b]
    for g in range(bonus.shape[0]):
        bonus[g] = profile.taint_weight[b] * taint[g] + profile.affinity_weight[b] * affinity[g]
    for i in range(scratch.n_feasible[b]):
        out[i] = fit_weight * fit[i] + balanced_weight * balanced[i] + bonus[group_of[i]]
    if soft:
        spread_weight = profile.spread_weight[b]
        for i in range(scratch.n_feasible[b]):
            out[i] += spread_weight * spread[i]


@inner
def pick_best(rng: Any, b: int, scratch: Any) -> int:
    """The feasible node with the highest score; among equals one at random (stream RNG_TIE)."""
    score, feasible, best = scratch.score[b], scratch.feasible[b], scratch.best[b]
    highest, ties = score[0], 0
    for i in range(scratch.n_feasible[b]):
        if score[i] > highest:
            highest, ties = score[i], 0
        if score[i] == highest:
            best[ties] = feasible[i]
            ties += 1
    return best[below(rng, b, RNG_TIE, ties) if ties > 1 else 0]


@inner
def schedule_one(
    classes: Any, topology: Any, groups: Any, nodes: Any, profile: Any, rng: Any, b: int, w: int, scratch: Any
) -> int:
    """Node slot for one pod of class w in cluster b, or -1 when no node fits. Binds nothing."""
    order_nodes(topology, nodes, b, scratch)
    found = find_feasible(classes, topology, groups, nodes, profile, b, w, scratch)
    if found == 0:
        return -1
    if found == 1:
        return scratch.feasible[b, 0]
    score_feasible(classes, topology, groups, nodes, profile, b, w, scratch)
    return pick_best(rng, b, scratch)
