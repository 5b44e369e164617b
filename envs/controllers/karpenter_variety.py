"""minValues of a NodePool's requirements: how many values of a label the types of a claim must keep. Compiled.

A type counts with all values that it has in its pool, also those of offerings that the claim has lost: one
zone is as good as three for a minimum on zones, as long as the type is sold in three. Under the BestEffort
policy a claim may have less, and consolidation must not take more from it.
Rules followed: kubernetes-sigs/karpenter v1.14 pkg/cloudprovider (SatisfiesMinValues, Truncate),
pkg/controllers/provisioning/scheduling and pkg/controllers/disruption.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_decision import SPOT_TO_SPOT_TYPES, offers
from envs.controllers.karpenter_layout import RELAX_MIN_VALUES
from envs.controllers.karpenter_price import SPOT, keep_capacity, keep_cheaper, keep_first, launch_prices
from envs.sim.jit import inner


@inner
def variety(config: Any, groups: Any, solve: Any, b: int, pool: int, k: int, mask: Any) -> int:
    """Distinct values of the pool's key k over the types that have an offering in the mask. mask: (G,)."""
    kept, seen, count = solve.kept_kind[b], solve.seen_value[b], 0
    for t in range(kept.shape[0]):
        kept[t] = False
    for v in range(seen.shape[0]):
        seen[v] = False
    for g in range(mask.shape[0]):
        if mask[g]:
            kept[config.kind[b, g]] = True
    for g in range(mask.shape[0]):
        v = config.value[b, k, g]
        if v >= 0 and groups.pool[b, g] == pool and kept[config.kind[b, g]] and not seen[v]:
            seen[v] = True
            count += 1
    return count


@inner
def insists(config: Any, b: int, pool: int) -> bool:
    """Whether a pool has any minValues."""
    found = False
    for k in range(config.least.shape[2]):
        found = found or config.least[b, pool, k] > 0
    return found


@inner
def varied(config: Any, groups: Any, solve: Any, b: int, pool: int, mask: Any) -> bool:
    """Whether a claim of the pool may have this mask; under BestEffort any."""
    if config.flag[b, RELAX_MIN_VALUES] != 0.0:
        return True
    for k in range(config.least.shape[2]):
        low = config.least[b, pool, k]
        if low > 0 and variety(config, groups, solve, b, pool, k, mask) < low:
            return False
    return True


@inner
def note_need(config: Any, groups: Any, solve: Any, b: int, pool: int, mask: Any) -> None:
    """need[k] = values that the claim with this mask must keep: minValues, or under BestEffort what it has of them."""
    for k in range(config.least.shape[2]):
        low = config.least[b, pool, k]
        if low > 0 and config.flag[b, RELAX_MIN_VALUES] != 0.0:
            low = min(low, variety(config, groups, solve, b, pool, k, mask))
        solve.need[b, k] = low


@inner
def keeps_need(config: Any, groups: Any, solve: Any, b: int, pool: int, mask: Any) -> bool:
    """Whether a narrower mask still has what `note_need` noted."""
    for k in range(solve.need.shape[1]):
        low = solve.need[b, k]
        if low > 0 and variety(config, groups, solve, b, pool, k, mask) < low:
            return False
    return True


@inner
def types_needed(config: Any, groups: Any, solve: Any, b: int, pool: int, mask: Any, types: int) -> int:
    """The fewest of the cheapest types in the mask, from 15 on, that keep the need; `types` are in it."""
    few = solve.few_mask[b]
    for m in range(SPOT_TO_SPOT_TYPES, types):
        for g in range(mask.shape[0]):
            few[g] = mask[g]
        keep_first(few, config.kind[b], groups.price[b], m, solve.kind_best[b])
        if keeps_need(config, groups, solve, b, pool, few):
            return m
    return types


@inner
def cheaper_types(
    config: Any, groups: Any, solve: Any, b: int, pool: int, mask: Any, price: float, all_spot: bool, n: int
) -> int:
    """Cut the mask of a replacement for n nodes to what is cheaper than `price`: types that the move must keep.

    -1 = what is left has too few values of some label, 0 = no floor. Before `consolidation_decision`, which
    cuts by the same prices.
    """
    if not insists(config, b, pool):
        return 0
    kind, capacity, cost = config.kind[b], config.capacity[b], groups.price[b]
    first, worst, best = solve.kind_first[b], solve.kind_worst[b], solve.kind_best[b]
    note_need(config, groups, solve, b, pool, mask)
    to_spot = all_spot and offers(mask, capacity, SPOT)
    if to_spot:
        keep_capacity(mask, capacity, SPOT)
    launch_prices(mask, kind, capacity, cost, first, worst, best)
    types = keep_cheaper(mask, kind, worst, price)
    if not keeps_need(config, groups, solve, b, pool, mask):
        return -1
    return types_needed(config, groups, solve, b, pool, mask, types) if to_spot and n == 1 else 0


@inner
def few_are_varied(config: Any, groups: Any, solve: Any, b: int, mask: Any, most: int) -> bool:
    """Whether the `most` cheapest types of a claim, which are all that is sent to the provider, keep its variety."""
    if solve.kind_best.shape[1] <= most:
        return True
    few, pool = solve.few_mask[b], -1
    for g in range(mask.shape[0]):
        few[g] = mask[g]
        if mask[g]:
            pool = groups.pool[b, g]
    if pool < 0 or not insists(config, b, pool):
        return True
    keep_first(few, config.kind[b], groups.price[b], most, solve.kind_best[b])
    return varied(config, groups, solve, b, pool, few)
