"""The Cluster Autoscaler's simulated removals: may the pods of a node move, and where would they go.

A node under simulation is a ghost: no pod may go there, but it still is a topology domain. Once
all its pods have found a place it is gone for the rest of the loop, its pods stay where they were
put, and the disruption budgets are charged.
Rules followed: cluster-autoscaler `pkg/simulator` and `pkg/core/scaledown/{pdb,planner}` as of 2026-08.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.controllers.ca_eligibility import BLOCKS, COMPLETES, MOVES, NO_BUDGET, drain_verdict
from envs.controllers.ca_layout import (
    B_COUNT,
    B_ITEM,
    B_LEFT,
    B_START,
    CANDIDATE,
    DEST,
    HEAD,
    L_CLASS,
    L_COUNTED,
    L_POD,
    M_OLDER,
    M_POD,
    N_MOVES,
    UNREMOVABLE_UNTIL,
    VERDICT,
)
from envs.controllers.ca_snapshot import (
    charge,
    log_arrival,
    log_move,
    mark_found,
    next_fit,
    node_at,
    place_pod,
    rollback,
)
from envs.controllers.disruption import NO_LIMIT
from envs.controllers.placement import all_plain, count_pod
from envs.sim.jit import inner
from envs.sim.state import NODE_DRAINING, NODE_FREE, POD_TERMINATING

BLOCKED, NO_PLACE = -1, -2  # results of simulate_removal below 0
RECHECK_S = 300.0  # --unremovable-node-recheck-timeout


@inner
def budget_left(budget: Any, b: int, w: int) -> int:
    """Disruptions that every budget over class w still allows; NO_LIMIT without one."""
    left = NO_LIMIT
    for i in range(budget[b, B_START, w], budget[b, B_START, w + 1]):
        left = min(left, budget[b, B_LEFT, budget[b, B_ITEM, i]])
    return left


@inner
def judge_pod(drain_code: Any, pods: Any, budget: Any, b: int, w: int, p: int, now_s: float) -> int:
    """The drain verdict of pod p of class w."""
    overdue_s = now_s - pods.gone_s[b, p] if pods.phase[b, p] == POD_TERMINATING else -math.inf
    age_s = now_s - pods.created_s[b, p]
    return drain_verdict(drain_code[b, w], age_s, overdue_s, budget_left(budget, b, w))


@inner
def movable_pods(
    drain_code: Any,
    first_pod: Any,
    pods: Any,
    fork: Any,
    budget: Any,
    leaving: Any,
    b: int,
    n: int,
    now_s: float,
) -> int:
    """Pods that leave node n when it is removed, in `leaving`; their number, or BLOCKED.

    Sets VERDICT of each pod looked at; stops at the first that blocks. Pods that earlier removals
    of this loop have put on the node leave as well.
    """
    count = 0
    p = np.int64(first_pod[b, n])
    arrival = fork.node[b, HEAD, n]
    while p >= 0 or arrival >= 0:
        real = p >= 0
        pod = p if real else fork.move[b, M_POD, arrival]
        w = np.int64(pods.workload[b, pod])
        verdict = judge_pod(drain_code, pods, budget, b, w, pod, now_s)
        fork.pod[b, VERDICT, pod] = verdict
        if verdict in (BLOCKS, NO_BUDGET):
            return BLOCKED
        if verdict == MOVES:
            leaving[b, L_CLASS, count] = w
            leaving[b, L_POD, count] = pod
            leaving[b, L_COUNTED, count] = 0 if pods.phase[b, pod] == POD_TERMINATING else 1
            count += 1
        if real:
            p = np.int64(pods.next_n[b, p])
        else:
            arrival = fork.move[b, M_OLDER, arrival]
    return count


@inner
def waits_for_pods(first_pod: Any, next_n: Any, fork: Any, b: int, n: int) -> bool:
    """Whether node n holds pods that have to complete first. After `movable_pods`."""
    p = first_pod[b, n]
    while p >= 0:
        if fork.pod[b, VERDICT, p] == COMPLETES:
            return True
        p = next_n[b, p]
    return False


@inner
def budgets_allow(budget: Any, leaving: Any, b: int, count: int) -> Any:
    """(may the leaving pods go, may they go all at once) by the disruption budgets.

    They may go when no budget over one of them is used up; at once when each covers all of its own.
    """
    allowed, at_once = True, True
    budget[b, B_COUNT] = 0
    for k in range(count):
        w = leaving[b, L_CLASS, k]
        for i in range(budget[b, B_START, w], budget[b, B_START, w + 1]):
            q = budget[b, B_ITEM, i]
            budget[b, B_COUNT, q] += 1
            allowed &= budget[b, B_LEFT, q] >= 1
            at_once &= budget[b, B_LEFT, q] >= budget[b, B_COUNT, q]
    return allowed, allowed and at_once


@inner
def charge_budgets(budget: Any, leaving: Any, b: int, count: int) -> None:
    """Take the leaving pods off their budgets."""
    for k in range(count):
        w = leaving[b, L_CLASS, k]
        for i in range(budget[b, B_START, w], budget[b, B_START, w + 1]):
            q = budget[b, B_ITEM, i]
            budget[b, B_LEFT, q] = max(0, budget[b, B_LEFT, q] - 1)


@inner
def relocate(
    classes: Any, topology: Any, groups: Any, nodes: Any, fork: Any, leaving: Any, b: int, n: int, count: int
) -> bool:
    """Take the leaving pods off node n and put each elsewhere; False = one found no place."""
    at, move, node, pod = fork.at, fork.move, fork.node, fork.pod
    req, fits_group, alloc = classes.req, classes.fits_group, groups.alloc
    group, phase, used, n_pods = nodes.group, nodes.phase, nodes.used, nodes.n_pods
    first, hi, seen = at[b, N_MOVES], np.int64(nodes.hi[b]), not all_plain(fork.plain, b)
    for k in range(count):
        w, counted = leaving[b, L_CLASS, k], leaving[b, L_COUNTED, k] == 1
        if log_move(at, move, b, w, leaving[b, L_POD, k], n, counted) < 0:
            return False
        charge(req, used, n_pods, b, w, n, -1)
        if counted and seen:
            count_pod(topology, nodes, b, w, n, -1)
    for k in range(count):
        w, p, counted = leaving[b, L_CLASS, k], leaving[b, L_POD, k], leaving[b, L_COUNTED, k] == 1
        if fork.plain[b, w]:  # as place_pod does, without a call that passes the tuples
            step = next_fit(req, fits_group, alloc, group, phase, used, at, node, pod, b, w, p, hi, False, -1)
            dst = node_at(at, pod, b, p, hi, step) if step < hi else -1
            if dst >= 0:
                mark_found(at, pod, b, p, dst, step)
                charge(req, used, n_pods, b, w, dst, 1)
                if counted and seen:
                    count_pod(topology, nodes, b, w, dst, 1)
        else:
            dst = place_pod(classes, topology, groups, nodes, fork, b, w, p, False, counted)
        if dst < 0:
            return False
        log_arrival(move, node, b, first + k, dst)
    return True


@inner
def simulate_removal(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    fork: Any,
    budget: Any,
    leaving: Any,
    b: int,
    n: int,
    now_s: float,
) -> int:
    """Pods that node n's removal moves, or BLOCKED or NO_PLACE. Destinations: DEST.

    A success stays in the journal and the node is hidden until the loop ends; a failure is undone.
    """
    count = movable_pods(classes.drain_code, nodes.first_pod, pods, fork, budget, leaving, b, n, now_s)
    if count < 0:
        return BLOCKED
    mark = fork.at[b, N_MOVES]
    phase = nodes.phase[b, n]
    nodes.phase[b, n] = NODE_DRAINING
    if not relocate(classes, topology, groups, nodes, fork, leaving, b, n, count):
        rollback(classes, topology, nodes, fork, b, mark)
        nodes.phase[b, n] = phase
        return NO_PLACE
    fork.node[b, DEST, n] = 0
    nodes.phase[b, n] = NODE_FREE
    return count


@inner
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
    """Simulate the removal of CANDIDATE nodes one after the other; the number that failed.

    Fills state.unneeded (node, needs_drain, risky). Candidates after `limit` successes are skipped.
    A node that fails is not looked at again for RECHECK_S.
    """
    unneeded, fork, budget, leaving = state.unneeded, state.fork, state.budget, state.leaving
    unneeded.n[b] = 0
    failures = 0
    for c in range(n_candidates):
        i = unneeded.n[b]
        if i >= limit:
            break
        n = np.int64(state.slot[b, CANDIDATE, c])
        count = simulate_removal(classes, topology, groups, nodes, pods, fork, budget, leaving, b, n, now_s)
        if count < 0:
            failures += 1
            state.node_s[b, UNREMOVABLE_UNTIL, n] = now_s + RECHECK_S
            continue
        at_once = budgets_allow(budget, leaving, b, count)[1]
        charge_budgets(budget, leaving, b, count)
        unneeded.n[b] = i + 1
        unneeded.node[b, i] = n
        unneeded.needs_drain[b, i] = count > 0
        unneeded.risky[b, i] = not at_once
        unneeded.disabled[b, i] = waits_for_pods(nodes.first_pod, pods.next_n, fork, b, n)
        unneeded.broken[b, i] = False
    return failures
