"""Preemption as kube-scheduler 1.36 does it: which node, and which of its pods must go. Compiled.

On each node where it could help, all pods of lower priority are taken away; if the pod then fits,
as many as possible are given back, those whose disruption budget would be broken first, the more
important ones first. The node is chosen by: fewest broken budgets, lowest priority of its most
important victim, lowest sum of priorities, fewest victims, latest start of the most important
victims. Pods that are being deleted already are neither victims nor free room.

The caller evicts the victims, and does not ask again for the same pod before they are gone.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.disruption import pdb_allowed
from envs.controllers.placement import (
    AFFINITY,
    ANTI_AFFINITY,
    HARD_SPREAD,
    class_terms,
    count_pod,
    fits,
    measure,
    reserve,
)
from envs.sim.jit import inner
from envs.sim.state import NODE_READY, POD_READY, POD_STARTING

MIN_CANDIDATES, CANDIDATE_PERCENT = 100, 10
_PRIORITY_OFFSET = 2**31  # makes each victim count, so that negative priorities do not invite more of them


@inner
def more_important(classes: Any, pods: Any, b: int, p: int, q: int) -> bool:
    """Whether pod p is to be spared before pod q: higher priority, then the longer running."""
    a = classes.priority[b, pods.workload[b, p]]
    c = classes.priority[b, pods.workload[b, q]]
    if a != c:
        return a > c
    return pods.bound_s[b, p] < pods.bound_s[b, q]


@inner
def _lower_priority_pods(classes: Any, nodes: Any, pods: Any, b: int, w: int, n: int, scratch: Any) -> int:
    """Bound pods on n below class w's priority, most important first, into candidates; their number."""
    found, p, bar = 0, nodes.first_pod[b, n], classes.priority[b, w]
    candidates, priority, room = scratch.candidates[b], classes.priority[b], scratch.candidates.shape[1]
    phase, workload, next_n = pods.phase[b], pods.workload[b], pods.next_n[b]
    while p >= 0 and found < room:
        if phase[p] in (POD_STARTING, POD_READY) and priority[workload[p]] < bar:
            i = found
            while i > 0 and more_important(classes, pods, b, p, candidates[i - 1]):
                candidates[i] = candidates[i - 1]
                i -= 1
            candidates[i] = p
            found += 1
        p = next_n[p]
    return found


@inner
def _disruptions_left(classes: Any, counts: Any, b: int, w: int) -> int:
    """What workload w's budget allows now."""
    healthy = counts.n_ready[b, w]
    return pdb_allowed(classes, b, w, healthy, healthy + counts.n_starting[b, w] + counts.n_pending[b, w])


@inner
def _mark_violations(classes: Any, pods: Any, counts: Any, b: int, count: int, scratch: Any) -> None:
    """scratch.violating: evicting the candidates in their order breaks this one's budget."""
    scratch.mark[b] += 1
    for i in range(count):
        w = pods.workload[b, scratch.candidates[b, i]]
        if scratch.budget_mark[b, w] != scratch.mark[b]:
            scratch.budget_mark[b, w] = scratch.mark[b]
            if scratch.allowed_in[b, w] != scratch.search[b] or scratch.search[b] == 0:
                scratch.allowed_in[b, w] = scratch.search[b]
                scratch.allowed[b, w] = _disruptions_left(classes, counts, b, w)
            scratch.budget[b, w] = scratch.allowed[b, w]
        scratch.budget[b, w] -= 1
        scratch.violating[b, i] = scratch.budget[b, w] < 0


@inner
def _needs_counts(classes: Any, b: int, w: int) -> bool:
    """Whether it depends on other pods, not on room alone, where class w may go."""
    c = classes
    bits = class_terms(c.spread_key, c.spread_hard, c.anti_key, c.ranti_key, c.aff_key, b, w)
    return bits & (HARD_SPREAD | ANTI_AFFINITY | AFFINITY) != 0


