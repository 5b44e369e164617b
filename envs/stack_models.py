"""The YAML shape of a stack; its keys are the field names of `envs.stack`, as in `envs.hpa_models`."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from envs import stack as spec
from envs.cluster import ConsolidationPolicy, MinValuesPolicy
from envs.errors import InputError
from envs.hpa_models import HpaModel, StaticReplicasModel, other_fields
from envs.pool_models import DurationOrNever, NodeBudgetModel
from envs.quantities import parse_memory, parse_number
from envs.scaler_models import ForecastModel, KedaModel, ScheduleModel
from envs.schema_types import Count, Duration, Share, StrictModel

_CA, _SCHED, _STACK = spec.ClusterAutoscaler(), spec.SchedulerProfile(), spec.Stack(name="")
_KP = spec.Karpenter()
_REPLAY = spec.Replay()
_LEARNED = spec.Learned()
NAME = r"^[a-z0-9][a-z0-9._-]*$"


class PriorityModel(StrictModel):
    """One level of the priority expander."""

    value: Count
    """Higher wins."""
    patterns: tuple[str, ...] = Field(min_length=1, max_length=100)
    """Regular expressions of node group names."""

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern[:300])
            except (re.error, OverflowError, RecursionError) as error:
                raise InputError(None, "patterns", pattern, f"is no regular expression: {error}") from None
            if len(pattern) > 300:
                raise InputError(None, "patterns", pattern, "is longer than 300 characters")
        return patterns


class ClusterAutoscalerModel(StrictModel):
    """The Cluster Autoscaler and its flags."""

    kind: Literal["cluster-autoscaler"] = "cluster-autoscaler"
    """Nodes are added and removed by the Cluster Autoscaler."""
    expander: Literal["least-waste", "random", "most-pods", "least-nodes", "priority", "price"] = _CA.expander
    """How it chooses among pools (--expander); least-waste is the default since 1.33."""
    priorities: tuple[PriorityModel, ...] = Field(default=(), max_length=100)
    """For expander priority: its ConfigMap."""
    scan_interval_s: Duration = Field(default=_CA.scan_interval_s, ge=1, le=3600)
    """Time between two loops (--scan-interval)."""
    new_pod_delay_s: Duration = Field(default=_CA.new_pod_delay_s, le=3600)
    """Pods younger than this are not looked at (--new-pod-scale-up-delay)."""
    scale_down_enabled: bool = _CA.scale_down_enabled
    """Whether nodes are ever removed."""
    scale_down_utilization_threshold: Share = _CA.scale_down_utilization_threshold
    """A node is a candidate for removal at or below this share of requests to allocatable."""
    scale_down_unneeded_s: Duration = Field(default=_CA.scale_down_unneeded_s, le=86_400)
    """How long a node must be unneeded before it goes (--scale-down-unneeded-time)."""
    scale_down_unready_s: Duration = Field(default=_CA.scale_down_unready_s, le=86_400)
    """Likewise for a node that is not ready."""
    scale_down_delay_after_add_s: Duration = Field(default=_CA.scale_down_delay_after_add_s, le=86_400)
    """No removal for this long after a scale-up."""
    scale_down_delay_after_delete_s: Duration = Field(default=_CA.scale_down_delay_after_delete_s, le=86_400)
    """No removal for this long after a removal."""
    scale_down_delay_after_failure_s: Duration = Field(default=_CA.scale_down_delay_after_failure_s, le=86_400)
    """No removal for this long after a failed removal."""
    max_scale_down_parallelism: Count = Field(default=_CA.max_scale_down_parallelism, ge=1)
    """Most nodes in removal at a time."""
    max_drain_parallelism: Count = Field(default=_CA.max_drain_parallelism, ge=1)
    """Most nodes with pods in removal at a time."""
    max_nodes_per_scaleup: Count = _CA.max_nodes_per_scaleup
    """Most nodes added by one scale-up."""
    max_node_provision_s: Duration = Field(default=_CA.max_node_provision_s, gt=0, le=86_400)
    """A node that takes longer has failed."""
    initial_backoff_s: Duration = Field(default=_CA.initial_backoff_s, le=86_400)
    """Pause of a pool after its first failure."""
    max_backoff_s: Duration = Field(default=_CA.max_backoff_s, le=86_400)
    """Longest pause of a pool after failures."""
    max_nodes_total: Count = _CA.max_nodes_total
    """Most nodes of the cluster; 0 = no limit."""
    max_cores_total: float | None = Field(default=None, gt=0)
    """Most cores of the cluster; default no limit."""
    max_memory_total_gib: float | None = Field(default=None, gt=0)
    """Most memory of the cluster, GiB or with a suffix ("512Gi"); default no limit."""
    balance_similar_node_groups: bool = _CA.balance_similar_node_groups
    """Spread a scale-up over node groups of the same shape, as zones are."""
    skip_nodes_with_system_pods: bool = _CA.skip_nodes_with_system_pods
    """Nodes with kube-system pods stay."""
    skip_nodes_with_local_storage: bool = _CA.skip_nodes_with_local_storage
    """Nodes with pods on local storage stay."""

    @field_validator("max_memory_total_gib", mode="before")
    @classmethod
    def _gib(cls, raw: object) -> float | None:
        if raw is None:
            return None
        suffixed = isinstance(raw, str) and re.search("[A-Za-z]$", raw.strip())
        name = "max_memory_total_gib"
        return parse_memory(raw, field=name) if suffixed else parse_number(raw, field=name, maximum=1e12)

    @model_validator(mode="after")
    def _whole(self) -> ClusterAutoscalerModel:
        if self.expander == "priority" and not self.priorities:
            raise InputError(None, "priorities", None, "the priority expander needs at least one level")
        if self.initial_backoff_s > self.max_backoff_s:
            mend = f"is above max_backoff_s {self.max_backoff_s:g}; mend one of them"
            raise InputError(None, "initial_backoff_s", self.initial_backoff_s, mend)
        return self

    def build(self) -> spec.ClusterAutoscaler:
        return spec.ClusterAutoscaler(
            priorities=tuple((level.value, level.patterns) for level in self.priorities),
            max_cores_total=_limit(self.max_cores_total),
            max_memory_total_gib=_limit(self.max_memory_total_gib),
            **other_fields(self, "priorities", "max_cores_total", "max_memory_total_gib"),
        )


class KarpenterModel(StrictModel):
    """Karpenter, and the disruption settings of NodePools that have none of their own."""

    kind: Literal["karpenter"]
    """Nodes are added, replaced and removed by Karpenter."""
    consolidation_policy: ConsolidationPolicy = _KP.consolidation_policy
    """Which nodes are considered: empty ones, also underutilized ones, or Balanced (saving against disruption)."""
    consolidate_after_s: DurationOrNever = Field(default=_KP.consolidate_after_s, ge=0)
    """Quiet time of a node (no pod came or went) before it is considered; Never switches consolidation off."""
    budgets: tuple[NodeBudgetModel, ...] = Field(default=(NodeBudgetModel(),), max_length=50)
    """Most nodes of a pool disrupted at once; default 10% of them."""
    expire_after_s: DurationOrNever = Field(default=_KP.expire_after_s, gt=0)
    """Age at which a node is replaced, or Never; Karpenter's own default is 720 h."""
    use_pool_settings: bool = _KP.use_pool_settings
    """true: what a node pool says of its own disruption wins over these fields."""
    min_values_policy: MinValuesPolicy = _KP.min_values_policy
    """Where a pool's min_values cannot be had: no launch (Strict), or one with less variety (BestEffort)."""
    spot_to_spot: bool = _KP.spot_to_spot
    """Whether spot nodes may be replaced by cheaper spot nodes (feature gate SpotToSpotConsolidation)."""
    hazard_weight_h: float = Field(default=_KP.hazard_weight_h, ge=0, le=1e6)
    """The provider launches the spot offering with the least price x (1 + this x interruptions per node-hour)."""
    batch_idle_s: Duration = Field(default=_KP.batch_idle_s, ge=0, le=600)
    """A batch of pending pods is closed when none came for this long (--batch-idle-duration)."""
    batch_max_s: Duration = Field(default=_KP.batch_max_s, ge=0, le=600)
    """Longest time that a batch stays open (--batch-max-duration)."""
    poll_s: Duration = Field(default=_KP.poll_s, ge=1, le=3600)
    """Pause between two looks for nodes to disrupt."""
    validation_s: Duration = Field(default=_KP.validation_s, ge=0, le=3600)
    """Time for which a decision must stay right before it is carried out."""

    def build(self) -> spec.Karpenter:
        return spec.Karpenter(budgets=tuple(b.build() for b in self.budgets), **other_fields(self, "budgets"))


