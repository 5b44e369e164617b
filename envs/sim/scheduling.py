"""The scheduling queue: bind what fits, preempt where priorities allow, leave the rest pending."""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.preemption import find_preemption
from envs.controllers.scheduler import schedule_one
from envs.sim.flow import PODS_EVICTED
from envs.sim.jit import inner
from envs.sim.pods import bind_pod, terminate_pod
from envs.sim.replicas import reconcile

MAX_BACKOFF_S = 10.0  # kube-scheduler podMaxBackoffSeconds; podInitialBackoffSeconds is 1


@inner
def schedule_pending(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Walk the queue once in its order. A class that found no node is not tried again in this pass.

    clock.retry on entry: something was freed since the last pass, which is what wakes pods that were there already.
    """
    pods, woken = s.pods, s.clock.retry[b] > 0
    s.clock.retry[b] = 0
    if pods.n_pending[b] == 0:
        return
    s.scratch.passes[b] += 1
    mark = s.scratch.passes[b]
    kept, i = 0, 0
    while i < pods.n_pending[b]:
        p = pods.pending[b, i]
        i += 1
        w = pods.workload[b, p]
        n, open_class = -1, s.scratch.failed[b, w] != mark
        waits = open_class and _waits(s, b, p, now_s)
        if open_class and not waits:
            n = schedule_one(s.classes, s.topology, s.groups, s.nodes, s.profile, s.rng, b, w, s.scheduler)
            if n >= 0 and _is_kept(s, b, p, n, now_s):
                n = -1
            _note_try(s, b, w, n >= 0, mark, now_s, woken)
        if n >= 0:
            bind_pod(pods, s.flow, s.clock, s.service, s.classes, s.topology, s.nodes, s.rng, b, p, n, now_s)
        else:
            if waits:
                s.clock.retry[b] = 1  # look again at the next event: by then its wait may be over
            pods.pending[b, kept] = p
            kept += 1
    pods.n_pending[b] = kept
    if s.clock.priorities[b] > 0 and kept > 0:
        _preempt(s, b, mark, now_s, row, tick_end_s)


@inner
def _waits(s: Any, b: int, p: int, now_s: float) -> bool:
    """Whether pod p's class backs off; not a new pod, nor one whose victims are gone: the room is kept till now."""
    if s.flow.next_try_s[b, s.pods.workload[b, p]] <= now_s or s.pods.created_s[b, p] >= now_s:
        return False
    return not -math.inf < s.pods.bound_s[b, p] <= now_s


@inner
def _note_try(s: Any, b: int, w: int, bound: bool, mark: int, now_s: float, woken: bool) -> None:
    """After a failure a class waits 1, 2, 4, 8, 10, 10 ... s for its next try, as in the scheduler's back-off.

    It is the back-off of the pods that wait longest: a new pod's first failure is not theirs, and what nothing
    has woken would not have been tried.
    """
    if bound:
        s.flow.tries[b, w] = 0
        s.flow.next_try_s[b, w] = -math.inf
        return
    s.scratch.failed[b, w] = mark
    if woken or s.flow.tries[b, w] == 0:
        s.flow.tries[b, w] += 1
        s.flow.next_try_s[b, w] = now_s + min(2.0 ** (s.flow.tries[b, w] - 1), MAX_BACKOFF_S)


@inner
def _is_kept(s: Any, b: int, p: int, n: int, now_s: float) -> bool:
    """Whether node n's room is kept, against pod p, for one that preempted there (it is nominated).

    Without this the victims' successors would move into the room that is being cleared, for ever.
    """
    if s.clock.claim_until_s[b, n] <= now_s or s.pods.bound_s[b, p] > now_s:
        return False
    return s.clock.claim_priority[b, n] >= s.classes.priority[b, s.pods.workload[b, p]]


@inner
def _preempt(s: Any, b: int, mark: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Each pod that this pass left over evicts pods of lower priority where that makes room for it.

    The pod binds when its victims are gone (their end frees the node and wakes the queue), and evicts
    no more before. A class for which nothing helps is not tried again in this pass.
    """
    pods, i = s.pods, 0
    while i < pods.n_pending[b]:
        p = pods.pending[b, i]
        i += 1
        w = pods.workload[b, p]
        if s.scratch.failed[b, w] != mark or pods.bound_s[b, p] > now_s:
            continue
        if s.classes.priority[b, w] <= s.clock.lowest_priority[b]:
            continue
        n = find_preemption(s.classes, s.topology, s.groups, s.nodes, pods, s.flow, b, w, s.scheduler)
        if n < 0:
            s.scratch.failed[b, w] = -mark
        else:
            _evict_victims(s, b, p, n, now_s, row, tick_end_s)


@inner
def _evict_victims(s: Any, b: int, p: int, n: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Terminate what find_preemption chose on node n for pod p; all of it is gone at the same time."""
    until_s = now_s
    for k in range(s.scheduler.n_victims[b]):
        until_s = max(until_s, now_s + s.service.grace_s[b, s.pods.workload[b, s.scheduler.victims[b, k]]])
    for k in range(s.scheduler.n_victims[b]):
        victim = s.scheduler.victims[b, k]
        terminate_pod(s.pods, s.flow, s.clock, s.service, s.topology, s.nodes, b, victim, now_s, tick_end_s)
        s.pods.gone_s[b, victim] = until_s
        if row >= 0:
            s.rows.cluster[b, row, PODS_EVICTED] += 1.0
    for k in range(s.scheduler.n_victims[b]):
        reconcile(s, b, s.pods.workload[b, s.scheduler.victims[b, k]], now_s, row, tick_end_s)
    s.pods.bound_s[b, p] = until_s
    s.clock.claim_until_s[b, n] = until_s
    s.clock.claim_priority[b, n] = s.classes.priority[b, s.pods.workload[b, p]]
