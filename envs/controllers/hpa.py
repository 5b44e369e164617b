"""HorizontalPodAutoscaler v2, one sync at a time: samples in, spec.replicas out.

Rules: Kubernetes 1.36 pkg/controller/podautoscaler (replica_calculator.go, horizontal.go), the alpha
gate HPAScaleToZero included. Ratios are float64 of truncated integers, as upstream. The cost of a
sync does not grow with pods: `HpaSample` holds sums over the groups of `classify_pod`.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.hpa_limits import remember, stabilize, stabilize_both, store_event, within_limits
from envs.controllers.hpa_pack import DOWN, TOTAL_AVERAGE, TOTAL_VALUE, UP, UTILIZATION
from envs.sim.jit import kernel

POD_IGNORED, POD_SAMPLED, POD_UNREADY, POD_MISSING = 0, 1, 2, 3
INVALID = -1


@kernel
def classify_pod(
    gone: bool,
    pending: bool,
    sampled: bool,
    by_readiness: bool,
    ready: bool,
    start_s: float,
    since_s: float,
    sample_s: float,
    window_s: float,
    now_s: float,
    cpu_initialization_s: float,
    initial_readiness_s: float,
) -> int:
    """Group of one pod for one metric: POD_IGNORED, POD_SAMPLED, POD_UNREADY or POD_MISSING.

    gone: terminating or failed. sampled: the metrics API has a value, taken at sample_s over window_s.
    by_readiness: cpu of a Resource metric; only there ready (the Ready condition), start_s (the pod's
    startTime) and since_s (the condition's last change) count; NaN = not set, which is unready.
    """
    if gone:
        return POD_IGNORED
    if pending:
        return POD_UNREADY
    if not sampled:
        return POD_MISSING
    if not by_readiness:
        return POD_SAMPLED
    if math.isnan(start_s) or math.isnan(since_s):
        return POD_UNREADY
    if start_s + cpu_initialization_s > now_s:
        unready = (not ready) or sample_s < since_s + window_s
    else:
        unready = (not ready) and start_s + initial_readiness_s > since_s
    return POD_UNREADY if unready else POD_SAMPLED


@kernel
def inside_tolerance(hpa: Any, b: int, w: int, ratio: float) -> bool:
    """Both ends included; NaN is outside."""
    return 1.0 - hpa.tolerance[b, w, DOWN] <= ratio <= 1.0 + hpa.tolerance[b, w, UP]


@kernel
def pod_ratio(kind: int, usage: int, pods: int, request: int, target: int) -> float:
    """Usage over target: whole percent of the requests, or the mean in whole milli-units."""
    if kind == UTILIZATION:
        return float((usage * 100) // (pods * request)) / float(target)
    return float(usage // pods) / float(target)


@kernel
def per_pod_proposal(hpa: Any, sample: Any, b: int, w: int, m: int, current: int) -> int:
    """Resource, ContainerResource and Pods metrics; INVALID when no sample counts or requests are missing.

    Missing pods pull toward 1: a full request (or the target, if higher) below it, nothing above it.
    Unready pods count as idle above 1. If that turns the direction, nothing changes.
    """
    kind, target, request = hpa.kind[b, w, m], hpa.target[b, w, m], hpa.request[b, w, m]
    pods, usage = sample.ready[b, w, m], sample.usage[b, w, m]
    if pods == 0 or (kind == UTILIZATION and request <= 0):
        return INVALID
    unready, missing = sample.unready[b, w, m], sample.missing[b, w, m]
    ratio = pod_ratio(kind, usage, pods, request, target)
    fill_unready = unready > 0 and ratio > 1.0
    if not fill_unready and missing == 0:
        return current if inside_tolerance(hpa, b, w, ratio) else math.ceil(ratio * pods)
    if ratio < 1.0:
        usage += missing * (request * max(100, target) // 100 if kind == UTILIZATION else target)
    if ratio != 1.0:
        pods += missing
    if fill_unready:
        pods += unready
    filled = pod_ratio(kind, usage, pods, request, target)
    if inside_tolerance(hpa, b, w, filled) or (ratio < 1.0 < filled) or (filled < 1.0 < ratio):
        return current
    wanted = math.ceil(filled * pods)
    if (filled < 1.0 and wanted > current) or (filled > 1.0 and wanted < current):
        return current
    return wanted


@kernel
def total_proposal(hpa: Any, sample: Any, b: int, w: int, m: int, current: int, status: int) -> int:
    """Object and External metrics. Value multiplies the ready pods; AverageValue divides the total."""
    value, target = float(sample.usage[b, w, m]), float(hpa.target[b, w, m])
    if hpa.kind[b, w, m] == TOTAL_AVERAGE:
        inside = inside_tolerance(hpa, b, w, value / (target * status))
        return status if inside else math.ceil(value / target)
    ratio = value / target
    if current == 0:
        return math.ceil(ratio)
    return current if inside_tolerance(hpa, b, w, ratio) else math.ceil(ratio * sample.pods_ready[b, w])


@kernel
def propose(hpa: Any, sample: Any, b: int, w: int, current: int, status: int) -> int:
    """Largest proposal of the valid metrics; INVALID when none is, or when one is not and it would shrink."""
    best, invalid = INVALID, False
    for m in range(hpa.n_metrics[b, w]):
        proposal = INVALID
        if sample.ok[b, w, m]:
            if hpa.kind[b, w, m] >= TOTAL_VALUE:
                proposal = total_proposal(hpa, sample, b, w, m, current, status)
            else:
                proposal = per_pod_proposal(hpa, sample, b, w, m, current)
        invalid = invalid or proposal == INVALID
        best = max(best, proposal)
    return INVALID if invalid and best < current else best


@kernel
def wanted_replicas(
    hpa: Any, state: Any, sample: Any, b: int, w: int, now_us: int, current: int, status: int
) -> int:
    """What one sync wants spec.replicas to be; remembers the recommendation."""
    if current == 0 and (hpa.min_replicas[b, w] > 0 or not state.scaled_to_zero[b, w]):
        return 0
    if current > hpa.max_replicas[b, w]:
        return hpa.max_replicas[b, w]
    if current < hpa.min_replicas[b, w]:
        return hpa.min_replicas[b, w]
    proposal = propose(hpa, sample, b, w, current, status)
    if proposal == INVALID:
        return current
    if hpa.behavior[b, w]:
        stable = stabilize_both(hpa, state, b, w, now_us, current, proposal)
    else:
        stable = stabilize(state, b, w, now_us, hpa.window_us[b, w, DOWN], proposal)
    return within_limits(hpa, state, b, w, now_us, current, stable)


@kernel
def hpa_sync(
    hpa: Any,
    state: Any,
    sample: Any,
    b: int,
    w: int,
    now_s: float,
    spec_replicas: int,
    status_replicas: int,
    update_ok: bool = True,
) -> int:
    """One sync of the HPA of workload w in cluster b; spec.replicas after it.

    The first sync remembers the current count, so nothing shrinks for one window after a start.
    update_ok False: the write of the scale fails; the recommendation stays, no event is stored.
    """
    now_us = round(now_s * 1e6)
    if state.rec_n[b, w] == 0:
        remember(state, b, w, now_us, spec_replicas)
    wanted = wanted_replicas(hpa, state, sample, b, w, now_us, spec_replicas, status_replicas)
    if wanted == spec_replicas or not update_ok:
        return spec_replicas
    if hpa.behavior[b, w]:
        store_event(hpa, state, b, w, now_us, wanted - spec_replicas)
    state.scaled_to_zero[b, w] = wanted == 0
    return wanted
