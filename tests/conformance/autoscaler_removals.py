"""Adapters for the Cluster Autoscaler's scale-down: utilization to simulated removals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.controllers import ca_eligibility
from envs.controllers.ca_deletion import UNREMOVABLE_NAMES, empty_cropped, empty_unneeded
from envs.controllers.ca_eligibility import INELIGIBLE_NAMES, DrainFlags
from envs.controllers.ca_layout import (
    CANDIDATE,
    DELETING,
    DEST,
    GROUP_PLANES,
    L_CLASS,
    REGISTERED,
    SIZE,
    VERDICT,
)
from envs.sim.state import CPU, GPU, MEM
from tests.conformance import autoscaler_kernels as kernels
from tests.conformance.autoscaler_world import (
    EMPTY_NODE,
    GPU_NAME,
    NOW_S,
    CaWorld,
    bound_pods,
    is_daemon,
    is_mirror,
    pack,
)
from tests.conformance.cases import Case, Result, verdict

STRICT = DrainFlags(custom_controller_pods=True)


# --- scale-down rules ---


def skipped(pod: Mapping[str, Any], daemons: bool, mirrors: bool) -> bool:
    daemon, mirror = pod.get("is_daemonset", is_daemon(pod)), pod.get("is_mirror", is_mirror(pod))
    return (daemons and daemon) or (mirrors and mirror)


def node_use(node: Mapping[str, Any], pods: Any, gpu: str | None, daemons: bool, mirrors: bool) -> Any:
    """The kernel's utilization of a node; requests of skipped pods and of long terminating ones apart."""
    names = ["cpu_milli", "memory_bytes", "pods", gpu or GPU_NAME]
    alloc = np.array([[[node["allocatable"].get(r, 0) for r in names]]], np.int64)
    used, skip = np.zeros((1, 1, 4), np.int64), np.zeros(4, np.int64)
    for pod in pods:
        amounts = np.array([pod["requests"].get(r, 0) for r in names], np.int64)
        if skipped(pod, daemons, mirrors):
            skip += amounts
            used[0, 0] += amounts
        elif not pod.get("is_long_terminating", False):
            used[0, 0] += amounts
    return kernels.utilization(alloc, used, 0, 0, 0, gpu is not None, skip)


def utilization_case(case: Case) -> Result:
    given, gpu = case.input, case.input["gpu_resource"]
    use, cpu, mem, gpu_share, dominant = node_use(
        given["node"], given["pods"], gpu, given["skip_daemonset_pods"], given["skip_mirror_pods"]
    )
    if use == -1.0:
        return verdict(case.expected["error"], True)
    got = {
        "cpu_utilization": cpu,
        "dominant_resource": {CPU: "cpu", MEM: "memory", GPU: gpu}[dominant],
        "error": False,
        "gpu_utilization": gpu_share,
        "memory_utilization": mem,
        "utilization": use,
    }
    return verdict(case.expected, got)


def eligibility_case(case: Case) -> Result:
    eligible, ineligible = [], {}
    for node in case.input["candidates"]:
        has_group = node.get("group") is not None
        use = node_use(
            node, node["pods"], None, node.get("ignore_daemonsets", False), case.input["ignore_mirror_pods"]
        )[0]
        disabled = (node.get("annotations") or {}).get("cluster-autoscaler.kubernetes.io/scale-down-disabled") == "true"
        unready = not node["ready"] and not case.input["scale_down_unready_enabled"]
        limit = float(node.get("utilization_threshold", 0.5))
        reason = kernels.ineligible(
            node["recently_unremovable"],
            node["being_deleted"],
            disabled,
            0 if has_group else -1,
            unready,
            float(use),
            limit,
        )
        if reason == ca_eligibility.ELIGIBLE:
            eligible.append(node["name"])
        else:
            ineligible[node["name"]] = INELIGIBLE_NAMES[reason]
    return verdict(case.expected, {"eligible": eligible, "ineligible": ineligible})


