"""Make tests/reference/queue_check.csv: bad shares by discrete-event simulation, with their standard errors.

    python -m tests.reference.make_queue_check [--effort 1] [--out FILE]

For each load, slots per replica, balancing and service CV (between the nodes of the tables) one run per
replica count, in steps of 2 %, from just over the load up to where waiting no longer matters or to a
utilisation of 0.3. Seeds differ from the tables'. A row is one count: the bad share at each threshold, and
the standard error of each over SEEDS runs.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.reference import queue_des as des
from tests.reference import queue_runs
from tests.reference.make_queue_tables import tail

CSV_FILE = Path(__file__).resolve().parent / "queue_check.csv"
THRESHOLDS = (1.2, 2.0, 4.0, 10.0)  # mean service times
TARGETS = (0.99, 0.999, 0.9999)
SEEDS = 4
CASES = (  # balancing, slots per replica, offered (arrival rate x mean service time), CVs
    *((des.RANDOM, s, 150.0 * s, (0.6, 0.9, 1.3, 1.8, 2.7)) for s in (1, 3, 10, 40)),
    *((des.POOLED, 1, a, (0.6, 1.3, 2.7)) for a in (3.0, 20.0, 150.0, 1200.0, 6000.0)),
    *((des.LEAST_REQUEST, s, a, (0.6, 1.3, 2.7)) for s in (1, 5, 24) for a in (3.0, 20.0, 150.0, 1200.0) if a > s),
)
F8 = NDArray[np.float64]


def bad_of(waits: F8, cv: float) -> F8:
    """Bad share at each threshold, from a histogram of waits and the exact service."""
    used = waits[:, 0] > 0
    share, wait = waits[used, 0] / waits[:, 0].sum(), waits[used, 1] / waits[used, 0]
    return np.asarray(tail(np.array(THRESHOLDS)[:, None] - wait[None, :], cv) @ share)


def counts(offered: float, slots: int) -> list[int]:
    """Replica counts from just over the load to a utilisation of 0.3, 2 % apart."""
    least, out = offered / slots * 1.006, [int(offered / slots) + 1]
    while out[-1] < offered / slots / 0.3:
        out.append(max(out[-1] + 1, int(out[-1] * 1.02)))
    return [n for n in out if n >= least]


def requests(balancing: int, slots: float, rho: float, cv: float, effort: float) -> int:
    """Requests of one seed's run: at least 30 relaxation times, within bounds (least request takes longer each)."""
    relax = rho * (1.0 + cv * cv) / (2.0 * (1.0 - rho) ** 2)
    fewest, most = (150_000, 500_000) if balancing == des.LEAST_REQUEST else (250_000, 1_500_000)
    return int(effort * min(most, max(fewest, 50.0 * slots, 30.0 * relax)))


def random_runs(slots: int, cv: float, rhos: F8, effort: float) -> list[tuple[F8, F8]]:
    """(bad, standard error) at each rho; a random split of Poisson arrivals is Poisson, so one replica is run."""
    each = []
    for seed in range(SEEDS):
        waits = np.zeros((1, len(rhos), queue_runs.N_BINS, 2))
        size = int(750_000 * effort)
        queue_runs.one_queue(slots, np.array([cv]), rhos, size, size // 20, 90_000 + seed, waits)
        each.append([bad_of(w, cv) for w in waits[0]])
    found = np.array(each)
    return list(zip(found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(SEEDS), strict=True))


def one_run(balancing: int, slots: int, n: int, cv: float, rho: float, effort: float) -> tuple[F8, F8]:
    """(bad, standard error) with n replicas."""
    each, c = [], slots * n
    for seed in range(SEEDS):
        waits = np.zeros((queue_runs.N_BINS, 2))
        size = requests(balancing, c, rho, cv, effort)
        warm = size // 10 + 15 * c
        if balancing == des.POOLED or n == 1:
            cells = np.zeros((1, 1, queue_runs.N_BINS, 2))
            queue_runs.one_queue(c, np.array([cv]), np.array([rho]), size + warm, warm, 91_000 + seed, cells)
            waits = cells[0, 0]
        else:
            queue_runs.least_request(n, slots, cv, rho, size + warm, warm, 92_000 + seed, waits)
        each.append(bad_of(waits, cv))
    found = np.array(each)
    return found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(SEEDS)


def curve(balancing: int, slots: int, offered: float, cv: float, effort: float) -> Iterator[tuple[int, F8, F8]]:
    """(replicas, bad, standard error), replicas ascending, until waiting adds under 1e-5 at every threshold."""
    ladder = counts(offered, slots)
    rhos = offered / (slots * np.array(ladder, float))
    done = random_runs(slots, cv, rhos, effort) if balancing == des.RANDOM else []
    own = tail(np.array(THRESHOLDS)[:, None], cv)[:, 0]
    for i, n in enumerate(ladder):
        bad, error = done[i] if done else one_run(balancing, slots, n, cv, rhos[i], effort)
        yield n, bad, error
        if (bad - own < 1e-5).all():
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effort", type=float, default=1.0, help="length of the runs; 1 is what ships")
    parser.add_argument("--out", type=Path, default=CSV_FILE)
    args = parser.parse_args()
    with args.out.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        names = [f"{kind}_{t}" for kind in ("bad", "error") for t in THRESHOLDS]
        rows.writerow(["balancing", "slots", "cv", "offered", "replicas", *names])
        for balancing, slots, offered, cvs in CASES:
            for cv in cvs:
                for n, bad, error in curve(balancing, slots, offered, cv, args.effort):
                    rows.writerow([balancing, slots, cv, offered, n, *(f"{v:.4g}" for v in (*bad, *error))])
            file.flush()
            print(balancing, slots, offered, flush=True)


if __name__ == "__main__":
    main()
