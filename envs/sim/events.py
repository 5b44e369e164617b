"""What happens inside a tick, in the order of real-valued times.

Pods become ready or are gone, nodes register, HPAs sync at their own phases, the node autoscaler
loops at its own period; after each of them the scheduler looks at what is new.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_state import HOLD
from envs.faults import INSTANCE_GONE_S
from envs.sim.autoscale import autoscale, continue_drains, drop_node
from envs.sim.faults import after_crashes, crashes_now, forget_node, reclaim_node, strike
from envs.sim.jit import inner
from envs.sim.karpenter import next_karpenter_s, node_joined, note_pending, run_karpenter
from envs.sim.nodes import make_node_ready
from envs.sim.pods import finish_pod, make_ready, start_again
from envs.sim.replicas import sync_workload
from envs.sim.scaling import run_loop
from envs.sim.scheduling import schedule_pending
from envs.sim.state import NODE_BOOTING, NODE_DRAINING, NODE_LOST, POD_STARTING, POD_TERMINATING

POD_EVENT, NODE_EVENT, CA_EVENT, LOOP_EVENT = 0, 1, 2, 3
FAULT_EVENT, GONE_EVENT, DOOM_EVENT = 8, 9, 10


@inner
def collect_events(s: Any, b: int, start_s: float, end_s: float) -> int:
    """Fill scratch.event_* with what is due until end_s, unsorted; their number."""
    k, room = 0, s.scratch.event_s.shape[1]
    for i in range(s.clock.n_active[b]):
        p = s.clock.active[b, i]
        due = s.pods.ready_s[b, p] if s.pods.phase[b, p] == POD_STARTING else s.pods.gone_s[b, p]
        if due <= end_s and k < room:
            s.scratch.event_s[b, k] = due
            s.scratch.event_kind[b, k] = POD_EVENT
            s.scratch.event_id[b, k] = p
            k += 1
    if s.clock.n_booting[b] > 0:
        for n in range(s.nodes.hi[b]):
            if s.nodes.phase[b, n] == NODE_BOOTING and s.nodes.ready_s[b, n] <= end_s and k < room:
                s.scratch.event_s[b, k] = s.nodes.ready_s[b, n]
                s.scratch.event_kind[b, k] = NODE_EVENT
                s.scratch.event_id[b, k] = n
                k += 1
    while s.clock.ca_next_s[b] <= end_s and k < room:
        s.scratch.event_s[b, k] = s.clock.ca_next_s[b]
        s.scratch.event_kind[b, k] = CA_EVENT
        s.scratch.event_id[b, k] = 0
        k += 1
        s.clock.ca_next_s[b] += s.clock.ca_period_s[b]
    k = _collect_loops(s, b, end_s, k)
    return collect_faults(s, b, end_s, k)


@inner
def collect_faults(s: Any, b: int, end_s: float, k: int) -> int:
    """Add the plan's operations and the ends of lost nodes that are due until end_s; the number of events then.

    An operation at the very edge of two ticks belongs to the later one: a price holds for whole ticks.
    """
    room = s.scratch.event_s.shape[1]
    while s.faults.time_s[b, s.faults.next[b]] < end_s and k < room:
        s.scratch.event_s[b, k] = s.faults.time_s[b, s.faults.next[b]]
        s.scratch.event_kind[b, k] = FAULT_EVENT
        s.scratch.event_id[b, k] = s.faults.next[b]
        k += 1
        s.faults.next[b] += 1
    if s.faults.n_lost[b] > 0:
        for n in range(s.nodes.hi[b]):
            if s.nodes.phase[b, n] == NODE_LOST and s.faults.gone_s[b, n] <= end_s and k < room:
                s.scratch.event_s[b, k] = s.faults.gone_s[b, n]
                s.scratch.event_kind[b, k] = GONE_EVENT
                s.scratch.event_id[b, k] = n
                k += 1
    if s.faults.n_doomed[b] > 0:
        for n in range(s.nodes.hi[b]):
            if s.faults.doom_s[b, n] <= end_s and k < room:
                s.scratch.event_s[b, k] = s.faults.doom_s[b, n]
                s.scratch.event_kind[b, k] = DOOM_EVENT
                s.scratch.event_id[b, k] = n
                k += 1
    return k


@inner
def _collect_loops(s: Any, b: int, end_s: float, k: int) -> int:
    """Add the rounds of KEDA, forecasts and schedules; the number of events with them."""
    for i in range(s.scalers.n_loops[b]):
        w = s.scalers.loops[b, i]
        while s.scalers.next_s[b, w] <= end_s and k < s.scratch.event_s.shape[1]:
            s.scratch.event_s[b, k] = s.scalers.next_s[b, w]
            s.scratch.event_kind[b, k] = LOOP_EVENT
            s.scratch.event_id[b, k] = w
            k += 1
            s.scalers.next_s[b, w] += s.scalers.period_s[b, w]
    return k


@inner
def sort_events(times: Any, ids: Any, kinds: Any, k: int) -> None:
    """Sort the first k events by time, then kind, then id (Shell sort: in place, nothing allocated)."""
    gap = k // 2
    while gap > 0:
        for i in range(gap, k):
            time, item, kind = times[i], ids[i], kinds[i]
            j = i
            while j >= gap and comes_after(times[j - gap], kinds[j - gap], ids[j - gap], time, kind, item):
                times[j], ids[j], kinds[j] = times[j - gap], ids[j - gap], kinds[j - gap]
                j -= gap
            times[j], ids[j], kinds[j] = time, item, kind
        gap //= 2


@inner
def comes_after(time: float, kind: int, item: int, other_time: float, other_kind: int, other_item: int) -> bool:
    """Whether the first event is due later than the second one."""
    if time != other_time:
        return time > other_time
    if kind != other_kind:
        return kind > other_kind
    return item > other_item


@inner
def next_sync_s(s: Any, b: int) -> float:
    """Time of the next HPA sync; while the API is slow it comes that much later."""
    w_count = s.clock.hpa_order.shape[1]
    cycle = s.clock.hpa_next[b] // w_count
    w = s.clock.hpa_order[b, s.clock.hpa_next[b] % w_count]
    due_s = cycle * s.clock.hpa_period_s[b] + s.clock.hpa_phase_s[b, w]
    return max(due_s + s.clock.api_delay_s[b], s.clock.api_since_s[b])


@inner
def run_loops(s: Any, b: int, until_s: float, tick: int, row: int, tick_end_s: float) -> None:
    """All HPA syncs and all that Karpenter does before until_s, in the order of their times.

    Each is followed by scheduling what it created; so a sync's pods open a batch window that closes in its time.
    """
    sync_s = next_sync_s(s, b)
    while True:
        karpenter_s = next_karpenter_s(s, b)
        now_s = min(sync_s, karpenter_s)
        if not now_s < until_s:
            return
        if karpenter_s <= sync_s:
            run_karpenter(s, b, now_s, row, tick_end_s)
            _reschedule(s, b, now_s, row, tick_end_s)
        else:
            run_sync(s, b, now_s, tick, row, tick_end_s)
            sync_s = next_sync_s(s, b)


@inner
def run_sync(s: Any, b: int, now_s: float, tick: int, row: int, tick_end_s: float) -> None:
    """The next HPA sync."""
    w = s.clock.hpa_order[b, s.clock.hpa_next[b] % s.clock.hpa_order.shape[1]]
    s.clock.hpa_next[b] += 1
    sync_workload(s, b, w, now_s, tick, row, tick_end_s)
    if s.clock.fresh[b] > 0:
        s.clock.fresh[b] = 0
        schedule_pending(s, b, now_s, row, tick_end_s)
        note_pending(s, b, now_s)


@inner
def run_events(s: Any, b: int, tick: int, row: int) -> None:
    """All events of tick `tick` of cluster b."""
    dt = s.clock.tick_s[b]
    start_s, end_s = tick * dt, (tick + 1) * dt
    continue_drains(s, b, start_s, row, end_s)
    _reschedule(s, b, start_s, row, end_s)
    now_s = start_s
    for attempt in range(8):  # a pod bound in this tick may also become ready in it
        k = collect_events(s, b, start_s, end_s)
        if k == 0 and attempt > 0:
            break
        sort_events(s.scratch.event_s[b], s.scratch.event_id[b], s.scratch.event_kind[b], k)
        for i in range(k):
            now_s = max(s.scratch.event_s[b, i], now_s)
            run_loops(s, b, now_s, tick, row, end_s)
            if s.scratch.event_kind[b, i] == CA_EVENT:
                autoscale(s, b, now_s, row, end_s)
            elif s.scratch.event_kind[b, i] == LOOP_EVENT:
                run_loop(s, b, s.scratch.event_id[b, i], now_s, tick, row, end_s)
            elif s.scratch.event_kind[b, i] == NODE_EVENT:
                _node_event(s, b, s.scratch.event_id[b, i], now_s, row, end_s)
            elif s.scratch.event_kind[b, i] == FAULT_EVENT:
                strike(s, b, s.scratch.event_id[b, i], now_s, row, end_s)
            elif s.scratch.event_kind[b, i] == GONE_EVENT:
                forget_node(s, b, s.scratch.event_id[b, i], now_s, row, end_s)
            elif s.scratch.event_kind[b, i] == DOOM_EVENT:
                reclaim_node(s, b, s.scratch.event_id[b, i], now_s, INSTANCE_GONE_S, row, end_s)
            else:
                _pod_event(s, b, s.scratch.event_id[b, i], now_s, row, end_s)
            if i + 1 == k or s.scratch.event_s[b, i + 1] > now_s:  # what is free is free together
                _reschedule(s, b, now_s, row, end_s)
        run_loops(s, b, end_s, tick, row, end_s)


@inner
def _reschedule(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    if s.clock.retry[b] > 0 or s.clock.fresh[b] > 0:
        s.clock.fresh[b] = 0
        schedule_pending(s, b, now_s, row, tick_end_s)
        note_pending(s, b, now_s)


@inner
def _node_event(s: Any, b: int, n: int, now_s: float, row: int, tick_end_s: float) -> None:
    if s.nodes.phase[b, n] == NODE_BOOTING:
        make_node_ready(s.nodes, s.clock, b, n)
        node_joined(s, b, n, now_s, row, tick_end_s)


@inner
def _pod_event(s: Any, b: int, p: int, now_s: float, row: int, tick_end_s: float) -> None:
    if s.pods.phase[b, p] == POD_STARTING and s.pods.ready_s[b, p] <= now_s:
        if crashes_now(s, b, p, now_s):
            start_again(s.pods, s.clock, b, p, after_crashes(s, b, s.pods.workload[b, p], now_s))
        else:
            make_ready(s.pods, s.flow, s.clock, b, p, tick_end_s)
    elif s.pods.phase[b, p] == POD_TERMINATING and s.pods.gone_s[b, p] <= now_s:
        n = s.pods.node[b, p]
        finish_pod(s.pods, s.flow, s.clock, s.classes, s.nodes, b, p)
        held = s.kp_state.node[b, HOLD, n] > 0
        if s.nodes.phase[b, n] == NODE_DRAINING and s.nodes.n_pods[b, n] == 0 and not held:
            drop_node(s, b, n, now_s, row, tick_end_s)
