"""The queueing tables and how to read them.

Axes (layer, c, cv, u[, theta]): layer 0-6 = least_request with 1, 2, 4 .. 64 slots a replica, 7 = one
queue for all slots; c = slots that share the load; u = spare capacity (1 - utilisation) times
max(1, sqrt(c) / 4.5), square-root staffing's natural scale (Halfin and Whitt 1981), 0 at full load;
theta = threshold / mean service time. Both tables are monotone along c, u and theta and are
interpolated linearly in slot_coordinate(c), cv, u and theta, so what is read is monotone too.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.sim.jit import kernel

LEAST_REQUEST = 1
LAYERS, POOLED_LAYER = 8, 7
U_CELLS, U_NODES = 12, 13  # nodes u = (k / 12)^2
CV_NODES = 8  # cv = 0, 0.5, 0.75, 1, 1.5, 2, 2.5, 3
THETA_NODES = 25  # theta = 2^(k / 3) - 1
SQUARE_ROOT_SCALE = 4.5
TABLE_FILE = Path(__file__).resolve().parent.parent / "data" / "queueing" / "tables.npz"


class QueueTables(NamedTuple):
    """Made once by the discrete-event reference; read only. Flat: layer, c, u, [theta,] cv, last fastest,
    so that the corners of a cell share cache lines.
    """

    log_excess: NDArray[np.float32]  # (8, C, 13, 25, 8) log x
    inverse_wait: NDArray[np.float64]  # (8, C, 13, 8) 1 / mean number waiting; 0 at full load
    slots: NDArray[np.float64]  # (C,) nodes of c
    thetas: NDArray[np.float64]  # (25,) nodes of theta


def load_tables(path: Path = TABLE_FILE) -> QueueTables:
    """The tables that ship with the package."""
    with np.load(path, allow_pickle=False) as stored:
        return QueueTables(
            log_excess=stored["log_excess"].astype(np.float32).transpose(0, 1, 3, 4, 2).ravel(),
            inverse_wait=stored["inverse_wait"].astype(np.float64).transpose(0, 1, 3, 2).ravel(),
            slots=stored["slots"].astype(np.float64),
            thetas=2.0 ** (np.arange(THETA_NODES) / 3.0) - 1.0,
        )


@kernel
def slot_coordinate(c: float) -> float:
    """Linear in c up to 32 and in its square root beyond: log x is close to linear in it."""
    return c if c <= 32.0 else 11.313708498984761 * math.sqrt(c) - 32.0


@kernel
def spare_scale(c: float) -> float:
    """u per unit of (1 - utilisation)."""
    return max(1.0, math.sqrt(c) / SQUARE_ROOT_SCALE)


@kernel
def _slot_cell(nodes: Any, c: float) -> tuple[int, float]:
    """Cell and fraction of c >= 1 on the slot axis."""
    low, high = 0, nodes.shape[0] - 2
    while low < high:
        mid = (low + high + 1) >> 1
        if nodes[mid] <= c:
            low = mid
        else:
            high = mid - 1
    left, right = slot_coordinate(nodes[low]), slot_coordinate(nodes[low + 1])
    return low, min(1.0, (slot_coordinate(c) - left) / (right - left))


@kernel
def _cv_cell(cv: float) -> tuple[int, float]:
    """Cell and fraction of cv, held to 0 to 3."""
    if cv < 0.5:
        return 0, max(0.0, 2.0 * cv)
    if cv < 1.0:
        low = int(4.0 * cv) - 1
        return low, 4.0 * cv - 1.0 - low
    at = min(2.0 * cv + 1.0, CV_NODES - 1.0)
    low = min(int(at), CV_NODES - 2)
    return low, at - low


@kernel
def place_of(tables: Any, balancing: int, c: float, slots: float, cv: float) -> Any:
    """Where a queue stands in the tables: (row, cv cell, layer step, layer weight, corner weights).

    c >= 1 slots share the load, slots of them per replica; c over the table's last node and cv over
    3 are read at the table's edge.
    """
    layer, fl = POOLED_LAYER, 0.0
    if balancing == LEAST_REQUEST and c > slots:
        at = min(max(math.log2(slots), 0.0), POOLED_LAYER - 1.0)
        layer = min(int(at), POOLED_LAYER - 2)
        fl = at - layer
    ic, fc = _slot_cell(tables.slots, c)
    iv, fv = _cv_cell(cv)
    count = tables.slots.shape[0]
    return (
        layer * count + ic,
        iv,
        count,
        fl,
        (1.0 - fc) * (1.0 - fv),
        (1.0 - fc) * fv,
        fc * (1.0 - fv),
        fc * fv,
    )


@kernel
def _spare_cell(u: float) -> tuple[int, float]:
    """Cell and fraction of u in [0, 1]."""
    low = min(int(U_CELLS * math.sqrt(u)), U_CELLS - 1)
    return low, (u * (U_CELLS * U_CELLS) - low * low) / (2 * low + 1)


@kernel
def _corners(flat: Any, at: int, c: int, place: Any) -> float:
    """Weighted mean of the four (c, cv) corners; `at` is the first, c the step to the next c."""
    return flat[at] * place[4] + flat[at + 1] * place[5] + flat[at + c] * place[6] + flat[at + c + 1] * place[7]


@kernel
def _log_excess_in(flat: Any, at: int, place: Any, fu: float, ft: float) -> float:
    """log x in one layer; `at` is the index of the cell's first corner."""
    theta, u, c = CV_NODES, THETA_NODES * CV_NODES, U_NODES * THETA_NODES * CV_NODES
    a, b = _corners(flat, at, c, place), _corners(flat, at + theta, c, place)
    d, e = _corners(flat, at + u, c, place), _corners(flat, at + u + theta, c, place)
    low = a + ft * (b - a)
    return low + fu * (d + ft * (e - d) - low)


