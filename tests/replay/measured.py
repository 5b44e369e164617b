"""Made-up measurements of a service whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.sim.queueing import erlang_c, load_tables
from envs.sim.replay import serve_series

SLOTS, SERVICE_S, CV, CPU_S = 6, 0.09, 0.6, 0.007
CAPACITY = SLOTS / SERVICE_S  # 66.7 requests/s
MINUTES = 3 * 1440


def measured(peak: float, *, seed: int = 1, latency: bool = True, replicas: int = 5) -> dict[str, np.ndarray]:
    """Three days of minutes whose load per replica peaks at `peak` of its capacity, with 3 % noise on it."""
    rng = np.random.default_rng(seed)
    t = np.arange(MINUTES)
    share = peak * (0.55 - 0.45 * np.cos(2 * np.pi * t / 1440)) * rng.lognormal(0, 0.03, MINUTES)
    offered = share * CAPACITY * replicas
    out = np.empty((MINUTES * 4, 4))
    service = (float(SLOTS), SERVICE_S, CV, 0.6, 10.0, 0.0)
    serve_series(load_tables(), np.repeat(offered * 15.0, 4), np.full(MINUTES * 4, float(replicas)), 15.0, service, out)
    bad, lost, served, _ = np.maximum(out.reshape(MINUTES, 4, 4).sum(axis=1) / 60.0, 0.0).T
    columns = {
        "time_s": 60.0 * t,
        "served_rps": served,
        "timeouts_rps": lost,
        "slow_rps": bad - lost,
        "replicas": np.full(MINUTES, float(replicas)),
        "cpu_cores": (CPU_S * served + 0.02 * replicas) * rng.lognormal(0, 0.05, MINUTES),
    }
    if latency:
        wait = [0.5 * (1 + CV**2) * erlang_c(SLOTS, min(s, 0.99) * SLOTS) / (SLOTS * (1 - min(s, 0.99))) for s in share]
        mean = SERVICE_S * (1.0 + np.array(wait)) + np.where(share > 1, 5.0, 0.0)
        columns["latency_mean_s"] = mean * rng.lognormal(0, 0.04, MINUTES)
    return columns


def write(path: Path, columns: dict[str, np.ndarray]) -> Path:
    rows = np.column_stack(list(columns.values()))
    path.write_text(",".join(columns) + "\n" + "\n".join(",".join(f"{v:.6g}" for v in row) for row in rows) + "\n")
    return path