def unneeded_case(case: Case) -> Result:
    nodes, names = case.input["nodes"], list(case.input["groups"])
    given = [case.input["groups"][n] for n in names]
    unneeded = empty_unneeded(1, max(1, len(nodes)))
    unneeded.n[0] = len(nodes)
    group = np.zeros((1, GROUP_PLANES, max(1, len(names))), np.int64)
    low = np.zeros((1, max(1, len(names))), np.int32)
    for g, item in enumerate(given):
        group[0, SIZE, g], group[0, DELETING, g] = item["target_size"], item["deletions_in_progress"]
        low[0, g] = item["min_size"]
    for i, node in enumerate(nodes):
        unneeded.group[0, i] = names.index(node["group"]) if node["group"] in names else -1
        unneeded.since_s[0, i] = -float(node["unneeded_for_seconds"])
        unneeded.threshold_s[0, i] = node["threshold_seconds"]
        unneeded.ready[0, i], unneeded.needs_drain[0, i] = node["ready"], node["needs_drain"]
        unneeded.disabled[0, i], unneeded.broken[0, i] = (
            node["scale_down_disabled"],
            node["threshold_lookup_failed"],
        )
    kernels.removable_at(unneeded, group, low, 0, 0.0)
    reasons: dict[str, int] = {}
    gone = [0, 0]
    for i, node in enumerate(nodes):
        name = UNREMOVABLE_NAMES[unneeded.reason[0, i]]
        if name:
            reasons[name] = reasons.get(name, 0) + 1
        else:
            gone[1 if node["needs_drain"] else 0] += 1
    got = {"removable_empty": gone[0], "removable_drain": gone[1], "unremovable_reasons": reasons}
    return verdict(case.expected, got)


def budgets_case(case: Case) -> Result:
    given, names = case.input, list(case.input["groups"])
    listed = [(v["group"], n, side) for side in ("empty", "drain") for v in given[side] for n in v["nodes"]]
    unneeded = empty_unneeded(1, max(1, len(listed)))
    cropped = empty_cropped(1, max(1, len(names)), max(1, len(listed)))
    group = np.zeros((1, GROUP_PLANES, max(1, len(names))), np.int64)
    atomic = np.zeros((1, max(1, len(names))), np.bool_)
    for g, name in enumerate(names):
        group[0, REGISTERED, g] = given["groups"][name]["registered_nodes"]
        atomic[0, g] = given["groups"][name]["all_or_nothing"]
    unneeded.n[0] = len(listed)
    for i, (name, _, side) in enumerate(listed):
        unneeded.node[0, i], unneeded.group[0, i] = i, names.index(name)
        unneeded.needs_drain[0, i] = side == "drain"
    drains = given["drain_deletions_in_progress"]
    total = given["max_parallel_total"] - given["empty_deletions_in_progress"] - drains
    kernels.crop(unneeded, cropped, group, atomic, 0, total, given["max_parallel_drain"] - drains)
    got: dict[str, list[dict[str, Any]]] = {"drain": [], "empty": []}
    for i in range(cropped.n[0]):
        name, node, _ = listed[cropped.node[0, i]]
        views = got["drain" if cropped.drain[0, i] else "empty"]
        if not views or views[-1]["group"] != name:
            views.append({"group": name, "nodes": []})
        views[-1]["nodes"].append(node)
    return verdict(case.expected, got)


# --- removals ---


def names_of(world: CaWorld, specs: Sequence[Any], count: int) -> list[str]:
    return [specs[w]["name"] for w in world.state.leaving[0, L_CLASS, :count]]


