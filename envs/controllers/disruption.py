"""How many pods of a workload may be disrupted now: PodDisruptionBudget. Compiled."""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import inner

PDB_NONE, PDB_MIN, PDB_MAX, PDB_MIN_SHARE, PDB_MAX_SHARE = 0, 1, 2, 3, 4
NO_LIMIT = 2147483647


@inner
def share_of(expected: int, share: float) -> int:
    """Pods that a share (0-1) stands for, rounded up, as both kinds of budget round.

    The slack takes up the share's own rounding: 7 % of 100 is 7, though 0.07 * 100 > 7 in binary.
    """
    return math.ceil(share * expected - 1e-9)


@inner
def pdb_allowed(classes: Any, b: int, w: int, healthy: int, expected: int) -> int:
    """Disruptions that workload w's budget allows, given its healthy pods and how many it should have.

    healthy: Ready pods that are not being deleted. expected: replicas that its controller asks for.
    desired healthy = minAvailable, or expected - maxUnavailable (>= 0); allowed = healthy - desired,
    at least 0. NO_LIMIT without a budget. Rule: Kubernetes disruption controller 1.36.
    """
    kind = classes.pdb_kind[b, w]
    if kind == PDB_NONE:
        return NO_LIMIT
    value = classes.pdb_value[b, w]
    if kind in (PDB_MIN, PDB_MAX):
        amount = int(value)
    else:
        amount = share_of(expected, value)
    desired = amount if kind in (PDB_MIN, PDB_MIN_SHARE) else max(0, expected - amount)
    if expected <= 0:
        return 0
    return max(0, healthy - desired)
