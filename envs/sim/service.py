"""One service over one tick: requests in, good and bad requests out, and what is left waiting.

State is one number, the requests waiting (those that will be served; a request that meets a wait
longer than its time-out is counted as timed out on arrival). In mean service times, with rho the
utilisation, c the slots that share a queue and y the requests waiting in it, the mean moves as

    y' = c (rho - 1 + kappa / y),    kappa = (1 - rho) Lq(rho),

where Lq is the steady state's mean from the table: y = Lq is its rest point, it grows like sqrt(t) at
rho = 1, like the fluid c (rho - 1) t in overload, and drains like the fluid in recovery. (The last
term is a reflected Brownian motion's idle push when its distribution is exponential.) An arrival at
y meets the steady state whose mean is m, behind a fixed delay (y - m) / c:

    m = min(y, sqrt((1 + cv^2) c MEMORY), sqrt((1 + cv^2) y / (rho - 1)) if rho > 1);

the random part of a queue has had only so much time, or so much growth, to spread out.
"""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import kernel
from envs.sim.queueing import (
    RANDOM,
    cv_cell,
    excess,
    layer_cell,
    lognormal_tail,
    slot_cell,
    spare_scale,
    waiting_rate,
    waiting_spare,
)

MEMORY_S = 300.0
MAX_SAMPLES = 12
_LEAST_U = 1e-4


@kernel
def _drift_step(y: float, h: float, drift: float, kappa: float) -> float:
    """y after h of y' = drift + kappa / y, by one implicit Euler step: positive, exact at rest."""
    p = y + h * drift
    return 0.5 * (p + math.sqrt(p * p + 4.0 * h * kappa))


@kernel
def _share_at(
    tables: Any,
    layer: int,
    fl: float,
    ic: int,
    fc: float,
    iv: int,
    fv: float,
    cv: float,
    c: float,
    theta: float,
    y: float,
    widest: float,
    spread: float,
) -> float:
    """Bad share of requests that arrive when y wait in their queue."""
    m = min(y, widest, math.sqrt(spread * y))
    left = theta - (y - m) / c
    if left <= 0.0:
        return 1.0
    tail = lognormal_tail(left, cv)
    u = waiting_spare(tables, layer, fl, ic, fc, iv, fv, m)
    return tail + (1.0 - tail) * excess(tables, layer, fl, ic, fc, iv, fv, u, left)


@kernel
def service_tick(
    tables: Any,
    arrivals: float,
    dt_s: float,
    replicas: float,
    slots: float,
    service_s: float,
    cv: float,
    threshold_s: float,
    timeout_s: float,
    balancing: int,
    speed: float,
    backlog: float,
) -> tuple[float, float, float, float, float, float]:
    """One workload, one tick.

    arrivals: requests in the tick; the expected number, Poisson scatter is in the model already.
    replicas: time-weighted mean of ready replicas (>= 0, may be fractional); slots of each.
    service_s, cv: lognormal service time at speed 1; speed in (0, 1] slows it (CPU contention).
    backlog: requests waiting at the start, as returned for the tick before.
    Returns (good, bad, timed_out, served, backlog, busy_slots_mean): arrivals + backlog before =
    served + timed_out + backlog after, good + bad = served + timed_out. The bad share never falls
    with more backlog and never rises with more replicas.
    """
    service = service_s / speed
    span = dt_s / service
    capacity = replicas * slots
    load = arrivals / span
    if arrivals + backlog <= 0.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    absent = max(0.0, 1.0 - replicas)
    room = capacity * timeout_s / service
    if absent > 0.0:
        young = backlog * max(0.0, 1.0 - dt_s / timeout_s) + arrivals * min(1.0, timeout_s / dt_s)
        room = max(room, absent * young)
    if capacity <= 1e-9:
        left = min(backlog + arrivals, room)
        lost = backlog + arrivals - left
        return 0.0, lost, lost, 0.0, left, 0.0

    queues = max(replicas, 1.0) if balancing == RANDOM else 1.0
    c = capacity / queues
    wide = max(c, 1.0)
    ic, fc = slot_cell(tables, wide)
    iv, fv = cv_cell(cv)
    layer, fl = layer_cell(balancing, wide, slots)
    rho = load / capacity
    scale = spare_scale(wide)
    u = min(1.0, max((1.0 - rho) * scale, _LEAST_U))
    rate = waiting_rate(tables, layer, fl, ic, fc, iv, fv, u)
    drift = c * (rho - 1.0)
    kappa = c * (max(1.0 - rho, u / scale)) / rate

    theta = threshold_s / service
    widest = math.sqrt((1.0 + cv * cv) * c * MEMORY_S / service)
    spread = (1.0 + cv * cv) / (rho - 1.0) if rho > 1.0 else 1e300
    start = min(backlog, room) / queues
    cap = room / queues

    # arrivals after span / rho of a growing queue are still waiting at the end
    reach = span / max(rho, 1.0)
    end = _drift_step(start, 0.5 * span, drift, kappa)
    end = _drift_step(end, 0.5 * span, drift, kappa)
    swing = abs(min(end, cap) - start) / c
    samples = 1 + min(MAX_SAMPLES - 1, int(8.0 * swing / (theta + 1e-9)))
    step = reach / samples
    share, y = 0.0, _drift_step(start, 0.5 * step, drift, kappa)
    first = 0.0
    for k in range(samples):
        at = _share_at(tables, layer, fl, ic, fc, iv, fv, cv, c, theta, min(y, cap), widest, spread)
        if k == 0:
            first = at
        share += at / samples
        if k + 1 < samples:
            y = _drift_step(y, step, drift, kappa)
    if end < start:
        share += (first - share) * backlog / (backlog + arrivals)

    kept = arrivals + min(backlog, room)
    unserved = min(end * queues, kept)
    waiting = min(unserved, room)
    served = kept - unserved
    lost = arrivals + backlog - served - waiting
    bad = lost + share * served
    return served + lost - bad, bad, lost, served, waiting, min(capacity, served / span)
