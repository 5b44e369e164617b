"""A stack: one named composition of a replica autoscaler, a node autoscaler and a scheduler profile.

The fields are those of the real objects (autoscaling/v2 HPA, Cluster Autoscaler flags,
KubeSchedulerConfiguration), so that a policy's decision, a user's manifest and a stack file all
say the same thing to the same kernels. Versions: HPA and scheduler 1.36.3, Cluster Autoscaler
as of 2026-08, Karpenter 1.14.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from envs.cluster import ConsolidationPolicy, MinValuesPolicy, NodeBudget, Workload

MetricType = Literal["Resource", "ContainerResource", "Pods", "Object", "External"]
TargetType = Literal["Utilization", "AverageValue", "Value"]


@dataclass(frozen=True)
class HpaMetric:
    """One entry of spec.metrics.

    target: percent for Utilization; cores, GiB or requests/s for the others.
    capacity_share: instead of `target`, for metric name "requests_per_second": the share (0-1) of
    one replica's capacity (slots / service time) that a replica should carry; for "queue_length" the
    seconds of one replica's work that may wait for it.
    """

    type: MetricType = "Resource"
    name: str = "cpu"  # cpu, memory, requests_per_second, queue_length, concurrency; schedule: KEDA's cron
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


TriggerType = Literal["requests_per_second", "queue_length", "concurrency", "cpu", "memory", "cron"]
FallbackBehavior = Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]


@dataclass(frozen=True)
class KedaTrigger:
    """One trigger of a ScaledObject: when it is active, and what it asks the HPA for.

    threshold: percent for cpu and memory Utilization, else cores, GiB, requests/s or items; in its place
    capacity_share (share of one replica's capacity) for requests_per_second, or drain_s (seconds that one
    replica would need for its share of the queue) for queue_length. Active: value > activation;
    cpu and memory never are. cron: desired_replicas between start and end, active meanwhile.
    """

    type: TriggerType = "requests_per_second"
    threshold: float | None = None
    target_type: TargetType = "AverageValue"
    capacity_share: float | None = None
    drain_s: float | None = None
    activation: float = 0.0
    timezone: str = "UTC"
    start: str | None = None  # cron expressions
    end: str | None = None
    desired_replicas: int | None = None

    @property
    def metric(self) -> HpaMetric:
        """The entry of the HPA that KEDA writes."""
        if self.type == "cron":
            return HpaMetric("External", "schedule", "AverageValue", 1.0)
        kind: MetricType = "Resource" if self.type in ("cpu", "memory") else "External"
        share = self.capacity_share if self.drain_s is None else self.drain_s
        return HpaMetric(kind, self.type, self.target_type, 80.0 if self.threshold is None else self.threshold, share)


@dataclass(frozen=True)
class KedaFallback:
    """What the HPA is told once a trigger has failed more often in a row than failure_threshold."""

    replicas: int = 1
    failure_threshold: int = 3
    behavior: FallbackBehavior = "static"


@dataclass(frozen=True)
class KedaSpec:
    """ScaledObject of KEDA 2.20 with its defaults. min/max None: the workload's own.

    KEDA takes the workload from 0 to 1 and back; between 1 and the most, the HPA that it writes does.
    """

    triggers: tuple[KedaTrigger, ...] = (KedaTrigger(capacity_share=0.7),)
    polling_interval_s: float = 30.0
    cooldown_s: float = 300.0
    initial_cooldown_s: float = 0.0
    min_replicas: int | None = None
    max_replicas: int | None = None
    idle_replicas: int | None = None  # None = not set; KEDA supports 0 only
    fallback: KedaFallback | None = None
    behavior: HpaBehavior | None = None

    @property
    def hpa(self) -> HpaSpec:
        """The HPA that KEDA writes; its least minimum is 1."""
        low = self.min_replicas if self.min_replicas is None else max(self.min_replicas, 1)
        metrics = tuple(trigger.metric for trigger in self.triggers)
        return HpaSpec(metrics, min_replicas=low, max_replicas=self.max_replicas, behavior=self.behavior)


@dataclass(frozen=True)
class ForecastSpec:
    """Predictive scaling: a forecast of the load sets the HPA's minReplicas, the HPA reacts to the rest.

    The floor carries the `quantile` of what the load may be within lead_s, at `utilization` of a replica's
    capacity. lead_s None: the workload's start delay + its slowest pool's boot delay. See
    envs.controllers.forecast.
    """

    quantile: float = 0.9
    utilization: float = 0.7
    lead_s: float | None = None
    period_s: float = 60.0
    hpa: HpaSpec = field(default_factory=HpaSpec)


@dataclass(frozen=True)
class ScheduleWindow:
    """Between start and end (cron expressions) the floor is min_replicas, or, where load_quantile is given,
    what carries that quantile of the load in the window's own hours (hindsight, as StaticReplicas)."""

    start: str = "0 8 * * 1-5"
    end: str = "0 20 * * 1-5"
    timezone: str = "UTC"
    min_replicas: int | None = None
    load_quantile: float | None = None


