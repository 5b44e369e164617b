"""What a policy may ask for: fields of real objects, as absolute targets.

FIELDS is the one table: the decoder, the guardrails and the docs read it. A raw action is a flat
float vector in [-1, 1]: first the workload fields of workload 0, then of workload 1 ..., then the
pool fields of pool 0 ... A raw number that is not finite leaves its field as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from envs.cluster import ClusterSpec, NodePool, Workload, once_per_spec
from envs.plain import Array, read_only
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, ScalingRules

LOW_SHARE, HIGH_SHARE = 0.30, 0.95  # of a replica's request or capacity: what an HPA target may be


class Field(NamedTuple):
    """capacity: +1 when a larger value means more capacity or less disruption, -1 less, 0 neither.

    scale: how raw [-1, 1] spreads over [low, high]; `log` is even in log(1 + x).
    least_step: a change of this size is always a legal step, however small the value is.
    """

    name: str
    of: Literal["workload", "pool"]
    unit: str
    scale: Literal["linear", "log"]
    whole: bool
    capacity: int
    least_step: float


FIELDS = (
    Field("hpa_target", "workload", "unit of the HPA's first metric", "linear", False, -1, 0.0),
    Field("hpa_tolerance_up", "workload", "share", "linear", False, -1, 0.02),
    Field("hpa_tolerance_down", "workload", "share", "linear", False, 1, 0.02),
    Field("hpa_stabilization_up_s", "workload", "s", "log", True, -1, 30.0),
    Field("hpa_stabilization_down_s", "workload", "s", "log", True, 1, 30.0),
    Field("hpa_min_replicas", "workload", "pods", "log", True, 1, 1.0),
    Field("hpa_max_replicas", "workload", "pods", "log", True, 1, 1.0),
    Field("buffer_replicas", "workload", "pods", "log", True, 1, 1.0),
    Field("weight", "pool", "1-100", "linear", True, 0, 5.0),
    Field("consolidate_after_s", "pool", "s", "log", True, 1, 30.0),
    Field("budget_share", "pool", "share of nodes", "linear", False, -1, 0.05),
    Field("min_nodes", "pool", "nodes", "log", True, 1, 1.0),
    Field("max_nodes", "pool", "nodes", "log", True, 1, 1.0),
)
WORKLOAD_FIELDS = tuple(f for f in FIELDS if f.of == "workload")
POOL_FIELDS = tuple(f for f in FIELDS if f.of == "pool")
Group = Literal["workload", "pool"]
GROUPS: dict[Group, tuple[Field, ...]] = {
    "workload": WORKLOAD_FIELDS,
    "pool": POOL_FIELDS,
}  # together FIELDS, in this order
NAMES: dict[Group, tuple[str, ...]] = {group: tuple(f.name for f in fields) for group, fields in GROUPS.items()}


TABLES = "_tables"


@dataclass(frozen=True, eq=False)
class Targets:
    """Desired state, not changes. Arrays (W,) then (L,); NaN = leave as it is. Units: see FIELDS.

    requirements: per pool the instance types that a NodePool may use; empty = leave as it is.
    """

    hpa_target: Array
    hpa_tolerance_up: Array
    hpa_tolerance_down: Array
    hpa_stabilization_up_s: Array
    hpa_stabilization_down_s: Array
    hpa_min_replicas: Array
    hpa_max_replicas: Array
    buffer_replicas: Array  # CapacityBuffer: pods of this workload's shape
    weight: Array
    consolidate_after_s: Array
    budget_share: Array
    min_nodes: Array
    max_nodes: Array
    requirements: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        for f in FIELDS:
            given = getattr(self, f.name)
            kept = read_only(given)
            if kept is not given:
                object.__setattr__(self, f.name, kept)


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a policy wants."""

    policy: str
    targets: Targets


@dataclass(frozen=True, eq=False)
class Plan:
    """What is permitted. hold: nothing may change, and `why` says so."""

    targets: Targets
    hold: bool = False
    why: str = ""


def rows_of(holder: Any, group: Group) -> Array:
    """(fields of the group, n) of anything that holds an array (n,) under each field's name; not to be written to."""
    tables = getattr(holder, TABLES, None)
    if tables is not None:
        found: Array = tables[group]
        return found
    return np.array([getattr(holder, name) for name in NAMES[group]], np.float64)


def targets_of(rows: dict[Group, Array], requirements: tuple[tuple[str, ...], ...] = ()) -> Targets:
    """Targets from `rows_of` both groups, float64 arrays of their own; they are kept, and frozen: nothing to copy."""
    made = object.__new__(Targets)
    for group, table in rows.items():
        table.setflags(write=False)
        made.__dict__.update(zip(NAMES[group], table, strict=True))
    made.__dict__.update({"requirements": requirements, TABLES: rows})  # the same numbers, for rows_of
    return made


@once_per_spec
def nothing(spec: ClusterSpec) -> Targets:
    """Leave everything as it is."""
    sizes = {"workload": len(spec.workloads), "pool": len(spec.node_pools)}
    empty: dict[str, Any] = {f.name: np.full(sizes[f.of], np.nan) for f in FIELDS}
    return Targets(**empty)


