"""One service over one tick: requests in, good and bad requests out, and what is left waiting.

State is one number, the requests waiting that will be served (a request that meets a longer wait
than its time-out counts as timed out on arrival). In mean service times, with rho the utilisation,
c the slots that share a queue and y the requests waiting in it, the mean moves as

    y' = c (rho - 1 + kappa / y),    kappa = (1 - rho) Lq(rho),

where Lq is the steady state's mean from the table: y = Lq is its rest point, y grows like sqrt(t) at
rho = 1 and like the fluid c (rho - 1) t in overload, and drains like the fluid in recovery. (The
last term is the idle push of a reflected Brownian motion while its distribution is exponential.) An
arrival at y meets the steady state whose mean is m, behind a fixed delay of (y - m) / c:

    m = min(y, sqrt((1 + cv^2) c memory), sqrt((1 + cv^2) y / (rho - 1)) if rho > 1);

the random part of a queue has had only so much time, or so much growth, to spread out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from envs.sim.jit import kernel
from envs.sim.queue_tables import excess, place_of, spare_scale, waiting_rate, waiting_spare
from envs.sim.queueing import RANDOM, lognormal_tail

MEMORY_S, MEMORY_SERVICES = 100.0, 1000.0
SWEEP_LOOKS = 6
_LEAST_U = 1e-4


class _Queue(NamedTuple):
    """What one queue looks like within the tick; times in mean service times."""

    c: float  # slots
    cv: float
    theta: float  # threshold
    drift: float  # c (rho - 1)
    push: float  # c kappa
    widest: float  # bounds of the random part
    spread: float
    cap: float  # most that can wait before the time-out
    cell: int  # u's cell and the table's rates at its nodes
    low: float
    high: float


@kernel
def _later(queue: Any, y: float, h: float) -> float:
    """y after h of y' = drift + push / y, by one implicit Euler step: positive, exact at rest."""
    p = y + h * queue.drift
    return 0.5 * (p + math.sqrt(p * p + 4.0 * h * queue.push))


@kernel
def _random_part(queue: Any, y: float) -> float:
    """m: how much of the y waiting is spread as in a steady state."""
    return min(y, queue.widest, math.sqrt(queue.spread * y))


@kernel
def _room(arrivals: float, dt_s: float, replicas: float, rate: float, timeout_s: float, backlog: float) -> float:
    """Requests that may wait without timing out: what is served within the time-out.

    For the share of the tick without any replica, what is younger than the time-out.
    """
    room = rate * timeout_s
    if replicas < 1.0:
        young = backlog * max(0.0, 1.0 - dt_s / timeout_s) + arrivals * min(1.0, timeout_s / dt_s)
        room = max(room, (1.0 - replicas) * young)
    return room


@kernel
def service_tick(
    tables: Any, arrivals: float, dt_s: float, replicas: float, slots: float, service_s: float, cv: float,
    threshold_s: float, timeout_s: float, balancing: int, speed: float, backlog: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """One workload, one tick.

    arrivals: requests in the tick; the expected number, Poisson scatter is in the model already.
    replicas: time-weighted mean of ready replicas (>= 0, may be fractional); slots of each.
    service_s, cv: lognormal service time at speed 1; speed in (0, 1] slows it (CPU contention).
    backlog: requests waiting at the start, as returned for the tick before.
    Returns (good, bad, timed_out, served, backlog, busy_slots_mean): arrivals + backlog before =
    served + timed_out + backlog after, good + bad = served + timed_out. Within 0.01, the bad share does not fall
    with more backlog and does not rise with more replicas.
    """
    total = arrivals + backlog
    if total <= 0.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    service = service_s / speed
    span, capacity = dt_s / service, replicas * slots
    room = _room(arrivals, dt_s, replicas, capacity / service, timeout_s, backlog)
    if capacity <= 1e-9:
        waiting = min(total, room)
        return 0.0, total - waiting, total - waiting, 0.0, waiting, 0.0

    queues = max(replicas, 1.0) if balancing == RANDOM else 1.0
    c = capacity / queues
    wide = max(c, 1.0)
    place = place_of(tables, balancing, wide, slots, cv)
    rho, scale = arrivals / span / capacity, spare_scale(wide)
    u = min(1.0, max((1.0 - rho) * scale, _LEAST_U))
    rate, cell, low, high = waiting_rate(tables, place, u)
    variance = 1.0 + cv * cv
    queue = _Queue(
        c, cv, threshold_s / service, c * (rho - 1.0), c * max(1.0 - rho, u / scale) / rate,
        math.sqrt(variance * c * (MEMORY_S / service + MEMORY_SERVICES)),
        variance / (rho - 1.0) if rho > 1.0 else 1e300,
        room / queues, cell, low, high,
    )  # fmt: skip

    start = min(backlog, room) / queues
    end = _later(queue, _later(queue, start, 0.5 * span), 0.5 * span)

    # One look at half-time; a sweep too where the delay moves by much against the threshold. Arrivals
    # after span / rho of a growing queue still wait at the end, so the looks stop there.
    reach = span / max(rho, 1.0)
    y, h, looks, k = _later(queue, start, 0.5 * reach), 0.0, 1, 0
    half, first, sweep, weight = 0.0, 0.0, 0.0, 0.0
    while k < looks:
        held = min(y, queue.cap)
        m = _random_part(queue, held)
        left = queue.theta - (held - m) / c
        share = 1.0
        if left > 0.0:
            tail = lognormal_tail(left, cv)
            spare = waiting_spare(tables, place, m, cell, low, high)
            share = tail + (1.0 - tail) * excess(tables, place, spare, left)
        if k == 0:
            half = share
            swing = abs(min(end, queue.cap) - start)
            weight = min(1.0, 4.0 * swing / (queue.theta * c + 4.0 * m) - 1.0)
            if weight > 0.0:
                looks, h = 1 + SWEEP_LOOKS, reach / SWEEP_LOOKS
                y = _later(queue, start, 0.5 * h)
        else:
            first = share if k == 1 else first
            sweep += share / SWEEP_LOOKS
            y = _later(queue, y, h)
        k += 1
    share = half
    if weight > 0.0:
        if end < start:  # what waited before the tick meets the first delay of a draining queue
            sweep += (first - sweep) * backlog / total
        share += weight * (sweep - half)

    kept = arrivals + min(backlog, room)
    unserved = min(end * queues, kept)
    waiting, served = min(unserved, room), kept - unserved
    lost = total - served - waiting
    bad = lost + share * served
    return served + lost - bad, bad, lost, served, waiting, min(capacity, served / span)
