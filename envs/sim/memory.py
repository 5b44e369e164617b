"""Memory as a hard limit: containers over their limit restart, nodes over their memory evict.

A pod's use is its workload's mean times a factor of its own (envs.sim.pods.own_factor), so that
pods of one workload do not all hit the limit in the same second.
"""

from __future__ import annotations

from typing import Any

from envs.sim.flow import OOM, PODS_EVICTED
from envs.sim.jit import inner
from envs.sim.pods import MEM_CEILING, restart_pod, terminate_pod
from envs.sim.replicas import reconcile
from envs.sim.state import MEM, POD_READY

GIB = 1073741824.0
ROUNDING = 1.0 + 1e-9  # a bound is compared with a sum that is added up in another order


@inner
def enforce_memory(s: Any, b: int, row: int, tick_end_s: float) -> None:
    """At the end of a tick: restart containers over their limit, then relieve nodes over their memory."""
    most_over = 0.0
    for w in range(s.flow.speed.shape[1]):
        if s.flow.n_ready[b, w] == 0:
            continue
        use = s.flow.mem_per_pod_gib[b, w] * MEM_CEILING
        most_over = max(most_over, use - s.service.mem_request_gib[b, w])
        if use > s.service.mem_limit_gib[b, w]:
            _restart_over_limit(s, b, w, row, tick_end_s)
    if most_over > 1e-9:
        _relieve_nodes(s, b, most_over, row, tick_end_s)


@inner
def _restart_over_limit(s: Any, b: int, w: int, row: int, tick_end_s: float) -> None:
    p = s.pods.first_of[b, w]
    while p >= 0:
        following = s.pods.next_w[b, p]
        if s.pods.phase[b, p] == POD_READY:
            use = s.flow.mem_per_pod_gib[b, w] * s.pods.mem_factor[b, p]
            if use > s.service.mem_limit_gib[b, w]:
                restart_pod(s.pods, s.flow, s.clock, s.service, s.rng, b, p, tick_end_s, tick_end_s)
                if row >= 0:
                    s.rows.work[b, row, OOM, w] += 1.0
        p = following


@inner
def _relieve_nodes(s: Any, b: int, most_over: float, row: int, tick_end_s: float) -> None:
    """The kubelet evicts, one pod a tick and node, the pod furthest over its request.

    most_over: GiB that any ready pod may be over its request. Only a node that could be over its memory, were
    all its pods so far over, is looked at pod by pod.
    """
    for n in range(s.nodes.hi[b]):
        g = s.nodes.group[b, n]
        if g < 0:
            continue
        if s.nodes.used[b, n, MEM] + s.nodes.n_pods[b, n] * most_over * GIB <= s.groups.alloc[b, g, MEM]:
            continue
        room = (s.groups.alloc[b, g, MEM] - s.groups.daemon[b, g, MEM]) / GIB
        if _cannot_exceed(s, b, n, room):
            continue
        if _memory_used(s, b, n) > room:
            worst = _furthest_over(s, b, n)
            if worst >= 0:
                w = s.pods.workload[b, worst]
                terminate_pod(s.pods, s.flow, s.clock, s.service, s.topology, s.nodes, b, worst, tick_end_s, tick_end_s)
                if row >= 0:
                    s.rows.cluster[b, row, PODS_EVICTED] += 1.0
                reconcile(s, b, w, tick_end_s, row, tick_end_s)


@inner
def _cannot_exceed(s: Any, b: int, n: int, room: float) -> bool:
    """Whether the ready pods of node n, counted by class, are within room with every factor at its ceiling.

    Asked where there are not many more classes than pods: else a walk over the pods is as quick.
    """
    W = s.flow.n_ready.shape[1]
    if 4 * s.nodes.n_pods[b, n] < W:
        return False
    most = 0.0
    for w in range(W):
        most += s.nodes.pods_of[b, w, n] * s.flow.mem_per_pod_gib[b, w]
    return most * MEM_CEILING * ROUNDING <= room


@inner
def _memory_used(s: Any, b: int, n: int) -> float:
    """GiB that the ready pods of node n use."""
    total, p = 0.0, s.nodes.first_pod[b, n]
    while p >= 0:
        if s.pods.phase[b, p] == POD_READY:
            total += s.flow.mem_per_pod_gib[b, s.pods.workload[b, p]] * s.pods.mem_factor[b, p]
        p = s.pods.next_n[b, p]
    return total


@inner
def _furthest_over(s: Any, b: int, n: int) -> int:
    worst, excess = -1, 0.0
    p = s.nodes.first_pod[b, n]
    while p >= 0:
        if s.pods.phase[b, p] == POD_READY:
            w = s.pods.workload[b, p]
            over = s.flow.mem_per_pod_gib[b, w] * s.pods.mem_factor[b, p] - s.service.mem_request_gib[b, w]
            if over > excess:
                worst, excess = p, over
        p = s.pods.next_n[b, p]
    return worst
