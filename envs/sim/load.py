"""Load meets capacity: CPU contention, the service model, memory, and why requests were bad."""

from __future__ import annotations

import math
from typing import Any

from envs.sim.backlog import batch_tick, queue_tick
from envs.sim.flow import (
    BACKLOG,
    BAD_LOST,
    BAD_NO_NODE,
    BAD_SATURATED,
    BAD_STARTING,
    BATCH,
    CAPACITY,
    CPU_REQUESTED_S,
    CPU_USED_S,
    DESIRED_S,
    GOOD,
    MEM_REQUESTED_S,
    MEM_USED_S,
    OFFERED,
    PENDING_S,
    QUEUE,
    READY_S,
    STARTING_S,
)
from envs.sim.jit import inner
from envs.sim.measure import place_in
from envs.sim.service import known_tick
from envs.sim.state import CPU, POD_READY

MIN_CFS_CORES = 0.002  # a container without a request still has two CFS shares


@inner
def wanted_cores(s: Any, b: int, w: int, arrivals: float, dt: float) -> float:
    """Cores that one ready replica would burn with all the CPU it asks for, its limit not applied."""
    replicas = s.flow.ready_pod_s[b, w] / dt
    if replicas <= 0.0:
        return 0.0
    rate = (arrivals + s.flow.backlog[b, w]) / dt / replicas
    return min(rate, s.service.slots[b, w] / s.service.service_s[b, w]) * s.service.cpu_s[b, w]


@inner
def full_cores(s: Any, b: int, w: int) -> float:
    """Cores that one replica burns with every slot busy and all the CPU it asks for."""
    return s.service.slots[b, w] / s.service.service_s[b, w] * s.service.cpu_s[b, w]


@inner
def effective_slots(s: Any, b: int, w: int) -> float:
    """Slots that a replica's CPU is enough for, at least one: short CPU takes away slots first."""
    return max(s.service.slots[b, w] * s.flow.speed[b, w], 1.0)


@inner
def slot_speed(s: Any, b: int, w: int) -> float:
    """Speed of each effective slot, (0, 1]: below 1 only where the CPU is not enough for one slot."""
    return min(s.service.slots[b, w] * s.flow.speed[b, w], 1.0)


@inner
def set_speeds(s: Any, b: int, arrivals: Any, tick: int, dt: float) -> None:
    """CPU that pods may have, as a share of what they burn with every slot busy: limit, then CFS shares.

    A full node gives pod i min(wanted_i, theta x request_i), with theta such that the node is just
    full. A pod that gets less than it wants can serve what that CPU is enough for and no more.
    """
    crowded = False
    for w in range(arrivals.shape[2]):
        want = wanted_cores(s, b, w, arrivals[b, tick, w], dt)
        limit = s.service.cpu_limit[b, w]
        s.flow.speed[b, w] = min(limit / max(full_cores(s, b, w), 1e-12), 1.0)
        want = min(want, limit)
        s.flow.cpu_per_pod[b, w] = want
        s.scratch.granted[b, w] = 0.0
        s.scratch.wanted[b, w] = 0.0
        crowded = crowded or want > s.service.cpu_request[b, w] + 1e-12
    if crowded:
        _share_full_nodes(s, b)


