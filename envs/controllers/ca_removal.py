"""The Cluster Autoscaler's simulated removals: may the pods of a node move, and where would they go.

A node under simulation is a ghost: no pod may go there, but it still is a topology domain. Once
all its pods have found a place it is gone for the rest of the loop, its pods stay where they were
put, and the disruption budgets are charged.
Rules followed: cluster-autoscaler `pkg/simulator` and `pkg/core/scaledown/{pdb,planner}` as of 2026-08.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.ca_eligibility import BLOCKS, COMPLETES, MOVES, NO_BUDGET, drain_verdict
from envs.controllers.ca_snapshot import find_place, hide_node, put, rollback, take
from envs.controllers.disruption import NO_LIMIT
from envs.sim.jit import inner, kernel
from envs.sim.state import NODE_DRAINING, POD_TERMINATING

BLOCKED, NO_PLACE = -1, -2  # results of simulate_removal below 0
RECHECK_S = 300.0  # --unremovable-node-recheck-timeout


@inner
def budget_left(state: Any, b: int, w: int) -> int:
    """Disruptions that every budget over class w still allows; NO_LIMIT without one."""
    left = NO_LIMIT
    for i in range(state.budget_start[b, w], state.budget_start[b, w + 1]):
        left = min(left, state.budget_left[b, state.budget_item[b, i]])
    return left


@inner
def judge_pod(classes: Any, pods: Any, state: Any, b: int, w: int, p: int, now_s: float) -> int:
    """The drain verdict of pod p of class w."""
    overdue_s = now_s - pods.gone_s[b, p] if pods.phase[b, p] == POD_TERMINATING else -math.inf
    age_s = now_s - pods.created_s[b, p]
    return drain_verdict(classes.drain_code[b, w], age_s, overdue_s, budget_left(state, b, w))


@kernel
def movable_pods(classes: Any, nodes: Any, pods: Any, state: Any, b: int, n: int, now_s: float) -> int:
    """Pods that leave node n when it is removed, in state.move_*; their number, or BLOCKED.

    Sets state.verdict of each pod looked at; stops at the first that blocks. Pods that earlier
    removals of this loop have put on the node leave as well.
    """
    count = 0
    p = nodes.first_pod[b, n]
    while p >= 0:
        w = pods.workload[b, p]
        verdict = judge_pod(classes, pods, state, b, w, p, now_s)
        state.verdict[b, p] = verdict
        if verdict in (BLOCKS, NO_BUDGET):
            return BLOCKED
        if verdict == MOVES:
            state.move_w[b, count] = w
            state.move_p[b, count] = p
            state.move_counted[b, count] = pods.phase[b, p] != POD_TERMINATING
            count += 1
        p = pods.next_n[b, p]
    journal = state.journal
    i = journal.head[b, n]
    while i >= 0:
        w, p = journal.cls[b, i], journal.pod[b, i]
        if p >= 0 and judge_pod(classes, pods, state, b, w, p, now_s) != MOVES:
            return BLOCKED
        state.move_w[b, count] = w
        state.move_p[b, count] = p
        state.move_counted[b, count] = journal.counted[b, i]
        count += 1
        i = journal.older[b, i]
    return count


@kernel
def waits_for_pods(nodes: Any, pods: Any, state: Any, b: int, n: int) -> bool:
    """Whether node n holds pods that have to complete first. After `movable_pods`."""
    p = nodes.first_pod[b, n]
    while p >= 0:
        if state.verdict[b, p] == COMPLETES:
            return True
        p = pods.next_n[b, p]
    return False


@kernel
def budgets_allow(state: Any, b: int, count: int) -> Any:
    """(may the pods in state.move_* go, may they go all at once) by the disruption budgets.

    They may go when no budget over one of them is used up; at once when each covers all of its own.
    """
    allowed, at_once = True, True
    state.budget_count[b] = 0
    for k in range(count):
        w = state.move_w[b, k]
        for i in range(state.budget_start[b, w], state.budget_start[b, w + 1]):
            q = state.budget_item[b, i]
            state.budget_count[b, q] += 1
            allowed &= state.budget_left[b, q] >= 1
            at_once &= state.budget_left[b, q] >= state.budget_count[b, q]
    return allowed, allowed and at_once


@kernel
def charge_budgets(state: Any, b: int, count: int) -> None:
    """Take the pods in state.move_* off their budgets."""
    for k in range(count):
        w = state.move_w[b, k]
        for i in range(state.budget_start[b, w], state.budget_start[b, w + 1]):
            q = state.budget_item[b, i]
            state.budget_left[b, q] = max(0, state.budget_left[b, q] - 1)


@inner
def relocate(
    classes: Any, topology: Any, groups: Any, nodes: Any, state: Any, b: int, n: int, count: int
) -> bool:
    """Take the pods in state.move_* off node n and put each elsewhere; False = one found no place."""
    journal = state.journal
    first = journal.n[b]
    for k in range(count):
        w, p, counted = state.move_w[b, k], state.move_p[b, k], state.move_counted[b, k]
        if take(classes, topology, nodes, journal, b, w, p, n, counted) < 0:
            return False
    for k in range(count):
        w, p = state.move_w[b, k], state.move_p[b, k]
        dst = find_place(classes, topology, groups, nodes, state.search, b, w, p, False)
        if dst < 0:
            return False
        put(classes, topology, nodes, journal, b, first + k, dst)
    return True


@kernel
def simulate_removal(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    state: Any,
    b: int,
    n: int,
    now_s: float,
) -> int:
    """Pods that node n's removal moves, or BLOCKED or NO_PLACE. Destinations: state.search.dest.

    A success stays in the journal and the node is hidden until the loop ends; a failure is undone.
    """
    count = movable_pods(classes, nodes, pods, state, b, n, now_s)
    if count < 0:
        return BLOCKED
    mark = state.journal.n[b]
    phase = nodes.phase[b, n]
    nodes.phase[b, n] = NODE_DRAINING
    if not relocate(classes, topology, groups, nodes, state, b, n, count):
        rollback(classes, topology, nodes, state.journal, b, mark)
        nodes.phase[b, n] = phase
        return NO_PLACE
    state.search.dest[b, n] = False
    hide_node(nodes, b, n)
    return count


@kernel
def find_unneeded(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    state: Any,
    b: int,
    n_candidates: int,
    limit: int,
    now_s: float,
) -> int:
    """Simulate the removal of state.candidates one after the other; the number that failed.

    Fills state.unneeded (node, needs_drain, risky). Candidates after `limit` successes are skipped.
    A node that fails is not looked at again for RECHECK_S.
    """
    unneeded = state.unneeded
    unneeded.n[b] = 0
    failures = 0
    for c in range(n_candidates):
        if unneeded.n[b] >= limit:
            break
        n = state.candidates[b, c]
        count = simulate_removal(classes, topology, groups, nodes, pods, state, b, n, now_s)
        if count < 0:
            failures += 1
            state.unremovable_until_s[b, n] = now_s + RECHECK_S
            continue
        _, at_once = budgets_allow(state, b, count)
        charge_budgets(state, b, count)
        i = unneeded.n[b]
        unneeded.n[b] = i + 1
        unneeded.node[b, i] = n
        unneeded.needs_drain[b, i] = count > 0
        unneeded.risky[b, i] = not at_once
        unneeded.disabled[b, i] = waits_for_pods(nodes, pods, state, b, n)
        unneeded.broken[b, i] = False
    return failures
