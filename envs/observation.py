"""Observation: what a policy sees of each workload, encoded from what was measured.

One row per workload; the cluster's own numbers are repeated in each row, so that one network with
shared weights serves 3 workloads or 3,000. Every feature is relative (a share, a ratio or its
logarithm): twice the traffic on twice the replicas looks the same. FEATURES is the data sheet.

`encode` reads a Snapshot; `encode_rows` is the same arithmetic on plain arrays, for batches of simulated
clusters and for replay. There is no second encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.action import full_target
from envs.cluster import ClusterSpec, Workload, once_per_spec
from envs.intent import Intent, violation_price
from envs.load_past import LAGS_MIN, LEADS_MIN, PAST, PEAKS_MIN
from envs.plain import Array, read_only
from envs.snapshot import PoolSignals, Snapshot, WorkloadSignals

MAX_AGE_S = 120.0  # older than this counts as unknown
TINY = 1e-9
ABSURD = 1e15
PAST_COLUMN = {name: i for i, name in enumerate(PAST)}


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
    *(Feature(f"lag_{m}", -3.0, 3.0, f"log2 of offered now / {m} min ago") for m in LAGS_MIN),
    *(Feature(f"peak_{m}", 0.0, 4.0, f"log2 of the largest minute of the last {m} / now") for m in PEAKS_MIN),
    Feature("day_0", -3.0, 3.0, "log2 of offered now / the same minutes yesterday"),
    *(Feature(f"day_{m}", -3.0, 3.0, f"log2 of yesterday {m} min later / yesterday") for m in LEADS_MIN[1:]),
    Feature("week_0", -3.0, 3.0, "log2 of offered now / the same minutes a week ago"),
    *(Feature(f"week_{m}", -3.0, 3.0, f"log2 of a week ago {m} min later / a week ago") for m in LEADS_MIN[1:]),
    Feature("knows_day", 0.0, 1.0, "1: yesterday's load is known"),
    Feature("knows_week", 0.0, 1.0, "1: last week's load is known"),
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
    Feature("need", 0.0, 2.0, "log2 of 1 + full replicas that the load fills, / 6"),
    Feature("slots", 0.0, 2.0, "log2 of a replica's slots / 6"),
    Feature("service_cv", 0.0, 3.0, "coefficient of variation of the service time"),
    Feature("slack", 0.0, 2.0, "log2 of latency threshold / mean service time, / 4"),
    Feature("start_delay", 0.0, 4.0, "scheduled to Ready / 60 s"),
    Feature("strictness", 0.0, 1.0, "nines of the SLO target / 5"),
    Feature("violation_price", 0.0, 2.0, "log10 of what a bad share of 1 costs in ideals, / 2"),
    Feature("share", 0.0, 1.0, "this workload's requested cpu / all workloads'"),
    Feature("cluster_cpu", 0.0, 1.0, "requested / allocatable cpu of all pools"),
    Feature("cluster_memory", 0.0, 1.0, "requested / allocatable memory of all pools"),
    Feature("booting", 0.0, 1.0, "booting / all nodes"),
    Feature("spend", 0.0, 2.0, "node dollars per hour / budget; 0 without a budget"),
    Feature("age", 0.0, 4.0, "age of the load signal / 60 s"),
    Feature("known", 0.0, 1.0, "share of this workload's signals that are known and fresh"),
)
FEATURE = {f.name: f for f in FEATURES}
ALL = tuple(FEATURE)
# What the autoscaling network looks at: what replay can know too, where there are no nodes and no memory.
AUTOSCALING = (
    "load",
    "errors",
    *(f"lag_{m}" for m in LAGS_MIN),
    *(f"peak_{m}" for m in PEAKS_MIN),
    *(f"day_{m}" for m in LEADS_MIN),
    *(f"week_{m}" for m in LEADS_MIN),
    *("knows_day", "knows_week", "ready", "starting", "pending", "position", "target", "window_down", "one_replica"),
    *("need", "slots", "service_cv", "slack", "start_delay", "violation_price"),
)


class RowSpec(NamedTuple):
    """What the specification says of each row's workload, (N,) each."""

    capacity_rps: Array  # of a replica with every slot busy
    slots: Array
    service_cv: Array
    slack: Array  # latency threshold / mean service time
    cpu_request: Array
    memory_request_gib: Array
    full_target: Array
    min_replicas: Array
    max_replicas: Array
    start_delay_s: Array
    slo_target: Array


class RowSignals(NamedTuple):
    """What was measured of each row's workload, (N,) each, NaN = unknown; past_rps (N, len(PAST))."""

    offered_rps: Array
    past_rps: Array
    ready: Array
    desired: Array
    starting: Array
    pending: Array
    error_share: Array
    hpa_target: Array
    window_down_s: Array
    violation_price: Array  # in force for this workload


Columns = dict[str, Any]


