"""Packs a Cluster Autoscaler case into the state tuples: every pod is a class, every node a group.

Strings (labels, selectors, taints) are evaluated here by `envs.matching`, as the scenario packer
does. Host ports become anti-affinity on the hostname between the pods that ask for the same port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.controllers.ca_eligibility import DrainFlags, PodFacts, drain_rule
from envs.controllers.ca_layout import B_ITEM, B_LEFT, B_START, DEST
from envs.controllers.ca_state import CaState, empty_ca_state
from envs.matching import hard_taints_tolerated, matches_labels, matches_node_affinity
from envs.sim.state import (
    GPU,
    NODE_READY,
    POD_READY,
    POD_TERMINATING,
    Classes,
    Groups,
    Nodes,
    Pods,
    Topology,
    empty_nodes,
    empty_pods,
)
from tests.conformance.scheduler_cases import (
    HOSTNAME_LABEL,
    empty_world,
    selector_of,
    taints_of,
    terms_of,
    tolerations_of,
)

NOW_S = 1e6
GPU_NAME = "nvidia.com/gpu"
FIXED = {"cpu_milli": 0, "memory_bytes": 1, "pods": 2, GPU_NAME: GPU}
EVICT, LOCAL = "cluster-autoscaler.kubernetes.io/safe-to-evict", "safe-to-evict-local-volumes"
MIRROR, DAEMON = "kubernetes.io/config.mirror", "cluster-autoscaler.kubernetes.io/daemonset-pod"
DEFAULT_GRACE_S = 30.0
EMPTY_NODE = {"allocatable": {"cpu_milli": 1, "memory_bytes": 1, "pods": 1}}

Pod = Mapping[str, Any]
Node = Mapping[str, Any]


@dataclass(frozen=True)
class CaWorld:
    """One case, b = 0. reasons[w]: why class w blocks a drain."""

    classes: Classes
    topology: Topology
    groups: Groups
    nodes: Nodes
    pods: Pods
    state: CaState
    reasons: tuple[str, ...]

    @property
    def placed(self) -> tuple[Any, ...]:
        return self.classes, self.topology, self.groups, self.nodes


def namespace(pod: Pod) -> str:
    return pod.get("namespace") or "default"


def annotations(pod: Pod) -> Mapping[str, str]:
    return pod.get("annotations") or {}


def owner_kind(pod: Pod) -> str:
    return next((o["kind"] for o in pod.get("owners") or () if o.get("controller")), "")


def is_daemon(pod: Pod) -> bool:
    return owner_kind(pod) == "DaemonSet" or annotations(pod).get(DAEMON) == "true"


def is_mirror(pod: Pod) -> bool:
    return MIRROR in annotations(pod)


def overdue_s(pod: Pod) -> float | None:
    """Seconds past the end of the grace period; None when the pod is not being deleted."""
    since = pod.get("seconds_since_deletion_request")
    grace = pod.get("termination_grace_seconds")
    return None if since is None else since - (DEFAULT_GRACE_S if grace is None else grace)


def budget_matches(pdb: Mapping[str, Any], pod: Pod) -> bool:
    chosen = selector_of(pdb.get("selector"))
    same = (pdb.get("namespace") or "default") == namespace(pod)
    return same and matches_labels(chosen, pod.get("labels") or {})


def facts_of(pod: Pod, has_budget: bool) -> PodFacts:
    volumes = [v.split(":") for v in pod.get("volumes") or ()]
    local = {v[-1] for v in volumes if v[0] == "hostPath" or (v[0] == "emptyDir" and v[1] != "Memory")}
    phase, policy = pod.get("phase"), pod.get("restart_policy")
    evictable = annotations(pod).get("cluster-autoscaler.kubernetes.io/" + LOCAL, "")
    return PodFacts(
        owner_kind=owner_kind(pod),
        namespace=namespace(pod),
        mirror=is_mirror(pod),
        daemonset=is_daemon(pod),
        finished=phase == "Failed" or (phase == "Succeeded" and policy != "Always"),
        safe_to_evict=annotations(pod).get(EVICT, ""),
        local_volumes=frozenset(local),
        evictable_volumes=frozenset(evictable.split(",")),
        has_budget=has_budget,
    )


class Selectors:
    """Interned sets of classes."""

    def __init__(self) -> None:
        self.sets: list[tuple[int, ...]] = []

    def index(self, members: Sequence[int]) -> int:
        key = tuple(members)
        if key not in self.sets:
            self.sets.append(key)
        return self.sets.index(key)

    def arrays(self) -> tuple[Any, Any]:
        start = np.cumsum([0] + [len(s) for s in self.sets])
        flat = [w for s in self.sets for w in s] or [0]
        return start[None].astype(np.int32), np.array([flat], np.int32)


def term_members(term: Mapping[str, Any], pod: Pod, specs: Sequence[Pod]) -> list[int]:
    """Classes that a pod's affinity or spread term selects: its own namespace unless it names some."""
    spaces = term.get("namespaces") or [namespace(pod)]
    chosen = selector_of(term.get("selector"))
    return [
        w
        for w, other in enumerate(specs)
        if namespace(other) in spaces and matches_labels(chosen, other.get("labels") or {})
    ]


