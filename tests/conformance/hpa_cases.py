"""Adapter for the HPA controller in closed loop (topic hpa_closed_loop).

One case is one scenario: its spec is packed once, each step's pods and metrics become an HpaSample,
and `hpa_sync` must give the recorded replica count at every step. Fields: see the vectors' README.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.controllers.hpa import POD_MISSING, POD_SAMPLED, POD_UNREADY, classify_pod, hpa_sync
from envs.controllers.hpa_pack import (
    NO_PODS,
    HpaArrays,
    HpaSample,
    empty_hpa_sample,
    empty_hpa_state,
    pack_hpa,
)
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, ScalingPolicy, ScalingRules
from tests.conformance.cases import Adapter, Case, Result, failed, left_out, passed

CPU_TYPES = ("Resource", "ContainerResource")
SHORTEST_SYNC_S = 5.0  # recorded syncs are now and then closer than the sync period


def rules_of(given: dict[str, Any] | None, effective: dict[str, Any]) -> ScalingRules | None:
    """One direction as the user wrote it; the tolerance as the number that the controller uses."""
    if given is None:
        return None
    policies = given.get("policies")
    return ScalingRules(
        stabilization_s=given.get("stabilizationWindowSeconds"),
        select=given.get("selectPolicy", "Max"),
        policies=policies and tuple(ScalingPolicy(p["type"], p["value"], p["periodSeconds"]) for p in policies),
        tolerance=effective.get("tolerance_float64"),
    )


def behavior_of(spec: dict[str, Any]) -> HpaBehavior | None:
    given = spec["behavior"]
    if given is None:
        return None
    effective = spec["behavior_effective"]
    return HpaBehavior(
        scale_up=rules_of(given.get("scaleUp"), effective["scaleUp"]),
        scale_down=rules_of(given.get("scaleDown"), effective["scaleDown"]),
    )


def metric_of(metric: dict[str, Any]) -> HpaMetric:
    name = metric.get("resource", "queue_length")
    scale = 1.0 if metric["target_type"] == "Utilization" else 1e-3
    return HpaMetric(metric["type"], name, metric["target_type"], metric["target"] * scale)


def arrays_of(case: dict[str, Any]) -> HpaArrays:
    spec = case["spec"]
    hpa = HpaSpec(
        metrics=tuple(metric_of(m) for m in spec["metrics"]),
        min_replicas=1 if spec["min"] is None else spec["min"],
        max_replicas=spec["max"],
        behavior=behavior_of(spec),
        scale_to_zero="HPAScaleToZero=true" in case.get("feature_gates", ()),
    )
    return pack_hpa(
        [[hpa]],
        capacity_rps=np.ones((1, 1)),
        cpu_request_milli=np.full((1, 1), case.get("cpu_request_milli", 0)),
        memory_request_bytes=np.full((1, 1), case.get("memory_request_bytes", 0)),
        min_replicas=np.ones((1, 1), np.int32),
        max_replicas=np.ones((1, 1), np.int32),
    )


def group_of(pod: dict[str, Any], step: dict[str, Any], case: dict[str, Any], hpa: HpaArrays, m: int) -> int:
    """classify_pod for one listed pod and metric m."""
    cpu = case["spec"]["metrics"][m]["type"] in CPU_TYPES
    return int(
        classify_pod(
            bool(pod.get("deleted", False)) or pod.get("phase") == "Failed",
            pod.get("phase") == "Pending",
            ("cpu" if cpu else "pm") in pod,
            bool(hpa.metric["by_readiness"][0, 0, m]),
            bool(pod.get("ready", False)),
            float(pod.get("start", math.nan)),
            float(pod.get("since", math.nan)),
            float(step.get("metric_ts", math.nan)),
            float(case.get("metric_window_s", 0)),
            float(step["t_s"]),
            float(hpa.spec["cpu_initialization_s"][0, 0]),
            float(hpa.spec["initial_readiness_s"][0, 0]),
        )
    )


def write_pod_metric(sample: HpaSample, m: int, step: dict[str, Any], case: dict[str, Any], hpa: HpaArrays) -> None:
    """Sums and counts of a metric that each pod has."""
    cpu = case["spec"]["metrics"][m]["type"] in CPU_TYPES
    totals, api, field = (
        ("usage_milli_ready_total", "cpu_api", "cpu")
        if cpu
        else ("pods_metric_milli_ready_total", "pods_metric_api", "pm")
    )
    counts = {POD_SAMPLED: step.get("pods_ready", 0), POD_UNREADY: 0, POD_MISSING: 0}
    usage = step.get(totals, 0)
    for pod in step.get("pods", ()):
        group = group_of(pod, step, case, hpa, m)
        if group in counts:
            counts[group] += 1
            usage += pod[field] if group == POD_SAMPLED else 0
    groups = counts[POD_SAMPLED], counts[POD_UNREADY], counts[POD_MISSING]
    sample.metric[0, 0, m] = (api not in step, *groups, usage)


def write_external(sample: HpaSample, m: int, value: Any) -> None:
    """A number, several series, null (error) or "empty" (no series)."""
    known = value is not None and value != "empty"
    total = sum(value) if isinstance(value, list) else value
    sample.metric[0, 0, m] = (True, 0, 0, 0, total) if known else (False, 0, 0, 0, 0)


def ready_pods(step: dict[str, Any]) -> int:
    """Running and Ready, terminating ones included; NO_PODS when the selector finds nothing."""
    if not step.get("pods_ready") and not step.get("pods"):
        return NO_PODS
    extra = sum(bool(p.get("ready", False)) and "phase" not in p for p in step.get("pods", ()))
    return int(step.get("pods_ready", 0)) + extra


def write_sample(sample: HpaSample, step: dict[str, Any], case: dict[str, Any], hpa: HpaArrays) -> None:
    external = iter(step.get("external_value", ()))
    sample.pods_ready[0, 0] = ready_pods(step)
    for m, metric in enumerate(case["spec"]["metrics"]):
        if metric["type"] == "External":
            write_external(sample, m, next(external))
        else:
            write_pod_metric(sample, m, step, case, hpa)


def closed_loop(case: Case) -> Result:
    record = case.record
    if any(m["type"] not in (*CPU_TYPES, "Pods", "External") for m in record["spec"]["metrics"]):
        return left_out("a metric type that the format does not describe")
    hpa = arrays_of(record)
    state = empty_hpa_state(hpa, shortest_sync_s=SHORTEST_SYNC_S)
    sample = empty_hpa_sample(1, 1, hpa.metric.shape[2])
    for number, step in enumerate(record["steps"]):
        got = step["replicas"]
        if not step.get("scale_get_error"):
            write_sample(sample, step, record, hpa)
            status = step.get("status_replicas", got)
            ok = not step.get("scale_update_error", False)
            got = hpa_sync(hpa, state, sample, 0, 0, float(step["t_s"]), got, status, ok)
        if got != step["desired"]:
            return failed(f"step {number} at {step['t_s']} s: expected {step['desired']} replicas, got {got}")
    return passed()


ADAPTERS: dict[str, Adapter] = {"hpa_closed_loop": closed_loop}
