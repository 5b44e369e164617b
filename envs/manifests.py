"""A scenario out of a team's own Kubernetes manifests; what they do not say is guessed and marked.

Read: Deployments, StatefulSets, DaemonSets (as overhead of every node), HPAs (autoscaling/v2),
ScaledObjects, PodDisruptionBudgets, PriorityClasses, Karpenter NodePools (v1). Everything else, and
everything in these that a scenario has no word for, is listed in the notes at the top of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from envs.cluster import InstanceType, Taint, Toleration
from envs.errors import InputError
from envs.manifest_files import Manifest, read_manifests
from envs.manifest_pods import (
    Notes,
    Sums,
    check_template,
    placement_of,
    pod_template,
    requests_of,
    shown_requests,
    team_of,
)
from envs.manifest_pools import guessed_pool, node_pool
from envs.manifest_scaling import TARGET_KINDS, hpa_fields, pdb_of, scaled_object_fields, target_of
from envs.matching import hard_taints_tolerated
from envs.quantities import format_cpu, format_memory
from envs.scenario_draft import Draft, guessed_demand, guessed_service, region_types, safe_name
from envs.scenario_writer import guess, plain

_READ_ELSEWHERE = (
    "PriorityClass",
    "PodDisruptionBudget",
    "DaemonSet",
    "NodePool",
    "ScaledObject",
    "Namespace",
)
_SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
MAX_WORKLOADS = 5_000


@dataclass(frozen=True)
class _Folder:
    """The objects by what they are for."""

    workloads: list[Manifest]
    scalers: dict[tuple[str, str, str], Manifest]  # (namespace, kind, name) of the target
    budgets: list[Manifest]
    priorities: dict[str, int]
    daemons: list[Manifest]
    pools: list[Manifest]
    names: Mapping[int, str] = field(default_factory=dict)  # by id() of the workload's manifest


def draft_from_manifests(folder: Path, *, provider: str = "aws", region: str = "us-east-1") -> Draft:
    """A commented scenario document and notes. Raises InputError (file, object and field)."""
    title = safe_name(folder.resolve().name, "cluster")
    return draft_from_objects(read_manifests(folder), title, provider=provider, region=region)


def draft_from_objects(
    manifests: Sequence[Manifest], title: str, *, provider: str = "aws", region: str = "us-east-1"
) -> Draft:
    """Likewise from objects that were read already."""
    notes = Notes()
    parts = _sorted_out(manifests, notes)
    if not parts.workloads:
        mend = "there is no Deployment or StatefulSet with replicas; give the folder that has them"
        raise InputError(None, "--from-manifests", title, mend)
    machines = region_types(provider, region)
    workloads = [_workload(m, parts, notes) for m in parts.workloads]
    document: dict[str, Any] = {
        "name": title,
        "provider": provider,
        "region": region,
        "days": guess(7, "one week"),
        "workloads": workloads,
        "node_pools": _pools(parts, workloads, machines, notes),
        "stacks": ["hpa-default"],
    }
    return Draft(document, tuple(notes.lines), f"{len(manifests)} objects in {title}/")


def _sorted_out(manifests: Sequence[Manifest], notes: Notes) -> _Folder:
    workloads: dict[tuple[str, str, str], Manifest] = {}
    scalers: dict[tuple[str, str, str], Manifest] = {}
    left_out: Counter[str] = Counter()
    for m in manifests:
        if m.kind in TARGET_KINDS and m.api_version.startswith("apps/"):
            _keep_workload(m, workloads, notes)
        elif m.kind in _SCALERS:
            kind, target = target_of(m.spec.child("scaleTargetRef"))
            scalers[m.namespace, kind, target] = m
        elif m.kind not in _READ_ELSEWHERE:
            left_out[m.kind] += 1
    for key, scaler in scalers.items():
        if key not in workloads:
            notes.add(scaler.title, f"scales {key[1]} {key[2]}, which is not in the folder")
    if left_out:
        said = ", ".join(f"{n} {kind[:60]}" for kind, n in sorted(left_out.items())[:40])
        notes.add("Not part of the simulation", said)
    if len(workloads) > MAX_WORKLOADS:
        mend = f"at most {MAX_WORKLOADS} workloads are read; give a part of the folder"
        raise InputError(None, "--from-manifests", len(workloads), mend)
    return _Folder(
        workloads=list(workloads.values()),
        scalers=scalers,
        budgets=[m for m in manifests if m.kind == "PodDisruptionBudget"],
        priorities=_priorities(manifests),
        daemons=[m for m in manifests if m.kind == "DaemonSet"],
        pools=[m for m in manifests if m.kind == "NodePool" and m.api_version.startswith("karpenter.sh/")],
        names=_unique_names(list(workloads.values())),
    )


def _keep_workload(m: Manifest, workloads: dict[tuple[str, str, str], Manifest], notes: Notes) -> None:
    check_template(m)
    if m.spec.whole("replicas", 1) <= 0:
        notes.add(m.title, "has 0 replicas and is left out")
        return
    key = (m.namespace, m.kind, m.name)
    if key in workloads:
        notes.add(m.title, "is in the folder more than once; the last one is taken")
    workloads[key] = m


def _priorities(manifests: Sequence[Manifest]) -> dict[str, int]:
    found: dict[str, int] = {}
    for m in manifests:
        if m.kind == "PriorityClass":
            found[m.name] = m.body.whole("value", 0)
            if m.body.value.get("globalDefault") is True:
                found[""] = found[m.name]
    return found


def _unique_names(workloads: Sequence[Manifest]) -> dict[int, str]:
    """Plain names where they are unique, else namespace/name, else with the kind or a number."""
    plain_count = Counter(safe_name(m.name, "workload") for m in workloads)
    taken: set[str] = set()
    names: dict[int, str] = {}
    for m in workloads:
        name = safe_name(m.name, "workload")
        choices = [name] if plain_count[name] == 1 else []
        choices += [
            safe_name(f"{m.namespace}/{name}", name),
            safe_name(f"{m.namespace}/{m.kind.lower()}/{name}", name),
        ]
        chosen = next((c for c in choices if c not in taken), f"{name[:240]}-{len(taken)}")
        taken.add(chosen)
        names[id(m)] = chosen
    return names


def _workload(m: Manifest, parts: _Folder, notes: Notes) -> dict[str, Any]:
    sums = requests_of(pod_template(m).child("spec"))
    replicas = m.spec.whole("replicas", 1)
    fields: dict[str, Any] = {"name": parts.names[id(m)], "namespace": m.namespace}
    if team := team_of(m):
        fields["team"] = team
    scaling = _scaling(m, parts, replicas, notes)
    busy = max(replicas, scaling["min_replicas"])
    fields["demand"] = guessed_demand(busy)
    fields["service"] = guessed_service(sums.cpu, sums.memory)
    fields |= shown_requests(sums)
    if _starts_large(m):
        notes.add(m.title, "an init container asks for the most; the HPA sees that request too")
    if sums.cpu is None:
        notes.add(m.title, "has no CPU request; what the guessed service uses at full slots is taken")
    fields |= {key: scaling[key] for key in ("min_replicas", "max_replicas")}
    fields["initial_replicas"] = min(busy, scaling["max_replicas"])
    placement = placement_of(m, parts.priorities, parts.workloads, notes)
    for term in placement.get("anti_affinity", ()):
        term["workloads"] = [parts.names[id(o)] for o in term["workloads"]]
        if term["workloads"] == [fields["name"]]:
            del term["workloads"]
    fields |= placement
    if (pdb := pdb_of(m, parts.budgets)) is not None:
        fields["pdb"] = pdb
    if "hpa" in scaling:
        fields["hpa"] = scaling["hpa"]
    return fields


def _starts_large(m: Manifest) -> bool:
    pod = pod_template(m).child("spec")
    bare = replace(pod, value={k: v for k, v in pod.value.items() if k != "initContainers"})
    return (requests_of(pod).cpu or 0) > 1.5 * (requests_of(bare).cpu or 0) > 0


def _scaling(m: Manifest, parts: _Folder, replicas: int, notes: Notes) -> dict[str, Any]:
    scaler = parts.scalers.get((m.namespace, m.kind, m.name))
    if scaler is None:
        notes.add(m.title, f"nothing scales it; it is held at {replicas} replicas")
        return {"min_replicas": min(replicas, 20_000), "max_replicas": min(replicas, 20_000)}
    read = hpa_fields if scaler.kind == "HorizontalPodAutoscaler" else scaled_object_fields
    fields = read(scaler, notes)
    for key in ("min_replicas", "max_replicas"):
        fields[key] = min(fields[key], 20_000)
    return fields


def _pools(
    parts: _Folder, workloads: Sequence[dict[str, Any]], machines: Sequence[InstanceType], notes: Notes
) -> list[dict[str, Any]]:
    """The NodePools, and a guessed pool for each set of labels that none of them offers."""
    pools = [node_pool(m, machines, notes) for m in parts.pools]
    homeless: dict[tuple[tuple[str, str], ...], list[dict[str, Any]]] = {}
    for workload in workloads:
        if not any(_may_use(workload, plain(pool)) for pool in pools):
            labels = workload.get("node_selector", {})
            homeless.setdefault(tuple(sorted(labels.items())), []).append(workload)
    for labels, guests in homeless.items():
        taken = {pool["name"] for pool in pools}
        pool = guessed_pool(_free_name(labels, taken), dict(labels), [_sums(w) for w in guests], machines)
        pools.append(pool)
        if parts.pools:
            notes.add(f"Node pool {pool['name']}", "is a guess: no NodePool takes " + str(guests[0]["name"]))
    daemon_cpu, daemon_memory = _daemons(parts.daemons)
    if parts.daemons:
        for pool in pools:
            pool |= {"daemon_cpu": format_cpu(daemon_cpu), "daemon_memory": format_memory(daemon_memory)}
    return pools


def _daemons(daemons: Sequence[Manifest]) -> tuple[float, float]:
    """CPU and memory that the DaemonSets request on a node (each taken to run on every node)."""
    sums = [requests_of(pod_template(m).child("spec")) for m in daemons]
    return min(sum(s.cpu or 0 for s in sums), 1000.0), min(sum(s.memory or 0 for s in sums), 10_000.0)


def _may_use(workload: Mapping[str, Any], pool: Mapping[str, Any]) -> bool:
    labels = {**pool.get("labels", {}), "karpenter.sh/nodepool": pool["name"]}
    tolerations = [Toleration(**t) for t in workload.get("tolerations", ())]
    taints = [Taint(**t) for t in pool.get("taints", ())]
    well_known = ("topology.kubernetes.io/", "node.kubernetes.io/", "kubernetes.io/arch")
    selected = all(
        labels.get(key) == value or (key.startswith(well_known) and key not in labels)
        for key, value in workload.get("node_selector", {}).items()
    )
    return selected and hard_taints_tolerated(tolerations, taints)


def _sums(workload: Mapping[str, Any]) -> Sums:
    from envs.quantities import parse_cpu, parse_memory

    cpu, memory = workload.get("cpu_request"), workload.get("memory_request")
    return Sums(
        cpu=parse_cpu(cpu) if cpu is not None else 0.5,
        memory=parse_memory(memory) if memory is not None else 0.5,
        gpu=int(workload.get("gpu_request", 0)),
        cpu_limit=None,
        memory_limit=None,
    )


def _free_name(labels: Sequence[tuple[str, str]], taken: set[str]) -> str:
    name = safe_name("-".join(value for _, value in labels if value)[:60], "general") if labels else "general"
    return next(n for n in chain([name], (f"{name}-{i}" for i in count(2))) if n not in taken)
