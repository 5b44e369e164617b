"""HorizontalPodAutoscaler v2 objects as arrays. Kernels read them; a policy's plan rewrites them in place.

Axes: B clusters, W workloads, M metrics, 2 directions (UP, DOWN), P scaling policies.
Metric values and targets are integer milli-units, as in the API (cpu: milli-cores, memory:
milli-bytes, the rest: thousandths); Utilization targets are whole percent.
Source of the defaults: Kubernetes 1.36 API reference, HorizontalPodAutoscaler v2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.errors import InputError
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, ScalingPolicy, ScalingRules

UP, DOWN = 0, 1
# how a metric becomes a replica count
UTILIZATION, PER_POD, TOTAL_VALUE, TOTAL_AVERAGE = 0, 1, 2, 3
# what is measured
SIGNAL_CPU, SIGNAL_MEMORY, SIGNAL_RPS, SIGNAL_QUEUE, SIGNAL_CONCURRENCY = 0, 1, 2, 3, 4
SIGNALS = {
    "cpu": SIGNAL_CPU,
    "memory": SIGNAL_MEMORY,
    "requests_per_second": SIGNAL_RPS,
    "queue_length": SIGNAL_QUEUE,
    "concurrency": SIGNAL_CONCURRENCY,
}
SELECT_MAX, SELECT_MIN, SELECT_DISABLED = 0, 1, 2
SELECTS = {"Max": SELECT_MAX, "Min": SELECT_MIN, "Disabled": SELECT_DISABLED}
POLICY_NONE, POLICY_PODS, POLICY_PERCENT = -1, 0, 1
MICRO = 1_000_000
GIB = 1 << 30

UP_POLICIES = (ScalingPolicy("Pods", 4, 15), ScalingPolicy("Percent", 100, 15))
DOWN_POLICIES = (ScalingPolicy("Percent", 100, 15),)


class HpaArrays(NamedTuple):
    """One HPA per workload. Times are whole microseconds, so that "exactly W seconds old" is exact."""

    n_metrics: NDArray[np.int32]  # (B, W)
    kind: NDArray[np.int8]  # (B, W, M) UTILIZATION ...
    signal: NDArray[np.int8]  # (B, W, M) SIGNAL_*
    by_readiness: NDArray[np.bool_]  # (B, W, M) cpu of the resource metrics API: readiness counts
    target: NDArray[np.int64]  # (B, W, M) percent or milli-units
    request: NDArray[np.int64]  # (B, W, M) milli-units requested by one pod; 0 = no request
    min_replicas: NDArray[np.int32]  # (B, W)
    max_replicas: NDArray[np.int32]  # (B, W)
    tolerance: NDArray[np.float64]  # (B, W, 2)
    behavior: NDArray[np.bool_]  # (B, W) spec.behavior is set
    window_us: NDArray[np.int64]  # (B, W, 2) stabilization
    select: NDArray[np.int8]  # (B, W, 2) SELECT_*
    policy: NDArray[np.int8]  # (B, W, 2, P) POLICY_*, none behind the last
    policy_value: NDArray[np.int64]  # (B, W, 2, P) pods or percent
    policy_us: NDArray[np.int64]  # (B, W, 2, P)
    scale_to_zero: NDArray[np.bool_]  # (B, W)
    cpu_initialization_s: NDArray[np.float64]  # (B, W)
    initial_readiness_s: NDArray[np.float64]  # (B, W)
    sync_period_s: NDArray[np.float64]  # (B, W)
    room_us: NDArray[np.int64]  # (2,) longest stabilization window and policy period that fit the state


class HpaDefaults(NamedTuple):
    """What a spec leaves to its workload, each (B, W)."""

    capacity_rps: NDArray[np.float64]  # of one replica
    cpu_request_milli: NDArray[np.int64]
    memory_request_bytes: NDArray[np.int64]
    min_replicas: NDArray[np.int32]
    max_replicas: NDArray[np.int32]


class HpaSample(NamedTuple):
    """What the metrics APIs answer at one sync, summed over the pods of a workload (see classify_pod)."""

    ok: NDArray[np.bool_]  # (B, W, M) False: the API failed or had nothing
    ready: NDArray[np.int32]  # (B, W, M) pods whose sample counts
    usage: NDArray[np.int64]  # (B, W, M) milli-units, sum over those; Object and External: the value
    unready: NDArray[np.int32]  # (B, W, M)
    missing: NDArray[np.int32]  # (B, W, M) pods without a sample
    pods_ready: NDArray[np.int32]  # (B, W) Running and Ready, terminating ones too


class HpaState(NamedTuple):
    """Memory of the controller: recommendations (a ring, newest behind `head`) and scale events."""

    rec: NDArray[np.int32]  # (B, W, R) replicas
    rec_us: NDArray[np.int64]  # (B, W, R)
    rec_head: NDArray[np.int32]  # (B, W) slot of the next one
    rec_n: NDArray[np.int32]  # (B, W) 0 = the controller has not seen this HPA yet
    event: NDArray[np.int32]  # (B, W, 2, E) replicas added or removed
    event_us: NDArray[np.int64]  # (B, W, 2, E)
    event_n: NDArray[np.int32]  # (B, W, 2)
    scaled_to_zero: NDArray[np.bool_]  # (B, W) at 0 by its own doing


def as_us(seconds: float) -> int:
    return round(seconds * MICRO)


def rules_of(behavior: HpaBehavior | None) -> tuple[ScalingRules, ScalingRules]:
    """(up, down); a direction that is not given has only defaults."""
    given = behavior or HpaBehavior()
    return given.scale_up or ScalingRules(), given.scale_down or ScalingRules()


def policies_of(behavior: HpaBehavior | None) -> tuple[tuple[ScalingPolicy, ...], tuple[ScalingPolicy, ...]]:
    """(up, down) after the API server's defaulting; given policies replace the default ones."""
    up, down = rules_of(behavior)
    return up.policies or UP_POLICIES, down.policies or DOWN_POLICIES


