"""Adapters for the kube-scheduler's topics: each packs a case into the state tuples and runs the kernels.

Strings (selectors, tolerations, affinity) are evaluated by `envs.matching`, as the scenario packer
does; every node of a case is a node group of its own, every distinct (namespace, labels) of its
pods a class, and class 0 is the pod to place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.cluster import Taint, Toleration
from envs.controllers import placement, scores
from envs.controllers.scheduler import ProfileArrays, SchedulerScratch, pack_profile, scheduler_scratch
from envs.matching import (
    Requirement,
    Selector,
    hard_taints_tolerated,
    intolerable_soft_taints,
    matches_labels,
    matches_node_affinity,
    selector,
)
from envs.sim.jit import kernel
from envs.sim.state import (
    CPU,
    MEM,
    NODE_READY,
    PODS,
    Classes,
    Groups,
    Nodes,
    Topology,
    empty_nodes,
    empty_pods,
)
from envs.stack import SchedulerProfile
from tests.conformance.cases import Adapter, Case, Result, verdict

HOSTNAME_LABEL = "kubernetes.io/hostname"
MISSING = "\0missing"
_measure, _spread_ok, _spread_scores = placement.measure, placement.spread_ok, scores.spread_scores
_fit_scores, _balanced_scores, _best_effort = scores.fit_scores, scores.balanced_scores, scores.is_best_effort
_gather = scores.gather_feasible
_normalize = scores.normalize


@kernel
def spread_filter(classes: Any, topology: Any, nodes: Any, scratch: Any, out: Any) -> None:
    """out[n] = whether hard spread lets a pod of class 0 on node n."""
    _measure(classes, topology, nodes, 0, 0, scratch)
    for n in range(nodes.hi[0]):
        out[n] = _spread_ok(classes, topology, nodes, 0, 0, n, scratch)


@kernel
def spread_score(classes: Any, topology: Any, groups: Any, nodes: Any, scratch: Any) -> None:
    """Raw and normalised soft spread scores of scratch.feasible for class 0."""
    _gather(groups, nodes, 0, scratch)
    _spread_scores(classes, topology, nodes, 0, 0, scratch)


@kernel
def resource_scores(classes: Any, groups: Any, nodes: Any, profile: Any, scratch: Any) -> bool:
    """NodeResourcesFit and BalancedAllocation of scratch.feasible; whether the latter is skipped."""
    _gather(groups, nodes, 0, scratch)
    _fit_scores(classes, groups, nodes, profile, 0, 0, scratch)
    _balanced_scores(classes, groups, nodes, profile, 0, 0, scratch)
    return _best_effort(profile.balanced_resource, classes.req, 0, 0)


@kernel
def normalize(raw: Any, present: Any, reverse: bool, out: Any) -> None:
    _normalize(raw, present, reverse, out)


@dataclass(frozen=True)
class World:
    """The state tuples of one case, b = 0."""

    classes: Classes
    topology: Topology
    groups: Groups
    nodes: Nodes
    scratch: SchedulerScratch


def empty_world(*, classes: int, nodes: int, resources: int, keys: int, domains: int, constraints: int) -> World:
    """Nothing asked for, nothing there; node n is in group n and Ready."""
    w, g, k = classes, nodes, constraints

    def ints(*shape: int, value: int = 0) -> Any:
        return np.full((1, *shape), value, np.int32)

    packed = Classes(
        req=np.zeros((1, w, resources), np.int64),
        score_req=np.zeros((1, w, 2), np.int64),
        priority=ints(w),
        fits_group=np.ones((1, w, g), np.bool_),
        affinity_ok=np.ones((1, w, g), np.bool_),
        soft_taints=ints(w, g),
        affinity_score=ints(w, g),
        spread_key=ints(w, k, value=-1),
        spread_skew=ints(w, k, value=1),
        spread_hard=np.zeros((1, w, k), np.bool_),
        spread_min_domains=ints(w, k, value=1),
        spread_self=np.zeros((1, w, k), np.bool_),
        spread_sel=ints(w, k),
        anti_key=ints(w, 1, value=-1),
        anti_sel=ints(w, 1),
        ranti_key=ints(w, 1, value=-1),
        ranti_sel=ints(w, 1),
        aff_key=ints(w, 1, value=-1),
        aff_sel=ints(w, 1),
        aff_self=np.zeros((1, w, 1), np.bool_),
        drain_code=np.zeros((1, w), np.int8),
        pdb_kind=np.zeros((1, w), np.int8),
        pdb_value=np.zeros((1, w)),
        spread_elig=np.ones((1, w, k, g), np.bool_),
    )
    topology = Topology(
        sel_start=ints(k + 1),
        sel_item=ints(w * k),
        group_domain=ints(g, keys, value=-1),
        dom_pods=ints(keys, domains, w),
    )
    amounts = np.zeros((1, g, resources), np.int64)
    money, none = np.zeros((1, g)), ints(g)
    groups = Groups(amounts, amounts.copy(), amounts.copy(), money, none, none, none, none, money, money, none)
    slots = empty_nodes(1, w, nodes, resources)
    slots.hi[0] = nodes
    slots.group[0], slots.phase[0] = np.arange(nodes), NODE_READY
    return World(packed, topology, groups, slots, scheduler_scratch(packed, topology, slots, empty_pods(1, w, 1)))


# --- resource scores ---


def _resource_world(given: Mapping[str, Any]) -> tuple[World, ProfileArrays]:
    """One node and the pod, resources in the case's order: CPU, memory, then others from index 3."""
    names = [r["resource"] for r in given["resources"]]
    others = [n for n in names if n not in ("cpu", "memory")]
    index = {"cpu": CPU, "memory": MEM, **{n: PODS + 1 + i for i, n in enumerate(others)}}
    world = empty_world(classes=1, nodes=1, resources=PODS + 1 + len(others), keys=1, domains=1, constraints=1)
    world.scratch.n_feasible[0] = 1
    shape = tuple((p["utilization_percent"], p["score_0_to_10"]) for p in given.get("shape") or ())
    base = SchedulerProfile()
    packed = pack_profile([replace(base, fit_shape=shape or base.fit_shape)])
    order = np.array([[index[n] for n in names]], np.int32)
    weight = np.array([[r.get("weight", 1) for r in given["resources"]]], np.int64)
    for r in given["resources"]:
        i = index[r["resource"]]
        world.groups.alloc[0, 0, i] = r["node_allocatable"]
        world.nodes.used[0, 0, i], world.classes.req[0, 0, i] = r["node_used_before"], r["pod_request"]
        if i <= MEM:
            world.nodes.score_used[0, 0, i] = r["node_used_before"]
            world.classes.score_req[0, 0, i] = r["pod_request"]
    return world, packed._replace(fit_resource=order, fit_resource_weight=weight, balanced_resource=order)


