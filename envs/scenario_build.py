"""From validated scenario models to the frozen Scenario: units, names, references, cross-checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from envs.cluster import (
    CAPACITY_KEY,
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
from envs.discounts import CommittedUse
from envs.errors import InputError
from envs.intent import Intent
from envs.min_values import check_min_values
from envs.nearest import did_you_mean
from envs.scenario import GeneratedDemand, NoiseModel, TraceDemand
from envs.scenario_models import MAX_NODES, IntentDoc, NodePoolDoc, NoiseDoc, PricesDoc, ScenarioDoc
from envs.stack_file import hpa_from_document
from envs.workload_models import DemandDoc, PdbDoc, ServiceDoc, WorkloadDoc

DAY_S = 86_400.0


@dataclass(frozen=True)
class Place:
    """Where relative paths start and what messages name."""

    file: Path | None
    folder: Path


def build_cluster(doc: ScenarioDoc, types: dict[str, InstanceType], place: Place) -> ClusterSpec:
    """The cluster of a document; only the instance types that pools name are kept. Raises InputError."""
    _unique([w.name for w in doc.workloads], "workloads", place.file)
    _unique([p.name for p in doc.node_pools], "node_pools", place.file)
    names = {w.name for w in doc.workloads}
    workloads = tuple(_workload(w, f"workloads[{i}]", names, place.file) for i, w in enumerate(doc.workloads))
    pools = tuple(_pool(p, f"node_pools[{i}]", place.file) for i, p in enumerate(doc.node_pools))
    for index, pool in enumerate(pools):
        check_min_values(pool, types, f"node_pools[{index}].min_values", place.file)
    total = sum(pool.max_nodes for pool in pools)
    if total > MAX_NODES:
        raise InputError(place.file, "node_pools", f"{total} nodes", f"lower max_nodes to {MAX_NODES:,} in all")
    used = dict.fromkeys(name for pool in pools for name in pool.instance_types)
    return ClusterSpec(workloads, pools, tuple(types[name] for name in used), doc.name)


def build_demand(doc: ScenarioDoc, place: Place) -> tuple[TraceDemand | GeneratedDemand, ...]:
    """One demand per workload, `traffic_scale` included."""
    return tuple(_demand(w.demand, doc.traffic_scale, place.folder) for w in doc.workloads)


def build_intent(doc: IntentDoc) -> Intent:
    """None means no limit."""

    def limit(value: float | None) -> float:
        return float("inf") if value is None else float(value)

    return Intent(
        budget_usd_per_h=limit(doc.budget),
        violation_price=doc.violation_price,
        slo_window_days=doc.slo_window_days,
        max_pod_evictions_per_h=limit(doc.max_pod_evictions_per_h),
        max_node_removals_per_h=limit(doc.max_node_removals_per_h),
        autonomy=doc.autonomy,
    )


def build_committed_use(doc: PricesDoc) -> CommittedUse | None:
    """None where there is no commitment, or one of nothing."""
    promise = doc.committed_use
    return CommittedUse(promise.usd_per_h, promise.discount) if promise and promise.usd_per_h > 0 else None


def build_noise(doc: NoiseDoc) -> NoiseModel:
    """Variation below the trace's step."""
    return NoiseModel(cv=doc.cv, tau_s=doc.tau, dispersion=doc.dispersion, enabled=doc.enabled)


def _unique(names: list[str], section: str, file: Path | None) -> None:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            mend = f"is also the name of {section}[{seen[name]}]; names are unique"
            raise InputError(file, f"{section}[{index}].name", name, mend)
        seen[name] = index


def _workload(doc: WorkloadDoc, where: str, names: set[str], file: Path | None) -> Workload:
    service = _service(doc.service)
    cpu, memory = _requests(doc, service)
    for limit, request, what in ((doc.cpu_limit, cpu, "cpu"), (doc.memory_limit, memory, "memory")):
        if limit is not None and request > limit * (1 + 1e-9):
            mend = f"is below the {what} request of {request:g}; raise it, or set {what}_request"
            raise InputError(file, f"{where}.{what}_limit", limit, mend)
    return Workload(
        name=doc.name,
        service=service,
        kind=doc.kind,
        namespace=doc.namespace,
        team=doc.team,
        cpu_request=cpu,
        memory_request_gib=memory,
        gpu_request=doc.gpu_request,
        cpu_limit=float("inf") if doc.cpu_limit is None else doc.cpu_limit,
        memory_limit_gib=float("inf") if doc.memory_limit is None else doc.memory_limit,
        priority=doc.priority,
        min_replicas=doc.min_replicas,
        max_replicas=doc.max_replicas,
        initial_replicas=doc.initial_replicas,
        slo_target=doc.slo,
        backlog_age_slo_s=doc.backlog_age_slo,
        deadline_s=doc.deadline,
        start_delay_s=doc.start_delay,
        start_delay_cv=doc.start_delay_cv,
        grace_s=doc.grace,
        node_selector=tuple(_node_selector(doc).items()),
        tolerations=tuple(Toleration(t.key, t.operator, t.value, t.effect) for t in doc.tolerations),
        spread=tuple(SpreadConstraint(s.topology_key, s.max_skew, s.hard, s.min_domains) for s in doc.spread),
        anti_affinity=tuple(_anti_affinity(doc, where, names, file)),
        pdb=_pdb(doc.pdb),
        safe_to_evict=doc.safe_to_evict,
        hpa=None if doc.hpa is None else hpa_from_document(doc.hpa, file=file, where=f"{where}.hpa"),
    )


