"""Karpenter's objects of a scenario: NodePools, node classes, the first NodeClaims, and the types file."""

from __future__ import annotations

import math
from typing import Any

from envs.cluster import NodeBudget, NodePool
from envs.scenario import Scenario
from envs.sim.pack_placement import GIB, NodeGroup, node_groups, split_evenly
from envs.stack import Stack
from tests.control_plane.api import Api
from tests.control_plane.karpenter_types import CAPACITY_TYPE, ZONE, instance_type
from tests.control_plane.objects import NODEPOOL

KARPENTER = "v1.14.1"
TYPE = "node.kubernetes.io/instance-type"
CLASS = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass"}
Json = dict[str, Any]


def types_file(scenario: Scenario) -> list[Json]:
    """Every instance type of every pool, with its price per zone and capacity type."""
    prices: dict[str, dict[tuple[str, str], float]] = {}
    for group in node_groups(scenario.cluster):
        offered = prices.setdefault(group.machine.name, {})
        offered[group.zone, group.capacity_type] = group.price_usd_per_h
    return [
        instance_type(
            m.name,
            cpu_milli=round(m.allocatable_cpu * 1000),
            memory_bytes=round(m.allocatable_memory_gib * GIB),
            pods=m.max_pods,
            prices=prices[m.name],
            arch=m.arch,
            gpu=m.gpu,
        )
        for m in scenario.cluster.instance_types
    ]


def karpenter_env(stack: Stack) -> dict[str, str]:
    """Settings of the controller that a stack may set; whole milliseconds."""
    names = {"batch_idle_s": "BATCH_IDLE_DURATION", "batch_max_s": "BATCH_MAX_DURATION"}
    env = {key: _duration(getattr(stack.nodes, name)) for name, key in names.items() if hasattr(stack.nodes, name)}
    gate = "true" if getattr(stack.nodes, "spot_to_spot", False) else "false"
    return {**env, "FEATURE_GATES": f"SpotToSpotConsolidation={gate}"}


def create_pools(api: Api, scenario: Scenario, stack: Stack) -> None:
    """NodePools with their classes, and claims for the nodes that are there at the start."""
    groups = node_groups(scenario.cluster)
    for index, pool in enumerate(scenario.cluster.node_pools):
        name = object_name(pool)
        delay = f"{round(pool.boot_delay_s)}s"
        spec = {"nodeRegistrationDelay": delay}
        api.create("/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses", _object("KWOKNodeClass", name, spec))
        api.create("/apis/karpenter.sh/v1/nodepools", _object("NodePool", pool.name, node_pool(pool, stack)))
        counts = split_evenly(pool.initial_nodes, len(pool.zones))
        for group in groups:
            if group.pool == index and group.home:
                for i in range(counts[pool.zones.index(group.zone)]):
                    claim = first_claim(f"{name}-{group.zone}-{i}", group)
                    api.create("/apis/karpenter.sh/v1/nodeclaims", claim)


def node_pool(pool: NodePool, stack: Stack) -> Json:
    """spec of a NodePool; what the pool leaves open is the stack's, and then Karpenter's own default."""
    template = {
        "metadata": {"labels": dict(pool.labels)},
        "spec": {
            "requirements": [
                _in(TYPE, *pool.instance_types),
                _in(ZONE, *pool.zones),
                _in(CAPACITY_TYPE, *pool.capacity_types),
            ],
            "taints": _taints(pool),
            "nodeClassRef": {**CLASS, "name": object_name(pool)},
            "expireAfter": _duration(_first(pool.expire_after_s, stack, "expire_after_s", 30 * 86_400.0)),
        },
    }
    budgets = _first(pool.budgets, stack, "budgets", (NodeBudget(),))
    disruption = {
        "consolidationPolicy": _first(
            pool.consolidation_policy, stack, "consolidation_policy", "WhenEmptyOrUnderutilized"
        ),
        "consolidateAfter": _duration(_first(pool.consolidate_after_s, stack, "consolidate_after_s", 0.0)),
        "budgets": [_budget(b) for b in budgets],
    }
    spec: Json = {"template": template, "disruption": disruption, "limits": _limits(pool)}
    return {**spec, "weight": pool.weight} if pool.weight else spec


def first_claim(name: str, group: NodeGroup) -> Json:
    """A NodeClaim for one node of exactly this group, as if Karpenter had made it before."""
    pool = group.spec
    spec = {
        "requirements": [_in(TYPE, group.machine.name), _in(ZONE, group.zone), _in(CAPACITY_TYPE, group.capacity_type)],
        "taints": _taints(pool),
        "nodeClassRef": {**CLASS, "name": object_name(pool)},
        "resources": {"requests": {"pods": "1"}},
    }
    body = _object("NodeClaim", name, spec)
    labels = {NODEPOOL: pool.name, **dict(pool.labels)}
    return {**body, "metadata": {"name": name, "labels": labels}}


def object_name(pool: NodePool) -> str:
    """A pool's name as part of object names."""
    return pool.name.replace("/", "-").replace("_", "-").lower()


def _object(kind: str, name: str, spec: Json) -> Json:
    group = "karpenter.kwok.sh/v1alpha1" if kind == "KWOKNodeClass" else "karpenter.sh/v1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _in(key: str, *values: str) -> Json:
    return {"key": key, "operator": "In", "values": list(values)}


def _taints(pool: NodePool) -> list[Json]:
    return [{"key": t.key, "value": t.value, "effect": t.effect} for t in pool.taints]


def _limits(pool: NodePool) -> Json:
    limits: Json = {"nodes": str(pool.max_nodes)}
    if math.isfinite(pool.limit_cpu):
        limits["cpu"] = f"{round(pool.limit_cpu * 1000)}m"
    if math.isfinite(pool.limit_memory_gib):
        limits["memory"] = str(round(pool.limit_memory_gib * GIB))
    return limits


def _budget(budget: NodeBudget) -> Json:
    nodes = f"{round(budget.nodes * 100)}%" if budget.is_share else str(round(budget.nodes))
    out: Json = {"nodes": nodes}
    if budget.reasons:
        out["reasons"] = list(budget.reasons)
    if budget.schedule:
        out |= {"schedule": budget.schedule, "duration": _duration(budget.duration_s)}
    return out


def _first(own: Any, stack: Stack, name: str, default: Any) -> Any:
    return own if own is not None else getattr(stack.nodes, name, default)


def _duration(seconds: float) -> str:
    if math.isinf(seconds):
        return "Never"
    return f"{round(seconds)}s" if seconds == round(seconds) else f"{round(seconds * 1000)}ms"
