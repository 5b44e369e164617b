"""Waiting in a service: how many requests are bad in the steady state, from a table.

A service has n replicas with s slots each. A request holds a slot for a lognormal time; it is good
when wait + service <= threshold. How requests reach the slots:

    0 random         each replica is an M/G/s queue of its own (kube-proxy)
    1 least_request  the replica with the fewest requests, ties at random; one FIFO per replica
    2 pooled         one FIFO queue for all slots: M/G/(n s)

The service's own tail is exact, P(S > threshold); waiting adds to it. The share of requests that
wait too long though their service alone would have been in time,

    x = P(W + S > threshold | S <= threshold),   bad = P(S > threshold) + (1 - P(S > threshold)) x,

is tabulated by discrete-event simulation (`tests/reference/make_queue_tables.py`) over
(layer, c, cv, u, threshold / mean service): c = slots that share the load; u = (1 - utilisation)
max(1, sqrt(c) / 4.5), square-root staffing's natural scale (Halfin and Whitt 1981), 0 at full load;
layer 0-6 = least_request with 1, 2, 4 .. 64 slots a replica, 7 = pooled. log x is interpolated
linearly: in u it is exactly linear in heavy traffic (Kingman's exponential tail), in the threshold
wherever the tail is exponential. Both tables are monotone along every axis, and so is the answer.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.sim.jit import kernel

RANDOM, LEAST_REQUEST, POOLED = 0, 1, 2
U_CELLS = 12  # nodes u = (k / 12)^2
CV_STEP, CV_NODES = 0.5, 7
THETA_NODES = 25  # theta = 2^(k / 3) - 1
SQUARE_ROOT_SCALE = 4.5
POOLED_LAYER = 7
TABLE_FILE = Path(__file__).resolve().parent.parent / "data" / "queueing" / "tables.npz"


class QueueTables(NamedTuple):
    """Made once by the discrete-event reference; read only."""

    log_excess: NDArray[np.float32]  # (8, C, 7, 13, 25) log x
    inverse_wait: NDArray[np.float64]  # (8, C, 7, 13) 1 / mean number waiting; 0 at full load
    slots: NDArray[np.float64]  # (C,) nodes of c
    thetas: NDArray[np.float64]  # (25,) nodes of threshold / mean service time


def load_tables(path: Path = TABLE_FILE) -> QueueTables:
    """The tables that ship with the package."""
    with np.load(path, allow_pickle=False) as stored:
        return QueueTables(
            log_excess=np.ascontiguousarray(stored["log_excess"], np.float32),
            inverse_wait=np.ascontiguousarray(stored["inverse_wait"], np.float64),
            slots=np.ascontiguousarray(stored["slots"], np.float64),
            thetas=2.0 ** (np.arange(THETA_NODES) / 3.0) - 1.0,
        )


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
def slot_coordinate(c: float) -> float:
    """Linear in c up to 32 and in its square root beyond: log x is close to linear in it."""
    return c if c <= 32.0 else 11.313708498984761 * math.sqrt(c) - 32.0


@kernel
def spare_scale(c: float) -> float:
    """u per unit of (1 - utilisation)."""
    return max(1.0, math.sqrt(c) / SQUARE_ROOT_SCALE)


@kernel
def slot_cell(tables: Any, c: float) -> tuple[int, float]:
    """Cell and fraction of c >= 1 on the slot axis."""
    nodes = tables.slots
    low, high = 0, nodes.shape[0] - 2
    while low < high:
        mid = (low + high + 1) // 2
        if nodes[mid] <= c:
            low = mid
        else:
            high = mid - 1
    at, left, right = slot_coordinate(c), slot_coordinate(nodes[low]), slot_coordinate(nodes[low + 1])
    return low, min(1.0, max(0.0, (at - left) / (right - left)))


@kernel
def cv_cell(cv: float) -> tuple[int, float]:
    """Cell and fraction of cv, held to the table's 0 to 3."""
    at = min(max(cv / CV_STEP, 0.0), CV_NODES - 1.0)
    low = min(int(at), CV_NODES - 2)
    return low, at - low


@kernel
def layer_cell(balancing: int, c: float, slots: float) -> tuple[int, float]:
    """First layer and the weight of the next one."""
    if balancing != LEAST_REQUEST or c <= slots:
        return POOLED_LAYER, 0.0
    at = min(max(math.log2(slots), 0.0), 6.0)
    low = min(int(at), 5)
    return low, at - low


@kernel
def spare_cell(u: float) -> tuple[int, float]:
    """Cell and fraction of u in [0, 1]."""
    low = min(int(U_CELLS * math.sqrt(u)), U_CELLS - 1)
    left = low * low / 144.0
    return low, (u - left) * 144.0 / (2 * low + 1)