def fits_labels(pod: Pod, node: Node) -> bool:
    required = pod.get("node_affinity_required_any_of")
    any_of = None if required is None else [terms_of(t) for t in required]
    labels = node.get("labels") or {}
    return matches_node_affinity(labels, node_selector=pod.get("node_selector") or {}, required_any_of=any_of)


def pack(
    specs: Sequence[Pod],
    shapes: Sequence[Node],
    bound: Sequence[tuple[int, int]] = (),
    *,
    slots: int = 0,
    flags: DrainFlags | None = None,
    pdbs: Sequence[Mapping[str, Any]] = (),
) -> CaWorld:
    """specs: pods, one class each. shapes: nodes, one group each. bound: (pod, node) of running pods.

    Nodes 0 .. len(bound nodes) are real; `slots` more are free. Pod slot i belongs to spec i.
    """
    names = sorted({r for x in (*specs,) for r in x["requests"]} | {r for n in shapes for r in n["allocatable"]})
    resources = {**FIXED}
    for name in names:
        resources.setdefault(name, len(resources))
    every = [t for p in specs for t in (p.get("topology_spread") or [])]
    every += [t for p in specs for t in (p.get("pod_anti_affinity_required") or [])]
    every += [t for p in specs for t in (p.get("pod_affinity_required") or [])]
    keys = [HOSTNAME_LABEL, *sorted({t["topology_key"] for t in every} - {HOSTNAME_LABEL})]
    w = max(1, len(specs))
    base = empty_world(
        classes=w,
        nodes=max(1, len(shapes)),
        resources=len(resources),
        keys=len(keys),
        domains=len(shapes) + 1,
        constraints=max([1] + [len(p.get("topology_spread") or ()) for p in specs]),
    )
    groups, topology = base.groups, base.topology
    for g, node in enumerate(shapes):
        for name, amount in node["allocatable"].items():
            groups.alloc[0, g, resources[name]] = amount
        for name, amount in (node.get("capacity") or node["allocatable"]).items():
            groups.cap[0, g, resources[name]] = amount
        for t, key in enumerate(keys[1:], 1):
            values = sorted({(n.get("labels") or {}).get(key) or "" for n in shapes})
            own = (node.get("labels") or {}).get(key)
            topology.group_domain[0, g, t] = -1 if own is None else values.index(own)
    chosen = Selectors()
    classes = _classes(base.classes, specs, shapes, resources, keys, chosen)
    start, items = chosen.arrays()
    topology = topology._replace(sel_start=start, sel_item=items)
    reasons = []
    for i, pod in enumerate(specs):
        has_budget = any(budget_matches(q, pod) for q in pdbs)
        code, reason = drain_rule(facts_of(pod, has_budget), flags or DrainFlags(custom_controller_pods=True))
        classes.drain_code[0, i] = code
        reasons.append(reason)
    nodes, pods = _nodes(w, len(shapes), slots, len(resources)), empty_pods(1, w, w)
    _bind(classes, topology, nodes, pods, specs, bound)
    state = empty_ca_state(classes, topology, groups, nodes, pods)
    state = state._replace(budget=_budgets(specs, pdbs))
    state.fork.node[0, DEST, : len(shapes)] = 1
    return CaWorld(classes, topology, groups, nodes, pods, state, tuple(reasons))


