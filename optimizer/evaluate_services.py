"""Recorded load becomes services: one rule, the same for every policy, drawn from the trace's name alone.

The k-th service on a trace always has the same size, capacity per replica, start delay, SLO, threshold and variability,
whatever else is evaluated beside it. docs/guides/evaluate.md has the ranges in a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from envs.cluster import ClusterSpec, DisruptionBudget, NodePool, ServiceModel, Workload
from envs.load_noise import key_of
from envs.prices import PriceBook
from optimizer.evaluate_traces import Recorded

RULE = 1  # raised whenever the rule changes, so that results of different rules are never mixed
UTILIZATION = 0.6  # share of its capacity that a replica carries when "replicas needed" are counted
MOST_NEEDED = 150.0  # replicas at the trace's highest sample
LEAST_TYPICAL = 0.3  # replicas at its median, where the peak is far above it
REGION = "us-east-1"
TYPES = ("m7i.xlarge", "m7i.large", "m7i.2xlarge", "c7i.xlarge")
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


@dataclass(frozen=True)
class Served:
    """A service on a trace. scale: requests/s for one unit of the trace; peak: replicas at its highest sample."""

    trace: Recorded
    workload: Workload
    scale: float
    typical: float
    peak: float


def service_on(trace: Recorded, number: int, name: str) -> Served:
    """Service `number` on this trace."""
    rng = np.random.Generator(np.random.Philox(key=key_of(RULE, "service", trace.source, trace.name, str(number))))
    slots, service_s = int(rng.choice([4, 6, 8, 12, 16])), _log_uniform(rng, 0.02, 0.3)
    cv, cores = float(rng.uniform(0.3, 1.2)), _log_uniform(rng, 0.4, 2.0)
    slo = float(rng.choice([0.99, 0.995, 0.999]))
    threshold = service_s * idle_quantile(1.0 - (1.0 - slo) / 5.0, cv) * float(rng.uniform(1.3, 2.5))
    service = ServiceModel(
        slots=slots,
        service_time_s=service_s,
        service_cv=cv,
        cpu_s_per_request=cores * service_s / slots,
        threshold_s=threshold,
        timeout_s=max(10.0, 4.0 * threshold),
        balancing="least_request" if rng.random() < 0.25 else "random",
        memory_base_gib=0.25 + 0.5 * cores,
        memory_per_busy_slot_gib=0.5 * cores / slots,
    )
    wanted, ratio = _log_uniform(rng, 3.0, 25.0), trace.highest / trace.typical
    typical = max(min(wanted, MOST_NEEDED / ratio), LEAST_TYPICAL)
    peak = min(typical * ratio, MOST_NEEDED)
    workload = Workload(
        name,
        service,
        cpu_request=round(cores * float(rng.uniform(0.8, 1.1)), 3),
        memory_request_gib=0.25 + cores,
        min_replicas=1 if slo < 0.995 else 2,
        max_replicas=10 + math.ceil(1.5 * peak),
        slo_target=slo,
        start_delay_s=_log_uniform(rng, 10.0, 90.0),
        pdb=DisruptionBudget(max_unavailable=0.25, is_share=True),
    )
    scale = typical * UTILIZATION * service.capacity_rps / trace.typical
    return Served(trace, workload, scale, typical, peak)


def idle_quantile(q: float, cv: float) -> float:
    """Service time that a share q of requests stays within on an idle replica, in means: a lognormal's quantile."""
    s2 = math.log1p(cv * cv)
    return math.exp(math.sqrt(s2) * NormalDist().inv_cdf(q) - 0.5 * s2)


def cluster_of(services: Sequence[Served], name: str) -> ClusterSpec:
    """Three zones and four machine types, on demand, with room for every service at its most replicas."""
    rng = np.random.Generator(np.random.Philox(key=key_of(RULE, "cluster", name)))
    book = PriceBook.load("aws")
    types = tuple(book.instance_type(t, REGION) for t in TYPES)
    start = sum(max(s.typical / UTILIZATION, s.workload.min_replicas) * s.workload.cpu_request for s in services)
    most = sum(s.workload.max_replicas * s.workload.cpu_request for s in services)
    pool = NodePool(
        "general",
        TYPES,
        zones=ZONES,
        max_nodes=6 + math.ceil(1.3 * most / types[0].allocatable_cpu),
        initial_nodes=1 + math.ceil(start / types[0].allocatable_cpu),
        boot_delay_s=float(rng.uniform(50.0, 120.0)),
    )
    return ClusterSpec(tuple(s.workload for s in services), (pool,), types, name)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))