def row_spec(workloads: Sequence[Workload]) -> RowSpec:
    """The rows of these workloads."""

    def column(of: Callable[[Workload], float]) -> Array:
        return np.array([of(w) for w in workloads], np.float64)

    return RowSpec(
        capacity_rps=column(lambda w: w.service.capacity_rps),
        slots=column(lambda w: w.service.slots),
        service_cv=column(lambda w: w.service.service_cv),
        slack=column(lambda w: w.service.threshold_s / w.service.service_time_s),
        cpu_request=column(lambda w: w.cpu_request),
        memory_request_gib=column(lambda w: w.memory_request_gib),
        full_target=column(full_target),
        min_replicas=column(lambda w: w.min_replicas),
        max_replicas=column(lambda w: w.max_replicas),
        start_delay_s=column(lambda w: w.start_delay_s),
        slo_target=column(lambda w: w.slo_target),
    )


def ratio(part: Any, whole: Any) -> Array:
    """part / whole; NaN where the whole is not positive."""
    return np.where(whole > 0.0, part / np.where(whole > 0.0, whole, 1.0), np.nan)


def logarithm(part: Array, whole: Array) -> Array:
    """log2(part / whole), both held above a millionth of the larger; NaN stays."""
    floor = np.maximum(np.maximum(part, whole) * 1e-6, TINY)
    return np.asarray(np.log2(np.maximum(part, floor) / np.maximum(whole, floor)))


def load_columns(seen: RowSignals, spec: RowSpec) -> Columns:
    """LOAD_PART: what the load alone says, against itself before and against a full replica."""
    now = seen.offered_rps
    return {"need": np.log2(1.0 + now / spec.capacity_rps) / 6.0, **past_columns(now, seen.past_rps)}


def past_columns(now: Array, past: Array) -> Columns:
    """Load (N,) against its own past (N, len(PAST)), both requests/s: now over what was, peaks over now, and what
    followed a day and a week ago over what was then.
    """
    part, whole = np.array(past.T, order="C"), np.array(past.T, order="C")
    lags, peaks = len(LAGS_MIN), len(LAGS_MIN) + len(PEAKS_MIN)
    part[:lags], whole[lags:peaks] = now, now
    columns: Columns = {}
    for back in ("day", "week"):
        at = PAST_COLUMN[f"{back}_0"]
        whole[at : at + len(LEADS_MIN)] = past[:, at]
        part[at] = now
        columns[f"knows_{back}"] = np.isfinite(past[:, at])
    return columns | dict(zip(PAST, logarithm(part, whole), strict=True))


def replica_columns(seen: RowSignals, spec: RowSpec) -> Columns:
    """REPLICA_PART: the replicas and their HPA, and how they bear the load."""
    desired = seen.desired
    return {
        "load": ratio(seen.offered_rps, seen.ready * spec.capacity_rps),
        "errors": np.log10((seen.error_share + TINY) / (1.0 - spec.slo_target + TINY)),
        "ready": ratio(seen.ready, desired),
        "starting": ratio(seen.starting, desired),
        "pending": ratio(seen.pending, desired),
        "position": ratio(desired - spec.min_replicas, spec.max_replicas - spec.min_replicas),
        "target": ratio(seen.hpa_target, spec.full_target),
        "window_down": seen.window_down_s / 300.0,
        "one_replica": ratio(1.0, desired),
    }


def service_columns(seen: RowSignals, spec: RowSpec) -> Columns:
    """SERVICE_PART: what stays from one minute to the next."""
    return {
        "slots": np.log2(np.maximum(spec.slots, 1.0)) / 6.0,
        "service_cv": spec.service_cv,
        "slack": np.log2(np.maximum(spec.slack, 1.0)) / 4.0,
        "start_delay": spec.start_delay_s / 60.0,
        "strictness": -np.log10(np.maximum(1.0 - spec.slo_target, 1e-5)) / 5.0,
        "violation_price": np.log10(np.maximum(seen.violation_price, 1.0)) / 2.0,
    }


class Known(NamedTuple):
    """Signals of one group as a table: values by name, NaN where unknown, too old or absurd; what is known at all."""

    of: dict[str, Array]  # (n,) each
    fresh: NDArray[np.bool_]  # (signals, n)


def known(signals: WorkloadSignals | PoolSignals) -> Known:
    """All signals of a group at once; see Signal.fresh."""
    value = np.array([s.value for s in vars(signals).values()])
    age_s = np.array([s.age_s for s in vars(signals).values()])
    fresh = np.isfinite(value) & (value >= 0.0) & (age_s <= MAX_AGE_S)
    return Known(dict(zip(vars(signals), np.where(fresh & (value < ABSURD), value, np.nan), strict=True)), fresh)


