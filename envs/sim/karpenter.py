"""Karpenter in the simulator: provisioning, disruption, and what follows from them.

Decisions are made by the kernels in envs/controllers/karpenter_*; here nodes are asked for, cordoned,
drained and removed. A node that is to be replaced is cordoned at once and drained once its replacement is
Ready; until then it holds its pods.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.karpenter_cost import is_empty
from envs.controllers.karpenter_decision import REPLACE
from envs.controllers.karpenter_journal import undo
from envs.controllers.karpenter_layout import (
    BATCH_IDLE_S,
    BATCH_MAX_S,
    HAZARD_WEIGHT,
    J_KIND,
    J_ON_NODE,
    J_WHERE,
    LOOP_S,
    N_CLAIMS,
    N_JOURNAL,
    VALIDATION_S,
)
from envs.controllers.karpenter_moves import place_waiting, still_valid
from envs.controllers.karpenter_price import provider_choice
from envs.controllers.karpenter_roll import note_budgets, pods_may_go
from envs.controllers.karpenter_search import find_command
from envs.controllers.karpenter_state import (
    ACTION,
    BATCH_S,
    COMMAND,
    COST,
    EMPTINESS,
    EXPIRE_S,
    EXPIRED,
    GIVEN_UP,
    HOLD,
    LIST,
    LOOP_AT,
    MULTI_DONE,
    MULTI_DONE_S,
    N_COMMAND,
    NO_COMMAND,
    NOMINATED_UNTIL,
    NOTHING_S,
    P_EMPTY,
    P_UNDER,
    PROVISION_AT,
    REFRESH_S,
    REPLACED_BORN,
    SEEN,
    SINGLE_DONE,
    SINGLE_DONE_S,
)
from envs.controllers.karpenter_survey import note_available, survey
from envs.controllers.karpenter_variety import few_are_varied
from envs.sim.autoscale import drain_node, pool_room
from envs.sim.flow import NODES_ADDED
from envs.sim.jit import inner
from envs.sim.nodes import request_node, start_drain, stop_drain
from envs.sim.state import NODE_DRAINING, NODE_FREE, NODE_READY

MOST_TYPES = 60  # sent to the provider, cheapest first
NOMINATION_S = 20.0  # twice the longest batch window: pods are expected on a node for so long
REFUSED_S = 180.0  # karpenter-provider-aws: an offering without capacity is not asked for again for so long
RETRY_S = 10.0  # a pending pod is looked at again


@inner
def open_window(s: Any, b: int, now_s: float) -> None:
    """The provisioner's batch window starts now, unless one is open or a pod's next look is due."""
    if math.isinf(s.kp_state.clock[b, PROVISION_AT]):
        s.kp_state.clock[b, BATCH_S] = now_s


@inner
def note_pending(s: Any, b: int, now_s: float) -> None:
    """After the scheduler's turn: pods that found no node open or prolong the provisioner's batch window."""
    if math.isinf(s.kp_state.clock[b, LOOP_AT]):
        return
    clock, pending = s.kp_state.clock[b], s.pods.n_pending[b]
    if pending > s.kp_state.number[b, SEEN]:
        open_window(s, b, now_s)
        closes_s = min(clock[BATCH_S] + s.kp.flag[b, BATCH_MAX_S], now_s + s.kp.flag[b, BATCH_IDLE_S])
        clock[PROVISION_AT] = max(closes_s, now_s)
    s.kp_state.number[b, SEEN] = pending


@inner
def next_karpenter_s(s: Any, b: int) -> float:
    """When Karpenter does something next: provision or look for disruptions; inf = it does not run."""
    return min(s.kp_state.clock[b, PROVISION_AT], s.kp_state.clock[b, LOOP_AT])


@inner
def run_karpenter(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """What is due next, at now_s."""
    if s.kp_state.clock[b, PROVISION_AT] <= s.kp_state.clock[b, LOOP_AT]:
        provision(s, b, now_s, row, tick_end_s)
    else:
        disrupt(s, b, now_s, row, tick_end_s)


@inner
def best_in_stock(s: Any, b: int, mask: Any, now_s: float) -> int:
    """The offering that the provider launches, -1 = insufficient capacity. Changes the mask.

    It tries the claim's best capacity type only; what is sold out of it is remembered, and left out of the next
    solves. So where all spot is sold out the claim fails, and the next one is for on-demand.
    """
    wanted = -1
    while True:
        g = provider_choice(
            mask, s.kp.kind[b], s.kp.capacity[b], s.groups.price[b], s.groups.hazard[b], s.clock.live_nodes[b],
            s.kp.flag[b, HAZARD_WEIGHT], MOST_TYPES, s.kp_solve.kind_best[b],
        )  # fmt: skip
        if g < 0 or wanted not in (-1, s.kp.capacity[b, g]):
            return -1
        if s.faults.blocked[b, g] == 0:
            return g
        wanted = s.kp.capacity[b, g]
        s.kp_state.refused_s[b, g] = now_s + REFUSED_S
        mask[g] = False


@inner
def launch(s: Any, b: int, mask: Any, now_s: float, row: int, tick_end_s: float) -> int:
    """Ask the provider for one of the offerings in the mask; the node's slot, -1 = none to be had."""
    if not few_are_varied(s.kp, s.groups, s.kp_solve, b, mask, MOST_TYPES):
        return -1
    g = best_in_stock(s, b, mask, now_s)
    if g < 0 or pool_room(s, b, s.groups.pool[b, g]) < 1:
        return -1
    n = request_node(s.nodes, s.groups, s.clock, s.rng, b, g, now_s, tick_end_s)
    if n >= 0 and row >= 0:
        s.rows.cluster[b, row, NODES_ADDED] += 1.0
    return n


