"""Karpenter's provisioning: pods, pools and nodes -> the simulator's own solve -> the same claims?"""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

from envs.controllers.karpenter_layout import N_CLAIMS, UNPLACED
from tests.conformance import karpenter_kernels as kernels
from tests.conformance.cases import Case, Result, failed, left_out, passed, same
from tests.conformance.karpenter_world import HOSTNAME, KpWorld, build

DECLARED_ZONES = ("test-zone-1", "test-zone-2", "test-zone-3")  # by the types of the generated cases


def outside(c: Any) -> str:
    """Why a case is outside the model; "" when it is not."""
    if any(len(p["daemon_overhead"]) > 1 for p in c["pools"]):
        return "DaemonSets that run on some types of a pool only"
    if any(p.get("host_ports") for p in c["pods"]):
        return "host ports are not modelled"
    return ""


def claims(world: KpWorld, pods: Any) -> list[dict[str, Any]]:
    """New nodes of a solved world, in the terms of the vectors."""
    out, s = [], world.solve
    for c in range(int(s.at[0, N_CLAIMS])):
        left = [g for g in range(s.mask.shape[2]) if s.mask[0, c, g]]
        types = sorted(name.split("#")[0] for name in {world.group_name[g][1] for g in left})
        mine = sorted(p["name"] for w, p in enumerate(pods) if s.where[0, w] == -2 - c)
        cheapest = min(world.groups.price[0, g] for g in left)
        pool = world.group_name[left[0]][0]
        out.append({"pool": pool, "pods": mine, "types": types, "cheapest_usd_per_h": float(cheapest)})
    return out


def provisioning_case(case: Case) -> Result:
    c = case.input
    if reason := outside(c):
        return left_out(reason)
    zones = DECLARED_ZONES if "oracle" in case.source else ()
    spread = any(t["topology_key"] != HOSTNAME for p in c["pods"] for t in p.get("topology_spread") or ())
    results = []
    for order in permutations(range(3)) if spread else [()]:
        results.append(solved(case, build(c, zones=zones, order=order)))
        if results[-1].status == "passed":
            return results[-1]
    return results[0]


def solved(case: Case, world: KpWorld) -> Result:
    """The kernel's answer for one order of domains against the recorded one."""
    pods, s = case.input["pods"], world.solve
    s.where[0] = UNPLACED
    kernels.solve(world.config, world.classes, world.topology, world.groups, world.nodes, s, 0, s.claim.shape[1])
    where = {p["name"]: int(s.where[0, w]) for w, p in enumerate(pods)}
    existing = {p: case.input["existing_nodes"][n]["name"] for p, n in where.items() if n >= 0}
    unplaced = sorted(p for p, n in where.items() if n == UNPLACED)
    alike = {p["name"]: json.dumps({k: v for k, v in p.items() if k != "name"}, sort_keys=True) for p in pods}
    return compare(case.expected, claims(world, pods), existing, unplaced, alike)


def compare(
    want: Any, new: list[dict[str, Any]], existing: dict[str, str], unplaced: list[str], alike: dict[str, str]
) -> Result:
    """New nodes as a set: pool, pods, number of types, their names (where listed), the cheapest price.

    alike: what a pod asks for. Pods that ask for the same are as good as one another.
    """
    flat: dict[str, str] = {}
    for node, names in want["existing_assignments"].items():
        flat |= dict.fromkeys(names, node) if isinstance(names, list) else {node: names}
    if sorted(alike[p] for p in want["unschedulable"]) != sorted(alike[p] for p in unplaced):
        return failed(f"unschedulable: expected {sorted(want['unschedulable'])}, got {unplaced}")
    if sorted((alike[p], n) for p, n in flat.items()) != sorted((alike[p], n) for p, n in existing.items()):
        return failed(f"on existing nodes: expected {flat}, got {existing}")
    expected = [node_key(n, len(n.get("instance_types") or ()), n["instance_type_count"]) for n in want["new_nodes"]]
    got = [node_key({**n, "instance_types": n["types"]}, len(n["types"]), len(n["types"])) for n in new]
    if len(expected) != len(got):
        return failed(f"expected {len(expected)} new nodes, got {len(got)}")
    for n in (*expected, *got):
        n[0] = tuple(sorted(alike[p] for p in n[0]))
    for one, other in zip(sorted(expected), sorted(got), strict=True):
        listed = bool(one[3])
        if one[:3] != other[:3] or (listed and one[3] != other[3]) or not same(one[4], other[4]):
            return failed(f"new node: expected {one}, got {other}"[:600])
    return passed()


def node_key(node: Any, listed: int, count: int) -> list[Any]:
    types = tuple(sorted(node.get("instance_types") or ())) if listed == count else ()
    return [node["pods"], node["pool"], count, types, node["cheapest_usd_per_h"]]
