"""Which nodes the Cluster Autoscaler may look at for removal, and which pods may be moved.

Rules followed: cluster-autoscaler `pkg/simulator/utilization`, `pkg/core/scaledown/eligibility`
and `pkg/simulator/drainability/rules` as of 2026-08.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.cluster import Workload
from envs.sim.jit import inner
from envs.sim.state import CPU, GPU, I1, MEM

# Classes.drain_code: what a drain does with a pod of this class
DRAIN_MOVE = 0  # it moves when its disruption budgets allow
DRAIN_BLOCKED = 1  # it keeps its node alive
DRAIN_IGNORED = 2  # DaemonSet or mirror pod: it goes with the node
DRAIN_FREE = 3  # it moves, and no budget is asked (safe-to-evict: true, or finished)
DRAIN_WAITED = 4  # the node waits for its completion, and it is not placed elsewhere
DRAIN_YOUNG_BLOCKED = 5  # kube-system without a budget: blocks in its first hour, then moves

LONG_TERMINATING_S = 30.0  # past the grace period; such a pod counts as gone
SYSTEM_POD_BLOCKS_S = 3600.0
_REPLICATED = frozenset({"ReplicationController", "Job", "ReplicaSet", "StatefulSet"})

# verdict of one pod in a drain
MOVES, BLOCKS, STAYS, COMPLETES, NO_BUDGET = 0, 1, 2, 3, 4

# why a node is no candidate
ELIGIBLE, RECENTLY_UNREMOVABLE, BEING_DELETED, DISABLED, NOT_AUTOSCALED, ERROR, UNREADY, USED = range(8)
INELIGIBLE_NAMES = (
    "",
    "RecentlyUnremovable",
    "CurrentlyBeingDeleted",
    "ScaleDownDisabledAnnotation",
    "NotAutoscaled",
    "UnexpectedError",
    "ScaleDownUnreadyDisabled",
    "NotUnderutilized",
)


@dataclass(frozen=True)
class DrainFlags:
    """Switches of --skip-nodes-with-*: such pods keep their node alive."""

    system_pods: bool = True
    local_storage: bool = True
    custom_controller_pods: bool = False


@dataclass(frozen=True)
class PodFacts:
    """What a drain wants to know of a pod. owner_kind: of its controller, "" = none."""

    owner_kind: str = "ReplicaSet"
    namespace: str = "default"
    mirror: bool = False
    daemonset: bool = False
    finished: bool = False
    safe_to_evict: str = ""  # the annotation: true, false, on-completion
    local_volumes: frozenset[str] = field(default_factory=frozenset)  # hostPath and disk emptyDir
    evictable_volumes: frozenset[str] = field(default_factory=frozenset)
    has_budget: bool = False


def drain_rule(pod: PodFacts, flags: DrainFlags) -> tuple[int, str]:
    """(DRAIN_* code, why it blocks). The first rule that applies decides; budgets come last, in kernels."""
    if pod.mirror or pod.daemonset:
        return DRAIN_IGNORED, ""
    if pod.safe_to_evict == "true" or pod.finished:
        return DRAIN_FREE, ""
    if pod.safe_to_evict == "on-completion":
        return DRAIN_WAITED, ""
    replicated = pod.owner_kind in _REPLICATED if flags.custom_controller_pods else bool(pod.owner_kind)
    if not replicated:
        return DRAIN_BLOCKED, "NotReplicated"
    young = flags.system_pods and pod.namespace == "kube-system" and not pod.has_budget
    if pod.safe_to_evict == "false":
        return DRAIN_BLOCKED, "UnmovableKubeSystemPod" if young else "NotSafeToEvictAnnotation"
    if flags.local_storage and pod.local_volumes - pod.evictable_volumes:
        return DRAIN_BLOCKED, "UnmovableKubeSystemPod" if young else "LocalStorageRequested"
    return (DRAIN_YOUNG_BLOCKED, "UnmovableKubeSystemPod") if young else (DRAIN_MOVE, "")


def workload_drain_codes(workloads: Sequence[Workload], flags: DrainFlags) -> I1:
    """(W,) drain codes of the simulator's workloads: all replicated, none with local storage."""
    facts = [
        PodFacts(
            namespace=w.namespace,
            safe_to_evict="" if w.safe_to_evict else "false",
            has_budget=w.pdb is not None,
        )
        for w in workloads
    ]
    return np.array([drain_rule(f, flags)[0] for f in facts], np.int8)


@inner
def drain_verdict(code: int, age_s: float, overdue_s: float, budget_left: int) -> int:
    """What a drain does with one pod. overdue_s: seconds past the end of its grace period, -inf if alive."""
    if overdue_s > LONG_TERMINATING_S or code == DRAIN_IGNORED:
        return STAYS
    if code == DRAIN_FREE:
        return MOVES
    if code == DRAIN_WAITED:
        return COMPLETES
    if code == DRAIN_BLOCKED or (code == DRAIN_YOUNG_BLOCKED and age_s < SYSTEM_POD_BLOCKS_S):
        return BLOCKS
    return NO_BUDGET if budget_left < 1 else MOVES


@inner
def share(requested: int, allocatable: int, ignored: int) -> float:
    """Requests over allocatable, ignored pods being off both."""
    return float(requested) / float(allocatable - ignored)


@inner
def node_utilization(
    alloc: Any, used: Any, b: int, g: int, n: int, gpu_node: bool, skip_cpu: int, skip_mem: int, skip_gpu: int
) -> Any:
    """(utilization, CPU share, memory share, GPU share, dominant resource); utilization -1 = error.

    alloc (B, G, R) by group, used (B, N, R) with DaemonSet pods. skip_*: requests of pods that
    count neither as used nor as room (DaemonSet or mirror pods, when flags say so).
    A node with a GPU looks at its GPU only; otherwise the larger share counts, memory on a tie.
    """
    if gpu_node:
        gpu = 0.0
        if alloc[b, g, GPU] > 0:
            gpu = share(used[b, n, GPU] - skip_gpu, alloc[b, g, GPU], skip_gpu)
        return gpu, 0.0, 0.0, gpu, GPU
    if alloc[b, g, CPU] <= 0 or alloc[b, g, MEM] <= 0:
        return -1.0, 0.0, 0.0, 0.0, CPU
    cpu = share(used[b, n, CPU] - skip_cpu, alloc[b, g, CPU], skip_cpu)
    mem = share(used[b, n, MEM] - skip_mem, alloc[b, g, MEM], skip_mem)
    if cpu > mem:
        return cpu, cpu, mem, 0.0, CPU
    return mem, cpu, mem, 0.0, MEM


@inner
def ineligible_reason(
    recent: bool,
    deleting: bool,
    disabled: bool,
    group: int,
    skip_unready: bool,
    utilization: float,
    limit: float,
) -> int:
    """Why a node is no candidate for removal, ELIGIBLE if it is; utilization -1 = unknown.

    Utilization exactly at the limit is low enough.
    """
    if recent:
        return RECENTLY_UNREMOVABLE
    if deleting:
        return BEING_DELETED
    if disabled:
        return DISABLED
    if group < 0:
        return NOT_AUTOSCALED
    if utilization == -1.0:
        return ERROR
    if skip_unready:
        return UNREADY
    return USED if utilization > limit else ELIGIBLE
