"""What scales a workload in a user's manifests: HPAs (autoscaling/v2), KEDA ScaledObjects, PDBs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from envs.cron_windows import check_cron, parse_zone
from envs.errors import InputError
from envs.manifest_files import Body, Manifest
from envs.manifest_pods import Notes, pod_labels, read_selector
from envs.matching import matches_labels
from envs.quantities import format_memory, parse_cpu, parse_memory, parse_quantity
from envs.scenario_writer import guess

TARGET_KINDS = ("Deployment", "StatefulSet")
KEDA_MAX = 100  # maxReplicaCount when a ScaledObject does not say
_KEDA_SECONDS = {
    "pollingInterval": "polling_interval_s",
    "cooldownPeriod": "cooldown_s",
    "initialCooldownPeriod": "initial_cooldown_s",
}
_MEANINGS = (  # what a metric's name gives away about what it counts
    (
        "queue_length",
        re.compile(r"queue|lag|backlog|depth|messages?|pending|jobs|sqs|kafka|rabbit", re.IGNORECASE),
    ),
    ("concurrency", re.compile(r"concurren|in.?flight|connections|active.?requests|sessions", re.IGNORECASE)),
    ("requests_per_second", re.compile(r"rps|qps|requests?|req_|http|rate|hits|throughput", re.IGNORECASE)),
)


def target_of(reference: Body) -> tuple[str, str]:
    """(kind, name) of a scaleTargetRef; KEDA leaves kind out for a Deployment."""
    return reference.text("kind", "Deployment") or "Deployment", reference.text("name")


def hpa_fields(manifest: Manifest, notes: Notes) -> dict[str, Any]:
    """min and max replicas and the `hpa` field of a workload, from an HPA."""
    spec = manifest.spec
    behavior = _behavior(spec.child("behavior"))
    metrics = [m for body in spec.children("metrics") if (m := _metric(body, manifest.title, notes)) is not None]
    if "targetCPUUtilizationPercentage" in spec.value:  # autoscaling/v1
        metrics.append(_resource("cpu", float(spec.whole("targetCPUUtilizationPercentage", 80))))
    if not metrics:
        notes.add(manifest.title, "has no metric; the API server's default, 80 % CPU utilization, is taken")
        metrics = [_resource("cpu", 80.0)]
    hpa: dict[str, Any] = {"kind": "hpa", "metrics": metrics}
    if behavior:
        hpa["behavior"] = behavior
    low = spec.whole("minReplicas", 1)
    return {
        "min_replicas": max(low, 0),
        "max_replicas": max(spec.whole("maxReplicas", 10), low, 1),
        "hpa": hpa,
    }


def scaled_object_fields(manifest: Manifest, notes: Notes) -> dict[str, Any]:
    """Likewise from a ScaledObject."""
    spec = manifest.spec
    read = [_trigger(trigger, manifest.title, notes) for trigger in spec.children("triggers")]
    triggers = [trigger for trigger in read if trigger is not None]
    low, high = max(spec.whole("minReplicaCount", 0), 0), spec.whole("maxReplicaCount", KEDA_MAX)
    idle = 0 if "idleReplicaCount" in spec.value and low > 0 else None
    if 0 in (low, idle) and all(trigger["type"] in ("cpu", "memory") for trigger in triggers):
        notes.add(manifest.title, "no trigger could wake it from zero; at least 1 replica is kept")
        low, idle = max(low, 1), None
    fields: dict[str, Any] = {"min_replicas": low, "max_replicas": max(high, low, 1)}
    if not triggers:
        return fields
    if "scalingModifiers" in spec.child("advanced").value:
        notes.add(manifest.title, "scalingModifiers is left out: each trigger counts by itself")
    keda: dict[str, Any] = {"kind": "keda", "triggers": triggers}
    for key, name in _KEDA_SECONDS.items():
        if key in spec.value:
            keda[name] = max(spec.whole(key, 0), 5 if name == "polling_interval_s" else 0)
    if idle is not None:
        keda["idle_replicas"] = 0
    if fallback := _fallback(spec.child("fallback")):
        keda["fallback"] = fallback
    if behavior := _behavior(spec.at("advanced", "horizontalPodAutoscalerConfig", "behavior")):
        keda["behavior"] = behavior
    return {**fields, "hpa": keda}


def _fallback(body: Body) -> dict[str, Any]:
    if "replicas" not in body.value:
        return {}
    found: dict[str, Any] = {"replicas": body.whole("replicas", 1)}
    found["failure_threshold"] = body.whole("failureThreshold", 3)
    if behavior := body.text("behavior"):
        found["behavior"] = behavior
    return found


def pdb_of(workload: Manifest, budgets: Sequence[Manifest]) -> dict[str, Any] | None:
    """The first PodDisruptionBudget whose selector matches the workload's pods."""
    for budget in budgets:
        wanted = budget.spec.child("selector")
        if budget.namespace != workload.namespace or not matches_labels(read_selector(wanted), pod_labels(workload)):
            continue
        for key, name in (("minAvailable", "min_available"), ("maxUnavailable", "max_unavailable")):
            value = budget.spec.value.get(key)
            if isinstance(value, int | str) and not isinstance(value, bool):
                return {name: int(value) if isinstance(value, str) and value.isdecimal() else value}
    return None


def _resource(name: str, percent: float) -> dict[str, Any]:
    return {"type": "Resource", "name": name, "target_type": "Utilization", "target": _number(percent)}


