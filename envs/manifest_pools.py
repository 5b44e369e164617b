"""Karpenter NodePools (v1) as node pools: requirements choose instance types out of the price book."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from envs.cluster import ZONE_KEY, InstanceType
from envs.errors import InputError
from envs.manifest_files import Body, Manifest
from envs.manifest_pods import Notes, read_requirements
from envs.matching import Requirement, matches_labels
from envs.quantities import format_cpu, format_memory, parse_cpu, parse_memory, parse_quantity
from envs.scenario_writer import guess

MAX_TYPES = 12  # of a pool whose requirements are open: more groups cost time and change little
TYPE_KEY = "node.kubernetes.io/instance-type"
CAPACITY_KEY = "karpenter.sh/capacity-type"
_AWS = "karpenter.k8s.aws/instance-"
_AWS_NAME = re.compile(r"([a-z]+)([0-9]*)([a-z0-9-]*)\.([a-z0-9-]+)")
_NODE_KEYS = (
    ZONE_KEY,
    CAPACITY_KEY,
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
)
_CURRENT_GENERATION = "3"  # Karpenter's own starting point leaves older machines out: generation > 2


def type_labels(machine: InstanceType) -> dict[str, str]:
    """The well-known labels that follow from an instance type (AWS names are taken apart)."""
    labels = {
        TYPE_KEY: machine.name,
        "kubernetes.io/arch": machine.arch,
        "kubernetes.io/os": "linux",
        f"{_AWS}cpu": str(round(machine.vcpu)),
        f"{_AWS}memory": str(round(machine.memory_gib * 1024)),
    }
    if machine.gpu:
        labels[f"{_AWS}gpu-count"] = str(machine.gpu)
    if match := _AWS_NAME.fullmatch(machine.name):
        category, generation, rest, size = match.groups()
        labels |= {f"{_AWS}category": category, f"{_AWS}generation": generation or "1", f"{_AWS}size": size}
        labels[f"{_AWS}family"] = category + generation + rest
        labels[f"{_AWS}hypervisor"] = "nitro"
    return labels


def node_pool(manifest: Manifest, machines: Sequence[InstanceType], notes: Notes) -> dict[str, Any]:
    """A NodePool as document fields. Raises InputError when no instance type meets its requirements."""
    template = manifest.spec.at("template", "spec")
    requirements = read_requirements(template.children("requirements"))
    labels = manifest.spec.at("template", "metadata").texts("labels")
    names, about_types = _types(manifest, requirements, machines, labels, notes)
    zones = _values(requirements, ZONE_KEY)
    fields: dict[str, Any] = {"name": manifest.name}
    fields["instance_types"] = guess(names, about_types) if about_types else names
    fields["zones"] = zones or guess(["zone-a", "zone-b", "zone-c"], "no zone requirement; three zones")
    _capacity_type(manifest, requirements, notes)
    fields |= _limits(manifest, [m for m in machines if m.name in names], notes)
    fields["initial_nodes"] = guess(1, "nodes at the start")
    if labels:
        fields["labels"] = labels
    if taints := [_taint(t) for t in template.children("taints")]:
        fields["taints"] = taints
    if weight := manifest.spec.whole("weight", 0):
        fields["weight"] = weight
    _disruption(manifest, notes)
    return fields


def general_types(machines: Sequence[InstanceType], cpu: float, memory_gib: float) -> list[InstanceType]:
    """Everyday machines that hold the largest pod twice, cheapest per core first."""
    fitting = [
        m
        for m in machines
        if not m.gpu
        and m.arch == "amd64"
        and m.allocatable_cpu >= max(2 * cpu, 1.5)
        and m.allocatable_memory_gib >= max(2 * memory_gib, 6)
        and m.vcpu <= max(16, 4 * cpu)
        and 2 <= m.memory_gib / m.vcpu <= 8
    ]
    current = [m for m in fitting if type_labels(m).get(f"{_AWS}category", "m") in ("c", "m", "r")]
    return sorted(current or fitting, key=lambda m: (m.price_usd_per_h / m.vcpu, m.vcpu, m.name))


def _types(
    manifest: Manifest,
    requirements: list[Requirement],
    machines: Sequence[InstanceType],
    labels: dict[str, str],
    notes: Notes,
) -> tuple[list[str], str]:
    """Names of the types, and why they are a guess ("" if the requirements name them)."""
    known = {key for m in machines for key in type_labels(m)}
    usable = [r for r in requirements if r.key in known]
    for requirement in requirements:
        if (
            requirement.key not in known
            and requirement.key not in _NODE_KEYS
            and requirement.key not in labels
        ):
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
    picked = _few(chosen)
    return [m.name for m in picked], f"{len(picked)} of the {len(chosen)} types that meet the requirements"


def _few(machines: list[InstanceType]) -> list[InstanceType]:
    """At most MAX_TYPES everyday machines: for each size the cheapest, then the next cheapest."""
    plain = [m for m in machines if not m.gpu and m.vcpu >= 2 and m.price_usd_per_h > 0] or machines
    sensible = [
        m for m in plain if type_labels(m).get(f"{_AWS}generation", "9") >= _CURRENT_GENERATION
    ] or plain
    by_size: dict[float, list[InstanceType]] = {}
    for m in sorted(sensible, key=lambda m: (m.price_usd_per_h / m.vcpu, m.name)):
        if m.vcpu <= 64:
            by_size.setdefault(m.vcpu, []).append(m)
    if not by_size:
        return machines[:MAX_TYPES]
    picked: list[InstanceType] = []
    for rank in range(MAX_TYPES):
        for size in sorted(by_size):
            if rank < len(by_size[size]) and len(picked) < MAX_TYPES:
                picked.append(by_size[size][rank])
    return sorted(picked, key=lambda m: (m.vcpu, m.name))


def _limits(manifest: Manifest, machines: list[InstanceType], notes: Notes) -> dict[str, Any]:
    """spec.limits as a number of nodes: what is given in nodes, else what the CPU or memory limit pays for."""
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
    said = " and ".join(
        [f"{format_cpu(cpu)} CPU"] * (cpu is not None)
        + [f"{format_memory(memory or 0)}"] * (memory is not None)
    )
    notes.add(manifest.title, f"limits of {said} are kept as a number of the smallest nodes")
    return {
        "max_nodes": guess(max(1, min(int(min(counts)), 10_000)), f"limits of {said} / the smallest type")
    }


def _capacity_type(manifest: Manifest, requirements: list[Requirement], notes: Notes) -> None:
    values = _values(requirements, CAPACITY_KEY)
    if "spot" in values or "reserved" in values:
        notes.add(
            manifest.title, f"capacity type {', '.join(values)}: simulated and priced as on-demand so far"
        )


def _disruption(manifest: Manifest, notes: Notes) -> None:
    disruption = manifest.spec.child("disruption")
    if disruption.value:
        policy = disruption.text("consolidationPolicy", "WhenEmptyOrUnderutilized")
        after = disruption.text("consolidateAfter", "0s")
        budgets = len(disruption.children("budgets"))
        notes.add(
            manifest.title,
            f"disruption ({policy} after {after}, {budgets} budgets) is Karpenter's; "
            "the stack's node autoscaler decides here",
        )
    if expire := manifest.spec.at("template", "spec").text("expireAfter"):
        notes.add(
            manifest.title, f"expireAfter {expire} is left out: nodes do not grow old in the simulation"
        )


def _taint(body: Body) -> dict[str, str]:
    effect = body.text("effect", "NoSchedule")
    if effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise body.error("effect", effect, "must be NoSchedule, PreferNoSchedule or NoExecute")
    given = {"key": body.text("key"), "value": body.text("value"), "effect": effect}
    return {key: value for key, value in given.items() if value}


def _values(requirements: Sequence[Requirement], key: str) -> list[str]:
    """The values that an In requirement allows; none when there is no such requirement."""
    for requirement in requirements:
        if requirement.key == key and requirement.operator == "In":
            return list(dict.fromkeys(requirement.values))
    return []