def only(spec: ClusterSpec, **fields: Array) -> Targets:
    """Leave everything as it is but for these fields of the workloads, (W,) each."""
    rows = {group: np.full(of.low.shape, np.nan) for group, of in ranges(spec).items()}
    for name, value in fields.items():
        rows["workload"][NAMES["workload"].index(name)] = value
    return targets_of(rows)


def raw_size(spec: ClusterSpec) -> int:
    """Length of the raw action vector."""
    return len(WORKLOAD_FIELDS) * len(spec.workloads) + len(POOL_FIELDS) * len(spec.node_pools)


def first_metric(workload: Workload) -> HpaMetric:
    """Of the workload's own HPA; without one, CPU utilization."""
    hpa = workload.hpa
    return hpa.metrics[0] if isinstance(hpa, HpaSpec) and hpa.metrics else HpaMetric()


def full_target(workload: Workload) -> float:
    """The target at which one replica is just full, in the unit of its HPA's first metric."""
    metric = first_metric(workload)
    if metric.type in ("Resource", "ContainerResource") and metric.target_type == "Utilization":
        return 100.0
    if metric.name == "requests_per_second":
        return workload.service.capacity_rps
    if metric.name == "cpu":
        return workload.cpu_request
    if metric.name == "memory":
        return workload.memory_request_gib
    return metric.target / 0.7  # nothing known: the user's own target is taken as 70 % full


def workload_bounds(name: str, w: Workload) -> tuple[float, float]:
    """Least and largest value of a workload field, both allowed."""
    if name == "hpa_target":
        return LOW_SHARE * full_target(w), HIGH_SHARE * full_target(w)
    if name in ("hpa_min_replicas", "hpa_max_replicas"):
        return float(w.min_replicas), float(w.max_replicas)
    highs = {"hpa_stabilization_up_s": 600.0, "hpa_stabilization_down_s": 1800.0}
    highs |= {"buffer_replicas": float(w.max_replicas)}
    return 0.0, highs.get(name, 0.5)


def pool_bounds(name: str, pool: NodePool) -> tuple[float, float]:
    """Least and largest value of a pool field, both allowed."""
    if name in ("min_nodes", "max_nodes"):
        return float(pool.min_nodes), float(pool.max_nodes)
    table = {"weight": (1.0, 100.0), "consolidate_after_s": (0.0, 3600.0), "budget_share": (0.0, 1.0)}
    return table[name]


class Ranges(NamedTuple):
    """Bounds of a group's fields, (fields, n), and where they lie on the scale that raw numbers are even on."""

    low: Array
    high: Array
    log: Any  # indices of the fields that are even in log(1 + x)
    whole: Any  # indices of the fields that are whole numbers
    start: Array  # low on the even scale
    width: Array  # high - low on it
    span: Array  # width; infinite where low = high
    middle: Array  # of [0, 2]: 1; 0 where low = high


@once_per_spec
def ranges(spec: ClusterSpec) -> dict[Group, Ranges]:
    """Both groups' bounds; read-only."""
    return {group: _ranges(spec, group) for group in GROUPS}


def _ranges(spec: ClusterSpec, group: Group) -> Ranges:
    fields = GROUPS[group]
    pairs: list[list[tuple[float, float]]] = [
        [workload_bounds(f.name, w) for w in spec.workloads]
        if group == "workload"
        else [pool_bounds(f.name, p) for p in spec.node_pools]
        for f in fields
    ]
    low, high = np.moveaxis(np.array(pairs, np.float64).reshape(len(fields), -1, 2), 2, 0)
    log = np.array([i for i, f in enumerate(fields) if f.scale == "log"], np.intp)
    start, end = low.copy(), high.copy()
    start[log], end[log] = np.log1p(low[log]), np.log1p(high[log])
    whole = np.array([i for i, f in enumerate(fields) if f.whole], np.intp)
    width = end - start
    span, middle = np.where(width > 0.0, width, np.inf), np.where(width > 0.0, 1.0, 0.0)
    low, high, start, width, span, middle = (read_only(x) for x in (low, high, start, width, span, middle))
    return Ranges(low, high, log, whole, start, width, span, middle)


def bounds(field: Field, spec: ClusterSpec) -> tuple[Array, Array]:
    """(low, high), each (W,) or (L,); read-only."""
    of, i = ranges(spec)[field.of], GROUPS[field.of].index(field)
    return of.low[i], of.high[i]


def held(x: Any, low: Any, high: Any) -> Array:
    """np.clip for numbers of equal kind, without its overhead; NaN stays NaN."""
    return np.asarray(np.minimum(np.maximum(x, low), high))


def stretch_rows(x: Any, of: Ranges) -> Array:
    """Raw [-1, 1] (fields, n) -> [low, high], rounded where the object's field is whole."""
    out = of.start + of.width * ((held(x, -1.0, 1.0) + 1.0) / 2.0)
    out[of.log] = np.expm1(out[of.log])
    out[of.whole] = np.rint(out[of.whole])
    return held(out, of.low, of.high)


