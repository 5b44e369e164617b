"""From a pod template to a workload's fields: requests, placement, priorities, start-up.

What the scenario has no word for goes into the notes, so that nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envs.cluster import HOSTNAME_KEY
from envs.errors import InputError
from envs.manifest_files import Body, Manifest
from envs.matching import Requirement, Selector, matches_labels, selector
from envs.quantities import (
    format_cpu,
    format_duration,
    format_memory,
    parse_cpu,
    parse_memory,
    parse_quantity,
)
from envs.scenario_writer import guess

GPU_KEYS = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915")
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
TEAM_LABELS = ("team", "owner", "app.kubernetes.io/part-of")
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


@dataclass(frozen=True)
class Sums:
    """What one pod asks for, over all its containers. None = no container says."""

    cpu: float | None  # cores
    memory: float | None  # GiB
    gpu: int
    cpu_limit: float | None  # None = at least one container has none
    memory_limit: float | None


@dataclass
class Notes:
    """Remarks on what was changed, approximated or left out; each once, in order."""

    lines: list[str] = field(default_factory=list)

    def add(self, title: str, remark: str) -> None:
        line = f"{title}: {remark}"
        if line not in self.lines:
            self.lines.append(line)


def pod_template(manifest: Manifest) -> Body:
    """The pod template of a Deployment, StatefulSet or DaemonSet."""
    return manifest.spec.child("template")


def pod_labels(manifest: Manifest) -> dict[str, str]:
    """The labels that the workload's pods carry."""
    return pod_template(manifest).child("metadata").texts("labels")


def requests_of(pod: Body) -> Sums:
    """Requests as the scheduler counts them: containers and sidecars added, init containers' peak.

    A missing request is the limit, as the API server defaults it.
    """
    containers = pod.children("containers")
    starters = pod.children("initContainers")
    sidecars = [c for c in starters if c.text("restartPolicy") == "Always"]
    running = containers + sidecars
    once = [c for c in starters if c.text("restartPolicy") != "Always"]
    return Sums(
        cpu=_total(running, once, pod, "cpu", parse_cpu),
        memory=_total(running, once, pod, "memory", parse_memory),
        gpu=sum(_gpus(c) for c in containers),
        cpu_limit=_limit(running, "cpu", parse_cpu),
        memory_limit=_limit(running, "memory", parse_memory),
    )


def placement_of(
    manifest: Manifest, priorities: Mapping[str, int], others: Sequence[Manifest], notes: Notes
) -> dict[str, Any]:
    """Priority, selectors, tolerations, spread, anti-affinity and eviction, as document fields."""
    pod = pod_template(manifest).child("spec")
    fields: dict[str, Any] = {}
    if priority := _priority(pod, priorities, manifest.title, notes):
        fields["priority"] = priority
    wanted = _node_selector(pod, manifest.title, notes)
    if wanted:
        fields["node_selector"] = wanted
    if tolerations := [_toleration(t, manifest.title, notes) for t in pod.children("tolerations")]:
        fields["tolerations"] = [t for t in tolerations if t is not None]
    if spread := _spread(pod, manifest, notes):
        fields["spread"] = spread
    if apart := _anti_affinity(pod, manifest, others, notes):
        fields["anti_affinity"] = apart
    annotations = pod_template(manifest).child("metadata").texts("annotations")
    if annotations.get(SAFE_TO_EVICT) == "false":
        fields["safe_to_evict"] = False
    fields["start_delay"] = _start_delay(pod)
    grace = pod.whole("terminationGracePeriodSeconds", 30)
    fields["grace"] = format_duration(min(max(grace, 0), 86_400))
    return fields


def team_of(manifest: Manifest) -> str:
    """The first of the usual team labels, of the object or its pods."""
    labels = {**pod_labels(manifest), **manifest.labels}
    return next((labels[key] for key in TEAM_LABELS if labels.get(key)), "")


