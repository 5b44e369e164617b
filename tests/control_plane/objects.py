"""Kubernetes objects of a scenario's workloads: Deployments, HPAs, PodDisruptionBudgets, DaemonSets, fixed nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from envs.cluster import NodePool, Workload
from envs.scenario import Scenario
from envs.sim.pack_placement import GIB, NodeGroup, node_groups, requests, split_evenly
from envs.stack import HpaMetric, HpaSpec, ScalingRules, Stack
from tests.control_plane.speeds import DEFAULT_PERIOD_S, hpa_of
from tests.control_plane.stages import DELETE_DELAY, READY_DELAY, READY_JITTER

NAMESPACE = "load"
GPU = "nvidia.com/gpu"
NODEPOOL = "karpenter.sh/nodepool"
Json = dict[str, Any]


def name_of(w: int) -> str:
    """The Deployment of workload w; scenario names are not all valid object names."""
    return f"w{w}"


def deployment(w: int, workload: Workload, replicas: int, speed: int, names: dict[str, int]) -> Json:
    """names: workload name -> index, for anti-affinity."""
    labels = {"app": name_of(w)}
    spec: Json = {
        "containers": [{"name": "c", "image": "none", "resources": _resources(workload)}],
        "nodeSelector": dict(workload.node_selector),
        "tolerations": [_toleration(t) for t in workload.tolerations],
        "topologySpreadConstraints": [_spread(s, labels) for s in workload.spread],
        "affinity": _affinity(w, workload, names),
        "terminationGracePeriodSeconds": math.ceil(workload.grace_s / speed),
    }
    if workload.priority:
        spec["priorityClassName"] = priority_name(workload.priority)
    template = {"metadata": {"labels": labels, "annotations": _delays(workload, speed)}, "spec": spec}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name_of(w), "labels": labels}, "spec": body}


def priority_name(priority: int) -> str:
    return f"priority-{'minus-' if priority < 0 else ''}{abs(priority)}"


def priority_class(priority: int) -> Json:
    return {"metadata": {"name": priority_name(priority)}, "value": priority}


def disruption_budget(w: int, workload: Workload) -> Json | None:
    """policy/v1 PodDisruptionBudget of the workload, None without one."""
    if workload.pdb is None:
        return None
    least = workload.pdb.min_available is not None
    value = workload.pdb.min_available if least else workload.pdb.max_unavailable
    text = f"{round(float(value or 0) * 100)}%" if workload.pdb.is_share else int(value or 0)
    rule = {"minAvailable" if least else "maxUnavailable": text}
    return {"metadata": {"name": name_of(w)}, "spec": {"selector": {"matchLabels": {"app": name_of(w)}}, **rule}}


def autoscaler(w: int, workload: Workload, stack: Stack, speed: int) -> Json | None:
    """autoscaling/v2 HorizontalPodAutoscaler, None where replicas are fixed."""
    hpa = hpa_of(stack, workload)
    if hpa is None:
        return None
    low = hpa.min_replicas if hpa.min_replicas is not None else workload.min_replicas
    spec: Json = {
        "scaleTargetRef": _target(w),
        "minReplicas": low if hpa.scale_to_zero else max(low, 1),
        "maxReplicas": hpa.max_replicas or workload.max_replicas,
        "metrics": [_metric(w, workload, metric) for metric in hpa.metrics],
    }
    if hpa.behavior is not None:
        spec["behavior"] = {
            "scaleUp": _rules(hpa.behavior.scale_up or ScalingRules(), speed, up=True),
            "scaleDown": _rules(hpa.behavior.scale_down or ScalingRules(), speed, up=False),
        }
    return {"metadata": {"name": name_of(w)}, "spec": spec}


def daemon_set(pool: NodePool) -> Json | None:
    """What the pool's DaemonSets request on each of its nodes, as one pod."""
    cpu, memory = round(pool.daemon_cpu * 1000), round(pool.daemon_memory_gib * GIB)
    if cpu == 0 and memory == 0:
        return None
    labels = {"daemon": pool.name.replace("/", "-").lower()}
    spec = {
        "containers": [
            {"name": "c", "image": "none", "resources": {"requests": {"cpu": f"{cpu}m", "memory": f"{memory}"}}}
        ],
        "nodeSelector": {NODEPOOL: pool.name},
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "system-node-critical",
        "terminationGracePeriodSeconds": 0,
    }
    delays = {READY_DELAY: "0s", READY_JITTER: "0s", DELETE_DELAY: "0s"}
    template = {"metadata": {"labels": labels, "annotations": delays}, "spec": spec}
    name = f"daemon-{labels['daemon']}"
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


def fixed_nodes(scenario: Scenario) -> Iterator[Json]:
    """The pools' initial nodes as Node objects: of the first type, over the zones, as the simulator places them."""
    groups, number = node_groups(scenario.cluster), 0
    for index, pool in enumerate(scenario.cluster.node_pools):
        counts = split_evenly(max(pool.initial_nodes, pool.min_nodes), len(pool.zones))
        for group in groups:
            if group.pool == index and group.home:
                for _ in range(counts[pool.zones.index(group.zone)]):
                    yield node(f"node-{number}", group)
                    number += 1


