"""Make envs/data/queueing/tables.npz by discrete-event simulation.

    python -m tests.reference.make_queue_tables [--effort 1] [--runs DIR] [--out FILE] [--check]

Each cell is a run of `queue_runs` without time-outs. Its histogram of waits W is convolved with the
exact lognormal service S (in FIFO queues a request's own service is independent of its wait), so that
the service's own tail carries no sampling error. Runs are made on a coarse grid of CV and spare capacity
and put on the table's finer grid by monotone cubics (Fritsch and Butland 1984), since log x is smooth in
both. --runs keeps the histograms, and a second call takes up what is there. What ships is effort 1 with the
lengths and seeds below; --check says whether that gives the very bytes of the shipped tables, and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.sim import queue_tables as q
from envs.sim.jit import allocating_kernel as kernel
from envs.sim.queueing import LEAST_REQUEST, POOLED, lognormal_tail
from tests.reference import queue_runs

RUN_CVS = np.array([0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
RUN_U = (np.array([0, 2, *range(4, 11), *range(12, 26, 2)]) / 24) ** 2  # run from the third on
MOST_PUSH = 0.06  # log pi over its limit: hundreds of one-slot replicas near full load have more, up to 0.36
EXPONENTIAL = -1.0  # stands for a CV of 1 that is not lognormal; its square is right
NEARER = np.array([0.0, 0.06, 0.12, 0.2, 0.3, 0.42, 0.56, 0.7, 0.85])  # shares of the first run's spare capacity
LOG_FLOOR, LEAST_RHO = -26.0, 0.03  # a rho of 0 has no waits: log x falls like log rho there
RUN_LAYERS = (1, 2, 4, 8, 16, 32, 64)
ONE_MOST, LAYER_MOST = 256, (1024, 1024, 1024, 1024, 1024, 2048, 2048)  # slots of the largest run by layer
ONE_REQUESTS = 8_000_000
RELAXATIONS, FEWEST, MOST = 150, 300_000, 1_500_000
HALF_FROM = 16  # slots a replica
F8 = NDArray[np.float64]


@kernel
def tail(x: Any, cv: float) -> Any:
    """P(S > x), elementwise over a matrix; cv EXPONENTIAL is exponential service."""
    out = np.empty(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = lognormal_tail(x[i, j], cv) if cv >= 0.0 else np.exp(-max(x[i, j], 0.0))
    return out


def conditional_excess(waits: F8, cv: float, thetas: F8) -> F8:
    """x at each theta from a histogram of waits (bins, 2: number, sum)."""
    used = waits[:, 0] > 0
    share = waits[used, 0] / waits[:, 0].sum()
    wait = waits[used, 1] / waits[used, 0]
    own = tail(thetas[:, None], cv)[:, 0]
    late = tail(thetas[:, None] - wait[None, :], cv) - own[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(own < 1.0, (late @ share) / (1.0 - own), 1.0 - waits[0, 0] / waits[:, 0].sum())
    return np.clip(x, 0.0, 1.0)


def utilisation(c: float, u: F8) -> F8:
    return np.maximum(1.0 - u / float(q.wait_scale(c)), LEAST_RHO)


def relaxation(c: float, cv: float, u: float) -> float:
    """Requests in one relaxation time of the queue, (1 + cv^2) / (2 c (1 - rho)^2) service times."""
    rho = float(utilisation(c, np.array(u)))
    return rho * (1.0 + cv * cv) / (2.0 * (1.0 - rho) ** 2)


def first_run(c: float, requests: int) -> int:
    """The busiest of RUN_U, from the third on, at which `requests` hold 100 relaxation times at CV 3."""
    return next(k for k in range(2, len(RUN_U)) if 100 * relaxation(c, 3.0, RUN_U[k]) <= requests)


def one_queue_waits(c: int, effort: float) -> F8:
    """(V, U, bins, 2) histograms of M/G/c; no run where it would hold under 100 relaxation times."""
    requests = int(effort * ONE_REQUESTS)
    waits = np.zeros((len(RUN_CVS), len(RUN_U), queue_runs.N_BINS, 2))
    rhos = utilisation(c, RUN_U)
    rhos[: first_run(c, requests)] = 0.0
    queue_runs.one_queue(c, RUN_CVS, rhos, requests, requests // 20 + 20 * c, 17 * c, waits)
    return waits


def least_request_waits(slots: int, replicas: int, effort: float) -> F8:
    """(V, U, bins, 2) histograms; no run where it would hold under 30 relaxation times."""
    waits = np.zeros((len(RUN_CVS), len(RUN_U), queue_runs.N_BINS, 2))
    c = slots * replicas
    rhos = utilisation(c, RUN_U)
    for v, cv in enumerate(RUN_CVS):
        for k in range(2, len(RUN_U)):
            relax = relaxation(c, cv, RUN_U[k])
            size = int(effort * min(MOST, max(FEWEST, 200 * c, RELAXATIONS * relax)))
            size //= 2 if slots >= HALF_FROM else 1  # waits are short there, and fewer of them matter
            if 30.0 * relax <= size:
                warm = size // 10 + 20 * c
                queue_runs.least_request(
                    replicas, slots, cv, rhos[k], size + warm, warm, 13 * slots + replicas, waits[v, k]
                )
                if waits[v, k, :, 0].sum() != size:
                    raise RuntimeError(f"{replicas} x {slots} at CV {cv}, load {rhos[k]}: the run ended early")
    return waits


def scaled(waits: F8, pooled: bool, ratio: float) -> F8:
    """The histograms at `ratio` times the slots and equal u, by the many-server limits.

    Pooled (Halfin and Whitt 1981): equal P(W > 0), W shrinks as 1 / sqrt(c). Least request over more
    replicas (Eschenfeldt and Gamarnik 2018): P(W > 0) shrinks so, W given waiting stays.
    """
    out = waits.copy()
    if pooled:
        out[..., 1] /= np.sqrt(ratio)
    else:
        out[..., 0, 0] += out[..., 1:, 0].sum(axis=-1) * (1.0 - 1.0 / np.sqrt(ratio))
        out[..., 1:, :] /= np.sqrt(ratio)
    return out


def monotone_cubic(x: F8, y: F8, at: F8) -> F8:
    """y (n, ...) over x put on `at` along axis 0, monotone where y is (Fritsch and Butland 1984)."""
    over, at = (slice(None), *[None] * (y.ndim - 1)), np.clip(at, x[0], x[-1])
    h = np.diff(x)[over]
    slope = np.diff(y, axis=0) / h
    d = np.concatenate([slope[:1], np.zeros_like(slope[1:]), slope[-1:]])
    w1, w2 = 2.0 * h[1:] + h[:-1], h[1:] + 2.0 * h[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (w1 + w2) / (w1 / slope[:-1] + w2 / slope[1:])
    d[1:-1] = np.where(slope[:-1] * slope[1:] > 0.0, mean, 0.0)
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    t = ((at - x[i]) / np.diff(x)[i])[over]
    smooth = t * t * (3.0 - 2.0 * t)
    bend = t * (1.0 - t) * h[i] * ((1.0 - t) * d[i] - t * d[i + 1])
    return y[i] + smooth * (y[i + 1] - y[i]) + bend


def row_of(waits: F8, c: float, balancing: int, cvs: F8 = RUN_CVS) -> tuple[F8, F8]:
    """One row of the tables from its histograms: log x (W, THETA, CV) and log pi (V, CV)."""
    rhos, thetas, w = utilisation(c, RUN_U), q.theta_nodes(), q.wait_nodes()
    log_x = np.zeros((len(cvs), q.W_NODES, len(thetas)))
    log_pi = np.zeros((len(cvs), q.V_NODES))
    for v, cv in enumerate(cvs):
        limit = 0.5 + 0.5 * cv * cv
        ran = np.flatnonzero(waits[v, :, :, 0].sum(axis=1))
        mean = waits[v, ran, :, 1].sum(axis=1) / waits[v, ran, :, 0].sum(axis=1)
        pi = c * (1.0 - rhos[ran]) * np.maximum(mean, 1e-14) / limit
        spare = (1.0 - rhos[ran]) * float(q.push_scale(balancing, c))
        rates = smooth_start(np.sqrt(RUN_U[ran]), spare, np.log(pi))
        rates = np.minimum(rates, MOST_PUSH)
        closer = NEARER * rates[0] if rates[0] < 0.0 else np.full(len(NEARER), rates[0])  # at full load at its limit
        at, known = np.concatenate([NEARER * spare[0], spare]), np.concatenate([closer, rates])
        log_pi[v] = monotone_cubic(np.sqrt(at), known, np.sqrt(q.spare_nodes()))
        x = np.array([log_excess(waits[v, k], cv, thetas) for k in ran])
        busier, extra = near_full_load(waits[v, ran[0]], x[0], c, cv, 1.0 - rhos[ran[0]], rates[0])
        number = np.concatenate([busier, rhos[ran] * c * mean])
        points = np.log1p(float(q.wait_scale(c)) * limit / np.maximum(number, 1e-12))
        log_x[v] = over_waiting(points, np.concatenate([extra, x]), w)
    return over_cvs(log_x).transpose(1, 2, 0), over_cvs(log_pi).T


def log_excess(waits: F8, cv: float, thetas: F8) -> F8:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(conditional_excess(waits, cv, thetas)), LOG_FLOOR)


def near_full_load(waits: F8, log_x: F8, c: float, cv: float, spare: float, log_pi: float) -> tuple[F8, F8]:
    """(mean number waiting, log x) closer to full load than the first run, whose spare capacity is `spare`.

    There a wait is exponential but for those that do not wait (Kingman 1961). What that gives at the first
    run itself against what was run corrects the rest, in proportion to the spare capacity.
    """
    limit, busy = 0.5 + 0.5 * cv * cv, 1.0 - waits[0, 0] / waits[:, 0].sum()
    edges = np.concatenate([[0.0], np.geomspace(1e-4, 18.0, 360)])  # of an exponential of mean 1
    falls, means = np.exp(-edges), (1.0 + edges) * np.exp(-edges)

    def exponential(part: float) -> tuple[float, F8]:
        rho, some = 1.0 - spare * part, busy**part
        mean = limit * np.exp(log_pi * part) / (c * (1.0 - rho))
        out = np.zeros((len(falls), 2))
        out[0, 0] = 1.0 - some
        out[1:, 0] = some * (falls[:-1] - falls[1:])
        out[1:, 1] = mean * (means[:-1] - means[1:])
        return rho * c * mean, log_excess(out, cv, q.theta_nodes())

    parts = NEARER[1:]
    off = log_x - exponential(1.0)[1]
    rows = [exponential(p) for p in parts]
    corrected = [np.minimum(r[1] + p * off, 0.0) for p, r in zip(parts, rows, strict=True)]
    return np.array([r[0] for r in rows]), np.array(corrected)


def smooth_start(root: F8, spare: F8, log_pi: F8) -> F8:
    """log pi with its first points, which few long excursions make, from a cubic through 0 at full load.

    root (N,): square roots of the runs' u. The points up to 1 / 6 beyond the first come from the cubic, which
    fits those up to 5 / 12 beyond it; a point's error goes with 1 / spare.
    """
    fitted, smooth = root <= root[0] + 5 / 12 + 1e-9, root <= root[0] + 1 / 6 + 1e-9
    basis = np.stack([spare, spare**2, spare**3], axis=1)
    weighted = basis[fitted] * spare[fitted, None]
    fit = np.linalg.lstsq(weighted, log_pi[fitted] * spare[fitted], rcond=None)[0]
    return np.where(smooth, basis @ fit, log_pi)


def over_waiting(points: F8, log_x: F8, w: F8) -> F8:
    """From the runs' w to the table's: x = 1 at w = 0; past the last run x falls like the number waiting."""
    rising = np.concatenate([[True], points[1:] > np.maximum.accumulate(points)[:-1] * 1.02])
    keep = rising & (points < w[-1])
    points, log_x = points[keep], log_x[keep]
    ends = [points[-1] + 1.0, points[-1] + w[-1]]
    light = [np.maximum(log_x[-1] - 1.0, LOG_FLOOR), np.maximum(log_x[-1] - w[-1], LOG_FLOOR)]
    return monotone_cubic(
        np.concatenate([[0.0], points, ends]), np.concatenate([np.zeros_like(log_x[:1]), log_x, np.array(light)]), w
    )


def over_cvs(table: F8) -> F8:
    """From RUN_CVS to the table's nodes of CV along axis 0; heavy traffic's log x is linear in 1 / (1 + cv^2)."""
    to, known = -1.0 / (1.0 + q.cv_nodes()[1:] ** 2), -1.0 / (1.0 + RUN_CVS[1:] ** 2)
    return np.concatenate([table[:1], monotone_cubic(known, table[1:], to)])


def monotone(table: F8, axis: int) -> F8:
    """Falling along an axis: the middle of the two envelopes, so that noise is not taken for a trend."""
    low = np.minimum.accumulate(table, axis=axis)
    high = np.flip(np.maximum.accumulate(np.flip(table, axis), axis=axis), axis)
    return 0.5 * (low + high)


def rows_of_one_queue(runs: dict[tuple[int, int], F8]) -> tuple[F8, F8]:
    """The rows of one queue for all slots, over q.ONE_SLOTS."""
    rows = []
    for c in q.ONE_SLOTS.astype(int):
        waits = runs[1, min(c, ONE_MOST)]
        rows.append(row_of(scaled(waits, True, c / ONE_MOST) if c > ONE_MOST else waits, c, POOLED))
    return np.array([r[0] for r in rows]), np.array([r[1] for r in rows])


def rows_of_layer(runs: dict[tuple[int, int], F8], slots: int) -> tuple[F8, F8]:
    """The rows of least request with `slots` a replica, over q.REPLICAS; one replica is one queue."""
    rows = [row_of(scaled(runs[1, min(slots, ONE_MOST)], True, max(slots / ONE_MOST, 1.0)), slots, LEAST_REQUEST)]
    ran = min(slots, RUN_LAYERS[-1])
    most = LAYER_MOST[RUN_LAYERS.index(ran)] // ran
    for n in q.REPLICAS[1:].astype(int):
        waits = scaled(runs[min(n, most), ran], False, max(n / most, 1.0))
        rows.append(row_of(scaled(waits, True, slots / ran), n * slots, LEAST_REQUEST))
    return np.array([r[0] for r in rows]), np.array([r[1] for r in rows])


def build(runs: dict[tuple[int, int], F8], out: Path) -> None:
    """Put the runs on the tables' grid, monotone in every axis but CV."""
    one = monotone_rows(rows_of_one_queue(runs))
    layers = [rows_of_layer(runs, int(s)) for s in q.LAYER_SLOTS]
    many = np.array([r[0] for r in layers]), np.array([r[1] for r in layers])
    for axis in (2, 1, 0):  # w or v, replicas, slots
        many = monotone(many[0], axis), monotone(many[1], axis)
    log_x = np.concatenate([one[0], many[0].reshape(-1, *many[0].shape[2:])])
    log_pi = np.concatenate([one[1], many[1].reshape(-1, *many[1].shape[2:])])
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, log_excess=rounded(log_x), log_push=log_pi.astype(np.float32))


