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
from itertools import pairwise
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
MOVING = (  # from minute to minute; the rest stays while a workload's specification and price do
    *("load", "errors", *PAST),
    *("knows_day", "knows_week", "ready", "starting", "pending", "position", "target", "window_down", "one_replica"),
    "need",
)
AUTOSCALING = (*MOVING, "slots", "service_cv", "slack", "start_delay", "violation_price")


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
    """part / whole; NaN where the whole is not positive. The caller ignores divisions by zero."""
    out = np.asarray(part / whole)
    np.copyto(out, np.nan, where=~(whole > 0.0))
    return out


def logarithm(part: Array, whole: Array) -> Array:
    """log2(part / whole), both held above a millionth of the larger; NaN stays."""
    floor = np.maximum(part, whole)
    floor *= 1e-6
    np.maximum(floor, TINY, out=floor)
    out = np.maximum(part, floor)
    np.maximum(whole, floor, out=floor)
    return np.asarray(np.log2(np.divide(out, floor, out=out), out=out))


# The encoder's parts: names, and a function that gives their rows (len(names), N). One table for many features costs
# a small batch a fraction of what an array for each would.
KNOWS_PART = ("knows_day", "knows_week")
NEED_PART = ("need",)
LOAD_PART = (*PAST, *KNOWS_PART, *NEED_PART)  # what the load alone says, against itself before and a full replica
REPLICA_PART = (
    *("load", "errors", "ready", "starting", "pending"),
    *("position", "target", "window_down", "one_replica"),
)
SERVICE_PART = ("slots", "service_cv", "slack", "start_delay", "strictness")
PRICE_PART = ("violation_price",)
CLUSTER_PART = (
    *("cpu", "memory", "floor", "share", "tolerance_up", "tolerance_down", "age", "known"),
    *("cluster_cpu", "cluster_memory", "booting", "spend"),
)


def past_rows(now: Array, past: Array) -> Array:
    """PAST: load (N,) against its own past (N, len(PAST)), both requests/s: now over what was, peaks over now, and what
    followed a day and a week ago over what was then.
    """
    part, whole = np.array(past.T, order="C"), np.array(past.T, order="C")
    lags, peaks = len(LAGS_MIN), len(LAGS_MIN) + len(PEAKS_MIN)
    part[:lags], whole[lags:peaks] = now, now
    for at in (PAST_COLUMN["day_0"], PAST_COLUMN["week_0"]):
        whole[at : at + len(LEADS_MIN)] = past[:, at]
        part[at] = now
    return logarithm(part, whole)


def knows_rows(past: Array) -> Array:
    """KNOWS_PART: how far back a past (N, len(PAST)) goes."""
    return np.isfinite(past.T[[PAST_COLUMN["day_0"], PAST_COLUMN["week_0"]]]).astype(np.float64)


def replica_rows(seen: RowSignals, spec: RowSpec) -> Array:
    """REPLICA_PART: the replicas and their HPA, and how they bear the load."""
    desired = seen.desired
    part, whole = np.empty((2, len(REPLICA_PART), len(desired)))
    part[0], whole[0] = seen.offered_rps, seen.ready * spec.capacity_rps
    part[1], whole[1] = seen.error_share + TINY, 1.0 - spec.slo_target + TINY
    part[2], part[3], part[4], part[8] = seen.ready, seen.starting, seen.pending, 1.0
    whole[2:5] = whole[8] = desired
    part[5], whole[5] = desired - spec.min_replicas, spec.max_replicas - spec.min_replicas
    part[6], whole[6] = seen.hpa_target, spec.full_target
    part[7], whole[7] = seen.window_down_s, 300.0
    out = ratio(part, whole)
    np.log10(out[1], out=out[1])
    return out