def node(name: str, group: NodeGroup) -> Json:
    """A fixed node of a group; kwok makes it Ready."""
    m = group.machine
    allocatable = {
        "cpu": f"{round(m.allocatable_cpu * 1000)}m",
        "memory": str(round(m.allocatable_memory_gib * GIB)),
        "pods": str(m.max_pods),
        **({GPU: str(m.gpu)} if m.gpu else {}),
    }
    labels = {**group.labels, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    taints = [{"key": t.key, "value": t.value, "effect": t.effect} for t in group.spec.taints]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"capacity": allocatable, "allocatable": allocatable},
    }


def _resources(workload: Workload) -> Json:
    cpu, memory, _, gpu = requests(workload)
    wanted = {"cpu": f"{cpu}m", "memory": str(memory)}
    limits: Json = {}
    if math.isfinite(workload.cpu_limit):
        limits["cpu"] = f"{round(workload.cpu_limit * 1000)}m"
    if math.isfinite(workload.memory_limit_gib):
        limits["memory"] = str(round(workload.memory_limit_gib * GIB))
    if gpu:
        wanted[GPU] = limits[GPU] = str(gpu)
    return {"requests": wanted, "limits": limits}


def _delays(workload: Workload, speed: int) -> Json:
    """Start delay as a uniform one of equal mean and deviation (kwok knows no other), and grace time."""
    mean, half = (
        workload.start_delay_s / speed,
        math.sqrt(3.0) * workload.start_delay_cv * workload.start_delay_s / speed,
    )
    low, high = max(mean - half, 0.0), mean + min(half, mean)
    notes = {READY_DELAY: _ms(low), READY_JITTER: _ms(high), DELETE_DELAY: _ms(workload.grace_s / speed)}
    return notes if workload.safe_to_evict else {**notes, "karpenter.sh/do-not-disrupt": "true"}


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _toleration(t: Any) -> Json:
    out = {"operator": t.operator}
    for key, value in (("key", t.key), ("value", t.value), ("effect", t.effect)):
        if value:
            out[key] = value
    return out


def _spread(s: Any, labels: Json) -> Json:
    out = {
        "topologyKey": s.topology_key,
        "maxSkew": s.max_skew,
        "whenUnsatisfiable": "DoNotSchedule" if s.hard else "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    return {**out, "minDomains": s.min_domains} if s.hard and s.min_domains > 1 else out


def _affinity(w: int, workload: Workload, names: dict[str, int]) -> Json:
    terms = []
    for term in workload.anti_affinity:
        apps = [name_of(names[n]) for n in term.workloads] or [name_of(w)]
        selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": apps}]}
        terms.append({"topologyKey": term.topology_key, "labelSelector": selector})
    if not terms:
        return {}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _target(w: int) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": name_of(w)}


def _metric(w: int, workload: Workload, metric: HpaMetric) -> Json:
    target = _metric_target(workload, metric)
    if metric.type == "Resource":
        return {"type": "Resource", "resource": {"name": metric.name, "target": target}}
    if metric.type == "ContainerResource":
        return {"type": metric.type, "containerResource": {"name": metric.name, "container": "c", "target": target}}
    if metric.type == "Pods":
        return {"type": "Pods", "pods": {"metric": {"name": metric.name}, "target": target}}
    if metric.type == "Object":
        described = {"describedObject": _target(w), "metric": {"name": metric.name}, "target": target}
        return {"type": "Object", "object": described}
    selector = {"matchLabels": {"workload": name_of(w)}}
    return {"type": "External", "external": {"metric": {"name": metric.name, "selector": selector}, "target": target}}


def _metric_target(workload: Workload, metric: HpaMetric) -> Json:
    value = metric.target
    if metric.capacity_share is not None:
        value = metric.capacity_share * workload.service.capacity_rps
    if metric.target_type == "Utilization":
        return {"type": "Utilization", "averageUtilization": round(value)}
    text = str(round(value * GIB)) if metric.name == "memory" else f"{max(1, round(value * 1000))}m"
    return {"type": metric.target_type, "averageValue" if metric.target_type == "AverageValue" else "value": text}


def _rules(rules: ScalingRules, speed: int, *, up: bool) -> Json:
    """One direction of a behavior; what the API server would fill in is spelled out, as it has a period in it."""
    policies = [(p.type, p.value, p.period_s) for p in rules.policies or ()]
    if rules.policies is None:
        policies = [("Percent", 100, DEFAULT_PERIOD_S)] + ([("Pods", 4, DEFAULT_PERIOD_S)] if up else [])
    out: Json = {
        "selectPolicy": rules.select,
        "policies": [
            {"type": kind, "value": value, "periodSeconds": period // speed} for kind, value, period in policies
        ],
    }
    if rules.stabilization_s is not None:
        out["stabilizationWindowSeconds"] = rules.stabilization_s // speed
    if rules.tolerance is not None:
        out["tolerance"] = f"{rules.tolerance:g}"
    return out


def hpa_specs(scenario: Scenario, stack: Stack) -> list[HpaSpec | None]:
    """The HPA of every workload."""
    return [hpa_of(stack, w) for w in scenario.cluster.workloads]
