"""Karpenter's look at every node: what it costs to disrupt, who is a candidate, what budgets leave. Compiled."""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.karpenter_balanced import BALANCE_K, can_pass
from envs.controllers.karpenter_budget import EMPTY, UNDERUTILIZED, pool_budget, under_consolidate_after
from envs.controllers.karpenter_cost import NODE_BASE_COST, add_pod_cost, savings_ratio, sort_by_ratio
from envs.controllers.karpenter_layout import BALANCED, EPOCH_S
from envs.controllers.karpenter_roll import BLOCKS, STAYS
from envs.controllers.karpenter_state import (
    COST,
    COSTED_S,
    HELD_BACK,
    NOMINATED_UNTIL,
    ORDER,
    P_EMPTY,
    P_LEAVING,
    P_NODES,
    P_UNDER,
    POOL_COST,
    POOL_USD,
    QUIET,
)
from envs.sim.jit import inner
from envs.sim.state import NODE_BOOTING, NODE_DRAINING, NODE_READY, POD_TERMINATING


@inner
def work_out_cost(s: Any, b: int, n: int, now_s: float) -> None:
    """Disruption cost of node n from its pods, and whether one of them must not be disrupted."""
    cost, held_back = NODE_BASE_COST, 0
    p = s.nodes.first_pod[b, n]
    while p >= 0:
        w = s.pods.workload[b, p]
        if s.pods.phase[b, p] != POD_TERMINATING and s.classes.drain_code[b, w] != STAYS:
            cost = add_pod_cost(cost, s.kp.cost[b, w])
            held_back = 1 if s.classes.drain_code[b, w] == BLOCKS else held_back
        p = s.pods.next_n[b, p]
    s.kp_state.node_s[b, COST, n] = cost
    s.kp_state.node_s[b, COSTED_S, n] = now_s
    s.kp_state.node[b, HELD_BACK, n] = held_back


@inner
def note_available(s: Any, b: int, now_s: float) -> None:
    """Offerings that Karpenter takes to be there: all but those that were refused lately."""
    for g in range(s.groups.price.shape[1]):
        s.kp_solve.available[b, g] = s.kp_state.refused_s[b, g] <= now_s


@inner
def survey(s: Any, b: int, now_s: float) -> int:
    """Costs, totals, budgets; candidates by falling ratio in ORDER: their number.

    Karpenter knows no minimum; a pool's min_nodes holds for every stack, so no more nodes than are above it
    are candidates.
    """
    node_s, pool, pool_usd = s.kp_state.node_s[b], s.kp_state.pool[b], s.kp_state.pool_usd[b]
    phase, group, event_s, created_s = s.nodes.phase[b], s.nodes.group[b], s.clock.pod_event_s[b], s.nodes.created_s[b]
    pool[:] = 0
    pool_usd[:] = 0.0
    hi = s.nodes.hi[b]
    for n in range(hi):
        g = group[n]
        if g < 0:
            continue
        costed_s, pool_index = node_s[COSTED_S, n], s.groups.pool[b, g]
        if costed_s < created_s[n] or costed_s <= event_s[n]:
            work_out_cost(s, b, n, now_s)
        pool_usd[POOL_USD, pool_index] += s.groups.price[b, g]
        pool_usd[POOL_COST, pool_index] += node_s[COST, n]
        if phase[n] != NODE_BOOTING:
            pool[P_NODES, pool_index] += 1
            pool[P_LEAVING, pool_index] += 1 if phase[n] != NODE_READY else 0
    find_budgets(s, b, now_s)
    note_available(s, b, now_s)
    spare = s.kp_state.spare[b]
    for g in range(spare.shape[0]):
        spare[g] = s.clock.live_nodes[b, g] - s.groups.min_nodes[b, g]
    for n in range(hi):
        spare[max(group[n], 0)] -= 1 if phase[n] == NODE_DRAINING else 0
    count = mark_candidates(s, b, now_s)
    sort_by_ratio(s.kp_state.ratio[b], s.kp_state.node[b, ORDER], hi)
    return count


@inner
def mark_candidates(s: Any, b: int, now_s: float) -> int:
    """ratio[n] of nodes that may be consolidated, -1 of others; QUIET; the number of candidates.

    They are ready, no pods are expected on them, they have been quiet for long enough (consolidateAfter counts from
    the last pod event on the NodeClaim), nothing forbids it, and the pool keeps its minimum.
    """
    ratio, quiet, held_back = s.kp_state.ratio[b], s.kp_state.node[b, QUIET], s.kp_state.node[b, HELD_BACK]
    nominated_s, cost, spare = s.kp_state.node_s[b, NOMINATED_UNTIL], s.kp_state.node_s[b, COST], s.kp_state.spare[b]
    phase, group, ready_s, event_s = s.nodes.phase[b], s.nodes.group[b], s.nodes.ready_s[b], s.clock.claim_event_s[b]
    pool_of, price, after_s, count = s.groups.pool[b], s.groups.price[b], s.kp.after_s[b], 0
    balanced = s.kp_state.balanced[b]
    for n in range(s.nodes.hi[b]):
        ratio[n], quiet[n] = -1.0, 0
        if phase[n] != NODE_READY:
            continue
        g = group[n]
        wait_s = after_s[pool_of[g]]
        if math.isinf(wait_s):
            continue
        if under_consolidate_after(now_s, event_s[n], ready_s[n], wait_s):
            quiet[n] = 1
            continue
        held = nominated_s[n] > now_s or held_back[n] != 0 or spare[g] <= 0
        if not held and (not balanced[pool_of[g]] or passes_filter(s, b, n)):
            spare[g] -= 1
            ratio[n] = savings_ratio(price[g], cost[n])
            count += 1
    return count


@inner
def find_budgets(s: Any, b: int, now_s: float) -> None:
    """What each pool's budgets leave for empty and for underutilized nodes."""
    pool, unix_s = s.kp_state.pool[b], now_s + s.kp.flag[b, EPOCH_S]
    for k in range(pool.shape[1]):
        rows, shares, count, leaving = s.kp.budget[b, k], s.kp.share[b, k], pool[P_NODES, k], pool[P_LEAVING, k]
        pool[P_EMPTY, k] = pool_budget(rows, shares, count, leaving, EMPTY, unix_s)
        pool[P_UNDER, k] = pool_budget(rows, shares, count, leaving, UNDERUTILIZED, unix_s)
        s.kp_state.balanced[b, k] = s.kp.policy[b, k] == BALANCED


@inner
def passes_filter(s: Any, b: int, n: int) -> bool:
    """Whether node n's pool, a Balanced one, could approve of its removal at all."""
    g = s.nodes.group[b, n]
    pool = s.groups.pool[b, g]
    totals, cost = s.kp_state.pool_usd[b], s.kp_state.node_s[b, COST, n]
    return can_pass(s.groups.price[b, g], cost, totals[POOL_USD, pool], totals[POOL_COST, pool], BALANCE_K)