def cluster_columns(snapshot: Snapshot, now: Known, spec: RowSpec, intent: Intent) -> Columns:
    """What only a whole snapshot has: resources, nodes, the signals' age. now: its workloads."""
    desired = now.of["desired"]
    cpu = np.nan_to_num(desired) * spec.cpu_request
    return {
        "cpu": ratio(now.of["cpu_per_pod"], spec.cpu_request),
        "memory": ratio(now.of["memory_per_pod_gib"], spec.memory_request_gib),
        "floor": ratio(now.of["hpa_min_replicas"], desired),
        "tolerance_up": now.of["hpa_tolerance_up"],
        "tolerance_down": now.of["hpa_tolerance_down"],
        "share": ratio(cpu, np.full(len(cpu), cpu.sum())),
        "age": snapshot.workloads.offered_rps.age_s / 60.0,
        "known": now.fresh.mean(axis=0),
        **pool_columns(snapshot, intent),
    }


def pool_columns(snapshot: Snapshot, intent: Intent) -> dict[str, float]:
    """Of the whole cluster; NaN while any pool is unknown."""
    p = known(snapshot.pools).of
    ready, booting = p["nodes_ready"], p["nodes_booting"]
    hourly = float((ready * p["price_usd_per_h"]).sum())
    budgeted = np.isfinite(intent.budget_usd_per_h) and intent.budget_usd_per_h > 0.0
    part = np.array([p["requested_cpu"].sum(), p["requested_memory_gib"].sum(), booting.sum()])
    whole = np.array([p["allocatable_cpu"].sum(), p["allocatable_memory_gib"].sum(), (ready + booting).sum()])
    cpu, memory, young = ratio(part, whole).tolist()
    spend = hourly / intent.budget_usd_per_h if budgeted else 0.0
    return {"cluster_cpu": cpu, "cluster_memory": memory, "booting": young, "spend": spend}


def signals_of(snapshot: Snapshot, now: Known, spec: RowSpec, intent: Intent) -> RowSignals:
    """A snapshot's workloads as rows. now: its workloads; what is stale or absurd is unknown."""
    past = snapshot.past_rps if snapshot.past_rps.size else np.full((len(spec.slots), len(PAST)), np.nan)
    same = ("ready", "desired", "starting", "pending", "error_share", "hpa_target")
    return RowSignals(
        offered_rps=now.of["offered_rps"],
        past_rps=np.where((past >= 0.0) & (past < ABSURD), past, np.nan),
        **{name: now.of[name] for name in same},
        window_down_s=now.of["hpa_stabilization_down_s"],
        violation_price=violation_price(intent.violation_price, spec.slo_target),
    )


@lru_cache(maxsize=8)
def _ranges(names: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(len(names), 1) each."""
    low, high = ([[getattr(FEATURE[n], end)] for n in names] for end in ("low", "high"))
    return np.array(low, np.float32), np.array(high, np.float32)


def table(columns: Columns, names: tuple[str, ...], n: int) -> NDArray[np.float32]:
    """(n, len(names)) float32, each feature within its [low, high] (which float32 holds exactly), unknown 0."""
    out = np.empty((len(names), n), np.float32)
    with np.errstate(over="ignore"):
        for i, name in enumerate(names):
            out[i] = columns[name]
    low, high = _ranges(names)
    np.minimum(np.maximum(out, low, out=out), high, out=out)
    np.copyto(out, np.float32(0.0), where=np.isnan(out))
    return np.ascontiguousarray(out.T)


LOAD_PART = (*PAST, "knows_day", "knows_week", "need")
REPLICA_PART = (
    *("load", "errors", "ready", "starting", "pending"),
    *("position", "target", "window_down", "one_replica"),
)
SERVICE_PART = ("slots", "service_cv", "slack", "start_delay", "strictness", "violation_price")
PARTS = ((LOAD_PART, load_columns), (REPLICA_PART, replica_columns), (SERVICE_PART, service_columns))


def encode_rows(seen: RowSignals, spec: RowSpec, names: tuple[str, ...] = AUTOSCALING) -> NDArray[np.float32]:
    """(N, len(names)) float32 of the features that need no whole snapshot; finite for any input.

    Only the parts that names are of are worked out: who has many rows of one load encodes that once.
    """
    columns: Columns = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for part, of in PARTS:
            if not set(part).isdisjoint(names):
                columns |= of(seen, spec)
    return table(columns, names, len(spec.slots))


@once_per_spec
def _spec_rows(spec: ClusterSpec) -> RowSpec:
    return RowSpec(*(read_only(column) for column in row_spec(spec.workloads)))


def encode(history: Sequence[Snapshot], spec: ClusterSpec, intent: Intent) -> NDArray[np.float32]:
    """(W, F) float32 of FEATURES, each within its [low, high]; finite for any input.

    history: oldest first, the last is now, at least one; snapshots of this very spec's workloads.
    Raises ValueError on an empty history.
    """
    if not history:
        raise ValueError("an observation needs at least one snapshot")
    rows, now = _spec_rows(spec), known(history[-1].workloads)
    seen = signals_of(history[-1], now, rows, intent)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = cluster_columns(history[-1], now, rows, intent)
        for _, of in PARTS:
            columns |= of(seen, rows)
    return table(columns, ALL, len(spec.workloads))
