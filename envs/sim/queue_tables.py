"""The queueing tables and how to read them.

Rows are first one queue for all slots, over ONE_SLOTS (pooled, and random as one replica's slots), then
least request, over LAYER_SLOTS x REPLICAS. Two tables share them:

    log_push (row, v, cv)           log of pi = c (1 - rho) E[W], as a share of its limit (1 + cv^2) / 2 at full
                                    load (Kingman 1961), over spare capacity v = (1 - rho) push_scale
    log_excess (row, w, theta, cv)  log of x, over the mean number waiting m, as w = log(1 + g / m)

with g = wait_scale(c) (1 + cv^2) / 2 and theta = threshold / mean service time. In the steady state
m = rho pi / (1 - rho). log x is close to linear in w: near full load x decays with 1 / m (Kingman), in light
traffic x falls with m. Both tables are monotone along slots, replicas, v, w and theta, and both scales rise
with c, so what is read falls with more slots at a given m and with more slots at a given load.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.sim.jit import kernel

LEAST_REQUEST = 1
V_CELLS, V_NODES = 24, 25  # nodes v = (k / 24)^2
W_CELLS, W_NODES = 50, 51  # nodes of sqrt(w): 1 / 40 apart up to 1 / 2, then W_STEP apart
W_KNEE, W_STEP = 20, 0.108
CV_NODES = 12
THETA_NODES = 22  # theta = 2^(k / 3) - 1
NOBODY = 1e-12  # waiting
_ROW = W_NODES * THETA_NODES * CV_NODES
FEW_SLOTS = 20.25  # below it spare capacity is counted in shares, above in the square root of c
FEW, MANY = 16.0, 24.0  # nodes about it, between which the scales are straight, as rows are read
ONE_SLOTS = np.array(
    [
        *range(1, 9),
        10,
        12,
        16,
        20,
        24,
        28,
        32,
        40,
        48,
        64,
        96,
        128,
        181,
        256,
        362,
        512,
        724,
        *(2.0**k for k in range(10, 15)),
    ]
)
LAYER_SLOTS = np.array([1, 2, 4, 8, 16, 32, 64, 256], float)
REPLICAS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 4096, 16384], float)
TABLE_FILE = Path(__file__).resolve().parent.parent / "data" / "queueing" / "tables.npz"
Array = NDArray[np.float64]


class QueueTables(NamedTuple):
    """Made once by discrete-event simulation; read only. Flat, cv last, so that corners share cache lines."""

    log_excess: NDArray[np.float32]  # (row, w, theta, cv)
    log_push: NDArray[np.float32]  # (row, v, cv)
    one: Array  # nodes of the first rows, slot_coordinate(c)
    layers: Array  # nodes of least request: square root of the slots of a replica
    replicas: Array  # and of the replicas


def cv_nodes() -> Array:
    """Nodes of the service time's coefficient of variation."""
    return np.array([0.0, 0.5, 0.625, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0])


def spare_nodes() -> Array:
    """Nodes of v."""
    return (np.arange(V_NODES) / V_CELLS) ** 2


def wait_nodes() -> Array:
    """Nodes of w."""
    k = np.arange(W_NODES)
    return np.where(k <= W_KNEE, k / 40.0, 0.5 + W_STEP * (k - W_KNEE)) ** 2


def theta_nodes() -> Array:
    """Nodes of the threshold."""
    return 2.0 ** (np.arange(THETA_NODES) / 3.0) - 1.0


@lru_cache(maxsize=2)
def load_tables(path: Path = TABLE_FILE) -> QueueTables:
    """The tables that ship with the package; every simulator of a process reads the same arrays."""
    with np.load(path, allow_pickle=False) as stored:
        return QueueTables(
            stored["log_excess"].astype(np.float32).ravel(), stored["log_push"].astype(np.float32).ravel(),
            np.array([slot_coordinate(c) for c in ONE_SLOTS]), np.sqrt(LAYER_SLOTS), np.sqrt(REPLICAS),
        )  # fmt: skip


