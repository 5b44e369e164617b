"""Guardrails: an ordered pipeline of small pure callables between a proposal and a plan.

Order: freshness -> bounds -> step -> cooldown. A guard may only move a target toward what is in force
(hold), toward its bounds, or toward more capacity. NaN in a plan means: leave as it is. Any exception
in any guard means: hold everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.action import (
    FIELDS,
    GROUPS,
    NAMES,
    Field,
    Group,
    Plan,
    Proposal,
    Targets,
    bounds,
    held,
    nothing,
    ranges,
    rows_of,
    targets_of,
)
from envs.cluster import ClusterSpec
from envs.intent import Intent
from envs.plain import Array
from envs.snapshot import Snapshot


@dataclass(frozen=True)
class Limits:
    """How far a plan may go. Shares are of the value in force, per decision."""

    max_age_s: float = 120.0  # older signals count as unknown
    step_to_more: float = 1.0  # toward more capacity: at most + 100 %
    step_to_less: float = 0.25  # toward less: at most - 20 % (a factor 1 / 1.25)
    cooldown_s: float = 300.0  # after a change, nothing that takes capacity away


@dataclass(frozen=True, eq=False)
class Facts:
    """What the guards judge by. *_changed_s: when a plan last changed anything there, -inf = never."""

    snapshot: Snapshot
    spec: ClusterSpec
    intent: Intent
    now_s: float
    workload_changed_s: Array  # (W,)
    pool_changed_s: Array  # (L,)
    limits: Limits


@dataclass(frozen=True)
class Verdict:
    """What one guard did. why names the first fields and objects that it touched."""

    name: str
    clipped: bool
    why: str = ""


Guard = Callable[[Targets, Facts], tuple[Targets, Verdict]]


def in_force(snapshot: Snapshot, field: Field) -> Array:
    """(W,) or (L,) the value that runs now; NaN = unknown."""
    group = snapshot.workloads if field.of == "workload" else snapshot.pools
    value: Array = getattr(group, field.name).value
    return np.where(np.isfinite(value), value, np.nan)


def all_in_force(snapshot: Snapshot, group: Group) -> Array:
    """(fields of the group, n) of `in_force`."""
    signals = snapshot.workloads if group == "workload" else snapshot.pools
    value = np.array([getattr(signals, name).value for name in NAMES[group]])
    return np.where(np.isfinite(value), value, np.nan)


def names_of(field: Field, spec: ClusterSpec) -> list[str]:
    items: Any = spec.workloads if field.of == "workload" else spec.node_pools
    return [item.name for item in items]


def judged(name: str, before: Targets, after: Targets, spec: ClusterSpec) -> tuple[Targets, Verdict]:
    """The new targets, with a verdict that lists what differs."""
    if after is before:
        return after, Verdict(name, clipped=False)
    touched = ["requirements"] if before.requirements != after.requirements else []
    for group, fields in GROUPS.items():
        old, new = rows_of(before, group), rows_of(after, group)
        differs = ~((old == new) | (np.isnan(old) & np.isnan(new)))
        for f in np.flatnonzero(differs.any(axis=1)):
            labels = names_of(fields[f], spec)
            touched += [f"{fields[f].name} of {labels[i]}" for i in np.flatnonzero(differs[f])]
    more = f" and {len(touched) - 3} more" if len(touched) > 3 else ""
    return after, Verdict(name, bool(touched), ", ".join(touched[:3]) + more)


def rewritten(targets: Targets, rows: dict[Group, Array], types: tuple[tuple[str, ...], ...]) -> Targets:
    """The targets with these rows and requirements; themselves where no bit of them differs."""
    same = all(table.tobytes() == rows_of(targets, group).tobytes() for group, table in rows.items())
    return targets if same and types == targets.requirements else targets_of(rows, types)


def freshness(targets: Targets, facts: Facts) -> tuple[Targets, Verdict]:
    """Hold what is not seen: load or replicas of a workload, nodes of a pool, unknown or too old."""
    later_s, age = facts.now_s - facts.snapshot.time_s, facts.limits.max_age_s
    w, p = facts.snapshot.workloads, facts.snapshot.pools
    seen: dict[Group, Any] = {
        "workload": w.offered_rps.fresh(age, later_s) & w.ready.fresh(age, later_s) & w.desired.fresh(age, later_s),
        "pool": p.nodes_ready.fresh(age, later_s),
    }
    after = {group: np.where(known, rows_of(targets, group), np.nan) for group, known in seen.items()}
    types = targets.requirements if seen["pool"].all() else ()
    return judged("freshness", targets, rewritten(targets, after, types), facts.spec)


def allowed_types(targets: Targets, spec: ClusterSpec) -> tuple[tuple[str, ...], ...]:
    """Requirements without the instance types that a pool does not offer."""
    wanted = zip(targets.requirements, spec.node_pools, strict=False)
    return tuple(tuple(t for t in types if t in pool.instance_types) for types, pool in wanted)


def ordered(after: Array, facts: Facts, group: Group, low: str, high: str) -> None:
    """No minimum above its maximum: a new maximum gives way; a new minimum gives way to one that stays."""
    i, j = NAMES[group].index(low), NAMES[group].index(high)
    if np.isnan(after[i]).all() and np.isnan(after[j]).all():
        return
    floor = np.where(np.isnan(after[i]), in_force(facts.snapshot, GROUPS[group][i]), after[i])
    after[j] = np.where(floor > after[j], floor, after[j])
    ceiling = np.where(np.isnan(after[j]), in_force(facts.snapshot, GROUPS[group][j]), after[j])
    after[i] = np.where(after[i] > ceiling, ceiling, after[i])


def within_bounds(targets: Targets, facts: Facts) -> tuple[Targets, Verdict]:
    """Every field inside its bounds, minimum and maximum in order, only instance types on offer."""
    after = {group: held(rows_of(targets, group), of.low, of.high) for group, of in ranges(facts.spec).items()}
    ordered(after["workload"], facts, "workload", "hpa_min_replicas", "hpa_max_replicas")
    ordered(after["pool"], facts, "pool", "min_nodes", "max_nodes")
    types = allowed_types(targets, facts.spec)
    return judged("bounds", targets, rewritten(targets, after, types), facts.spec)


def step_of(field: Field, old: Array, limits: Limits) -> tuple[Array, Array]:
    """(lowest, highest) value that one decision may reach from `old`."""
    more, less = 1.0 + limits.step_to_more, 1.0 + limits.step_to_less
    up, down = (more, less) if field.capacity >= 0 else (less, more)
    return np.minimum(old / down, old - field.least_step), np.maximum(old * up, old + field.least_step)


def step_size(targets: Targets, facts: Facts) -> tuple[Targets, Verdict]:
    """No farther than one step from what is in force; what is in force but unknown is left alone.

    A value in force outside its bounds is judged as if it stood on the bound.
    """
    after = {}
    for field in FIELDS:
        low, high = bounds(field, facts.spec)
        lowest, highest = step_of(field, np.clip(in_force(facts.snapshot, field), low, high), facts.limits)
        inner_low, inner_high = np.maximum(lowest, low), np.minimum(highest, high)
        value = np.clip(getattr(targets, field.name), inner_low, inner_high)
        if field.whole:
            value = np.clip(np.rint(value), np.ceil(inner_low), np.floor(inner_high))
        after[field.name] = value
    return judged("step", targets, replace(targets, **after), facts.spec)


def cooldown(targets: Targets, facts: Facts) -> tuple[Targets, Verdict]:
    """For a while after a change, hold every change that takes capacity away or moves a weight."""
    since = {"workload": facts.now_s - facts.workload_changed_s, "pool": facts.now_s - facts.pool_changed_s}
    after = {}
    for field in FIELDS:
        value, old = getattr(targets, field.name), in_force(facts.snapshot, field)
        adds = field.capacity * (value - old) > 0.0
        wait = (since[field.of] < facts.limits.cooldown_s) & ~adds
        after[field.name] = np.where(wait, np.nan, value)
    hot = bool((since["pool"] < facts.limits.cooldown_s).any())
    types = () if hot else targets.requirements
    return judged("cooldown", targets, replace(targets, **after, requirements=types), facts.spec)


PIPELINE: tuple[tuple[str, Guard], ...] = (
    ("freshness", freshness),
    ("bounds", within_bounds),
    ("step", step_size),
    ("cooldown", cooldown),
)


def permit(
    proposal: Proposal, facts: Facts, pipeline: tuple[tuple[str, Guard], ...] = PIPELINE
) -> tuple[Plan, tuple[Verdict, ...]]:
    """The plan and one verdict per guard that ran. A guard that raises ends it: hold."""
    targets = proposal.targets
    verdicts: list[Verdict] = []
    for name, guard in pipeline:
        try:
            targets, verdict = guard(targets, facts)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            held = Plan(nothing(facts.spec), hold=True, why=f"{name}: {why}")
            return held, (*verdicts, Verdict(name, True, why))
        verdicts.append(verdict)
    return Plan(targets), tuple(verdicts)
