"""Work that may wait: kind `queue` (an item is bad when too old once done) and kind `batch` (deadline).

Fluid and first in, first out: workers take items at a constant rate within a tick, items of one
tick arrive evenly over it. Ages are exact for that fluid: a ring holds what is left of each past
cohort (a tick's arrivals for `queue`, an hour's released batch for `batch`), newest to oldest;
only the oldest can be partly done, and within a cohort the age is linear in the item. What is older
than the ring is past its limit whatever happens, so it is kept as one number.

State per workload: ring (B, W, K) items left of each cohort; meta (B, W, 5):
    0 column of the newest cohort, 1 cohorts held, 2 share of the oldest cohort already done,
    3 items older than the ring, 4 items collected for the next batch (`batch` only).
`cohorts_needed` gives K; zero arrays are the empty start.
"""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import kernel

BATCH_PERIOD_S = 3600.0
META = 5
NEWEST, HELD, HEAD_DONE, OVERDUE, COLLECTED = 0, 1, 2, 3, 4


def cohorts_needed(limit_s: float, width_s: float) -> int:
    """Ring length such that a cohort that falls out of it is older than limit_s."""
    return math.ceil(limit_s / width_s) + 2


@kernel
def _share_over(first: float, last: float, limit: float) -> float:
    """Share of a line from first to last that lies above limit."""
    if first <= limit and last <= limit:
        return 0.0
    if first > limit and last > limit:
        return 1.0
    return (max(first, last) - limit) / abs(last - first)


@kernel
def _add_cohort(ring: Any, meta: Any, b: int, w: int, items: float, length: int) -> None:
    """Put a newest cohort; one that falls out of the ring becomes overdue."""
    column = (int(meta[b, w, NEWEST]) + 1) % length
    held = int(meta[b, w, HELD])
    if held == length:
        meta[b, w, OVERDUE] += ring[b, w, column]
        meta[b, w, HEAD_DONE] = 0.0
        held -= 1
    ring[b, w, column] = items
    meta[b, w, NEWEST] = column
    meta[b, w, HELD] = held + 1


@kernel
def _serve_cohorts(
    ring: Any,
    meta: Any,
    b: int,
    w: int,
    length: int,
    room: float,
    rate: float,
    since_s: float,
    width_s: float,
    spread_s: float,
    limit_s: float,
) -> tuple[float, float]:
    """Serve up to `room` items, oldest first, at `rate` items/s from the tick's start.

    The newest cohort ended since_s before the tick, each older one width_s earlier; a cohort's
    items arrived evenly over spread_s. Returns (served, bad).
    """
    done = min(room, meta[b, w, OVERDUE])
    meta[b, w, OVERDUE] -= done
    bad = done
    while meta[b, w, HELD] > 0.0 and done < room:
        back = int(meta[b, w, HELD]) - 1
        column = (int(meta[b, w, NEWEST]) - back + length) % length
        left = ring[b, w, column]
        take = min(left, room - done)
        part = take / left if left > 0.0 else 1.0
        started = meta[b, w, HEAD_DONE]
        ended = started + (1.0 - started) * part
        born = -(since_s + back * width_s + spread_s)
        bad += take * _share_over(
            done / rate - born - started * spread_s, (done + take) / rate - born - ended * spread_s, limit_s
        )
        done += take
        if take >= left:
            ring[b, w, column] = 0.0
            meta[b, w, HELD] = back
            meta[b, w, HEAD_DONE] = 0.0
        else:
            ring[b, w, column] = left - take
            meta[b, w, HEAD_DONE] = ended
    return done, bad


@kernel
def _waiting(ring: Any, meta: Any, b: int, w: int, length: int) -> float:
    """Items waiting in all cohorts."""
    total = meta[b, w, OVERDUE] + meta[b, w, COLLECTED]
    for back in range(int(meta[b, w, HELD])):
        total += ring[b, w, (int(meta[b, w, NEWEST]) - back + length) % length]
    return total


