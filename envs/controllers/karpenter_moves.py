"""What a move of Karpenter's comes to: the pods of some nodes elsewhere, on one cheaper node, or nothing. Compiled.

Pods that are pending or on nodes that go already are placed first, then each set of nodes is tried on top of that
and undone. Rules: kubernetes-sigs/karpenter v1.14 pkg/controllers/disruption (consolidation, validation).
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.karpenter_balanced import BALANCE_K, approve_move
from envs.controllers.karpenter_decision import NOTHING, REPLACE, consolidation_decision
from envs.controllers.karpenter_existing import start_pass
from envs.controllers.karpenter_journal import take_off, undo
from envs.controllers.karpenter_layout import C_POOL, N_CLAIMS, N_ITEMS, N_JOURNAL, SPOT_TO_SPOT
from envs.controllers.karpenter_price import SPOT, keep_cheaper, launch_prices, same_type_ceiling
from envs.controllers.karpenter_roll import STAYS, note_roll
from envs.controllers.karpenter_solve import add_item, place_items
from envs.controllers.karpenter_state import (
    ACTION,
    COMMAND,
    COST,
    LIST,
    N_COMMAND,
    POOL_COST,
    POOL_SCORE,
    POOL_USD,
    QUIET,
    UNLISTED,
)
from envs.controllers.karpenter_variety import cheaper_types, insists, keeps_need
from envs.controllers.placement import all_plain
from envs.sim.jit import inner
from envs.sim.state import NODE_DRAINING, POD_TERMINATING


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
def close_quiet(s: Any, b: int, on: bool) -> None:
    """Close nodes in their quiet period to the pods of candidates, or (on = False) open all again.

    Pods that wait, and those of nodes that go already, may use them: they are placed before.
    """
    for n in range(s.nodes.hi[b]):
        s.kp_solve.closed[b, n] = on and s.kp_state.node[b, QUIET, n] != 0


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
