"""Checks that no single field shows: does every pod fit a node, is each trace long enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.errors import InputError
from envs.matching import hard_taints_tolerated, matches_node_affinity
from envs.offerings import node_labels
from envs.quantities import format_cpu, format_duration, format_memory, format_percent
from envs.scenario import Scenario, TraceDemand

DAEMON_PODS = 3  # network, proxy and log agents take pod slots on each node


def check_fit(cluster: ClusterSpec, file: Path | None) -> None:
    """Every workload's pod fits on an empty node of a pool that it may use, or InputError says why not."""
    types = {t.name: t for t in cluster.instance_types}
    for index, workload in enumerate(cluster.workloads):
        where = f"workloads[{index}]"
        open_pools = [p for p in cluster.node_pools if hard_taints_tolerated(workload.tolerations, p.taints)]
        if not open_pools:
            mend = "tolerates the taints of no node pool; add a toleration or a pool without taints"
            raise InputError(file, f"{where}.tolerations", workload.name, mend)
        places = [(p, types[name]) for p in open_pools for name in p.instance_types]
        places = [(pool, machine) for pool, machine in places if _selected(workload, pool, machine)]
        if not places:
            mend = "no node pool that it tolerates has these labels; mend node_selector or the pool's labels"
            raise InputError(file, f"{where}.node_selector", dict(workload.node_selector), mend)
        if not any(_fits(workload, _room(machine, pool)) for pool, machine in places):
            raise InputError(file, where, workload.name, _too_large(workload, places))


def check_traces(scenario: Scenario, lengths_s: dict[TraceDemand, float]) -> None:
    """Every trace covers the horizon from its offset on, or is to be repeated. Raises InputError."""
    for index, demand in enumerate(scenario.demand):
        if not isinstance(demand, TraceDemand) or demand.repeat:
            continue
        left = lengths_s[demand] - demand.offset_s
        if left < scenario.horizon_s * (1 - 1e-9):
            mend = (
                f"the trace covers {format_duration(max(left, 0))} from its offset on, the horizon is "
                f"{format_duration(scenario.horizon_s)}; lower days or set repeat: true"
            )
            raise InputError(scenario.source, f"workloads[{index}].demand.trace", str(demand.path), mend)


def idle_bad_share(service: ServiceModel) -> float:
    """P(service time > threshold) of a lognormal service time: bad even when nothing waits.

    ln T ~ N(mu, s2) with s2 = ln(1 + cv^2), mu = ln(mean) - s2 / 2.
    """
    s2 = math.log1p(service.service_cv**2)
    if s2 == 0:
        return 0.0 if service.service_time_s <= service.threshold_s else 1.0
    z = (math.log(service.threshold_s / service.service_time_s) + s2 / 2) / math.sqrt(s2)
    return 0.5 * math.erfc(z / math.sqrt(2))


def unreachable_slos(cluster: ClusterSpec) -> list[str]:
    """One line for each service whose SLO no replica count can meet."""
    lines = []
    for workload in cluster.workloads:
        bad = idle_bad_share(workload.service)
        if workload.kind == "service" and bad > 1 - workload.slo_target:
            lines.append(
                f"{workload.name}: {format_percent(bad)} of requests take longer than "
                f"{format_duration(workload.service.threshold_s)} with nobody waiting; "
                f"the SLO of {format_percent(workload.slo_target)} cannot be met"
            )
    return lines


def _room(machine: InstanceType, pool: NodePool) -> tuple[float, float, int, int]:
    """CPU, memory, GPUs and pods that an empty node has left beside its DaemonSets."""
    cpu = machine.allocatable_cpu - pool.daemon_cpu
    return (
        cpu,
        machine.allocatable_memory_gib - pool.daemon_memory_gib,
        machine.gpu,
        machine.max_pods - DAEMON_PODS,
    )


def _fits(workload: Workload, room: tuple[float, float, int, int]) -> bool:
    cpu, memory, gpu, pods = room
    return (
        workload.cpu_request <= cpu + 1e-9
        and workload.memory_request_gib <= memory + 1e-9
        and workload.gpu_request <= gpu
        and pods >= 1
    )


def _too_large(workload: Workload, places: Sequence[tuple[NodePool, InstanceType]]) -> str:
    def size(place: tuple[NodePool, InstanceType]) -> tuple[bool, float, float]:
        room = _room(place[1], place[0])
        return (room[2] >= workload.gpu_request, room[0], room[1])

    pool, machine = max(places, key=size)
    cpu, memory, gpu, _ = _room(machine, pool)
    need = f"{format_cpu(workload.cpu_request)} CPU and {format_memory(workload.memory_request_gib)}"
    offer = f"{format_cpu(max(cpu, 0))} CPU and {format_memory(max(memory, 0))}"
    if workload.gpu_request:
        need, offer = f"{need} and {workload.gpu_request} GPU", f"{offer} and {gpu} GPU"
    return (
        f"a pod needs {need}; the largest node it may use, {machine.name} in pool {pool.name}, "
        f"leaves {offer}; lower its requests or add a larger instance type"
    )


def _selected(workload: Workload, pool: NodePool, machine: InstanceType) -> bool:
    selector = dict(workload.node_selector)
    return any(
        matches_node_affinity(node_labels(pool, machine, zone, capacity), node_selector=selector)
        for zone in pool.zones
        for capacity in pool.capacity_types
        if machine.price_of(capacity) is not None
    )
