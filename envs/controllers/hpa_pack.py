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
SIGNAL_CPU, SIGNAL_MEMORY, SIGNAL_RPS, SIGNAL_QUEUE, SIGNAL_CONCURRENCY, SIGNAL_SCHEDULE = 0, 1, 2, 3, 4, 5
SIGNALS = {
    "cpu": SIGNAL_CPU,
    "memory": SIGNAL_MEMORY,
    "requests_per_second": SIGNAL_RPS,
    "queue_length": SIGNAL_QUEUE,
    "concurrency": SIGNAL_CONCURRENCY,
    "schedule": SIGNAL_SCHEDULE,  # KEDA's cron: answered by envs.controllers.keda, by no measurement
}
SELECT_MAX, SELECT_MIN, SELECT_DISABLED = 0, 1, 2
SELECTS = {"Max": SELECT_MAX, "Min": SELECT_MIN, "Disabled": SELECT_DISABLED}
NO_PODS = -1
POLICY_NONE, POLICY_PODS, POLICY_PERCENT = -1, 0, 1
MICRO = 1_000_000
GIB = 1 << 30

UP_POLICIES = (ScalingPolicy("Pods", 4, 15), ScalingPolicy("Percent", 100, 15))
DOWN_POLICIES = (ScalingPolicy("Percent", 100, 15),)


# One record per workload, metric, policy ...: few arrays, because Numba hands a tuple over array by array
# at each call. In kernels `hpa.spec[b, w].max_replicas`, in NumPy `hpa.spec["max_replicas"][b, w]`.
# Times are whole microseconds, so that "exactly W seconds old" is exact.
SPEC = np.dtype(
    [
        ("n_metrics", np.int32),
        ("min_replicas", np.int32),
        ("max_replicas", np.int32),
        ("behavior", np.int8),  # 1 = spec.behavior is set
        ("scale_to_zero", np.int8),  # 1 = the gate is on
        ("select_up", np.int8),  # SELECT_*
        ("select_down", np.int8),
        ("tolerance_up", np.float64),
        ("tolerance_down", np.float64),
        ("window_up_us", np.int64),  # stabilization
        ("window_down_us", np.int64),
        ("cpu_initialization_s", np.float64),
        ("initial_readiness_s", np.float64),
        ("sync_period_s", np.float64),
    ],
    align=True,
)
METRIC = np.dtype(
    [
        ("kind", np.int8),  # UTILIZATION ...
        ("signal", np.int8),  # SIGNAL_*
        ("by_readiness", np.int8),  # 1 = cpu of the resource metrics API, where readiness counts
        ("target", np.int64),  # percent or milli-units
        ("request", np.int64),  # milli-units requested by one pod; 0 = no request
    ],
    align=True,
)
POLICY = np.dtype([("type", np.int8), ("value", np.int32), ("period_us", np.int64)], align=True)
SAMPLE = np.dtype(
    [
        ("ok", np.int8),  # 0 = the API failed or had nothing
        ("ready", np.int32),  # pods whose sample counts
        ("unready", np.int32),
        ("missing", np.int32),  # pods without a sample
        ("usage", np.int64),  # milli-units, sum over `ready`; Object and External: the value
    ],
    align=True,
)
STAMPED = np.dtype([("replicas", np.int32), ("us", np.int64)], align=True)
# older, newer: slots of the next peaks. A peak is a recommendation larger than every later one, so that the largest of
# any window is the oldest peak in it.
RECOMMENDATION = np.dtype(
    [("replicas", np.int32), ("older", np.int32), ("newer", np.int32), ("us", np.int64)], align=True
)
MEMORY = np.dtype(
    [
        ("head", np.int32),  # slot of the next recommendation
        ("n", np.int32),  # recommendations in the ring, equal neighbours once; 0 = this HPA was not seen yet
        ("ups", np.int32),  # scale-up events held
        ("downs", np.int32),
        ("scaled_to_zero", np.int8),  # 1 = at 0 by its own doing
        ("first", np.int32),  # slot of the oldest peak held
        ("peaks", np.int32),  # peaks held
        ("forgotten_us", np.int64),  # recommendations up to then are forgotten
    ],
    align=True,
)
Records = NDArray[np.void]


class HpaArrays(NamedTuple):
    """One HPA per workload, in force now."""

    spec: Records  # (B, W) SPEC
    metric: Records  # (B, W, M) METRIC
    policy: Records  # (B, W, 2, P) POLICY, POLICY_NONE behind the last
    room_us: NDArray[np.int64]  # (2,) longest stabilization window and policy period that the state holds


class HpaSample(NamedTuple):
    """What the metrics APIs answer at one sync, summed over the pods of a workload (see classify_pod)."""

    metric: Records  # (B, W, M) SAMPLE
    pods_ready: NDArray[np.int32]  # (B, W) Running and Ready, terminating ones too; NO_PODS: none of any kind


class HpaState(NamedTuple):
    """Memory of the controller."""

    memory: Records  # (B, W) MEMORY
    rec: Records  # (B, W, R) RECOMMENDATION, a ring, newest behind `head`
    event: Records  # (B, W, 2, E) STAMPED replicas added (UP) or removed (DOWN)