@kernel
def queue_tick(
    ring: Any,
    meta: Any,
    b: int,
    w: int,
    length: int,
    arrivals: float,
    dt_s: float,
    replicas: float,
    slots: float,
    service_s: float,
    age_slo_s: float,
    speed: float,
) -> tuple[float, float, float, float, float, float]:
    """Workers = replicas x slots take items for service_s / speed each; bad = older than age_slo_s when done.

    length <= K is this workload's `cohorts_needed(age_slo_s, dt_s)`.
    Returns (good, bad, timed_out, served, backlog, busy_slots_mean); nothing times out.
    """
    before = _waiting(ring, meta, b, w, length)
    rate = replicas * slots * speed / service_s
    room = rate * dt_s
    limit = age_slo_s - service_s / speed
    done, bad = 0.0, 0.0
    if room > 0.0:
        done, bad = _serve_cohorts(ring, meta, b, w, length, room, rate, 0.0, dt_s, dt_s, limit)
    fresh = min(arrivals, max(0.0, room - done))
    if fresh > 0.0:
        bad += _fresh_bad(arrivals / dt_s, rate, done / rate, dt_s, fresh, limit)
    rest = arrivals - fresh
    _add_cohort(ring, meta, b, w, rest, length)
    if rest > 0.0 and meta[b, w, HELD] == 1.0:
        meta[b, w, HEAD_DONE] = fresh / arrivals
    served = done + fresh
    return (
        served - bad,
        bad,
        0.0,
        served,
        before + arrivals - served,
        min(replicas * slots, served / dt_s * service_s / speed),
    )


@kernel
def _fresh_bad(inflow: float, rate: float, free_at: float, dt_s: float, fresh: float, limit: float) -> float:
    """Bad items among this tick's `fresh` served arrivals; workers turn to them free_at into the tick.

    The item that arrives at s is done at free_at + s inflow / rate, or at s once they have caught up.
    """
    last = fresh / inflow
    if inflow < rate:
        last = min(last, free_at / (1.0 - inflow / rate))
    lagging = last * inflow
    bad = lagging * _share_over(free_at, free_at + last * (inflow / rate - 1.0), limit)
    return bad + (fresh - lagging if limit < 0.0 else 0.0)


@kernel
def batch_tick(
    ring: Any,
    meta: Any,
    b: int,
    w: int,
    length: int,
    arrivals: float,
    now_s: float,
    dt_s: float,
    replicas: float,
    slots: float,
    service_s: float,
    deadline_s: float,
    speed: float,
) -> tuple[float, float, float, float, float, float]:
    """Work is collected through each hour and released as one batch at the top of the hour.

    An item is bad when it is done later than deadline_s after its release. now_s is the tick's
    start; the tick that holds the top of an hour releases all that came up to its own end, as
    `envs.demand` delivers an hour's work in that very tick.
    length <= K is `cohorts_needed(deadline_s, 3600)`. Returns as queue_tick.
    """
    before = _waiting(ring, meta, b, w, length)
    meta[b, w, COLLECTED] += arrivals
    hour = math.ceil(now_s / BATCH_PERIOD_S - 1e-9) * BATCH_PERIOD_S
    since = now_s - hour  # below 0 in the releasing tick, where the hour begins inside it
    if since + dt_s > 1e-6:
        _add_cohort(ring, meta, b, w, meta[b, w, COLLECTED], length)
        meta[b, w, COLLECTED] = 0.0
    else:
        since += BATCH_PERIOD_S
    rate = replicas * slots * speed / service_s
    served, bad = 0.0, 0.0
    if rate > 0.0:
        limit = deadline_s - service_s / speed
        served, bad = _serve_cohorts(ring, meta, b, w, length, rate * dt_s, rate, since, BATCH_PERIOD_S, 0.0, limit)
    busy = min(replicas * slots, served / dt_s * service_s / speed)
    return served - bad, bad, 0.0, served, before + arrivals - served, busy
