"""What the metrics pipeline shows of the hidden truth: old, averaged, and silent about young pods.

Resource metrics: scraped every 15 s, 15-60 s old in all, CPU as a rate over 30 s that cannot exceed
what a pod was granted; a pod has no sample before it was scraped once. Pods and External
metrics: a rate over 60 s, 15 s old (a Prometheus scrape). Nothing is known before the first
full window.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.hpa import POD_IGNORED, POD_MISSING, POD_SAMPLED, classify_pod
from envs.controllers.hpa_pack import (
    NO_PODS,
    SIGNAL_CONCURRENCY,
    SIGNAL_CPU,
    SIGNAL_MEMORY,
    SIGNAL_QUEUE,
    SIGNAL_RPS,
    TOTAL_AVERAGE,
    TOTAL_VALUE,
)
from envs.sim.jit import inner, kernel
from envs.sim.state import POD_READY, POD_TERMINATING

SCRAPE_S = 15.0
RESOURCE_WINDOW_S = 30.0
RATE_WINDOW_S = 60.0
RATE_AGE_S = 15.0
GIB = 1073741824.0


@inner
def sample_time_s(s: Any, b: int, w: int, now_s: float) -> float:
    """Timestamp of the newest resource sample of workload w: its base age plus the scrape's sawtooth."""
    base = s.service.metric_age_s[b, w]
    offset = base - math.floor(base / SCRAPE_S) * SCRAPE_S
    return math.floor((now_s - base - offset) / SCRAPE_S) * SCRAPE_S + offset


@inner
def shown_s(s: Any, b: int, w: int, now_s: float) -> float:
    """The time that the metrics of workload w are of when asked at now_s, but for their usual age: earlier under a
    telemetry delay."""
    return now_s - s.faults.lag_s[b, w]


@inner
def last_tick(s: Any, b: int, at_s: float, tick: int) -> int:
    """The newest tick that had ended at at_s, always before the tick in work."""
    return min(math.floor(at_s / s.clock.tick_s[b]) - 1, tick - 1)


@inner
def window_ticks(s: Any, b: int, window_s: float) -> int:
    """A window in whole ticks, at least one."""
    return max(round(window_s / s.clock.tick_s[b]), 1)


@inner
def rise(ring: Any, b: int, w: int, j: int, ticks: int) -> float:
    """What a cumulative ring (B, W, H) grew by over the `ticks` ticks that end with tick j."""
    return ring[b, w, place_in(ring, j)] - ring[b, w, place_in(ring, j - ticks)]


@inner
def place_in(ring: Any, tick: int) -> int:
    """Column of a tick in a ring (B, W, H); H is a power of two, so that no division is needed."""
    return tick & (ring.shape[2] - 1)


@inner
def fill_sample(s: Any, b: int, w: int, now_s: float, tick: int) -> None:
    """Answer every metric of workload w's HPA as the metrics APIs would at now_s."""
    out = s.hpa_sample
    ready = s.flow.n_ready[b, w] + s.flow.n_terminating[b, w]  # a pod is Ready until its containers stop
    none = ready + s.flow.n_starting[b, w] + s.flow.n_pending[b, w] == 0
    out.pods_ready[b, w] = NO_PODS if none else ready
    for m in range(s.hpa.spec[b, w].n_metrics):
        metric, seen = s.hpa.metric[b, w, m], out.metric[b, w, m]
        if metric.kind in (TOTAL_VALUE, TOTAL_AVERAGE):
            value = external_value(s, b, w, metric.signal, shown_s(s, b, w, now_s), tick)
            seen.ok = value >= 0.0
            seen.usage = int(value * 1000.0)
        else:
            _fill_pods(s, b, w, m, now_s, tick)
        distort(seen, s.faults.telemetry[b, w])


@inner
def distort(seen: Any, factor: float) -> None:
    """What broken telemetry makes of a sample: NaN = it is missing, else it is wrong by that factor."""
    if math.isnan(factor):
        seen.ok = False
    elif factor != 1.0:
        seen.usage = int(seen.usage * factor)


@inner
def external_value(s: Any, b: int, w: int, signal: int, now_s: float, tick: int) -> float:
    """Total of workload w: requests/s, items waiting, or requests in flight; -1 = unknown."""
    dt = s.clock.tick_s[b]
    j = last_tick(s, b, now_s - RATE_AGE_S, tick)
    k = window_ticks(s, b, RATE_WINDOW_S)
    if j - k < s.clock.first_tick[b]:
        return -1.0
    if signal == SIGNAL_RPS:
        return rise(s.flow.cum_offered, b, w, j, k) / (k * dt)
    waiting = s.flow.backlog_ring[b, w, place_in(s.flow.backlog_ring, j)]
    if signal == SIGNAL_QUEUE:
        return waiting
    if signal == SIGNAL_CONCURRENCY:
        return waiting + s.flow.busy[b, w]
    return -1.0


@inner
def is_resource(signal: int) -> bool:
    """Whether the resource metrics API answers (scraped by the kubelet), not a Prometheus adapter."""
    return signal in (SIGNAL_CPU, SIGNAL_MEMORY)