@kernel
def slot_coordinate(c: float) -> float:
    """Linear in c up to 32 and in its square root beyond: log x is close to linear in it."""
    return c if c <= 32.0 else 11.313708498984761 * math.sqrt(c) - 32.0


@kernel
def wait_scale(c: float) -> float:
    """Square-root staffing (Halfin and Whitt 1981): waiting at equal probability to wait grows so."""
    if c >= MANY:
        return math.sqrt(c / FEW_SLOTS)
    return 1.0 + max(c - FEW, 0.0) * ((math.sqrt(MANY / FEW_SLOTS) - 1.0) / (MANY - FEW))


@kernel
def push_scale(balancing: int, c: float) -> float:
    """v per unit of (1 - utilisation), such that pi falls with c at given v.

    (c / 20.25)^(3/8) for one queue, a little less than the square root; 1 for least request, whose pi is
    over its limit close to full load with many replicas (some are idle while requests wait elsewhere).
    """
    if c <= FEW or balancing == LEAST_REQUEST:
        return 1.0
    fourth = math.sqrt(math.sqrt(max(c, MANY) / FEW_SLOTS))
    scale = fourth * math.sqrt(fourth)
    return scale if c >= MANY else 1.0 + (scale - 1.0) * (c - FEW) / (MANY - FEW)


@kernel
def _cell(nodes: Any, value: float) -> tuple[int, float]:
    """Cell and fraction of value on an axis of rising nodes, held to the axis."""
    low, high = 0, nodes.shape[0] - 2
    while low < high:
        mid = (low + high + 1) >> 1
        if nodes[mid] <= value:
            low = mid
        else:
            high = mid - 1
    return low, min(1.0, max(0.0, (value - nodes[low]) / (nodes[low + 1] - nodes[low])))


@kernel
def _cv_cell(cv: float) -> tuple[int, float]:
    """Cell and fraction of cv, held to 0 to 3, on cv_nodes."""
    if cv < 0.5:
        return 0, max(0.0, 2.0 * cv)
    at = min(2.0 * cv + 5.0, CV_NODES - 1.0)
    if cv < 1.0:
        at = 8.0 * cv - 3.0
    elif cv < 2.0:
        at = 4.0 * cv + 1.0
    low = min(int(at), CV_NODES - 2)
    return low, at - low


@kernel
def place_of(tables: Any, balancing: int, c: float, slots: float, cv: float) -> Any:
    """Where a queue stands in the tables: (row, cv cell, layer step, layer weight, 4 corner weights, g, limit of pi).

    c >= 1 slots share the load, slots of them per replica; what lies over a last node (cv 3, 16,384
    slots) is read at the table's edge. Least request with c <= slots is one replica.
    """
    if balancing == LEAST_REQUEST:
        s = max(min(c, slots), 1.0)
        layer, fl = _cell(tables.layers, math.sqrt(s))
        cell, fc = _cell(tables.replicas, math.sqrt(c / s))
        step = tables.replicas.shape[0]
        row = tables.one.shape[0] + layer * step + cell
    else:
        cell, fc = _cell(tables.one, slot_coordinate(c))
        row, step, fl = cell, 0, 0.0
    iv, fv = _cv_cell(cv)
    limit = 0.5 + 0.5 * cv * cv
    return (
        row,
        iv,
        step,
        fl,
        (1.0 - fc) * (1.0 - fv),
        (1.0 - fc) * fv,
        fc * (1.0 - fv),
        fc * fv,
        wait_scale(c) * limit,
        limit,
    )


@kernel
def _read(flat: Any, at: int, row: int, step: int, f: float, place: Any) -> float:
    """A table between two nodes `step` apart and the corners of place; `at` is the first, rows are `row` long.

    One function, since Numba counts references to an array at each call that it is handed to.
    """
    g, to, on = 1.0 - f, at + row, at + step
    value = (g * flat[at] + f * flat[on]) * place[4] + (g * flat[at + 1] + f * flat[on + 1]) * place[5]
    on = to + step
    value += (g * flat[to] + f * flat[on]) * place[6] + (g * flat[to + 1] + f * flat[on + 1]) * place[7]
    if place[3] > 0.0:
        at += place[2] * row
        to, on = at + row, at + step
        other = (g * flat[at] + f * flat[on]) * place[4] + (g * flat[at + 1] + f * flat[on + 1]) * place[5]
        on = to + step
        other += (g * flat[to] + f * flat[on]) * place[6] + (g * flat[to + 1] + f * flat[on + 1]) * place[7]
        value += place[3] * (other - value)
    return float(value)


