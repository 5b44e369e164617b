"""Which pods would leave a node, kept from pass to pass: walking the list of a node's pods is slow. Compiled.

A node's roll is the classes of its pods that are not being deleted, in Karpenter's order of pods. It is made
again when a pod was bound to the node or told to end. Where it does not hold (too many pods, or pods of
DaemonSets) its number of pods is UNLISTED, and the pods themselves are looked at.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.disruption import pdb_allowed
from envs.controllers.karpenter_state import ANY_FAMILY, R_FAMILY, R_PODS, R_VERSION, UNLISTED
from envs.sim.jit import inner
from envs.sim.state import POD_TERMINATING

BLOCKS, STAYS = 1, 2  # drain codes: do-not-disrupt, and pods of DaemonSets


@inner
def note_roll(s: Any, b: int, n: int) -> int:
    """Bring node n's roll up to date; its number of pods, or UNLISTED."""
    of = s.kp_state.roll_of[b, n]
    if of[R_VERSION] != s.clock.pods_version[b, n]:
        of[R_VERSION] = s.clock.pods_version[b, n]
        of[R_PODS] = make_roll(s, b, n)
    return of[R_PODS]


@inner
def make_roll(s: Any, b: int, n: int) -> int:
    """Write node n's roll, its pods by size and their family; the number of pods, or UNLISTED."""
    roll, rank, count, family = s.kp_state.roll[b, n], s.kp.rank[b], 0, -1
    p = s.nodes.first_pod[b, n]
    while p >= 0:
        if s.pods.phase[b, p] != POD_TERMINATING:
            w = s.pods.workload[b, p]
            if count == roll.shape[0] or s.classes.drain_code[b, w] == STAYS:
                return UNLISTED
            i = count
            while i > 0 and rank[roll[i - 1]] > rank[w]:
                roll[i] = roll[i - 1]
                i -= 1
            roll[i] = w
            count += 1
            same = family < 0 or family == s.kp.family[b, w]
            family = s.kp.family[b, w] if same else ANY_FAMILY
        p = s.pods.next_n[b, p]
    s.kp_state.roll_of[b, n, R_FAMILY] = max(family, ANY_FAMILY)
    at_least = s.kp_state.at_least[b, n]
    for k in range(at_least.shape[0]):
        at_least[k] = 0
    for i in range(count):
        for k in range(s.kp.sizes_of[b, roll[i]]):
            at_least[k] += 1
    return count


@inner
def note_budgets(s: Any, b: int) -> None:
    """Note which workloads' disruption budgets allow an eviction now, for `pods_may_go`."""
    for w in range(s.kp_state.may_go.shape[1]):
        allowed = pdb_allowed(s.classes, b, w, s.flow.n_ready[b, w], s.flow.spec_replicas[b, w])
        s.kp_state.may_go[b, w] = allowed >= 1


@inner
def pods_may_go(s: Any, b: int, n: int) -> bool:
    """Whether the disruption budget of every pod on node n allows an eviction. After `note_budgets`."""
    count = note_roll(s, b, n)
    for i in range(count):
        if not s.kp_state.may_go[b, s.kp_state.roll[b, n, i]]:
            return False
    p = s.nodes.first_pod[b, n] if count == UNLISTED else -1
    while p >= 0:
        if s.pods.phase[b, p] != POD_TERMINATING and not s.kp_state.may_go[b, s.pods.workload[b, p]]:
            return False
        p = s.pods.next_n[b, p]
    return True