@inner
def _share_full_nodes(s: Any, b: int) -> None:
    for n in range(s.nodes.hi[b]):
        s.scratch.node_cpu[b, n] = 0.0
    for p in range(s.pods.hi[b]):
        if s.pods.phase[b, p] == POD_READY:
            s.scratch.node_cpu[b, s.pods.node[b, p]] += s.flow.cpu_per_pod[b, s.pods.workload[b, p]]
    full = False
    for n in range(s.nodes.hi[b]):
        g = s.nodes.group[b, n]
        if g >= 0:
            room = (s.groups.alloc[b, g, CPU] - s.groups.daemon[b, g, CPU]) * 1e-3
            if s.scratch.node_cpu[b, n] > room:
                s.scratch.node_cpu[b, n] = _cfs_level(s, b, n, room)
                full = True
            else:
                s.scratch.node_cpu[b, n] = math.inf
    if not full:
        return
    for p in range(s.pods.hi[b]):
        if s.pods.phase[b, p] == POD_READY:
            w = s.pods.workload[b, p]
            want = s.flow.cpu_per_pod[b, w]
            share = s.scratch.node_cpu[b, s.pods.node[b, p]] * max(s.service.cpu_request[b, w], MIN_CFS_CORES)
            capacity = s.flow.speed[b, w]
            s.scratch.wanted[b, w] += capacity
            s.scratch.granted[b, w] += share / full_cores(s, b, w) if share < want else capacity
    for w in range(s.flow.speed.shape[1]):
        if s.scratch.granted[b, w] < s.scratch.wanted[b, w]:
            s.flow.speed[b, w] *= max(s.scratch.granted[b, w] / s.scratch.wanted[b, w], 1e-3)


@inner
def _cfs_level(s: Any, b: int, n: int, room: float) -> float:
    """theta with sum over the node's ready pods of min(wanted, theta x request) = room, by bisection."""
    low, high = 0.0, 1e6
    for _ in range(60):
        theta = 0.5 * (low + high)
        total = 0.0
        p = s.nodes.first_pod[b, n]
        while p >= 0:
            if s.pods.phase[b, p] == POD_READY:
                w = s.pods.workload[b, p]
                total += min(s.flow.cpu_per_pod[b, w], theta * max(s.service.cpu_request[b, w], MIN_CFS_CORES))
            p = s.pods.next_n[b, p]
        if total > room:
            high = theta
        else:
            low = theta
    return low


@inner
def serve(s: Any, b: int, w: int, arrivals: float, replicas: float, dt: float) -> Any:
    """One tick of the workload's own kind: (good, bad, timed out, served, backlog, busy slots)."""
    v = s.service
    return known_tick(
        s.tables, s.scratch.known[b, w], arrivals, dt, replicas, effective_slots(s, b, w), v.service_s[b, w],
        v.cv[b, w], v.threshold_s[b, w], v.timeout_s[b, w], v.balancing[b, w], slot_speed(s, b, w),
        s.flow.backlog[b, w],
    )  # fmt: skip


@inner
def serve_workload(s: Any, b: int, w: int, arrivals: float, tick: int, row: int, dt: float) -> None:
    """Serve one tick of workload w; update backlog, usage, history and the row in work."""
    flow = s.flow
    replicas = max(flow.ready_pod_s[b, w], 0.0) / dt
    starting, pending = float(flow.n_starting[b, w]), float(flow.n_pending[b, w])
    saturated, late, homeless = 0.0, 0.0, 0.0
    kind = s.service.kind[b, w]
    lost = lost_requests(s, b, w, arrivals, replicas)
    arrivals -= lost
    if kind in (QUEUE, BATCH):
        good, bad, backlog, busy = _work(s, b, w, arrivals, replicas, tick, dt)
        saturated = bad
    else:
        good, bad, _out, _served, backlog, busy = serve(s, b, w, arrivals, replicas, dt)
        saturated = bad
        if bad > 1e-3 * arrivals and starting + pending > 0.0:
            with_starting = min(serve(s, b, w, arrivals, replicas + starting, dt)[1], bad)
            with_all = min(serve(s, b, w, arrivals, replicas + starting + pending, dt)[1], with_starting)
            late = bad - with_starting
            homeless = with_starting - with_all
            saturated = with_all
    flow.backlog[b, w] = backlog
    flow.busy[b, w] = busy
    per_pod = busy / replicas if replicas > 0.0 else 0.0
    v = s.service
    flow.cpu_per_pod[b, w] = per_pod * v.cpu_s[b, w] / v.service_s[b, w] * slot_speed(s, b, w)
    if flow.speed[b, w] < 1.0 and replicas > 0.0:  # what waits for CPU holds a slot and its memory
        per_pod = min(per_pod + backlog / replicas, v.slots[b, w])
    flow.mem_per_pod_gib[b, w] = v.mem_base_gib[b, w] + v.mem_slot_gib[b, w] * per_pod
    arrivals += lost
    _remember(s, b, w, arrivals, bad + lost, replicas, tick, dt)
    if row >= 0:
        work = s.rows.work
        work[b, row, BAD_LOST, w] += lost
        work[b, row, OFFERED, w] += arrivals
        work[b, row, GOOD, w] += good
        work[b, row, BAD_SATURATED, w] += saturated
        work[b, row, BAD_STARTING, w] += late
        work[b, row, BAD_NO_NODE, w] += homeless
        work[b, row, READY_S, w] += replicas * dt
        work[b, row, DESIRED_S, w] += flow.spec_replicas[b, w] * dt
        work[b, row, PENDING_S, w] += pending * dt
        work[b, row, STARTING_S, w] += starting * dt
        work[b, row, CAPACITY, w] += replicas * dt * v.slots[b, w] / v.service_s[b, w]
        bound = (replicas + starting + flow.n_terminating[b, w]) * dt
        work[b, row, CPU_USED_S, w] += flow.cpu_per_pod[b, w] * replicas * dt
        work[b, row, CPU_REQUESTED_S, w] += v.cpu_request[b, w] * bound
        work[b, row, MEM_USED_S, w] += flow.mem_per_pod_gib[b, w] * replicas * dt
        work[b, row, MEM_REQUESTED_S, w] += v.mem_request_gib[b, w] * bound
        work[b, row, BACKLOG, w] = backlog


