"""Python entries to the provider's choice and to the first places of a solve; they only call the simulator's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.controllers import karpenter_existing, karpenter_price
from envs.sim.jit import allocating_kernel, kernel

_choice = karpenter_price.provider_choice
_start_pass, _find_start = karpenter_existing.start_pass, karpenter_existing.find_start


@allocating_kernel
def provider_choice(
    mask: Any, kind: Any, capacity: Any, price: Any, hazard: Any, live: Any, k: float, most: int
) -> int:
    return _choice(mask, kind, capacity, price, hazard, live, k, most, np.zeros(kind.shape[0]))


@kernel
def find_starts(config: Any, classes: Any, groups: Any, nodes: Any, solve: Any) -> None:
    """First places of every class, in solve.first."""
    _start_pass(groups, nodes, solve, 0)
    for w in range(classes.req.shape[1]):
        _find_start(config, classes, groups, nodes, solve, 0, w)
