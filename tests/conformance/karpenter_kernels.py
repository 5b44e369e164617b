"""Python entries to Karpenter's inner kernels. Each only calls the simulator's own function."""

from __future__ import annotations

import math
from typing import Any

from envs.controllers import (
    karpenter_balanced,
    karpenter_budget,
    karpenter_cost,
    karpenter_decision,
    karpenter_existing,
    karpenter_price,
    karpenter_solve,
)
from envs.sim.jit import kernel

_eviction, _add, _empty = karpenter_cost.eviction_cost, karpenter_cost.add_pod_cost, karpenter_cost.is_empty
_ratio, _sort = karpenter_cost.savings_ratio, karpenter_cost.sort_by_ratio
_score, _share, _passes = karpenter_balanced.move_score, karpenter_balanced.share_ratio, karpenter_balanced.passes
_can_pass, _approve = karpenter_balanced.can_pass, karpenter_balanced.approve_move
_open, _allowed = karpenter_budget.window_open, karpenter_budget.allowed_disruptions
_pool_budget, _quiet = karpenter_budget.pool_budget, karpenter_budget.under_consolidate_after
_launch, _cheaper = karpenter_price.launch_prices, karpenter_price.keep_cheaper
_ceiling, _decide = karpenter_price.same_type_ceiling, karpenter_decision.consolidation_decision
_start, _items, _place = karpenter_existing.start_pass, karpenter_solve.add_item, karpenter_solve.place_items
BASE = karpenter_cost.NODE_BASE_COST


@kernel
def eviction_cost(deletion_cost: float, priority: float) -> float:
    return _eviction(deletion_cost, priority)


@kernel
def node_cost(deletion_costs: Any, priorities: Any) -> float:
    cost = BASE
    for i in range(deletion_costs.shape[0]):
        cost = _add(cost, _eviction(deletion_costs[i], priorities[i]))
    return cost


@kernel
def sort_candidates(price: Any, cost: Any, ratio: Any, order: Any) -> None:
    for i in range(price.shape[0]):
        ratio[i] = _ratio(price[i], cost[i])
        order[i] = i
    _sort(ratio, order, price.shape[0])


@kernel
def move_score(savings: float, disruption: float, pool_cost: float, pool_disruption: float) -> float:
    return _score(savings, disruption, pool_cost, pool_disruption)


@kernel
def share_ratio(savings: float, disruption: float, pool_cost: float, pool_disruption: float) -> float:
    return _share(savings, disruption, pool_cost, pool_disruption)


@kernel
def passes(score: float, k: float) -> bool:
    return _passes(score, k)


@kernel
def can_pass(price: float, disruption: float, pool_cost: float, pool_disruption: float, k: float) -> bool:
    return _can_pass(price, disruption, pool_cost, pool_disruption, k)


@kernel
def approve_move(
    n: int, pool: Any, price: Any, cost: Any, balanced: Any, pool_cost: Any, pool_disruption: Any, net: float, k: float,
    score: Any,
) -> bool:  # fmt: skip
    return _approve(n, pool, price, cost, balanced, pool_cost, pool_disruption, net, k, score)


@kernel
def window_open(budget: Any, now_s: float) -> bool:
    return _open(budget, now_s)


@kernel
def allowed_disruptions(budgets: Any, shares: Any, count: int, reason: int, now_s: float) -> int:
    return _allowed(budgets, shares, count, reason, now_s)


@kernel
def pool_budget(budgets: Any, shares: Any, count: int, disrupting: int, reason: int, now_s: float) -> int:
    return _pool_budget(budgets, shares, count, disrupting, reason, now_s)


@kernel
def under_consolidate_after(now_s: float, last_event_s: float, initialized_s: float, after_s: float) -> bool:
    return _quiet(now_s, last_event_s, initialized_s, after_s)


@kernel
def price_filter(
    mask: Any, kind: Any, capacity: Any, price: Any, first: Any, worst: Any, best: Any, ceiling: float
) -> int:
    _launch(mask, kind, capacity, price, first, worst, best)
    return _cheaper(mask, kind, worst, ceiling)


@kernel
def same_type(
    mask: Any, kind: Any, capacity: Any, price: Any, first: Any, worst: Any, best: Any, removed_kind: Any,
    removed_price: Any,
) -> int:  # fmt: skip
    ceiling = _ceiling(mask, kind, removed_kind, removed_price, removed_kind.shape[0])
    _launch(mask, kind, capacity, price, first, worst, best)
    return _cheaper(mask, kind, worst, ceiling)


@kernel
def decide(
    all_fit: bool, n_new: int, n: int, all_spot: bool, price: float, spot_to_spot: bool, min_types: int,
    mask: Any, kind: Any, capacity: Any, price_of: Any, first: Any, worst: Any, best: Any,
) -> int:  # fmt: skip
    return _decide(
        all_fit, n_new, n, all_spot, price, spot_to_spot, min_types, mask, kind, capacity, price_of, first, worst, best
    )


@kernel
def solve(config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, state: Any, b: int, most: int) -> int:
    _start(groups, nodes, state, b)
    for w in range(config.rank.shape[1]):
        _items(state, b, w, 1)
    return _place(config, classes, topology, groups, nodes, state, b, most, math.inf, False)
