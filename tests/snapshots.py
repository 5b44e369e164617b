"""Random specs and snapshots for the tests of the decision path."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from envs.action import FIELDS, bounds
from envs.cluster import ClusterSpec, InstanceType, NodePool, Workload
from envs.snapshot import PoolSignals, Signal, Snapshot, WorkloadSignals, signal
from envs.stack import HpaMetric, HpaSpec

TYPE = InstanceType("m.large", 2, 8, 1.9, 7.0, 58, 0.1)
RPS_HPA = HpaSpec(metrics=(HpaMetric("External", "requests_per_second", capacity_share=0.7),))


def random_spec(rng: np.random.Generator) -> ClusterSpec:
    workloads = tuple(
        Workload(
            f"w{i}",
            min_replicas=int(rng.integers(0, 4)),
            max_replicas=int(rng.integers(4, 200)),
            hpa=RPS_HPA if rng.random() < 0.3 else None,
        )
        for i in range(rng.integers(1, 5))
    )
    pools = tuple(
        NodePool(f"p{i}", ("m.large",), min_nodes=int(rng.integers(0, 3)), max_nodes=int(rng.integers(3, 50)))
        for i in range(rng.integers(1, 3))
    )
    return ClusterSpec(workloads, pools, (TYPE,))


def random_signal(rng: np.random.Generator, n: int, high: float, *, odd: float) -> Signal:
    """Values in [0, high]; a share `odd` of them NaN, infinite, huge, negative or old."""
    value = rng.uniform(0, high, n)
    strange = rng.choice([np.nan, np.inf, 1e300, -1.0, 0.0], n)
    age = np.where(rng.random(n) < odd, rng.choice([np.nan, np.inf, 600.0, 119.0], n), rng.uniform(0, 60, n))
    return signal(np.where(rng.random(n) < odd, strange, value), age)


def random_snapshot(rng: np.random.Generator, spec: ClusterSpec, time_s: float, odd: float = 0.1) -> Snapshot:
    """Set-points in force mostly inside their bounds, the rest anything."""
    w, p = len(spec.workloads), len(spec.node_pools)
    parts = {f.name: random_signal(rng, w, 300.0, odd=odd) for f in fields(WorkloadSignals)}
    pool_parts = {f.name: random_signal(rng, p, 40.0, odd=odd) for f in fields(PoolSignals)}
    for field in FIELDS:
        low, high = bounds(field, spec)
        value = rng.uniform(low, high)
        value = np.rint(value) if field.whole else value
        group = parts if field.of == "workload" else pool_parts
        group[field.name] = signal(np.where(rng.random(len(low)) < odd, group[field.name].value, value))
    return Snapshot(
        time_s,
        tuple(x.name for x in spec.workloads),
        tuple(x.name for x in spec.node_pools),
        WorkloadSignals(**parts),
        PoolSignals(**pool_parts),
    )


def random_history(rng: np.random.Generator, spec: ClusterSpec, odd: float = 0.1) -> tuple[Snapshot, ...]:
    return tuple(random_snapshot(rng, spec, 60.0 * i, odd) for i in range(rng.integers(1, 6)))