class StaticNodesModel(StrictModel):
    """No node autoscaler."""

    kind: Literal["static"]
    """Every pool stays at its initial_nodes."""

    def build(self) -> spec.StaticNodes:
        return spec.StaticNodes()


class ShapePointModel(StrictModel):
    """One point of the scoring curve of RequestedToCapacityRatio."""

    utilization: Count = Field(le=100)
    """Requested share of the node, percent."""
    score: Count = Field(le=10)
    """Score at that share, 0-10."""


class SchedulerModel(StrictModel):
    """The kube-scheduler's profile."""

    fit_strategy: Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"] = _SCHED.fit_strategy
    """NodeResourcesFit: spread pods (LeastAllocated), pack them (MostAllocated), or use fit_shape."""
    fit_weight: Count = Field(default=_SCHED.fit_weight, le=100)
    """Weight of NodeResourcesFit."""
    balanced_weight: Count = Field(default=_SCHED.balanced_weight, le=100)
    """Weight of NodeResourcesBalancedAllocation."""
    spread_weight: Count = Field(default=_SCHED.spread_weight, le=100)
    """Weight of PodTopologySpread."""
    taint_weight: Count = Field(default=_SCHED.taint_weight, le=100)
    """Weight of TaintToleration."""
    affinity_weight: Count = Field(default=_SCHED.affinity_weight, le=100)
    """Weight of InterPodAffinity and NodeAffinity."""
    percentage_of_nodes_to_score: Count = Field(default=_SCHED.percentage_of_nodes_to_score, le=100)
    """Share of the nodes that is looked at, percent; 0 = adaptive from 100 nodes on."""
    fit_resources: dict[Literal["cpu", "memory", "gpu"], Annotated[Count, Field(ge=1, le=100)]] = Field(
        default={"cpu": 1, "memory": 1}, min_length=1
    )
    """Weight of each resource within NodeResourcesFit."""
    fit_shape: tuple[ShapePointModel, ...] = Field(
        default=tuple(ShapePointModel(utilization=u, score=s) for u, s in _SCHED.fit_shape),
        min_length=1,
        max_length=20,
    )
    """Scoring curve of RequestedToCapacityRatio, by rising utilization."""

    @field_validator("fit_shape")
    @classmethod
    def _rising(cls, points: tuple[ShapePointModel, ...]) -> tuple[ShapePointModel, ...]:
        for low, high in pairwise(points):
            if low.utilization >= high.utilization:
                raise InputError(None, "fit_shape", high.utilization, "utilization must rise from point to point")
        return points

    def build(self) -> spec.SchedulerProfile:
        return spec.SchedulerProfile(
            fit_resources=tuple(self.fit_resources.items()),
            fit_shape=tuple((point.utilization, point.score) for point in self.fit_shape),
            **other_fields(self, "fit_resources", "fit_shape"),
        )