def windows_of(spec: HpaSpec) -> tuple[float, float]:
    """(up, down) stabilization seconds; a down-window that is not given is the controller's flag."""
    up, down = rules_of(spec.behavior)
    wait_down = spec.downscale_stabilization_s if down.stabilization_s is None else down.stabilization_s
    return up.stabilization_s or 0.0, wait_down


def longest(specs: Sequence[Sequence[HpaSpec]]) -> tuple[int, int, float, float]:
    """(metrics, policies, window s, policy period s): the largest of all specs."""
    m, p, window, period = 1, 1, 0.0, 0.0
    for spec in {spec for row in specs for spec in row}:
        up, down = policies_of(spec.behavior)
        m, p = max(m, len(spec.metrics)), max(p, len(up), len(down))
        window = max(window, *windows_of(spec))
        if spec.behavior is not None:
            period = max(period, *(q.period_s for q in up + down))
    return m, p, window, period


def empty_hpa(b: int, w: int, m: int, p: int) -> HpaArrays:
    """Arrays for B x W HPAs of at most m metrics and p policies, to be written."""
    return HpaArrays(
        n_metrics=np.zeros((b, w), np.int32),
        kind=np.zeros((b, w, m), np.int8),
        signal=np.zeros((b, w, m), np.int8),
        by_readiness=np.zeros((b, w, m), np.bool_),
        target=np.ones((b, w, m), np.int64),
        request=np.zeros((b, w, m), np.int64),
        min_replicas=np.ones((b, w), np.int32),
        max_replicas=np.ones((b, w), np.int32),
        tolerance=np.zeros((b, w, 2)),
        behavior=np.zeros((b, w), np.bool_),
        window_us=np.zeros((b, w, 2), np.int64),
        select=np.zeros((b, w, 2), np.int8),
        policy=np.full((b, w, 2, p), POLICY_NONE, np.int8),
        policy_value=np.zeros((b, w, 2, p), np.int64),
        policy_us=np.zeros((b, w, 2, p), np.int64),
        scale_to_zero=np.zeros((b, w), np.bool_),
        cpu_initialization_s=np.zeros((b, w)),
        initial_readiness_s=np.zeros((b, w)),
        sync_period_s=np.full((b, w), 15.0),
        room_us=np.zeros(2, np.int64),
    )


