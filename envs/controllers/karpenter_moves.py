"""Karpenter's consolidation: which nodes could go, one or many, and what would take their place. Compiled.

A pass looks at the cluster once: pods that are pending or on nodes that go already are placed first, then
each set of nodes is tried on top of that and undone. Rules: kubernetes-sigs/karpenter v1.14
pkg/controllers/disruption (emptiness, multi-node, single-node consolidation).
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.karpenter_balanced import BALANCE_K, approve_move
from envs.controllers.karpenter_bound import cannot_move, cannot_move_all, count_room
from envs.controllers.karpenter_cost import is_empty
from envs.controllers.karpenter_decision import DELETE, NOTHING, REPLACE, consolidation_decision
from envs.controllers.karpenter_existing import find_start, start_pass
from envs.controllers.karpenter_journal import take_off, undo
from envs.controllers.karpenter_layout import (
    C_POOL,
    F_BASE,
    N_CLAIMS,
    N_ITEMS,
    N_JOURNAL,
    NO_LIMIT,
    SPOT_TO_SPOT,
    WHEN_EMPTY,
)
from envs.controllers.karpenter_price import (
    SPOT,
    keep_cheaper,
    launch_prices,
    same_type_ceiling,
)
from envs.controllers.karpenter_roll import STAYS, note_budgets, note_roll, pods_may_go
from envs.controllers.karpenter_solve import add_item, place_items
from envs.controllers.karpenter_state import (
    ACTION,
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
    N_COMMAND,
    NO_COMMAND,
    ORDER,
    P_CURSOR,
    P_EMPTY,
    P_UNDER,
    POOL_COST,
    POOL_SCORE,
    POOL_USD,
    QUIET,
    REFRESH_S,
    SINGLE_DONE,
    SINGLE_DONE_S,
    SINGLE_NODE,
    UNLISTED,
)
from envs.controllers.karpenter_variety import cheaper_types, insists, keeps_need
from envs.controllers.placement import all_plain
from envs.sim.jit import inner
from envs.sim.state import NODE_DRAINING, POD_TERMINATING

MOST_NODES = 100  # of one multi-node move
MOST_COMPARED = 300  # offerings up to which each is compared with all others


@inner
def limits_left(s: Any, b: int) -> None:
    """What the limits of each pool leave beside all of its nodes."""
    left, R = s.kp_solve.left[b], s.classes.req.shape[2]
    for pool in range(left.shape[0]):
        for r in range(R):
            left[pool, r] = s.kp.limit[b, pool, r]
        left[pool, R] = s.clock.pool_max[b, pool]
    for g in range(s.groups.price.shape[1]):
        count, pool = s.clock.live_nodes[b, g], s.groups.pool[b, g]
        if count > 0:
            left[pool, R] -= count
            for r in range(R):
                left[pool, r] -= count * s.groups.cap[b, g, r]


@inner
def add_pods_of(s: Any, b: int, n: int) -> None:
    """The pods that leave node n are to be placed elsewhere."""
    count = note_roll(s, b, n)
    for i in range(count):
        _add_pod(s, b, n, s.kp_state.roll[b, n, i])
    p = s.nodes.first_pod[b, n] if count == UNLISTED else -1
    while p >= 0:
        w = s.pods.workload[b, p]
        if s.pods.phase[b, p] != POD_TERMINATING and s.classes.drain_code[b, w] != STAYS:
            _add_pod(s, b, n, w)
        p = s.pods.next_n[b, p]


@inner
def _add_pod(s: Any, b: int, n: int, w: int) -> None:
    add_item(s.kp_solve, b, w, 1)
    if not all_plain(s.kp.plain, b):
        take_off(s.kp, s.classes, s.topology, s.nodes, s.kp_solve, b, w, n)


@inner
def place_waiting(s: Any, b: int, most: int) -> int:
    """Place pending pods and those of nodes that go already; those that found no place. After `note_available`."""
    start_pass(s.groups, s.nodes, s.kp_solve, b)
    limits_left(s, b)
    at = s.kp_solve.at[b]
    at[N_JOURNAL], at[N_CLAIMS], at[N_ITEMS] = 0, 0, 0
    for i in range(s.pods.n_pending[b]):
        add_item(s.kp_solve, b, s.pods.workload[b, s.pods.pending[b, i]], 1)
    if s.clock.n_draining[b] > 0:
        for n in range(s.nodes.hi[b]):
            if s.nodes.phase[b, n] == NODE_DRAINING:
                add_pods_of(s, b, n)
    if at[N_ITEMS] == 0:
        return 0
    return place_items(s.kp, s.classes, s.topology, s.groups, s.nodes, s.kp_solve, b, most, math.inf, False)


@inner
def evaluate(s: Any, b: int, count: int) -> int:
    """NOTHING, DELETE or REPLACE for the first `count` nodes of LIST; options in try_mask, all else undone."""
    solve, state = s.kp_solve, s.kp_state
    mark, price, all_spot = solve.at[b, N_JOURNAL], 0.0, True
    solve.at[b, N_ITEMS] = 0
    for i in range(count):
        n = state.node[b, LIST, i]
        g = s.nodes.group[b, n]
        solve.closed[b, n] = True
        add_pods_of(s, b, n)
        price += s.groups.price[b, g]
        all_spot = all_spot and s.kp.capacity[b, g] == SPOT
        state.move_pool[b, i], state.move_usd[b, i] = s.groups.pool[b, g], s.groups.price[b, g]
        state.move_cost[b, i], state.move_kind[b, i] = state.node_s[b, COST, n], s.kp.kind[b, g]
    left = place_items(s.kp, s.classes, s.topology, s.groups, s.nodes, solve, b, 1, price, True)
    action = decide(s, b, count, left == 0, price, all_spot)
    for i in range(count):
        solve.closed[b, state.node[b, LIST, i]] = False
    claims = solve.at[b, N_CLAIMS]
    undo(s.kp, s.classes, s.topology, s.nodes, solve, b, mark)
    if claims > 0:
        limits_left(s, b)
    return action


@inner
def decide(s: Any, b: int, count: int, all_fit: bool, price: float, all_spot: bool) -> int:
    """The decision on a solve that was made, by prices, by the same-type rule, and by Balanced pools."""
    solve, state = s.kp_solve, s.kp_state
    claims = solve.at[b, N_CLAIMS]
    if not all_fit:
        return NOTHING
    mask, kind, capacity, cost = solve.try_mask[b], s.kp.kind[b], s.kp.capacity[b], s.groups.price[b]
    first, worst, best = solve.kind_first[b], solve.kind_worst[b], solve.kind_best[b]
    pool, floor = 0, 0
    if claims > 0:
        for g in range(mask.shape[0]):
            mask[g] = solve.mask[b, 0, g]
        pool = solve.claim[b, 0, C_POOL]
        floor = cheaper_types(s.kp, s.groups, solve, b, pool, mask, price, all_spot, count)
        if floor < 0:
            return NOTHING
    action = consolidation_decision(
        all_fit, claims, count, all_spot, price, s.kp.flag[b, SPOT_TO_SPOT] != 0.0, floor,
        mask, kind, capacity, cost, first, worst, best,
    )  # fmt: skip
    if action == NOTHING:
        return NOTHING
    net = price
    if action == REPLACE:
        if count > 1:
            ceiling = same_type_ceiling(mask, kind, state.move_kind[b], state.move_usd[b], count)
            launch_prices(mask, kind, capacity, cost, first, worst, best)
            if keep_cheaper(mask, kind, worst, ceiling) == 0:
                return NOTHING
            if insists(s.kp, b, pool) and not keeps_need(s.kp, s.groups, solve, b, pool, mask):
                return NOTHING
        cheapest = math.inf
        for g in range(mask.shape[0]):
            if mask[g]:
                cheapest = min(cheapest, cost[g])
        if math.isinf(cheapest):
            return NOTHING
        net -= cheapest
    totals = state.pool_usd[b]
    approved = approve_move(
        count, state.move_pool[b], state.move_usd[b], state.move_cost[b], state.balanced[b], totals[POOL_USD],
        totals[POOL_COST], net, BALANCE_K, totals[POOL_SCORE],
    )  # fmt: skip
    return action if approved else NOTHING


@inner
def keep_command(s: Any, b: int, kind: int, action: int, count: int) -> None:
    """Remember the first `count` nodes of LIST as the command that waits to be validated."""
    state = s.kp_state
    state.number[b, COMMAND], state.number[b, ACTION], state.number[b, N_COMMAND] = kind, action, count
    for i in range(count):
        n = state.node[b, LIST, i]
        state.command[b, i], state.born_s[b, i] = n, s.nodes.created_s[b, n]
    if action == REPLACE:
        for g in range(state.option.shape[1]):
            state.option[b, g] = s.kp_solve.try_mask[b, g]


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
    """Whether the pods of node n that have room nowhere else are too much for anything cheaper: no move is possible."""
    g, hi, cpu, memory = s.nodes.group[b, n], s.nodes.hi[b], 0, 0
    most_cpu, most_memory = s.kp_state.cheaper[b, 0, g], s.kp_state.cheaper[b, 1, g]
    p = s.nodes.first_pod[b, n]
    while p >= 0:
        w = s.pods.workload[b, p]
        if s.kp.plain[b, w] and s.pods.phase[b, p] != POD_TERMINATING and s.classes.drain_code[b, w] != STAYS:
            find_start(s.kp, s.classes, s.groups, s.nodes, s.kp_solve, b, w)
            if s.kp.n_steps[b, w] == 0 and s.kp_solve.first[b, F_BASE, s.kp.twin[b, w]] == hi:
                cpu += s.classes.req[b, w, 0]
                memory += s.classes.req[b, w, 1]
                if cpu > most_cpu or memory > most_memory:
                    return True
        p = s.pods.next_n[b, p]
    return False


@inner
def find_many(s: Any, b: int, listed: int) -> bool:
    """A command for as many of LIST, from its start, as a binary search finds to be movable together."""
    low, high, found = 1, listed - 1, False
    while low <= high:
        middle = (low + high) // 2
        action = NOTHING if cannot_move_all(s, b, middle + 1) else evaluate(s, b, middle + 1)
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
def close_quiet(s: Any, b: int, on: bool) -> None:
    """Close nodes in their quiet period to the pods of candidates, or (on = False) open all again.

    Pods that wait, and those of nodes that go already, may use them: they are placed before.
    """
    for n in range(s.nodes.hi[b]):
        s.kp_solve.closed[b, n] = on and s.kp_state.node[b, QUIET, n] != 0


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


@inner
def still_valid(s: Any, b: int) -> bool:
    """Whether the command that waits in LIST would be found again: same action, its options still open."""
    state = s.kp_state
    place_waiting(s, b, 1)
    valid = False
    if s.kp_solve.at[b, N_CLAIMS] == 0:
        close_quiet(s, b, True)
        action = evaluate(s, b, state.number[b, N_COMMAND])
        close_quiet(s, b, False)
        valid = action == state.number[b, ACTION]
        if valid and action == REPLACE:
            for g in range(state.option.shape[1]):
                valid = valid and (not state.option[b, g] or s.kp_solve.try_mask[b, g])
    undo(s.kp, s.classes, s.topology, s.nodes, s.kp_solve, b, 0)
    return valid