def read_selector(body: Body) -> Selector:
    """A LabelSelector."""
    expressions = []
    for term in body.children("matchExpressions"):
        expressions.append(_requirement(term))
    return selector(body.texts("matchLabels"), expressions)


def read_requirements(terms: Sequence[Body]) -> list[Requirement]:
    """Node selector requirements: key, operator, values."""
    return [_requirement(term) for term in terms]


def _requirement(term: Body) -> Requirement:
    operator = term.text("operator", "In")
    if operator not in _OPERATORS:
        raise term.error("operator", operator, "must be one of " + ", ".join(_OPERATORS))
    return Requirement(term.text("key"), operator, tuple(term.words("values")))  # type: ignore[arg-type]


def _amount(container: Body, name: str, parse: Callable[..., float]) -> float | None:
    resources = container.child("resources")
    amount = resources.child("requests").quantity(name, parse)
    return resources.child("limits").quantity(name, parse) if amount is None else amount


def _total(running: list[Body], once: list[Body], pod: Body, name: str, parse: Callable[..., float]) -> float | None:
    amounts = [_amount(c, name, parse) for c in running]
    peaks = [_amount(c, name, parse) for c in once]
    if all(a is None for a in amounts + peaks):
        return None
    total = max(sum(a or 0.0 for a in amounts), max((p or 0.0 for p in peaks), default=0.0))
    return total + (pod.child("overhead").quantity(name, parse) or 0.0)


def _limit(running: list[Body], name: str, parse: Callable[..., float]) -> float | None:
    limits = [c.at("resources", "limits").quantity(name, parse) for c in running]
    present = [limit for limit in limits if limit is not None]
    return sum(present) if present and len(present) == len(limits) else None


def _gpus(container: Body) -> int:
    resources = container.child("resources")
    for part in (resources.child("limits"), resources.child("requests")):
        for key in GPU_KEYS:
            amount = part.quantity(key, parse_quantity)
            if amount is not None:
                if amount != int(amount) or amount > 64:
                    raise part.error(key, amount, "must be a whole number of GPUs up to 64")
                return int(amount)
    return 0


def _priority(pod: Body, priorities: Mapping[str, int], title: str, notes: Notes) -> int:
    name = pod.text("priorityClassName")
    if name in SYSTEM_PRIORITIES:
        return SYSTEM_PRIORITIES[name]
    if name and name not in priorities and not pod.value.get("priority"):
        notes.add(title, f"PriorityClass {name} is not in the folder; priority 0 is taken")
    return priorities.get(name, pod.whole("priority", priorities.get("", 0)))


def _node_selector(pod: Body, title: str, notes: Notes) -> dict[str, str]:
    wanted = pod.texts("nodeSelector")
    affinity = pod.at("affinity", "nodeAffinity")
    terms = affinity.child("requiredDuringSchedulingIgnoredDuringExecution").children("nodeSelectorTerms")
    expressions = terms[0].children("matchExpressions") if terms else []
    if len(terms) > 1:
        notes.add(title, f"only the first of {len(terms)} alternative node affinity terms is kept")
    for requirement in read_requirements(expressions):
        if requirement.operator == "In" and len(requirement.values) == 1:
            wanted[requirement.key] = requirement.values[0]
        else:
            what = f"{requirement.key} {requirement.operator} {', '.join(requirement.values)}".strip()
            notes.add(title, f"node affinity {what} has no equal here and is left out")
    if affinity.value.get("preferredDuringSchedulingIgnoredDuringExecution"):
        notes.add(title, "preferred node affinity is left out")
    if wanted.get("kubernetes.io/os") == "linux":
        del wanted["kubernetes.io/os"]  # every simulated node runs Linux
    return wanted


