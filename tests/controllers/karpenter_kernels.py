"""Python entry to the provider's choice; it only calls the simulator's own function."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.controllers import karpenter_price
from envs.sim.jit import kernel

_choice = karpenter_price.provider_choice


@kernel
def provider_choice(
    mask: Any, kind: Any, capacity: Any, price: Any, hazard: Any, live: Any, k: float, most: int
) -> int:
    return _choice(mask, kind, capacity, price, hazard, live, k, most, np.zeros(kind.shape[0]))
