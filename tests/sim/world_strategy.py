"""Random small worlds, every part of the model in play, from a seed. Plain data: nothing here runs a kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.cluster import (
    HOSTNAME_KEY,
    ZONE_KEY,
    AntiAffinity,
    ClusterSpec,
    DisruptionBudget,
    InstanceType,
    NodePool,
    ServiceModel,
    SpreadConstraint,
    Taint,
    Toleration,
    Workload,
)
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.sim.pack import Case
from envs.stack import (
    ClusterAutoscaler,
    HpaBehavior,
    HpaMetric,
    HpaSpec,
    ScalingPolicy,
    ScalingRules,
    SchedulerProfile,
    Stack,
    StaticNodes,
    StaticReplicas,
)

Rng = np.random.Generator
TICKS_S = (5.0, 7.0, 15.0, 30.0, 60.0)
ZONES = ("zone-a", "zone-b", "zone-c")
MACHINES = (
    InstanceType("small", 2, 8.0, 1.8, 7.0, 8, 0.0832),
    InstanceType("medium", 4, 16.0, 3.8, 14.5, 20, 0.1664),
    InstanceType("large", 8, 32.0, 7.7, 29.0, 58, 0.34),
    InstanceType("tight", 4, 8.0, 3.9, 6.5, 7, 0.14),
    InstanceType("gpu", 8, 32.0, 7.7, 29.0, 40, 1.2, gpu=2),
)
EXPANDERS = ("least-waste", "random", "most-pods", "least-nodes", "priority", "price")


@dataclass(frozen=True)
class World:
    """One cluster with its load: arrivals (ticks, W) of tick first_tick on."""

    case: Case
    arrivals: NDArray[np.float64]
    warmup_ticks: int

    @property
    def scenario(self) -> Scenario:
        return self.case.scenario


def chance(rng: Rng, p: float) -> bool:
    return bool(rng.random() < p)


def pick(rng: Rng, values: tuple[Any, ...]) -> Any:
    return values[int(rng.integers(len(values)))]


def random_pool(rng: Rng, index: int) -> NodePool:
    types = rng.permutation([m.name for m in MACHINES])[: rng.integers(1, 4)]
    taint = (Taint("only", f"p{index}", pick(rng, ("NoSchedule", "PreferNoSchedule"))),)
    low = int(pick(rng, (0, 0, 1, 2)))
    return NodePool(
        f"pool{index}",
        instance_types=tuple(str(t) for t in types),
        zones=ZONES[: rng.integers(1, 4)],
        min_nodes=low,
        initial_nodes=low + int(rng.integers(0, 4)),
        max_nodes=low + int(rng.integers(4, 13)),
        labels=(("tier", f"t{index}"), ("even", str(index % 2))),
        taints=taint if chance(rng, 0.25) else (),
        boot_delay_s=float(pick(rng, (5.0, 40.0, 90.0))),
        boot_delay_cv=float(pick(rng, (0.0, 0.3))),
        daemon_cpu=float(pick(rng, (0.0, 0.1, 0.25))),
        daemon_memory_gib=float(pick(rng, (0.0, 0.2))),
    )


def random_budget(rng: Rng) -> DisruptionBudget | None:
    kind = int(rng.integers(0, 6))
    if kind == 0:
        return DisruptionBudget(min_available=float(rng.integers(0, 4)))
    if kind == 1:
        return DisruptionBudget(max_unavailable=float(rng.integers(0, 3)))
    if kind == 2:
        return DisruptionBudget(min_available=float(rng.random()), is_share=True)
    return DisruptionBudget(max_unavailable=float(rng.random()), is_share=True) if kind == 3 else None


def random_service(rng: Rng) -> ServiceModel:
    mean = float(pick(rng, (0.05, 0.1, 0.5)))
    return ServiceModel(
        slots=int(pick(rng, (1, 4, 10))),
        service_time_s=mean,
        service_cv=float(pick(rng, (0.5, 1.0, 2.0))),
        cpu_s_per_request=mean * float(pick(rng, (0.1, 0.25, 0.5))),
        threshold_s=mean * float(pick(rng, (3.0, 8.0))),
        timeout_s=float(pick(rng, (2.0, 10.0, 60.0))),
        balancing=pick(rng, ("random", "least_request", "pooled")),
        memory_base_gib=float(pick(rng, (0.1, 0.4))),
        memory_per_busy_slot_gib=float(pick(rng, (0.0, 0.02, 0.1))),
    )


def random_spread(rng: Rng) -> tuple[SpreadConstraint, ...]:
    keys = [k for k in (ZONE_KEY, HOSTNAME_KEY, "tier") if chance(rng, 0.2)]
    return tuple(
        SpreadConstraint(k, int(rng.integers(1, 4)), chance(rng, 0.6), int(pick(rng, (1, 1, 2)))) for k in keys
    )


def random_anti_affinity(rng: Rng, names: tuple[str, ...]) -> tuple[AntiAffinity, ...]:
    if not chance(rng, 0.25):
        return ()
    others = () if chance(rng, 0.5) else (str(rng.choice(names)),)
    return (AntiAffinity(pick(rng, (HOSTNAME_KEY, HOSTNAME_KEY, ZONE_KEY)), others),)


def random_workload(rng: Rng, index: int, names: tuple[str, ...]) -> Workload:
    service = random_service(rng)
    low = int(pick(rng, (1, 1, 2)))
    full = service.slots / service.service_time_s * service.cpu_s_per_request
    request = float(np.clip(full * pick(rng, (0.5, 1.0, 1.0, 2.0)), 0.0, 3.0)) if chance(rng, 0.9) else 0.0
    memory = float(pick(rng, (0.25, 0.5, 1.0, 3.0)))
    return Workload(
        names[index],
        service,
        kind=pick(rng, ("service", "service", "service", "queue", "batch")),
        cpu_request=request,
        memory_request_gib=memory,
        gpu_request=1 if chance(rng, 0.05) else 0,
        cpu_limit=max(request, 0.05) * pick(rng, (1.0, 1.5)) if chance(rng, 0.4) else float("inf"),
        memory_limit_gib=memory * pick(rng, (1.0, 1.5)) if chance(rng, 0.4) else float("inf"),
        priority=int(pick(rng, (0, 0, 0, 100, 1000, -20))),
        min_replicas=low,
        max_replicas=low + int(rng.integers(0, 12)),
        backlog_age_slo_s=float(pick(rng, (20.0, 90.0))),
        deadline_s=float(pick(rng, (600.0, 3600.0))),
        start_delay_s=float(pick(rng, (1.0, 10.0, 40.0))),
        start_delay_cv=float(pick(rng, (0.0, 0.5))),
        grace_s=float(pick(rng, (0.0, 2.0, 30.0, 90.0))),
        node_selector=(("even", "0"),) if chance(rng, 0.15) else (),
        tolerations=(Toleration(operator="Exists"),) if chance(rng, 0.4) else (),
        spread=random_spread(rng),
        anti_affinity=random_anti_affinity(rng, names),
        pdb=random_budget(rng),
        safe_to_evict=chance(rng, 0.9),
    )


def random_behavior(rng: Rng) -> HpaBehavior | None:
    if chance(rng, 0.6):
        return None
    policies = (ScalingPolicy("Pods", int(rng.integers(1, 5)), 30), ScalingPolicy("Percent", 50, 60))
    down = ScalingRules(int(pick(rng, (0, 30, 120))), pick(rng, ("Max", "Min")), policies)
    return HpaBehavior(None if chance(rng, 0.5) else ScalingRules(15, policies=policies[:1]), down)


def random_hpa(rng: Rng) -> HpaSpec:
    metrics = (
        (HpaMetric(target=float(rng.integers(30, 95))),),
        (HpaMetric(), HpaMetric(name="memory", target=70.0)),
        (HpaMetric("Pods", "requests_per_second", "AverageValue", 20.0),),
        (HpaMetric("External", "requests_per_second", "Value", 60.0),),
        (HpaMetric("External", "requests_per_second", capacity_share=0.6),),
        (HpaMetric("External", "queue_length", "AverageValue", 20.0), HpaMetric(target=60.0)),
        (HpaMetric("External", "concurrency", "AverageValue", 5.0),),
    )
    return HpaSpec(
        metrics=metrics[int(rng.integers(len(metrics)))],
        behavior=random_behavior(rng),
        downscale_stabilization_s=float(pick(rng, (30.0, 120.0, 300.0))),
    )


def random_autoscaler(rng: Rng) -> ClusterAutoscaler | StaticNodes:
    if chance(rng, 0.2):
        return StaticNodes()
    return ClusterAutoscaler(
        expander=pick(rng, EXPANDERS),
        priorities=((10, (".*large.*",)), (5, (".*",))),
        scan_interval_s=float(pick(rng, (10.0, 10.0, 25.0))),
        scale_down_utilization_threshold=float(pick(rng, (0.5, 0.7))),
        scale_down_unneeded_s=float(pick(rng, (30.0, 120.0))),
        scale_down_delay_after_add_s=float(pick(rng, (20.0, 100.0))),
        max_scale_down_parallelism=int(pick(rng, (1, 10))),
        max_nodes_total=int(pick(rng, (0, 0, 12))),
        max_cores_total=float(pick(rng, (float("inf"), 40.0))),
        balance_similar_node_groups=chance(rng, 0.3),
    )


def random_stack(rng: Rng) -> Stack:
    replicas = StaticReplicas() if chance(rng, 0.15) else random_hpa(rng)
    scheduler = SchedulerProfile(pick(rng, ("LeastAllocated", "MostAllocated")))
    return Stack("random", replicas=replicas, nodes=random_autoscaler(rng), scheduler=scheduler)


def random_load(rng: Rng, cluster: ClusterSpec, ticks: int, tick_s: float) -> NDArray[np.float64]:
    """(ticks, W) arrivals: levels that jump, spikes, silence; batch work now and then."""
    out = np.zeros((ticks, len(cluster.workloads)))
    for i, w in enumerate(cluster.workloads):
        peak = w.service.capacity_rps * w.max_replicas * tick_s * rng.uniform(0.2, 1.1)
        knots = rng.random(ticks // 40 + 2) * (rng.random(ticks // 40 + 2) < 0.85)
        level = np.interp(np.arange(ticks) / 40.0, np.arange(len(knots)), knots)
        out[:, i] = peak * level * rng.gamma(20.0, 0.05, ticks)
        if w.kind == "batch":
            out[rng.random(ticks) < 0.97, i] = 0.0
    return out


def random_world(seed: int, *, tick_s: float | None = None, sim_s: float = 1500.0, warmup_s: float = 0.0) -> World:
    """The world of this seed. tick_s: that of the batch it is to run in."""
    rng = np.random.default_rng([seed, 7])
    dt = tick_s or float(pick(rng, TICKS_S))
    names = tuple(f"w{i}" for i in range(rng.integers(1, 7)))
    cluster = ClusterSpec(
        tuple(random_workload(rng, i, names) for i in range(len(names))),
        tuple(random_pool(rng, i) for i in range(rng.integers(1, 4))),
        MACHINES,
        name=f"world-{seed}",
    )
    demand = (GeneratedDemand(),) * len(names)
    scenario = Scenario(f"world-{seed}", cluster, demand, sim_s, dt, warmup_s, NoiseModel(enabled=False))
    warmup = int(np.ceil(warmup_s / dt))
    arrivals = random_load(rng, cluster, int(sim_s // dt) + warmup, dt)
    fixed = [int(rng.integers(w.min_replicas, w.max_replicas + 1)) for w in cluster.workloads]
    stack = random_stack(rng)
    rates = arrivals[0] / dt
    return World(Case(scenario, stack, seed, rates, fixed), arrivals, warmup)


def reseeded(world: World, seed: int) -> World:
    """The same world with other random numbers inside the simulator."""
    return replace(world, case=replace(world.case, seed=seed))
