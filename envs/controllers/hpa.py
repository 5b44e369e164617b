"""HorizontalPodAutoscaler v2, one sync at a time: samples in, spec.replicas out.

Rules: Kubernetes 1.36 pkg/controller/podautoscaler (replica_calculator.go, horizontal.go), the alpha
gate HPAScaleToZero included. Ratios are float64 of truncated integers, as upstream. The cost of a
sync does not grow with pods: `HpaSample` holds sums over the groups of `classify_pod`.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.hpa_limits import remember, stabilize, stabilize_both, store_event, within_rates
from envs.controllers.hpa_pack import NO_PODS, TOTAL_AVERAGE, TOTAL_VALUE, UTILIZATION
from envs.sim.jit import inner, kernel

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


@inner
def inside_tolerance(spec: Any, ratio: float) -> bool:
    """Both ends included; NaN is outside."""
    return 1.0 - spec.tolerance_down <= ratio <= 1.0 + spec.tolerance_up


@inner
def pod_ratio(metric: Any, usage: int, pods: int) -> float:
    """Usage over target: whole percent of the requests, or the mean in whole milli-units."""
    if metric.kind == UTILIZATION:
        return float((usage * 100) // (pods * metric.request)) / float(metric.target)
    return float(usage // pods) / float(metric.target)


@inner
def per_pod_proposal(spec: Any, metric: Any, seen: Any, current: int) -> int:
    """Resource, ContainerResource and Pods metrics; INVALID when no sample counts or requests are missing.

    Missing pods pull toward 1: a full request (or the target, if higher) below it, nothing above it.
    Unready pods count as idle above 1. If that turns the direction, nothing changes.
    """
    pods, usage, target = seen.ready, seen.usage, metric.target
    utilization = metric.kind == UTILIZATION
    if pods == 0 or (utilization and metric.request <= 0):
        return INVALID
    ratio = pod_ratio(metric, usage, pods)
    fill_unready = seen.unready > 0 and ratio > 1.0
    if not fill_unready and seen.missing == 0:
        return current if inside_tolerance(spec, ratio) else math.ceil(ratio * pods)
    if ratio < 1.0:
        usage += seen.missing * (metric.request * max(100, target) // 100 if utilization else target)
    if ratio != 1.0:
        pods += seen.missing
    if fill_unready:
        pods += seen.unready
    filled = pod_ratio(metric, usage, pods)
    if inside_tolerance(spec, filled) or (ratio < 1.0 < filled) or (filled < 1.0 < ratio):
        return current
    wanted = math.ceil(filled * pods)
    against = wanted > current if filled < 1.0 else wanted < current
    return current if against else wanted


@inner
def total_proposal(spec: Any, metric: Any, value: int, pods_ready: int, current: int, status: int) -> int:
    """Object and External metrics. Value multiplies the ready pods; AverageValue divides the total.

    Value outside tolerance is INVALID while there is no pod at all.
    """
    ratio = float(value) / float(metric.target)
    if metric.kind == TOTAL_AVERAGE:
        inside = inside_tolerance(spec, float(value) / (float(metric.target) * status))
        return status if inside else math.ceil(ratio)
    if current == 0:
        return math.ceil(ratio)
    if inside_tolerance(spec, ratio):
        return current
    return INVALID if pods_ready == NO_PODS else math.ceil(ratio * pods_ready)


@inner
def propose(hpa: Any, sample: Any, b: int, w: int, current: int, status: int) -> int:
    """Largest proposal of the valid metrics; INVALID when none is, or when one is not and it would shrink."""
    spec = hpa.spec[b, w]
    best, invalid = INVALID, False
    for m in range(spec.n_metrics):
        metric, seen = hpa.metric[b, w, m], sample.metric[b, w, m]
        proposal = INVALID
        if seen.ok and metric.kind >= TOTAL_VALUE:
            proposal = total_proposal(spec, metric, seen.usage, sample.pods_ready[b, w], current, status)
        elif seen.ok:
            proposal = per_pod_proposal(spec, metric, seen, current)
        invalid = invalid or proposal == INVALID
        best = max(best, proposal)
    return INVALID if invalid and best < current else best


@inner
def wanted_replicas(hpa: Any, state: Any, sample: Any, b: int, w: int, now_us: int, current: int, status: int) -> int:
    """What one sync wants spec.replicas to be; remembers the recommendation.

    At 0 it stays there unless it went there by itself; then it needs a valid metric to wake up, to at
    least a minimum that was raised in between.
    """
    spec = hpa.spec[b, w]
    if current == 0 and not state.memory[b, w].scaled_to_zero:
        return 0
    if current > spec.max_replicas:
        return spec.max_replicas
    if 0 < current < spec.min_replicas:
        return spec.min_replicas
    proposal = propose(hpa, sample, b, w, current, status)
    if proposal == INVALID:
        return current
    if not spec.behavior:
        stable = stabilize(state, b, w, now_us, spec.window_down_us, proposal)
        return min(max(stable, spec.min_replicas), spec.max_replicas, max(2 * current, 4))
    stable = stabilize_both(spec, state, b, w, now_us, current, proposal)
    limited = within_rates(hpa, state, b, w, now_us, current, stable)
    return max(limited, spec.min_replicas) if current == 0 else limited


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
    memory = state.memory[b, w]
    if memory.n == 0:
        remember(state, b, w, now_us, spec_replicas)
    wanted = wanted_replicas(hpa, state, sample, b, w, now_us, spec_replicas, status_replicas)
    if wanted == spec_replicas or not update_ok:
        return spec_replicas
    if hpa.spec[b, w].behavior:
        store_event(hpa, state, b, w, now_us, wanted - spec_replicas)
    memory.scaled_to_zero = wanted == 0 and hpa.spec[b, w].min_replicas == 0
    return wanted
