"""Karpenter NodePools (v1) as node pools: requirements choose instance types out of the price book."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from envs.cluster import CAPACITY_KEY, ZONE_KEY, InstanceType
from envs.errors import InputError
from envs.manifest_files import Body, Manifest
from envs.manifest_pods import Notes, Sums, read_requirements
from envs.matching import Operator, Requirement, matches_labels
from envs.quantities import format_cpu, format_memory, parse_cpu, parse_memory, parse_quantity
from envs.scenario_writer import guess
from envs.type_choice import MAX_TYPES, few_types
from envs.type_labels import AWS, TYPE_KEY, type_labels

_BOUNDS: dict[str, tuple[Operator, int]] = {"Gt": ("Gt", 0), "Gte": ("Gt", -1), "Lt": ("Lt", 0), "Lte": ("Lt", 1)}
_CAPACITY_TYPES = ("on-demand", "spot")
_NODE_KEYS = (
    ZONE_KEY,
    CAPACITY_KEY,
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
)


def node_pool(manifest: Manifest, machines: Sequence[InstanceType], notes: Notes) -> dict[str, Any]:
    """A NodePool as document fields. Raises InputError when no instance type meets its requirements."""
    template = manifest.spec.at("template", "spec")
    terms = template.children("requirements")
    requirements = [_requirement(term) for term in terms]
    labels = manifest.spec.at("template", "metadata").texts("labels")
    min_values = _min_values(terms)
    names, about_types = _types(manifest, requirements, machines, (labels, min_values), notes)
    zones = _zones(manifest, requirements, notes)
    fields: dict[str, Any] = {"name": manifest.name}
    fields["instance_types"] = guess(names, about_types) if about_types else names
    fields["zones"] = zones or guess(["zone-a", "zone-b", "zone-c"], "no zone requirement; three zones")
    fields |= _capacity_types(manifest, requirements, [m for m in machines if m.name in names], notes)
    known = {ZONE_KEY, CAPACITY_KEY, *labels} | {key for m in machines for key in type_labels(m)}
    for key in min_values.keys() - known:
        notes.add(manifest.title, f"minValues {min_values.pop(key)} of {key} is left out: no type here has that label")
    if min_values:
        fields["min_values"] = dict(min_values)
    fields |= _limits(manifest, [m for m in machines if m.name in names], notes)
    fields["initial_nodes"] = guess(1, "nodes at the start")
    if labels:
        fields["labels"] = labels
    if taints := [_taint(t) for t in template.children("taints")]:
        fields["taints"] = taints
    if weight := manifest.spec.whole("weight", 0):
        fields["weight"] = weight
    return fields | _disruption(manifest)


def _requirement(term: Body) -> Requirement:
    """One requirement; Gte and Lte, which only NodePools know, as Gt and Lt of the whole number beside it."""
    near = _BOUNDS.get(term.text("operator", "In"))
    if near is None:
        return read_requirements([term])[0]
    values = term.words("values")
    if len(values) != 1 or not values[0].isdecimal():
        raise term.error("values", values, "must be one whole number")
    operator, step = near
    return Requirement(term.text("key"), operator, (str(int(values[0]) + step),))


def guessed_pool(
    name: str, labels: dict[str, str], guests: Sequence[Sums], machines: Sequence[InstanceType]
) -> dict[str, Any]:
    """A pool of everyday machines for pods that no NodePool takes; every value is a guess."""
    cpu = max((s.cpu or 0.0 for s in guests), default=0.5)
    memory = max((s.memory or 0.0 for s in guests), default=0.5)
    gpu = max((s.gpu for s in guests), default=0)
    known = {key for m in machines for key in type_labels(m)}
    wanted = tuple(Requirement(k, "In", (v,)) for k, v in labels.items() if k in known)
    usable = [m for m in machines if matches_labels(wanted, type_labels(m))] or list(machines)
    types = _everyday(usable, cpu, memory, gpu, arch=labels.get("kubernetes.io/arch", "amd64"))
    names = [m.name for m in types[:3]]
    zone = labels.get(ZONE_KEY)
    fields: dict[str, Any] = {
        "name": name,
        "instance_types": guess(names, "everyday machines that hold the largest pod"),
        "zones": [zone] if zone else guess(["zone-a", "zone-b", "zone-c"], "three zones"),
        "max_nodes": guess(200, "room for a peak"),
        "initial_nodes": guess(3, "nodes at the start"),
    }
    own = {k: v for k, v in labels.items() if k not in known and k != ZONE_KEY}
    return fields | ({"labels": own} if own else {})


def _everyday(
    machines: Sequence[InstanceType], cpu: float, memory_gib: float, gpu: int, *, arch: str
) -> list[InstanceType]:
    """Machines that hold the largest pod twice (else once), of a current general line, cheapest first."""

    def price_per_core(m: InstanceType) -> tuple[float, float, str]:
        return (m.price_usd_per_h / m.vcpu, m.vcpu, m.name)

    def holding(times: int) -> list[InstanceType]:
        return [
            m
            for m in machines
            if (m.gpu >= gpu if gpu else m.gpu == 0)
            and m.arch == arch
            and m.price_usd_per_h > 0
            and m.allocatable_cpu >= max(times * cpu, 1.0) + 0.2
            and m.allocatable_memory_gib >= max(times * memory_gib, 4.0) + 0.4
        ]

    fitting = holding(2) or holding(1) or list(machines)
    if gpu:
        return sorted(fitting, key=lambda m: (m.price_usd_per_h, m.name))
    moderate = [m for m in fitting if m.vcpu <= max(8, 4 * cpu) and m.memory_gib / m.vcpu <= 8] or fitting
    general = [m for m in moderate if _is_current(m)] or moderate
    return sorted(general, key=price_per_core)


def _is_current(machine: InstanceType) -> bool:
    """An m, c or r type of generation 5 and later on AWS; n2 and up, or D and E v4 and up, elsewhere."""
    labels = type_labels(machine)
    if category := labels.get(f"{AWS}category"):
        return category in ("c", "m", "r") and labels[f"{AWS}generation"] >= "5"
    return bool(re.match(r"(n2d?|n4|c3d?|c4|e2)-|Standard_[DE]\d+(s|as|ds)_v[4-9]", machine.name))


def _types(
    manifest: Manifest,
    requirements: list[Requirement],
    machines: Sequence[InstanceType],
    template: tuple[dict[str, str], Mapping[str, int]],
    notes: Notes,
) -> tuple[list[str], str]:
    """Names of the types, and why they are a guess ("" if the requirements name them).

    template: the labels that its nodes get, and its minValues.
    """
    labels, min_values = template
    known = {key for m in machines for key in type_labels(m)}
    usable = [r for r in requirements if r.key in known]
    for requirement in requirements:
        if requirement.key not in known and requirement.key not in _NODE_KEYS and requirement.key not in labels:
            notes.add(manifest.title, f"requirement {requirement.key} {requirement.operator} is left out")
    chosen = [m for m in machines if matches_labels(tuple(usable), type_labels(m))]
    if not chosen:
        said = "; ".join(f"{r.key} {r.operator} {', '.join(r.values)}" for r in usable)
        mend = "no instance type of this region meets them; mend them or give another --region"
        raise InputError(manifest.body.file, f"{manifest.title}: requirements", said, mend)
    named = _values(requirements, TYPE_KEY)
    for name in named:
        if name not in {m.name for m in machines}:
            notes.add(manifest.title, f"instance type {name} has no price in this region and is left out")
    if named and len(chosen) <= MAX_TYPES * 2:
        return [m.name for m in chosen], ""
    picked = few_types(chosen, min_values)
    return [m.name for m in picked], f"{len(picked)} of the {len(chosen)} types that meet the requirements"


def _limits(manifest: Manifest, machines: list[InstanceType], notes: Notes) -> dict[str, Any]:
    """spec.limits as a number of nodes: as given, else what the CPU or memory limit allows."""
    limits = manifest.spec.child("limits")
    nodes = limits.quantity("nodes", parse_quantity)
    cpu = limits.quantity("cpu", parse_cpu)
    memory = limits.quantity("memory", parse_memory)
    if nodes is not None:
        return {"max_nodes": max(1, min(int(nodes), 10_000))}
    small_cpu = min(m.vcpu for m in machines)
    small_memory = min(m.memory_gib for m in machines)
    counts = [cpu / small_cpu] if cpu is not None else []
    counts += [memory / small_memory] if memory is not None else []
    if not counts:
        return {"max_nodes": guess(100, "no limits in the NodePool")}
    cores = [] if cpu is None else [f"{format_cpu(cpu)} CPU"]
    said = " and ".join(cores + ([] if memory is None else [format_memory(memory)]))
    notes.add(manifest.title, f"limits of {said} are Karpenter's; for others max_nodes is that many smallest nodes")
    given = {"cpu": cores[0].removesuffix(" CPU")} if cores else {}
    given |= {} if memory is None else {"memory": format_memory(memory)}
    most = guess(max(1, min(int(min(counts)), 10_000)), f"limits of {said} / the smallest type")
    return {"max_nodes": most, "limits": given}


def _capacity_types(
    manifest: Manifest, requirements: list[Requirement], machines: list[InstanceType], notes: Notes
) -> dict[str, Any]:
    """What the requirement allows and the book has a price for; on-demand when there is none."""
    mine = tuple(r for r in requirements if r.key == CAPACITY_KEY)
    named = _values(requirements, CAPACITY_KEY) or list(_CAPACITY_TYPES)
    values = [v for v in named if mine and matches_labels(mine, {CAPACITY_KEY: v})]
    if mine and not values:
        said = "; ".join(f"{r.key} {r.operator} {', '.join(r.values)}" for r in mine)
        raise InputError(manifest.body.file, f"{manifest.title}: requirements", said, "no capacity type meets them")
    if "reserved" in values:
        notes.add(manifest.title, "capacity type reserved is left out")
    if "spot" not in values:
        return {}
    if all(m.spot_price_usd_per_h is None for m in machines):
        notes.add(manifest.title, "capacity type spot has no price in this region: priced as on-demand")
        return {}
    return {"capacity_types": [value for value in values if value in ("on-demand", "spot")]}


def _disruption(manifest: Manifest) -> dict[str, Any]:
    """disruption and expireAfter, for stacks with Karpenter."""
    body = manifest.spec.child("disruption")
    given: dict[str, Any] = {}
    if policy := body.text("consolidationPolicy"):
        given["consolidation_policy"] = policy
    if after := body.text("consolidateAfter"):
        given["consolidate_after"] = after
    if budgets := [_budget(budget) for budget in body.children("budgets")]:
        given["budgets"] = budgets
    fields = {"disruption": given} if given else {}
    expire = manifest.spec.at("template", "spec").text("expireAfter")
    return fields | ({"expire_after": expire} if expire else {})


def _budget(body: Body) -> dict[str, Any]:
    given: dict[str, Any] = {"nodes": body.text("nodes", "10%")}
    if reasons := body.words("reasons"):
        given["reasons"] = reasons
    for key in ("schedule", "duration"):
        if value := body.text(key):
            given[key] = value
    return given


def _taint(body: Body) -> dict[str, str]:
    effect = body.text("effect", "NoSchedule")
    if effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise body.error("effect", effect, "must be NoSchedule, PreferNoSchedule or NoExecute")
    given = {"key": body.text("key"), "value": body.text("value"), "effect": effect}
    return {key: value for key, value in given.items() if value}


def _min_values(terms: Sequence[Body]) -> dict[str, int]:
    """minValues by label; of several for one label the largest. One value is what any launch has."""
    found: dict[str, int] = {}
    for term in terms:
        least = term.whole("minValues", 1)
        if not 1 <= least <= 50:
            raise term.error("minValues", least, "must be from 1 to 50")
        if least > found.get(term.text("key"), 1):
            found[term.text("key")] = least
    return found


def _zones(manifest: Manifest, requirements: Sequence[Requirement], notes: Notes) -> list[str]:
    """The zones that the requirements name and allow; none where they name none."""
    mine = tuple(r for r in requirements if r.key == ZONE_KEY)
    named = _values(requirements, ZONE_KEY)
    zones = [zone for zone in named if matches_labels(mine, {ZONE_KEY: zone})]
    said = "; ".join(f"{r.key} {r.operator} {', '.join(r.values)}" for r in mine)
    if named and not zones:
        raise InputError(manifest.body.file, f"{manifest.title}: requirements", said, "no zone meets them")
    if not named and any(r.operator != "Exists" for r in mine):
        notes.add(
            manifest.title, f"requirement {said} names no zone to use; the three guessed ones stand for those left"
        )
    return zones


def _values(requirements: Sequence[Requirement], key: str) -> list[str]:
    """The values that an In requirement allows; none when there is no such requirement."""
    for requirement in requirements:
        if requirement.key == key and requirement.operator == "In":
            return list(dict.fromkeys(requirement.values))
    return []