@inner
def per_pod_milli(s: Any, b: int, w: int, signal: int, sample_s: float, tick: int) -> float:
    """Mean of one ready pod in milli-units (cpu: milli-cores, memory: milli-bytes); -1 = unknown."""
    window_s = RESOURCE_WINDOW_S if is_resource(signal) else RATE_WINDOW_S
    j, k = last_tick(s, b, sample_s, tick), window_ticks(s, b, window_s)
    if j - k < s.clock.first_tick[b]:
        return -1.0
    pod_s = rise(s.flow.cum_ready_s, b, w, j, k)
    if pod_s <= 0.0:
        return -1.0
    if signal == SIGNAL_CPU:
        return rise(s.flow.cum_cpu_s, b, w, j, k) / pod_s * 1000.0
    if signal == SIGNAL_MEMORY:
        return rise(s.flow.cum_mem_gib_s, b, w, j, k) / pod_s * GIB * 1000.0
    if signal == SIGNAL_RPS:
        return rise(s.flow.cum_offered, b, w, j, k) / pod_s * 1000.0
    pods = pod_s / (k * s.clock.tick_s[b])
    waiting = s.flow.backlog_ring[b, w, place_in(s.flow.backlog_ring, j)]
    if signal == SIGNAL_QUEUE:
        return waiting / pods * 1000.0
    if signal == SIGNAL_CONCURRENCY:
        return (waiting + s.flow.busy[b, w]) / pods * 1000.0
    return -1.0


@inner
def _fill_pods(s: Any, b: int, w: int, m: int, now_s: float, tick: int) -> None:
    seen = s.hpa_sample.metric[b, w, m]
    signal = s.hpa.metric[b, w, m].signal
    at_s = shown_s(s, b, w, now_s)
    sample_s = sample_time_s(s, b, w, at_s) if is_resource(signal) else at_s - RATE_AGE_S
    each = per_pod_milli(s, b, w, signal, sample_s, tick)
    seen.ok = each >= 0.0
    if s.flow.n_starting[b, w] == 0 and s.flow.n_pending[b, w] == 0 and now_s > s.flow.young_until_s[b, w]:
        ready, unready, missing = s.flow.n_ready[b, w], 0, 0  # every pod is old: no need to look at each
    else:
        ready, unready, missing = _group_pods(s, b, w, m, now_s, sample_s)
    seen.ready = ready
    seen.unready = unready
    seen.missing = missing
    each = max(each, 0.0)
    # a Quantity's MilliValue rounds nano-cores up; an adapter for the other metrics truncates
    seen.usage = (math.ceil(each - 1e-9) if is_resource(signal) else int(each)) * ready


@inner
def _group_pods(s: Any, b: int, w: int, m: int, now_s: float, sample_s: float) -> Any:
    ready, unready, missing = 0, 0, 0
    p = s.pods.first_of[b, w]
    while p >= 0:
        phase = s.pods.phase[b, p]
        code = classify_pod(
            phase == POD_TERMINATING, phase not in (POD_READY, POD_TERMINATING),
            s.pods.ready_s[b, p] <= sample_s, s.hpa.metric[b, w, m].by_readiness != 0, phase == POD_READY,
            s.pods.bound_s[b, p], s.pods.ready_s[b, p], sample_s, RESOURCE_WINDOW_S, now_s,
            s.hpa.spec[b, w].cpu_initialization_s, s.hpa.spec[b, w].initial_readiness_s,
        )  # fmt: skip
        if code == POD_SAMPLED:
            ready += 1
        elif code == POD_MISSING:
            missing += 1
        elif code != POD_IGNORED:
            unready += 1
        p = s.pods.next_w[b, p]
    return ready, unready, missing


@inner
def distorted(value: float, factor: float) -> float:
    """Likewise of one value; -1 = unknown."""
    return value if value < 0.0 else (-1.0 if math.isnan(factor) else value * factor)


@kernel
def measure_workloads(s: Any, b: int, now_s: float, tick: int, out: Any) -> None:
    """What a snapshot at now_s shows of every workload; out (5, W), NaN = unknown.

    Rows: cores per ready pod, GiB per ready pod, offered requests/s, bad share, age of the first two in s.
    """
    k = window_ticks(s, b, RATE_WINDOW_S)
    for w in range(out.shape[1]):
        at_s = shown_s(s, b, w, now_s)
        j = last_tick(s, b, at_s - RATE_AGE_S, tick)
        sample_s = sample_time_s(s, b, w, at_s)
        cpu = per_pod_milli(s, b, w, SIGNAL_CPU, sample_s, tick)
        mem = per_pod_milli(s, b, w, SIGNAL_MEMORY, sample_s, tick)
        rps = external_value(s, b, w, SIGNAL_RPS, at_s, tick)
        wrong = s.faults.telemetry[b, w]
        cpu, mem, rps = distorted(cpu, wrong), distorted(mem, wrong), distorted(rps, wrong)
        out[0, w] = cpu * 1e-3 if cpu >= 0.0 else math.nan
        out[1, w] = mem * 1e-3 / GIB if mem >= 0.0 else math.nan
        out[2, w] = rps if rps >= 0.0 else math.nan
        out[3, w] = math.nan
        if rps > 0.0:
            out[3, w] = min(rise(s.flow.cum_bad, b, w, j, k) / max(rise(s.flow.cum_offered, b, w, j, k), 1e-9), 1.0)
        out[4, w] = now_s - sample_s