@inner
def _has_room_without(classes: Any, groups: Any, nodes: Any, pods: Any, b: int, w: int, n: int, count: int,
                      scratch: Any) -> bool:  # fmt: skip
    """Whether the requests of class w fit on node n with all its candidates away."""
    req, g = classes.req, nodes.group[b, n]
    for r in range(req.shape[2]):
        if req[b, w, r] > 0:
            used = nodes.used[b, n, r] + req[b, w, r]
            for i in range(count):
                used -= req[b, pods.workload[b, scratch.candidates[b, i]], r]
            if used > groups.alloc[b, g, r]:
                return False
    return True


@inner
def _shift(
    classes: Any, topology: Any, nodes: Any, pods: Any, b: int, n: int, first: int, last: int, delta: int, scratch: Any
) -> None:
    """Take candidates first .. last-1 off node n's books (delta -1) or put them back (1)."""
    for i in range(first, last):
        w = pods.workload[b, scratch.candidates[b, i]]
        reserve(classes, nodes, b, w, n, delta)
        count_pod(topology, nodes, b, w, n, delta)


@inner
def _reprieve(
    classes: Any, topology: Any, groups: Any, nodes: Any, pods: Any, b: int, w: int, n: int, count: int, scratch: Any
) -> int:
    """Give candidates back while class w still fits, budget breakers first; scratch.must_go for the rest.

    All candidates are off the node's books before; those that may stay are on them after. Returns
    the number of broken budgets, or -1 when the pod does not fit even with all of them away.
    """
    broken = 0
    for step in range(-1, 2 * count):
        i = step % count
        if step >= 0:
            if scratch.violating[b, i] != (step < count):
                continue
            _shift(classes, topology, nodes, pods, b, n, i, i + 1, 1, scratch)
        measure(classes, topology, nodes, b, w, scratch.fit)
        room = fits(classes, topology, groups, nodes, b, w, n, scratch.fit)
        if step < 0:
            if not room:
                return -1
            continue
        scratch.must_go[b, i] = not room
        if not room:
            _shift(classes, topology, nodes, pods, b, n, i, i + 1, -1, scratch)
            broken += 1 if scratch.violating[b, i] else 0
    return broken


@inner
def _reprieve_by_room(classes: Any, groups: Any, nodes: Any, pods: Any, b: int, w: int, n: int, count: int,
                      scratch: Any) -> int:  # fmt: skip
    """Like `_reprieve` for a class that only needs room, which is counted beside the node's books.

    After `_has_room_without`: it has room with all candidates away.
    """
    free, req, broken = scratch.free[b], classes.req[b], 0
    for r in range(free.shape[0]):
        free[r] = groups.alloc[b, nodes.group[b, n], r] - nodes.used[b, n, r] - req[w, r]
        for i in range(count):
            free[r] += req[pods.workload[b, scratch.candidates[b, i]], r]
    for step in range(2 * count):
        i = step % count
        if scratch.violating[b, i] != (step < count):
            continue
        back, room = pods.workload[b, scratch.candidates[b, i]], True
        for r in range(free.shape[0]):
            free[r] -= req[back, r]
            room = room and (free[r] >= 0 or req[w, r] == 0)
        scratch.must_go[b, i] = not room
        if not room:
            broken += 1 if scratch.violating[b, i] else 0
            for r in range(free.shape[0]):
                free[r] += req[back, r]
    return broken


