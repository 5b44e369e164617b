"""What a node of a given size leaves for pods, by each managed service's published reservation rules.

Used where a price list does not say it. Memory in MiB inside the rules, as the services state them.

EKS: docs of the EKS-optimised AMI (kube-reserved, hard eviction 100 MiB) and Karpenter's default
`vm-memory-overhead-percent` of 7.5 % for what the hypervisor keeps, after 64 MiB that the kernel of
arm64 nodes sets aside. Reproduces all 1,094 listed values of the shipped book (docs/design/prices.md).
GKE: "Plan GKE Standard node sizes". AKS: "Node resource reservations" (Kubernetes 1.29 and later).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Rule = Literal["eks", "gke", "aks"]
RULE_OF_PROVIDER: dict[str, Rule] = {"aws": "eks", "gcp": "gke", "azure": "aks"}
EVICTION_MIB = 100
EKS_VM_OVERHEAD = 0.075
EKS_ARM64_MIB = 64
GKE_SHARED_CORE_MILLI = 1060
_AKS_MILLI = ((1, 60), (2, 100), (4, 140), (8, 180), (16, 260), (32, 420), (64, 740))
_GKE_MEMORY = ((4, 0.25), (8, 0.20), (16, 0.10), (128, 0.06), (float("inf"), 0.02))  # GiB up to, share


@dataclass(frozen=True)
class Allocatable:
    """What pods may request on one node."""

    cpu: float  # cores
    memory_gib: float
    max_pods: int
    rule: str  # where it comes from: "listed", "given", "eks", "gke" or "aks"


def allocatable(
    rule: Rule,
    *,
    vcpu: float,
    memory_gib: float,
    max_pods: int | None = None,
    name: str = "",
    arch: str = "amd64",
) -> Allocatable:
    """Allocatable by `rule` for a node of `vcpu` cores and `memory_gib`.

    `max_pods` None takes the service's default. `name` matters on GKE (shared-core e2 types), `arch` on EKS.
    """
    pods = default_max_pods(rule, vcpu) if max_pods is None else max_pods
    memory_mib = memory_gib * 1024
    if rule == "eks":
        milli, left_mib = _tiered_milli(vcpu), _eks_memory(memory_mib, pods, arch)
    elif rule == "gke":
        milli, left_mib = _gke_milli(vcpu, name), _gke_memory(memory_mib)
    else:
        milli, left_mib = _aks_milli(vcpu), _aks_memory(memory_mib, pods)
    return Allocatable(max(0.0, vcpu - milli / 1000), max(0.0, left_mib) / 1024, pods, rule)


def default_max_pods(rule: Rule, vcpu: float) -> int:
    """EKS: 110 up to 30 vCPU, else 250 (managed node groups). GKE and AKS with kubenet: 110."""
    return 250 if rule == "eks" and vcpu > 30 else 110


def _tiered_milli(vcpu: float) -> float:
    """6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest."""
    tiers = ((1, 60.0), (1, 10.0), (2, 5.0), (float("inf"), 2.5))
    reserved, left = 0.0, vcpu
    for width, milli_per_core in tiers:
        reserved += min(left, width) * milli_per_core
        left = max(0.0, left - width)
    return reserved


def _eks_memory(memory_mib: float, pods: int, arch: str) -> float:
    memory_mib -= EKS_ARM64_MIB if arch == "arm64" else 0
    return memory_mib * (1 - EKS_VM_OVERHEAD) - (255 + 11 * pods) - EVICTION_MIB


def _gke_milli(vcpu: float, name: str) -> float:
    return GKE_SHARED_CORE_MILLI if name in ("e2-micro", "e2-small", "e2-medium") else _tiered_milli(vcpu)


def _gke_memory(memory_mib: float) -> float:
    if memory_mib < 1024:
        return memory_mib - 255 - EVICTION_MIB
    reserved, below = 0.0, 0.0
    for up_to_gib, share in _GKE_MEMORY:
        reserved += max(0.0, min(memory_mib, up_to_gib * 1024) - below * 1024) * share
        below = up_to_gib
    return memory_mib - reserved - EVICTION_MIB


def _aks_milli(vcpu: float) -> float:
    """The published table, straight lines between its points, 10 millicores a core beyond 64."""
    if vcpu <= 1:
        return 60.0 * vcpu
    for (low, low_milli), (high, high_milli) in pairwise(_AKS_MILLI):
        if vcpu <= high:
            return low_milli + (vcpu - low) * (high_milli - low_milli) / (high - low)
    return 740 + (vcpu - 64) * 10


def _aks_memory(memory_mib: float, pods: int) -> float:
    return memory_mib - min(20 * pods + 50, memory_mib * 0.25) - EVICTION_MIB
