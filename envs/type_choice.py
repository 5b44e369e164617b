"""Which few of many instance types stand for a NodePool whose requirements leave it open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envs.cluster import InstanceType
from envs.type_labels import AWS, type_labels

MAX_TYPES = 12  # of a pool whose requirements are open: more groups cost time and change little
MOST_TYPES = 60  # likewise where minValues ask for variety: what Karpenter's provider gets of a launch
_CURRENT_GENERATION = "3"  # Karpenter's own starting point leaves older machines out: generation > 2


def few_types(machines: Sequence[InstanceType], min_values: Mapping[str, int]) -> list[InstanceType]:
    """At most MAX_TYPES everyday machines: for each size the cheapest, then the next cheapest.

    min_values: more of them, as long as these leave a pod of any size less variety than all machines would.
    """
    plain = [m for m in machines if not m.gpu and m.vcpu >= 2 and m.price_usd_per_h > 0] or machines
    sensible = [m for m in plain if type_labels(m).get(f"{AWS}generation", "9") >= _CURRENT_GENERATION] or plain
    by_size: dict[float, list[InstanceType]] = {}
    for m in sorted(sensible, key=_price_per_core):
        if m.vcpu <= 64:
            by_size.setdefault(m.vcpu, []).append(m)
    if not by_size:
        return _by_size(_with_variety(list(machines[:MAX_TYPES]), machines, min_values))
    picked: list[InstanceType] = []
    for rank in range(MAX_TYPES):
        for size in sorted(by_size):
            if rank < len(by_size[size]) and len(picked) < MAX_TYPES:
                picked.append(by_size[size][rank])
    everyday = [m for size in by_size.values() for m in size]
    return _by_size(_with_variety(_with_variety(picked, everyday, min_values), machines, min_values))


def _price_per_core(machine: InstanceType) -> tuple[float, str]:
    return (machine.price_usd_per_h / machine.vcpu, machine.name)


def _by_size(machines: Sequence[InstanceType]) -> list[InstanceType]:
    return sorted(machines, key=lambda m: (m.vcpu, m.name))


def _with_variety(
    picked: list[InstanceType], machines: Sequence[InstanceType], min_values: Mapping[str, int]
) -> list[InstanceType]:
    """`picked`, and from the largest size down the cheapest machines with values that are still missing there."""
    out = list(picked)
    for size in sorted({m.vcpu for m in picked}, reverse=True):
        for key, least in min_values.items():
            seen = {type_labels(m).get(key) for m in out if m.vcpu >= size} - {None}
            for m in sorted((m for m in machines if m.vcpu >= size), key=lambda m: (m.price_usd_per_h, m.name)):
                value = type_labels(m).get(key)
                if len(seen) < least and len(out) < MOST_TYPES and value is not None and value not in seen:
                    seen.add(value)
                    out.append(m)
    return out