def _resource_case(strategy: int) -> Adapter:
    def adapter(case: Case) -> Result:
        world, profile = _resource_world(case.input)
        profile = profile._replace(strategy=np.array([strategy], np.int8))
        resource_scores(world.classes, world.groups, world.nodes, profile, world.scratch)
        return verdict(case.expected, {"score": int(world.scratch.fit_score[0, 0])})

    return adapter


def balanced_case(case: Case) -> Result:
    world, profile = _resource_world(case.input)
    skipped = bool(resource_scores(world.classes, world.groups, world.nodes, profile, world.scratch))
    got = {"skipped": skipped, "score": int(world.scratch.balanced[0, 0])}
    return verdict(case.expected, {key: got[key] for key in case.expected})


# --- strings ---


def taints_of(items: Any) -> tuple[Taint, ...]:
    return tuple(Taint(t.get("key", ""), t.get("value") or "", t.get("effect", "")) for t in items or ())


def tolerations_of(items: Any) -> tuple[Toleration, ...]:
    return tuple(
        Toleration(t.get("key") or "", t.get("operator") or "Equal", t.get("value") or "", t.get("effect") or "")
        for t in items or ()
    )


def selector_of(given: Mapping[str, Any] | None) -> Selector | None:
    """A vector's label selector; None (no selector) stays None."""
    return None if given is None else selector(given.get("match_labels"), terms_of(given.get("match_expressions")))


