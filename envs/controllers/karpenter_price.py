"""Launch prices: what a node claim would cost at worst, and which types are cheap enough. Compiled.

A claim's options are a mask over node groups (offerings). What the provider will launch of a type is its
first capacity type of reserved, spot, on-demand that the mask holds, and then, at worst, its most
expensive offering. Rules followed: kubernetes-sigs/karpenter v1.14 pkg/cloudprovider and
pkg/controllers/disruption.
"""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import inner

RESERVED, SPOT, ON_DEMAND = 0, 1, 2  # capacity types in the order in which they are launched


@inner
def launch_prices(mask: Any, kind: Any, capacity: Any, price: Any, first: Any, worst: Any, best: Any) -> None:
    """Per type t: first[t] = capacity type that is launched (3 = none), worst[t] and best[t] = its prices.

    mask, kind (type index), capacity, price: (G,). first, worst, best: (T,).
    """
    for t in range(worst.shape[0]):
        first[t], worst[t], best[t] = 3, math.inf, math.inf
    for g in range(mask.shape[0]):
        if mask[g]:
            first[kind[g]] = min(first[kind[g]], capacity[g])
    for g in range(mask.shape[0]):
        t = kind[g]
        if mask[g] and capacity[g] == first[t]:
            worst[t] = price[g] if math.isinf(worst[t]) else max(worst[t], price[g])
            best[t] = min(best[t], price[g])


@inner
def keep_cheaper(mask: Any, kind: Any, worst: Any, ceiling: float) -> int:
    """Take types off the mask whose worst launch price is not strictly below the ceiling; types left."""
    kept = 0
    for g in range(mask.shape[0]):
        if mask[g] and not worst[kind[g]] < ceiling:
            mask[g] = False
    for t in range(worst.shape[0]):
        if worst[t] < ceiling:
            kept += 1
    return kept


@inner
def keep_capacity(mask: Any, capacity: Any, wanted: int) -> None:
    """Take offerings of other capacity types off the mask."""
    for g in range(mask.shape[0]):
        mask[g] = mask[g] and capacity[g] == wanted


@inner
def keep_first(mask: Any, kind: Any, price: Any, count: int, cheapest: Any) -> None:
    """Keep the `count` types whose cheapest offering in the mask costs least (equal ones: lower index first).

    cheapest: (T,) scratch.
    """
    for t in range(cheapest.shape[0]):
        cheapest[t] = math.inf
    for g in range(mask.shape[0]):
        if mask[g]:
            cheapest[kind[g]] = min(cheapest[kind[g]], price[g])
    for g in range(mask.shape[0]):
        if not mask[g]:
            continue
        before, mine = 0, cheapest[kind[g]]
        for t in range(cheapest.shape[0]):
            if cheapest[t] < mine or (cheapest[t] == mine and t < kind[g]):
                before += 1
        mask[g] = before < count


@inner
def same_type_ceiling(mask: Any, kind: Any, removed_kind: Any, removed_price: Any, n: int) -> float:
    """Ceiling for a move of many nodes to one: the cheapest removed node of a type that is also an option.

    Infinite when no option is a type that is being removed. It keeps a pool from shrinking through the
    same type again and again.
    """
    ceiling = math.inf
    for i in range(n):
        for g in range(mask.shape[0]):
            if mask[g] and kind[g] == removed_kind[i]:
                ceiling = min(ceiling, removed_price[i])
                break
    return ceiling


@inner
def provider_choice(
    mask: Any, kind: Any, capacity: Any, price: Any, hazard: Any, live: Any, k: float, most: int, cheapest: Any
) -> int:
    """The node group that the provider launches for a claim, -1 = none. Changes the mask.

    Of the `most` types that are cheapest: reserved before spot before on-demand; of those the least
    price x (1 + k x hazard); among equals the group with fewest nodes (live), then the first.
    """
    keep_first(mask, kind, price, most, cheapest)
    launched = 3
    for g in range(mask.shape[0]):
        if mask[g]:
            launched = min(launched, capacity[g])
    best, least = -1, math.inf
    for g in range(mask.shape[0]):
        if not mask[g] or capacity[g] != launched:
            continue
        risk = hazard[g] if launched == SPOT and hazard.shape[0] > 0 else 0.0
        cost = price[g] * (1.0 + k * risk)
        if best < 0 or cost < least or (cost == least and live[g] < live[best]):
            best, least = g, cost
    return best