@once_per_spec
def service_rows(spec: RowSpec) -> Array:
    """SERVICE_PART: what stays from one minute to the next."""
    rows = (
        np.log2(np.maximum(spec.slots, 1.0)) / 6.0,
        spec.service_cv,
        np.log2(np.maximum(spec.slack, 1.0)) / 4.0,
        spec.start_delay_s / 60.0,
        -np.log10(np.maximum(1.0 - spec.slo_target, 1e-5)) / 5.0,
    )
    return read_only(np.array(rows))


Part = tuple[tuple[str, ...], Callable[[RowSignals, RowSpec], Array]]
PARTS: tuple[Part, ...] = (
    (PAST, lambda seen, spec: past_rows(seen.offered_rps, seen.past_rps)),
    (KNOWS_PART, lambda seen, spec: knows_rows(seen.past_rps)),
    (NEED_PART, lambda seen, spec: np.log2(1.0 + seen.offered_rps / spec.capacity_rps)[None] / 6.0),
    (REPLICA_PART, replica_rows),
    (SERVICE_PART, lambda seen, spec: service_rows(spec)),
    (PRICE_PART, lambda seen, spec: np.log10(np.maximum(seen.violation_price, 1.0))[None] / 2.0),
)


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


def cluster_rows(snapshot: Snapshot, now: Known, spec: RowSpec, intent: Intent) -> Array:
    """CLUSTER_PART: what only a whole snapshot has: resources, nodes, the signals' age. now: its workloads."""
    seen, desired = now.of, now.of["desired"]
    cpu = np.where(np.isnan(desired), 0.0, desired) * spec.cpu_request
    out = np.empty((len(CLUSTER_PART), len(desired)))
    whole = np.empty((4, len(desired)))
    out[0], whole[0] = seen["cpu_per_pod"], spec.cpu_request
    out[1], whole[1] = seen["memory_per_pod_gib"], spec.memory_request_gib
    out[2], whole[2] = seen["hpa_min_replicas"], desired
    out[3], whole[3] = cpu, cpu.sum()
    out[:4] = ratio(out[:4], whole)
    out[4], out[5] = seen["hpa_tolerance_up"], seen["hpa_tolerance_down"]
    out[6] = snapshot.workloads.offered_rps.age_s / 60.0
    out[7] = now.fresh.sum(axis=0) / len(now.fresh)
    out[8:] = pools_seen(snapshot, intent)[:, None]
    return out


def pools_seen(snapshot: Snapshot, intent: Intent) -> Array:
    """cluster_cpu, cluster_memory, booting and spend; NaN while any pool is unknown."""
    p = known(snapshot.pools).of
    ready, booting = p["nodes_ready"], p["nodes_booting"]
    hourly = float((ready * p["price_usd_per_h"]).sum())
    budgeted = np.isfinite(intent.budget_usd_per_h) and intent.budget_usd_per_h > 0.0
    part = np.array([p["requested_cpu"].sum(), p["requested_memory_gib"].sum(), booting.sum()])
    whole = np.array([p["allocatable_cpu"].sum(), p["allocatable_memory_gib"].sum(), (ready + booting).sum()])
    spend = hourly / intent.budget_usd_per_h if budgeted else 0.0
    return np.array([*ratio(part, whole), spend])


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


@lru_cache(maxsize=32)
def _order(have: tuple[str, ...], names: tuple[str, ...]) -> Any:
    """Where names are among the rows that there are."""
    return slice(None) if have == names else np.array([have.index(name) for name in names], np.intp)


def table(parts: Sequence[Array], have: tuple[str, ...], names: tuple[str, ...]) -> NDArray[np.float32]:
    """(n, len(names)) float32 of parts (k, n) whose rows are called `have`: each feature within its [low, high] (which
    float32 holds exactly), unknown 0. The caller ignores overflow.
    """
    out, at = np.empty((len(have), parts[0].shape[1]), np.float32), 0
    for part in parts:
        out[at : at + len(part)] = part
        at += len(part)
    return np.ascontiguousarray(_held(out, *_ranges(have))[_order(have, names)].T)