def stretch(field: Field, x: Any, spec: ClusterSpec) -> Array:
    """One field of `stretch_rows`: x (n,) or (1,)."""
    i = GROUPS[field.of].index(field)
    of = ranges(spec)[field.of]
    here = np.zeros(int(field.scale == "log"), np.intp), np.zeros(int(field.whole), np.intp)
    own = slice(i, i + 1)
    part = Ranges(of.low[own], of.high[own], *here, of.start[own], of.width[own], of.span[own], of.middle[own])
    return np.asarray(stretch_rows(np.asarray(x, np.float64)[None], part)[0])


def shrink_rows(value: Any, of: Ranges) -> Array:
    """[low, high] (fields, n) -> raw [-1, 1]; where low = high, 0."""
    y = held(value, of.low, of.high)
    y[of.log] = np.log1p(y[of.log])
    return 2.0 * (y - of.start) / of.span - of.middle


def blocks(raw: Any, spec: ClusterSpec) -> tuple[Array, Array]:
    """The raw vector as (W, workload fields) and (L, pool fields). Raises ValueError on a wrong length."""
    flat = np.asarray(raw, np.float64)
    if flat.shape != (raw_size(spec),):
        raise ValueError(f"raw action has shape {flat.shape}, the spec needs ({raw_size(spec)},)")
    cut = len(WORKLOAD_FIELDS) * len(spec.workloads)
    return flat[:cut].reshape(-1, len(WORKLOAD_FIELDS)), flat[cut:].reshape(-1, len(POOL_FIELDS))


def decode(raw: Any, spec: ClusterSpec, policy: str = "") -> Proposal:
    """Raw vector -> absolute targets within their bounds. Raises ValueError on a wrong length."""
    of = ranges(spec)
    rows: dict[Group, Array] = {}
    for group, part in zip(GROUPS, blocks(raw, spec), strict=True):
        rows[group] = stretch_rows(np.where(np.isfinite(part.T), part.T, np.nan), of[group])
    return Proposal(policy, targets_of(rows))


def raw_of(targets: Targets, spec: ClusterSpec) -> Array:
    """The raw vector that decodes to these targets (clipped into their bounds); NaN stays NaN."""
    return np.concatenate([shrink_rows(rows_of(targets, group), of).T.ravel() for group, of in ranges(spec).items()])


def kept(value: float, old: Any) -> Any:
    """The old value where the new one is NaN."""
    return old if np.isnan(value) else value


def hpa_after(spec: HpaSpec, targets: Targets, w: int) -> HpaSpec:
    """The HPA of workload w with the plan's fields in place; only what changes is set.

    Setting a tolerance or a window needs `behavior`, which turns on the API's default rate policies.
    """
    t = {f.name: float(getattr(targets, f.name)[w]) for f in WORKLOAD_FIELDS}
    metrics = spec.metrics
    if not np.isnan(t["hpa_target"]):
        metrics = (replace(metrics[0], target=t["hpa_target"], capacity_share=None), *metrics[1:])
    low, high = kept(t["hpa_min_replicas"], spec.min_replicas), kept(t["hpa_max_replicas"], spec.max_replicas)
    return replace(
        spec,
        metrics=metrics,
        behavior=behavior_after(spec, t),
        min_replicas=low if low is None else int(low),
        max_replicas=high if high is None else int(high),
    )


def behavior_after(spec: HpaSpec, t: dict[str, float]) -> HpaBehavior | None:
    """spec.behavior with tolerances and windows from t; None stays None when t sets none of them."""
    names = [f"hpa_{what}" for what in ("tolerance_up", "tolerance_down", "stabilization_up_s", "stabilization_down_s")]
    if all(np.isnan(t[name]) for name in names):
        return spec.behavior
    given = spec.behavior or HpaBehavior()
    return HpaBehavior(
        rules_after(given.scale_up, t["hpa_tolerance_up"], t["hpa_stabilization_up_s"]),
        rules_after(given.scale_down, t["hpa_tolerance_down"], t["hpa_stabilization_down_s"]),
    )


def rules_after(rules: ScalingRules | None, tolerance: float, window_s: float) -> ScalingRules | None:
    if np.isnan(tolerance) and np.isnan(window_s):
        return rules
    old = rules or ScalingRules()
    window = kept(window_s, old.stabilization_s)
    return replace(
        old,
        tolerance=kept(tolerance, old.tolerance),
        stabilization_s=window if window is None else int(window),
    )


def pool_after(pool: NodePool, targets: Targets, index: int) -> NodePool:
    """Pool `index` with the plan's limits, weight and instance types in place."""
    types = targets.requirements[index] if targets.requirements else ()
    return replace(
        pool,
        min_nodes=int(kept(float(targets.min_nodes[index]), pool.min_nodes)),
        max_nodes=int(kept(float(targets.max_nodes[index]), pool.max_nodes)),
        weight=int(kept(float(targets.weight[index]), pool.weight)),
        instance_types=types or pool.instance_types,
    )
