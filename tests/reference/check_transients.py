"""How far single ticks are from the simulation through ramps, flash crowds, load near full and noisy load.

    python -m tests.reference.check_transients [--runs 1] [--worst 12]

15 s ticks, 0.1 s requests, 10 s time-out, thresholds 2 and 10 mean service times. Prints for each balancing and
pattern: ticks over 0.1 bad in either, how many of them differ by over 5 points, how many by over 5 points and two
standard errors of the simulation, the most; then the worst of the latter kind. --runs 3 simulates three times as
often as --runs 1: what is left off by chance becomes less.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

import numpy as np

from envs.sim.queueing import load_tables
from envs.sim.service import service_tick
from tests.reference import queue_des as des

SHAPES = ((0, 20, 1), (0, 20, 4), (0, 10, 16), (1, 20, 1), (1, 20, 4), (1, 8, 8), (2, 20, 4), (2, 50, 1))
CVS, THRESHOLDS = (0.5, 1.0, 2.0), (2.0, 10.0)
PATTERNS: dict[str, list[float]] = {
    "ramp": [0.5] * 4 + list(np.linspace(0.5, 1.3, 12)) + [1.3] * 6 + list(np.linspace(1.3, 0.5, 12)) + [0.5] * 10,
    "flash": [0.5] * 4 + [1.5] * 6 + [0.5] * 10 + [0.8] * 4,
    "near full": [0.6] * 2 + [0.97] * 40 + [0.6] * 6,
    "noisy": list(np.clip(np.random.default_rng(3).normal(0.8, 0.15, 40), 0.3, 1.25)),
}
TABLES = load_tables()


def simulated(balancing: int, n: int, slots: int, cv: float, theta: float, pattern: list[float], runs: int) -> Any:
    """(K, 3) bad share, its standard error, requests that left, by tick; over 3 to 12 seeds, `runs` fold."""
    ticks = np.zeros((runs * max(3, min(12, 960 // (n * slots))), len(pattern), 6))
    for seed, one in enumerate(ticks):
        des.simulate(
            balancing, n, slots, cv, np.array(pattern) * n * slots, 150.0, 100.0, theta, seed, one,
            np.zeros((des.N_BINS + 1, 2)), 10**9,
        )  # fmt: skip
    bad, left = ticks[:, :, 1], ticks[:, :, 0] + ticks[:, :, 1]
    total = np.maximum(left.sum(axis=0), 1.0)
    share, seeds = bad.sum(axis=0) / total, len(ticks)
    error = np.sqrt(seeds / (seeds - 1) * ((bad - share * left) ** 2).sum(axis=0)) / total
    return np.stack([share, error, total], axis=1)


def modelled(balancing: int, n: int, slots: int, cv: float, theta: float, pattern: list[float]) -> Any:
    """(K,) bad share by tick."""
    out, backlog = [], 0.0
    for rho in pattern:
        result = service_tick(
            TABLES, rho * n * slots * 150.0, 15.0, float(n), float(slots), 0.1, cv, theta * 0.1, 10.0, balancing, 1.0,
            backlog,
        )  # fmt: skip
        backlog = result[4]
        out.append(result[1] / (result[0] + result[1]))
    return np.array(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1, help="how many times 3 to 12 seeds")
    parser.add_argument("--worst", type=int, default=12)
    worst = []
    args = parser.parse_args()
    for balancing, (name, pattern) in product(range(3), PATTERNS.items()):
        off, sure, runs = [], 0, []
        for (mode, n, slots), cv, theta in product(SHAPES, CVS, THRESHOLDS):
            if mode != balancing:
                continue
            true, spread, left = simulated(mode, n, slots, cv, theta, pattern, args.runs).T
            found = modelled(mode, n, slots, cv, theta, pattern)
            error = np.abs(found - true)
            loud = (true > 0.1) | (found > 0.1)
            missed = np.flatnonzero(loud & (error > 0.05 + 2.0 * spread))
            off += list(error[loud])
            sure += len(missed)
            runs.append(abs(np.average(found - true, weights=left)))
            worst += [(error[k], mode, n, slots, cv, theta, name, k, true[k], spread[k], found[k]) for k in missed]
        over = sum(e > 0.05 for e in off)
        print(f"balancing {balancing}, {name}: {len(off)} ticks, {over} off by over 5 points, {sure} beyond two "
              f"standard errors, most {max(off):.2f}, whole runs within {max(runs):.3f}", flush=True)  # fmt: skip
    for e, mode, n, slots, cv, theta, name, k, share, spread, found in sorted(worst, reverse=True)[: args.worst]:
        print(f"{e:.2f}: balancing {mode}, {n} x {slots} slots, CV {cv}, threshold {theta}, {name} tick {k}: "
              f"simulated {share:.3f} +- {spread:.3f}, modelled {found:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