def _metric(body: Body, title: str, notes: Notes) -> dict[str, Any] | None:
    """One entry of spec.metrics."""
    kind = body.text("type")
    part = body.child(kind[:1].lower() + kind[1:])
    if kind == "ContainerResource":
        notes.add(title, f"container metric of {part.text('container')}: a pod is one container here")
    if kind in ("Resource", "ContainerResource"):
        return _resource_metric(kind, part, title, notes)
    if kind not in ("Pods", "Object", "External"):
        raise body.error("type", kind, "must be Resource, ContainerResource, Pods, Object or External")
    name = part.child("metric").text("name") or part.text("name")
    target = part.child("target")
    value = target.quantity("averageValue", parse_quantity)
    target_type = "AverageValue"
    if value is None:
        value, target_type = target.quantity("value", parse_quantity), "Value"
    if value is None or value <= 0:
        raise target.error("averageValue", value, "a positive averageValue or value is needed")
    return {
        "type": kind,
        "name": _meaning(name, title, notes),
        "target_type": target_type,
        "target": _number(value),
    }


def _resource_metric(kind: str, part: Body, title: str, notes: Notes) -> dict[str, Any] | None:
    name, target = part.text("name"), part.child("target")
    if name not in ("cpu", "memory"):
        notes.add(title, f"a metric on resource {name} is left out")
        return None
    if "averageValue" in target.value:
        parse = parse_cpu if name == "cpu" else parse_memory
        value = target.quantity("averageValue", parse) or 0.0
        shown: Any = _number(value) if name == "cpu" else format_memory(value)
        return {"type": kind, "name": name, "target_type": "AverageValue", "target": shown}
    percent = target.whole("averageUtilization", 80)
    return {**_resource(name, max(float(percent), 1.0)), "type": kind}


def _meaning(name: str, title: str, notes: Notes) -> Any:
    """Which of the simulated metrics a user's metric stands for; by its name, so it is a guess."""
    for meaning, pattern in _MEANINGS:
        if pattern.search(name):
            notes.add(title, f'metric "{name}" is read as {meaning}')
            return guess(meaning, f'by the name "{name}"')
    notes.add(title, f'metric "{name}" says nothing about what it counts; it is read as requests_per_second')
    return guess("requests_per_second", f'"{name}" may be something else')


def _trigger(trigger: Body, title: str, notes: Notes) -> dict[str, Any] | None:
    kind, metadata = trigger.text("type"), trigger.child("metadata")
    if kind in ("cpu", "memory"):
        return _resource_trigger(kind, trigger, metadata)
    if kind == "cron":
        return _cron_trigger(metadata)
    keys = [k for k in ("threshold", "queueLength", "lagThreshold", "value", "targetValue") if k in metadata.value]
    if not keys:
        notes.add(title, f"{kind} trigger has no threshold that is known here and is left out")
        return None
    value = metadata.quantity(keys[0], parse_quantity) or 0.0
    if value <= 0:
        raise metadata.error(keys[0], value, "must be above zero")
    said = " ".join(metadata.text(k) for k in ("metricName", "query", "queueName", "topic") if k in metadata.value)
    name = _meaning(f"{kind if kind != 'prometheus' else ''} {said}".strip()[:200], title, notes)
    shown = {"type": name, "threshold": _number(value)}
    if trigger.text("metricType") == "Value":
        shown["target_type"] = "Value"
    active = [key for key in metadata.value if key.lower().startswith("activation")]
    above = metadata.quantity(active[0], parse_quantity) if active else None
    return {**shown, "activation": _number(above)} if above else shown


def _cron_trigger(metadata: Body) -> dict[str, Any]:
    replicas = metadata.quantity("desiredReplicas", parse_quantity)
    if replicas is None or replicas < 1:
        raise metadata.error("desiredReplicas", replicas, "a cron trigger needs at least 1")
    times = {key: metadata.text(key) for key in ("timezone", "start", "end")}
    for key, text in times.items():
        try:
            _ = parse_zone(text) if key == "timezone" else check_cron(text)
        except InputError as error:
            raise metadata.error(key, text, error.mend) from None
    return {"type": "cron", **times, "desired_replicas": int(replicas)}


def _resource_trigger(kind: str, trigger: Body, metadata: Body) -> dict[str, Any]:
    metric_type = trigger.text("metricType") or metadata.text("type") or "Utilization"
    if metric_type == "AverageValue":
        value = metadata.quantity("value", parse_cpu if kind == "cpu" else parse_memory) or 0.0
        shown: Any = _number(value) if kind == "cpu" else format_memory(value)
        return {"type": kind, "target_type": "AverageValue", "threshold": shown}
    percent = max(metadata.quantity("value", parse_quantity) or 80.0, 1.0)
    return {"type": kind, "target_type": "Utilization", "threshold": _number(percent)}


def _behavior(body: Body) -> dict[str, Any]:
    found = {"scale_up": _rules(body.child("scaleUp")), "scale_down": _rules(body.child("scaleDown"))}
    return {name: rules for name, rules in found.items() if rules}


def _rules(body: Body) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if "stabilizationWindowSeconds" in body.value:
        rules["stabilization_s"] = body.whole("stabilizationWindowSeconds", 0)
    if select := body.text("selectPolicy"):
        rules["select"] = select
    if policies := body.children("policies"):
        rules["policies"] = [
            {"type": p.text("type"), "value": p.whole("value", 0), "period_s": p.whole("periodSeconds", 60)}
            for p in policies
        ]
    tolerance = body.quantity("tolerance", parse_quantity)
    if tolerance is not None:
        rules["tolerance"] = tolerance
    return rules


def _number(value: float) -> float | int:
    return int(value) if value == int(value) and abs(value) < 1e15 else value
