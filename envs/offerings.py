"""What a node pool can ask the provider for: its types, capacity types and zones, with prices and labels."""

from __future__ import annotations

from collections.abc import Iterator

from envs.cluster import ZONE_KEY, CapacityType, ClusterSpec, InstanceType, NodePool


def offerings(cluster: ClusterSpec, pool: NodePool) -> Iterator[tuple[InstanceType, CapacityType, str, float]]:
    """Each (type, capacity type, zone, USD/h) of a pool, in declaration order; types without a price left out."""
    machines = {t.name: t for t in cluster.instance_types}
    for name in pool.instance_types:
        for capacity in pool.capacity_types:
            price = machines[name].price_of(capacity)
            if price is not None:
                for zone in pool.zones:
                    yield machines[name], capacity, zone, price


def group_name(pool: NodePool, machine: str, zone: str, capacity: CapacityType) -> str:
    """pool/type/zone, and /spot where it is spot."""
    return f"{pool.name}/{machine}/{zone}" + ("" if capacity == "on-demand" else f"/{capacity}")


def node_labels(pool: NodePool, machine: InstanceType, zone: str, capacity: CapacityType) -> dict[str, str]:
    """The labels of a node; those of the pool win."""
    return {
        ZONE_KEY: zone,
        "node.kubernetes.io/instance-type": machine.name,
        "kubernetes.io/arch": machine.arch,
        "karpenter.sh/capacity-type": capacity,
        "karpenter.sh/nodepool": pool.name,
        **dict(pool.labels),
    }
