"""Scheduled scaling: cron jobs that move an HPA's minReplicas, and the timetable that they follow."""

from __future__ import annotations

from typing import Any

from envs.sim.jit import inner, kernel


@inner
def value_at(times: Any, table: int, now_s: float) -> float:
    """Value of step function `table` at now_s (its first step starts at -inf)."""
    low, high = times.first[table], times.first[table + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if times.from_s[middle] <= now_s:
            low = middle
        else:
            high = middle
    return times.value[low]


@kernel
def scheduled_floor(times: Any, table: int, own_min: int, most: int, now_s: float) -> int:
    """minReplicas at now_s: the timetable's, at least the HPA's own, at most maxReplicas."""
    return min(max(int(value_at(times, table, now_s)), own_min), most)
