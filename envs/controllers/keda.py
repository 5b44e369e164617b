"""KEDA: from zero to one and back, and what its metrics server tells the HPA that it writes.

Rules of KEDA 2.20 (pkg/scaling/executor, pkg/fallback, pkg/scalers/cron_scaler.go). Between one and the
most, `envs.controllers.hpa` scales: KEDA's HPA reads the triggers as External (cpu and memory as
Resource) metrics, and is switched off at zero as any HPA is.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.hpa_pack import TOTAL_AVERAGE, TOTAL_VALUE
from envs.controllers.schedule import value_at
from envs.sim.jit import inner, kernel

OUTSIDE_CRON = 1.0  # what the cron scaler reports outside its window: one replica
_CURRENT, _HIGHER, _LOWER = 1, 2, 3


@kernel
def keda_poll(keda: Any, b: int, w: int, now_s: float, current: int, active: bool, failed: bool) -> int:
    """One round of the scale loop of workload w in cluster b; spec.replicas after it.

    active: some trigger is above its activation threshold. failed: none is, and one could not be read.
    A failure without a fallback changes nothing. The cooldown counts from the last active round, or from the
    start where there was none, and is only for the way to zero.
    """
    spec = keda[b, w]
    idle = spec.idle_replicas
    if active:
        spec.last_active_s = now_s
        asleep = current == 0 or (idle >= 0 and current < spec.min_replicas)
        return max(spec.min_replicas, 1) if asleep else current
    if failed:
        return fallback_count(spec, current) if spec.fallback_replicas > 0 else current
    if (idle >= 0 and current > idle) or (current > 0 and spec.min_replicas == 0):
        ended = spec.last_active_s + spec.cooldown_s
        if spec.last_active_s == -math.inf:
            ended = spec.created_s + spec.initial_cooldown_s
        return max(idle, 0) if ended < now_s else current
    return spec.min_replicas if idle < 0 and current < spec.min_replicas else current


@inner
def fallback_count(spec: Any, current: int) -> int:
    """Replicas while a trigger fails: the fallback's, the current count, or the higher or lower of both."""
    replicas = spec.fallback_replicas
    if spec.fallback_behavior == _CURRENT:
        return current
    if spec.fallback_behavior == _HIGHER:
        return max(current, replicas)
    if spec.fallback_behavior == _LOWER:
        return min(current, replicas)
    return replicas


@kernel
def is_active(trigger: Any, times: Any, value: float, now_s: float) -> int:
    """1 active, 0 not, -1 not known. value: what the trigger measures, -1 = unreadable; cron looks at the clock."""
    if not trigger.wakes:
        return 0
    if trigger.table >= 0:
        return 1 if value_at(times, trigger.table, now_s) > 0.0 else 0
    if value < 0.0:
        return -1
    return 1 if value > trigger.activation else 0


@kernel
def answer_metrics(
    keda: Any, triggers: Any, times: Any, hpa: Any, sample: Any, b: int, w: int, now_s: float, current: int
) -> None:
    """Complete what the metrics APIs tell the HPA: the cron triggers' replicas, and fallbacks for failures.

    A trigger that failed more often in a row than the fallback's threshold reports target x fallback replicas.
    """
    spec = keda[b, w]
    for t in range(spec.n_triggers):
        trigger, metric, seen = triggers[b, w, t], hpa.metric[b, w, t], sample.metric[b, w, t]
        if trigger.table >= 0:
            replicas = value_at(times, trigger.table, now_s)
            seen.ok = True
            seen.usage = int((replicas if replicas > 0.0 else OUTSIDE_CRON) * 1000.0)
        elif metric.kind in (TOTAL_VALUE, TOTAL_AVERAGE):
            trigger.failures = 0 if seen.ok else trigger.failures + 1
            if spec.fallback_replicas >= 0 and trigger.failures > spec.fallback_failures:
                seen.ok = True
                seen.usage = metric.target * fallback_count(spec, current)
