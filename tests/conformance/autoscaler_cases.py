"""Adapters for the Cluster Autoscaler's topics (topic -> Case -> Result)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.controllers import ca_eligibility, ca_limits
from envs.controllers.ca_deletion import UNREMOVABLE_NAMES, empty_cropped, empty_unneeded
from envs.controllers.ca_eligibility import INELIGIBLE_NAMES, DrainFlags
from envs.controllers.ca_expanders import (
    LEAST_NODES,
    LEAST_WASTE,
    MOST_PODS,
    PRICE,
    PRIORITY,
    priority_tiers,
)
from envs.controllers.ca_layout import (
    CANDIDATE,
    CAPPED,
    DELETING,
    DEST,
    GROUP_PLANES,
    L_CLASS,
    MEMBER,
    N_PENDING,
    NEW_SIZE,
    P_COUNT,
    P_LIST,
    PLACED,
    REGISTERED,
    SCHEDULABLE,
    SIZE,
    VERDICT,
    empty_options,
)
from envs.controllers.ca_limits import UNLIMITED, Quotas, templates_similar
from envs.controllers.ca_state import labels_match, pack_autoscaler
from envs.sim.state import CPU, GPU, MEM, Groups
from envs.stack import ClusterAutoscaler
from tests.conformance import autoscaler_kernels as kernels
from tests.conformance.autoscaler_world import (
    GPU_NAME,
    NOW_S,
    CaWorld,
    is_daemon,
    is_mirror,
    pack,
)
from tests.conformance.cases import Adapter, Case, Result, verdict

STRICT = DrainFlags(custom_controller_pods=True)


def empty_groups(n: int, resources: int = 4) -> Groups:
    """n groups that have nothing and cost nothing."""
    amounts, money, none = np.zeros((1, n, resources), np.int64), np.zeros((1, n)), np.zeros((1, n), np.int32)
    return Groups(
        amounts,
        amounts.copy(),
        amounts.copy(),
        money,
        none,
        none,
        none.copy(),
        none.copy(),
        money.copy(),
        money.copy(),
        none.copy(),
    )


# --- expanders ---


def expander_case(kind: int) -> Adapter:
    def adapter(case: Case) -> Result:
        given = case.input["options"]
        groups, options = empty_groups(max(1, len(given))), empty_options(1, max(1, len(given)))
        options.n[0] = len(given)
        for o, option in enumerate(given):
            write_option(groups, options, o, option)
        if kind == PRIORITY:
            rules = {int(k): v for k, v in (case.input.get("priorities") or {}).items()}
            valid = case.input["config_valid"]
            groups.priority_tier[0] = priority_tiers([o["group"] for o in given], rules if valid else {})
        usd = case.input.get("stabilization_pod_usd_per_h", 0.0)
        kernels.keep_best(kind, groups, options, 0, float(usd))
        best = np.flatnonzero(options.best[0, : len(given)]).tolist()
        if case.expected["best_groups"]:
            got = [given[i]["group"] for i in best]
            return verdict(case.expected["best_groups"], got)
        return verdict(len(case.expected["best_indices"]), len(best))

    return adapter


def write_option(groups: Groups, options: Any, o: int, option: Mapping[str, Any]) -> None:
    pods = option.get("pods") or []
    capacity = option.get("node", {}).get("capacity", {})
    groups.cap[0, o, CPU], groups.cap[0, o, MEM] = (
        capacity.get("cpu_milli", 0),
        capacity.get("memory_bytes", 0),
    )
    groups.cap[0, o, GPU] = 1 if option.get("has_gpu") else 0
    price, worth = option.get("node_usd_per_h"), option.get("pods_usd_per_h")
    groups.price[0, o] = np.nan if price is None else price
    options.group[0, o], options.n_nodes[0, o] = o, option["node_count"]
    options.n_pods[0, o] = option.get("pod_count", len(pods))
    options.cpu_milli[0, o] = sum(p["requests"].get("cpu_milli", 0) for p in pods)
    options.mem_bytes[0, o] = sum(p["requests"].get("memory_bytes", 0) for p in pods)
    options.pods_usd[0, o] = np.nan if worth is None else worth
    options.unfitness[0, o] = option.get("unfitness", 1.0)
    options.exists[0, o] = option.get("group_exists", True)


# --- limits ---


def quotas_of(
    items: Sequence[Mapping[str, int]], per_node: Sequence[Mapping[str, int]]
) -> tuple[Any, list[str]]:
    """Quotas over all groups with what is left given; (quotas, resource names by index)."""
    names = ["cpu", "memory", "nodes", "gpu"]
    names += sorted({n for x in (*items, *per_node) for n in x} - set(names))
    limit = np.full((1, max(1, len(items)), len(names)), UNLIMITED, np.int64)
    amounts = np.zeros((1, len(per_node), len(names)), np.int64)
    for q, left in enumerate(items):
        for name, amount in left.items():
            limit[0, q, names.index(name)] = amount
    for g, each in enumerate(per_node):
        for name, amount in each.items():
            amounts[0, g, names.index(name)] = amount
    covers = np.ones((1, limit.shape[1], len(per_node)), np.bool_)
    return Quotas(limit=limit, covers=covers, per_node=amounts, left=limit.copy()), names


def limits_case(case: Case) -> Result:
    given, n = case.input["quotas_left"], case.input["nodes"]
    quotas, names = quotas_of([q["left"] for q in given], [case.input["per_node"]])
    exceeded = []
    for q, quota in enumerate(given):
        over = [r for i, r in enumerate(names) if kernels.allowed_by(quotas, 0, q, 0, i, n) < n]
        if over:
            exceeded.append({"id": quota["id"], "resources": sorted(over)})
    got = {"allowed_nodes": int(kernels.quota_allows(quotas, 0, 0, n)), "exceeded": exceeded}
    want = dict(case.expected)
    want["exceeded"] = [{"id": e["id"], "resources": sorted(e["resources"])} for e in want["exceeded"]]
    return verdict(want, got)


def balancing_case(case: Case) -> Result:
    given = case.input["groups"]
    if not given:
        return verdict(case.expected["error"], True)
    group = np.zeros((1, GROUP_PLANES, len(given)), np.int64)
    group[0, SIZE] = [g["target_size"] for g in given]
    group[0, MEMBER] = np.arange(len(given))
    top = np.array([[g["max_size"] for g in given]], np.int32)
    kernels.balance(group, MEMBER, SIZE, NEW_SIZE, top, 0, len(given), case.input["new_nodes"])
    new, old = group[0, NEW_SIZE], group[0, SIZE]
    got = {g["id"]: int(new[i]) for i, g in enumerate(given) if new[i] != old[i]}
    if got == case.expected["new_sizes"]:
        return verdict(case.expected["error"], False)
    return verdict(case.expected["new_sizes_sorted"], sorted(got.values()))


def similar_case(case: Case) -> Result:
    pair = case.input["a"], case.input["b"]
    names = ["cpu_milli", "memory_bytes", "pods", GPU_NAME]
    names += sorted({r for n in pair for r in n["capacity"]} - set(names))
    cap = np.array([[[n["capacity"].get(r, -1) for r in names] for n in pair]], np.int64)
    alloc = np.array([[[n["allocatable"].get(r, 0) for r in names] for n in pair]], np.int64)
    used = np.array([[[n["requested"].get(r, 0) for r in names] for n in pair]], np.int64)
    keys = (
        "max_capacity_memory_difference_ratio",
        "max_allocatable_difference_ratio",
        "max_free_difference_ratio",
    )
    ratios = np.array([float(case.input[k]) for k in keys])
    alike = labels_match(
        pair[0].get("labels") or {}, pair[1].get("labels") or {}, set(case.input["ignored_labels"])
    )
    similar = bool(templates_similar(cap, alloc, used, 0, 0, 1, ratios)) and alike
    return verdict(case.expected["similar"], similar)


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
        disabled = (node.get("annotations") or {}).get(
            "cluster-autoscaler.kubernetes.io/scale-down-disabled"
        ) == "true"
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


def bound_pods(nodes: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[tuple[int, int]]]:
    specs: list[Any] = []
    bound = []
    for n, node in enumerate(nodes):
        for pod in node.get("pods") or ():
            bound.append((len(specs), n))
            specs.append(pod)
    return specs, bound


def names_of(world: CaWorld, specs: Sequence[Any], count: int) -> list[str]:
    return [specs[w]["name"] for w in world.state.leaving[0, L_CLASS, :count]]


EMPTY_NODE = {"allocatable": {"cpu_milli": 1, "memory_bytes": 1, "pods": 1}}


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
    offered = [
        {"group": names[options.group[0, o]], "nodes": int(options.n_nodes[0, o])}
        for o in range(options.n[0])
    ]
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


ADAPTERS: dict[str, Adapter] = {
    "ca_balancing": balancing_case,
    "ca_binpacking": binpacking_case,
    "ca_drain_rules": drain_case,
    "ca_expander_least_nodes": expander_case(LEAST_NODES),
    "ca_expander_least_waste": expander_case(LEAST_WASTE),
    "ca_expander_most_pods": expander_case(MOST_PODS),
    "ca_expander_price": expander_case(PRICE),
    "ca_expander_priority": expander_case(PRIORITY),
    "ca_node_removal": removal_case,
    "ca_pdb_tracker": pdb_case,
    "ca_pod_order": pod_order_case,
    "ca_resource_limits": limits_case,
    "ca_scaledown_budgets": budgets_case,
    "ca_scaledown_eligibility": eligibility_case,
    "ca_scaledown_simulation": simulation_case,
    "ca_scaleup_decision": decision_case,
    "ca_similar_groups": similar_case,
    "ca_unneeded_removable": unneeded_case,
    "ca_utilization": utilization_case,
}
