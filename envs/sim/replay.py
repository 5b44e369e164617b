"""A workload's past under many set-points at once: the HPA and the service tick, and nothing else.

One row is (workload, candidate, belief). Rows share their workload's load and delays, so they differ by what is
compared. There are no nodes: a pod takes its start delay, which for a stated share of pods holds the wait for a
node as well. State stays in the arrays between calls, so a longer past costs only what is new.

Axes: W workloads, R rows of each, H ticks of measurement, K ticks that a pod may take to start (both powers of two, so
that no division finds a place in a ring), S drawn delays.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from envs.controllers.hpa import hpa_sync
from envs.controllers.hpa_pack import NO_PODS, SIGNAL_CPU, TOTAL_AVERAGE, TOTAL_VALUE
from envs.sim.jit import allocating_kernel, inner
from envs.sim.measure import RATE_AGE_S, RATE_WINDOW_S, RESOURCE_WINDOW_S, SCRAPE_S, place_in
from envs.sim.queue_memory import KNOWN
from envs.sim.service import known_tick
from envs.sim.state import BOOL, F8, I1, I4

REPLAY_HISTORY_S = 180.0  # oldest sample 60 s + window 60 s, with room
TOGETHER = 8  # ticks that a row goes on before the workload's next row does
SERVED = 1024  # ticks of services that are remembered


class ReplayWorkloads(NamedTuple):
    """What all rows of a workload share, (W,) each; `slots` and `speed` are (W, R)."""

    slots: F8  # of a replica, as believed, as many as its CPU limit feeds
    speed: F8  # of a slot, below 1 only where the CPU limit does not feed one
    service_s: F8
    cv: F8
    cpu_s: F8  # CPU-seconds per request
    threshold_s: F8
    timeout_s: F8
    balancing: I1
    cpu_request: F8  # cores
    usd_per_core_h: F8
    least_usd_per_h: F8  # of a pod whatever its CPU: its share of a node's memory
    grace_s: F8
    start_mean_s: F8
    metric_age_s: F8
    phase_s: F8  # of the HPA's sync
    delay_s: F8  # (W, S) creation to Ready


class ReplayState(NamedTuple):
    """What one tick hands to the next, (W, R)."""

    replicas: I4  # spec.replicas
    ready: I4
    starting: I4
    backlog: F8
    due: I4  # (W, R, K) pods that become ready in tick t, at t mod K
    due_s: F8  # (W, R, K) their ready seconds within that tick
    fresh: I4  # (W, R, H) pods that became ready in tick t and still run
    fresh_s: F8  # (W, R, H) mean time at which they did
    cum_cpu_s: F8  # (W, R, H) cumulative core-seconds
    cum_ready_s: F8  # (W, R, H) cumulative ready pod-seconds


class ReplaySpent(NamedTuple):
    """Sums since they were last cleared, (W, R)."""

    usd: F8
    bad: F8  # requests
    pod_s: F8  # pods, ready or starting
    cpu_s: F8  # core-seconds used
    changes: F8  # pods added and removed


class ReplaySim(NamedTuple):
    """Everything behind one View."""

    workloads: ReplayWorkloads
    state: ReplayState
    spent: ReplaySpent
    live: BOOL  # (W, R) rows that are run
    tables: Any
    known: F8  # (W, R, KNOWN) what the service tick remembers of the tables
    hpa: Any
    hpa_state: Any
    hpa_sample: Any


@allocating_kernel
def replay_rows(s: Any, arrivals: Any, pad: int, first: int, last: int, tick0: int, dt: float) -> None:
    """Run all live rows of workloads first..last-1 through arrivals.shape[1] - pad ticks, from tick0 on.

    arrivals: (W, pad + n) requests per tick; the first `pad` columns are the ticks before tick0, for measuring.
    Workloads do not touch each other, so ranges may run on threads.
    """
    served = np.empty((SERVED, 8))
    for k in range(SERVED):
        served[k, 0] = math.nan
    for w in range(first, last):
        for start in range(pad, arrivals.shape[1], TOGETHER):
            end = min(start + TOGETHER, arrivals.shape[1])
            for r in range(s.live.shape[1]):
                if s.live[w, r]:
                    for i in range(start, end):
                        _tick(s, arrivals, served, w, r, i, tick0 + i - pad, dt)


@inner
def _tick(s: Any, arrivals: Any, served: Any, w: int, r: int, i: int, tick: int, dt: float) -> None:
    x, v, spent = s.state, s.workloads, s.spent
    h, slot = place_in(x.fresh, tick), place_in(x.due, tick)
    born = x.due[w, r, slot]
    ready_s = x.ready[w, r] * dt
    if born > 0:
        x.fresh_s[w, r, h] = (tick + 1) * dt - x.due_s[w, r, slot] / born
        ready_s += x.due_s[w, r, slot]
        x.ready[w, r] += born
        x.starting[w, r] -= born
        x.due[w, r, slot] = 0
        x.due_s[w, r, slot] = 0.0
    x.fresh[w, r, h] = born
    period_s = s.hpa.spec[w, r].sync_period_s
    cycle = math.ceil((tick * dt - v.phase_s[w]) / period_s)
    now_s = cycle * period_s + v.phase_s[w]
    while now_s < (tick + 1) * dt:
        ready_s += _sync(s, arrivals, w, r, i, tick, now_s, dt)
        now_s += period_s
    replicas = max(ready_s, 0.0) / dt
    bad, busy = _serve(s, served, w, r, arrivals[w, i], replicas, dt)
    used = busy * v.cpu_s[w] / v.service_s[w] * v.speed[w, r]  # cores, all replicas
    before = place_in(x.fresh, tick - 1)
    x.cum_cpu_s[w, r, h] = x.cum_cpu_s[w, r, before] + used * dt
    x.cum_ready_s[w, r, h] = x.cum_ready_s[w, r, before] + replicas * dt
    each = max(used / replicas, v.cpu_request[w]) if replicas > 0.0 else v.cpu_request[w]
    waiting_s = x.starting[w, r] * dt
    spent.usd[w, r] += (replicas * dt * pod_usd_per_h(v, w, each) + waiting_s * pod_usd_per_h(v, w, 0.0)) / 3600.0
    spent.bad[w, r] += bad
    spent.pod_s[w, r] += replicas * dt + waiting_s
    spent.cpu_s[w, r] += used * dt


@inner
def _serve(s: Any, served: Any, w: int, r: int, arrivals: float, replicas: float, dt: float) -> tuple[float, float]:
    """The service's tick: (bad requests, mean busy slots); the backlog is kept.

    served (SERVED, 8): such ticks, of any row, by a hash of what they depend on: rows of a workload that stand alike
    are many, and their ticks are equal to the bit. Slots below one are the speed of one, so their product is both.
    """
    x, v = s.state, s.workloads
    backlog, slots, speed = x.backlog[w, r], v.slots[w, r], v.speed[w, r]
    fed = slots * speed
    mixed = 12.9898 * replicas + 78.233 * backlog + 37.719 * fed + 4.1414 * arrivals
    known = served[int((mixed - math.floor(mixed)) * SERVED)]
    if known[0] == arrivals and known[1] == replicas and known[2] == backlog and known[3] == fed and known[4] == w:
        x.backlog[w, r] = known[5]
        return known[6], known[7]
    _good, bad, _lost, _served, left, busy = known_tick(
        s.tables, s.known[w, r], arrivals, dt, replicas, slots, v.service_s[w], v.cv[w], v.threshold_s[w],
        v.timeout_s[w], v.balancing[w], speed, backlog,
    )  # fmt: skip
    known[0], known[1], known[2], known[3], known[4] = arrivals, replicas, backlog, fed, w
    known[5], known[6], known[7] = left, bad, busy
    x.backlog[w, r] = left
    return bad, busy


@inner
def pod_usd_per_h(v: Any, w: int, cores: float) -> float:
    """What a pod that uses `cores` costs: its dominating share of the cheapest node that fits it."""
    return max(max(cores, v.cpu_request[w]) * v.usd_per_core_h[w], v.least_usd_per_h[w])


@inner
def _sync(s: Any, arrivals: Any, w: int, r: int, i: int, tick: int, now_s: float, dt: float) -> float:
    """One sync of the row's HPA; by how much the tick's ready pod-seconds change."""
    x = s.state
    for m in range(s.hpa.spec[w, r].n_metrics):
        _fill(s, arrivals, w, r, m, i, tick, now_s, dt)
    alive = x.ready[w, r] + x.starting[w, r]
    s.hpa_sample.pods_ready[w, r] = x.ready[w, r] if alive > 0 else NO_PODS
    have = x.replicas[w, r]
    want = hpa_sync(s.hpa, s.hpa_state, s.hpa_sample, w, r, now_s, have, alive)
    if want == have:
        return 0.0
    x.replicas[w, r] = want
    s.spent.changes[w, r] += abs(want - have)
    if want > have:
        return _start(s, w, r, want - have, tick, now_s, dt)
    return -_stop(s, w, r, have - want, tick, now_s, dt)


@inner
def _fill(s: Any, arrivals: Any, w: int, r: int, m: int, i: int, tick: int, now_s: float, dt: float) -> None:
    """Answer metric m as the metrics APIs would at now_s; ages and windows are those of envs.sim.measure."""
    metric, seen, x = s.hpa.metric[w, r, m], s.hpa_sample.metric[w, r, m], s.state
    by_rate = metric.signal != SIGNAL_CPU
    sample_s = now_s - RATE_AGE_S if by_rate else _scraped_s(s.workloads.metric_age_s[w], now_s)
    last = min(math.floor(sample_s / dt) - 1, tick - 1)
    ticks = max(round((RATE_WINDOW_S if by_rate else RESOURCE_WINDOW_S) / dt), 1)
    at = i - (tick - last)  # column of the newest known tick
    seen.ok = at - ticks >= 0
    if seen.ok == 0:
        return
    if metric.kind in (TOTAL_VALUE, TOTAL_AVERAGE):
        seen.usage = int(_offered(arrivals, w, at, ticks) / (ticks * dt) * 1000.0)
        return
    end, begin = place_in(x.fresh, last), place_in(x.fresh, last - ticks)
    pod_s = x.cum_ready_s[w, r, end] - x.cum_ready_s[w, r, begin]
    if pod_s <= 0.0:
        seen.ok = 0
        return
    if by_rate:
        each = _offered(arrivals, w, at, ticks) / pod_s * 1000.0
    else:
        each = (x.cum_cpu_s[w, r, end] - x.cum_cpu_s[w, r, begin]) / pod_s * 1000.0
    missing, unready = _young(s, w, r, m, tick, now_s, sample_s, dt)
    seen.missing = missing
    seen.unready = unready + x.starting[w, r]
    seen.ready = x.ready[w, r] - missing - unready
    seen.usage = (int(each) if by_rate else math.ceil(each - 1e-9)) * seen.ready  # as in envs.sim.measure


@inner
def _scraped_s(age_s: float, now_s: float) -> float:
    """Timestamp of the newest resource sample: a base age plus the scrape's sawtooth."""
    offset = age_s % SCRAPE_S
    return math.floor((now_s - age_s - offset) / SCRAPE_S) * SCRAPE_S + offset