def drain_case(case: Case) -> Result:
    given, specs = case.input, case.input["pods_on_node"]
    flags = DrainFlags(
        system_pods=given["skip_nodes_with_system_pods"],
        local_storage=given["skip_nodes_with_local_storage"],
        custom_controller_pods=given["skip_nodes_with_custom_controller_pods"],
    )
    world = pack(specs, [EMPTY_NODE], [(i, 0) for i in range(len(specs))], flags=flags, pdbs=given["pdbs"])
    kernels.movable_pods(world.classes, world.nodes, world.pods, world.state, 0, 0, NOW_S)
    got: dict[str, Any] = {"blocking_pod": None, "daemonset": [], "error": False, "move": []}
    got["wait_for_completion"] = []
    for i, pod in enumerate(specs):
        code = world.state.fork.pod[0, VERDICT, i]
        if code in (ca_eligibility.BLOCKS, ca_eligibility.NO_BUDGET):
            budget = code == ca_eligibility.NO_BUDGET
            got |= {"blocking_pod": pod["name"], "error": True}
            got["blocking_reason"] = "NotEnoughPdb" if budget else world.reasons[i]
            break
        if code == ca_eligibility.MOVES:
            got["move"].append(pod["name"])
        elif code == ca_eligibility.COMPLETES:
            got["wait_for_completion"].append(pod["name"])
        elif is_daemon(pod) and not is_mirror(pod) and world.pods.gone_s[0, i] > NOW_S - 30.0:
            got["daemonset"].append(pod["name"])
    return verdict(case.expected, got)


def removal_case(case: Case) -> Result:
    given, nodes = case.input, case.input["nodes"]
    names = [n["name"] for n in nodes]
    if given["candidate"] not in names:
        return verdict(case.expected.get("reason"), "NoNodeInfo")
    specs, bound = bound_pods(nodes)
    world = pack(specs, nodes, bound, flags=STRICT, pdbs=given["pdbs"])
    world.state.fork.node[0, DEST] = [name in given["destinations"] for name in names]
    n = names.index(given["candidate"])
    world.state.fork.node[0, DEST, n] = 0
    count = kernels.simulate_removal(*world.placed, world.pods, world.state, 0, n, NOW_S)
    if count < 0:
        got = {"removable": False, "reason": "BlockedByPod" if count == -1 else "NoPlaceToMovePods"}
        return verdict({k: case.expected[k] for k in ("removable", "reason") if k in case.expected}, got)
    daemons = [p["name"] for p in nodes[n].get("pods") or () if is_daemon(p) and not is_mirror(p)]
    got = {"daemonset_pods": daemons, "pods_to_reschedule": names_of(world, specs, count), "removable": True}
    return verdict({k: case.expected[k] for k in got}, got)


def pdb_case(case: Case) -> Result:
    specs = case.input["pods"]
    world = pack(specs, [EMPTY_NODE], pdbs=case.input["pdbs"])
    world.state.leaving[0, L_CLASS, : len(specs)] = np.arange(len(specs))
    allowed, at_once = kernels.budgets_allow(world.state.budget, world.state.leaving, 0, len(specs))
    got = {"can_remove": bool(allowed), "in_parallel": bool(at_once), "blocked": not at_once}
    return verdict(case.expected, got)


def simulation_case(case: Case) -> Result:
    given, nodes = case.input, case.input["nodes"]
    names = [n["name"] for n in nodes]
    specs, bound = bound_pods(nodes)
    world = pack(specs, nodes, bound, flags=DrainFlags(False, False, False), pdbs=given["pdbs"])
    world.state.fork.node[0, DEST] = [name in given["destinations"] for name in names]
    order = [names.index(x) for x in given["eligible_in_order"]]
    world.state.slot[0, CANDIDATE, : len(order)] = order
    failures = kernels.find_unneeded(
        *world.placed, world.pods, world.state, 0, len(order), given["max_unneeded_candidates"], NOW_S
    )
    found = world.state.unneeded
    got = [
        {
            "needs_drain": bool(found.needs_drain[0, i]),
            "node": names[found.node[0, i]],
            "risky_pdb": bool(found.risky[0, i]),
        }
        for i in range(found.n[0])
    ]
    want = {k: case.expected[k] for k in ("not_removable_count", "unneeded_in_order")}
    return verdict(want, {"not_removable_count": int(failures), "unneeded_in_order": got})
