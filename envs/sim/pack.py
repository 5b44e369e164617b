"""Scenario + stack + seed -> a Sim: every array of a batch of clusters, ready to be primed and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from envs.cluster import ClusterSpec, Workload
from envs.controllers.cluster_autoscaler import empty_ca_output, empty_ca_state, pack_autoscaler
from envs.controllers.hpa_pack import HpaDefaults, empty_hpa_sample, empty_hpa_state, pack_hpa
from envs.controllers.karpenter_layout import empty_solve
from envs.controllers.karpenter_pack import pack_karpenter
from envs.controllers.karpenter_state import empty_state
from envs.controllers.scaler_pack import ScalerCase, loop_events, pack_scalers
from envs.controllers.scheduler import pack_profile, scheduler_scratch
from envs.fault_plan import plan_of
from envs.scenario import Scenario
from envs.sim.backlog import BATCH_PERIOD_S, cohorts_needed
from envs.sim.fault_state import (
    DRAINS,
    HEALS_ALWAYS,
    HEALS_AT_ONCE,
    HEALS_NOT,
    IGNORES,
    REBALANCES,
    pack_faults,
)
from envs.sim.flow import BATCH, QUEUE, SERVICE, Clock, Service, empty_flow, empty_rows
from envs.sim.pack_placement import GIB, node_groups, pack_placement, requests, topology_keys
from envs.sim.queue_memory import KNOWN
from envs.sim.queueing import load_tables
from envs.sim.random import seed_streams
from envs.sim.state import Groups, empty_nodes, empty_pods
from envs.sim.world import Money, Scratch, Sim
from envs.stack import (
    ClusterAutoscaler,
    HpaBehavior,
    HpaSpec,
    Karpenter,
    ScalingRules,
    Stack,
    StaticNodes,
    StaticReplicas,
)

KINDS = {"service": SERVICE, "queue": QUEUE, "batch": BATCH}
BALANCING = {"random": 0, "least_request": 1, "pooled": 2}
# What a core and a GiB cost in a node's price, USD/h: only their ratio matters, for splitting a
# node's dollars. OpenCost's published defaults for on-demand nodes (CPU 0.031611, RAM 0.004237).
CORE_USD_PER_H, GIB_USD_PER_H = 0.031611, 0.004237
HISTORY_S = 180.0  # oldest sample 60 s + window 60 s, with room
MAX_POD_SLOTS = 4_000_000


@dataclass(frozen=True)
class Case:
    """One cluster of a batch.

    replicas: fixed count per workload for StaticReplicas, else None. floors: per workload, the replicas of
    each window of a ScheduleSpec, else None.
    """

    scenario: Scenario
    stack: Stack
    seed: int
    first_rps: Any  # (W,) load at the start
    replicas: Any = None  # (W,) int
    floors: Any = None  # (W, windows) int


def initial_replicas(w: Workload, rps: float) -> int:
    """What the load at the start needs at 60 % of capacity, within the workload's bounds."""
    if w.initial_replicas is not None:
        return w.initial_replicas
    need = int(np.ceil(rps / (0.6 * w.service.capacity_rps)))
    return int(np.clip(need, max(w.min_replicas, 1), w.max_replicas))


def most_replicas(stack: Stack, w: Workload) -> int:
    """The most pods that anything may ask for of workload w."""
    return max(stack.hpa_of(w).max_replicas or 0, w.max_replicas, w.min_replicas, w.initial_replicas or 0)


def pod_slots(case: Case) -> int:
    """Room for every workload at its maximum, half of it terminating beside, more with a long grace time."""
    spare = [1.5 + w.grace_s / 60.0 for w in case.scenario.cluster.workloads]
    most = [most_replicas(case.stack, w) for w in case.scenario.cluster.workloads]
    return min(int(sum(n * f for n, f in zip(most, spare, strict=True))) + 64, MAX_POD_SLOTS)


def node_slots(cluster: ClusterSpec) -> int:
    return sum(p.max_nodes for p in cluster.node_pools) + 64


def _longest_lag_s(cases: Sequence[Case]) -> float:
    """How much older than usual metrics may be."""
    return max((f.delay_s for c in cases for f in c.scenario.faults if f.kind == "telemetry-delay"), default=0.0)


