"""A chosen setting as a file for `kubectl patch`: the change and nothing else."""

from __future__ import annotations

from typing import Any, Literal

import yaml

from envs.cluster import Workload
from envs.setpoints import SetPoint
from envs.stack import HpaMetric, HpaSpec, ScalingRules

Flavor = Literal["hpa", "keda"]


def patch_text(w: Workload, point: SetPoint, *, flavor: Flavor = "hpa") -> str:
    """YAML with the command that applies it on top.

    hpa: a merge patch of a HorizontalPodAutoscaler of the workload's name. A merge patch replaces lists, so all
    metrics are in it. keda: a JSON patch of a ScaledObject of that name, as its triggers hold what Trimtab
    does not know.
    """
    object_kind, patch_type = ("hpa", "merge") if flavor == "hpa" else ("scaledobject", "json")
    document: Any = hpa_patch(point.spec) if flavor == "hpa" else keda_patch(point)
    place = f"{w.name}.{flavor}.yaml"
    head = f"# kubectl patch {object_kind} {w.name} -n {w.namespace} --type {patch_type} --patch-file {place}\n"
    return head + yaml.safe_dump(document, sort_keys=False)


def hpa_patch(spec: HpaSpec) -> dict[str, Any]:
    """spec.metrics and spec.behavior.scaleDown of an autoscaling/v2 object."""
    body: dict[str, Any] = {"metrics": [_metric(m) for m in spec.metrics]}
    if spec.behavior is not None and spec.behavior.scale_down is not None:
        body["behavior"] = {"scaleDown": _rules(spec.behavior.scale_down)}
    return {"spec": body}


def keda_patch(point: SetPoint) -> list[dict[str, Any]]:
    """Operations on a ScaledObject: threshold of its first trigger, scale-down window of its HPA.

    `advanced` is written as a whole: what else stood there must be put back by hand.
    """
    spec = point.spec
    rules = spec.behavior.scale_down if spec.behavior and spec.behavior.scale_down else ScalingRules()
    metric = spec.metrics[0]
    value = f"{metric.target:.0f}" if metric.target_type == "Utilization" else f"{metric.target:.6g}"
    name = "value" if metric.type == "Resource" else "threshold"
    advanced = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": _rules(rules)}}}
    return [
        {"op": "replace", "path": f"/spec/triggers/0/metadata/{name}", "value": value},
        {"op": "add", "path": "/spec/advanced", "value": advanced},
    ]


def _rules(rules: ScalingRules) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if rules.stabilization_s is not None:
        out["stabilizationWindowSeconds"] = rules.stabilization_s
    if rules.tolerance is not None:
        out["tolerance"] = f"{rules.tolerance:g}"
    if rules.select != "Max":
        out["selectPolicy"] = rules.select
    if rules.policies is not None:
        out["policies"] = [{"type": p.type, "value": p.value, "periodSeconds": p.period_s} for p in rules.policies]
    return out


def _metric(metric: HpaMetric) -> dict[str, Any]:
    target = _target(metric)
    if metric.type == "Resource":
        return {"type": "Resource", "resource": {"name": metric.name, "target": target}}
    if metric.type == "ContainerResource":
        return {"type": "ContainerResource", "containerResource": {"name": metric.name, "target": target}}
    named = {"metric": {"name": metric.name}, "target": target}
    return {"type": metric.type, metric.type.lower(): named}


def _target(metric: HpaMetric) -> dict[str, Any]:
    if metric.target_type == "Utilization":
        return {"type": "Utilization", "averageUtilization": round(metric.target)}
    key = "value" if metric.target_type == "Value" else "averageValue"
    return {"type": metric.target_type, key: f"{max(1, round(metric.target * 1000))}m"}
