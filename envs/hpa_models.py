"""The YAML shape of what sets replicas: the HPA, or a fixed number. Builds the types of `envs.stack`.

Keys are the field names of those types, in inside units where a plain number is given; durations
(`*_s`), memory and shares may carry a unit ("5m", "1.5Gi", "70%"). Defaults come from those types.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from envs import stack as spec
from envs.errors import InputError
from envs.quantities import parse_cpu, parse_memory, parse_percent, parse_quantity, parse_rate
from envs.schema_types import Count, Duration, Share, StrictModel

_METRIC, _RULES, _HPA = spec.HpaMetric(), spec.ScalingRules(), spec.HpaSpec()
_STATIC = spec.StaticReplicas()
RESOURCES = ("cpu", "memory")
COUNTED = ("requests_per_second", "queue_length", "concurrency")
_TARGET_TYPES = {
    **dict.fromkeys(("Resource", "ContainerResource"), ("Utilization", "AverageValue")),
    "Pods": ("AverageValue",),
    **dict.fromkeys(("Object", "External"), ("AverageValue", "Value")),
}


class MetricModel(StrictModel):
    """One entry of an HPA's spec.metrics."""

    type: spec.MetricType = _METRIC.type
    """Where the metric comes from, as in autoscaling/v2."""
    name: Literal["cpu", "memory", "requests_per_second", "queue_length", "concurrency"] = "cpu"
    """cpu or memory for (Container)Resource; one of the counted ones for Pods, Object and External."""
    target_type: spec.TargetType | None = None
    """Default: Utilization for resources, AverageValue for the others."""
    target: float | str | None = None
    """Percent for Utilization (80, "80%"); else cores, memory, requests/s or a count. Default 80 %."""
    capacity_share: Share | None = Field(default=None, gt=0)
    """Instead of target, for requests_per_second: share of one replica's capacity (slots / service time)."""

    @model_validator(mode="after")
    def _fits(self) -> MetricModel:
        names = RESOURCES if self.type in ("Resource", "ContainerResource") else COUNTED
        if self.name not in names:
            raise InputError(None, "name", self.name, f"for type {self.type} it must be {_one_of(names)}")
        if self.kind_of_target not in _TARGET_TYPES[self.type]:
            wanted = _one_of(_TARGET_TYPES[self.type])
            raise InputError(None, "target_type", self.target_type, f"for type {self.type} it must be {wanted}")
        if (self.target is None) == (self.capacity_share is None) and self.kind_of_target != "Utilization":
            raise InputError(None, "target", self.target, "give either target or capacity_share")
        if self.capacity_share is not None:
            self._check_share()
        elif self.value <= 0:
            raise InputError(None, "target", self.target, "must be above zero")
        return self

    def _check_share(self) -> None:
        if self.name != "requests_per_second" or self.kind_of_target != "AverageValue":
            mend = "is for name requests_per_second with target_type AverageValue; give target instead"
            raise InputError(None, "capacity_share", self.capacity_share, mend)
        if self.target is not None:
            raise InputError(None, "target", self.target, "give either target or capacity_share, not both")

    @property
    def kind_of_target(self) -> spec.TargetType:
        by_name: spec.TargetType = "Utilization" if self.name in RESOURCES else "AverageValue"
        return self.target_type or by_name

    @property
    def value(self) -> float:
        """The target in inside units; the type's own default where none is given."""
        if self.target is None:
            return _METRIC.target
        if self.kind_of_target == "Utilization":
            return parse_percent(self.target, field="target")
        parsers = {"cpu": parse_cpu, "memory": parse_memory, "requests_per_second": parse_rate}
        return parsers.get(self.name, parse_quantity)(self.target, field="target")

    def build(self) -> spec.HpaMetric:
        return spec.HpaMetric(self.type, self.name, self.kind_of_target, self.value, self.capacity_share)


class PolicyModel(StrictModel):
    """One entry of a behavior's policies."""

    type: Literal["Pods", "Percent"]
    """Whether value counts pods or percent of the current replicas."""
    value: Count = Field(gt=0, le=10**6)
    """How many pods, or how many percent, may be added or removed in one period."""
    period_s: Duration = Field(gt=0, le=1800)
    """Length of the period; the API server allows up to 30 minutes."""

    @field_validator("period_s")
    @classmethod
    def _whole_seconds(cls, seconds: float) -> float:
        return _whole(seconds, "period_s")

    def build(self) -> spec.ScalingPolicy:
        return spec.ScalingPolicy(self.type, self.value, int(self.period_s))


