"""The Cluster Autoscaler's scale-down: candidates, timers, cooldowns, what is removed now.

Rules followed: cluster-autoscaler `pkg/core/static_autoscaler.go` and `pkg/core/scaledown` as of 2026-08.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.controllers.ca_deletion import crop_to_budgets, removable_at, unneeded_limit
from envs.controllers.ca_eligibility import ELIGIBLE, ineligible_reason, node_utilization
from envs.controllers.ca_layout import (
    B_LEFT,
    B_START,
    CANDIDATE,
    DELAY_ADD_S,
    DELAY_DELETE_S,
    DELAY_FAILURE_S,
    DRAIN_PARALLELISM,
    LAST_ADD,
    LAST_DELETE,
    MIN_INTERVAL,
    PARALLELISM,
    PHASE,
    RANK,
    REGISTERED,
    SINCE,
    SIZE,
    UNNEEDED_S,
    UNREMOVABLE_UNTIL,
    UTILIZATION_LIMIT,
)
from envs.controllers.ca_removal import find_unneeded
from envs.controllers.disruption import pdb_allowed
from envs.sim.jit import inner
from envs.sim.state import (
    CPU,
    GPU,
    MEM,
    NODE_DRAINING,
    NODE_FREE,
    NODE_READY,
)

RANK_EMPTY, RANK_KNOWN, RANK_OTHER, RANK_NONE, RANK_FOUND = 0, 1, 2, 3, 4


@inner
def is_clearly_used(alloc: Any, used: Any, b: int, g: int, n: int, gpu_node: bool, limit: float) -> bool:
    """Whether node n of group g is over the limit by so much that no exact utilization is needed."""
    bar = limit * (1.0 + 1e-9)  # rounding of a division is far below that
    cpu = float(used[b, n, CPU]) > bar * float(alloc[b, g, CPU])
    return not gpu_node and (cpu or float(used[b, n, MEM]) > bar * float(alloc[b, g, MEM]))


@inner
def rank_nodes(groups: Any, nodes: Any, cfg: Any, state: Any, b: int, now_s: float) -> int:
    """RANK of each node: empty, unneeded already, other candidate, none; nodes unneeded until now."""
    known = 0
    limit = cfg.flag[b, UTILIZATION_LIMIT]
    slot, node_s, alloc, cap = state.slot, state.node_s, groups.alloc, groups.cap
    used, group_of, n_pods = nodes.used, nodes.group, nodes.n_pods
    for n in range(nodes.hi[b]):
        phase = slot[b, PHASE, n]
        unneeded = phase != NODE_FREE and not math.isnan(node_s[b, SINCE, n])
        known += 1 if unneeded else 0
        rank = RANK_NONE
        g = np.int64(group_of[b, n])
        if phase == NODE_READY and not is_clearly_used(alloc, used, b, g, n, cap[b, g, GPU] > 0, limit):
            use = node_utilization(alloc, used, b, g, n, cap[b, g, GPU] > 0, 0, 0, 0)[0]
            recent = node_s[b, UNREMOVABLE_UNTIL, n] > now_s
            if ineligible_reason(recent, False, False, g, False, use, limit) == ELIGIBLE:
                rank = RANK_KNOWN if unneeded else RANK_OTHER
                rank = RANK_EMPTY if n_pods[b, n] == 0 else rank
        slot[b, RANK, n] = rank
    return known


@inner
def list_candidates(slot: Any, b: int, hi: int) -> int:
    """Fill CANDIDATE by rank; their number."""
    count = 0
    for rank in range(RANK_NONE):
        for n in range(hi):
            if slot[b, RANK, n] == rank:
                slot[b, CANDIDATE, count] = n
                count += 1
    return count


@inner
def fill_budgets(classes: Any, counts: Any, budget: Any, b: int) -> None:
    """B_LEFT: what each workload's disruption budget allows now. counts: n_ready, n_starting, n_pending (B, W)."""
    if budget[b, B_START, budget.shape[2] - 1] == 0:
        return
    left = budget[b, B_LEFT]
    for w in range(classes.pdb_kind.shape[1]):
        healthy = counts.n_ready[b, w]
        left[w] = pdb_allowed(classes, b, w, healthy, healthy + counts.n_starting[b, w] + counts.n_pending[b, w])


