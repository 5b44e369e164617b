"""Make the table that replay starts from: mean log-regret of every set-point on the training fleet.

    python -m training.make_replay_prior --load DIR --out envs/data/replay/fleet_regret.json

For each metric and violation price: log of a set-point's loss over the best set-point's loss on the same workload,
averaged over the fleet (files of --load whose names begin with --sources).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from envs.cluster import Workload
from envs.replay_run import ReplayRun, Rows
from envs.setpoints import GRID, SHARES, WINDOWS_S, candidates
from envs.stack import HpaMetric, HpaSpec
from training.replay_fleet import DAY_S, PRICE, Fleet, fleet

PRICES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
METRICS = {
    "cpu": HpaMetric(),
    "requests_per_second": HpaMetric("External", "requests_per_second", "AverageValue", 1.0),
}


def today_of(metric: str, w: Workload) -> HpaSpec:
    """An HPA on this metric, for its candidates to be written from."""
    first = METRICS[metric]
    return HpaSpec(metrics=(first if metric == "cpu" else replace(first, target=0.7 * w.service.capacity_rps),))


def run_grid(fleet: Fleet, metric: str, *, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """(dollars / ideal, bad share), (W, C) each, of every set-point over the whole of the fleet's days."""
    first = fleet.demand.rates(0, 1)[0, 0]
    cases = []
    for w, workload in enumerate(fleet.workloads):
        specs = tuple(c.spec for c in candidates(workload, today_of(metric, workload)))
        cases.append(Rows(workload, specs, (1.0,) * len(specs), PRICE, float(first[w])))
    run = ReplayRun(cases, tick_s=fleet.demand.tick_s)
    usd, bad, offered = np.zeros((len(cases), len(GRID))), np.zeros((len(cases), len(GRID))), np.zeros(len(cases))
    ticks = round(DAY_S / fleet.demand.tick_s)
    for day in range(fleet.days):
        arrivals = fleet.demand.arrivals(day * ticks, ticks)[0]
        spent = run.advance(arrivals, threads=threads)
        usd, bad, offered = usd + spent.usd, bad + spent.bad, offered + arrivals.sum(axis=0)
    cpu_s = np.array([w.service.cpu_s_per_request for w in fleet.workloads])
    ideal = offered * cpu_s / 3600.0 * PRICE.usd_per_core_h
    return usd / ideal[:, None], bad / offered[:, None]


def mean_log_regret(cost: np.ndarray, bad: np.ndarray, price: float) -> np.ndarray:
    """(C,) mean over workloads of log(loss / best loss)."""
    loss = cost + price * bad
    return np.asarray(np.log(loss / loss.min(axis=1, keepdims=True)).mean(axis=0))


def table(fleet: Fleet, files: list[Path], *, threads: int) -> dict[str, Any]:
    """The document that ships."""
    out: dict[str, Any] = {
        "made_by": "python -m training.make_replay_prior",
        "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in files},
        "workloads": len(fleet.workloads),
        "days": fleet.days,
        "shares": SHARES,
        "windows_s": WINDOWS_S,
        "prices": PRICES,
        "log_regret": {},
    }
    for metric in METRICS:
        cost, bad = run_grid(fleet, metric, threads=threads)
        rows = [mean_log_regret(cost, bad, price).round(4).tolist() for price in PRICES]
        out["log_regret"][metric] = rows
        for price, row in zip(PRICES, rows, strict=True):
            best = int(np.argmin(row))
            print(f"{metric:20s} w {price:6g}: best {GRID[best]}, mean log-regret {row[best]:.3f}", flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.make_replay_prior", description=__doc__)
    parser.add_argument("--load", type=Path, required=True)
    parser.add_argument("--sources", default="aiops2018,nab")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--first-day", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    begins = tuple(options.sources.split(","))
    files = sorted(p for p in options.load.glob("*.csv.gz") if p.name.startswith(begins))
    made = fleet(files, first_day=options.first_day, days=options.days)
    print(f"{len(files)} files, {len(made.workloads)} workloads, {made.days} days", flush=True)
    text = json.dumps(table(made, files, threads=os.cpu_count() or 1), indent=1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
