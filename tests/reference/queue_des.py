"""Discrete-event reference of one service: requests, slots, FIFO queues, lognormal service, time-outs.

Time is counted in mean service times. Every queue is FIFO, so a request's wait is known when it
arrives (the earliest instant at which one of its replica's slots is free) and a request that will
time out takes no slot. That makes the run exact and needs no event list but the departures,
which only least-request balancing looks at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.sim.jit import allocating_kernel as kernel

RANDOM, LEAST_REQUEST, POOLED = 0, 1, 2
_TOP = 4096  # least-request: replicas with this many requests or more count as equally long

# bins of the wait: bin 0 is "no wait", then logarithmic from 1e-3 to 1e4 mean service times
N_BINS = 561
BIN_EDGES = np.concatenate([[0.0], np.logspace(-3.0, 4.0, N_BINS)])


@kernel
def _sift_root(heap: Any, base: int, size: int, value: float) -> None:
    """Replace the least entry of the binary heap heap[base:base + size] by value."""
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[base + child + 1] < heap[base + child]:
            child += 1
        if heap[base + child] >= value:
            break
        heap[base + i] = heap[base + child]
        i = child
    heap[base + i] = value


@kernel
def _push(times: Any, who: Any, size: int, time: float, replica: int) -> None:
    """Add a departure to the binary heap (times, who) of the given size."""
    i = size
    while i > 0:
        parent = (i - 1) // 2
        if times[parent] <= time:
            break
        times[i] = times[parent]
        who[i] = who[parent]
        i = parent
    times[i] = time
    who[i] = replica


@kernel
def _pop(times: Any, who: Any, size: int) -> None:
    """Remove the earliest departure of a heap of the given size."""
    last_time, last_who = times[size - 1], who[size - 1]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size - 1:
            break
        if child + 1 < size - 1 and times[child + 1] < times[child]:
            child += 1
        if times[child] >= last_time:
            break
        times[i] = times[child]
        who[i] = who[child]
        i = child
    times[i] = last_time
    who[i] = last_who


@kernel
def _move(order: Any, place: Any, start: Any, count: Any, replica: int, step: int) -> None:
    """Change a replica's request count by +1 or -1; order stays sorted by count.

    start[l] is where the replicas with count >= l begin in order.
    """
    level = count[replica]
    if step > 0:
        target = start[level + 1] - 1
        start[level + 1] -= 1
    else:
        target = start[level]
        start[level] += 1
    other = order[target]
    here = place[replica]
    order[here] = other
    place[other] = here
    order[target] = replica
    place[replica] = target
    count[replica] = level + step


@kernel
def simulate(
    balancing: int,
    replicas: int,
    slots: int,
    cv: float,
    rate: Any,
    tick: float,
    timeout: float,
    threshold: float,
    seed: int,
    ticks_out: Any,
    waits: Any,
    warm_ticks: int,
) -> None:
    """Run from empty; rate (K,) arrivals per mean service time in each tick of length `tick`.

    Adds to ticks_out (K, 6): good, bad, timed_out, served, requests waiting at the tick's end,
    arrivals; a request counts in the tick in which it leaves the queue. Adds to waits (N_BINS + 1, 2)
    the number and the sum of the waits of requests that arrive after warm_ticks.
    """
    np.random.seed(seed)
    n = 1 if balancing == POOLED else replicas
    per = replicas * slots if balancing == POOLED else slots
    free = np.zeros(n * per)
    s2 = np.log(1.0 + cv * cv)
    sigma, mu = np.sqrt(s2), -0.5 * s2
    least = balancing == LEAST_REQUEST and n > 1
    room = 1024
    times, who, in_system = np.empty(room), np.empty(room, np.int64), 0
    order, place, count = np.arange(n), np.arange(n), np.zeros(n, np.int64)
    start = np.full(_TOP + 2, n)
    start[0] = 0
    lo, hi = np.log(1e-3), np.log(1e4)
    scale = (N_BINS - 1) / (hi - lo)
    total = rate.shape[0]
    for k in range(total):
        now, end = k * tick, (k + 1) * tick
        if rate[k] <= 0.0:
            continue
        now += np.random.exponential(1.0 / rate[k])
        while now < end:
            r = 0
            if least:
                while in_system > 0 and times[0] <= now:
                    _move(order, place, start, count, who[0], -1)
                    _pop(times, who, in_system)
                    in_system -= 1
                shortest = count[order[0]]
                ties = start[shortest + 1]
                r = order[0] if ties == 1 else order[int(np.random.random() * ties)]
            elif n > 1:
                r = int(np.random.random() * n)
            service = np.exp(mu + sigma * np.random.standard_normal()) if cv > 0.0 else 1.0
            base = r * per
            wait = max(0.0, free[base] - now)
            gone = timeout
            ticks_out[k, 5] += 1
            out_tick = int((now + min(wait, timeout)) / tick)
            if wait <= timeout:
                _sift_root(free, base, per, now + wait + service)
                gone = wait + service
                if out_tick < total:
                    ticks_out[out_tick, 3] += 1
                    ticks_out[out_tick, 0 if gone <= threshold else 1] += 1
            elif out_tick < total:
                ticks_out[out_tick, 2] += 1
                ticks_out[out_tick, 1] += 1
            if least and count[r] < _TOP:
                if in_system == room:
                    times, who = np.append(times, np.empty(room)), np.append(who, np.empty(room, np.int64))
                    room *= 2
                _push(times, who, in_system, now + gone, r)
                in_system += 1
                _move(order, place, start, count, r, 1)
            if k >= warm_ticks:
                j = 0
                if wait > 0.0:
                    j = 1 + max(0, min(N_BINS - 1, int((np.log(wait) - lo) * scale)))
                waits[j, 0] += 1.0
                waits[j, 1] += wait
            now += np.random.exponential(1.0 / rate[k])
    waiting = 0.0
    for k in range(total):
        waiting += ticks_out[k, 5] - ticks_out[k, 3] - ticks_out[k, 2]
        ticks_out[k, 4] = waiting
