"""Make envs/data/queueing/tables.npz by discrete-event simulation.

    python -m tests.reference.make_queue_tables [--requests 100000] [--out FILE]

Each cell is one run of `queue_des.simulate` without time-outs. Its histogram of waits W is then
convolved with the exact lognormal service S (in FIFO queues a request's own service is independent
of its wait), so that the service's own tail carries no sampling error.
"""

from __future__ import annotations

import argparse
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.sim import queue_tables as q
from envs.sim.jit import kernel
from envs.sim.queueing import lognormal_tail
from tests.reference import queue_des as des

SLOTS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384], float)
THETAS = 2.0 ** (np.arange(q.THETA_NODES) / 3.0) - 1.0
CVS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
U = (np.arange(q.U_CELLS + 1) / q.U_CELLS) ** 2
LOG_FLOOR = -18.0
ORDER = (7, 0, 1, 2, 3, 4, 5, 6)  # pooled first: it stands in where one replica holds all slots
MOST_SLOTS = (1024, 1024, 1024, 1024, 1024, 2048, 2048, 256)  # by layer; beyond, the many-server limit
FIRST_U = 2  # node 1 is too close to full load to simulate: heavy traffic fills it
SHAPE = (8, len(SLOTS), q.CV_NODES, len(U))
F8 = NDArray[np.float64]