@inner
def nominate(s: Any, b: int, now_s: float) -> None:
    """Pods are expected on the existing nodes that the solve used: they are not disrupted meanwhile."""
    journal = s.kp_solve.journal[b]
    for i in range(s.kp_solve.at[b, N_JOURNAL]):
        if journal[J_KIND, i] == J_ON_NODE:
            s.kp_state.node_s[b, NOMINATED_UNTIL, journal[J_WHERE, i]] = now_s + NOMINATION_S


@inner
def provision(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """One provisioning: nodes for the pods that wait and for those of nodes that are going."""
    solve = s.kp_solve
    note_available(s, b, now_s)
    place_waiting(s, b, solve.claim.shape[1])
    nominate(s, b, now_s)
    for c in range(solve.at[b, N_CLAIMS]):
        launch(s, b, solve.mask[b, c], now_s, row, tick_end_s)
    undo(s.kp, s.classes, s.topology, s.nodes, solve, b, 0)
    waits = s.pods.n_pending[b] > 0 or s.clock.n_draining[b] > 0
    s.kp_state.clock[b, PROVISION_AT] = now_s + RETRY_S if waits else math.inf
    s.kp_state.clock[b, BATCH_S] = now_s + RETRY_S
    s.kp_state.number[b, SEEN] = s.pods.n_pending[b]


@inner
def expect_pods_of(s: Any, b: int, now_s: float) -> None:
    """Nodes start to drain: the provisioner, if there is one, looks at their pods soon."""
    clock = s.kp_state.clock[b]
    if math.isinf(clock[LOOP_AT]):
        return
    open_window(s, b, now_s)
    clock[PROVISION_AT] = min(clock[PROVISION_AT], now_s + s.kp.flag[b, BATCH_IDLE_S])


@inner
def node_joined(s: Any, b: int, n: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Node n is Ready: the nodes that it replaces are drained."""
    if math.isinf(s.kp_state.clock[b, LOOP_AT]) or s.clock.n_draining[b] == 0:
        return
    for k in range(s.nodes.hi[b]):
        held = s.nodes.phase[b, k] == NODE_DRAINING and s.kp_state.node[b, HOLD, k] == n + 1
        if held and s.kp_state.node_s[b, REPLACED_BORN, k] == s.nodes.created_s[b, n]:
            s.kp_state.node[b, HOLD, k] = 0
            s.clock.drain_since_s[b, k] = now_s
            drain_node(s, b, k, now_s, row, tick_end_s)
            expect_pods_of(s, b, now_s)


@inner
def check_holds(s: Any, b: int) -> None:
    """Nodes whose replacement is gone before it was Ready stay: uncordon them."""
    if s.clock.n_draining[b] == 0:
        return
    for n in range(s.nodes.hi[b]):
        hold = s.kp_state.node[b, HOLD, n]
        if hold == 0:
            continue
        if s.nodes.phase[b, n] != NODE_DRAINING:
            s.kp_state.node[b, HOLD, n] = 0
            continue
        born_s, phase = s.nodes.created_s[b, hold - 1], s.nodes.phase[b, hold - 1]
        if phase == NODE_FREE or born_s != s.kp_state.node_s[b, REPLACED_BORN, n]:
            s.kp_state.node[b, HOLD, n] = 0
            stop_drain(s.nodes, s.clock, b, n)


@inner
def expire(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Drain nodes that are older than their pool lets them be: no budget, nothing in their place first.

    The nodes that were there at the start are of all ages, evenly (golden-ratio sequence by slot).
    """
    if now_s < s.kp_state.clock[b, EXPIRE_S]:
        return
    start_s, next_s = s.clock.first_tick[b] * s.clock.tick_s[b], math.inf
    for pool in range(s.kp.expire_s.shape[1]):
        next_s = min(next_s, now_s + s.kp.expire_s[b, pool])  # of nodes that are still to come
    for n in range(s.nodes.hi[b]):
        g = s.nodes.group[b, n]
        limit_s = s.kp.expire_s[b, s.groups.pool[b, max(g, 0)]]
        if g < 0 or math.isinf(limit_s):
            continue
        age_s = now_s - s.nodes.created_s[b, n]
        if s.nodes.created_s[b, n] == start_s:
            age_s += limit_s * ((n + 1) * 0.6180339887498949 % 1.0)
        next_s = min(next_s, now_s + limit_s - age_s)
        may_go = s.nodes.phase[b, n] == NODE_READY and s.clock.live_nodes[b, g] > s.groups.min_nodes[b, g]
        if may_go and age_s >= limit_s:
            begin_drain(s, b, n, 0, now_s, row, tick_end_s)
            s.kp_state.done[b, EXPIRED] += 1
    s.kp_state.clock[b, EXPIRE_S] = next_s - 1.0  # a second for rounding


@inner
def begin_drain(s: Any, b: int, n: int, hold: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Cordon node n; drain it now, or (hold = replacement slot + 1) once its replacement is Ready."""
    start_drain(s.nodes, s.clock, b, n, now_s)
    s.kp_state.node[b, HOLD, n] = hold
    if hold > 0:
        s.kp_state.node_s[b, REPLACED_BORN, n] = s.nodes.created_s[b, hold - 1]
    else:
        drain_node(s, b, n, now_s, row, tick_end_s)
        expect_pods_of(s, b, now_s)


@inner
def list_command(s: Any, b: int, now_s: float) -> bool:
    """LIST = nodes of the waiting command that may still be disrupted; False when it may not be carried out.

    An emptiness command goes on with the nodes that are still empty, any other needs all of its nodes.
    """
    state, kept = s.kp_state, 0
    count, empty = state.number[b, N_COMMAND], state.number[b, COMMAND] == EMPTINESS
    plane = P_EMPTY if empty else P_UNDER
    note_budgets(s, b)
    for i in range(count):
        n = state.command[b, i]
        ok = state.born_s[b, i] == s.nodes.created_s[b, n] and state.ratio[b, n] >= 0.0
        if ok:
            pool = s.groups.pool[b, s.nodes.group[b, n]]
            ok = state.pool[b, plane, pool] > 0 and is_empty(state.node_s[b, COST, n]) == empty
            ok = ok and (empty or pods_may_go(s, b, n))
            state.pool[b, plane, pool] -= 1 if ok else 0
        if ok:
            state.node[b, LIST, kept] = n
            kept += 1
    state.number[b, N_COMMAND] = kept
    return kept == count if not empty else kept > 0


@inner
def carry_out(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> bool:
    """Check the command that has waited, and carry it out when nothing has changed."""
    state = s.kp_state
    survey(s, b, now_s)
    if not list_command(s, b, now_s):
        return False
    kind, count, hold = state.number[b, COMMAND], state.number[b, N_COMMAND], 0
    if kind != EMPTINESS and not still_valid(s, b):
        return False
    if state.number[b, ACTION] == REPLACE:
        hold = launch(s, b, state.option[b], now_s, row, tick_end_s) + 1
        if hold == 0:
            return False
    for i in range(count):
        begin_drain(s, b, state.node[b, LIST, i], hold, now_s, row, tick_end_s)
    state.done[b, kind] += 1
    return True


@inner
def disrupt(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """One disruption loop: carry out what has waited for its validation, or look for something to do."""
    state = s.kp_state
    check_holds(s, b)
    expire(s, b, now_s, row, tick_end_s)
    if state.number[b, COMMAND] != NO_COMMAND:
        if not carry_out(s, b, now_s, row, tick_end_s):
            state.done[b, GIVEN_UP] += 1
        state.number[b, COMMAND] = NO_COMMAND
        state.clock[b, LOOP_AT] = now_s + 1.0  # upstream looks again at once
        return
    if quiet(s, b, now_s):
        state.clock[b, LOOP_AT] = now_s + s.kp.flag[b, LOOP_S]
        return
    if find_command(s, b, survey(s, b, now_s), now_s):
        state.clock[b, LOOP_AT] = now_s + s.kp.flag[b, VALIDATION_S]
    else:
        state.clock[b, NOTHING_S] = now_s
        state.clock[b, LOOP_AT] = now_s + s.kp.flag[b, LOOP_S]


@inner
def quiet(s: Any, b: int, now_s: float) -> bool:
    """Whether nothing has happened since a loop that found nothing to do: it would find nothing again.

    Nodes leave their quiet period, and nominations end, some time after the last event.
    """
    nothing_s = s.kp_state.clock[b, NOTHING_S]
    longest_s = NOMINATION_S
    for k in range(s.kp.after_s.shape[1]):
        if not math.isinf(s.kp.after_s[b, k]):
            longest_s = max(longest_s, s.kp.after_s[b, k])
    for number, clock in ((MULTI_DONE, MULTI_DONE_S), (SINGLE_DONE, SINGLE_DONE_S)):
        same = s.kp_state.number[b, number] == s.clock.changes[b]
        if same and now_s - s.kp_state.clock[b, clock] >= REFRESH_S:
            return False
    return s.clock.change_s[b] + longest_s < nothing_s and now_s - nothing_s < REFRESH_S
