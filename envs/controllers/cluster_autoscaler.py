"""The Cluster Autoscaler's loop: which nodes to ask for, and which to remove.

One call of `ca_loop` is one loop at a real-valued time. It works on the live arrays and leaves
them byte for byte as they were; what it decided is in `CaOutput`. Order of a loop, as upstream:
upcoming nodes become ready in the simulation, pending pods are packed onto what is there, the rest
ask for nodes; then the removal of underused nodes is simulated, one on top of the other.
Version followed: cluster-autoscaler as of 2026-08, commit 472288069b42.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.ca_deletion import crop_to_budgets, removable_at, unneeded_limit
from envs.controllers.ca_eligibility import ELIGIBLE, ineligible_reason, node_utilization
from envs.controllers.ca_expanders import choose_option
from envs.controllers.ca_removal import find_unneeded
from envs.controllers.ca_scaleup import note_scale_up_failure, scale_up_options, scale_up_plan
from envs.controllers.ca_snapshot import find_place, put, rollback, take
from envs.controllers.ca_state import (
    CaConfig,
    CaOutput,
    CaState,
    drain_flags,
    empty_ca_output,
    empty_ca_state,
    pack_autoscaler,
)
from envs.controllers.disruption import pdb_allowed
from envs.sim.jit import inner, kernel
from envs.sim.state import (
    GPU,
    NODE_BOOTING,
    NODE_DRAINING,
    NODE_FREE,
    NODE_READY,
    POD_FREE,
    POD_READY,
    POD_TERMINATING,
)

__all__ = [
    "CaConfig",
    "CaOutput",
    "CaState",
    "ca_loop",
    "drain_flags",
    "empty_ca_output",
    "empty_ca_state",
    "note_scale_up_failure",
    "pack_autoscaler",
]

GPU_POD_DELAY_S = 30.0
EXPENDABLE_BELOW = -10  # --expendable-pods-priority-cutoff
RANK_EMPTY, RANK_KNOWN, RANK_OTHER, RANK_NONE, RANK_FOUND = 0, 1, 2, 3, 4


@inner
def see_node(cfg: Any, nodes: Any, state: Any, b: int, n: int, now_s: float) -> None:
    """Take stock of node n: sizes, and what it is in this loop's simulation."""
    phase, g = nodes.phase[b, n], nodes.group[b, n]
    state.phase[b, n] = phase
    state.search.dest[b, n] = phase == NODE_READY
    if phase == NODE_FREE:
        return
    if state.born_s[b, n] != nodes.created_s[b, n]:  # the slot holds another node now
        state.born_s[b, n] = nodes.created_s[b, n]
        state.unneeded_since_s[b, n] = math.nan
        state.unremovable_until_s[b, n] = -math.inf
    state.sizes[b, g] += 1
    state.n_nodes[b] += 1
    if phase == NODE_DRAINING:
        state.deleting[b, g] += 1
    elif phase == NODE_BOOTING:
        late = now_s - nodes.created_s[b, n] > cfg.max_provision_s[b]
        if late and state.backoff_until_s[b, g] <= now_s:
            note_scale_up_failure(cfg, state, b, g, now_s)
        nodes.phase[b, n] = NODE_FREE if late else NODE_READY  # an upcoming node takes pods


@inner
def begin(cfg: Any, nodes: Any, state: Any, out: Any, b: int, now_s: float) -> None:
    """Reset what a loop works on, and look at every node."""
    state.search.loop[b] += 1
    state.sizes[b] = 0
    state.deleting[b] = 0
    state.n_nodes[b] = 0
    state.budgets_known[b] = 0
    out.add[b] = 0
    out.n_remove[b] = 0
    for n in range(nodes.hi[b]):
        see_node(cfg, nodes, state, b, n, now_s)
    last_s = state.last_loop_s[b]
    if not math.isnan(last_s):
        state.min_interval_s[b] = min(state.min_interval_s[b], max(now_s - last_s, 1e-9))
    state.last_loop_s[b] = now_s


@inner
def end(classes: Any, topology: Any, nodes: Any, state: Any, b: int) -> None:
    """Undo the simulation."""
    rollback(classes, topology, nodes, state.journal, b, 0)
    for n in range(nodes.hi[b]):
        nodes.phase[b, n] = state.phase[b, n]


@inner
def list_waiting(classes: Any, nodes: Any, pods: Any, state: Any, b: int) -> int:
    """Pods that need a place, by priority: pending ones, and those that draining nodes will evict."""
    count = 0
    for i in range(pods.n_pending[b]):
        p = pods.pending[b, i]
        if classes.priority[b, pods.workload[b, p]] >= EXPENDABLE_BELOW:
            state.lost[b, count] = p
            count += 1
    for n in range(nodes.hi[b]):
        if state.phase[b, n] != NODE_DRAINING:
            continue
        p = nodes.first_pod[b, n]
        while p >= 0:
            w = pods.workload[b, p]
            if pods.phase[b, p] != POD_TERMINATING and classes.drain_code[b, w] != 2:
                i = count
                while (
                    i > 0
                    and classes.priority[b, pods.workload[b, state.lost[b, i - 1]]] < classes.priority[b, w]
                ):
                    state.lost[b, i] = state.lost[b, i - 1]
                    i -= 1
                state.lost[b, i] = p
                count += 1
            p = pods.next_n[b, p]
    return count


