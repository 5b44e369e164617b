"""Pod life: created (pending) -> bound (starting) -> ready -> terminating -> gone.

Pods sit in a list per workload (newest first) and one per node; starting and terminating pods are
also in the compact list `clock.active`, which each tick scans. All kernels keep the counts in
`flow` and the node books (`envs.controllers.placement`) in step: pods + capacity are conserved.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.placement import bind, count_pod, reserve
from envs.sim.jit import inner
from envs.sim.random import RNG_START, lognormal
from envs.sim.state import POD_FREE, POD_PENDING, POD_READY, POD_STARTING, POD_TERMINATING

SAMPLE_LAG_S = 90.0  # oldest sample (60 s) + its window (30 s): later a ready pod's sample counts for the HPA
EVENT_DEDUPE_S = 10.0  # a NodeClaim's lastPodEventTime is written at most so often
MEM_SPREAD = 0.1  # CV of memory use between the pods of one workload
MEM_CEILING = 1.5  # no pod uses more than this times its workload's mean


@inner
def own_factor(p: int, now_s: float) -> float:
    """Memory factor of a pod for life, in [1/MEM_CEILING, MEM_CEILING]: lognormal, hashed from slot and birth."""
    h = (p * 2654435761 + int(now_s * 1000.0) * 40503) % 4294967296
    h = (h * 1103515245 + 12345) % 4294967296
    u = (h + 0.5) / 4294967296.0
    h = (h * 22695477 + 1) % 4294967296
    v = (h + 0.5) / 4294967296.0
    z = math.sqrt(-2.0 * math.log(u)) * math.cos(6.283185307179586 * v)
    factor = math.exp(MEM_SPREAD * z - 0.5 * MEM_SPREAD * MEM_SPREAD)
    return min(max(factor, 1.0 / MEM_CEILING), MEM_CEILING)


@inner
def create_pod(pods: Any, flow: Any, clock: Any, classes: Any, b: int, w: int, now_s: float) -> int:
    """A new pending pod of workload w, queued by priority then age; its slot, -1 when none is left."""
    if pods.n_free[b] > 0:
        pods.n_free[b] -= 1
        p = pods.free[b, pods.n_free[b]]
    elif pods.hi[b] < pods.phase.shape[1]:
        p = pods.hi[b]
        pods.hi[b] += 1
    else:
        clock.overflow[b] += 1
        return -1
    pods.workload[b, p] = w
    pods.phase[b, p] = POD_PENDING
    pods.node[b, p] = -1
    pods.created_s[b, p] = now_s
    pods.bound_s[b, p] = -math.inf
    pods.ready_s[b, p] = math.inf
    pods.gone_s[b, p] = math.inf
    pods.mem_factor[b, p] = own_factor(p, now_s)
    head = pods.first_of[b, w]
    pods.next_w[b, p] = head
    pods.prev_w[b, p] = -1
    if head >= 0:
        pods.prev_w[b, head] = p
    pods.first_of[b, w] = p
    flow.n_pending[b, w] += 1
    _enqueue(pods, classes, b, p)
    return p


@inner
def _enqueue(pods: Any, classes: Any, b: int, p: int) -> None:
    """Insert behind the last pending pod of at least equal priority (the scheduling queue's order)."""
    priority = classes.priority[b, pods.workload[b, p]]
    i = pods.n_pending[b]
    while i > 0 and classes.priority[b, pods.workload[b, pods.pending[b, i - 1]]] < priority:
        pods.pending[b, i] = pods.pending[b, i - 1]
        i -= 1
    pods.pending[b, i] = p
    pods.n_pending[b] += 1


@inner
def _dequeue(pods: Any, b: int, p: int) -> None:
    n = pods.n_pending[b]
    i = n - 1
    while pods.pending[b, i] != p:
        i -= 1
    for k in range(i, n - 1):
        pods.pending[b, k] = pods.pending[b, k + 1]
    pods.n_pending[b] = n - 1


@inner
def _activate(clock: Any, b: int, p: int) -> None:
    if clock.active_at[b, p] < 0:
        clock.active_at[b, p] = clock.n_active[b]
        clock.active[b, clock.n_active[b]] = p
        clock.n_active[b] += 1


@inner
def _deactivate(clock: Any, b: int, p: int) -> None:
    i = clock.active_at[b, p]
    if i >= 0:
        last = clock.active[b, clock.n_active[b] - 1]
        clock.active[b, i] = last
        clock.active_at[b, last] = i
        clock.active_at[b, p] = -1
        clock.n_active[b] -= 1


@inner
def _note_event(clock: Any, b: int, n: int, now_s: float, counts: bool) -> None:
    """A pod came to node n, is told to end (both count for its NodeClaim), or is gone.

    The claim's time is written at most every 10 s. Rules: karpenter v1.14 pkg/controllers/nodeclaim/podevents.
    """
    if not clock.pod_event_s[b, n] > now_s:
        clock.pod_event_s[b, n] = now_s
    if counts and not now_s - clock.claim_event_s[b, n] < EVENT_DEDUPE_S:
        clock.claim_event_s[b, n] = now_s
    clock.change_s[b] = max(clock.change_s[b], now_s)


@inner
def bind_pod(
    pods: Any, flow: Any, clock: Any, service: Any, classes: Any, topology: Any, nodes: Any, rng: Any,
    b: int, p: int, n: int, now_s: float,
) -> None:  # fmt: skip
    """Bind pending pod p to node n; it becomes ready after a random start delay.

    The caller takes p out of the pending queue (it walks that queue anyway).
    """
    w = pods.workload[b, p]
    bind(classes, topology, nodes, b, w, n)
    pods.node[b, p] = n
    pods.bound_s[b, p] = max(now_s, pods.created_s[b, p])  # a tick's second round of events looks back
    pods.phase[b, p] = POD_STARTING
    delay_s = lognormal(rng, b, RNG_START, service.start_mean_s[b, w], service.start_cv[b, w])
    pods.ready_s[b, p] = pods.bound_s[b, p] + delay_s + clock.api_delay_s[b]
    head = nodes.first_pod[b, n]
    pods.next_n[b, p] = head
    pods.prev_n[b, p] = -1
    if head >= 0:
        pods.prev_n[b, head] = p
    nodes.first_pod[b, n] = p
    flow.n_pending[b, w] -= 1
    flow.n_starting[b, w] += 1
    flow.bound_in_group[b, w, nodes.group[b, n]] += 1
    _note_event(clock, b, n, pods.bound_s[b, p], True)
    clock.pods_version[b, n] += 1
    clock.changes[b] += 1
    _activate(clock, b, p)


@inner
def make_ready(pods: Any, flow: Any, clock: Any, b: int, p: int, tick_end_s: float) -> None:
    """A starting pod becomes Ready at pods.ready_s and takes load for the rest of the tick."""
    w = pods.workload[b, p]
    pods.phase[b, p] = POD_READY
    flow.n_starting[b, w] -= 1
    flow.n_ready[b, w] += 1
    flow.ready_pod_s[b, w] += tick_end_s - pods.ready_s[b, p]
    flow.young_until_s[b, w] = max(flow.young_until_s[b, w], pods.ready_s[b, p] + SAMPLE_LAG_S)
    _deactivate(clock, b, p)


@inner
def terminate_pod(
    pods: Any, flow: Any, clock: Any, service: Any, topology: Any, nodes: Any,
    b: int, p: int, now_s: float, tick_end_s: float,
) -> None:  # fmt: skip
    """Delete pod p: a pending one is gone at once, a bound one holds its requests for its grace time.

    Topology spread no longer counts it from now on, as in the real scheduler.
    """
    w = pods.workload[b, p]
    phase = pods.phase[b, p]
    if phase == POD_PENDING:
        flow.n_pending[b, w] -= 1
        _dequeue(pods, b, p)
        _free_pod(pods, b, p)
        return
    if phase == POD_READY:
        flow.n_ready[b, w] -= 1
        flow.ready_pod_s[b, w] -= tick_end_s - now_s
    else:
        flow.n_starting[b, w] -= 1
    flow.n_terminating[b, w] += 1
    pods.phase[b, p] = POD_TERMINATING
    count_pod(topology, nodes, b, w, pods.node[b, p], -1)
    pods.gone_s[b, p] = now_s + service.grace_s[b, w]
    _note_event(clock, b, pods.node[b, p], now_s, True)
    clock.pods_version[b, pods.node[b, p]] += 1
    _activate(clock, b, p)


@inner
def restart_pod(
    pods: Any, flow: Any, clock: Any, service: Any, rng: Any, b: int, p: int, now_s: float, tick_end_s: float
) -> None:
    """A ready pod's container was killed (out of memory): it starts again on the same node."""
    w = pods.workload[b, p]
    flow.n_ready[b, w] -= 1
    flow.ready_pod_s[b, w] -= tick_end_s - now_s
    flow.n_starting[b, w] += 1
    start_again(
        pods, clock, b, p, now_s + lognormal(rng, b, RNG_START, service.start_mean_s[b, w], service.start_cv[b, w])
    )


@inner
def start_again(pods: Any, clock: Any, b: int, p: int, ready_s: float) -> None:
    """Pod p's container starts on its node, to be ready at ready_s."""
    pods.phase[b, p] = POD_STARTING
    pods.ready_s[b, p] = ready_s
    _activate(clock, b, p)


@inner
def stop_starting(pods: Any, clock: Any, b: int, p: int) -> None:
    """A starting pod will never be ready: its node is lost."""
    pods.ready_s[b, p] = math.inf
    _deactivate(clock, b, p)


@inner
def finish_pod(pods: Any, flow: Any, clock: Any, classes: Any, nodes: Any, b: int, p: int) -> None:
    """A terminating pod is gone: its node's room is free again."""
    w = pods.workload[b, p]
    n = pods.node[b, p]
    reserve(classes, nodes, b, w, n, -1)
    nxt, prv = pods.next_n[b, p], pods.prev_n[b, p]
    if prv >= 0:
        pods.next_n[b, prv] = nxt
    else:
        nodes.first_pod[b, n] = nxt
    if nxt >= 0:
        pods.prev_n[b, nxt] = prv
    flow.n_terminating[b, w] -= 1
    flow.bound_in_group[b, w, nodes.group[b, n]] -= 1
    _note_event(clock, b, n, pods.gone_s[b, p], clock.ends_count[b] > 0)
    clock.changes[b] += 1
    _deactivate(clock, b, p)
    _free_pod(pods, b, p)
    clock.retry[b] = 1


@inner
def _free_pod(pods: Any, b: int, p: int) -> None:
    w = pods.workload[b, p]
    nxt, prv = pods.next_w[b, p], pods.prev_w[b, p]
    if prv >= 0:
        pods.next_w[b, prv] = nxt
    else:
        pods.first_of[b, w] = nxt
    if nxt >= 0:
        pods.prev_w[b, nxt] = prv
    pods.workload[b, p] = -1
    pods.phase[b, p] = POD_FREE
    pods.node[b, p] = -1
    pods.free[b, pods.n_free[b]] = p
    pods.n_free[b] += 1


@inner
def deletion_choice(pods: Any, nodes: Any, b: int, w: int, now_s: float) -> int:
    """The pod that a ReplicaSet deletes first, -1 when none is left.

    Order of the ReplicaSet controller (kubernetes/kubernetes pkg/controller ActivePodsWithRanks):
    unbound, then not ready, then on the node with most siblings, then ready for the shorter time
    (compared in powers of two), then the newest.
    """
    best, best_rank, best_siblings, best_age = -1, 9, -1, 0
    phases, node, ready_s, next_w = pods.phase[b], pods.node[b], pods.ready_s[b], pods.next_w[b]
    p = pods.first_of[b, w]
    while p >= 0:
        phase = phases[p]
        rank = 9 if phase == POD_TERMINATING else 0 if phase == POD_PENDING else 1 if phase == POD_STARTING else 2
        if rank < 9 and rank <= best_rank:
            siblings = 0 if rank == 0 else int(nodes.pods_of[b, w, node[p]])
            if rank < best_rank or siblings >= best_siblings:
                age = int(math.log2(max(now_s - ready_s[p], 1.0))) if rank == 2 else 0
                # the list is newest first, so ties keep the newest
                if rank < best_rank or siblings > best_siblings or age < best_age:
                    best, best_rank, best_siblings, best_age = p, rank, siblings, age
        p = next_w[p]
    return best