def monotone_rows(rows: tuple[F8, F8]) -> tuple[F8, F8]:
    """Both tables of rows over rising slots, monotone in w or v and in slots."""
    return monotone(monotone(rows[0], 1), 0), monotone(monotone(rows[1], 1), 0)


def rounded(log_x: F8) -> NDArray[np.float16]:
    """As it is stored: monotone in the threshold, in steps of 1 / 512 over -2 and 1 / 128 (0.4 %) below.

    That halves the file.
    """
    steps = np.where(log_x > -2.0, 512.0, 128.0)
    return monotone(np.round(monotone(log_x, 2) * steps) / steps, 2).astype(np.float16)


def wanted() -> list[tuple[int, int]]:
    """(replicas, slots) of every row that is run."""
    ones = [(1, int(c)) for c in q.ONE_SLOTS if c <= ONE_MOST]
    many = [
        (int(n), s) for s, most in zip(RUN_LAYERS, LAYER_MOST, strict=True) for n in q.REPLICAS if 1 < n <= most // s
    ]
    return ones + many


def run_all(effort: float, folder: Path | None) -> dict[tuple[int, int], F8]:
    """Histograms by (replicas, slots); what `folder` holds already is not run again."""
    runs, began = {}, time.process_time()
    for n, s in wanted():
        file = folder / f"{n}x{s}.npz" if folder else None
        if file and file.exists():
            runs[n, s] = np.load(file)["waits"]
            continue
        runs[n, s] = one_queue_waits(s, effort) if n == 1 else least_request_waits(s, n, effort)
        if file:
            np.savez_compressed(file, waits=runs[n, s])
        print(f"{n} replicas x {s} slots: {time.process_time() - began:.0f} s", flush=True)
    return runs


def same_tables(a: Path, b: Path) -> bool:
    with np.load(a) as one, np.load(b) as other:
        return all(np.array_equal(one[key], other[key]) for key in ("log_excess", "log_push"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effort", type=float, default=1.0, help="length of the runs; 1 is what ships")
    parser.add_argument("--runs", type=Path, help="folder that keeps the histograms")
    parser.add_argument("--out", type=Path, default=q.TABLE_FILE)
    parser.add_argument("--check", action="store_true", help="compare with the tables that ship")
    args = parser.parse_args()
    if args.runs:
        args.runs.mkdir(parents=True, exist_ok=True)
    if not args.check:
        build(run_all(args.effort, args.runs), args.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "tables.npz"
        build(run_all(args.effort, args.runs), found)
        same = same_tables(found, q.TABLE_FILE)
    print("the shipped tables, every cell" if same else "not the shipped tables")
    sys.exit(not same)


if __name__ == "__main__":
    main()
