"""A stack: one named composition of a replica autoscaler, a node autoscaler and a scheduler profile.

The fields are those of the real objects (autoscaling/v2 HPA, Cluster Autoscaler flags,
KubeSchedulerConfiguration), so that a policy's decision, a user's manifest and a stack file all
say the same thing to the same kernels. Versions: HPA and scheduler 1.36.3, Cluster Autoscaler
as of 2026-08, Karpenter 1.14.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from envs.cluster import ConsolidationPolicy, NodeBudget

MetricType = Literal["Resource", "ContainerResource", "Pods", "Object", "External"]
TargetType = Literal["Utilization", "AverageValue", "Value"]


@dataclass(frozen=True)
class HpaMetric:
    """One entry of spec.metrics.

    target: percent for Utilization; cores, GiB or requests/s for the others.
    capacity_share: instead of `target`, for metric name "requests_per_second": the share (0-1) of
    one replica's capacity (slots / service time) that a replica should carry.
    """

    type: MetricType = "Resource"
    name: str = "cpu"  # cpu, memory, requests_per_second, queue_length, concurrency
    target_type: TargetType = "Utilization"
    target: float = 80.0
    capacity_share: float | None = None


@dataclass(frozen=True)
class ScalingPolicy:
    type: Literal["Pods", "Percent"]
    value: int
    period_s: int


@dataclass(frozen=True)
class ScalingRules:
    """One direction of spec.behavior. None fields take the API server's defaults."""

    stabilization_s: int | None = None
    select: Literal["Max", "Min", "Disabled"] = "Max"
    policies: tuple[ScalingPolicy, ...] | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class HpaBehavior:
    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


@dataclass(frozen=True)
class HpaSpec:
    """HorizontalPodAutoscaler v2. min/max None: the workload's own. behavior None: not set."""

    metrics: tuple[HpaMetric, ...] = (HpaMetric(),)
    min_replicas: int | None = None
    max_replicas: int | None = None
    behavior: HpaBehavior | None = None
    sync_period_s: float = 15.0
    downscale_stabilization_s: float = 300.0  # controller flag
    tolerance: float = 0.1  # controller flag
    cpu_initialization_s: float = 300.0
    initial_readiness_s: float = 30.0
    scale_to_zero: bool = False


@dataclass(frozen=True)
class StaticReplicas:
    """A fixed replica count: enough for the given quantile of the workload's load.

    quantile 1.0 is "static peak". headroom multiplies the count. Uses hindsight of the load:
    it is what a careful person would have provisioned had they known it.
    """

    quantile: float = 1.0
    utilization: float = 0.7  # share of capacity that a replica carries at that load
    headroom: float = 1.0


@dataclass(frozen=True)
class ClusterAutoscaler:
    """Flags of the Cluster Autoscaler with its defaults."""

    expander: Literal["least-waste", "random", "most-pods", "least-nodes", "priority", "price"] = "least-waste"
    priorities: tuple[tuple[int, tuple[str, ...]], ...] = ()  # expander priority: (value, regexes)
    scan_interval_s: float = 10.0
    new_pod_delay_s: float = 2.0
    scale_down_enabled: bool = True
    scale_down_utilization_threshold: float = 0.5
    scale_down_unneeded_s: float = 600.0
    scale_down_unready_s: float = 1200.0
    scale_down_delay_after_add_s: float = 600.0
    scale_down_delay_after_delete_s: float = 0.0
    scale_down_delay_after_failure_s: float = 180.0
    max_scale_down_parallelism: int = 10
    max_drain_parallelism: int = 1
    max_nodes_per_scaleup: int = 1000
    max_node_provision_s: float = 900.0
    initial_backoff_s: float = 300.0
    max_backoff_s: float = 1800.0
    max_nodes_total: int = 0  # 0 = none
    max_cores_total: float = float("inf")
    max_memory_total_gib: float = float("inf")
    balance_similar_node_groups: bool = False
    skip_nodes_with_system_pods: bool = True
    skip_nodes_with_local_storage: bool = True


@dataclass(frozen=True)
class Karpenter:
    """Karpenter 1.14, and what NodePools have that do not say otherwise.

    hazard_weight_h: the provider takes the spot offering with the least price x (1 + this x interruptions
    per node-hour); 730 h = an interruption a month counts as much as the price itself.
    """

    consolidation_policy: ConsolidationPolicy = "WhenEmptyOrUnderutilized"
    consolidate_after_s: float = 0.0  # inf = never
    budgets: tuple[NodeBudget, ...] = (NodeBudget(),)
    expire_after_s: float = 720 * 3600.0  # inf = never
    use_pool_settings: bool = True  # a pool's own disruption settings win over these
    spot_to_spot: bool = False  # feature gate SpotToSpotConsolidation
    hazard_weight_h: float = 730.0
    batch_idle_s: float = 1.0
    batch_max_s: float = 10.0
    poll_s: float = 10.0  # pause between two disruption loops
    validation_s: float = 15.0


@dataclass(frozen=True)
class StaticNodes:
    """No node autoscaler: every pool stays at `initial_nodes`."""


@dataclass(frozen=True)
class SchedulerProfile:
    """kube-scheduler profile: scoring strategy of NodeResourcesFit and plugin weights.

    fit_resources: (cpu, memory or gpu; weight). fit_shape: (utilization percent, score 0-10), for
    RequestedToCapacityRatio only.
    """

    fit_strategy: Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"] = "LeastAllocated"
    fit_weight: int = 1
    balanced_weight: int = 1
    spread_weight: int = 2
    taint_weight: int = 3
    affinity_weight: int = 2
    percentage_of_nodes_to_score: int = 0  # 0 = adaptive
    fit_resources: tuple[tuple[str, int], ...] = (("cpu", 1), ("memory", 1))
    fit_shape: tuple[tuple[int, int], ...] = ((0, 0), (100, 10))


@dataclass(frozen=True)
class Replay:
    """The HPA's target and scale-down window follow what each workload's measured past asks for.

    Every `every_s` the past is replayed under 75 set-points (docs/design/replay.md), averaged over `beliefs` about the
    capacity of a replica, and the best one is written. violation_price: of a bad share of 1 at an SLO of
    99.9 %, in multiples of ideal cost; None: the intent's. belief_scale: by how much the capacity is believed to
    be off, to see what a wrong calibration costs.
    """

    every_s: float = 3600.0
    backfill_s: float = 7 * 86_400.0
    beliefs: tuple[float, ...] = (0.85, 1.0, 1.15)
    belief_scale: float = 1.0
    violation_price: float | None = None
    prior_weight: float = 0.2
    half_life_s: float = 2 * 86_400.0
    halving: bool = True


@dataclass(frozen=True)
class Stack:
    """`replicas` scales workloads, `nodes` scales pools, `scheduler` binds pods."""

    name: str
    description: str = ""
    replicas: HpaSpec | StaticReplicas = field(default_factory=HpaSpec)
    nodes: ClusterAutoscaler | Karpenter | StaticNodes = field(default_factory=ClusterAutoscaler)
    scheduler: SchedulerProfile = field(default_factory=SchedulerProfile)
    use_workload_hpa: bool = True  # a workload's own HPA (from manifests) wins over `replicas`
    replay: Replay | None = None  # None: settings stay as they are
