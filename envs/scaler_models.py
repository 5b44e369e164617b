"""The YAML shape of KEDA, the forecast scaler and scheduled scaling. Builds the types of `envs.stack`.

Keys are the field names of those types, as in `envs.hpa_models`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from envs import stack as spec
from envs.cron_windows import check_cron, parse_zone
from envs.errors import InputError
from envs.hpa_models import BehaviorModel, HpaModel, MetricModel, other_fields
from envs.schema_types import Count, Duration, Share, StrictModel

_KEDA, _TRIGGER, _FALLBACK = spec.KedaSpec(), spec.KedaTrigger(), spec.KedaFallback()
_FORECAST, _SCHEDULE, _WINDOW = spec.ForecastSpec(), spec.ScheduleSpec(), spec.ScheduleWindow()
RESOURCES = ("cpu", "memory")
_CRON_ONLY = ("start", "end", "desired_replicas")


class TriggerModel(StrictModel):
    """One trigger of a ScaledObject."""

    type: spec.TriggerType = _TRIGGER.type
    """What is measured; cron is a schedule."""
    threshold: float | str | None = None
    """What one replica should carry: requests/s, items, cores, memory; percent for cpu and memory."""
    target_type: spec.TargetType | None = None
    """metricType; default AverageValue, for cpu and memory Utilization."""
    capacity_share: Share | None = Field(default=None, gt=0)
    """Instead of threshold, for requests_per_second: share of one replica's capacity (slots / service time)."""
    drain_s: Duration | None = Field(default=None, gt=0, le=864_000)
    """Instead of threshold, for queue_length: time in which a replica works off its share of the queue."""
    activation: float = Field(default=_TRIGGER.activation, ge=0, le=1e12)
    """activationThreshold: the trigger is active above it (wakes the workload from zero)."""
    timezone: str = _TRIGGER.timezone
    """cron: time zone of start and end, as Europe/Berlin."""
    start: str | None = None
    """cron: when desired_replicas begin, as "0 8 * * 1-5"."""
    end: str | None = None
    """cron: when they end."""
    desired_replicas: Count | None = Field(default=None, ge=1, le=20_000)
    """cron: replicas between start and end."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return parse_zone(name)

    @model_validator(mode="after")
    def _fits(self) -> TriggerModel:
        if self.type == "cron":
            self._check_cron()
            return self
        for name in _CRON_ONLY:
            if getattr(self, name) is not None:
                raise InputError(None, name, getattr(self, name), "is for type cron only")
        if self.type in RESOURCES and self.activation > 0:
            raise InputError(None, "activation", self.activation, "cpu and memory never wake a workload; leave it out")
        if self.drain_s is not None:
            self._check_drain()
        else:
            self.metric()
        return self

    def _check_cron(self) -> None:
        for name in _CRON_ONLY:
            if getattr(self, name) is None:
                raise InputError(None, name, None, "type cron needs start, end and desired_replicas")
        check_cron(self.start, field="start")
        check_cron(self.end, field="end")
        for name in ("threshold", "capacity_share", "drain_s", "target_type"):
            if getattr(self, name) not in (None, "AverageValue"):
                raise InputError(None, name, getattr(self, name), "is not for type cron; leave it out")

    def _check_drain(self) -> None:
        if self.type != "queue_length":
            raise InputError(None, "drain_s", self.drain_s, "is for type queue_length; give threshold instead")
        if self.threshold is not None or self.capacity_share is not None:
            raise InputError(None, "drain_s", self.drain_s, "give one of threshold, capacity_share and drain_s")
        if self.target_type not in (None, "AverageValue"):
            raise InputError(None, "target_type", self.target_type, "must be AverageValue with drain_s")

    def metric(self) -> MetricModel:
        """The HPA metric that it stands for, checked. Raises InputError."""
        kind = "Resource" if self.type in RESOURCES else "External"
        shared = {"target_type": self.target_type, "target": self.threshold, "capacity_share": self.capacity_share}
        try:
            return MetricModel.model_validate({"type": kind, "name": self.type, **shared})
        except ValidationError as error:
            cause = error.errors()[0].get("ctx", {}).get("error")
            if not isinstance(cause, InputError):
                raise
            field = "threshold" if cause.field == "target" else cause.field
            raise InputError(None, field, cause.value, cause.mend.replace("target", "threshold")) from None

    def build(self) -> spec.KedaTrigger:
        if self.type == "cron" or self.drain_s is not None:
            return spec.KedaTrigger(**other_fields(self, "target_type", "threshold"))
        metric = self.metric()
        threshold = None if self.capacity_share is not None else metric.value
        own = other_fields(self, "target_type", "threshold")
        return spec.KedaTrigger(threshold=threshold, target_type=metric.kind_of_target, **own)


class FallbackModel(StrictModel):
    """What holds while a trigger's metric cannot be read."""

    replicas: Count = Field(default=_FALLBACK.replicas, le=20_000)
    """Replicas to fall back to."""
    failure_threshold: Count = Field(default=_FALLBACK.failure_threshold, le=10_000)
    """The fallback holds after more failures in a row than this."""
    behavior: spec.FallbackBehavior = _FALLBACK.behavior
    """Whether replicas, the current count, or the higher or lower of the two is kept."""

    def build(self) -> spec.KedaFallback:
        return spec.KedaFallback(**other_fields(self))


