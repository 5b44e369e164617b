"""What differs between the stacks of a report, setting by setting, and what each of them is."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import Any

from envs.stack import (
    ClusterAutoscaler,
    ForecastSpec,
    HpaMetric,
    HpaSpec,
    KedaSpec,
    KedaTrigger,
    ReplicaScaler,
    ScheduleSpec,
    Stack,
    StaticReplicas,
)

_SKIPPED = frozenset({"name", "description"})
_KINDS = {
    "HpaSpec": "HPA v2",
    "StaticReplicas": "fixed count",
    "KedaSpec": "KEDA",
    "ForecastSpec": "forecast floor + HPA v2",
    "ScheduleSpec": "scheduled floor + HPA v2",
    "ClusterAutoscaler": "Cluster Autoscaler",
    "StaticNodes": "fixed",
}


def describe(stack: Stack) -> str:
    """ "HPA on CPU at 80 %; Cluster Autoscaler (least-waste); LeastAllocated scheduling"."""
    replicas = _replicas(stack.replicas)
    if stack.replay is not None:
        replicas += ", its target and scale-down window set by replaying each workload's past"
    if stack.learned is not None:
        replicas += f", its target and scale-down window moved each {stack.learned.period_s:g} s by a network"
        replicas += " that replay of each workload's past picks the variant of" if stack.learned.replay else ""
    return "; ".join([replicas, _nodes(stack.nodes), f"{stack.scheduler.fit_strategy} scheduling"])


def _replicas(replicas: ReplicaScaler) -> str:
    if isinstance(replicas, StaticReplicas):
        load = "peak load" if replicas.quantile >= 1.0 else f"{100 * replicas.quantile:g} % quantile of load"
        return f"fixed replicas for the {load} at {100 * replicas.utilization:g} % utilization"
    if isinstance(replicas, KedaSpec):
        to_zero = ", down to zero" if replicas.min_replicas == 0 or replicas.idle_replicas == 0 else ""
        return "KEDA on " + " and ".join(_trigger(trigger) for trigger in replicas.triggers) + to_zero
    if isinstance(replicas, ForecastSpec):
        return f"forecast ({100 * replicas.quantile:g} % quantile) as least replicas, {_hpa(replicas.hpa)}"
    if isinstance(replicas, ScheduleSpec):
        opened = " and ".join(f"{window.start} to {window.end} {window.timezone}" for window in replicas.windows)
        return f"least replicas by the clock ({opened}), {_hpa(replicas.hpa)}"
    return _hpa(replicas)


def _hpa(spec: HpaSpec) -> str:
    return "HPA on " + " and ".join(_metric(metric) for metric in spec.metrics)


def _trigger(trigger: KedaTrigger) -> str:
    if trigger.type == "cron":
        return f"a schedule ({trigger.start} to {trigger.end} {trigger.timezone})"
    if trigger.drain_s is not None:
        return f"queue length at {trigger.drain_s:g} s of a replica's work"
    return _metric(trigger.metric)


def _metric(metric: HpaMetric) -> str:
    name = {"cpu": "CPU", "memory": "memory"}.get(metric.name, metric.name.replace("_", " "))
    if metric.capacity_share is not None:
        return f"{name} at {100 * metric.capacity_share:g} % of a replica's capacity"
    return f"{name} at {metric.target:g}{' %' if metric.target_type == 'Utilization' else ''}"


def _nodes(nodes: object) -> str:
    return f"Cluster Autoscaler ({nodes.expander})" if isinstance(nodes, ClusterAutoscaler) else "fixed nodes"


def differing_settings(stacks: list[Stack]) -> list[tuple[str, list[str]]]:
    """(setting, its value in each stack) where two disagree; a dash where a stack has no such setting."""
    flat = [_flatten(stack) for stack in stacks]
    paths = dict.fromkeys(path for one in flat for path in one)
    rows = [(path, [one.get(path, "—") for one in flat]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values) - {"—"}) > 1]


def _flatten(value: Any, path: str = "") -> dict[str, str]:
    """Settings of a stack by dotted path; which kind of thing a part is counts as one of them."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        found = {path: _KINDS.get(kind, kind)} if path in {"replicas", "nodes", "replay"} else {}
        for item in fields(value):
            if path or item.name not in _SKIPPED:
                found |= _flatten(getattr(value, item.name), f"{path}.{item.name}" if path else item.name)
        return found
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return {key: text for k, part in enumerate(value) for key, text in _flatten(part, f"{path}[{k}]").items()}
    return {path: "none" if value is None or value == () else f"{value:g}" if isinstance(value, float) else str(value)}


def plain(value: Any) -> Any:
    """Dataclasses as what YAML can say: dicts, lists, text and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
