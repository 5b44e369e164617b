"""Whether a pool's min_values are about labels that its instance types have, and whether these have enough values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envs.cluster import ClusterSpec, InstanceType, NodePool
from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.offerings import node_labels, offerings
from envs.type_labels import type_labels


def check_min_values(pool: NodePool, types: Mapping[str, InstanceType], where: str, file: Path | None) -> None:
    """Every label of min_values is one of the pool's nodes. Raises InputError."""
    machines = [types[name] for name in pool.instance_types if name in types]
    known = {key for m in machines for key in type_labels(m)}
    for machine in machines:
        known |= set(node_labels(pool, machine, pool.zones[0], pool.capacity_types[0]))
    for key, least in pool.min_values:
        if key not in known:
            raise InputError(file, f"{where}.{key}", least, did_you_mean(key, known, noun="label"))


def unmet_min_values(cluster: ClusterSpec) -> list[str]:
    """One line for each of min_values that all types of its pool together do not meet."""
    lines = []
    for pool in cluster.node_pools:
        for key, least in pool.min_values:
            sold = offerings(cluster, pool)
            values = {({**type_labels(m), **node_labels(pool, m, zone, kind)}).get(key) for m, kind, zone, _ in sold}
            if (found := len(values - {None})) < least:
                lines.append(
                    f"{pool.name}: min_values asks for {least} values of {key}, its types have {found}; Karpenter "
                    "launches nothing there unless its min_values_policy is BestEffort"
                )
    return lines
