"""One service over one tick: requests in, good and bad requests out, and what is left waiting.

State is one number, the requests waiting that will be served (a request that meets a longer wait
than its time-out counts as timed out on arrival). In mean service times, with rho the utilisation,
c the slots that share a queue and y the requests waiting in it, the mean moves as

    y' = c (rho - 1) + c rho pi / y,    pi = c (1 - rho) E[W] in the steady state, from the table:

its rest point is the steady state's mean, it grows like sqrt(t) at rho = 1 and like the fluid
c (rho - 1) t in overload, and drains like the fluid in recovery. (The last term is the idle push of a
reflected Brownian motion while its distribution is exponential.) A request at y meets the steady
state whose mean is m = min(y, sqrt(y widest)) behind a fixed delay of (1 - m / y) y / c; in a queue that grows
fast it may meet the fixed delay y / c instead, if that is worse. Near the time-out the delay is pushed back.

The share of bad requests never falls with more backlog and never rises with more replicas, by
construction: every look is a fixed share of the tick, every path of y or y / c moves one way in both, what
is read from the tables too, and what is mixed has weights that move with its worse part. Hence a tick
from zero backlog is the least bad tick there is for its load and replicas.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from envs.sim.jit import allocating_kernel, inlined, kernel
from envs.sim.queue_memory import (
    HALF_S2,
    KNOWN,
    LIMIT,
    TAIL,
    TAIL_SCALE,
    WAIT_SCALE,
    known_log_excess,
    known_place,
    known_push,
    recall,
)
from envs.sim.queue_tables import excess
from envs.sim.queueing import LEAST_REQUEST, RANDOM

LOOKS = 3
NEGLIGIBLE = -18.5  # log of a share (1e-8) that waiting may spoil at most, for it to count as none
LEAST_SPARE = 0.02  # waiting beyond the steady state of this spare capacity is in part a fixed delay
GROWTH = 2.0 / math.pi  # idle push of a queue that began empty (half normal) to one at rest (exponential)
WIDEST_CAP = 0.35  # and so is waiting beyond this share of the time-out


class _Queue(NamedTuple):
    """What one queue looks like within the tick; times in mean service times."""

    c: float  # slots
    cv: float
    theta: float  # threshold
    widest: float  # most waiting that is spread as in a steady state; beyond, its geometric mean with y is
    cap: float  # longest delay before the time-out
    rest: float  # number waiting in the steady state
    back: float  # push at the time-out over a step
    tail: float  # P(S > theta)
    half_s2: float  # of the lognormal: half of log(1 + cv^2)
    scale: float  # and 1 / sqrt(2 log(1 + cv^2)), 0 for constant service


@inlined
def _later(y: float, drift: float, push: float) -> float:
    """y after a step of y' = drift + push / y (both times the step), exact at rest.

    The greater of implicit Euler (exact where a fluid drains) and a step with the push at the middle of
    the step (exact at zero drift); each rises with y, drift and push.
    """
    p = y + drift
    root = math.sqrt(p * p + 4.0 * push)
    implicit = 0.5 * (p + root) if p > 0.0 else 2.0 * push / (root - p) if push > 0.0 else 0.0
    p = max(p + y, 0.0)
    square = p * p + 8.0 * push
    if drift < 0.0 and square <= drift * drift:  # the other is not above 0
        return implicit
    return max(implicit, 0.5 * (drift + math.sqrt(square)))


@inlined
def _step(queue: Any, y: float, drift: float, push: float) -> float:
    """_later, slower on the way up to the steady state: an empty queue's push is less than a spread one's."""
    if y >= queue.rest:
        return _later(y, drift, push)
    return _later(y, drift if drift > 0.0 else GROWTH * drift, GROWTH * push)


@kernel
def _under(queue: Any, delay: float) -> float:
    """The mean delay after time-outs held back what went over the cap: a reflecting barrier, felt near it."""
    near = min(1.0, max(0.0, 2.5 * delay / queue.cap - 0.25))
    if near <= 0.0:
        return delay
    z = queue.cap - delay
    return queue.cap - 0.5 * (z + math.sqrt(z * z + 4.0 * queue.back * near * near * near))


@kernel
def _tail(queue: Any, x: float) -> float:
    """P(S > x)."""
    if x <= 0.0:
        return 1.0
    if queue.scale <= 0.0:
        return 0.0 if x >= 1.0 else 1.0
    return 0.5 * math.erfc((math.log(x) + queue.half_s2) * queue.scale)


@kernel
def _tail_sum(queue: Any, x: float) -> float:
    """E[min(S, x)], the integral of P(S > x) from 0 to x; x below 0 counts in full."""
    if x <= 0.0:
        return x
    if queue.scale <= 0.0:
        return min(x, 1.0)
    at = math.log(x)
    late, early = (at + queue.half_s2) * queue.scale, (queue.half_s2 - at) * queue.scale
    return 0.5 * (x * math.erfc(late) + math.erfc(early))


@kernel
def _mean_tail(queue: Any, low: float, high: float) -> float:
    """Mean of P(S > x) for x between low and high."""
    if high - low < 1e-4:
        return _tail(queue, 0.5 * (low + high))
    return min(1.0, max(0.0, (_tail_sum(queue, high) - _tail_sum(queue, low)) / (high - low)))


@kernel
def _random_part(queue: Any, y: float) -> float:
    """m: how much of the y waiting is spread as in a steady state."""
    return y if y <= queue.widest else math.sqrt(y * queue.widest)


@kernel
def _time_mean_tail(queue: Any, f0: float, f1: float, part: float) -> float:
    """Mean of P(S > theta - f) while f goes from f0 to f1 in `part` of the time and then stays."""
    ramp = _mean_tail(queue, queue.theta - max(f0, f1), queue.theta - min(f0, f1))
    if part >= 1.0:
        return ramp
    return part * ramp + (1.0 - part) * _tail(queue, queue.theta - f1)


@kernel
def _share(
    flat: Any, known: Any, queue: Any, y: float, d0: float, d: float, d1: float, part: float, narrow: float
) -> float:
    """Mean bad share of a time in which the delay goes from d0 to d1, in `part` of it; y and d: half-way.

    narrow: weight of a delay without a random part, where that is worse.
    """
    m = _random_part(queue, y)
    if m >= y:
        share = queue.tail + (1.0 - queue.tail) * math.exp(known_log_excess(flat, known, m))
    else:
        fixed = 1.0 - m / y
        share = _time_mean_tail(queue, fixed * d0, fixed * d1, part)
        share += (1.0 - share) * excess(flat, known_place(known), m, queue.theta - fixed * d)
    if narrow > 0.0:
        share += narrow * max(0.0, _time_mean_tail(queue, d0, d1, part) - share)
    return share


@inlined
def _looks(
    flat: Any, known: Any, queue: Any, start: float, rho: float, pi: float, span: float, old: float
) -> tuple[float, float]:  # fmt: skip
    """(mean bad share of what is served, number waiting at the tick's end).

    old: share of backlog in backlog and arrivals; what waited before the tick meets its first delay.
    """
    c, h = queue.c, span / LOOKS
    drift, grow = c * (rho - 1.0) * h, c * rho * pi * h
    y1 = _step(queue, start, drift, grow)
    y2 = _step(queue, y1, drift, grow)
    y3 = _step(queue, y2, drift, grow)
    near = min(queue.widest, 0.1 * queue.cap * c)
    if max(start, y3) > near or not (rho <= 1.0 or _spread(queue, rho, span) >= 1.0):
        return _far_looks(flat, known, queue, (start, y1, y2, y3, drift), rho, pi, h, old)
    x, first = _mean_excess(flat, known, start, y1, y2, y3, drift)
    return queue.tail + (1.0 - queue.tail) * (x + old * max(0.0, first - x)), y3


@inlined
def _mean_excess(
    flat: Any, known: Any, y0: float, y1: float, y2: float, y3: float, drift: float
) -> tuple[float, float]:
    """(mean of x over the looks at a path's steps, x at its start if it falls), where the delay is not fixed in part.

    Both 0 where the greatest x is NEGLIGIBLE: then they are of every path below it as well.
    """
    falls = y0 > y3
    m3 = _half(y2, y3, drift)
    mean, first, m = 0.0, 0.0, y0 if falls else m3
    for k in range(4 if falls else 3):  # the greatest, then the others
        log_x = known_log_excess(flat, known, m)
        if k == 0 and log_x < NEGLIGIBLE:
            break
        x = math.exp(log_x)
        if k == 0 and falls:
            first = x
        else:
            mean += x
        m = _half(y0, y1, drift) if k == 0 else _half(y1, y2, drift) if k == 1 else m3
    return mean / LOOKS, first


@inlined
def _half(y0: float, y1: float, drift: float) -> float:
    """Half-way through a step from y0 to y1, as _along."""
    if y1 < y0 and drift < 0.0:
        return max(y1, y0 + 0.5 * min(drift, y1 - y0))
    return 0.5 * (y0 + y1)


@kernel
def _far_looks(
    flat: Any, known: Any, queue: Any, y: Any, rho: float, pi: float, h: float, old: float
) -> tuple[float, float]:
    """As _looks, where the delay is in part fixed, or near the time-out; y: the path of the number waiting.

    Delays of a growing queue go by the time of departure, span / rho being the last arrival that leaves.
    """
    c, scale = queue.c, max(rho, 1.0)
    d0, drift, grow = y[0] / c, (rho - 1.0) * h, rho * pi / c * h
    d1 = _delay_step(queue, d0, drift / scale, grow / scale)
    d2 = _delay_step(queue, d1, drift / scale, grow / scale)
    d3 = _delay_step(queue, d2, drift / scale, grow / scale)
    d = (d0, d1, d2, d3, drift / scale)
    end = d3
    if rho > 1.0:
        end = _delay_step(queue, _delay_step(queue, _delay_step(queue, d0, drift, grow), drift, grow), drift, grow)
    spread = _spread(queue, rho, 3.0 * h) if rho > 1.0 else 1e300
    share, last, fall = 0.0, min(d0, queue.cap), max(-drift, 1e-12)
    for k in range(LOOKS):
        after = min(_along(d, k + 1.0), queue.cap)
        half_y, half_d = _along(y, k + 0.5), min(_along(d, k + 0.5), queue.cap)
        part = min(1.0, (last - after) / fall) if after < last else 1.0
        narrow = 1.0 - spread / math.sqrt((k + 0.5) / LOOKS)
        share += _share(flat, known, queue, half_y, last, half_d, after, part, narrow) / LOOKS
        last = after
    if old > 0.0:
        first = min(d0, queue.cap)
        share += old * max(0.0, _share(flat, known, queue, y[0], first, first, first, 1.0, 0.0) - share)
    return share, end * c


@kernel
def _delay_step(queue: Any, delay: float, drift: float, push: float) -> float:
    """One step of the mean delay y / c, between no wait and the time-out."""
    below = delay * queue.c < queue.rest
    drift, push = GROWTH * drift if below and drift <= 0.0 else drift, GROWTH * push if below else push
    return _under(queue, _later(delay, drift, push))


@kernel
def _spread(queue: Any, rho: float, h: float) -> float:
    """Standard deviation over mean of what an overload grows in a time h."""
    return math.sqrt(rho * (1.0 + queue.cv * queue.cv) / (queue.c * h)) / (rho - 1.0)


@kernel
def _along(path: Any, t: float) -> float:
    """Where a path is t steps from its start: four points, and the fluid's way in a step.

    A path that drains follows the fluid until it is where it ends its step; others are straight.
    """
    k = min(int(t), LOOKS - 1)
    y0, y1 = path[0], path[1]
    if k == 1:
        y0, y1 = path[1], path[2]
    elif k == 2:
        y0, y1 = path[2], path[3]
    if y1 < y0 and path[4] < 0.0:
        return max(y1, y0 + (t - k) * min(path[4], y1 - y0))
    return y0 + (t - k) * (y1 - y0)


@allocating_kernel
def service_tick(
    tables: Any, arrivals: float, dt_s: float, replicas: float, slots: float, service_s: float, cv: float,
    threshold_s: float, timeout_s: float, balancing: int, speed: float, backlog: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """known_tick of a service that remembers nothing: the same result, at twice the cost."""
    return known_tick(
        tables, np.zeros(KNOWN), arrivals, dt_s, replicas, slots, service_s, cv, threshold_s, timeout_s, balancing,
        speed, backlog,
    )  # fmt: skip


@kernel
def known_tick(
    tables: Any, known: Any, arrivals: float, dt_s: float, replicas: float, slots: float, service_s: float, cv: float,
    threshold_s: float, timeout_s: float, balancing: int, speed: float, backlog: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """One workload, one tick.

    known: (KNOWN,) what the service remembers of the tables, zeros at first; it changes no result.
    arrivals: requests in the tick; the expected number, Poisson scatter is in the model already.
    replicas: time-weighted mean of ready replicas (>= 0, may be fractional); slots of each.
    service_s, cv: lognormal service time at speed 1; speed in (0, 1] slows it (CPU contention).
    backlog: requests waiting at the start, as returned for the tick before.
    Returns (good, bad, timed_out, served, backlog, busy_slots_mean): arrivals + backlog before =
    served + timed_out + backlog after, good + bad = served + timed_out. The bad share of what leaves does not
    fall with more backlog and does not rise with more replicas.
    """
    total = arrivals + backlog
    if total <= 0.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    rate = speed / service_s
    span, capacity = dt_s * rate, replicas * slots
    if capacity <= 1e-9:  # nobody serves: what is younger than the time-out waits
        young = backlog * max(0.0, 1.0 - dt_s / timeout_s) + arrivals * min(1.0, timeout_s / dt_s)
        return 0.0, total - young, total - young, 0.0, young, 0.0

    # Requests that may wait: what is served within the time-out (under one replica: by one, part of the time).
    room = max(replicas, 1.0) * slots * timeout_s * rate
    queues, c = 1.0, capacity
    if balancing == RANDOM:
        queues, c = max(replicas, 1.0), slots * min(replicas, 1.0)
    theta = threshold_s / (service_s / speed)
    recall(tables, known, balancing, max(c, 1.0), slots, cv, theta)
    rho = arrivals / (span * capacity)
    idle = max(0.0, 1.0 - rho)
    pi = known_push(tables.log_push, known, idle)
    cap = room / capacity
    busy = slots if balancing == RANDOM else max(arrivals / span, 1.0)  # slots whose noise adds, whatever the replicas
    noise = known[LIMIT] / busy
    if balancing == LEAST_REQUEST:  # equal counts are not equal delays: each replica has its own long requests
        noise = max(noise, 0.25 * cv * cv / slots)
    queue = _Queue(
        c, cv, theta, min(known[WAIT_SCALE] / LEAST_SPARE, WIDEST_CAP * busy * timeout_s * rate), cap,
        rho / idle * pi if idle > 0.0 else 1e300, min(noise * span / LOOKS, 0.075 * cap * cap),
        known[TAIL], known[HALF_S2], known[TAIL_SCALE],
    )  # fmt: skip
    share, end = _looks(tables.log_excess, known, queue, backlog / queues, rho, pi, span, backlog / total)
    if backlog > room:  # what times out at once was looked at, but is not there any more
        end = cap
        for _ in range(LOOKS):
            end = _delay_step(queue, end, (rho - 1.0) * span / LOOKS, rho * pi / c * span / LOOKS)
        end *= c

    # The share that times out, as in a fluid: what was over the room, and by how much arrivals outgrow it.
    kept = min(backlog, room)
    over = backlog - kept + max(0.0, kept + max(0.0, arrivals - capacity * span) - room)
    waiting = min(max(end, 0.0) * queues, room, total - over)
    left = total - waiting
    bad = left - (1.0 - share) * (left - over)
    timed_out = max(over, left - capacity * span)
    bad = max(bad, timed_out)
    served = left - timed_out
    return left - bad, bad, timed_out, served, waiting, min(capacity, served / span)
