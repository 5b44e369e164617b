"""What goes wrong in a scenario, and when: node crashes, zone losses, slow registries, broken telemetry and more.

A fault comes at a time or at a rate (`envs.fault_draws`). docs/design/spot-and-faults.md says what each one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal[
    "node-crash",
    "zone-loss",
    "pod-crash-loop",
    "slow-image-pulls",
    "api-slowness",
    "telemetry-gap",
    "telemetry-garbage",
    "telemetry-delay",
    "price-change",
    "flash-crowd",
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
# kube-controller-manager 1.36: --node-monitor-grace-period 50 s (40 s before 1.32), then pods are unready.
MONITOR_GRACE_S = 50.0
# Then the default toleration of node.kubernetes.io/unreachable: NoExecute, tolerationSeconds 300.
TOLERATION_S = 300.0
# A cloud that says "no such instance": the Node object goes within --node-monitor-period (5 s), its pods
# after PodGC's quarantine of 40 s and its next look (every 20 s).
CLOUD_NOTICE_S, POD_GC_S = 5.0, 60.0
INSTANCE_GONE_S = MONITOR_GRACE_S + CLOUD_NOTICE_S + POD_GC_S
AFTERMATH_S = 3600.0  # what a fault did is counted until so long after its end


@dataclass(frozen=True)
class Fault:
    """One entry of `faults`. Fields that its kind does not use keep their defaults."""

    kind: FaultKind
    name: str
    at_s: float | None = None  # since the scenario's start; None: at random
    per_day: float = 0.0  # random occurrences a day, when at_s is None
    duration_s: float = 0.0  # inf: to the end
    workloads: tuple[str, ...] = ()  # empty = all
    pool: str | None = None  # None = all
    zone: str | None = None
    nodes: int = 1  # node-crash at a time: how many
    per_node_hour: float = 0.0  # node-crash at a rate
    instance_gone: bool = True  # the cloud knows that the instance is gone
    share: float = 1.0  # of the workload's pods
    factor: float = 1.0
    delay_s: float = 0.0
    instance_types: tuple[str, ...] = ()  # empty = all
    capacity_type: str | None = None  # None = both

    @property
    def gone_after_s(self) -> float:
        """From the loss of a node until its object is gone and its pods are replaced."""
        return INSTANCE_GONE_S if self.instance_gone else MONITOR_GRACE_S + TOLERATION_S
