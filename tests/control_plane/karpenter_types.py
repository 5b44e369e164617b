"""The KWOK provider's instance types file: what may be launched, in which zones, at which price."""

from __future__ import annotations

from typing import Any

ZONE, CAPACITY_TYPE = "topology.kubernetes.io/zone", "karpenter.sh/capacity-type"
# The KWOK provider takes this off every type's resources (kwok/cloudprovider/helpers.go, v1.14.1).
OVERHEAD_CPU_MILLI, OVERHEAD_MEMORY_BYTES = 100, 10 * 2**20


def instance_type(
    name: str,
    *,
    cpu_milli: int,
    memory_bytes: int,
    pods: int,
    prices: dict[tuple[str, str], float],
    arch: str = "amd64",
    gpu: int = 0,
) -> dict[str, Any]:
    """One type by what pods may request of it. prices: (zone, capacity type) -> USD/h."""
    resources = {
        "cpu": f"{cpu_milli + OVERHEAD_CPU_MILLI}m",
        "memory": str(memory_bytes + OVERHEAD_MEMORY_BYTES),
        "ephemeral-storage": "100Gi",
        "pods": str(pods),
    }
    if gpu:
        resources["nvidia.com/gpu"] = str(gpu)
    return {
        "name": name,
        "architecture": arch,
        "operatingSystems": ["linux"],
        "resources": resources,
        "offerings": [_offering(zone, kind, price) for (zone, kind), price in prices.items()],
    }


def _offering(zone: str, capacity_type: str, price: float) -> dict[str, Any]:
    wanted = {CAPACITY_TYPE: capacity_type, ZONE: zone}
    needs = [{"key": key, "operator": "In", "values": [value]} for key, value in wanted.items()]
    return {"Price": price, "Available": True, "Requirements": needs}


def example_types() -> list[dict[str, Any]]:
    """Three sizes in one zone, for trying things out."""
    return [
        instance_type(
            f"m-{cpu}x-amd64-linux",
            cpu_milli=1000 * cpu - OVERHEAD_CPU_MILLI,
            memory_bytes=cpu * 4 * 2**30 - OVERHEAD_MEMORY_BYTES,
            pods=110,
            prices={("zone-a", "on-demand"): 0.05 * cpu, ("zone-a", "spot"): 0.02 * cpu},
        )
        for cpu in (4, 8, 16)
    ]