def kind_of(metric: HpaMetric) -> int:
    """Which calculation upstream uses for this type and target type."""
    if metric.capacity_share is not None:
        return TOTAL_AVERAGE
    if metric.type in ("Resource", "ContainerResource"):
        return UTILIZATION if metric.target_type == "Utilization" else PER_POD
    if metric.type == "Pods":
        return PER_POD
    return TOTAL_VALUE if metric.target_type == "Value" else TOTAL_AVERAGE


def milli_of(metric: HpaMetric, capacity_rps: float) -> int:
    """Target in percent or milli-units, at least 1 (the API refuses 0)."""
    if metric.capacity_share is not None:
        return max(1, round(metric.capacity_share * capacity_rps * 1000))
    if kind_of(metric) == UTILIZATION:
        return max(1, round(metric.target))
    unit = 1000 * GIB if metric.name == "memory" else 1000
    return max(1, round(metric.target * unit))


def write_metric(a: HpaArrays, at: tuple[int, int, int], metric: HpaMetric, defaults: HpaDefaults) -> None:
    """Fill slot (b, w, m). Raises InputError for a metric name that nothing measures."""
    if metric.name not in SIGNALS:
        raise InputError(None, "metrics[].name", metric.name, f"use one of {', '.join(SIGNALS)}")
    b, w, _ = at
    signal = SIGNALS[metric.name]
    requests = {
        SIGNAL_CPU: int(defaults.cpu_request_milli[b, w]),
        SIGNAL_MEMORY: int(defaults.memory_request_bytes[b, w]) * 1000,
    }
    a.kind[at] = kind_of(metric)
    a.signal[at] = signal
    a.by_readiness[at] = signal == SIGNAL_CPU and metric.type in ("Resource", "ContainerResource")
    a.target[at] = milli_of(metric, float(defaults.capacity_rps[b, w]))
    a.request[at] = requests.get(signal, 0)


def write_rules(a: HpaArrays, at: tuple[int, int, int], rules: ScalingRules, spec: HpaSpec) -> None:
    """Fill direction (b, w, UP or DOWN); what `rules` leaves open takes the defaults."""
    direction = at[2]
    policies = policies_of(spec.behavior)[direction]
    a.tolerance[at] = spec.tolerance if rules.tolerance is None else rules.tolerance
    a.window_us[at] = as_us(windows_of(spec)[direction])
    a.select[at] = SELECTS[rules.select]
    a.policy[at] = POLICY_NONE
    for i, policy in enumerate(policies):
        a.policy[(*at, i)] = POLICY_PODS if policy.type == "Pods" else POLICY_PERCENT
        a.policy_value[(*at, i)] = policy.value
        a.policy_us[(*at, i)] = as_us(policy.period_s)


def check_room(a: HpaArrays, spec: HpaSpec) -> None:
    """Raise InputError when the arrays, or the state that was sized from them, cannot hold this spec."""
    m, p, window, period = longest([[spec]])
    room = (a.kind.shape[2], a.policy.shape[3], int(a.room_us[0]) / MICRO, int(a.room_us[1]) / MICRO)
    names = ("metrics", "policies", "stabilizationWindowSeconds", "periodSeconds")
    for name, wanted, held in zip(names, (m, p, window, period), room, strict=True):
        if wanted > held:
            raise InputError(None, name, wanted, f"at most {held:g} were reserved when this run was set up")