class HpaDefaults(NamedTuple):
    """What a spec leaves to its workload, each (B, W)."""

    capacity_rps: NDArray[np.float64]  # of one replica
    cpu_request_milli: NDArray[np.int64]
    memory_request_bytes: NDArray[np.int64]
    min_replicas: NDArray[np.int32]
    max_replicas: NDArray[np.int32]


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
    policy = np.zeros((b, w, 2, p), POLICY)
    policy["type"] = POLICY_NONE
    return HpaArrays(
        spec=np.zeros((b, w), SPEC),
        metric=np.zeros((b, w, m), METRIC),
        policy=policy,
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


def metric_record(metric: HpaMetric, own: tuple[float, int, int]) -> tuple[int, ...]:
    """One METRIC; own: capacity_rps, cpu request (milli), memory request (bytes) of the workload.

    Raises InputError for a metric name that nothing measures.
    """
    if metric.name not in SIGNALS:
        raise InputError(None, "metrics[].name", metric.name, f"use one of {', '.join(SIGNALS)}")
    capacity_rps, cpu_milli, memory_bytes = own
    signal = SIGNALS[metric.name]
    by_readiness = signal == SIGNAL_CPU and metric.type in ("Resource", "ContainerResource")
    request = {SIGNAL_CPU: cpu_milli, SIGNAL_MEMORY: memory_bytes * 1000}.get(signal, 0)
    return kind_of(metric), signal, by_readiness, milli_of(metric, capacity_rps), request


def policy_record(policy: ScalingPolicy) -> tuple[int, int, int]:
    """One POLICY."""
    return POLICY_PODS if policy.type == "Pods" else POLICY_PERCENT, policy.value, as_us(policy.period_s)


def wakes(spec: HpaSpec) -> bool:
    """Whether a metric can tell load while there is no pod: only Object and External can."""
    return any(kind_of(metric) in (TOTAL_VALUE, TOTAL_AVERAGE) for metric in spec.metrics)


def spec_record(spec: HpaSpec, low: int, high: int) -> tuple[float, ...]:
    """One SPEC, in the order of its fields; low and high: the workload's own bounds."""
    up, down = rules_of(spec.behavior)
    window_up, window_down = windows_of(spec)
    low = low if spec.min_replicas is None else spec.min_replicas
    return (
        len(spec.metrics),
        low if spec.scale_to_zero and wakes(spec) else max(1, low),
        high if spec.max_replicas is None else spec.max_replicas,
        spec.behavior is not None,
        spec.scale_to_zero,
        SELECTS[up.select],
        SELECTS[down.select],
        spec.tolerance if up.tolerance is None else up.tolerance,
        spec.tolerance if down.tolerance is None else down.tolerance,
        as_us(window_up),
        as_us(window_down),
        spec.cpu_initialization_s,
        spec.initial_readiness_s,
        spec.sync_period_s,
    )


def check_room(a: HpaArrays, spec: HpaSpec) -> None:
    """Raise InputError when the arrays, or the state that was sized from them, cannot hold this spec."""
    room = (a.metric.shape[2], a.policy.shape[3], int(a.room_us[0]) / MICRO, int(a.room_us[1]) / MICRO)
    names = ("metrics", "policies", "stabilizationWindowSeconds", "periodSeconds")
    for name, wanted, held in zip(names, longest([[spec]]), room, strict=True):
        if wanted > held:
            raise InputError(None, name, wanted, f"at most {held:g} were reserved when this run was set up")


def write_hpa(a: HpaArrays, b: int, w: int, spec: HpaSpec, defaults: HpaDefaults) -> None:
    """(Re)write the HPA of workload w of cluster b, also while it runs: its history stays.

    Without the scale-to-zero gate, and without an Object or External metric, the least minimum is 1, as in
    the API. Raises InputError when the
    spec needs more metrics, policies or history than `pack_hpa` reserved.
    """
    check_room(a, spec)
    write_records(a, (b, w), spec, own_of(defaults, b, w))


def own_of(defaults: HpaDefaults, b: int, w: int) -> tuple[Any, ...]:
    """The workload's own (capacity_rps, cpu milli, memory bytes, min, max) as Python numbers."""
    return tuple(np.asarray(field)[b, w].item() for field in defaults)


def write_records(a: HpaArrays, at: tuple[int, int], spec: HpaSpec, own: tuple[Any, ...]) -> None:
    """Fill every record of one HPA."""
    a.spec[at] = spec_record(spec, own[3], own[4])
    for m, metric in enumerate(spec.metrics):
        a.metric[(*at, m)] = metric_record(metric, own[:3])
    for direction, policies in zip((UP, DOWN), policies_of(spec.behavior), strict=True):
        a.policy["type"][(*at, direction)] = POLICY_NONE
        for p, policy in enumerate(policies):
            a.policy[(*at, direction, p)] = policy_record(policy)


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
    twins: dict[Any, tuple[int, int]] = {}  # equal HPAs of equal workloads are copied
    for i, row in enumerate(specs):
        for j, spec in enumerate(row):
            own = own_of(defaults, i, j)
            twin = twins.setdefault((spec, own), (i, j))
            if twin == (i, j):
                write_records(arrays, twin, spec, own)
            for records in (arrays.spec, arrays.metric, arrays.policy):
                records[i, j] = records[twin]
    return arrays


def empty_hpa_state(a: HpaArrays, *, shortest_sync_s: float | None = None) -> HpaState:
    """History for these HPAs: nothing seen yet. Rings hold the longest window at the shortest sync period."""
    b, w = a.spec.shape
    step = as_us(shortest_sync_s or float(a.spec["sync_period_s"].min()))
    slots = (a.room_us // step + 3).tolist()
    return HpaState(
        memory=np.zeros((b, w), MEMORY),
        rec=np.zeros((b, w, slots[0]), RECOMMENDATION),
        event=np.zeros((b, w, 2, slots[1]), STAMPED),
    )


def empty_hpa_sample(b: int, w: int, m: int) -> HpaSample:
    """No pods, nothing measured."""
    return HpaSample(metric=np.zeros((b, w, m), SAMPLE), pods_ready=np.zeros((b, w), np.int32))