def _toleration(body: Body, title: str, notes: Notes) -> dict[str, str] | None:
    operator = body.text("operator", "Equal") or "Equal"
    effect = body.text("effect")
    if operator not in ("Equal", "Exists"):
        notes.add(title, f"toleration operator {operator} is left out")
        return None
    if effect not in ("", "NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise body.error("effect", effect, "must be NoSchedule, PreferNoSchedule or NoExecute")
    given = {"key": body.text("key"), "operator": operator, "value": body.text("value"), "effect": effect}
    return {k: v for k, v in given.items() if v}


def _spread(pod: Body, manifest: Manifest, notes: Notes) -> list[dict[str, Any]]:
    found = []
    for term in pod.children("topologySpreadConstraints"):
        if not matches_labels(read_selector(term.child("labelSelector")), pod_labels(manifest)):
            notes.add(manifest.title, "a topology spread over other pods than its own is left out")
            continue
        entry: dict[str, Any] = {
            "topology_key": term.text("topologyKey"),
            "max_skew": min(max(term.whole("maxSkew", 1), 1), 10_000),
            "hard": term.text("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        }
        if "minDomains" in term.value:
            entry["min_domains"] = min(max(term.whole("minDomains", 1), 1), 1000)
        found.append(entry)
    return found[:8]


def _anti_affinity(pod: Body, manifest: Manifest, others: Sequence[Manifest], notes: Notes) -> list[dict[str, Any]]:
    affinity = pod.child("affinity")
    anti = affinity.child("podAntiAffinity")
    for name, body in (("podAffinity", affinity.child("podAffinity")), ("podAntiAffinity", anti)):
        if body.value.get("preferredDuringSchedulingIgnoredDuringExecution"):
            notes.add(manifest.title, f"preferred {name} is left out")
    if affinity.child("podAffinity").value.get("requiredDuringSchedulingIgnoredDuringExecution"):
        notes.add(manifest.title, "required podAffinity is left out")
    found: list[dict[str, Any]] = []
    for term in anti.children("requiredDuringSchedulingIgnoredDuringExecution"):
        wanted = read_selector(term.child("labelSelector"))
        spaces = term.words("namespaces") or [manifest.namespace]
        hit = [o for o in others if o.namespace in spaces and matches_labels(wanted, pod_labels(o))]
        if not hit:
            notes.add(manifest.title, "an anti-affinity that matches no workload in the folder is left out")
            continue
        found.append({"topology_key": term.text("topologyKey", HOSTNAME_KEY), "workloads": hit})
    return found[:8]


def _start_delay(pod: Body) -> Any:
    """Pull and start, then the probes' initial delays: the longest of the containers."""
    waits = [0.0]
    for container in pod.children("containers"):
        probes = [container.child(name) for name in ("startupProbe", "readinessProbe")]
        waits.append(sum(float(p.whole("initialDelaySeconds", 0)) for p in probes))
    wait = min(max(waits), 3600.0)
    why = "image pull and start 15s" + (f" + probes' initial delay {wait:g}s" if wait else "")
    return guess(format_duration(15 + wait), why)


def shown_requests(sums: Sums) -> dict[str, Any]:
    """Requests and limits as document fields."""
    fields: dict[str, Any] = {}
    if sums.cpu is not None:
        fields["cpu_request"] = format_cpu(sums.cpu)
    if sums.memory is not None:
        fields["memory_request"] = format_memory(sums.memory)
    if sums.gpu:
        fields["gpu_request"] = sums.gpu
    if sums.cpu_limit:
        fields["cpu_limit"] = format_cpu(max(sums.cpu_limit, sums.cpu or 0))
    if sums.memory_limit:
        fields["memory_limit"] = format_memory(max(sums.memory_limit, sums.memory or 0))
    return fields


def check_template(manifest: Manifest) -> None:
    """A workload without containers is no workload. Raises InputError."""
    if not pod_template(manifest).child("spec").children("containers"):
        where = f"{manifest.title}: spec.template.spec.containers"
        raise InputError(manifest.body.file, where, None, "is missing; a pod needs at least one container")