def write_hpa(a: HpaArrays, b: int, w: int, spec: HpaSpec, defaults: HpaDefaults) -> None:
    """(Re)write the HPA of workload w of cluster b, also while it runs: history stays.

    Without the scale-to-zero gate the least minimum is 1, as in the API.
    """
    check_room(a, spec)
    low = int(defaults.min_replicas[b, w]) if spec.min_replicas is None else spec.min_replicas
    high = int(defaults.max_replicas[b, w]) if spec.max_replicas is None else spec.max_replicas
    a.n_metrics[b, w] = len(spec.metrics)
    for m, metric in enumerate(spec.metrics):
        write_metric(a, (b, w, m), metric, defaults)
    for direction, rules in zip((UP, DOWN), rules_of(spec.behavior), strict=True):
        write_rules(a, (b, w, direction), rules, spec)
    a.behavior[b, w] = spec.behavior is not None
    a.scale_to_zero[b, w] = spec.scale_to_zero
    a.min_replicas[b, w] = low if spec.scale_to_zero else max(1, low)
    a.max_replicas[b, w] = high
    a.cpu_initialization_s[b, w] = spec.cpu_initialization_s
    a.initial_readiness_s[b, w] = spec.initial_readiness_s
    a.sync_period_s[b, w] = spec.sync_period_s


def pack_hpa(
    specs: Sequence[Sequence[HpaSpec]],
    *,
    capacity_rps: Any,
    cpu_request_milli: Any,
    memory_request_bytes: Any,
    min_replicas: Any,
    max_replicas: Any,
    reserve: HpaSpec | None = None,
) -> HpaArrays:
    """specs[b][w] as arrays; the keyword arrays are (B, W) and fill what a spec leaves open.

    reserve: a spec with the most metrics and policies and the longest windows that later rewrites
    of these arrays will need. Raises InputError for a metric name that nothing measures.
    """
    defaults = HpaDefaults(capacity_rps, cpu_request_milli, memory_request_bytes, min_replicas, max_replicas)
    b, w = np.shape(defaults.min_replicas)
    m, p, window, period = longest([*specs, [reserve]] if reserve else specs)
    arrays = empty_hpa(b, w, m, p)
    arrays.room_us[:] = as_us(window), as_us(period)
    for i, row in enumerate(specs):
        for j, spec in enumerate(row):
            write_hpa(arrays, i, j, spec, defaults)
    return arrays


def empty_hpa_state(a: HpaArrays, *, shortest_sync_s: float | None = None) -> HpaState:
    """History for these HPAs: nothing seen yet. Rings hold the longest window at the shortest sync period."""
    b, w = a.min_replicas.shape
    step = as_us(shortest_sync_s or float(a.sync_period_s.min()))
    r, e = int(a.room_us[0] // step) + 3, int(a.room_us[1] // step) + 3
    return HpaState(
        rec=np.zeros((b, w, r), np.int32),
        rec_us=np.zeros((b, w, r), np.int64),
        rec_head=np.zeros((b, w), np.int32),
        rec_n=np.zeros((b, w), np.int32),
        event=np.zeros((b, w, 2, e), np.int32),
        event_us=np.zeros((b, w, 2, e), np.int64),
        event_n=np.zeros((b, w, 2), np.int32),
        scaled_to_zero=np.zeros((b, w), np.bool_),
    )


def empty_hpa_sample(b: int, w: int, m: int) -> HpaSample:
    """No pods, nothing measured."""
    return HpaSample(
        ok=np.zeros((b, w, m), np.bool_),
        ready=np.zeros((b, w, m), np.int32),
        usage=np.zeros((b, w, m), np.int64),
        unready=np.zeros((b, w, m), np.int32),
        missing=np.zeros((b, w, m), np.int32),
        pods_ready=np.zeros((b, w), np.int32),
    )