@inner
def update_timers(nodes: Any, cfg: Any, state: Any, b: int, now_s: float) -> None:
    """Unneeded nodes keep or start their time; all others lose theirs."""
    unneeded = state.unneeded
    since_s, rank = state.node_s[b, SINCE], state.slot[b, RANK]
    for i in range(unneeded.n[b]):
        n = unneeded.node[b, i]
        rank[n] = RANK_FOUND
        if math.isnan(since_s[n]):
            since_s[n] = now_s
        unneeded.group[b, i] = nodes.group[b, n]
        unneeded.since_s[b, i] = since_s[n]
        unneeded.threshold_s[b, i] = cfg.flag[b, UNNEEDED_S]
        unneeded.ready[b, i] = True
    for n in range(nodes.hi[b]):
        if rank[n] != RANK_FOUND:
            since_s[n] = math.nan


@inner
def in_cooldown(cfg: Any, state: Any, b: int, now_s: float) -> bool:
    """A node was added, deleted or failed to be deleted too short a time ago."""
    return (
        state.clock[b, LAST_ADD] + cfg.flag[b, DELAY_ADD_S] > now_s
        or state.last_failure_s[b] + cfg.flag[b, DELAY_FAILURE_S] > now_s
        or state.clock[b, LAST_DELETE] + cfg.flag[b, DELAY_DELETE_S] > now_s
    )


@inner
def choose_deletions(groups: Any, nodes: Any, cfg: Any, state: Any, out: Any, b: int, now_s: float) -> None:
    """Fill out.remove from the unneeded nodes whose time is up, within minima and deletion caps."""
    for g in range(groups.price.shape[1]):
        state.group[b, REGISTERED, g] = state.group[b, SIZE, g]
        state.group[b, SIZE, g] += out.add[b, g]
    if removable_at(state.unneeded, state.group, groups.min_nodes, b, now_s) == 0:
        return
    in_flight, drains = 0, 0
    for n in range(nodes.hi[b]):
        if state.slot[b, PHASE, n] == NODE_DRAINING:
            in_flight += 1
            drains += 1 if nodes.n_pods[b, n] > 0 else 0
    total = int(cfg.flag[b, PARALLELISM]) - in_flight
    drains = int(cfg.flag[b, DRAIN_PARALLELISM]) - drains
    crop_to_budgets(state.unneeded, state.crop, state.group, cfg.atomic, b, total, drains)
    for i in range(state.crop.n[b]):
        out.remove[b, i] = state.crop.node[b, i]
        out.needs_drain[b, i] = state.crop.drain[b, i]
    out.n_remove[b] = state.crop.n[b]
    if out.n_remove[b] > 0:
        state.clock[b, LAST_DELETE] = now_s


@inner
def scale_down(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    counts: Any,
    cfg: Any,
    state: Any,
    out: Any,
    b: int,
    now_s: float,
    wait: bool,
) -> None:
    """Find unneeded nodes; remove those that have been so for long enough, unless in cooldown."""
    known = rank_nodes(groups, nodes, cfg, state, b, now_s)
    count = list_candidates(state.slot, b, nodes.hi[b])
    state.unneeded.n[b] = 0
    if count > 0:
        fill_budgets(classes, counts, state.budget, b)
        unneeded_s = cfg.flag[b, UNNEEDED_S]
        interval_s = min(state.clock[b, MIN_INTERVAL], max(unneeded_s, 1e-9))
        limit = unneeded_limit(known, int(cfg.flag[b, PARALLELISM]), unneeded_s, interval_s)
        find_unneeded(classes, topology, groups, nodes, pods, state, b, count, limit, now_s)
    update_timers(nodes, cfg, state, b, now_s)
    if not wait and state.unneeded.n[b] > 0 and not in_cooldown(cfg, state, b, now_s):
        choose_deletions(groups, nodes, cfg, state, out, b, now_s)
