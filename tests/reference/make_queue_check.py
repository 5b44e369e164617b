"""Make tests/reference/queue_check.csv: replica counts and bad shares by discrete-event simulation.

    python -m tests.reference.make_queue_check [--requests 400000] [--out FILE]

For each load, slots per replica, balancing and service CV (between the nodes of the table) one run
per replica count, and bisection over the counts until each target's least count is bracketed to 1 %.
A row is one run: the bad share at each threshold.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.sim import queueing as q
from tests.reference import queue_des as des
from tests.reference.make_queue_tables import tail

CSV_FILE = Path(__file__).resolve().parent / "queue_check.csv"
OFFERED = (0.5, 3.0, 20.0, 150.0, 1200.0, 6000.0)  # arrival rate x mean service time
SHAPES = ((0, 1), (0, 8), (0, 40), (1, 1), (1, 5), (1, 24), (2, 1), (2, 10))  # balancing, slots per replica
CVS = (0.7, 1.3, 2.5)
THRESHOLDS = (1.2, 2.0, 4.0, 10.0)  # mean service times
TARGETS = (0.99, 0.999, 0.9999)
F8 = NDArray[np.float64]


def run(balancing: int, slots: int, replicas: int, cv: float, offered: float, requests: int) -> F8:
    """(4,) bad share at each threshold, steady state; a random split of Poisson arrivals is Poisson."""
    if balancing == des.RANDOM:
        offered, replicas = offered / replicas, 1
    rho = offered / (slots * replicas)
    relax = (1.0 + cv * cv) / (slots * replicas * (1.0 - rho) ** 2)  # relaxation time
    least = requests * (8 if slots * replicas <= 64 else 1)  # rare long excursions of small queues
    size = int(min(max(least, 300.0 * relax * offered), 30 * requests)) + 40 * slots * replicas
    tick = size / offered / 50
    warm = int(np.ceil(max(8.0, min(25.0, 20 * tick) / tick)))
    waits = np.zeros((des.N_BINS + 1, 2))
    seed = 7 + replicas * 31 + slots * 7 + int(cv * 10)
    des.simulate(
        balancing, replicas, slots, cv, np.full(50, offered), tick, 1e18, 1.0, seed,
        np.zeros((50, 6)), waits, warm,
    )  # fmt: skip
    used = waits[:, 0] > 0
    share, wait = waits[used, 0] / waits[:, 0].sum(), waits[used, 1] / waits[used, 0]
    return tail(np.array(THRESHOLDS)[:, None] - wait[None, :], cv) @ share


def curve(balancing: int, slots: int, cv: float, offered: float, requests: int) -> dict[int, F8]:
    """Runs by replica count, dense enough to bracket every target at every threshold."""
    low, high = int(offered / slots) + 1, int(np.ceil(offered / slots / 0.3)) + 1
    runs: dict[int, F8] = {}

    def at(n: int) -> F8:
        if n not in runs:
            runs[n] = run(balancing, slots, n, cv, offered, requests)
        return runs[n]

    if offered / slots / low > 0.985 and low < high:
        low += 1
    at(high)
    for j, theta in enumerate(THRESHOLDS):
        for target in TARGETS:
            if float(q.lognormal_tail(theta, cv)) > 1.0 - target or at(high)[j] > 1.0 - target:
                continue
            a, b = low - 1, high
            while b - a > max(1, int(0.01 * b)):
                mid = (a + b) // 2
                a, b = (a, mid) if at(mid)[j] <= 1.0 - target else (mid, b)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400_000)
    parser.add_argument("--out", type=Path, default=CSV_FILE)
    args = parser.parse_args()
    with args.out.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["balancing", "slots", "cv", "offered", "replicas", *(f"bad_{t}" for t in THRESHOLDS)])
        for balancing, slots in SHAPES:
            for cv in CVS:
                for offered in OFFERED:
                    if offered / slots > 10_000:
                        continue
                    runs = curve(balancing, slots, cv, offered, args.requests)
                    for n in sorted(runs):
                        rows.writerow([balancing, slots, cv, offered, n, *(f"{v:.4g}" for v in runs[n])])
            file.flush()
            print(balancing, slots, flush=True)


if __name__ == "__main__":
    main()