@inner
def _offered(arrivals: Any, w: int, at: int, ticks: int) -> float:
    total = 0.0
    for k in range(at - ticks + 1, at + 1):
        total += arrivals[w, k]
    return total


@inner
def _young(s: Any, w: int, r: int, m: int, tick: int, now_s: float, sample_s: float, dt: float) -> Any:
    """(ready pods without a sample, ready pods whose CPU sample does not count yet); see classify_pod.

    Pods that became ready in one tick count as of their mean time.
    """
    x, spec = s.state, s.hpa.spec[w, r]
    missing, unready = 0, 0
    by_readiness = s.hpa.metric[w, r, m].by_readiness != 0
    h, back = x.fresh.shape[2], tick
    while back > tick - h:
        if (back + 1) * dt + RESOURCE_WINDOW_S <= sample_s:
            break
        n = x.fresh[w, r, place_in(x.fresh, back)]
        since_s = x.fresh_s[w, r, place_in(x.fresh, back)]
        if n == 0 or since_s + RESOURCE_WINDOW_S <= sample_s:
            back -= 1
            continue
        if since_s > sample_s:
            missing += n
        elif by_readiness and since_s - s.workloads.start_mean_s[w] + spec.cpu_initialization_s > now_s:
            unready += n
        back -= 1
    return missing, unready


