"""The Balanced consolidation policy: a move must save a larger share of its pool's cost than half the
share of the pool's disruption that it causes. Compiled.

score = (savings / pool cost) / (disruption / pool disruption), approved from 1/k on, k = 2.
Rules followed: kubernetes-sigs/karpenter v1.14 pkg/controllers/disruption (balanced), and its design document.
"""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import inner

BALANCE_K = 2.0


@inner
def share_ratio(savings: float, disruption: float, pool_cost: float, pool_disruption: float) -> float:
    """(savings / pool cost) / (disruption / pool disruption); infinite for savings without disruption."""
    if pool_cost <= 0.0:
        return 0.0
    if disruption <= 0.0:
        return math.inf if savings > 0.0 else 0.0
    return (savings / pool_cost) / (disruption / pool_disruption) if pool_disruption > 0.0 else 0.0


@inner
def move_score(savings: float, disruption: float, pool_cost: float, pool_disruption: float) -> float:
    """Score of a move as the controller has it: 0 without savings, and in a pool without cost or disruption."""
    if savings <= 0.0 or pool_cost <= 0.0 or pool_disruption <= 0.0:
        return 0.0
    return share_ratio(savings, disruption, pool_cost, pool_disruption)


@inner
def passes(score: float, k: float) -> bool:
    """Whether a score reaches the threshold."""
    return score >= 1.0 / k


@inner
def can_pass(price: float, disruption: float, pool_cost: float, pool_disruption: float, k: float) -> bool:
    """Whether removing a node outright, the best that can come of it, would reach the threshold.

    A pool without cost or disruption always passes here: the move itself is judged later.
    """
    if pool_cost <= 0.0 or pool_disruption <= 0.0:
        return True
    return passes(move_score(price, disruption, pool_cost, pool_disruption), k)


@inner
def approve_move(
    n: int, pool: Any, price: Any, cost: Any, balanced: Any, pool_cost: Any, pool_disruption: Any, net: float, k: float,
    score: Any,
) -> bool:  # fmt: skip
    """Whether every Balanced pool of a move approves by itself. score[l] = that pool's, NaN for others.

    pool, price, cost: (n,) candidates; balanced, pool_cost, pool_disruption, score: (L,) pools. The net
    savings of all are split over the pools by what their candidates cost today.
    """
    source = 0.0
    for i in range(n):
        source += price[i]
    approved = True
    for pool_index in range(score.shape[0]):
        score[pool_index] = math.nan
        mine, disruption, count = 0.0, 0.0, 0
        for i in range(n):
            if pool[i] == pool_index:
                mine += price[i]
                disruption += cost[i]
                count += 1
        if count == 0 or not balanced[pool_index]:
            continue
        part = net * mine / source if source > 0.0 else 0.0
        part = net if count == n else part
        score[pool_index] = move_score(part, disruption, pool_cost[pool_index], pool_disruption[pool_index])
        approved = approved and passes(score[pool_index], k)
    return approved