def pack(cases: Sequence[Case], *, rows: int, warmup_ticks: int) -> Sim:
    """Arrays for these clusters at tick -warmup_ticks: nodes asked for, no pods yet (see ClusterSim)."""
    clusters = [c.scenario.cluster for c in cases]
    B, W = len(cases), max(len(c.workloads) for c in clusters)
    classes, topology, groups = pack_placement(clusters)
    G = groups.price.shape[1]
    N, P = max(map(node_slots, clusters)), max(map(pod_slots, cases))
    dt = cases[0].scenario.tick_s
    history = (
        1 << (int(np.ceil((HISTORY_S + _longest_lag_s(cases)) / dt)) + 2).bit_length()
    )  # a power of two (measure.place_in)
    nodes, pods = empty_nodes(B, W, N, classes.req.shape[2]), empty_pods(B, W, P)
    hpa = pack_hpa(hpa_specs(cases, W), **hpa_defaults(cases, W)._asdict(), reserve=_reserve(cases))
    autoscalers = [c.stack.nodes if isinstance(c.stack.nodes, ClusterAutoscaler) else None for c in cases]
    clock = _pack_clock(cases, autoscalers, W, G, N, P, warmup_ticks)
    shapes = [node_groups(c) for c in clusters]
    ca = pack_autoscaler(
        [a or ClusterAutoscaler() for a in autoscalers],
        groups,
        group_names=[[g.name for g in s] for s in shapes],
        group_labels=[[g.labels for g in s] for s in shapes],
        pool_max=clock.pool_max,
    )
    service = _pack_service(cases, W)
    _write_hazards(cases, shapes, groups)
    kp = _pack_karpenter(cases, shapes, (classes, topology, groups))
    scalers = pack_scalers([_scaler_case(c, warmup_ticks) for c in cases], hpa.spec["min_replicas"])
    return Sim(
        classes=classes,
        topology=topology,
        groups=groups,
        nodes=nodes,
        pods=pods,
        service=service,
        flow=empty_flow(B, W, G, history, _cohorts(cases, W)),
        rows=empty_rows(B, rows, W, G),
        clock=clock,
        money=_pack_money(groups),
        scratch=_scratch(B, W, N, P + loop_events(scalers, dt), G),
        faults=pack_faults([plan_of(c.scenario, c.seed) for c in cases], [_manners(c.stack) for c in cases], W, G, N),
        rng=seed_streams([c.seed for c in cases]),
        tables=load_tables(),
        hpa=hpa,
        hpa_state=empty_hpa_state(hpa),
        hpa_sample=empty_hpa_sample(B, W, hpa.metric.shape[2]),
        profile=pack_profile([c.stack.scheduler for c in cases]),
        scheduler=scheduler_scratch(classes, topology, nodes, pods),
        ca=ca,
        ca_state=empty_ca_state(classes, topology, groups, nodes, pods),
        ca_out=empty_ca_output(groups, nodes),
        static_replicas=_static(cases, W),
        kp=kp,
        kp_solve=empty_solve(kp, *_solve_size(cases, N, P), classes.req.shape[2]),
        kp_state=empty_state(B, kp.rank.shape[1], N, clock.pool_max.shape[1], G, _first_loop(cases, warmup_ticks)),
        scalers=scalers,
    )


SPOT_HANDLING = {"ignore": IGNORES, "drain": DRAINS, "rebalance": REBALANCES}


def _manners(stack: Stack) -> tuple[int, int]:
    """Whether node groups replace what they lost, and what is done about spot notices."""
    return _heals(stack), SPOT_HANDLING[stack.spot_notice]


def _heals(stack: Stack) -> int:
    """Cloud groups (ASG, MIG, VMSS) start a new machine for one that died; Karpenter's nodes are in no group."""
    if isinstance(stack.nodes, StaticNodes):
        return HEALS_ALWAYS
    return HEALS_AT_ONCE if isinstance(stack.nodes, ClusterAutoscaler) else HEALS_NOT


def _reserve(cases: Sequence[Case]) -> HpaSpec | None:
    """The longest windows that replay or a learned policy may write while the simulation runs."""
    if all(case.stack.replay is None and case.stack.learned is None for case in cases):
        return None
    longest = ScalingRules(stabilization_s=1800)
    return HpaSpec(behavior=HpaBehavior(scale_up=ScalingRules(), scale_down=longest))


def _write_hazards(cases: Sequence[Case], shapes: Any, groups: Groups) -> None:
    """Interruptions per node-hour of spot groups, which a provider weighs beside the price."""
    for b, case in enumerate(cases):
        for g, group in enumerate(shapes[b]):
            if group.capacity_type == "spot":
                groups.hazard[b, g] = case.scenario.spot.hazard_per_h(group.machine)


def _pack_karpenter(cases: Sequence[Case], shapes: Any, arrays: Any) -> Any:
    settings = [c.stack.nodes if isinstance(c.stack.nodes, Karpenter) else None for c in cases]
    clusters = [c.scenario.cluster for c in cases]
    labels = [[g.labels for g in s] for s in shapes]
    epoch = [datetime.fromisoformat(c.scenario.start_utc).timestamp() for c in cases]
    return pack_karpenter(settings, clusters, arrays, labels, topology_keys(clusters), epoch)


