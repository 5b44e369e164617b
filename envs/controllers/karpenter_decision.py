"""What to do with nodes once it is known where their pods would go: delete, replace, or nothing. Compiled.

Rules followed: kubernetes-sigs/karpenter v1.14 pkg/controllers/disruption (consolidation).
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_price import (
    ON_DEMAND,
    SPOT,
    keep_capacity,
    keep_cheaper,
    keep_first,
    launch_prices,
)
from envs.sim.jit import inner

NOTHING, DELETE, REPLACE = 0, 1, 2
SPOT_TO_SPOT_TYPES = 15  # so many cheaper types must be left for a single spot node to move to spot


@inner
def consolidation_decision(
    all_fit: bool, n_new: int, n: int, all_spot: bool, price: float, spot_to_spot: bool, min_types: int,
    mask: Any, kind: Any, capacity: Any, price_of: Any, first: Any, worst: Any, best: Any,
) -> int:  # fmt: skip
    """NOTHING, DELETE or REPLACE for n nodes that cost `price` together; mask = the options that remain.

    all_fit: every pod found a place. n_new: new nodes that they would need. all_spot: all of the nodes are
    spot. min_types: types that the pool insists on having to choose from. mask (G,): options of the new
    node, narrowed here; first, worst, best: (T,) scratch.
    """
    if not all_fit or n_new > 1:
        return NOTHING
    if n_new == 0:
        return DELETE
    spot, on_demand = offers(mask, capacity, SPOT), offers(mask, capacity, ON_DEMAND)
    to_spot = all_spot and spot
    if to_spot:
        if not spot_to_spot:
            return NOTHING
        keep_capacity(mask, capacity, SPOT)
    launch_prices(mask, kind, capacity, price_of, first, worst, best)
    left = keep_cheaper(mask, kind, worst, price)
    if left == 0 or left < min_types:
        return NOTHING
    if to_spot and n == 1:
        if left < SPOT_TO_SPOT_TYPES:
            return NOTHING
        keep_first(mask, kind, price_of, max(SPOT_TO_SPOT_TYPES, min_types), best)
    elif spot and on_demand:  # on-demand nodes may become spot, but never a dearer on-demand node
        keep_capacity(mask, capacity, SPOT)
    return REPLACE


@inner
def offers(mask: Any, capacity: Any, wanted: int) -> bool:
    """Whether the mask holds an offering of a capacity type."""
    found = False
    for g in range(mask.shape[0]):
        found = found or (mask[g] and capacity[g] == wanted)
    return found
