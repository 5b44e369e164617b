"""A stand-in for the simulator: plausible Timelines in a millisecond, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.scenario import GeneratedDemand, Scenario
from envs.spot import SpotMarket
from envs.stack import HpaMetric, HpaSpec, Stack, StaticReplicas
from envs.timeline import Names, Rollout, Sink, Timeline

SLICE = 288  # rows a day
HOSTILE = "<script>alert(1)</script>"


def scenario(*, days: float = 3.0, workloads: int = 6, hostile: bool = False) -> Scenario:
    """Two pools, some services, one queue and one batch job."""
    kinds = ["service"] * (workloads - 2) + ["queue", "batch"]
    names = ["frontend", "checkout", "search", "cart"] + [f"svc-{k}" for k in range(max(0, workloads - 6))]
    names = [*names[: workloads - 2], "mailer", "nightly-report"]
    if hostile:
        names[1] = HOSTILE
    spec = ClusterSpec(
        workloads=tuple(
            Workload(
                name=name,
                kind=kind,  # type: ignore[arg-type]
                service=ServiceModel(),
                namespace=HOSTILE if hostile and k == 0 else ("shop" if k % 2 == 0 else "platform"),
                team="" if k == 3 else ("web" if k < 2 else "data"),
                slo_target=0.999,
            )
            for k, (name, kind) in enumerate(zip(names, kinds, strict=True))
        ),
        node_pools=(
            NodePool("general", ("m7i.xlarge", "m7i.2xlarge"), zones=("a", "b")),
            NodePool("batch", ("c7i.xlarge",), capacity_types=("spot",)),
        ),
        instance_types=(
            InstanceType("m7i.xlarge", 4, 16, 3.92, 14.9, 58, 0.2016),
            InstanceType("m7i.2xlarge", 8, 32, 7.91, 30.0, 58, 0.4032),
            InstanceType("c7i.xlarge", 4, 8, 3.92, 7.0, 58, 0.1785, spot_price_usd_per_h=0.1785),
        ),
        name="toy",
    )
    return Scenario(
        name="toy-shop",
        cluster=spec,
        demand=tuple(GeneratedDemand(base_rps=40.0 * (k + 1)) for k in range(workloads)),
        horizon_s=days * 86400.0,
        stacks=STACKS,
        spot=SpotMarket(interruptions=False),  # a what-if runs each cell once
        description="A shop that is not there.",
    )


STACKS = (
    Stack("hpa-default", "HPA at its own default, 80 % CPU"),
    Stack("hpa-cpu-50", "HPA at 50 % CPU", replicas=HpaSpec(metrics=(HpaMetric(target=50.0),))),
    Stack("static-peak", "As many as the peak needs", replicas=StaticReplicas()),
)


def simulate(
    scenario: Scenario, stack: Stack, seed: int, *, days: float | None = None, sink: Sink | None = None
) -> Rollout:
    """Same signature and shape of results as envs.rollout.rollout; the demand is the same for all stacks."""
    names = Names.of(scenario.cluster)
    horizon_s = scenario.horizon_s if days is None else min(scenario.horizon_s, days * 86400.0)
    rows = round(horizon_s / 300.0)
    for first in range(0, rows, SLICE):
        if sink is not None:
            sink(_day(names, stack, seed, first, min(SLICE, rows - first)))
    return Rollout(
        scenario=scenario.name,
        stack=stack.name,
        seed=seed,
        names=names,
        horizon_s=horizon_s,
        ticks=rows * 20,
        wall_s=0.01,
        unreachable_slos=names.workloads[-2:][:1] if stack.name == "hpa-default" else (),
        unschedulable=(),
        notes=("trace.csv: 2 gaps (35 min in all) were interpolated",),
        info={},
    )


def headroom(stack: Stack) -> float:
    """Ready capacity over load."""
    if isinstance(stack.replicas, StaticReplicas):
        return 0.0
    target = stack.replicas.metrics[0].target
    return 100.0 / target


def _day(names: Names, stack: Stack, seed: int, first: int, rows: int) -> Timeline:
    noise = np.random.default_rng([seed, first])
    time_s = (first + np.arange(rows)) * 300.0
    hour = time_s / 3600.0
    w = np.arange(len(names.workloads))
    rate = 60.0 * (w + 1) * (1.0 + 0.6 * np.sin((hour[:, None] - 8.0) / 24.0 * 2 * np.pi))
    rate = rate * noise.lognormal(0.0, 0.08, rate.shape)
    surge = (np.floor(hour) == 14.0)[:, None] & (w == 1)
    rate = np.where(surge, rate * 3.0, rate)
    room = headroom(stack)
    planned = np.roll(rate, 3, axis=0)
    capacity = np.where(room > 0, planned * room, 60.0 * (w + 1) * 2.4)
    capacity = np.broadcast_to(capacity, rate.shape)
    bad_share = np.clip((rate - 0.97 * capacity) / rate, 0.0, 1.0) + 1e-4
    offered = rate * 300.0
    bad = offered * bad_share
    cpu_used = rate * 0.02
    cpu_requested = np.maximum(capacity * 0.02, cpu_used)
    return _timeline(names, time_s, offered, bad, capacity, cpu_used, cpu_requested, surge)


def _timeline(names, time_s, offered, bad, capacity, cpu_used, cpu_requested, surge) -> Timeline:  # type: ignore[no-untyped-def]
    rows, groups, pools = time_s.size, len(names.groups), len(names.pools)
    price = np.array([0.2016, 0.2016, 0.4032, 0.4032, 0.0714][:groups])
    cores = np.array([3.92, 3.92, 7.91, 7.91, 3.92][:groups])
    split = np.array([0.3, 0.3, 0.15, 0.15, 0.1][:groups])
    nodes = np.ceil(cpu_requested.sum(axis=1, keepdims=True) * 1.25 * split / cores)
    node_usd = nodes * price / 12.0
    member = np.equal.outer(np.array(names.group_pool), np.arange(pools)).astype(float)
    pool_usd = node_usd @ member
    used = cpu_used.sum(axis=1) / (nodes @ cores)
    asked = cpu_requested.sum(axis=1) / (nodes @ cores)
    share = np.maximum(cpu_used, cpu_requested) / np.maximum(cpu_used, cpu_requested).sum(axis=1, keepdims=True)
    levels = capacity / 40.0
    zero = np.zeros_like(offered)
    reason = np.where(surge, 0.2, 0.9)
    return Timeline(
        time_s=time_s,
        offered=offered,
        good=offered - bad,
        bad_saturated=bad * reason,
        bad_starting=bad * (0.95 - reason).clip(0.0),
        bad_no_node=bad - bad * reason - bad * (0.95 - reason).clip(0.0),
        bad_lost=zero,
        ready=levels,
        desired=levels,
        pending=np.where(surge, 3.0, 0.0) + zero,
        starting=np.where(surge, 5.0, 0.0) + zero,
        capacity_rps=capacity.copy(),
        cpu_used=cpu_used,
        cpu_requested=cpu_requested,
        memory_used_gib=levels * 0.3,
        memory_requested_gib=levels * 0.5,
        backlog=zero,
        oom_restarts=zero,
        workload_usd=share * (pool_usd.sum(axis=1) * asked)[:, None],
        nodes=nodes,
        node_usd=node_usd,
        used_usd=pool_usd * used[:, None],
        requested_unused_usd=pool_usd * (asked - used)[:, None],
        idle_usd=pool_usd * (1.0 - asked)[:, None],
        pods_started=np.full(rows, 1.5),
        pods_evicted=np.zeros(rows),
        nodes_added=np.abs(np.diff(nodes.sum(axis=1), prepend=nodes[0].sum())),
        nodes_removed=np.zeros(rows),
        replica_changes=np.full(rows, 2.0),
        nodes_lost=np.zeros(rows),
        interruptions=np.zeros(rows),
    )


def short(**changes: object) -> Scenario:
    """One small day, for tests that run many."""
    return replace(scenario(days=1.0), **changes)  # type: ignore[arg-type]
