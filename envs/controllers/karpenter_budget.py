"""Disruption budgets of NodePools: is a schedule's window open, how many nodes may go. Compiled.

Budgets are rows of an array (planes B_*), packed once by `karpenter_pack`; schedules are bit masks.
Rules followed: kubernetes-sigs/karpenter v1.14 pkg/apis/v1 (NodePool budgets), robfig/cron v3.
"""

from __future__ import annotations

import math
from typing import Any

from envs.cron import ALWAYS, BROKEN, NEVER_FIRES
from envs.sim.jit import inner

# planes of a budget
B_USED, B_NODES, B_IS_SHARE, B_REASONS, B_KIND, B_DURATION_S = 0, 1, 2, 3, 4, 5
B_MINUTE, B_HOUR, B_DAY, B_MONTH, B_WEEKDAY, B_ANY_DAY, BUDGET_PLANES = 6, 7, 8, 9, 10, 11, 12
UNDERUTILIZED, EMPTY, DRIFTED = 1, 2, 4  # bits of B_REASONS
ALL_REASONS = UNDERUTILIZED | EMPTY | DRIFTED
UNLIMITED = 2147483647
DAY_S = 86400


@inner
def civil(day: int) -> Any:
    """(month, day of month) of a day since 1970-01-01 (H. Hinnant, chrono-compatible date algorithms)."""
    z = day + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    return (mp + 3 if mp < 10 else mp - 9), doy - (153 * mp + 2) // 5 + 1


@inner
def has_bit(mask: int, bit: int) -> bool:
    return (mask >> bit) & 1 == 1


@inner
def day_matches(budget: Any, day: int) -> bool:
    """Whether the schedule fires on a day: month, and both day fields or (both restricted) one of them."""
    month, date = civil(day)
    if not has_bit(budget[B_MONTH], month):
        return False
    by_date, by_weekday = has_bit(budget[B_DAY], date), has_bit(budget[B_WEEKDAY], (day + 4) % 7)
    return (by_date and by_weekday) if budget[B_ANY_DAY] != 0 else (by_date or by_weekday)


@inner
def last_minute(budget: Any, until: int) -> int:
    """Last minute of a day, at most `until`, at which the schedule fires; -1 = none."""
    for hour in range(min(until // 60, 23), -1, -1):
        if has_bit(budget[B_HOUR], hour):
            for minute in range(min(until - hour * 60, 59), -1, -1):
                if has_bit(budget[B_MINUTE], minute):
                    return hour * 60 + minute
    return -1


@inner
def window_open(budget: Any, now_s: float) -> bool:
    """Whether a budget holds now: its schedule fired after now - duration and not after now (unix s, UTC).

    So a window is open at its exact start and closed at start + duration. A date that never comes counts as
    open, as upstream's search for the next time ends at time zero.
    """
    kind = budget[B_KIND]
    if kind in (ALWAYS, NEVER_FIRES):
        return True
    if kind == BROKEN:
        return False
    since_s = now_s - budget[B_DURATION_S]
    day = math.floor(now_s / DAY_S)
    until = math.floor((now_s - day * DAY_S) / 60.0)
    while (day + 1) * DAY_S > since_s:
        if day_matches(budget, day):
            minute = last_minute(budget, until)
            if minute >= 0:
                return day * DAY_S + minute * 60 > since_s
        day -= 1
        until = 1439
    return False


@inner
def budget_nodes(budget: Any, share: float, count: int) -> int:
    """Nodes that a budget allows in a pool of `count`; a share is rounded up."""
    if budget[B_IS_SHARE] == 0:
        return budget[B_NODES]
    return math.ceil(share * count - 1e-9)


@inner
def allowed_disruptions(budgets: Any, shares: Any, count: int, reason: int, now_s: float) -> int:
    """The smallest of the budgets that hold now and name the reason (or none); a broken one allows 0.

    budgets: (Q, BUDGET_PLANES), shares: (Q,) 0-1, of one pool. UNLIMITED when none holds.
    """
    allowed = UNLIMITED
    for q in range(budgets.shape[0]):
        budget = budgets[q]
        if budget[B_USED] == 0 or budget[B_REASONS] & reason == 0:
            continue
        if budget[B_KIND] == BROKEN:
            allowed = 0
        elif window_open(budget, now_s):
            allowed = min(allowed, budget_nodes(budget, shares[q], count))
    return allowed


@inner
def remaining_disruptions(allowed: int, disrupting: int) -> int:
    """What is left of the allowed ones after nodes that are not ready or on their way out."""
    return allowed if allowed == UNLIMITED else max(allowed - disrupting, 0)


@inner
def pool_budget(budgets: Any, shares: Any, count: int, disrupting: int, reason: int, now_s: float) -> int:
    """Nodes of a pool that may be disrupted now; none for any reason when one of its schedules is broken."""
    for q in range(budgets.shape[0]):
        if budgets[q, B_USED] != 0 and budgets[q, B_KIND] == BROKEN:
            return 0
    return remaining_disruptions(allowed_disruptions(budgets, shares, count, reason, now_s), disrupting)


@inner
def under_consolidate_after(now_s: float, last_event_s: float, initialized_s: float, after_s: float) -> bool:
    """Whether a node is in its quiet period: no pod event (NaN: since it is there) for less than after_s."""
    since_s = initialized_s if math.isnan(last_event_s) else last_event_s
    return now_s - since_s < after_s
