"""What a policy is: a pure function of what it sees and of its own small memory."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from envs.cluster import ClusterSpec
from envs.intent import Intent

PolicyMemory = dict[str, Any]  # JSON types only


class Sight(NamedTuple):
    """Everything that a policy may look at."""

    observation: NDArray[Any]  # (W, F) float32, the columns of envs.observation.FEATURES that the policy reads
    spec: ClusterSpec
    intent: Intent
    now_s: float
    key: int  # seed of this decision's randomness: np.random.default_rng(key)


class Policy(Protocol):
    """Decides from a Sight. No clock, no I/O, no globals, no randomness but from `sight.key`."""

    @property
    def name(self) -> str:
        """Written into every proposal."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the features that it looks at, in the order of its columns; the others are not worked out."""
        ...

    def start(self, spec: ClusterSpec) -> PolicyMemory:
        """Memory before the first decision."""
        ...

    def act(self, sight: Sight, memory: PolicyMemory) -> tuple[NDArray[Any], PolicyMemory]:
        """Raw action in [-1, 1] (envs.action), NaN = leave as it is, and the next memory.

        Must not change `memory` in place.
        """
        ...