@inner
def select_victims(
    classes: Any, topology: Any, groups: Any, nodes: Any, pods: Any, counts: Any, b: int, w: int, n: int, scratch: Any
) -> Any:
    """(number of victims, broken budgets) for class w on node n; (0, 0) when preemption does not help.

    The victims are the first entries of scratch.candidates, most important first. The node's books
    are changed on the way and put back.
    """
    count = _lower_priority_pods(classes, nodes, pods, b, w, n, scratch)
    if count == 0 or not _has_room_without(classes, groups, nodes, pods, b, w, n, count, scratch):
        return 0, 0
    counted = _needs_counts(classes, b, w)
    _mark_violations(classes, pods, counts, b, count, scratch)
    for i in range(count):
        scratch.must_go[b, i] = True
    if counted:
        _shift(classes, topology, nodes, pods, b, n, 0, count, -1, scratch)
        broken = _reprieve(classes, topology, groups, nodes, pods, b, w, n, count, scratch)
    else:
        broken = _reprieve_by_room(classes, groups, nodes, pods, b, w, n, count, scratch)
    victims = 0
    for i in range(count):
        if scratch.must_go[b, i]:
            scratch.candidates[b, victims] = scratch.candidates[b, i]
            victims += 1
    if counted:
        _shift(classes, topology, nodes, pods, b, n, 0, victims, 1, scratch)
    return (victims, broken) if broken >= 0 else (0, 0)


@inner
def _rank(classes: Any, pods: Any, b: int, victims: int, broken: int, scratch: Any) -> Any:
    """The five criteria of a candidate node as a tuple; smaller is better."""
    top = classes.priority[b, pods.workload[b, scratch.candidates[b, 0]]]
    total, earliest = 0, pods.bound_s[b, scratch.candidates[b, 0]]
    for i in range(victims):
        p = scratch.candidates[b, i]
        priority = classes.priority[b, pods.workload[b, p]]
        total += priority + _PRIORITY_OFFSET
        if priority == top:
            earliest = min(earliest, pods.bound_s[b, p])
    return float(broken), float(top), float(total), float(victims), -earliest


@inner
def _could_help(classes: Any, topology: Any, groups: Any, b: int, w: int, g: int) -> bool:
    """Whether evicting pods can matter on nodes of group g: nothing about them forbids class w."""
    if not classes.fits_group[b, w, g]:
        return False
    for r in range(classes.req.shape[2]):
        if classes.req[b, w, r] > groups.alloc[b, g, r]:
            return False
    for k in range(classes.spread_key.shape[2]):
        t = classes.spread_key[b, w, k]
        if t > 0 and classes.spread_hard[b, w, k] and topology.group_domain[b, g, t] < 0:
            return False
    return True


@inner
def find_preemption(
    classes: Any, topology: Any, groups: Any, nodes: Any, pods: Any, counts: Any, b: int, w: int, scratch: Any
) -> int:
    """Node on which a pod of class w should preempt, or -1. Victims: scratch.victims[b, :n_victims[b]].

    After `schedule_one` found no node for the class. counts: n_ready, n_starting, n_pending (B, W).
    Stops after max(100, 10 % of the nodes that
    could help) candidates, once one of them breaks no budget. Equal nodes: the first one looked at.
    """
    scratch.search[b] += 1
    potential, helps, group, phase = 0, scratch.in_group[b], nodes.group[b], nodes.phase[b]
    for g in range(helps.shape[0]):
        helps[g] = 1 if _could_help(classes, topology, groups, b, w, g) else 0
    for i in range(scratch.n_order[b]):
        n = scratch.order[b, i]
        potential += helps[group[n]] if phase[n] == NODE_READY else 0
    enough = max(MIN_CANDIDATES, potential * CANDIDATE_PERCENT // 100)
    chosen, found, harmless = -1, 0, 0
    best = (0.0, 0.0, 0.0, 0.0, 0.0)
    scratch.n_victims[b] = 0
    for i in range(scratch.n_order[b]):
        n = scratch.order[b, i]
        if phase[n] != NODE_READY or helps[group[n]] == 0:
            continue
        victims, broken = select_victims(classes, topology, groups, nodes, pods, counts, b, w, n, scratch)
        if victims == 0:
            continue
        found += 1
        harmless += 1 if broken == 0 else 0
        rank = _rank(classes, pods, b, victims, broken, scratch)
        if chosen < 0 or rank < best:
            chosen, best = n, rank
            scratch.n_victims[b] = victims
            for v in range(victims):
                scratch.victims[b, v] = scratch.candidates[b, v]
        if harmless > 0 and found >= enough:
            break
    return chosen