@kernel
def excess(tables: Any, place: Any, u: float, theta: float) -> float:
    """x at spare capacity u and threshold theta; beyond the last theta by the last slope."""
    if theta <= 0.0 or u <= 0.0:
        return 1.0
    row, iv, count, fl = place[0], place[1], place[2], place[3]
    iu, fu = _spare_cell(min(u, 1.0))
    it = min(int(3.0 * math.log2(1.0 + theta)), THETA_NODES - 2)
    ft = (theta - tables.thetas[it]) / (tables.thetas[it + 1] - tables.thetas[it])
    at = ((row * U_NODES + iu) * THETA_NODES + it) * CV_NODES + iv
    value = _log_excess_in(tables.log_excess, at, place, fu, ft)
    if fl > 0.0:
        at += count * U_NODES * THETA_NODES * CV_NODES
        value += fl * (_log_excess_in(tables.log_excess, at, place, fu, ft) - value)
    return math.exp(min(value, 0.0))


@kernel
def _rate_at(flat: Any, place: Any, k: int) -> float:
    """1 / mean number waiting at node k of u."""
    row, iv, count, fl = place[0], place[1], place[2], place[3]
    c = U_NODES * CV_NODES
    at = (row * U_NODES + k) * CV_NODES + iv
    value = _corners(flat, at, c, place)
    if fl > 0.0:
        value += fl * (_corners(flat, at + count * c, c, place) - value)
    return float(value)


@kernel
def waiting_rate(tables: Any, place: Any, u: float) -> Any:
    """(1 / mean number waiting in the steady state, u's cell, the rates at its two nodes), u in (0, 1]."""
    k, f = _spare_cell(u)
    low, high = _rate_at(tables.inverse_wait, place, k), _rate_at(tables.inverse_wait, place, k + 1)
    return low + f * (high - low), k, low, high


@kernel
def waiting_spare(tables: Any, place: Any, m: float, guess: int, left: float, right: float) -> float:
    """The u whose steady state has m waiting: the exact inverse of waiting_rate, 1 beyond it.

    guess: a cell to look at first, left and right: the rates at its nodes.
    """
    if m <= 0.0:
        return 1.0
    rate = 1.0 / m
    low = guess
    if not left <= rate < right:
        low, high, left, right = 0, U_CELLS, 0.0, -1.0
        while high - low > 1:
            mid = (low + high) >> 1
            value = _rate_at(tables.inverse_wait, place, mid)
            if value <= rate:
                low, left = mid, value
            else:
                high, right = mid, value
        if high == U_CELLS:
            right = _rate_at(tables.inverse_wait, place, U_CELLS)
        if right <= left:
            return low * low / (U_CELLS * U_CELLS)
    f = (rate - left) / (right - left)
    return min(1.0, (low * low + (2 * low + 1) * f) / (U_CELLS * U_CELLS))