@inner
def _start(s: Any, w: int, r: int, n: int, tick: int, now_s: float, dt: float) -> float:
    """Create n pods; ready seconds that they add to this tick. Delays depend on workload, tick and count only."""
    x, delays = s.state, s.workloads.delay_s
    slots, h, gained = x.due.shape[2], place_in(x.fresh, tick), 0.0
    for p in range(n):
        due_s = now_s + delays[w, (tick * 61 + p) % delays.shape[1]]
        at = min(math.floor(due_s / dt), tick + slots - 1)
        within_s = max((at + 1) * dt - due_s, 0.0)
        if at <= tick:
            before = x.fresh[w, r, h]
            x.fresh_s[w, r, h] = (x.fresh_s[w, r, h] * before + due_s) / (before + 1)
            x.fresh[w, r, h] = before + 1
            x.ready[w, r] += 1
            gained += within_s
        else:
            x.starting[w, r] += 1
            slot = place_in(x.due, at)
            x.due[w, r, slot] += 1
            x.due_s[w, r, slot] += within_s
    return gained


@inner
def _stop(s: Any, w: int, r: int, n: int, tick: int, now_s: float, dt: float) -> float:
    """Delete n pods, those that start before ready ones, the newest first; ready seconds lost in this tick.

    A pod that ran is paid for through its grace time, at once.
    """
    x, v = s.state, s.workloads
    slots, h = x.due.shape[2], x.fresh.shape[2]
    at = tick + slots - 1
    while n > 0 and x.starting[w, r] > 0 and at > tick:
        slot = place_in(x.due, at)
        held = x.due[w, r, slot]
        gone = min(n, held)
        if gone > 0:
            x.due_s[w, r, slot] *= 1.0 - gone / held
            x.due[w, r, slot] = held - gone
            x.starting[w, r] -= gone
            n -= gone
        at -= 1
    n = min(n, x.ready[w, r])
    x.ready[w, r] -= n
    s.spent.usd[w, r] += n * v.grace_s[w] * pod_usd_per_h(v, w, 0.0) / 3600.0
    left, back = n, tick
    while left > 0 and back > tick - h:
        gone = min(left, x.fresh[w, r, place_in(x.fresh, back)])
        x.fresh[w, r, place_in(x.fresh, back)] -= gone
        left -= gone
        back -= 1
    return n * ((tick + 1) * dt - now_s)


@allocating_kernel
def serve_series(tables: Any, arrivals: Any, replicas: Any, dt: float, service: Any, out: Any) -> None:
    """Serve a measured series of one workload with the replicas that it had.

    arrivals, replicas: (n,). service: (slots, service_s, cv, threshold_s, timeout_s, balancing).
    out (n, 4): bad, timed out, served, mean busy slots.
    """
    backlog, known = 0.0, np.zeros(KNOWN)
    for i in range(arrivals.shape[0]):
        _good, bad, lost, served, backlog, busy = known_tick(
            tables, known, arrivals[i], dt, replicas[i], service[0], service[1], service[2], service[3], service[4],
            int(service[5]), 1.0, backlog,
        )  # fmt: skip
        out[i, 0] = bad
        out[i, 1] = lost
        out[i, 2] = served
        out[i, 3] = busy
