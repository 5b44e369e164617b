"""A fleet of services on recorded load, for judging set-points: traces x service shapes, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.cluster import ServiceModel, Workload
from envs.demand import Demand
from envs.history_load import demand_of
from envs.replay_run import Price
from envs.scenario import NoiseModel
from envs.trace_file import read_trace

DAY_S = 86_400.0
PRICE = Price(usd_per_core_h=0.05, least_usd_per_h=0.0, boot_delay_s=90.0)
# (service, mean load in full replicas, start delay): from few slots to many, small to large
SHAPES = (
    (ServiceModel(6, 0.09, 0.6, 0.007, 0.6, 10.0, "random"), 8.0, 25.0),
    (ServiceModel(2, 0.26, 0.8, 0.2, 3.0, 10.0, "random"), 20.0, 60.0),
    (ServiceModel(16, 0.09, 1.0, 0.004, 1.5, 10.0, "least_request"), 3.0, 45.0),
)


@dataclass(frozen=True)
class Fleet:
    """Workloads with their load over the same number of days."""

    workloads: tuple[Workload, ...]
    traces: tuple[str, ...]  # per workload
    demand: Demand
    days: int


def fleet(files: list[Path], *, first_day: int, days: int, segments: int = 1, seed: int = 0) -> Fleet:
    """Every file x segment of `days` days from first_day on x SHAPES; files that are too short are left out."""
    curves, names, workloads, traces = [], [], [], []
    for path, segment, time, value in _segments(files, first_day, days, segments):
        for k, (service, size, start_s) in enumerate(SHAPES):
            name = f"{path.name.split('.')[0]}-{segment}-{k}"
            rps = value / value.mean() * size * service.capacity_rps
            curves.append((time, rps))
            names.append(name)
            traces.append(path.name.split(".")[0])
            full = service.capacity_rps * service.cpu_s_per_request
            workloads.append(
                Workload(
                    name,
                    service,
                    cpu_request=full,
                    min_replicas=1,
                    max_replicas=int(size * 40),
                    start_delay_s=start_s,
                )
            )
    demand = demand_of(curves, names, tick_s=15.0, noise=NoiseModel(), seed=seed)
    return Fleet(tuple(workloads), tuple(traces), demand, days)


def _segments(
    files: list[Path], first_day: int, days: int, segments: int
) -> Iterator[tuple[Path, int, np.ndarray, np.ndarray]]:
    for path in files:
        trace = read_trace(path, max_gap_s=1e9)
        value = next(iter(trace.columns.values()))
        for segment in range(segments):
            start = (first_day + segment * days) * DAY_S
            kept = (trace.time_s >= start) & (trace.time_s <= start + days * DAY_S + trace.step_s)
            long_enough = kept.any() and trace.time_s[kept][-1] - trace.time_s[kept][0] >= days * DAY_S
            if long_enough and value[kept].mean() > 0:
                yield path, segment, trace.time_s[kept], value[kept]