def _classes(
    c: Classes,
    specs: Sequence[Pod],
    shapes: Sequence[Node],
    resources: Mapping[str, int],
    keys: Sequence[str],
    chosen: Selectors,
) -> Classes:
    terms = [list(p.get("pod_anti_affinity_required") or ()) for p in specs]
    near = [list(p.get("pod_affinity_required") or ()) for p in specs]
    reverse: list[list[tuple[int, int]]] = [[] for _ in specs]
    for w, pod in enumerate(specs):
        for term in terms[w]:
            for other in term_members(term, pod, specs):
                reverse[other].append((keys.index(term["topology_key"]), chosen.index([w])))
        ports = set(pod.get("host_ports") or ())
        rivals = [o for o, q in enumerate(specs) if ports & set(q.get("host_ports") or ())]
        if rivals:
            reverse[w].append((0, chosen.index(rivals)))
    a = max([1] + [len(x) for x in (*terms, *near, *reverse)])
    size = c.req.shape[1]
    wide = np.full((1, size, a), -1, np.int32)
    c = c._replace(
        **{name: wide.copy() for name in ("anti_key", "ranti_key", "aff_key")},
        **{name: np.zeros_like(wide) for name in ("anti_sel", "ranti_sel", "aff_sel")},
        aff_self=np.zeros(wide.shape, np.bool_),
    )
    for w, pod in enumerate(specs):
        c.req[0, w, 2] = 1
        for name, amount in pod["requests"].items():
            c.req[0, w, resources[name]] = amount
        for g, node in enumerate(shapes):
            ok = fits_labels(pod, node)
            c.affinity_ok[0, w, g] = ok
            taints = taints_of(node.get("taints"))
            c.fits_group[0, w, g] = ok and hard_taints_tolerated(tolerations_of(pod.get("tolerations")), taints)
            c.spread_elig[0, w, :, g] = ok
        for k, term in enumerate(pod.get("topology_spread") or ()):
            members = term_members(term, pod, specs)
            c.spread_key[0, w, k] = keys.index(term["topology_key"])
            c.spread_skew[0, w, k] = term["max_skew"]
            c.spread_hard[0, w, k] = term.get("when_unsatisfiable", "DoNotSchedule") == "DoNotSchedule"
            c.spread_min_domains[0, w, k] = term.get("min_domains") or 1
            c.spread_self[0, w, k] = w in members
            c.spread_sel[0, w, k] = chosen.index(members)
        for i, term in enumerate(terms[w]):
            c.anti_key[0, w, i] = keys.index(term["topology_key"])
            c.anti_sel[0, w, i] = chosen.index(term_members(term, pod, specs))
        for i, (key, sel) in enumerate(reverse[w]):
            c.ranti_key[0, w, i], c.ranti_sel[0, w, i] = key, sel
        for i, term in enumerate(near[w]):
            members = term_members(term, pod, specs)
            c.aff_key[0, w, i], c.aff_sel[0, w, i] = keys.index(term["topology_key"]), chosen.index(members)
            c.aff_self[0, w, i] = w in members
    return c


def _nodes(w: int, real: int, slots: int, resources: int) -> Nodes:
    nodes = empty_nodes(1, w, max(1, real + slots), resources)
    nodes.hi[0] = real
    nodes.group[0, :real], nodes.phase[0, :real] = np.arange(real), NODE_READY
    return nodes


def _bind(
    classes: Classes,
    topology: Topology,
    nodes: Nodes,
    pods: Pods,
    specs: Sequence[Pod],
    bound: Sequence[tuple[int, int]],
) -> None:
    for i, pod in enumerate(specs):
        overdue, age = overdue_s(pod), pod.get("age_seconds")
        pods.workload[0, i] = i
        pods.phase[0, i] = POD_READY if overdue is None else POD_TERMINATING
        pods.gone_s[0, i] = np.inf if overdue is None else NOW_S - overdue
        pods.created_s[0, i] = NOW_S if age is None else NOW_S - age
    pods.hi[0] = len(specs)
    for i, n in reversed(bound):
        nodes.used[0, n] += classes.req[0, i]
        nodes.n_pods[0, n] += 1
        pods.node[0, i] = n
        pods.next_n[0, i] = nodes.first_pod[0, n]
        nodes.first_pod[0, n] = i
        if pods.phase[0, i] == POD_READY:
            nodes.pods_of[0, i, n] += 1
            for t in range(1, topology.group_domain.shape[2]):
                d = topology.group_domain[0, nodes.group[0, n], t]
                if d >= 0:
                    topology.dom_pods[0, t, d, i] += 1


def _budgets(specs: Sequence[Pod], pdbs: Sequence[Mapping[str, Any]]) -> Any:
    """CaState.budget for budgets that may overlap."""
    matching = [[q for q, pdb in enumerate(pdbs) if budget_matches(pdb, pod)] for pod in specs]
    width = max(len(specs) + 1, sum(map(len, matching)), len(pdbs), 2)
    out = np.zeros((1, 4, width), np.int64)
    out[0, B_START, 1 : len(specs) + 1] = np.cumsum([len(m) for m in matching])
    flat = [q for m in matching for q in m]
    out[0, B_ITEM, : len(flat)] = flat
    out[0, B_LEFT, : len(pdbs)] = [pdb["disruptions_allowed"] for pdb in pdbs]
    return out


def bound_pods(nodes: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[tuple[int, int]]]:
    specs: list[Any] = []
    bound = []
    for n, node in enumerate(nodes):
        for pod in node.get("pods") or ():
            bound.append((len(specs), n))
            specs.append(pod)
    return specs, bound
