"""Observation: what a policy sees of one cluster, encoded from a short history of snapshots.

One row per workload; the cluster's own numbers are repeated in each row, so that one network with
shared weights serves 3 workloads or 3,000. Every feature is relative (a share, a ratio or its
logarithm): twice the traffic on twice the replicas looks the same. FEATURES is the data sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.action import full_target
from envs.cluster import ClusterSpec
from envs.intent import Intent
from envs.plain import Array
from envs.snapshot import Signal, Snapshot

MAX_AGE_S = 120.0  # older than this counts as unknown
TINY = 1e-9
ABSURD = 1e15


class Feature(NamedTuple):
    """Index in FEATURES = column of the observation. Unknown reads 0; `known` says how much is."""

    name: str
    low: float
    high: float
    meaning: str


FEATURES = (
    Feature("load", 0.0, 4.0, "offered / what the ready replicas can serve"),
    Feature("cpu", 0.0, 4.0, "cores used per ready pod / request"),
    Feature("memory", 0.0, 4.0, "memory used per ready pod / request"),
    Feature("errors", -3.0, 3.0, "log10 of error share / allowed share (burn rate 1 = 0)"),
    Feature("trend", -2.0, 2.0, "log2 of offered now / offered one snapshot before"),
    Feature("level", -2.0, 2.0, "log2 of offered now / mean of the history"),
    Feature("peak", 0.0, 4.0, "log2 of the history's largest offered / now"),
    Feature("ready", 0.0, 2.0, "ready / desired replicas"),
    Feature("starting", 0.0, 1.0, "starting / desired replicas"),
    Feature("pending", 0.0, 1.0, "pending / desired replicas"),
    Feature("position", 0.0, 1.0, "where desired stands between the workload's minimum and maximum"),
    Feature("floor", 0.0, 1.0, "HPA minReplicas / desired replicas"),
    Feature("target", 0.0, 2.0, "HPA target / the target of a full replica"),
    Feature("tolerance_up", 0.0, 1.0, "HPA tolerance in force"),
    Feature("tolerance_down", 0.0, 1.0, "HPA tolerance in force"),
    Feature("window_down", 0.0, 6.0, "HPA scale-down stabilization / 300 s"),
    Feature("one_replica", 0.0, 1.0, "1 / desired replicas: how coarse one step is"),
    Feature("start_delay", 0.0, 4.0, "scheduled to Ready / 60 s"),
    Feature("strictness", 0.0, 1.0, "nines of the SLO target / 5"),
    Feature("share", 0.0, 1.0, "this workload's requested cpu / all workloads'"),
    Feature("cluster_cpu", 0.0, 1.0, "requested / allocatable cpu of all pools"),
    Feature("cluster_memory", 0.0, 1.0, "requested / allocatable memory of all pools"),
    Feature("booting", 0.0, 1.0, "booting / all nodes"),
    Feature("spend", 0.0, 2.0, "node dollars per hour / budget; 0 without a budget"),
    Feature("violation_price", 0.0, 2.0, "log10 of the intent's violation price / 2"),
    Feature("age", 0.0, 4.0, "age of the load signal / 60 s"),
    Feature("known", 0.0, 1.0, "share of this workload's signals that are known and fresh"),
)


def known(signal: Signal) -> Array:
    """Values, NaN where unknown, too old or absurd."""
    return np.where(signal.fresh(MAX_AGE_S) & (signal.value < ABSURD), signal.value, np.nan)


def ratio(part: Array, whole: Array) -> Array:
    """part / whole; NaN where the whole is not positive."""
    return np.where(whole > 0.0, part / np.where(whole > 0.0, whole, 1.0), np.nan)


def logarithm(part: Array, whole: Array) -> Array:
    """log2(part / whole), both held above a millionth of the larger; NaN stays."""
    floor = np.maximum(np.maximum(part, whole) * 1e-6, TINY)
    return np.asarray(np.log2(np.maximum(part, floor) / np.maximum(whole, floor)))


def mean_of(rows: Array) -> Array:
    """Column means over what is known, NaN where nothing is."""
    count = np.isfinite(rows).sum(axis=0)
    return ratio(np.nansum(rows, axis=0), count.astype(np.float64))


def load_features(history: Sequence[Snapshot], spec: ClusterSpec) -> dict[str, Array]:
    now = history[-1].workloads
    offered, ready = known(now.offered_rps), known(now.ready)
    rows = np.stack([known(s.workloads.offered_rps) for s in history])
    highest = np.where(np.isnan(rows), -np.inf, rows).max(axis=0)
    capacity = np.array([w.service.capacity_rps for w in spec.workloads])
    allowed = np.array([1.0 - w.slo_target for w in spec.workloads])
    return {
        "load": ratio(offered, ready * capacity),
        "cpu": ratio(known(now.cpu_per_pod), np.array([w.cpu_request for w in spec.workloads])),
        "memory": ratio(known(now.memory_per_pod_gib), np.array([w.memory_request_gib for w in spec.workloads])),
        "errors": np.log10((known(now.error_share) + TINY) / (allowed + TINY)),
        "trend": logarithm(offered, rows[-2] if len(rows) > 1 else offered),
        "level": logarithm(offered, mean_of(rows)),
        "peak": logarithm(np.where(np.isfinite(highest), highest, np.nan), offered),
        "age": now.offered_rps.age_s / 60.0,
    }


def replica_features(snapshot: Snapshot, spec: ClusterSpec) -> dict[str, Array]:
    now = snapshot.workloads
    desired = known(now.desired)
    low = np.array([float(w.min_replicas) for w in spec.workloads])
    high = np.array([float(w.max_replicas) for w in spec.workloads])
    return {
        "ready": ratio(known(now.ready), desired),
        "starting": ratio(known(now.starting), desired),
        "pending": ratio(known(now.pending), desired),
        "position": ratio(desired - low, high - low),
        "floor": ratio(known(now.hpa_min_replicas), desired),
        "target": ratio(known(now.hpa_target), np.array([full_target(w) for w in spec.workloads])),
        "tolerance_up": known(now.hpa_tolerance_up),
        "tolerance_down": known(now.hpa_tolerance_down),
        "window_down": known(now.hpa_stabilization_down_s) / 300.0,
        "one_replica": ratio(np.ones(len(desired)), desired),
    }


def spec_features(snapshot: Snapshot, spec: ClusterSpec, intent: Intent) -> dict[str, Array]:
    request = np.array([w.cpu_request for w in spec.workloads])
    cpu = np.nan_to_num(known(snapshot.workloads.desired)) * request
    nines = [-np.log10(max(1.0 - w.slo_target, 1e-5)) / 5.0 for w in spec.workloads]
    return {
        "start_delay": np.array([w.start_delay_s / 60.0 for w in spec.workloads]),
        "strictness": np.array(nines),
        "share": ratio(cpu, np.full(len(cpu), cpu.sum())),
        "violation_price": np.full(len(cpu), np.log10(max(intent.violation_price, 1.0)) / 2.0),
    }


def pool_features(snapshot: Snapshot, intent: Intent) -> dict[str, float]:
    """Of the whole cluster; NaN while any pool is unknown."""
    p = snapshot.pools
    ready, booting = known(p.nodes_ready), known(p.nodes_booting)
    nodes = np.array([(ready + booting).sum()])
    hourly = float((ready * known(p.price_usd_per_h)).sum())
    budgeted = np.isfinite(intent.budget_usd_per_h) and intent.budget_usd_per_h > 0.0
    cpu = ratio(known(p.requested_cpu).sum(keepdims=True), known(p.allocatable_cpu).sum(keepdims=True))
    memory = ratio(known(p.requested_memory_gib).sum(keepdims=True), known(p.allocatable_memory_gib).sum(keepdims=True))
    return {
        "cluster_cpu": float(cpu[0]),
        "cluster_memory": float(memory[0]),
        "booting": float(ratio(booting.sum(keepdims=True), nodes)[0]),
        "spend": hourly / intent.budget_usd_per_h if budgeted else 0.0,
    }


def known_share(snapshot: Snapshot) -> Array:
    """(W,) share of the workload signals that are known and fresh."""
    signals = vars(snapshot.workloads).values()
    return np.asarray(np.mean([s.fresh(MAX_AGE_S) for s in signals], axis=0))


def encode(history: Sequence[Snapshot], spec: ClusterSpec, intent: Intent) -> NDArray[np.float32]:
    """(W, F) float32 of FEATURES, each within its [low, high]; finite for any input.

    history: oldest first, the last is now, at least one; snapshots of this very spec's workloads.
    Raises ValueError on an empty history.
    """
    if not history:
        raise ValueError("an observation needs at least one snapshot")
    now = history[-1]
    columns: dict[str, Array] = {
        **load_features(history, spec),
        **replica_features(now, spec),
        **spec_features(now, spec, intent),
        "known": known_share(now),
    }
    shared = pool_features(now, intent)
    out = np.zeros((len(spec.workloads), len(FEATURES)), np.float32)
    for i, f in enumerate(FEATURES):
        value = columns[f.name] if f.name in columns else np.full(len(out), shared[f.name])
        out[:, i] = np.clip(np.nan_to_num(value, nan=0.0), f.low, f.high)
    return out