@kernel
def tail(x: Any, cv: float) -> Any:
    """P(S > x), elementwise over a matrix."""
    out = np.empty(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = lognormal_tail(x[i, j], cv)
    return out


def conditional_excess(waits: F8, cv: float) -> F8:
    """(25,) x at each theta from a histogram of waits (bins, 2: number, sum)."""
    used = waits[:, 0] > 0
    share = waits[used, 0] / waits[:, 0].sum()
    wait = waits[used, 1] / waits[used, 0]
    own = tail(THETAS[:, None], cv)[:, 0]
    late = tail(THETAS[:, None] - wait[None, :], cv) - own[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(own < 1.0, (late @ share) / (1.0 - own), 1.0)
    return np.clip(x, 0.0, 1.0)


def run_length(c: int, cv: float, rho: float, requests: int, most: int) -> int:
    """Requests of a run: sixty relaxation times (1 + cv^2) / (c (1 - rho)^2), within bounds."""
    relax = (1.0 + cv * cv) / (c * (1.0 - rho) ** 2)
    return int(min(most, max(requests, 60.0 * relax * rho * c))) + 30 * c


@cache
def waits_of(layer: int, c: int, cv: float, rho: float, requests: int) -> F8:
    """(bins, 2) histogram of waits of one run in the steady state."""
    size = run_length(c, cv, rho, requests, 10 * requests)
    ticks = 50
    tick = size / (rho * c) / ticks
    warm = int(np.ceil(max(0.15 * ticks, min(25.0, 0.4 * tick * ticks) / tick)))
    replicas, slots, balancing = 1, c, des.POOLED
    if layer != q.POOLED_LAYER:
        replicas, slots, balancing = c >> layer, 1 << layer, des.LEAST_REQUEST
    waits = np.zeros((des.N_BINS + 1, 2))
    seed = 1 + layer + 8 * (c + 20011 * int(cv * 4)) + int(1e6 * rho)
    des.simulate(
        balancing, replicas, slots, cv, np.full(ticks, rho * c), tick, 1e18, 1.0, seed,
        np.zeros((ticks, 6)), waits, warm,
    )  # fmt: skip
    return waits


def scaled(waits: F8, layer: int, ratio: float) -> F8:
    """The histogram at `ratio` times the slots and equal u, by the many-server limits.

    Pooled (Halfin and Whitt 1981): equal P(W > 0), W shrinks as 1 / sqrt(c). Least request
    (Eschenfeldt and Gamarnik 2018): P(W > 0) shrinks so, W given waiting stays.
    """
    out = waits.copy()
    if layer == q.POOLED_LAYER:
        out[:, 1] /= np.sqrt(ratio)
    else:
        moved = waits[1:, 0].sum() * (1.0 - 1.0 / np.sqrt(ratio))
        out[1:] /= np.sqrt(ratio)
        out[0, 0] += moved
    return out


def cell(layer: int, c: int, cv: float, u: float, requests: int) -> tuple[F8, float]:
    """(log x (25,), 1 / mean number waiting) of one cell."""
    rho = 1.0 - u / float(q.spare_scale(float(c)))
    if rho <= 1e-9:
        return np.full(len(THETAS), LOG_FLOOR), 1e12
    most = MOST_SLOTS[layer]
    ran = min(c, most)
    waits = waits_of(layer, ran, cv, 1.0 - u / float(q.spare_scale(float(ran))), requests)
    if c > most:
        waits = scaled(waits, layer, c / most)
    with np.errstate(divide="ignore"):
        log_x = np.maximum(np.log(conditional_excess(waits, cv)), LOG_FLOOR)
    mean = waits[:, 1].sum() / waits[:, 0].sum() * rho * c
    return log_x, 1.0 / max(mean, 1e-12)


def simulated(layer: int, c: int) -> bool:
    """Whether this node of the slot axis has a whole number of replicas, more than one."""
    return layer == q.POOLED_LAYER or (c > 1 << layer and c % (1 << layer) == 0)


def fill(table: F8, layer: int) -> None:
    """Nodes without a run: pooled when one replica holds all slots, else between the neighbours."""
    at = np.array([float(q.slot_coordinate(c)) for c in SLOTS])
    for i, c in enumerate(SLOTS):
        if c <= 1 << layer:
            table[layer, i] = table[q.POOLED_LAYER, i]
    known = [i for i, c in enumerate(SLOTS) if c <= 1 << layer or simulated(layer, int(c))]
    for i in range(len(SLOTS)):
        if i not in known:
            a = max(k for k in known if k < i)
            b = min(k for k in known if k > i)
            f = (at[i] - at[a]) / (at[b] - at[a])
            table[layer, i] = (1.0 - f) * table[layer, a] + f * table[layer, b]


def heavy_traffic(log_x: F8, inverse: F8) -> None:
    """Nodes 0 and 1: log x and 1 / waiting are linear in u close to full load."""
    log_x[:, :, :, 0] = 0.0
    inverse[:, :, :, 0] = 0.0
    ratio = U[1] / U[FIRST_U]
    log_x[:, :, :, 1] = log_x[:, :, :, FIRST_U] * ratio
    inverse[:, :, :, 1] = inverse[:, :, :, FIRST_U] * ratio


def monotone(log_x: F8, inverse: F8) -> None:
    """Less waiting with more spare capacity, more slots and a looser threshold; remove sampling noise."""
    for axis in (3, 1, 4):
        np.minimum.accumulate(log_x, axis=axis, out=log_x)
    np.maximum.accumulate(inverse, axis=3, out=inverse)


def make(requests: int, out: Path) -> None:
    """Fill the tables layer by layer; the file is written after each."""
    log_x, inverse = np.zeros((*SHAPE, len(THETAS))), np.zeros(SHAPE)
    began = time.monotonic()
    for layer in ORDER:
        for i, c in enumerate(SLOTS):
            if simulated(layer, int(c)):
                for v, cv in enumerate(CVS):
                    for k in range(FIRST_U, len(U)):
                        log_x[layer, i, v, k], inverse[layer, i, v, k] = cell(layer, int(c), cv, float(U[k]), requests)
        fill(log_x, layer)
        fill(inverse, layer)
        save(log_x.copy(), inverse.copy(), out)
        print(f"layer {layer}: {time.monotonic() - began:.0f} s", flush=True)


def save(log_x: F8, inverse: F8, out: Path) -> None:
    """Clean the tables and write them."""
    for layer in range(q.LAYERS):
        if not inverse[layer].any():
            log_x[layer], inverse[layer] = log_x[q.POOLED_LAYER], inverse[q.POOLED_LAYER]
    heavy_traffic(log_x, inverse)
    monotone(log_x, inverse)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, log_excess=log_x.astype(np.float16), inverse_wait=inverse.astype(np.float32), slots=SLOTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="least requests of a run")
    parser.add_argument("--out", type=Path, default=q.TABLE_FILE)
    args = parser.parse_args()
    make(args.requests, args.out)


if __name__ == "__main__":
    main()
