"""HPA v2: stabilization windows, rate limits, and the history both look at.

Rules: Kubernetes 1.36 pkg/controller/podautoscaler. With `behavior` a recommendation exactly one
window old no longer counts; without, it still does. Times are whole microseconds.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.hpa_pack import DOWN, POLICY_NONE, POLICY_PODS, SELECT_DISABLED, SELECT_MIN, UP
from envs.sim.jit import kernel


@kernel
def remember(state: Any, b: int, w: int, now_us: int, replicas: int) -> None:
    """Add a recommendation; a full ring drops its oldest."""
    slots = state.rec.shape[2]
    head = state.rec_head[b, w]
    state.rec[b, w, head] = replicas
    state.rec_us[b, w, head] = now_us
    state.rec_head[b, w] = head + 1 if head + 1 < slots else 0
    if state.rec_n[b, w] < slots:
        state.rec_n[b, w] += 1


@kernel
def stabilize(state: Any, b: int, w: int, now_us: int, window_us: int, proposal: int) -> int:
    """No `behavior`: the largest recommendation of the down-window, its far edge included."""
    largest = proposal
    at, slots = state.rec_head[b, w], state.rec.shape[2]
    for seen in range(state.rec_n[b, w]):
        at = at - 1 if at > 0 else slots - 1
        if state.rec_us[b, w, at] < now_us - window_us:
            state.rec_n[b, w] = seen
            break
        largest = max(largest, state.rec[b, w, at])
    remember(state, b, w, now_us, proposal)
    return largest


@kernel
def stabilize_both(hpa: Any, state: Any, b: int, w: int, now_us: int, current: int, proposal: int) -> int:
    """With `behavior`: the current count moved into [least of the up-window, largest of the down-window]."""
    up_us, down_us = now_us - hpa.window_us[b, w, UP], now_us - hpa.window_us[b, w, DOWN]
    oldest_us = min(up_us, down_us)
    least, largest = proposal, proposal
    at, slots = state.rec_head[b, w], state.rec.shape[2]
    for seen in range(state.rec_n[b, w]):
        at = at - 1 if at > 0 else slots - 1
        when = state.rec_us[b, w, at]
        if when <= oldest_us:
            state.rec_n[b, w] = seen
            break
        if when > up_us:
            least = min(least, state.rec[b, w, at])
        if when > down_us:
            largest = max(largest, state.rec[b, w, at])
    remember(state, b, w, now_us, proposal)
    return min(max(current, least), largest)


@kernel
def changed_since(state: Any, b: int, w: int, direction: int, cutoff_us: int) -> int:
    """Replicas added (UP) or removed (DOWN) strictly after the cutoff."""
    total = 0
    for i in range(state.event_n[b, w, direction]):
        if state.event_us[b, w, direction, i] > cutoff_us:
            total += state.event[b, w, direction, i]
    return total


@kernel
def policy_limit(hpa: Any, b: int, w: int, direction: int, p: int, start: int) -> int:
    """Where policy p lets a period that began with `start` replicas end. Percent: up rounds up, down cuts."""
    value = hpa.policy_value[b, w, direction, p]
    if hpa.policy[b, w, direction, p] == POLICY_PODS:
        return start + value if direction == UP else start - value
    if direction == UP:
        return math.ceil(start * (1.0 + value / 100.0))
    return int(start * (1.0 - value / 100.0))


@kernel
def rate_limit(hpa: Any, state: Any, b: int, w: int, direction: int, now_us: int, current: int) -> int:
    """Farthest count allowed in this direction; never behind `current`.

    A period's start is rebuilt from events of both directions. select Max is the largest change.
    """
    if hpa.select[b, w, direction] == SELECT_DISABLED:
        return current
    least_change = hpa.select[b, w, direction] == SELECT_MIN
    limit = current
    for p in range(hpa.policy.shape[3]):
        if hpa.policy[b, w, direction, p] == POLICY_NONE:
            break
        cutoff_us = now_us - hpa.policy_us[b, w, direction, p]
        added = changed_since(state, b, w, UP, cutoff_us)
        start = current - added + changed_since(state, b, w, DOWN, cutoff_us)
        reach = policy_limit(hpa, b, w, direction, p, start)
        if p == 0:
            limit = reach
        elif (direction == UP) != least_change:
            limit = max(limit, reach)
        else:
            limit = min(limit, reach)
    return max(limit, current) if direction == UP else min(limit, current)


@kernel
def within_limits(hpa: Any, state: Any, b: int, w: int, now_us: int, current: int, wanted: int) -> int:
    """Clamp a stabilized count by rate and by min/max."""
    low, high = hpa.min_replicas[b, w], hpa.max_replicas[b, w]
    if not hpa.behavior[b, w]:
        return min(max(wanted, low), high, max(2 * current, 4))
    if wanted > current:
        return min(wanted, high, rate_limit(hpa, state, b, w, UP, now_us, current))
    if wanted < current:
        return max(wanted, low, rate_limit(hpa, state, b, w, DOWN, now_us, current))
    return wanted


@kernel
def store_event(hpa: Any, state: Any, b: int, w: int, now_us: int, change: int) -> None:
    """Record a scale event, in the place of one older than all policies of its direction if there is one."""
    direction = UP if change > 0 else DOWN
    longest = 0
    for p in range(hpa.policy.shape[3]):
        if hpa.policy[b, w, direction, p] != POLICY_NONE:
            longest = max(longest, hpa.policy_us[b, w, direction, p])
    n = state.event_n[b, w, direction]
    at, oldest = -1, 0
    for i in range(n):
        when = state.event_us[b, w, direction, i]
        if when < now_us - longest:
            at = i
        if when < state.event_us[b, w, direction, oldest]:
            oldest = i
    if at < 0:
        full = n == state.event.shape[3]
        at = oldest if full else n
        state.event_n[b, w, direction] = n if full else n + 1
    state.event[b, w, direction, at] = abs(change)
    state.event_us[b, w, direction, at] = now_us
