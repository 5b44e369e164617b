"""The well-known labels that follow from an instance type alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from envs.cluster import InstanceType

TYPE_KEY = "node.kubernetes.io/instance-type"
AWS = "karpenter.k8s.aws/instance-"
_AWS_NAME = re.compile(r"([a-z]+)([0-9]*)([a-z0-9-]*)\.([a-z0-9-]+)")


@lru_cache(maxsize=8192)
def type_labels(machine: InstanceType) -> Mapping[str, str]:
    """The well-known labels that follow from an instance type (AWS names are taken apart)."""
    labels = {
        TYPE_KEY: machine.name,
        "kubernetes.io/arch": machine.arch,
        "kubernetes.io/os": "linux",
        f"{AWS}cpu": str(round(machine.vcpu)),
        f"{AWS}memory": str(round(machine.memory_gib * 1024)),
    }
    if machine.gpu:
        labels[f"{AWS}gpu-count"] = str(machine.gpu)
    if match := _AWS_NAME.fullmatch(machine.name):
        category, generation, rest, size = match.groups()
        labels |= {f"{AWS}category": category, f"{AWS}generation": generation or "1", f"{AWS}size": size}
        labels[f"{AWS}family"] = category + generation + rest
        labels[f"{AWS}hypervisor"] = "nitro"
    return labels