@inner
def pack_waiting(
    classes: Any, topology: Any, groups: Any, nodes: Any, pods: Any, state: Any, b: int, now_s: float
) -> Any:
    """Put waiting pods on ready and upcoming nodes; the rest by class in state.pending.

    (oldest creation time, oldest of a GPU pod) of the rest. Once a pod of a class found no place,
    its later ones are not tried.
    """
    pending = state.pending
    for k in range(pending.n[b]):
        pending.count[b, pending.cls[b, k]] = 0
    pending.n[b] = 0
    oldest_s, oldest_gpu_s = math.inf, math.inf
    loop = state.search.loop[b]
    for i in range(list_waiting(classes, nodes, pods, state, b)):
        p = state.lost[b, i]
        w = pods.workload[b, p]
        if state.failed[b, w] != loop:
            n = find_place(classes, topology, groups, nodes, state.search, b, w, p, True)
            if n >= 0:
                e = take(classes, topology, nodes, state.journal, b, w, p, -1, True)
                if e >= 0:
                    put(classes, topology, nodes, state.journal, b, e, n)
                continue
            state.failed[b, w] = loop
        if pods.created_s[b, p] >= now_s:
            continue
        if pending.count[b, w] == 0:
            pending.cls[b, pending.n[b]] = w
            pending.n[b] += 1
        pending.count[b, w] += 1
        oldest_s = min(oldest_s, pods.created_s[b, p])
        if classes.req[b, w, GPU] > 0:
            oldest_gpu_s = min(oldest_gpu_s, pods.created_s[b, p])
    return oldest_s, oldest_gpu_s


@inner
def scale_up(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    cfg: Any,
    state: Any,
    out: Any,
    rng: Any,
    b: int,
    now_s: float,
) -> bool:
    """Fill out.add; True when new pods are waited for, in which case nothing is removed either."""
    oldest_s, oldest_gpu_s = pack_waiting(classes, topology, groups, nodes, pods, state, b, now_s)
    if state.pending.n[b] == 0:
        return False
    total = cfg.max_nodes_total[b]
    if total > 0 and ready_nodes(nodes, state, b) >= total:
        return False
    if oldest_s + cfg.new_pod_delay_s[b] > now_s:
        return True
    if not math.isinf(oldest_gpu_s) and oldest_gpu_s + GPU_POD_DELAY_S > now_s:
        return True
    if scale_up_options(classes, topology, groups, nodes, cfg, state, b, now_s) == 0:
        return False
    o = choose_option(cfg.expander[b], groups, state.options, rng, b)
    if o >= 0 and scale_up_plan(groups, cfg, state, out.add, b, o) > 0:
        state.last_add_s[b] = now_s
    return False


@inner
def ready_nodes(nodes: Any, state: Any, b: int) -> int:
    """Nodes that are Ready, cordoned ones too."""
    count = 0
    for n in range(nodes.hi[b]):
        if state.phase[b, n] in (NODE_READY, NODE_DRAINING):
            count += 1
    return count


@inner
def list_candidates(groups: Any, nodes: Any, cfg: Any, state: Any, b: int, now_s: float) -> Any:
    """Fill state.candidates: empty nodes, then those unneeded already, then others.

    (candidates, nodes unneeded in the last loop).
    """
    known = 0
    ranked = 0
    for n in range(nodes.hi[b]):
        state.rank[b, n] = RANK_NONE
        unneeded = not math.isnan(state.unneeded_since_s[b, n]) and state.phase[b, n] != NODE_FREE
        known += 1 if unneeded else 0
        if state.phase[b, n] != NODE_READY:
            continue
        g = nodes.group[b, n]
        gpu_node = groups.cap[b, g, GPU] > 0
        use = node_utilization(groups.alloc, nodes.used, b, g, n, gpu_node, 0, 0, 0)[0]
        recent = state.unremovable_until_s[b, n] > now_s
        reason = ineligible_reason(recent, False, False, g, False, use, cfg.utilization_limit[b])
        if reason == ELIGIBLE:
            rank = RANK_KNOWN if unneeded else RANK_OTHER
            state.rank[b, n] = RANK_EMPTY if nodes.n_pods[b, n] == 0 else rank
            ranked += 1
    count = 0
    for rank in range(RANK_NONE if ranked > 0 else 0):
        for n in range(nodes.hi[b]):
            if state.rank[b, n] == rank:
                state.candidates[b, count] = n
                count += 1
    return count, known


