"""Adapters for what the Cluster Autoscaler chooses: expanders, quotas, balancing, similar groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.controllers.ca_expanders import (
    PRIORITY,
    priority_tiers,
)
from envs.controllers.ca_layout import (
    GROUP_PLANES,
    MEMBER,
    NEW_SIZE,
    SIZE,
    empty_options,
)
from envs.controllers.ca_limits import UNLIMITED, Quotas, templates_similar
from envs.controllers.ca_state import labels_match
from envs.sim.state import CPU, GPU, MEM, Groups
from tests.conformance import autoscaler_kernels as kernels
from tests.conformance.autoscaler_world import (
    GPU_NAME,
)
from tests.conformance.cases import Adapter, Case, Result, verdict


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


def quotas_of(items: Sequence[Mapping[str, int]], per_node: Sequence[Mapping[str, int]]) -> tuple[Any, list[str]]:
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
    alike = labels_match(pair[0].get("labels") or {}, pair[1].get("labels") or {}, set(case.input["ignored_labels"]))
    similar = bool(templates_similar(cap, alloc, used, 0, 0, 1, ratios)) and alike
    return verdict(case.expected["similar"], similar)