@kernel
def push_line(flat: Any, place: Any, v: float) -> tuple[float, float, float, float]:
    """The line of log(pi / limit) over v in the cell of v in [0, 1]: (low end, high end, value there, slope).

    Of equal place and cell it is equal, whatever v; the last cell has no high end.
    """
    k = min(int(V_CELLS * math.sqrt(v)), V_CELLS - 1)
    k += 1 if k < V_CELLS - 1 and v >= _spare(k + 1.0) else -1 if v < _spare(float(k)) else 0
    low, high = _spare(float(k)), _spare(k + 1.0)
    at = (place[0] * V_NODES + k) * CV_NODES + place[1]
    first = _read(flat, at, V_NODES * CV_NODES, CV_NODES, 0.0, place)
    second = _read(flat, at, V_NODES * CV_NODES, CV_NODES, 1.0, place)
    return low, high if k < V_CELLS - 1 else math.inf, first, (second - first) / (high - low)


@kernel
def _spare(k: float) -> float:
    """Node k of v."""
    return k * k / (V_CELLS * V_CELLS)


@kernel
def push(flat: Any, place: Any, v: float) -> float:
    """pi = c (1 - rho) E[W] from log_push at spare capacity v >= 0; held from v = 1 on."""
    v = min(v, 1.0)
    low, _high, value, slope = push_line(flat, place, v)
    return float(place[9] * math.exp(value + slope * (v - low)))


@kernel
def _wait(k: float) -> float:
    """Node k of w."""
    root = k / 40.0 if k <= W_KNEE else 0.5 + W_STEP * (k - W_KNEE)
    return root * root


@kernel
def wait_line(flat: Any, place: Any, w: float, it: int, ft: float) -> tuple[float, float, float, float]:
    """The line of log x over w at a threshold (its cell and fraction): (low end, high end, value there, slope).

    Of equal place, threshold and cell it is equal, whatever w; beyond the last cell the line is flat.
    """
    root = math.sqrt(w)
    k = int(40.0 * root) if root < 0.5 else W_KNEE + int((root - 0.5) / W_STEP)
    k = min(k, W_CELLS)
    k += 1 if k < W_CELLS and w >= _wait(k + 1.0) else -1 if w < _wait(float(k)) else 0
    low = _wait(float(k))
    at = ((place[0] * W_NODES + k) * THETA_NODES + it) * CV_NODES + place[1]
    first = _read(flat, at, _ROW, CV_NODES, ft, place)
    if k == W_CELLS:
        return low, math.inf, first, 0.0
    second = _read(flat, at + THETA_NODES * CV_NODES, _ROW, CV_NODES, ft, place)
    return low, _wait(k + 1.0), first, (second - first) / (_wait(k + 1.0) - low)


@kernel
def theta_cell(theta: float) -> tuple[int, float]:
    """Cell and fraction of the threshold; over the last node the fraction goes on past 1."""
    cell = min(int(3.0 * math.log2(1.0 + theta)), THETA_NODES - 2)
    left = math.exp(cell * (math.log(2.0) / 3.0))
    return cell, (1.0 + theta - left) / (left * (2.0 ** (1.0 / 3.0) - 1.0))


@kernel
def excess(flat: Any, place: Any, m: float, theta: float) -> float:
    """x from log_excess with m requests waiting on average, at this threshold; beyond the last by the last slope."""
    if theta <= 0.0:
        return 1.0
    if m <= NOBODY:
        return 0.0
    it, ft = theta_cell(theta)
    w = math.log(1.0 + place[8] / m)
    low, _high, value, slope = wait_line(flat, place, w, it, ft)
    return math.exp(min(value + slope * (w - low), 0.0))
