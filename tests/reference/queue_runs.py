"""Fast steady-state runs for the queueing tables: waits only, no time-outs, no ticks.

Same queues as `queue_des` (which the tables are checked against, and which shares no code with this
file but the order by request count). Two tricks make the runs cheap. `one_queue` plays one stream of
random numbers through every (CV, utilisation) cell at once, so that neighbouring cells err alike and
what is read between them is smooth. `least_request` keeps departures in a calendar of buckets instead
of a heap: only the request counts at arrivals matter, not the order of departures between them.

Time is counted in mean service times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.sim.jit import allocating_kernel as kernel
from tests.reference.queue_des import _move, _sift_root

# bins of the wait: 0 is "no wait or under 2^-10", then 16 to an octave up to 2^15
N_BINS = 1 + 16 * 25
_LEAST, _BIAS = 2.0**-10, (1023 - 10) * 16
_BLOCK = 16384
_LANES, _LAPS = 64, 16.0  # calendar: mean services in one lap of the ring
_TOP = 4096


@kernel
def _bin_of(value: Any, bits: Any, wait: float) -> int:
    """Bin of a wait by its exponent and four bits of mantissa; value and bits are one cell, seen twice."""
    if wait < _LEAST:
        return 0
    value[0] = wait
    return min(1 + (bits[0] >> 48) - _BIAS, N_BINS - 1)


@kernel
def one_queue(slots: int, cvs: Any, rhos: Any, requests: int, warm: int, seed: int, waits: Any) -> None:
    """FIFO M/G/slots in every cell (V, R) of cvs x rhos, `requests` each, the first `warm` not counted.

    Adds to waits (V, R, N_BINS, 2) the number and the sum of the waits. rhos of 0 are skipped.
    """
    np.random.seed(seed)
    count_v, count_r = cvs.shape[0], rhos.shape[0]
    free = np.zeros((count_v, count_r, slots))
    clock = np.zeros((count_v, count_r))
    gaps, normals, service = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    value = np.zeros(1)
    bits = value.view(np.int64)
    done = 0
    while done < requests:
        size = min(_BLOCK, requests - done)
        for i in range(size):
            gaps[i] = np.random.exponential(1.0)
            normals[i] = np.random.standard_normal()
        for v in range(count_v):
            s2 = np.log(1.0 + cvs[v] * cvs[v])
            mu, sigma = -0.5 * s2, np.sqrt(s2)
            for i in range(size):
                service[i] = np.exp(mu + sigma * normals[i])
            for r in range(count_r):
                if rhos[r] <= 0.0:
                    continue
                mean_gap, now, heap, out = 1.0 / (rhos[r] * slots), clock[v, r], free[v, r], waits[v, r]
                for i in range(size):
                    now += mean_gap * gaps[i]
                    wait = max(0.0, heap[0] - now)
                    if slots == 1:
                        heap[0] = now + wait + service[i]
                    else:
                        _sift_root(heap, 0, slots, now + wait + service[i])
                    if done + i >= warm:
                        j = _bin_of(value, bits, wait)
                        out[j, 0] += 1.0
                        out[j, 1] += wait
                clock[v, r] = 0.0  # shift time so that it keeps its digits
                for k in range(slots):
                    heap[k] -= now
        done += size


@kernel
def least_request(
    replicas: int, slots: int, cv: float, rho: float, requests: int, warm: int, seed: int, waits: Any
) -> None:
    """The replica with the fewest requests, ties at random, one FIFO each. Adds to waits (N_BINS, 2)."""
    np.random.seed(seed)
    capacity = replicas * slots
    free = np.zeros(capacity)
    s2 = np.log(1.0 + cv * cv)
    mu, sigma, mean_gap = -0.5 * s2, np.sqrt(s2), 1.0 / (rho * capacity)
    order, place, count = np.arange(replicas), np.arange(replicas), np.zeros(replicas, np.int64)
    start = np.full(_TOP + 2, replicas)
    start[0] = 0
    lanes = max(_LANES, 16 * capacity)
    per_lane = lanes / _LAPS
    head = np.full(lanes, -1)
    room = 8 * capacity + 16384  # more than a stable queue holds in runs of these lengths
    when, who, after = np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64)
    for i in range(room):
        after[i] = i + 1
    unused, used = 0, 0
    value = np.zeros(1)
    bits = value.view(np.int64)
    now, swept = 0.0, 0  # every lane before `swept` is clear of what left before now
    for i in range(requests):
        now += mean_gap * np.random.exponential(1.0)
        last = int(now * per_lane)
        if last - swept >= lanes:
            swept = last - lanes + 1
        while swept <= last:
            lane, before = swept % lanes, -1
            e = head[lane]
            while e >= 0:
                following = after[e]
                if when[e] <= now:
                    _move(order, place, start, count, who[e], -1)
                    if before < 0:
                        head[lane] = following
                    else:
                        after[before] = following
                    after[e] = unused
                    unused = e
                    used -= 1
                else:
                    before = e
                e = following
            swept += 1
        swept = last  # the lane of now is looked at again
        shortest = count[order[0]]
        r = order[int(np.random.random() * start[shortest + 1])]
        base = r * slots
        wait = max(0.0, free[base] - now)
        gone = now + wait + np.exp(mu + sigma * np.random.standard_normal())
        _sift_root(free, base, slots, gone)
        if used + 1 >= room:
            return  # the caller sees that requests are missing
        e, unused = unused, after[unused]
        used += 1
        lane = int(gone * per_lane) % lanes
        when[e], who[e], after[e] = gone, r, head[lane]
        head[lane] = e
        _move(order, place, start, count, r, 1)
        if i >= warm:
            j = _bin_of(value, bits, wait)
            waits[j, 0] += 1.0
            waits[j, 1] += wait
