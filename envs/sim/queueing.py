"""Waiting in a service: the steady-state share of bad requests, and the replicas that a target needs.

A service has n replicas with s slots each. A request holds a slot for a lognormal time; it is good
when wait + service <= threshold. How requests reach the slots:

    0 random         each replica is an M/G/s queue of its own (kube-proxy)
    1 least_request  the replica with the fewest requests, ties at random; one FIFO per replica
    2 pooled         one FIFO queue for all slots: M/G/(n s)

The service's own tail is exact; waiting adds the share of requests that wait too long though their
service alone would have been in time, which is tabulated by discrete-event simulation
(`tests/reference/make_queue_tables.py`):

    x = P(W + S > threshold | S <= threshold),   bad = P(S > threshold) + (1 - P(S > threshold)) x

x is tabulated over the mean number of requests waiting, and that number over spare capacity
(`queue_tables.py`).
"""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import kernel
from envs.sim.queue_tables import QueueTables, excess, load_tables, place_of, push, push_scale

__all__ = ["QueueTables", "bad_share", "erlang_c", "load_tables", "lognormal_tail", "replicas_needed"]

RANDOM, LEAST_REQUEST, POOLED = 0, 1, 2


def erlang_c(servers: int, offered: float) -> float:
    """Probability of waiting in M/M/c with `offered` = arrival rate x mean service; 1 at or over c.

    By the Erlang B recursion B(k) = a B(k-1) / (k + a B(k-1)), C = B / (1 - rho (1 - B)).
    """
    if offered >= servers:
        return 1.0
    blocking = 1.0
    for k in range(1, servers + 1):
        blocking = offered * blocking / (k + offered * blocking)
    return blocking / (1.0 - offered / servers * (1.0 - blocking))


@kernel
def lognormal_tail(x: float, cv: float) -> float:
    """P(S > x) of a lognormal with mean 1 and this coefficient of variation (constant if cv <= 0)."""
    if x <= 0.0:
        return 1.0
    if cv <= 1e-6:
        return 0.0 if x >= 1.0 else 1.0
    s2 = math.log1p(cv * cv)
    return 0.5 * math.erfc((math.log(x) + 0.5 * s2) / math.sqrt(2.0 * s2))


@kernel
def bad_share(
    tables: Any, load_rps: float, replicas: float, slots: float, service_s: float, cv: float,
    threshold_s: float, balancing: int,
) -> float:  # fmt: skip
    """Steady-state share of bad requests; 1 when the replicas cannot carry the load."""
    theta = threshold_s / service_s
    tail = lognormal_tail(theta, cv)
    if load_rps <= 0.0:
        return tail
    capacity = replicas * slots
    if capacity <= 0.0 or load_rps * service_s >= capacity:
        return 1.0
    rho = load_rps * service_s / capacity
    c = max(1.0, slots * min(replicas, 1.0) if balancing == RANDOM else capacity)
    place = place_of(tables, balancing, c, slots, cv)
    waiting = rho / (1.0 - rho) * push(tables.log_push, place, (1.0 - rho) * push_scale(balancing, c))
    return float(tail + (1.0 - tail) * excess(tables.log_excess, place, waiting, theta))


@kernel
def replicas_needed(
    tables: Any, load_rps: float, target_good: float, slots: float, service_s: float, cv: float,
    threshold_s: float, balancing: int, max_replicas: int,
) -> int:  # fmt: skip
    """Least replica count with a steady good share >= target_good; -1 when none up to max_replicas has it.

    bad_share falls with replicas, so bisection finds the least; no count can beat P(S > threshold).
    """
    allowed = 1.0 - target_good + 1e-12
    if bad_share(tables, load_rps, max_replicas, slots, service_s, cv, threshold_s, balancing) > allowed:
        return -1
    low, high = 0, max_replicas  # low fails (or is zero), high holds
    while high - low > 1:
        mid = (low + high) // 2
        if bad_share(tables, load_rps, mid, slots, service_s, cv, threshold_s, balancing) > allowed:
            low = mid
        else:
            high = mid
    return high