def _solve_size(cases: Sequence[Case], N: int, P: int) -> tuple[int, int]:
    """Node and pod slots of Karpenter's simulation; next to nothing where no stack runs it."""
    return (N, P) if any(isinstance(c.stack.nodes, Karpenter) for c in cases) else (1, 1)


def _first_loop(cases: Sequence[Case], warmup: int) -> Any:
    """Time of Karpenter's first disruption loop, at a phase of its own; inf where it does not run."""
    out = np.full(len(cases), np.inf)
    for b, case in enumerate(cases):
        if isinstance(case.stack.nodes, Karpenter):
            phase = float(np.random.default_rng([case.seed, 104]).uniform(0, 1))
            out[b] = -warmup * case.scenario.tick_s + phase * case.stack.nodes.poll_s
    return out


def _static(cases: Sequence[Case], W: int) -> Any:
    """Fixed replica counts; -1 where the HPA decides; 0 for padding."""
    out = np.zeros((len(cases), W), np.int32)
    for b, case in enumerate(cases):
        for i, w in enumerate(case.scenario.cluster.workloads):
            out[b, i] = case.replicas[i] if isinstance(case.stack.scaler_of(w), StaticReplicas) else -1
    return out


def _scaler_case(case: Case, warmup_ticks: int) -> ScalerCase:
    """What the loops above the HPAs need to know of a cluster."""
    scenario = case.scenario
    workloads = scenario.cluster.workloads
    boot_s = max(pool.boot_delay_s for pool in scenario.cluster.node_pools)
    return ScalerCase(
        scalers=[case.stack.scaler_of(w) for w in workloads],
        min_replicas=[w.min_replicas for w in workloads],
        capacity_rps=[w.service.capacity_rps for w in workloads],
        lead_s=[w.start_delay_s + boot_s for w in workloads],
        floors=case.floors if case.floors is not None else [()] * len(workloads),
        batch=[w.kind == "batch" for w in workloads],
        start_utc=scenario.start_utc,
        span_s=(-warmup_ticks * scenario.tick_s, scenario.horizon_s),
        seed=case.seed,
    )


def hpa_specs(cases: Sequence[Case], W: int) -> list[list[HpaSpec]]:
    """The HPA in force, [b][w]; padding has a default one."""
    specs = [[HpaSpec()] * W for _ in cases]
    for b, case in enumerate(cases):
        for i, w in enumerate(case.scenario.cluster.workloads):
            specs[b][i] = case.stack.hpa_of(w)
    return specs


def hpa_defaults(cases: Sequence[Case], W: int) -> HpaDefaults:
    """What an HPA spec leaves to its workload, (B, W) each."""
    B = len(cases)
    capacity, cpu, memory = np.ones((B, W)), np.ones((B, W), np.int64), np.ones((B, W), np.int64)
    low, high = np.ones((B, W), np.int32), np.ones((B, W), np.int32)
    for b, case in enumerate(cases):
        for i, w in enumerate(case.scenario.cluster.workloads):
            capacity[b, i] = w.service.capacity_rps
            cpu[b, i], memory[b, i] = requests(w)[:2]
            low[b, i], high[b, i] = w.min_replicas, w.max_replicas
    return HpaDefaults(capacity, cpu, memory, low, high)


def _cohorts(cases: Sequence[Case], W: int) -> Any:
    """Ring lengths of kinds queue and batch; 1 for services."""
    out = np.ones((len(cases), W), np.int32)
    for b, case in enumerate(cases):
        for i, w in enumerate(case.scenario.cluster.workloads):
            if w.kind == "queue":
                out[b, i] = cohorts_needed(w.backlog_age_slo_s, case.scenario.tick_s)
            elif w.kind == "batch":
                out[b, i] = cohorts_needed(w.deadline_s, BATCH_PERIOD_S)
    return out


def _row(case: Case, w: Workload) -> list[float]:
    s = w.service
    return [
        KINDS[w.kind], s.slots, s.service_time_s, s.service_cv, s.cpu_s_per_request, s.threshold_s, s.timeout_s,
        BALANCING[s.balancing], s.memory_base_gib, s.memory_per_busy_slot_gib, w.cpu_request, w.memory_request_gib,
        w.cpu_limit, w.memory_limit_gib, w.start_delay_s, w.start_delay_cv, w.grace_s, w.backlog_age_slo_s,
        w.deadline_s, 0.0,
    ]  # fmt: skip


