"""Which moves Karpenter's consolidation looks at, and in which order: emptiness, many nodes, one. Compiled.

A pass looks at the cluster once; what can be ruled out without simulating it is ruled out (`karpenter_bound`).
Rules: kubernetes-sigs/karpenter v1.14 pkg/controllers/disruption (emptiness, multi-node, single-node consolidation).
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_bound import cannot_move, count_new, count_room, too_many
from envs.controllers.karpenter_cost import is_empty
from envs.controllers.karpenter_decision import DELETE, NOTHING
from envs.controllers.karpenter_existing import find_start
from envs.controllers.karpenter_journal import undo
from envs.controllers.karpenter_layout import F_BASE, F_BOOT, N_CLAIMS, NO_LIMIT, WHEN_EMPTY
from envs.controllers.karpenter_moves import close_quiet, evaluate, keep_command, place_waiting
from envs.controllers.karpenter_roll import note_budgets, note_roll, pods_may_go
from envs.controllers.karpenter_state import (
    COMMAND,
    CONSTRAINED,
    CONSTRAINED_MULTI,
    CONSTRAINED_SINGLE,
    COST,
    EMPTINESS,
    LIST,
    MULTI_DONE,
    MULTI_DONE_S,
    MULTI_NODE,
    NO_COMMAND,
    ORDER,
    P_CURSOR,
    P_EMPTY,
    P_UNDER,
    REFRESH_S,
    SINGLE_DONE,
    SINGLE_DONE_S,
    SINGLE_NODE,
    UNLISTED,
)
from envs.controllers.placement import resources_fit
from envs.sim.jit import inner

MOST_NODES = 100  # of one multi-node move
MOST_COMPARED = 300  # offerings up to which each is compared with all others


@inner
def find_empty(s: Any, b: int, count: int) -> bool:
    """A command for all empty candidates that the budgets let go."""
    state, found = s.kp_state, 0
    for i in range(count):
        n = state.node[b, ORDER, i]
        pool = s.groups.pool[b, s.nodes.group[b, n]]
        if is_empty(state.node_s[b, COST, n]) and state.pool[b, P_EMPTY, pool] > 0:
            state.pool[b, P_EMPTY, pool] -= 1
            state.node[b, LIST, found] = n
            found += 1
    if found > 0:
        keep_command(s, b, EMPTINESS, DELETE, found)
    return found > 0


@inner
def is_underutilized(s: Any, b: int, n: int) -> bool:
    """Whether candidate n is for consolidation proper: pods on it, and a pool whose policy allows it."""
    if s.kp.policy[b, s.groups.pool[b, s.nodes.group[b, n]]] == WHEN_EMPTY:
        return False
    return not is_empty(s.kp_state.node_s[b, COST, n]) and pods_may_go(s, b, n)


@inner
def list_movable(s: Any, b: int, count: int) -> int:
    """LIST = the best candidates for consolidation proper that the budgets let go together; their number.

    CONSTRAINED = whether budgets kept some back: from a move of many, or (a budget of 0) from any.
    """
    state, listed, constrained = s.kp_state, 0, 0
    note_budgets(s, b)
    for pool in range(state.pool.shape[2]):
        state.pool[b, P_CURSOR, pool] = state.pool[b, P_UNDER, pool]
    for i in range(count):
        if listed >= MOST_NODES:
            break
        n = state.node[b, ORDER, i]
        pool = s.groups.pool[b, s.nodes.group[b, n]]
        held_back = CONSTRAINED_MULTI | (CONSTRAINED_SINGLE if state.pool[b, P_UNDER, pool] < 1 else 0)
        open_pool = state.pool[b, P_CURSOR, pool] > 0
        if not open_pool and constrained | held_back == constrained:
            continue  # whether it could go does not matter any more
        if is_underutilized(s, b, n):
            if open_pool:
                state.pool[b, P_CURSOR, pool] -= 1
                state.node[b, LIST, listed] = n
                listed += 1
            else:
                constrained |= held_back
    state.number[b, CONSTRAINED] = constrained
    return listed


@inner
def measure_cheaper(s: Any, b: int) -> None:
    """cheaper[r, g] = largest room for pods, CPU and memory, of any offering that costs less than group g."""
    price, cheaper, groups = s.groups.price[b], s.kp_state.cheaper[b], s.groups.price.shape[1]
    for g in range(groups):
        for r in range(2):
            cheaper[r, g] = NO_LIMIT if groups > MOST_COMPARED else 0
            for h in range(groups if groups <= MOST_COMPARED else 0):
                if price[h] < price[g]:
                    cheaper[r, g] = max(cheaper[r, g], s.groups.alloc[b, h, r] - s.groups.daemon[b, h, r])


@inner
def is_hopeless(s: Any, b: int, n: int) -> bool:
    """Whether no move of node n is possible: a pod that has room nowhere else would go on a node that boots, or all
    of these are too much for anything cheaper."""
    count, g, cpu, memory = note_roll(s, b, n), s.nodes.group[b, n], 0, 0
    if count == UNLISTED:
        return False
    roll, req, cheaper = s.kp_state.roll[b, n], s.classes.req[b], s.kp_state.cheaper[b]
    for i in range(count):
        w = roll[i]
        if has_no_room(s, b, w):
            cpu += req[w, 0]
            memory += req[w, 1]
            if cpu > cheaper[0, g] or memory > cheaper[1, g] or boots_for(s, b, w):
                return True
    return False


@inner
def has_no_room(s: Any, b: int, w: int) -> bool:
    """Whether no ready node has room for a pod of class w, where that is all it needs."""
    if not s.kp.plain[b, w] or s.kp.n_steps[b, w] > 0:
        return False
    find_start(s.kp, s.classes, s.groups, s.nodes, s.kp_solve, b, w)
    return s.kp_solve.first[b, F_BASE, s.kp.twin[b, w]] == s.nodes.hi[b]


@inner
def boots_for(s: Any, b: int, w: int) -> bool:
    """Whether the first booting node that had room for class w still has it, with waiting pods on it. After
    `has_no_room`."""
    n = s.kp_solve.first[b, F_BOOT, s.kp.twin[b, w]]
    if n == s.nodes.hi[b]:
        return False
    return resources_fit(s.classes.req, s.groups.alloc, s.nodes.used, b, w, s.nodes.group[b, n], n)


@inner
def find_many(s: Any, b: int, listed: int) -> bool:
    """A command for as many of LIST, from its start, as a binary search finds to be movable together."""
    low, high, found = 1, listed - 1, False
    least, most = too_many(s, b, listed)
    while low <= high:
        middle = (low + high) // 2
        action = NOTHING if least <= middle + 1 <= most else evaluate(s, b, middle + 1)
        if action != NOTHING:
            keep_command(s, b, MULTI_NODE, action, middle + 1)
            found = True
            low = middle + 1
        else:
            high = middle - 1
    return found


@inner
def next_of_pool(s: Any, b: int, pool: int, count: int) -> int:
    """The next candidate of a pool in ORDER, from its cursor on; -1 = none."""
    state = s.kp_state
    i = state.pool[b, P_CURSOR, pool]
    while i < count:
        n = state.node[b, ORDER, i]
        i += 1
        if s.groups.pool[b, s.nodes.group[b, n]] == pool:
            state.pool[b, P_CURSOR, pool] = i
            return n
    state.pool[b, P_CURSOR, pool] = i
    return -1


@inner
def find_one(s: Any, b: int, count: int) -> bool:
    """A command for the first candidate that can be moved; pools take turns."""
    state = s.kp_state
    for pool in range(state.pool.shape[2]):
        state.pool[b, P_CURSOR, pool] = 0
    more = True
    while more:
        more = False
        for pool in range(state.pool.shape[2]):
            n = next_of_pool(s, b, pool, count)
            if n < 0:
                continue
            more = True
            if state.pool[b, P_UNDER, pool] < 1 or cannot_move(s, b, n):
                continue
            if is_hopeless(s, b, n) or not is_underutilized(s, b, n):
                continue
            state.node[b, LIST, 0] = n
            action = evaluate(s, b, 1)
            if action != NOTHING:
                keep_command(s, b, SINGLE_NODE, action, 1)
                return True
    return False


@inner
def is_done(s: Any, b: int, number: int, clock: int, now_s: float) -> bool:
    """Whether a kind of consolidation found nothing in just this state of the cluster, less than 5 minutes ago.

    That a node's quiet period ends is no change: it is looked at when something else has changed, or then.
    """
    return s.kp_state.number[b, number] == s.clock.changes[b] and now_s - s.kp_state.clock[b, clock] < REFRESH_S


@inner
def note_done(s: Any, b: int, number: int, clock: int, constrained: int, now_s: float) -> None:
    """A kind of consolidation found nothing: remember it, unless budgets kept candidates back."""
    if s.kp_state.number[b, CONSTRAINED] & constrained == 0:
        s.kp_state.number[b, number] = s.clock.changes[b]
        s.kp_state.clock[b, clock] = now_s


@inner
def find_command(s: Any, b: int, count: int, now_s: float) -> bool:
    """Emptiness, else many nodes, else one: the first that finds something. After `survey` found `count`.

    While waiting pods need a new node nothing is consolidated: it would be counted as the replacement.
    """
    s.kp_state.number[b, COMMAND] = NO_COMMAND
    if count == 0:
        return False
    if find_empty(s, b, count):
        return True
    multi = not is_done(s, b, MULTI_DONE, MULTI_DONE_S, now_s)
    single = not is_done(s, b, SINGLE_DONE, SINGLE_DONE_S, now_s)
    listed = list_movable(s, b, count) if multi or single else 0
    if listed == 0:
        return False
    place_waiting(s, b, 1)
    found = False
    if s.kp_solve.at[b, N_CLAIMS] == 0:
        measure_cheaper(s, b)
        close_quiet(s, b, True)
        count_room(s, b)
        count_new(s, b)
        if multi:
            found = find_many(s, b, listed)
            if not found:
                note_done(s, b, MULTI_DONE, MULTI_DONE_S, CONSTRAINED_MULTI, now_s)
        if single and not found:
            found = find_one(s, b, count)
            if not found:
                note_done(s, b, SINGLE_DONE, SINGLE_DONE_S, CONSTRAINED_SINGLE, now_s)
        close_quiet(s, b, False)
    undo(s.kp, s.classes, s.topology, s.nodes, s.kp_solve, b, 0)
    return found