@dataclass(frozen=True)
class ScheduleSpec:
    """Scheduled scaling: cron jobs that raise and lower an HPA's minReplicas. Open windows: the largest floor."""

    windows: tuple[ScheduleWindow, ...] = (ScheduleWindow(load_quantile=0.5),)
    utilization: float = 0.7  # share of capacity that a replica carries at the quantile
    hpa: HpaSpec = field(default_factory=HpaSpec)


ReplicaScaler = HpaSpec | StaticReplicas | KedaSpec | ForecastSpec | ScheduleSpec


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
    min_values_policy: MinValuesPolicy = "Strict"  # BestEffort: launch what there is
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


SpotNotice = Literal["drain", "rebalance", "ignore"]


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
class Learned:
    """A bundle's network moves each service's HPA target and scale-down window every `period_s`.

    replay: every `every_s` the workload's own past picks the variant of the network (docs/design/learned.md); what
    was measured up to backfill_s before the start is replayed first. violation_price: as in Replay. burn: each
    workload's price follows the burn of its error budget, until the SLO is just met (policies.burn). node_pools:
    instance types and consolidateAfter of Karpenter's NodePools are set too (envs.node_set_points).
    """

    bundle: str = "pretrained"
    period_s: float = 60.0
    violation_price: float | None = None
    replay: bool = True
    burn: bool = True
    every_s: float = 3600.0
    backfill_s: float = 3 * 86_400.0
    beliefs: tuple[float, ...] = (0.85, 1.0, 1.15)
    prior_weight: float = 0.2
    half_life_s: float = 2 * 86_400.0
    node_pools: bool = False


@dataclass(frozen=True)
class Stack:
    """`replicas` scales workloads, `nodes` scales pools, `scheduler` binds pods."""

    name: str
    description: str = ""
    replicas: ReplicaScaler = field(default_factory=HpaSpec)
    nodes: ClusterAutoscaler | Karpenter | StaticNodes = field(default_factory=ClusterAutoscaler)
    scheduler: SchedulerProfile = field(default_factory=SchedulerProfile)
    use_workload_hpa: bool = True  # a workload's own HPA (from manifests) wins over `replicas`
    per_workload: tuple[tuple[str, ReplicaScaler], ...] = ()  # by name; wins over both
    replay: Replay | None = None  # None: settings stay as they are
    spot_notice: SpotNotice = "drain"
    learned: Learned | None = None  # None: no network

    def scaler_of(self, w: Workload) -> ReplicaScaler:
        """What scales workload w: `per_workload`, its own HPA or ScaledObject, or `replicas`."""
        for name, scaler in self.per_workload:
            if name == w.name:
                return scaler
        if self.use_workload_hpa and isinstance(w.hpa, HpaSpec | KedaSpec):
            return w.hpa
        return self.replicas

    def hpa_of(self, w: Workload) -> HpaSpec:
        """The HPA in force for workload w: its own, the stack's, or the one under KEDA, forecast or schedule."""
        scaler = self.scaler_of(w)
        if isinstance(scaler, KedaSpec | ForecastSpec | ScheduleSpec):
            return scaler.hpa
        return scaler if isinstance(scaler, HpaSpec) else HpaSpec()
