"""Set-points of node pools that a learned stack writes beside the services': which machines, and how eagerly to pack.

    requirements        the instance types whose money buys most room for this cluster's own mix and number of pods
    consolidate_after   by what each wait cost and saved on training clusters of this roughness, at this violation price
                        (data/nodes/consolidate_after.json)

Both are fields of a Karpenter NodePool (node.kubernetes.io/instance-type In ..., disruption.consolidateAfter), set when
the stack starts. Left alone, Karpenter takes the cheapest machine for the pods that wait just now, which is a small
one, of which system and DaemonSets use a larger part. In a small cluster, though, the last machine stands half empty,
and a small one is what it should be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from envs.cluster import ClusterSpec, InstanceType, NodePool, Workload
from envs.plain import Array
from envs.replay_run import takes
from envs.sim.pack_placement import node_groups
from envs.stack import Karpenter, Stack

DEARER = 1.15  # types up to so many times the cheapest room are kept, so that a stock-out leaves a choice
AT_LEAST = 3  # of four or more; two of three
REGRET_FILE = Path(__file__).parent / "data" / "nodes" / "consolidate_after.json"


def node_base(
    cluster: ClusterSpec, nodes: Karpenter, prices: Array, pods: Array, rough: Array
) -> tuple[ClusterSpec, Karpenter]:
    """The cluster with each pool's machine types as `types_for` chooses them, and Karpenter's settings.

    (W,) each: prices of a violation, how many pods of each workload there usually are, envs.recorded_past.roughness.
    """
    pools = tuple(replace(pool, instance_types=types_for(cluster, pool, pods)) for pool in cluster.node_pools)
    after_s = consolidate_after_s(cluster, prices, rough)
    return replace(cluster, node_pools=pools), replace(nodes, consolidate_after_s=after_s)


def sets_pools(stack: Stack) -> bool:
    """Whether node pools are set for this stack."""
    return stack.learned is not None and stack.learned.node_pools and isinstance(stack.nodes, Karpenter)


def consolidate_after_s(cluster: ClusterSpec, prices: Array, rough: Array) -> float:
    """Whole seconds of quiet before a node may go, at the means of log price and roughness, weighed by CPU requested.

    rough (W,): NaN where not known; where no service's is, the table's middle. Between the table's prices and groups
    logarithms of the wait are interpolated, beyond them the last holds.
    """
    weight = np.array([max(w.cpu_request * max(w.max_replicas, 1), 1e-9) for w in cluster.workloads])
    price = np.average(np.log(np.maximum(prices, 1e-9)), weights=weight)
    table_prices, groups, log_wait = _waits()
    by_group = np.array([np.interp(price, np.log(table_prices), row) for row in log_wait])
    known = mean_known(rough, weight)
    return float(np.rint(np.exp(by_group.mean() if known is None else np.interp(known, groups, by_group))))


def mean_known(rough: Array, weight: Array) -> float | None:
    """The weighted mean of what is known; None where nothing is."""
    known = np.isfinite(rough)
    return float(np.average(rough[known], weights=weight[known])) if known.any() else None


@lru_cache(maxsize=1)
def _waits() -> tuple[Array, Array, Array]:
    """(P,) prices, (G,) roughness of each group of training clusters, (G, P) log of the wait that is best there."""
    table = json.loads(REGRET_FILE.read_text(encoding="utf-8"))
    groups = table["groups"]
    log_wait = np.log([g["chosen_s"] for g in groups])
    return np.array(table["prices"]), np.array([g["roughness"] for g in groups]), log_wait


def types_for(cluster: ClusterSpec, pool: NodePool, pods: Array) -> tuple[str, ...]:
    """The pool's types that buy room for its pods at most DEARER times the least price, two or three at least.

    pods (W,): how many of each workload there usually are. Order is kept. Whatever pod had a machine in the pool still
    has one. A pool that no pod may use stays as it is.
    """
    machines = {t.name: t for t in cluster.instance_types}
    offered = [machines[name] for name in pool.instance_types]
    taking = {w.name: _taking(cluster, pool, w) for w in cluster.workloads}
    there = [(w, float(n)) for w, n in zip(cluster.workloads, pods, strict=True) if taking[w.name]]
    if not there:
        return pool.instance_types
    prices = {t.name: usd_per_core(t, pool, *zip(*there, strict=True)) for t in offered}
    ranked = sorted(offered, key=lambda t: (prices[t.name], t.name))
    least = min(AT_LEAST, max(len(ranked) - 1, 2))
    kept = {t.name for i, t in enumerate(ranked) if i < least or prices[t.name] <= DEARER * prices[ranked[0].name]}
    kept |= {t.name for t in ranked if _worth_being_last(t, [m for m in ranked if m.name in kept], prices, there)}
    for w, _ in there:
        if not taking[w.name] & kept:
            kept.add(next(t.name for t in ranked if t.name in taking[w.name]))
    return tuple(name for name in pool.instance_types if name in kept)


def usd_per_core(machine: InstanceType, pool: NodePool, pods: Sequence[Workload], count: Sequence[float]) -> float:
    """$ an hour for a core that `count` of each of these pods can really request; inf where they fit badly or not at
    all.

    Of what is allocatable, DaemonSets take their part and half a pod is lost to packing; memory counts as
    the cores that would ask for it in the pods' own proportion.
    """
    weight = np.maximum(count, 1e-3)
    cpu = float(np.average([w.cpu_request for w in pods], weights=weight))
    gib = float(np.average([w.memory_request_gib for w in pods], weights=weight))
    cores = machine.allocatable_cpu - pool.daemon_cpu - 0.5 * cpu
    memory = machine.allocatable_memory_gib - pool.daemon_memory_gib - 0.5 * gib
    room = min(cores, memory * cpu / gib if gib > 0 else cores)
    return machine.price_usd_per_h / room if room > 0 else float("inf")


def _worth_being_last(
    machine: InstanceType,
    kept: Sequence[InstanceType],
    prices: dict[str, float],
    pods: Sequence[tuple[Workload, float]],
) -> bool:
    """Whether a smaller machine saves more as the last one, which is half empty, than its room costs all the pods."""
    wanted = sum(w.cpu_request * n for w, n in pods)
    saved = 0.5 * (min(t.price_usd_per_h for t in kept) - machine.price_usd_per_h)
    return saved > wanted * (prices[machine.name] - min(prices[t.name] for t in kept))


def _taking(cluster: ClusterSpec, pool: NodePool, w: Workload) -> set[str]:
    """The pool's types that take a pod of this workload: room, taints, and the node labels that it asks for."""
    return {g.machine.name for g in node_groups(cluster) if g.spec.name == pool.name and takes(g, w)}