class ReplayModel(StrictModel):
    """Settings that follow each workload's own measured past, refreshed while the stack runs."""

    every_s: Duration = Field(default=_REPLAY.every_s, ge=60, le=86_400)
    """Time between two choices."""
    backfill_s: Duration = Field(default=_REPLAY.backfill_s, ge=0, le=5_184_000)
    """Past before the horizon that is known at its start, where the traces begin before it (offset)."""
    beliefs: tuple[float, ...] = Field(default=_REPLAY.beliefs, min_length=1, max_length=9)
    """Factors on the capacity of a replica that losses are averaged over."""
    belief_scale: float = Field(default=_REPLAY.belief_scale, gt=0, le=10)
    """How far the believed capacity is off, to see what a wrong calibration costs; 1 = not at all."""
    violation_price: float | None = Field(default=None, ge=0, le=1e9)
    """Of a bad share of 1 at an SLO of 99.9 %, in multiples of ideal cost; default the intent's."""
    prior_weight: float = Field(default=_REPLAY.prior_weight, ge=0, le=10)
    """Weight of what was good on the training fleet against the workload's own past."""
    half_life_s: Duration = Field(default=_REPLAY.half_life_s, ge=3600, le=31_536_000)
    """Age at which a stretch of the past counts half."""
    halving: bool = _REPLAY.halving
    """Drop the worse half of the set-points after 2, 4 and 8 days of past."""

    @field_validator("beliefs")
    @classmethod
    def _possible(cls, beliefs: tuple[float, ...]) -> tuple[float, ...]:
        for belief in beliefs:
            if not 0.1 <= belief <= 10:
                raise InputError(None, "beliefs", belief, "give factors between 0.1 and 10, such as 0.85, 1, 1.15")
        return beliefs

    def build(self) -> spec.Replay:
        return spec.Replay(**other_fields(self))


