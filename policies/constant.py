"""The simplest policy: the same set-points always. A fallback, and the decision path's first user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.action import full_target, nothing, raw_of
from envs.cluster import ClusterSpec
from policies.policy import PolicyMemory, Sight


@dataclass(frozen=True)
class ConstantSetPoints:
    """HPA target as a share of a full replica; the rest stays as it is where None.

    share 0.6 of a CPU Utilization HPA is averageUtilization 60.
    """

    share: float = 0.6
    tolerance_up: float | None = None
    tolerance_down: float | None = None
    stabilization_down_s: float | None = None
    name: str = "constant"
    reads: tuple[str, ...] = ()

    def start(self, spec: ClusterSpec) -> PolicyMemory:
        """It has nothing to remember."""
        return {}

    def act(self, sight: Sight, memory: PolicyMemory) -> tuple[NDArray[Any], PolicyMemory]:
        """The same raw action for equal specs."""
        n = len(sight.spec.workloads)
        given = {
            "hpa_tolerance_up": self.tolerance_up,
            "hpa_tolerance_down": self.tolerance_down,
            "hpa_stabilization_down_s": self.stabilization_down_s,
        }
        fields: dict[str, Any] = {name: np.full(n, value) for name, value in given.items() if value is not None}
        target = np.array([self.share * full_target(w) for w in sight.spec.workloads])
        return raw_of(replace(nothing(sight.spec), hpa_target=target, **fields), sight.spec), memory