@inner
def lost_requests(s: Any, b: int, w: int, arrivals: float, replicas: float) -> float:
    """Requests of a service that go to pods of a dead node; what queues hold is taken up by others.

    For the part of the tick in which D dead pods are listed beside `replicas` live ones: D / (D + replicas).
    """
    part = s.faults.dead_share[b, w]
    if part <= 0.0 or s.service.kind[b, w] in (QUEUE, BATCH):
        return 0.0
    dead = s.faults.dead_pod_s[b, w] / (part * s.clock.tick_s[b])
    return arrivals * part * dead / (dead + replicas)


@inner
def _work(s: Any, b: int, w: int, arrivals: float, replicas: float, tick: int, dt: float) -> Any:
    """Kinds queue and batch: (good, bad, backlog, busy slots)."""
    v, f = s.service, s.flow
    length = int(f.cohorts[b, w])
    if v.kind[b, w] == QUEUE:
        r = queue_tick(
            f.ring, f.ring_meta, b, w, length, arrivals, dt, replicas, effective_slots(s, b, w),
            v.service_s[b, w], v.backlog_age_slo_s[b, w], slot_speed(s, b, w),
        )  # fmt: skip
    else:
        r = batch_tick(
            f.ring, f.ring_meta, b, w, length, arrivals, tick * dt, dt, replicas, effective_slots(s, b, w),
            v.service_s[b, w], v.deadline_s[b, w], slot_speed(s, b, w),
        )  # fmt: skip
    return r[0], r[1], r[4], r[5]


@inner
def _remember(s: Any, b: int, w: int, arrivals: float, bad: float, replicas: float, tick: int, dt: float) -> None:
    """Append this tick to the cumulative rings that measurement reads from."""
    f = s.flow
    i, j = place_in(f.cum_cpu_s, tick), place_in(f.cum_cpu_s, tick - 1)
    f.cum_cpu_s[b, w, i] = f.cum_cpu_s[b, w, j] + f.cpu_per_pod[b, w] * replicas * dt
    f.cum_mem_gib_s[b, w, i] = f.cum_mem_gib_s[b, w, j] + f.mem_per_pod_gib[b, w] * replicas * dt
    f.cum_ready_s[b, w, i] = f.cum_ready_s[b, w, j] + replicas * dt
    f.cum_offered[b, w, i] = f.cum_offered[b, w, j] + arrivals
    f.cum_bad[b, w, i] = f.cum_bad[b, w, j] + bad
    f.backlog_ring[b, w, i] = f.backlog[b, w]
