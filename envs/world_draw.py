"""Random clusters on recorded and made-up load: the worlds that a policy is trained on.

Everything a service can differ in is drawn per workload (domain randomisation): service time and its spread, slots,
threshold, balancing, start delay, size, SLO. Load is a stretch of a recorded trace, with what came before it as the
workload's past, or a made-up rhythm with bursts. Sizes are relative: the trace's mean fills `size` replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.errors import InputError
from envs.prices import PriceBook
from envs.scenario import GeneratedDemand, NoiseModel, Scenario, TraceDemand
from envs.spot import SpotMarket
from envs.trace_file import Trace, read_trace_once

DAY_S = 86_400.0
WARMUP_S = 1800.0
MAX_GAP_S = 1e9  # holes are bridged, however long
SHIPPED = Path(__file__).parent / "data" / "load"
FAMILIES = (("m7i", ("xlarge", "2xlarge", "4xlarge")), ("c7i", ("xlarge", "2xlarge", "4xlarge")))
REGION = "us-east-1"


@dataclass(frozen=True)
class LoadSource:
    """One recorded series. source: what it is held out by; no scenario of another source sees it."""

    path: Path
    column: str | None
    source: str
    duration_s: float


@dataclass(frozen=True)
class Draw:
    """How worlds are drawn. generated: share of workloads whose load is made up; spot: share of clusters with spot."""

    horizon_s: float = DAY_S
    tick_s: float = 15.0
    workloads: int = 8
    generated: float = 0.2
    spot: float = 0.25


def shipped_loads() -> tuple[LoadSource, ...]:
    """The series that come with the package: twelve KPIs of web services, six counts of mentions."""
    files = [SHIPPED / "aiops2018_demo.csv.gz", SHIPPED / "nab_demo.csv.gz"]
    return tuple(s for path in files for s in _sources(path, path.name.split("_")[0]))


def loads_in(folder: Path) -> tuple[LoadSource, ...]:
    """Every series of the CSV and Parquet files of a folder; a file's source is the first word of its name.

    Raises InputError for a folder without any.
    """
    files = sorted(p for p in folder.glob("*") if p.name.endswith((".csv", ".csv.gz", ".parquet")))
    found = tuple(s for p in files if p.name != "manifest.csv" for s in _sources(p, p.name.split("_")[0]))
    if not found:
        raise InputError(folder, "load folder", str(folder), "put at least one CSV, CSV.gz or Parquet file there")
    return found


def _sources(path: Path, source: str) -> list[LoadSource]:
    trace = read_trace_once(path, max_gap_s=MAX_GAP_S)
    return [LoadSource(path, name, source, trace.duration_s) for name in trace.columns if _alive(trace, name)]


def _alive(trace: Trace, name: str) -> bool:
    return bool(trace.column(name).mean() > 0)


def draw_scenario(rng: np.random.Generator, loads: Sequence[LoadSource], draw: Draw, name: str = "drawn") -> Scenario:
    """One cluster; the same generator state and loads give the same scenario."""
    fitting = [s for s in loads if s.duration_s > draw.horizon_s + 1.0]
    made = [draw_workload(rng, f"w{i}") for i in range(draw.workloads)]
    demand = tuple(_draw_demand(rng, w, size, fitting, draw) for w, size in made)
    workloads = tuple(w for w, _ in made)
    types = _draw_types(rng)
    pool = NodePool(
        "general",
        tuple(t.name for t in types),
        zones=("a", "b"),
        capacity_types=("on-demand", "spot") if rng.random() < draw.spot else ("on-demand",),
        max_nodes=_most_nodes(workloads, types),
        initial_nodes=_first_nodes(made, types),
        boot_delay_s=float(rng.uniform(40.0, 150.0)),
    )
    return Scenario(
        name=name,
        cluster=ClusterSpec(workloads, (pool,), types, name),
        demand=demand,
        horizon_s=draw.horizon_s,
        tick_s=draw.tick_s,
        warmup_s=WARMUP_S,
        noise=_draw_noise(rng),
        spot=SpotMarket(),
        region=REGION,
        seed=int(rng.integers(2**31)),
    )


def _draw_noise(rng: np.random.Generator) -> NoiseModel:
    """Half the clusters as fitted on recorded minutes; half with rougher load, as small services have it."""
    if rng.random() < 0.5:
        return NoiseModel()
    return NoiseModel(cv=log_uniform(rng, 0.03, 0.3), tau_s=log_uniform(rng, 20.0, 600.0))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_workload(rng: np.random.Generator, name: str) -> tuple[Workload, float]:
    """(a service, how many full replicas its mean load fills)."""
    slots = int(rng.choice([1, 2, 4, 6, 8, 12, 16, 32]))
    service_s, cv = log_uniform(rng, 0.01, 0.6), float(rng.uniform(0.3, 1.6))
    slo = float(rng.choice([0.99, 0.995, 0.999, 0.9995]))
    cores = float(rng.choice([0.25, 0.5, 1.0, 2.0]))  # of a replica whose every slot is busy
    service = ServiceModel(
        slots=slots,
        service_time_s=service_s,
        service_cv=cv,
        cpu_s_per_request=cores * service_s / slots,
        threshold_s=service_s * _slowest(cv, 0.1 * (1.0 - slo)) * log_uniform(rng, 1.1, 6.0),
        timeout_s=max(10.0, 20.0 * service_s),
        balancing=str(rng.choice(["random", "random", "least_request", "pooled"])),  # type: ignore[arg-type]
        memory_base_gib=0.25 * cores,
        memory_per_busy_slot_gib=cores * 1.5 / slots,
    )
    size = log_uniform(rng, 0.7, 30.0)
    workload = Workload(
        name,
        service,
        cpu_request=cores,
        memory_request_gib=0.25 * cores + cores * 1.5,
        min_replicas=int(rng.choice([1, 2, 3])),
        max_replicas=int(np.ceil(size * 12)) + 12,
        slo_target=slo,
        start_delay_s=log_uniform(rng, 8.0, 150.0),
    )
    return workload, size


def _slowest(cv: float, share: float) -> float:
    """Service time over its mean that a share of requests exceeds (lognormal): an idle replica misses no more."""
    sigma = np.sqrt(np.log1p(cv * cv))
    return float(np.exp(sigma * NormalDist().inv_cdf(1.0 - share) - 0.5 * sigma**2))


def _draw_demand(rng: np.random.Generator, w: Workload, size: float, loads: Sequence[LoadSource], draw: Draw) -> Any:
    rps = size * w.service.capacity_rps
    if not loads or rng.random() < draw.generated:
        return _made_up(rng, rps)
    load = loads[int(rng.integers(len(loads)))]
    room = load.duration_s - draw.horizon_s - 1.0
    return TraceDemand(
        load.path, load.column, mean_rps=rps, offset_s=float(rng.uniform(0.0, room)), max_gap_s=MAX_GAP_S
    )


def _made_up(rng: np.random.Generator, rps: float) -> GeneratedDemand:
    return GeneratedDemand(
        base_rps=rps,
        daily_amplitude=float(rng.uniform(0.0, 0.8)),
        weekly_amplitude=float(rng.uniform(0.0, 0.3)),
        peak_hour=float(rng.uniform(0.0, 24.0)),
        noise_cv=log_uniform(rng, 0.01, 0.15),
        burst_per_day=float(rng.choice([0.0, 1.0, 4.0])),
        burst_factor=float(rng.uniform(1.5, 4.0)),
        burst_s=log_uniform(rng, 120.0, 3600.0),
    )


def _draw_types(rng: np.random.Generator) -> tuple[InstanceType, ...]:
    book = PriceBook.load("aws")
    family, sizes = FAMILIES[int(rng.integers(len(FAMILIES)))]
    first = int(rng.integers(len(sizes) - 1))
    factor = float(rng.uniform(0.7, 1.0))  # a discount
    types = [book.instance_type(f"{family}.{size}", REGION) for size in sizes[first : first + 2]]
    return tuple(replace(t, price_usd_per_h=t.price_usd_per_h * factor) for t in types)


def _first_nodes(made: Sequence[tuple[Workload, float]], types: Sequence[InstanceType]) -> int:
    cores = sum(max(size / 0.6, w.min_replicas) * w.cpu_request for w, size in made)
    return 1 + int(np.ceil(cores / types[0].allocatable_cpu))


def _most_nodes(workloads: Sequence[Workload], types: Sequence[InstanceType]) -> int:
    cores = sum(w.max_replicas * w.cpu_request for w in workloads)
    return 4 + int(np.ceil(1.3 * cores / types[0].allocatable_cpu))