class KedaModel(StrictModel):
    """KEDA's ScaledObject: 0 to 1 and back by KEDA, 1 to the most by the HPA that it writes."""

    kind: Literal["keda"]
    """Replicas are set by KEDA."""
    triggers: tuple[TriggerModel, ...] = Field(
        default=(TriggerModel(capacity_share=_KEDA.triggers[0].capacity_share),), min_length=1, max_length=20
    )
    """Active if one of them is; the HPA follows the one that asks for most."""
    polling_interval_s: Duration = Field(default=_KEDA.polling_interval_s, ge=5, le=3600)
    """pollingInterval: how often KEDA looks whether a trigger is active."""
    cooldown_s: Duration = Field(default=_KEDA.cooldown_s, le=86_400)
    """cooldownPeriod: time without an active trigger before it goes to zero (never for 1 to n)."""
    initial_cooldown_s: Duration = Field(default=_KEDA.initial_cooldown_s, le=86_400)
    """initialCooldownPeriod: least time after the start before it first goes to zero."""
    min_replicas: Count | None = Field(default=None, le=20_000)
    """minReplicaCount, 0 allowed; default the workload's own min_replicas."""
    max_replicas: Count | None = Field(default=None, ge=1, le=20_000)
    """maxReplicaCount; default the workload's own max_replicas."""
    idle_replicas: Literal[0] | None = None
    """idleReplicaCount: 0 = no replica while no trigger is active, min_replicas as soon as one is."""
    fallback: FallbackModel | None = None
    """What holds while a metric cannot be read; default the count stays."""
    behavior: BehaviorModel | None = None
    """Behavior of the HPA (advanced.horizontalPodAutoscalerConfig.behavior)."""

    @model_validator(mode="after")
    def _bounds(self) -> KedaModel:
        low, high = self.min_replicas, self.max_replicas
        if low is not None and high is not None and low > high:
            raise InputError(None, "min_replicas", low, f"is above max_replicas {high}; mend one of them")
        if self.idle_replicas is not None and low == 0:
            raise InputError(None, "idle_replicas", 0, "needs min_replicas of at least 1; or leave it out")
        if 0 in (low, self.idle_replicas) and all(t.type in RESOURCES for t in self.triggers):
            mend = "zero needs a trigger besides cpu and memory: they cannot wake a workload"
            raise InputError(None, "triggers", self.triggers[0].type, mend)
        return self

    def build(self) -> spec.KedaSpec:
        return spec.KedaSpec(
            triggers=tuple(trigger.build() for trigger in self.triggers),
            fallback=None if self.fallback is None else self.fallback.build(),
            behavior=None if self.behavior is None else self.behavior.build(),
            **other_fields(self, "triggers", "fallback", "behavior"),
        )


class ForecastModel(StrictModel):
    """Predictive scaling: a seasonal forecast sets the HPA's least replicas, the HPA reacts to the rest."""

    kind: Literal["forecast"]
    """Least replicas follow a forecast of the load."""
    quantile: Share = Field(default=_FORECAST.quantile, gt=0, lt=1)
    """How much of the forecast's own past error the floor covers."""
    utilization: Share = Field(default=_FORECAST.utilization, gt=0)
    """Share of its capacity that a replica carries at the forecast load."""
    lead_s: Duration | None = Field(default=None, gt=0, le=14_400)
    """How far ahead; default the start delay + the slowest pool's boot delay."""
    period_s: Duration = Field(default=_FORECAST.period_s, ge=15, le=300)
    """How often the floor is set."""
    hpa: HpaModel = HpaModel()
    """The HPA under it. Default the HPA with its own defaults."""

    def build(self) -> spec.ForecastSpec:
        return spec.ForecastSpec(hpa=self.hpa.build(), **other_fields(self, "hpa"))


class WindowModel(StrictModel):
    """Hours in which more replicas are kept."""

    start: str = _WINDOW.start
    """When the window opens, a cron expression."""
    end: str = _WINDOW.end
    """When it closes."""
    timezone: str = _WINDOW.timezone
    """Time zone of both, as Europe/Berlin."""
    min_replicas: Count | None = Field(default=None, le=20_000)
    """Least replicas while it is open."""
    load_quantile: Share | None = None
    """Instead of min_replicas: enough for this quantile of the load in the window's own hours (hindsight)."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return parse_zone(name)

    @model_validator(mode="after")
    def _one_floor(self) -> WindowModel:
        check_cron(self.start, field="start")
        check_cron(self.end, field="end")
        if (self.min_replicas is None) == (self.load_quantile is None):
            raise InputError(None, "min_replicas", self.min_replicas, "give either min_replicas or load_quantile")
        return self

    def build(self) -> spec.ScheduleWindow:
        return spec.ScheduleWindow(**other_fields(self))


class ScheduleModel(StrictModel):
    """Scheduled scaling: cron windows with a least number of replicas, on top of an HPA."""

    kind: Literal["schedule"]
    """Least replicas follow the clock."""
    windows: tuple[WindowModel, ...] = Field(
        default=(WindowModel(load_quantile=_SCHEDULE.windows[0].load_quantile),), min_length=1, max_length=20
    )
    """The largest floor of the open ones holds; outside of all the HPA's own minimum."""
    utilization: Share = Field(default=_SCHEDULE.utilization, gt=0)
    """Share of its capacity that a replica carries at load_quantile."""
    hpa: HpaModel = HpaModel()
    """The HPA under it. Default the HPA with its own defaults."""

    def build(self) -> spec.ScheduleSpec:
        windows = tuple(window.build() for window in self.windows)
        return spec.ScheduleSpec(windows=windows, hpa=self.hpa.build(), **other_fields(self, "windows", "hpa"))