class LearnedModel(StrictModel):
    """`learned:` in a stack: a network moves the set-points of services, chosen by what their own past asks for."""

    bundle: str = Field(default=_LEARNED.bundle, min_length=1, max_length=4096)
    """Folder of the policy's bundle, relative to the stack's file; pretrained = the one that comes with Trimtab."""
    period_s: Duration = Field(default=_LEARNED.period_s, ge=60, le=3600)
    """Time between two decisions; the shipped network was trained at its default."""
    violation_price: float | None = Field(default=None, ge=0, le=1e9)
    """Of a bad share of 1 at an SLO of 99.9 %, in multiples of ideal cost; default the intent's."""
    replay: bool = _LEARNED.replay
    """true: replay of each workload's measured past picks the variant of the network."""
    burn: bool = _LEARNED.burn
    """true: each workload's violation price follows the burn of its error budget, until the SLO is just met."""
    every_s: Duration = Field(default=_LEARNED.every_s, ge=60, le=604_800)
    """Time between two such choices."""
    backfill_s: Duration = Field(default=_LEARNED.backfill_s, ge=0, le=5_184_000)
    """Past before the horizon that is replayed at its start, where the traces begin before it (offset)."""
    beliefs: tuple[float, ...] = Field(default=_LEARNED.beliefs, min_length=1, max_length=9)
    """Factors on the capacity of a replica that losses are averaged over."""
    prior_weight: float = Field(default=_LEARNED.prior_weight, ge=0, le=10)
    """Weight of what was good on the training fleet against the workload's own past."""
    half_life_s: Duration = Field(default=_LEARNED.half_life_s, ge=3600, le=31_536_000)
    """Age at which a stretch of the past counts half."""
    node_pools: bool = _LEARNED.node_pools
    """true: instance types and consolidateAfter of Karpenter's node pools are chosen too; needs nodes of karpenter."""

    def build(self) -> spec.Learned:
        return spec.Learned(**other_fields(self))


def _kind_or(default: str) -> Discriminator:
    """Which member of a union a mapping is, by its `kind`, which may be left out."""

    def kind(raw: Any) -> str:
        return str(raw.get("kind", default) if isinstance(raw, dict) else getattr(raw, "kind", default))

    return Discriminator(kind)


ReplicasModel = Annotated[
    Annotated[HpaModel, Tag("hpa")]
    | Annotated[StaticReplicasModel, Tag("static")]
    | Annotated[KedaModel, Tag("keda")]
    | Annotated[ForecastModel, Tag("forecast")]
    | Annotated[ScheduleModel, Tag("schedule")],
    _kind_or("hpa"),
]


class StackModel(StrictModel):
    """A stack: what scales the replicas, what scales the nodes, and how pods are placed."""

    name: str = Field(default="", pattern=NAME, max_length=63)
    """Name in tables and on the command line; default the file's name."""
    description: str = Field(default="", max_length=500)
    """One sentence: when people use it."""
    replicas: ReplicasModel = HpaModel()
    """The replica autoscaler: kind hpa, keda, forecast, schedule or static. Default the HPA with its own defaults."""
    nodes: Annotated[
        Annotated[ClusterAutoscalerModel, Tag("cluster-autoscaler")]
        | Annotated[KarpenterModel, Tag("karpenter")]
        | Annotated[StaticNodesModel, Tag("static")],
        _kind_or("cluster-autoscaler"),
    ] = ClusterAutoscalerModel()
    """The node autoscaler: kind cluster-autoscaler, karpenter or static. Default the Cluster Autoscaler."""
    scheduler: SchedulerModel = SchedulerModel()
    """The kube-scheduler's profile. Default its own defaults."""
    use_workload_hpa: bool = _STACK.use_workload_hpa
    """true: a workload's own HPA (from manifests) wins over `replicas`."""
    per_workload: dict[str, ReplicasModel] = Field(default={}, max_length=20_000)
    """Name of a workload: its own replica autoscaler, which wins over everything else."""
    replay: ReplayModel | None = None
    """Settings of the HPAs follow each workload's own measured past; default they stay as they are."""

    learned: LearnedModel | None = None
    """A learned policy moves the services' set-points; default nobody does."""

    @model_validator(mode="after")
    def _replayable(self) -> StackModel:
        if self.learned is not None and (self.replay is not None or not isinstance(self.replicas, HpaModel)):
            raise InputError(None, "learned", self.learned.bundle, "moves HPAs: replicas of kind hpa, and no `replay:`")
        if self.learned is not None and self.learned.node_pools and not isinstance(self.nodes, KarpenterModel):
            raise InputError(None, "learned.node_pools", True, "sets fields of NodePools: give nodes of kind karpenter")
        if self.replay is not None and not isinstance(self.replicas, HpaModel):
            raise InputError(None, "replay", None, "changes HPAs: give replicas of kind hpa")
        return self

    spot_notice: Literal["drain", "rebalance", "ignore"] = _STACK.spot_notice
    """A spot node is told to go: it is drained (drain: Karpenter, node-termination-handler, managed node groups),
    minutes earlier at the rebalance recommendation (rebalance), or left to die (ignore: no handler)."""

    def build(self, name: str) -> spec.Stack:
        """The stack, called `name` where the document does not say."""
        parts = (self.replicas.build(), self.nodes.build(), self.scheduler.build())
        own = tuple((workload, model.build()) for workload, model in self.per_workload.items())
        replay = self.replay.build() if self.replay is not None else None
        rest = (own, replay, self.spot_notice)
        learned = self.learned.build() if self.learned is not None else None
        return spec.Stack(self.name or name, self.description, *parts, self.use_workload_hpa, *rest, learned)


def _limit(most: float | None) -> float:
    return float("inf") if most is None else most