def terms_of(items: Any) -> Selector:
    return tuple(Requirement(e["key"], e["operator"], tuple(e.get("values") or ())) for e in items or ())


def taint_filter_case(case: Case) -> Result:
    ok = hard_taints_tolerated(tolerations_of(case.input.get("tolerations")), taints_of(case.input.get("taints")))
    return verdict(case.expected, {"schedulable": ok})


def taint_score_case(case: Case) -> Result:
    count = intolerable_soft_taints(tolerations_of(case.input.get("tolerations")), taints_of(case.input.get("taints")))
    return verdict(case.expected, {"intolerable_prefer_taints": count})


def taint_normalize_case(case: Case) -> Result:
    raw = np.array(case.input["intolerable_counts"], np.int32)
    out = np.zeros(len(raw), np.int64)
    normalize(raw, np.ones(len(raw), np.int32), True, out)
    return verdict(case.expected, {"normalized": out.tolist()})


# --- topology spread ---


def _pod_selector(constraint: Mapping[str, Any], labels: Mapping[str, str]) -> Selector | None:
    """The constraint's selector, narrowed by matchLabelKeys to the new pod's own values."""
    base = selector_of(constraint.get("selector"))
    if base is None:
        return None
    keys = [k for k in constraint.get("match_label_keys") or () if k in labels]
    return base + selector({k: labels[k] for k in keys})


def _keys(given: Mapping[str, Any], constraints: list[Any], *, soft: bool) -> list[str]:
    """Topology keys, the hostname first. Where a node's hostname label is missing or shared, the
    hostname is a key like others (the filter treats it like others anyway)."""
    keys = [HOSTNAME_LABEL, *sorted({c["topology_key"] for c in constraints} - {HOSTNAME_LABEL})]
    hosts = [n.get("labels", {}).get(HOSTNAME_LABEL, MISSING) for n in given["nodes"]]
    if not soft and (MISSING in hosts or len(set(hosts)) < len(hosts)):
        return [MISSING, *keys]
    return keys


