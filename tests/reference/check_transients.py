"""How far single ticks are from the simulation through ramps, flash crowds, load near full and noisy load.

    python -m tests.reference.check_transients [--worst 12]

15 s ticks, 0.1 s requests, 10 s time-out, thresholds 2 and 10 mean service times. Prints for each balancing and
pattern: ticks over 0.1 bad in either, how many of them differ by over 5 points, the most; then the worst ticks.
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


def simulated(balancing: int, n: int, slots: int, cv: float, theta: float, pattern: list[float]) -> Any:
    """(K, 2) bad share and requests that left, by tick, over 3 to 12 seeds."""
    total = np.zeros((len(pattern), 6))
    for seed in range(max(3, min(12, 960 // (n * slots)))):
        des.simulate(
            balancing, n, slots, cv, np.array(pattern) * n * slots, 150.0, 100.0, theta, seed, total,
            np.zeros((des.N_BINS + 1, 2)), 10**9,
        )  # fmt: skip
    left = total[:, 0] + total[:, 1]
    return np.stack([total[:, 1] / np.maximum(left, 1.0), left], axis=1)


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
    parser.add_argument("--worst", type=int, default=12)
    worst = []
    args = parser.parse_args()
    for balancing, (name, pattern) in product(range(3), PATTERNS.items()):
        ticks, off, runs = 0, [], []
        for (mode, n, slots), cv, theta in product(SHAPES, CVS, THRESHOLDS):
            if mode != balancing:
                continue
            true = simulated(mode, n, slots, cv, theta, pattern)
            found = modelled(mode, n, slots, cv, theta, pattern)
            loud = (true[:, 0] > 0.1) | (found > 0.1)
            error = np.abs(found - true[:, 0])
            ticks += int(loud.sum())
            off += list(error[loud])
            runs.append(abs(np.average(found - true[:, 0], weights=true[:, 1])))
            worst += [
                (error[k], mode, n, slots, cv, theta, name, k, true[k, 0], found[k]) for k in np.flatnonzero(loud)
            ]
        over = sum(e > 0.05 for e in off)
        print(f"balancing {balancing}, {name}: {ticks} ticks, {over} off by over 5 points, most {max(off):.2f}, "
              f"whole runs within {max(runs):.3f}", flush=True)  # fmt: skip
    for e, mode, n, slots, cv, theta, name, k, true, found in sorted(worst, reverse=True)[: args.worst]:
        print(f"{e:.2f}: balancing {mode}, {n} x {slots} slots, CV {cv}, threshold {theta}, {name} tick {k}: "
              f"simulated {true:.3f}, modelled {found:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