class RulesModel(StrictModel):
    """One direction of an HPA's spec.behavior."""

    stabilization_s: Duration | None = Field(default=None, le=3600)
    """stabilizationWindowSeconds; default 0 s up, 300 s down."""
    select: Literal["Max", "Min", "Disabled"] = _RULES.select
    """Which policy counts when several allow a change."""
    policies: tuple[PolicyModel, ...] | None = Field(default=None, min_length=1, max_length=20)
    """Limits on the speed of change; default those of the API server."""
    tolerance: Share | None = None
    """Ratio within which nothing changes; default the controller's own."""

    @field_validator("stabilization_s")
    @classmethod
    def _whole_seconds(cls, seconds: float | None) -> float | None:
        return None if seconds is None else _whole(seconds, "stabilization_s")

    def build(self) -> spec.ScalingRules:
        window = None if self.stabilization_s is None else int(self.stabilization_s)
        policies = None if self.policies is None else tuple(p.build() for p in self.policies)
        return spec.ScalingRules(window, self.select, policies, self.tolerance)


class BehaviorModel(StrictModel):
    """An HPA's spec.behavior."""

    scale_up: RulesModel | None = None
    """Rules for adding replicas."""
    scale_down: RulesModel | None = None
    """Rules for removing replicas."""

    def build(self) -> spec.HpaBehavior:
        up, down = (None if rules is None else rules.build() for rules in (self.scale_up, self.scale_down))
        return spec.HpaBehavior(up, down)


class HpaModel(StrictModel):
    """A HorizontalPodAutoscaler (autoscaling/v2) on every workload, and its controller's flags."""

    kind: Literal["hpa"] = "hpa"
    """Replicas are set by the HPA."""
    metrics: tuple[MetricModel, ...] = Field(default=(MetricModel(),), min_length=1, max_length=20)
    """What it scales on; the largest answer wins. Default CPU utilization 80 %."""
    min_replicas: Count | None = Field(default=None, le=10**6)
    """Fewest replicas; default each workload's own."""
    max_replicas: Count | None = Field(default=None, ge=1, le=10**6)
    """Most replicas; default each workload's own."""
    behavior: BehaviorModel | None = None
    """Speed limits and stabilization; default not set, as most HPAs in the wild."""
    sync_period_s: Duration = Field(default=_HPA.sync_period_s, ge=1, le=3600)
    """How often the controller looks (--horizontal-pod-autoscaler-sync-period)."""
    downscale_stabilization_s: Duration = Field(default=_HPA.downscale_stabilization_s, le=86_400)
    """Down-scaling takes the highest answer of this window (controller flag)."""
    tolerance: Share = _HPA.tolerance
    """Ratio within which nothing changes (controller flag)."""
    cpu_initialization_s: Duration = Field(default=_HPA.cpu_initialization_s, le=86_400)
    """CPU of pods younger than this may be ignored (controller flag)."""
    initial_readiness_s: Duration = Field(default=_HPA.initial_readiness_s, le=86_400)
    """Readiness changes within this time of the start count as starting (controller flag)."""
    scale_to_zero: bool = _HPA.scale_to_zero
    """HPAScaleToZero feature: min_replicas 0 with an Object or External metric."""

    @model_validator(mode="after")
    def _bounds(self) -> HpaModel:
        low, high = self.min_replicas, self.max_replicas
        if low is not None and high is not None and low > high:
            raise InputError(None, "min_replicas", low, f"is above max_replicas {high}; mend one of them")
        outside = any(metric.type in ("Object", "External") for metric in self.metrics)
        if low == 0 and not (self.scale_to_zero and outside):
            mend = "needs scale_to_zero: true and an Object or External metric; else at least 1"
            raise InputError(None, "min_replicas", 0, mend)
        return self

    def build(self) -> spec.HpaSpec:
        metrics = tuple(metric.build() for metric in self.metrics)
        behavior = None if self.behavior is None else self.behavior.build()
        return spec.HpaSpec(metrics=metrics, behavior=behavior, **other_fields(self, "metrics", "behavior"))


class StaticReplicasModel(StrictModel):
    """A fixed number of replicas, chosen with hindsight of the load."""

    kind: Literal["static"]
    """Replicas never change."""
    quantile: Share = _STATIC.quantile
    """The load that must fit: 1 = the peak, 95% = all but the busiest twentieth of the time."""
    utilization: Share = Field(default=_STATIC.utilization, gt=0)
    """Share of its capacity that a replica carries at that load."""
    headroom: float = Field(default=_STATIC.headroom, gt=0, le=100)
    """Factor on the count (no unit)."""

    def build(self) -> spec.StaticReplicas:
        return spec.StaticReplicas(**other_fields(self))


def other_fields(model: BaseModel, *without: str) -> dict[str, Any]:
    """The model's fields by name, but for `kind` and `without`: the dataclass's own field names."""
    return {name: getattr(model, name) for name in type(model).model_fields if name not in ("kind", *without)}


def _whole(seconds: float, field: str) -> float:
    if seconds != int(seconds):
        raise InputError(None, field, seconds, "must be whole seconds")
    return seconds


def _one_of(names: tuple[str, ...]) -> str:
    return " or ".join(names)