def _inclusion(constraint: Mapping[str, Any], pod: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """nodeAffinityPolicy (default Honor) and nodeTaintsPolicy (default Ignore)."""
    if constraint.get("node_affinity_policy", "Honor") == "Honor":
        required = pod.get("node_affinity_required_any_of")
        any_of = None if required is None else [terms_of(term) for term in required]
        chosen = pod.get("node_selector") or {}
        if not matches_node_affinity(node.get("labels") or {}, node_selector=chosen, required_any_of=any_of):
            return False
    if constraint.get("node_taints_policy", "Ignore") == "Honor":
        return hard_taints_tolerated(tolerations_of(pod.get("tolerations")), taints_of(node.get("taints")))
    return True


def _pod_kind(pod: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    return pod.get("namespace") or "", tuple(sorted((pod.get("labels") or {}).items()))


def spread_world(given: Mapping[str, Any], *, soft: bool) -> World:
    """A case's nodes, pods and constraints of one kind as state tuples."""
    pod, nodes = given["pod"], given["nodes"]
    wanted = "ScheduleAnyway" if soft else "DoNotSchedule"
    constraints = [
        c for c in pod.get("topology_spread") or () if c.get("when_unsatisfiable", "DoNotSchedule") == wanted
    ]
    keys = _keys(given, constraints, soft=soft)
    kinds = [_pod_kind(pod)]
    for node in nodes:
        kinds += [_pod_kind(p) for p in node.get("pods") or () if not p.get("deleting")]
    kinds = kinds[:1] + sorted(set(kinds))
    world = empty_world(
        classes=len(kinds),
        nodes=len(nodes),
        resources=PODS + 1,
        keys=len(keys),
        domains=len(nodes) + 1,
        constraints=max(1, len(constraints)),
    )
    _write_domains(world, nodes, keys)
    for k, constraint in enumerate(constraints):
        _write_constraint(world, k, constraint, given, keys, kinds)
    _write_pods(world, nodes, kinds)
    return world


def _write_domains(world: World, nodes: list[Any], keys: list[str]) -> None:
    for t, key in enumerate(keys):
        values = [n.get("labels", {}).get(key) for n in nodes]
        known = sorted({v for v in values if v is not None})
        for g, value in enumerate(values):
            missing = -1 if t else -2
            world.topology.group_domain[0, g, t] = missing if value is None else known.index(value)


def _write_constraint(
    world: World,
    k: int,
    constraint: Mapping[str, Any],
    given: Mapping[str, Any],
    keys: list[str],
    kinds: list[Any],
) -> None:
    c, pod = world.classes, given["pod"]
    chosen = _pod_selector(constraint, pod.get("labels") or {})
    c.spread_key[0, 0, k] = keys.index(constraint["topology_key"])
    c.spread_skew[0, 0, k] = constraint["max_skew"]
    c.spread_hard[0, 0, k] = constraint.get("when_unsatisfiable", "DoNotSchedule") == "DoNotSchedule"
    c.spread_min_domains[0, 0, k] = constraint.get("min_domains") or 1
    c.spread_self[0, 0, k] = matches_labels(chosen, pod.get("labels") or {})
    c.spread_sel[0, 0, k] = k
    for n, node in enumerate(given["nodes"]):
        c.spread_elig[0, 0, k, n] = _inclusion(constraint, pod, node)
    start, items = world.topology.sel_start[0], world.topology.sel_item[0]
    start[k + 1] = start[k]
    for w, (namespace, labels) in enumerate(kinds):
        if w > 0 and namespace == kinds[0][0] and matches_labels(chosen, dict(labels)):
            items[start[k + 1]] = w
            start[k + 1] += 1


def _write_pods(world: World, nodes: list[Any], kinds: list[Any]) -> None:
    for n, node in enumerate(nodes):
        for p in node.get("pods") or ():
            if p.get("deleting"):
                continue
            w = kinds.index(_pod_kind(p), 1)
            world.nodes.pods_of[0, w, n] += 1
            for t in range(1, world.topology.group_domain.shape[2]):
                d = world.topology.group_domain[0, n, t]
                if d >= 0:
                    world.topology.dom_pods[0, t, d, w] += 1


def spread_filter_case(case: Case) -> Result:
    world = spread_world(case.input, soft=False)
    out = np.zeros(len(case.input["nodes"]), np.bool_)
    spread_filter(world.classes, world.topology, world.nodes, world.scratch.fit, out)
    names = [n["name"] for n in case.input["nodes"]]
    got = dict(zip(names, out.tolist(), strict=True))
    return verdict(case.expected["schedulable"], got)


def spread_score_case(case: Case) -> Result:
    world = spread_world(case.input, soft=True)
    names = [n["name"] for n in case.input["nodes"]]
    feasible = case.input["feasible_nodes"]
    world.scratch.n_feasible[0] = len(feasible)
    for i, name in enumerate(feasible):
        world.scratch.feasible[0, i] = names.index(name)
    spread_score(world.classes, world.topology, world.groups, world.nodes, world.scratch)
    raw = [max(0, int(x)) for x in world.scratch.spread_raw[0, : len(feasible)]]
    normalized = [int(x) for x in world.scratch.spread[0, : len(feasible)]]
    got = {
        "raw": dict(zip(feasible, raw, strict=True)),
        "normalized": dict(zip(feasible, normalized, strict=True)),
    }
    return verdict(case.expected, {key: got[key] for key in case.expected})


ADAPTERS: dict[str, Adapter] = {
    "ks_least_allocated": _resource_case(scores.LEAST_ALLOCATED),
    "ks_most_allocated": _resource_case(scores.MOST_ALLOCATED),
    "ks_requested_to_capacity_ratio": _resource_case(scores.CAPACITY_RATIO),
    "ks_balanced_allocation": balanced_case,
    "ks_spread_filter": spread_filter_case,
    "ks_spread_score": spread_score_case,
    "ks_taint_filter": taint_filter_case,
    "ks_taint_score": taint_score_case,
    "ks_taint_normalize": taint_normalize_case,
}
