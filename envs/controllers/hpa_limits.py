"""HPA v2: stabilization windows, rate limits, and the history both look at.

Rules: Kubernetes 1.36 pkg/controller/podautoscaler. With `behavior` a recommendation exactly one
window old no longer counts; without, it still does. Times are whole microseconds. A window's largest
recommendation is kept up as a list of peaks (a monotonic queue), so that no sync walks through the window.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.hpa_pack import DOWN, POLICY_NONE, POLICY_PODS, SELECT_DISABLED, SELECT_MIN, UP
from envs.sim.jit import inner


@inner
def remember(state: Any, b: int, w: int, now_us: int, replicas: int) -> None:
    """Add a recommendation, which is a peak until a later one is as large; a full ring drops its oldest.

    One that repeats the newest makes that one later: no window looks at how often something was recommended.
    """
    memory, slots, at = state.memory[b, w], state.rec.shape[2], state.memory[b, w].head
    peaks, back = memory.peaks, at - 1 if at > 0 else slots - 1
    if memory.n > 0 and state.rec[b, w, back].replicas == replicas:
        state.rec[b, w, back].us = now_us
        return
    if memory.n == slots and peaks > 0 and memory.first == at:
        memory.first = state.rec[b, w, at].newer
        peaks -= 1
    while peaks > 0 and state.rec[b, w, back].replicas <= replicas:
        back = state.rec[b, w, back].older
        peaks -= 1
    newest = state.rec[b, w, at]
    newest.replicas, newest.us, newest.older = replicas, now_us, back
    if peaks > 0:
        state.rec[b, w, back].newer = at
    else:
        memory.first = at
    memory.peaks = peaks + 1
    if memory.n == 0:
        memory.forgotten_us = now_us - 1
    memory.head = at + 1 if at + 1 < slots else 0
    memory.n = min(memory.n + 1, slots)


@inner
def largest_after(state: Any, b: int, w: int, forget_us: int, after_us: int) -> int:
    """The largest recommendation later than after_us >= forget_us, -1 if none; up to forget_us they are forgotten."""
    memory = state.memory[b, w]
    while memory.peaks > 0 and state.rec[b, w, memory.first].us <= forget_us:
        memory.first = state.rec[b, w, memory.first].newer
        memory.peaks -= 1
    memory.forgotten_us = max(memory.forgotten_us, forget_us)
    if memory.peaks == 0:  # the newest is always a peak
        memory.n = 0
    at, peaks = memory.first, memory.peaks
    while peaks > 0 and state.rec[b, w, at].us <= after_us:
        at = state.rec[b, w, at].newer
        peaks -= 1
    return state.rec[b, w, at].replicas if peaks > 0 else -1


@inner
def least_after(state: Any, b: int, w: int, after_us: int, proposal: int) -> int:
    """The least of a proposal and the recommendations later than after_us; up-windows are short, most are 0."""
    memory, slots, least = state.memory[b, w], state.rec.shape[2], proposal
    at = memory.head
    for _ in range(memory.n):
        at = at - 1 if at > 0 else slots - 1
        if state.rec[b, w, at].us <= after_us:
            break
        least = min(least, state.rec[b, w, at].replicas)
    return least


@inner
def stabilize(state: Any, b: int, w: int, now_us: int, window_us: int, proposal: int) -> int:
    """No `behavior`: the largest recommendation of the down-window, its far edge included."""
    before_us = now_us - window_us - 1
    largest = max(largest_after(state, b, w, before_us, before_us), proposal)
    remember(state, b, w, now_us, proposal)
    return largest


@inner
def stabilize_both(spec: Any, state: Any, b: int, w: int, now_us: int, current: int, proposal: int) -> int:
    """With `behavior`: the current count moved into [least of the up-window, largest of the down-window].

    Windows may change between syncs. What a shorter one has left behind, a longer one does not bring back.
    """
    up_us, down_us = now_us - spec.window_up_us, now_us - spec.window_down_us
    largest, least = max(largest_after(state, b, w, min(up_us, down_us), down_us), proposal), proposal
    if up_us < now_us:
        least = least_after(state, b, w, max(up_us, state.memory[b, w].forgotten_us), proposal)
    remember(state, b, w, now_us, proposal)
    return min(max(current, least), largest)


@inner
def net_change(state: Any, b: int, w: int, cutoff_us: int) -> int:
    """Replicas added less replicas removed strictly after the cutoff."""
    net = 0
    for i in range(state.memory[b, w].ups):
        if state.event[b, w, UP, i].us > cutoff_us:
            net += state.event[b, w, UP, i].replicas
    for i in range(state.memory[b, w].downs):
        if state.event[b, w, DOWN, i].us > cutoff_us:
            net -= state.event[b, w, DOWN, i].replicas
    return net


@inner
def policy_limit(policy: Any, direction: int, start: int) -> int:
    """Where a period that began with `start` replicas may end. Percent: up rounds up, down cuts."""
    if policy.type == POLICY_PODS:
        return start + policy.value if direction == UP else start - policy.value
    if direction == UP:
        return math.ceil(start * (1.0 + policy.value / 100.0))
    return int(start * (1.0 - policy.value / 100.0))


@inner
def rate_limit(hpa: Any, state: Any, b: int, w: int, direction: int, now_us: int, current: int) -> int:
    """Farthest count allowed in this direction; never behind `current`.

    A period's start is rebuilt from events of both directions. select Max is the largest change.
    """
    select = hpa.spec[b, w].select_up if direction == UP else hpa.spec[b, w].select_down
    if select == SELECT_DISABLED:
        return current
    highest = (direction == UP) != (select == SELECT_MIN)
    limit = current
    for p in range(hpa.policy.shape[3]):
        policy = hpa.policy[b, w, direction, p]
        if policy.type == POLICY_NONE:
            break
        start = current - net_change(state, b, w, now_us - policy.period_us)
        reach = policy_limit(policy, direction, start)
        if p == 0:
            limit = reach
        else:
            limit = max(limit, reach) if highest else min(limit, reach)
    return max(limit, current) if direction == UP else min(limit, current)


@inner
def within_rates(hpa: Any, state: Any, b: int, w: int, now_us: int, current: int, wanted: int) -> int:
    """With `behavior`: clamp a stabilized count by rate and by min/max."""
    if wanted > current:
        limit = rate_limit(hpa, state, b, w, UP, now_us, current)
        return min(wanted, hpa.spec[b, w].max_replicas, limit)
    if wanted < current:
        limit = rate_limit(hpa, state, b, w, DOWN, now_us, current)
        return max(wanted, hpa.spec[b, w].min_replicas, limit)
    return wanted


@inner
def longest_period_us(policies: Any) -> int:
    """Of one direction's POLICY records."""
    longest = 0
    for p in range(policies.shape[0]):
        if policies[p].type != POLICY_NONE:
            longest = max(longest, policies[p].period_us)
    return longest


@inner
def place_event(events: Any, n: int, cutoff_us: int) -> int:
    """Slot for a new event: of one before the cutoff, else the next free, else of the oldest."""
    oldest = 0
    for i in range(n - 1, -1, -1):
        if events[i].us < cutoff_us:
            return i
        if events[i].us < events[oldest].us:
            oldest = i
    return n if n < events.shape[0] else oldest


@inner
def store_event(hpa: Any, state: Any, b: int, w: int, now_us: int, change: int) -> None:
    """Record a scale event, in the place of one that no policy of its direction looks at any more."""
    direction = UP if change > 0 else DOWN
    memory, events = state.memory[b, w], state.event[b, w, direction]
    n = memory.ups if direction == UP else memory.downs
    at = place_event(events, n, now_us - longest_period_us(hpa.policy[b, w, direction]))
    events[at].replicas = abs(change)
    events[at].us = now_us
    if at == n and direction == UP:
        memory.ups = n + 1
    elif at == n:
        memory.downs = n + 1
