"""Spot share: how many of a cluster's nodes may be bought on the spot market, in fields that there are.

No node autoscaler has a field for it. Both know a pool for each capacity type and a ceiling on it: the `limits` of a
Karpenter NodePool, which is filled first where its weight is the greater, and the largest size of a spot group under
the Cluster Autoscaler, whose expander chooses. What the ceiling keeps out is bought on demand. A lower ceiling takes
no node away: those over it stay until they are consolidated, taken back or no longer needed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.cluster import ClusterSpec, NodePool
from envs.snapshot import PoolSignals

FIRST = 10  # weight of the spot pool over that of its sister


def parted(cluster: ClusterSpec) -> ClusterSpec:
    """Each pool that may buy both becomes two: NAME on demand, with its first nodes and its floor, and NAME-spot."""
    return replace(cluster, node_pools=tuple(part for pool in cluster.node_pools for part in _parts(pool)))


def _parts(pool: NodePool) -> tuple[NodePool, ...]:
    if set(pool.capacity_types) != {"on-demand", "spot"}:
        return (pool,)
    spot = replace(
        pool, name=f"{pool.name}-spot", capacity_types=("spot",), weight=pool.weight + FIRST, min_nodes=0,
        initial_nodes=0,
    )  # fmt: skip
    return replace(pool, capacity_types=("on-demand",)), spot


def is_spot(pool: NodePool) -> bool:
    """Whether a pool buys on the spot market only."""
    return pool.capacity_types == ("spot",)


def spot_nodes(cluster: ClusterSpec, now: PoolSignals) -> tuple[float, float]:
    """(nodes of spot pools, all nodes), ready or booting."""
    nodes = np.nan_to_num(now.nodes_ready.value + now.nodes_booting.value)
    return float(nodes[[is_spot(p) for p in cluster.node_pools]].sum()), float(nodes.sum())


def spot_ceilings(cluster: ClusterSpec, now: PoolSignals, share: float) -> list[float]:
    """Most nodes of each pool, NaN = as it is: a spot pool holds `share` of the nodes that there are; 1 is no ceiling.

    What more is needed goes on demand until the share allows one more.
    """
    _, nodes = spot_nodes(cluster, now)
    most = [float(p.max_nodes) if share >= 1.0 else min(round(share * nodes), p.max_nodes) for p in cluster.node_pools]
    return [m if is_spot(p) else float("nan") for m, p in zip(most, cluster.node_pools, strict=True)]