def _pack_service(cases: Sequence[Case], W: int) -> Service:
    """One plane per field; padding has slot 1 and service time 1."""
    width = len(Service._fields)
    planes = np.zeros((width, len(cases), W))
    planes[1:3] = 1.0
    for b, case in enumerate(cases):
        for i, w in enumerate(case.scenario.cluster.workloads):
            planes[:, b, i] = _row(case, w)
        rng = np.random.default_rng([case.seed, 101])
        planes[width - 1, b] = rng.uniform(15.0, 45.0, W)  # plus the scrape's sawtooth: 15-60 s old
    fields: list[Any] = [np.ascontiguousarray(p) for p in planes]
    fields[0], fields[7] = fields[0].astype(np.int8), fields[7].astype(np.int8)
    return Service(*fields)


def _pack_clock(
    cases: Sequence[Case], autoscalers: list[ClusterAutoscaler | None], W: int, G: int, N: int, P: int, warmup: int
) -> Clock:  # fmt: skip
    B = len(cases)
    start_s = [-warmup * c.scenario.tick_s for c in cases]
    period = np.array([_sync_period(c) for c in cases])
    draws = [np.random.default_rng([c.seed, 102]).uniform(0.0, 1.0, W) for c in cases]
    phase = np.stack(draws) * period[:, None]
    ca_phase = [float(np.random.default_rng([c.seed, 103]).uniform(0, 1)) for c in cases]
    scan = np.array([a.scan_interval_s if a else 10.0 for a in autoscalers])
    ca_next = [s + p * f if a else np.inf for s, p, f, a in zip(start_s, scan, ca_phase, autoscalers, strict=True)]
    pools = max(len(c.scenario.cluster.node_pools) for c in cases)
    pool_max = np.zeros((B, pools), np.int32)
    priority = [[w.priority for w in c.scenario.cluster.workloads] for c in cases]
    for b, c in enumerate(cases):
        for i, pool in enumerate(c.scenario.cluster.node_pools):
            pool_max[b, i] = pool.max_nodes
    i1, i4, i8 = np.int8, np.int32, np.int64
    return Clock(
        tick_s=np.array([c.scenario.tick_s for c in cases]),
        hpa_period_s=period,
        ca_period_s=scan,
        lowest_priority=np.array([min(p) for p in priority], i4),
        priorities=np.array([len(set(p)) > 1 for p in priority], i1),
        claim_until_s=np.full((B, N), -np.inf),
        claim_priority=np.zeros((B, N), i4),
        fresh=np.zeros(B, i1),
        hpa_order=np.argsort(phase, axis=1, kind="stable").astype(i4),
        hpa_phase_s=phase,
        hpa_next=np.array([int(np.ceil(s / p)) * W for s, p in zip(start_s, period, strict=True)], i8),
        ca_next_s=np.array(ca_next),
        retry=np.zeros(B, i1),
        first_tick=np.full(B, -warmup, i8),
        pool_max=pool_max,
        active=np.zeros((B, P), i4),
        active_at=np.full((B, P), -1, i4),
        n_active=np.zeros(B, i4),
        node_extra_s=np.zeros((B, G)),
        live_nodes=np.zeros((B, G), i4),
        drain_since_s=np.zeros((B, N)),
        n_draining=np.zeros(B, i4),
        n_booting=np.zeros(B, i4),
        api_delay_s=np.zeros(B),
        api_since_s=np.full(B, -np.inf),
        overflow=np.zeros(B, i4),
        pod_event_s=np.full((B, N), np.nan),
        claim_event_s=np.full((B, N), np.nan),
        pods_version=np.zeros((B, N), np.int64),
        ends_count=np.ones(B, i1),
        changes=np.zeros(B, i8),
        change_s=np.full(B, -np.inf),
    )


def _sync_period(case: Case) -> float:
    return case.stack.hpa_of(case.scenario.cluster.workloads[0]).sync_period_s


def _pack_money(groups: Groups) -> Money:
    cpu = groups.cap[..., 0] * 1e-3
    mem = groups.cap[..., 1] / GIB
    weight = cpu * CORE_USD_PER_H
    return Money(weight / np.maximum(weight + mem * GIB_USD_PER_H, 1e-12), np.maximum(cpu, 1e-9), np.maximum(mem, 1e-9))


def _scratch(B: int, W: int, N: int, P: int, G: int) -> Scratch:
    events = P + N + 64
    return Scratch(
        node_cpu=np.zeros((B, N)), node_s=np.zeros((B, G)), node_usd=np.zeros((B, G)), core_usd=np.zeros((B, G)),
        gib_usd=np.zeros((B, G)), used_usd=np.zeros((B, G)), paid_usd=np.zeros((B, G)),
        granted=np.zeros((B, W)), wanted=np.zeros((B, W)), known=np.zeros((B, W, KNOWN)),
        failed=np.zeros((B, W), np.int32), passes=np.zeros(B, np.int32), event_s=np.zeros((B, events)),
        event_kind=np.zeros((B, events), np.int32), event_id=np.zeros((B, events), np.int32),
    )  # fmt: skip
