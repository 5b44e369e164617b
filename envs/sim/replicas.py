"""Deployments and their autoscaler: HPA sync -> spec.replicas -> pods created or deleted."""

from __future__ import annotations

from typing import Any

from envs.controllers.hpa import hpa_sync
from envs.controllers.keda import answer_metrics
from envs.controllers.scaler_pack import LOOP_KEDA
from envs.sim.flow import PODS_STARTED, REPLICA_CHANGES
from envs.sim.jit import inner
from envs.sim.measure import fill_sample
from envs.sim.pods import create_pod, deletion_choice, terminate_pod


@inner
def alive(s: Any, b: int, w: int) -> int:
    """Pods of workload w that are not terminating."""
    return s.flow.n_ready[b, w] + s.flow.n_starting[b, w] + s.flow.n_pending[b, w]


@inner
def reconcile(s: Any, b: int, w: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Create or delete pods until as many are alive as spec.replicas asks for."""
    want = s.flow.spec_replicas[b, w]
    have = alive(s, b, w)
    while have < want:
        if create_pod(s.pods, s.flow, s.clock, s.classes, b, w, now_s) < 0:
            return
        have += 1
        s.clock.fresh[b] = 1
        if row >= 0:
            s.rows.cluster[b, row, PODS_STARTED] += 1.0
    while have > want:
        p = deletion_choice(s.pods, s.nodes, b, w, now_s)
        if p < 0:
            return
        terminate_pod(s.pods, s.flow, s.clock, s.service, s.topology, s.nodes, b, p, now_s, tick_end_s)
        have -= 1


@inner
def sync_workload(s: Any, b: int, w: int, now_s: float, tick: int, row: int, tick_end_s: float) -> None:
    """One HPA sync of workload w (or its fixed count), at its own real-valued time."""
    have = s.flow.spec_replicas[b, w]
    want = s.static_replicas[b, w]
    if want < 0:
        fill_sample(s, b, w, now_s, tick)
        if s.scalers.kind[b, w] == LOOP_KEDA:
            k = s.scalers
            answer_metrics(k.keda, k.trigger, k.times, s.hpa, s.hpa_sample, b, w, now_s, have)
        want = hpa_sync(s.hpa, s.hpa_state, s.hpa_sample, b, w, now_s, have, alive(s, b, w))
    set_replicas(s, b, w, want, now_s, row, tick_end_s)


@inner
def set_replicas(s: Any, b: int, w: int, want: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Write spec.replicas and bring the pods in line with it."""
    have = s.flow.spec_replicas[b, w]
    if want != have:
        s.flow.spec_replicas[b, w] = want
        if row >= 0:
            s.rows.cluster[b, row, REPLICA_CHANGES] += abs(want - have)
    if want != have or alive(s, b, w) != want:
        reconcile(s, b, w, now_s, row, tick_end_s)