def _node_selector(doc: WorkloadDoc) -> dict[str, str]:
    return dict(doc.node_selector) | ({} if doc.spot else {CAPACITY_KEY: "on-demand"})


def _requests(doc: WorkloadDoc, service: ServiceModel) -> tuple[float, float]:
    """CPU (cores) and memory (GiB) requests: what was given, or the usage at full slots."""
    full_cpu = service.slots * service.cpu_s_per_request / service.service_time_s
    full_memory = service.memory_base_gib + service.slots * service.memory_per_busy_slot_gib
    cpu = full_cpu if doc.cpu_request is None else doc.cpu_request
    memory = full_memory if doc.memory_request is None else doc.memory_request
    return cpu * doc.cpu_request_factor, memory


def _service(doc: ServiceDoc) -> ServiceModel:
    return ServiceModel(
        slots=doc.slots,
        service_time_s=doc.service_time,
        service_cv=doc.service_cv,
        cpu_s_per_request=doc.cpu_per_request,
        threshold_s=doc.threshold,
        timeout_s=doc.timeout,
        balancing=doc.balancing,
        memory_base_gib=doc.memory_base,
        memory_per_busy_slot_gib=doc.memory_per_busy_slot,
    )


def _anti_affinity(doc: WorkloadDoc, where: str, names: set[str], file: Path | None) -> Iterator[AntiAffinity]:
    for i, term in enumerate(doc.anti_affinity):
        for name in term.workloads:
            if name not in names:
                mend = did_you_mean(name, names, noun="workload")
                raise InputError(file, f"{where}.anti_affinity[{i}].workloads", name, mend)
        yield AntiAffinity(term.topology_key, tuple(term.workloads))


def _pdb(doc: PdbDoc | None) -> DisruptionBudget | None:
    if doc is None:
        return None
    text = doc.min_available if doc.min_available is not None else doc.max_unavailable
    share = isinstance(text, str)
    value = float(str(text).rstrip("%")) / (100 if share else 1)
    if doc.min_available is not None:
        return DisruptionBudget(min_available=value, is_share=share)
    return DisruptionBudget(max_unavailable=value, is_share=share)


def _pool(doc: NodePoolDoc, where: str, file: Path | None) -> NodePool:
    for values, field in ((doc.instance_types, "instance_types"), (doc.zones, "zones")):
        if len(set(values)) < len(values):
            raise InputError(file, f"{where}.{field}", values, "holds a name twice; remove one")
    return NodePool(
        name=doc.name,
        instance_types=tuple(doc.instance_types),
        zones=tuple(doc.zones),
        capacity_types=tuple(doc.bought),
        min_nodes=doc.min_nodes,
        max_nodes=doc.max_nodes,
        initial_nodes=min(max(doc.initial_nodes, doc.min_nodes), doc.max_nodes),
        labels=tuple(doc.labels.items()),
        taints=tuple(Taint(t.key, t.value, t.effect) for t in doc.taints),
        boot_delay_s=doc.boot_delay,
        boot_delay_cv=doc.boot_delay_cv,
        daemon_cpu=doc.daemon_cpu,
        daemon_memory_gib=doc.daemon_memory,
        weight=doc.weight,
        min_values=tuple(doc.min_values.items()),
        limit_cpu=float("inf") if doc.limits.cpu is None else doc.limits.cpu,
        limit_memory_gib=float("inf") if doc.limits.memory is None else doc.limits.memory,
        consolidate_after_s=doc.disruption.consolidate_after,
        consolidation_policy=doc.disruption.consolidation_policy,
        budgets=None if doc.disruption.budgets is None else tuple(b.build() for b in doc.disruption.budgets),
        expire_after_s=doc.expire_after,
    )


def _demand(doc: DemandDoc, traffic: float, folder: Path) -> TraceDemand | GeneratedDemand:
    shape = doc.generate
    if shape is None:
        trace = TraceDemand(
            path=folder / str(doc.trace),
            column=doc.column,
            scale=doc.scale * traffic,
            mean_rps=doc.mean_rps,
            offset_s=doc.offset,
            max_gap_s=doc.max_gap,
            repeat=doc.repeat,
        )
        if trace.mean_rps is None:
            return trace
        return replace(trace, scale=1.0, mean_rps=trace.mean_rps * trace.scale)
    return GeneratedDemand(
        base_rps=shape.base_rps * doc.scale * traffic,
        daily_amplitude=shape.daily_amplitude,
        weekly_amplitude=shape.weekly_amplitude,
        peak_hour=shape.peak_hour,
        trend_per_day=shape.trend_per_day,
        noise_cv=shape.noise_cv,
        burst_per_day=shape.burst_per_day,
        burst_factor=shape.burst_factor,
        burst_s=shape.burst_length,
        flash_at_s=tuple(shape.flash_at),
        flash_factor=shape.flash_factor,
        flash_s=shape.flash_length,
        dst_shift_at_s=shape.dst_shift_at,
        utc_offset_h=shape.utc_offset_h,
    )
