"""The scheduling queue: bind what fits, preempt where priorities allow, leave the rest pending."""

from __future__ import annotations

from typing import Any

from envs.controllers.preemption import find_preemption
from envs.controllers.scheduler import schedule_one
from envs.sim.flow import PODS_EVICTED
from envs.sim.jit import inner
from envs.sim.pods import bind_pod, terminate_pod
from envs.sim.state import POD_TERMINATING


@inner
def schedule_pending(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Walk the queue once in its order. A class that found no node is not tried again in this pass."""
    pods = s.pods
    if pods.n_pending[b] == 0:
        return
    s.scratch.passes[b] += 1
    mark = s.scratch.passes[b]
    kept, i = 0, 0
    while i < pods.n_pending[b]:
        p = pods.pending[b, i]
        i += 1
        w = pods.workload[b, p]
        n = -1
        if s.scratch.failed[b, w] != mark:
            n = schedule_one(s.classes, s.topology, s.groups, s.nodes, s.profile, s.rng, b, w, s.scheduler)
        if n >= 0:
            bind_pod(pods, s.flow, s.clock, s.service, s.classes, s.topology, s.nodes, s.rng, b, p, n, now_s)
        else:
            s.scratch.failed[b, w] = mark
            pods.pending[b, kept] = p
            kept += 1
    pods.n_pending[b] = kept
    if s.clock.priorities[b] > 0 and kept > 0:
        _preempt(s, b, now_s, row, tick_end_s)


@inner
def _preempt(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """For each pending class, once per pass: evict lower-priority pods where that makes room.

    The pod binds when its victims are gone (their end frees the node and wakes the queue). While
    earlier victims of lower priority are still terminating, nothing more is evicted for anybody.
    """
    for i in range(s.clock.n_active[b]):
        if s.pods.phase[b, s.clock.active[b, i]] == POD_TERMINATING and s.clock.preempting[b] > 0:
            return
    s.clock.preempting[b] = 0
    i = 0
    while i < s.pods.n_pending[b]:
        w = s.pods.workload[b, s.pods.pending[b, i]]
        i += 1
        if s.classes.priority[b, w] <= s.clock.lowest_priority[b]:
            continue
        n = find_preemption(s.classes, s.topology, s.groups, s.nodes, s.pods, b, w, s.scheduler)
        if n < 0:
            continue
        for k in range(s.scheduler.n_victims[b]):
            victim = s.scheduler.victims[b, k]
            terminate_pod(s.pods, s.flow, s.clock, s.service, s.topology, s.nodes, b, victim, now_s, tick_end_s)
            if row >= 0:
                s.rows.cluster[b, row, PODS_EVICTED] += 1.0
        s.clock.preempting[b] = 1
        return