@kernel
def _excess_at(
    table: Any, layer: int, ic: int, fc: float, iv: int, fv: float, iu: int, fu: float, it: int, ft: float
) -> float:
    """Multilinear log x within one layer."""
    total = 0.0
    for dc in range(2):
        wc = fc if dc else 1.0 - fc
        for dv in range(2):
            wv = wc * (fv if dv else 1.0 - fv)
            row = table[layer, ic + dc, iv + dv]
            low = row[iu, it] + ft * (row[iu, it + 1] - row[iu, it])
            high = row[iu + 1, it] + ft * (row[iu + 1, it + 1] - row[iu + 1, it])
            total += wv * (low + fu * (high - low))
    return total


@kernel
def excess(
    tables: Any, layer: int, fl: float, ic: int, fc: float, iv: int, fv: float, u: float, theta: float
) -> float:
    """x at spare capacity u and threshold theta (mean service times), beyond the last node by its slope."""
    if theta <= 0.0 or u <= 0.0:
        return 1.0
    iu, fu = spare_cell(min(u, 1.0))
    it = min(int(3.0 * math.log2(1.0 + theta)), THETA_NODES - 2)
    ft = (theta - tables.thetas[it]) / (tables.thetas[it + 1] - tables.thetas[it])
    value = _excess_at(tables.log_excess, layer, ic, fc, iv, fv, iu, fu, it, ft)
    if fl > 0.0:
        value += fl * (_excess_at(tables.log_excess, layer + 1, ic, fc, iv, fv, iu, fu, it, ft) - value)
    return math.exp(min(value, 0.0))


@kernel
def _rate_at(table: Any, layer: int, fl: float, ic: int, fc: float, iv: int, fv: float, k: int) -> float:
    """1 / mean number waiting at node k of u."""
    total = 0.0
    for dc in range(2):
        wc = fc if dc else 1.0 - fc
        for dv in range(2):
            value = table[layer, ic + dc, iv + dv, k]
            if fl > 0.0:
                value += fl * (table[layer + 1, ic + dc, iv + dv, k] - value)
            total += wc * (fv if dv else 1.0 - fv) * value
    return total


@kernel
def waiting_rate(
    tables: Any, layer: int, fl: float, ic: int, fc: float, iv: int, fv: float, u: float
) -> float:
    """1 / mean number waiting in the steady state, u in (0, 1]."""
    k, f = spare_cell(u)
    low = _rate_at(tables.inverse_wait, layer, fl, ic, fc, iv, fv, k)
    return low + f * (_rate_at(tables.inverse_wait, layer, fl, ic, fc, iv, fv, k + 1) - low)


@kernel
def waiting_spare(
    tables: Any, layer: int, fl: float, ic: int, fc: float, iv: int, fv: float, m: float
) -> float:
    """The u whose steady state has m waiting: the exact inverse of waiting_rate, 1 beyond it."""
    if m <= 0.0:
        return 1.0
    rate = 1.0 / m
    low, high = 0, U_CELLS
    left, right = 0.0, 1e300
    while high - low > 1:
        mid = (low + high) // 2
        value = _rate_at(tables.inverse_wait, layer, fl, ic, fc, iv, fv, mid)
        if value <= rate:
            low, left = mid, value
        else:
            high, right = mid, value
    if high == U_CELLS:
        right = _rate_at(tables.inverse_wait, layer, fl, ic, fc, iv, fv, U_CELLS)
    if right <= left:
        return low * low / 144.0
    return min(1.0, (low * low + (2 * low + 1) * (rate - left) / (right - left)) / 144.0)


@kernel
def bad_share(
    tables: Any,
    load_rps: float,
    replicas: float,
    slots: float,
    service_s: float,
    cv: float,
    threshold_s: float,
    balancing: int,
) -> float:
    """Steady-state share of bad requests; 1 when the replicas cannot carry the load."""
    theta = threshold_s / service_s
    tail = lognormal_tail(theta, cv)
    if load_rps <= 0.0:
        return tail
    capacity = replicas * slots
    if capacity <= 0.0 or load_rps * service_s >= capacity:
        return 1.0
    c = slots * min(replicas, 1.0) if balancing == RANDOM else capacity
    c = max(c, 1.0)
    ic, fc = slot_cell(tables, c)
    iv, fv = cv_cell(cv)
    layer, fl = layer_cell(balancing, c, slots)
    u = (1.0 - load_rps * service_s / capacity) * spare_scale(c)
    return tail + (1.0 - tail) * excess(tables, layer, fl, ic, fc, iv, fv, u, theta)


@kernel
def replicas_needed(
    tables: Any,
    load_rps: float,
    target_good: float,
    slots: float,
    service_s: float,
    cv: float,
    threshold_s: float,
    balancing: int,
    max_replicas: int,
) -> int:
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
