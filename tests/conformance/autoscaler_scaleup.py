"""Adapters for the Cluster Autoscaler's scale-up: pod order, estimator, whole decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.controllers import ca_limits
from envs.controllers.ca_layout import (
    CAPPED,
    N_PENDING,
    P_COUNT,
    P_LIST,
    PLACED,
    SCHEDULABLE,
    SIZE,
)
from envs.controllers.ca_limits import UNLIMITED, Quotas
from envs.controllers.ca_state import pack_autoscaler
from envs.stack import ClusterAutoscaler
from tests.conformance import autoscaler_kernels as kernels
from tests.conformance.autoscaler_world import (
    EMPTY_NODE,
    GPU_NAME,
    NOW_S,
    CaWorld,
    bound_pods,
    pack,
)
from tests.conformance.cases import Case, Result, verdict

# --- scale-up ---


def add_pending(world: CaWorld, counts: Sequence[int]) -> None:
    """Classes 0, 1, ... need help, so many pods of each."""
    pending, at = world.state.pending, world.state.fork.at
    at[0, N_PENDING] = len(counts)
    for w, count in enumerate(counts):
        pending.cls[0, P_LIST, w], pending.cls[0, P_COUNT, w] = w, count


def binpacking_case(case: Case) -> Result:
    given = case.input
    counts = [g["count"] for g in given["pod_groups"]]
    waiting = [g["pod"] for g in given["pod_groups"]]
    existing, bound = bound_pods(given["existing_nodes"])
    specs = [*waiting, *existing]
    template, g = given["node_template"], len(given["existing_nodes"])
    real = [(i + len(waiting), n) for i, n in bound]
    shapes = [*given["existing_nodes"], template]
    world = pack(specs, shapes, real, slots=sum(counts) + 2)
    world.nodes.hi[0] = g
    world.nodes.group[0, g:], world.nodes.phase[0, g:] = -1, 0
    world.groups.daemon[0, g] = daemon_requests(world, given["template_pods"])
    add_pending(world, counts)
    world.state.pending.table[0, SCHEDULABLE, g] = 1
    cap, fast = given["max_new_nodes"], given["fastpath"]
    found = kernels.estimate(*world.placed, world.state, 0, g, cap, fast)
    placed = [int(world.state.pending.table[0, PLACED, g, w]) for w in range(len(counts))]
    got = {"node_count": int(found), "scheduled_per_group": placed, "scheduled_pods": sum(placed)}
    return verdict(case.expected, got)


def daemon_requests(world: CaWorld, pods: Sequence[Any]) -> Any:
    out = np.zeros(world.groups.daemon.shape[2], np.int64)
    for pod in pods:
        out[2] += 1
        out[0] += pod["requests"].get("cpu_milli", 0)
        out[1] += pod["requests"].get("memory_bytes", 0)
        out[3] += pod["requests"].get(GPU_NAME, 0)
    return out


def pod_order_case(case: Case) -> Result:
    given = case.input
    world = pack([g["pod"] for g in given["pod_groups"]], [given["node_template"]])
    scores = [
        float(kernels.size_share(world.classes.req, world.groups.alloc, 0, w, 0))
        for w in range(len(given["pod_groups"]))
    ]
    got = {"group_scores": scores, "sorted_scores": sorted(scores, reverse=True)}
    return verdict(case.expected, got)


def decision_world(given: Mapping[str, Any]) -> tuple[CaWorld, Any, list[str], list[Any]]:
    """Groups of the case, then one more for nodes of none; pending pods by equal specs."""
    kinds: dict[Any, list[str]] = {}
    for pod in given["pending_pods"]:
        key = (pod["cpu_milli"], pod["memory_bytes"], pod["gpu"], pod["only_group"], pod["tolerates_gpu"])
        kinds.setdefault(key, []).append(pod["name"])
    specs = [decision_pod(*key) for key in kinds]
    shapes = [g["template"] for g in given["groups"]] + [EMPTY_NODE]
    world = pack(specs, shapes, slots=64)
    names = [g["id"] for g in given["groups"]]
    n_groups = len(names)
    options = given["options"]
    stack = ClusterAutoscaler(
        max_nodes_total=options["max_nodes_total"],
        max_nodes_per_scaleup=options["max_nodes_per_scaleup"],
        balance_similar_node_groups=options["balance_similar_groups"],
    )
    for g, group in enumerate(given["groups"]):
        world.groups.min_nodes[0, g], world.groups.max_nodes[0, g] = group["min_size"], group["max_size"]
    labels = [[s.get("labels") or {} for s in shapes]]
    cfg = pack_autoscaler([stack], world.groups, group_labels=labels)
    cfg.flag[0, CAPPED] = 0.0
    cfg.atomic[0, :n_groups] = [g["all_or_nothing_group"] for g in given["groups"]]
    world.nodes.hi[0] = 0
    world.nodes.group[0, :], world.nodes.phase[0, :] = -1, 0
    sizes = [g["initial_size"] for g in given["groups"]] + [0]
    world.state.group[0, SIZE] = sizes
    world.state.node_count[0] = len(given["nodes"])
    cfg = cfg._replace(quotas=decision_quotas(given, world, names))
    add_pending(world, [len(v) for v in kinds.values()])
    return world, cfg, names, list(kinds.values())


def decision_pod(cpu: int, mem: int, gpu: int, only_group: str, tolerates: bool) -> dict[str, Any]:
    pod: dict[str, Any] = {"requests": {"cpu_milli": cpu, "memory_bytes": mem}, "labels": {}}
    if gpu:
        pod["requests"][GPU_NAME] = gpu
    if only_group:
        pod["node_selector"] = {"ng": only_group}
    if tolerates:
        pod["tolerations"] = [{"key": GPU_NAME, "operator": "Exists"}]
    return pod


def decision_quotas(given: Mapping[str, Any], world: CaWorld, names: Sequence[str]) -> Quotas:
    """The cluster's core and memory limits, or the case's own quotas; usage is taken off beforehand."""
    options, nodes = given["options"], given["nodes"]
    wide = {"cpu": options["max_cores_total"], "memory": options["max_memory_total_bytes"]}
    own = [(q["limits"], set(q["applies_to_nodes"])) for q in given["quotas"]]
    items = [(wide, {n["name"] for n in nodes}), *own]
    limit = np.full((1, len(items), 4), UNLIMITED, np.int64)
    covers = np.ones((1, len(items), len(names) + 1), np.bool_)
    for q, (limits, members) in enumerate(items):
        mine = [n for n in nodes if n["name"] in members]
        for r, (name, field, unit) in enumerate((("cpu", "cpu_milli", 1000), ("memory", "memory_bytes", 1))):
            if name in limits:
                limit[0, q, r] = limits[name] - sum(-(-n[field] // unit) for n in mine)
        for g, group in enumerate(names):
            of_group = {n["name"] for n in nodes if n["group"] == group}
            covers[0, q, g] = q == 0 or bool(of_group & members)
    quotas = Quotas(limit, covers, ca_limits.per_node_amounts(world.groups.cap), limit.copy())
    for g in range(len(names)):  # the kernel takes existing nodes off: give them back first
        size = int(world.state.group[0, SIZE, g])
        for q in range(len(items)):
            for r in range(4):
                if covers[0, q, g] and limit[0, q, r] != UNLIMITED:
                    limit[0, q, r] += quotas.per_node[0, g, r] * size
    return quotas


def decision_case(case: Case) -> Result:
    """The mock cloud's refusal of the resize is no input of the case: it is read from `expected.error`."""
    given, want = case.input, case.expected
    world, cfg, names, kinds = decision_world(given)
    state = world.state
    kernels.scale_up_options(*world.placed, cfg, state, 0, NOW_S)
    options = state.options
    offered = [{"group": names[options.group[0, o]], "nodes": int(options.n_nodes[0, o])} for o in range(options.n[0])]
    add = np.zeros((1, len(names) + 1), np.int32)
    chosen = given["choose_option"]
    o = offered.index(chosen) if chosen in offered else 0 if offered else -1
    added = kernels.scale_up_plan(world.groups, cfg, state, add, 0, o) if o >= 0 else 0
    changes = [{"group": n, "nodes": int(add[0, g])} for g, n in enumerate(names) if add[0, g] > 0]
    sizes = {n: int(state.group[0, SIZE, g] + add[0, g]) for g, n in enumerate(names)}
    got = {
        "expansion_options": sorted(offered, key=lambda x: x["group"]),
        "group_size_changes": changes,
        "group_target_sizes": sizes,
        **pod_outcomes(world, kinds, o, add[0, :-1], refused=want["error"]),
        "scaled_up": added > 0 and not want["error"],
    }
    wanted = {k: want[k] for k in got}
    wanted["expansion_options"] = sorted(want["expansion_options"], key=lambda x: x["group"])
    return verdict(wanted, got)


def pod_outcomes(
    world: CaWorld, kinds: Sequence[Sequence[str]], o: int, add: Any, *, refused: bool
) -> dict[str, list[str]]:
    """Pods that triggered the scale-up, that fit no group (refused ones aside), that wait a loop."""
    table = world.state.pending.table[0]
    fitting = [set(np.flatnonzero(table[SCHEDULABLE, : len(add), w]).tolist()) for w in range(len(kinds))]
    best = int(world.state.options.group[0, o]) if o >= 0 else -1
    triggered, remain, await_next = [], [], []
    lost = set(np.flatnonzero(add).tolist()) if refused else set()
    for w, pods in enumerate(kinds):
        if o >= 0:
            triggered += pods[: table[PLACED, best, w]]
        if not fitting[w] - lost:
            remain += pods
        elif o >= 0 and best not in fitting[w] and not refused:
            await_next += pods
    return {
        "pods_triggered": triggered,
        "pods_remain_unschedulable": remain,
        "pods_await_evaluation": await_next,
    }