def _held(rows: NDArray[np.float32], low: Any, high: Any) -> NDArray[np.float32]:
    np.minimum(np.maximum(rows, low, out=rows), high, out=rows)
    rows[np.isnan(rows)] = 0.0
    return rows


@lru_cache(maxsize=32)
def _parts_of(names: tuple[str, ...]) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """The parts that names are of, and the names of all that these give."""
    parts = tuple(part for part in PARTS if not set(part[0]).isdisjoint(names))
    return parts, tuple(name for part, _ in parts for name in part)


def encode_rows(seen: RowSignals, spec: RowSpec, names: tuple[str, ...] = AUTOSCALING) -> NDArray[np.float32]:
    """(N, len(names)) float32 of the features that need no whole snapshot; finite for any input.

    Only the parts that names are of are worked out: who has many rows of one load encodes that once.
    """
    parts, have = _parts_of(names)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return table([of(seen, spec) for _, of in parts], have, names)


def stretches(names: tuple[str, ...]) -> tuple[tuple[slice, slice], ...]:
    """(where it is in AUTOSCALING, where it is in names) of each stretch of names that are neighbours in both."""
    at = [AUTOSCALING.index(name) for name in names]
    cuts = [i for i in range(len(at) + 1) if i in (0, len(at)) or at[i] != at[i - 1] + 1]
    return tuple((slice(at[a], at[a] + z - a), slice(a, z)) for a, z in pairwise(cuts))


class RowEncoder:
    """`encode_rows` of AUTOSCALING for rows whose specification and violation price stay: these are encoded once."""

    def __init__(self, spec: RowSpec, violation_price: Array) -> None:
        n = len(violation_price)
        nothing = np.full(n, np.nan)
        seen = RowSignals(**dict.fromkeys(RowSignals._fields, nothing))._replace(violation_price=violation_price)
        stays = AUTOSCALING[len(MOVING) :]
        self._spec, self._rows = spec, np.empty((len(AUTOSCALING), n), np.float32)
        self._rows[len(MOVING) :] = encode_rows(seen, spec, stays).T
        self._low, self._high = (np.repeat(end, n, axis=1) for end in _ranges(MOVING))
        self._parts = [(of, stretches(part)) for part, of in _parts_of(MOVING)[0]]

    def __call__(self, seen: RowSignals) -> NDArray[np.float32]:
        """(N, len(AUTOSCALING)); seen: with the violation price that this was made for."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for of, places in self._parts:
                rows = of(seen, self._spec)
                for to, taken in places:
                    self._rows[to] = rows[taken]
        _held(self._rows[: len(MOVING)], self._low, self._high)
        return np.ascontiguousarray(self._rows.T)


@once_per_spec
def _spec_rows(spec: ClusterSpec) -> RowSpec:
    return RowSpec(*(read_only(column) for column in row_spec(spec.workloads)))


def encode(
    history: Sequence[Snapshot], spec: ClusterSpec, intent: Intent, names: tuple[str, ...] = ALL
) -> NDArray[np.float32]:
    """(W, len(names)) float32 of FEATURES, each within its [low, high]; finite for any input. What names are not of is
    not worked out.

    history: oldest first, the last is now, at least one; snapshots of this very spec's workloads.
    Raises ValueError on an empty history.
    """
    if not history:
        raise ValueError("an observation needs at least one snapshot")
    rows, now = _spec_rows(spec), known(history[-1].workloads)
    seen = signals_of(history[-1], now, rows, intent)
    if not names:
        return np.empty((len(spec.workloads), 0), np.float32)
    of_rows, have = _parts_of(names)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        parts = [of(seen, rows) for _, of in of_rows]
        if not set(CLUSTER_PART).isdisjoint(names):
            parts.append(cluster_rows(history[-1], now, rows, intent))
            have = (*have, *CLUSTER_PART)
        return table(parts, have, names)