@inner
def fill_budgets(classes: Any, pods: Any, state: Any, b: int) -> None:
    """state.budget_left: what each workload's disruption budget allows now."""
    if state.budgets_known[b] > 0 or state.budget_start[b, -1] == 0:
        return
    state.budgets_known[b] = 1
    healthy, expected = state.budget_left, state.budget_count
    healthy[b] = 0
    expected[b] = 0
    for p in range(pods.hi[b]):
        phase = pods.phase[b, p]
        if phase not in (POD_FREE, POD_TERMINATING):
            w = pods.workload[b, p]
            expected[b, w] += 1
            healthy[b, w] += 1 if phase == POD_READY else 0
    for w in range(classes.pdb_kind.shape[1]):
        state.budget_left[b, w] = pdb_allowed(classes, b, w, healthy[b, w], expected[b, w])


@inner
def update_timers(nodes: Any, cfg: Any, state: Any, b: int, now_s: float) -> None:
    """Unneeded nodes keep or start their time; all others lose theirs."""
    unneeded = state.unneeded
    for i in range(unneeded.n[b]):
        n = unneeded.node[b, i]
        state.rank[b, n] = RANK_FOUND
        if math.isnan(state.unneeded_since_s[b, n]):
            state.unneeded_since_s[b, n] = now_s
        unneeded.group[b, i] = nodes.group[b, n]
        unneeded.since_s[b, i] = state.unneeded_since_s[b, n]
        unneeded.threshold_s[b, i] = cfg.unneeded_s[b]
        unneeded.ready[b, i] = True
    for n in range(nodes.hi[b]):
        if state.rank[b, n] != RANK_FOUND:
            state.unneeded_since_s[b, n] = math.nan


@inner
def in_cooldown(cfg: Any, state: Any, b: int, now_s: float) -> bool:
    """A node was added, deleted or failed to be deleted too short a time ago."""
    return (
        state.last_add_s[b] + cfg.delay_after_add_s[b] > now_s
        or state.last_failure_s[b] + cfg.delay_after_failure_s[b] > now_s
        or state.last_delete_s[b] + cfg.delay_after_delete_s[b] > now_s
    )


@inner
def choose_deletions(groups: Any, nodes: Any, cfg: Any, state: Any, out: Any, b: int, now_s: float) -> None:
    """Fill out.remove from the unneeded nodes whose time is up, within minima and deletion caps."""
    if removable_at(state.unneeded, state.sizes, state.deleting, groups.min_nodes, b, now_s) == 0:
        return
    in_flight, drains = 0, 0
    for n in range(nodes.hi[b]):
        if state.phase[b, n] == NODE_DRAINING:
            in_flight += 1
            drains += 1 if nodes.n_pods[b, n] > 0 else 0
    total = cfg.parallelism[b] - in_flight
    crop_to_budgets(
        state.unneeded, state.crop, state.new_sizes, cfg.atomic, b, total, cfg.drain_parallelism[b] - drains
    )
    for i in range(state.crop.n[b]):
        out.remove[b, i] = state.crop.node[b, i]
        out.needs_drain[b, i] = state.crop.drain[b, i]
    out.n_remove[b] = state.crop.n[b]
    if out.n_remove[b] > 0:
        state.last_delete_s[b] = now_s


@inner
def scale_down(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    cfg: Any,
    state: Any,
    out: Any,
    b: int,
    now_s: float,
    wait: bool,
) -> None:
    """Find unneeded nodes; remove those that have been so for long enough, unless in cooldown."""
    count, known = list_candidates(groups, nodes, cfg, state, b, now_s)
    state.unneeded.n[b] = 0
    if count > 0:
        fill_budgets(classes, pods, state, b)
        interval_s = min(state.min_interval_s[b], max(cfg.unneeded_s[b], 1e-9))
        limit = unneeded_limit(known, cfg.parallelism[b], cfg.unneeded_s[b], interval_s)
        find_unneeded(classes, topology, groups, nodes, pods, state, b, count, limit, now_s)
    update_timers(nodes, cfg, state, b, now_s)
    if wait or state.unneeded.n[b] == 0 or in_cooldown(cfg, state, b, now_s):
        return
    for g in range(groups.price.shape[1]):
        state.new_sizes[b, g] = state.sizes[b, g]
        state.sizes[b, g] += out.add[b, g]
    choose_deletions(groups, nodes, cfg, state, out, b, now_s)


@kernel
def ca_loop(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    cfg: Any,
    state: Any,
    out: Any,
    rng: Any,
    b: int,
    now_s: float,
) -> None:
    """One loop of cluster b at time now_s: nodes to add per group in out.add, to remove in out.remove.

    Nodes in phase NODE_BOOTING are upcoming, those in NODE_DRAINING are deletions in flight. Only
    `state`, `out` and the expander's random stream are different afterwards.
    """
    begin(cfg, nodes, state, out, b, now_s)
    wait = scale_up(classes, topology, groups, nodes, pods, cfg, state, out, rng, b, now_s)
    if cfg.scale_down[b]:
        scale_down(classes, topology, groups, nodes, pods, cfg, state, out, b, now_s, wait)
    end(classes, topology, nodes, state, b)
