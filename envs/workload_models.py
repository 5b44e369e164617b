"""The YAML shape of one workload: its demand, service model, pods and objective.

Pydantic stays at this edge; `envs.scenario_build` turns these into the frozen dataclasses of
`envs.cluster` and `envs.scenario`, whose defaults are used here so that they are said once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from envs.cluster import HOSTNAME_KEY, ZONE_KEY, ServiceModel, Workload
from envs.errors import InputError
from envs.quantities import format_memory
from envs.scenario import GeneratedDemand, TraceDemand
from envs.schema_types import Cpu, Duration, Memory, Rate, Share, StrictModel

_SERVICE = ServiceModel()
_SHAPE = GeneratedDemand()
_WORKLOAD = Workload(name="_")
MAX_REPLICAS = 20_000
Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"


class Strict(StrictModel):
    """StrictModel without conversions: true is no number, "5" is no whole number."""

    model_config = ConfigDict(strict=True)


class ServiceDoc(Strict):
    """How one replica turns requests into latency, CPU and memory."""

    slots: int = Field(
        _SERVICE.slots, ge=1, le=100_000, description="Requests that one replica works on at once (threads)."
    )
    service_time: Duration = Field(
        _SERVICE.service_time_s, gt=0, le=86_400, description="Mean time that a request holds a slot."
    )
    service_cv: float = Field(
        _SERVICE.service_cv,
        ge=0,
        le=20,
        description="Standard deviation / mean of the service time (no unit).",
    )
    cpu_per_request: Duration = Field(
        _SERVICE.cpu_s_per_request, ge=0, le=86_400, description="CPU time that one request burns."
    )
    threshold: Duration = Field(
        _SERVICE.threshold_s,
        gt=0,
        le=86_400,
        description="A request is good when wait + service is within this.",
    )
    timeout: Duration = Field(
        _SERVICE.timeout_s, gt=0, le=86_400, description="The caller gives a waiting request up after this."
    )
    balancing: Literal["random", "least_request", "pooled"] = Field(
        _SERVICE.balancing,
        description="How requests are split over replicas; random is what kube-proxy does.",
    )
    memory_base: Memory = Field(
        format_memory(_SERVICE.memory_base_gib),
        validate_default=True,
        ge=0,
        le=100_000,
        description="Memory of an idle replica.",
    )
    memory_per_busy_slot: Memory = Field(
        format_memory(_SERVICE.memory_per_busy_slot_gib),
        validate_default=True,
        ge=0,
        le=10_000,
        description="Memory that each busy slot adds.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ServiceDoc:
        if self.timeout < self.threshold:
            raise _problem(f"timeout {self.timeout:g} s is below threshold {self.threshold:g} s; raise timeout")
        return self


class GenerateDoc(Strict):
    """A made-up load: base x daily x weekly x (1 + trend) x noise, bursts and flash crowds."""

    base_rps: Rate = Field(_SHAPE.base_rps, ge=0, le=1e9, description="Mean load, requests/s.")
    daily_amplitude: float = Field(
        _SHAPE.daily_amplitude, ge=0, le=1, description="Swing over the day, share of base (0-1)."
    )
    weekly_amplitude: float = Field(
        _SHAPE.weekly_amplitude, ge=0, le=1, description="Swing over the week, share of base (0-1)."
    )
    peak_hour: float = Field(_SHAPE.peak_hour, ge=0, lt=24, description="Hour of the daily peak, local time.")
    trend_per_day: float = Field(
        _SHAPE.trend_per_day, ge=-1, le=10, description="Growth per day, share of base (0.01 = 1 %)."
    )
    noise_cv: float = Field(_SHAPE.noise_cv, ge=0, le=5, description="Noise, standard deviation / mean.")
    burst_per_day: float = Field(_SHAPE.burst_per_day, ge=0, le=1000, description="Random bursts per day.")
    burst_factor: float = Field(_SHAPE.burst_factor, ge=0, le=1000, description="Load in a burst / load without.")
    burst_length: Duration = Field(_SHAPE.burst_s, gt=0, le=86_400, description="Length of a burst.")
    flash_at: list[Duration] = Field(
        default_factory=list,
        max_length=1000,
        description="Starts of flash crowds, from the scenario's start.",
    )
    flash_factor: float = Field(_SHAPE.flash_factor, ge=0, le=1000, description="Load in a flash crowd / without.")
    flash_length: Duration = Field(_SHAPE.flash_s, gt=0, le=864_000, description="Length of a flash crowd.")
    dst_shift_at: Duration | None = Field(
        None, ge=0, description="From here on the daily shape comes an hour earlier (daylight saving)."
    )
    utc_offset_h: float = Field(_SHAPE.utc_offset_h, ge=-14, le=14, description="Local time minus UTC, hours.")


class DemandDoc(Strict):
    """Where a workload's load comes from: a trace file, or a generator; exactly one of the two."""

    trace: Text | None = Field(
        None, description="CSV, CSV.gz or Parquet file of load, relative to this file (requests/s)."
    )
    column: str | None = Field(None, max_length=300, description="The column (wide file) or series (long file).")
    scale: float = Field(1.0, ge=0, le=1e9, description="Every value is multiplied by this.")
    mean_rps: Rate | None = Field(
        None, gt=0, le=1e9, description="Rescale so that the trace's mean is this many requests/s."
    )
    offset: Duration = Field(0.0, ge=0, le=3.2e8, description="Start this far into the trace.")
    max_gap: Duration = Field(
        TraceDemand.max_gap_s,
        ge=0,
        le=3.2e7,
        description="Longer gaps are refused; shorter ones interpolated.",
    )
    repeat: bool = Field(False, description="Start over at the end of a trace that is shorter than the horizon.")
    generate: GenerateDoc | None = Field(None, description="A made-up load instead of a trace.")

    @model_validator(mode="after")
    def _one_source(self) -> DemandDoc:
        if (self.trace is None) == (self.generate is None):
            raise _problem("give exactly one of trace (a file) and generate (a shape)")
        if self.generate is not None and (extra := self.model_fields_set - {"generate", "scale", "trace"}):
            raise _problem(f"{', '.join(sorted(extra))} belongs to a trace; leave it out beside generate")
        return self


class TolerationDoc(Strict):
    """A pod's toleration, as in Kubernetes."""

    key: str = Field("", max_length=300, description="Taint key; empty with Exists tolerates everything.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="Equal compares the value too.")
    value: str = Field("", max_length=300, description="Taint value for Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="Taint effect; empty matches every effect."
    )


class SpreadDoc(Strict):
    """A topologySpreadConstraints entry over the workload's own pods."""

    topology_key: str = Field(ZONE_KEY, max_length=300, description="Node label whose values are the domains.")
    max_skew: int = Field(1, ge=1, le=10_000, description="Largest difference in pods between domains.")
    hard: bool = Field(True, description="true: DoNotSchedule; false: ScheduleAnyway.")
    min_domains: int = Field(1, ge=1, le=1000, description="Domains that must exist (hard only).")


class AntiAffinityDoc(Strict):
    """Required pod anti-affinity."""

    topology_key: str = Field(HOSTNAME_KEY, max_length=300, description="Node label that must differ.")
    workloads: list[str] = Field(
        default_factory=list,
        max_length=1000,
        description="Names of the workloads to stay away from; empty = itself.",
    )


class PdbDoc(Strict):
    """PodDisruptionBudget: exactly one of the two, pods (2) or a share ("50%")."""

    min_available: int | str | None = Field(None, description="Pods, or a share as text, that must stay up.")
    max_unavailable: int | str | None = Field(None, description="Pods, or a share as text, that may be down.")

    @model_validator(mode="after")
    def _one(self) -> PdbDoc:
        if (self.min_available is None) == (self.max_unavailable is None):
            raise _problem("give exactly one of min_available and max_unavailable")
        text = self.min_available if self.min_available is not None else self.max_unavailable
        if isinstance(text, str) and not (text.endswith("%") and text[:-1].isdecimal() and int(text[:-1]) <= 100):
            raise _problem(f'{text!r:.40} must be pods, such as 2, or a share, such as "50%"')
        if isinstance(text, int) and not 0 <= text <= MAX_REPLICAS:
            raise _problem(f"{text} pods must be from 0 to {MAX_REPLICAS}")
        return self


class WorkloadDoc(Strict):
    """One Deployment: demand, service model, pods' requests, placement and objective."""

    name: str = Field(pattern=NAME, max_length=253, description="Unique name; namespace/name is fine.")
    namespace: str = Field(_WORKLOAD.namespace, max_length=253, description="Kubernetes namespace, for costs.")
    team: str = Field(_WORKLOAD.team, max_length=253, description="Team label, for costs; empty = none.")
    kind: Literal["service", "queue", "batch"] = Field(
        _WORKLOAD.kind, description="service: latency SLO; queue: age of backlog; batch: deadline."
    )
    demand: DemandDoc = Field(description="Where the load comes from.")
    service: ServiceDoc = Field(default={}, validate_default=True, description="How replicas serve requests.")
    cpu_request: Cpu | None = Field(
        None,
        ge=0,
        le=10_000,
        description="Default: CPU at full slots, slots x cpu_per_request / service_time.",
    )
    cpu_request_factor: float = Field(
        1.0,
        gt=0,
        le=100,
        description="Multiplies cpu_request: 0.5 and 2 show how sensitive a result is to it.",
    )
    memory_request: Memory | None = Field(
        None,
        ge=0,
        le=100_000,
        description="Default: memory at full slots, base + slots x memory_per_busy_slot.",
    )
    gpu_request: int = Field(0, ge=0, le=64, description="GPUs per replica.")
    cpu_limit: Cpu | None = Field(None, gt=0, le=10_000, description="Default: no limit.")
    memory_limit: Memory | None = Field(None, gt=0, le=100_000, description="Default: no limit.")
    priority: int = Field(0, ge=-2_147_483_648, le=2_000_001_000, description="Pod priority; higher preempts.")
    min_replicas: Replicas = Field(_WORKLOAD.min_replicas, description="Fewest replicas.")
    max_replicas: Replicas = Field(_WORKLOAD.max_replicas, ge=1, description="Most replicas.")
    initial_replicas: Replicas | None = Field(None, description="Default: what the load at the start needs.")
    slo: Share = Field(_WORKLOAD.slo_target, gt=0, lt=1, description='Objective: good / total, as 0.999 or "99.9%".')
    backlog_age_slo: Duration = Field(
        _WORKLOAD.backlog_age_slo_s, gt=0, le=864_000, description="queue: an item older than this is bad."
    )
    deadline: Duration = Field(
        _WORKLOAD.deadline_s, gt=0, le=864_000, description="batch: an hour's work later than this is bad."
    )
    start_delay: Duration = Field(
        _WORKLOAD.start_delay_s,
        ge=0,
        le=86_400,
        description="Scheduled to Ready, mean (image, start, probes).",
    )
    start_delay_cv: float = Field(
        _WORKLOAD.start_delay_cv,
        ge=0,
        le=5,
        description="Standard deviation / mean of start_delay (no unit).",
    )
    grace: Duration = Field(_WORKLOAD.grace_s, ge=0, le=86_400, description="terminationGracePeriodSeconds.")
    spot: bool = Field(True, description="false: never on a spot node (node affinity on karpenter.sh/capacity-type).")
    node_selector: dict[str, str] = Field(
        default_factory=dict, max_length=50, description="Labels that a node (its pool) must have."
    )
    tolerations: list[TolerationDoc] = Field(default_factory=list, max_length=50, description="Tolerated taints.")
    spread: list[SpreadDoc] = Field(default_factory=list, max_length=8, description="Topology spread.")
    anti_affinity: list[AntiAffinityDoc] = Field(default_factory=list, max_length=8, description="Pods to avoid.")
    pdb: PdbDoc | None = Field(None, description="PodDisruptionBudget; default none.")
    safe_to_evict: bool = Field(_WORKLOAD.safe_to_evict, description="false: blocks the Cluster Autoscaler.")
    hpa: dict[str, Any] | None = Field(
        None,
        description="The workload's own HPA or ScaledObject, as `replicas` in a stack file; default the stack's.",
    )

    @model_validator(mode="after")
    def _bounds(self) -> WorkloadDoc:
        at_most(self.min_replicas, self.max_replicas, "min_replicas", "max_replicas")
        if self.initial_replicas is not None:
            at_most(self.initial_replicas, self.max_replicas, "initial_replicas", "max_replicas")
        if self.cpu_limit is not None and self.cpu_request is not None:
            at_most(self.cpu_request, self.cpu_limit, "cpu_request", "cpu_limit")
        if self.memory_limit is not None and self.memory_request is not None:
            at_most(self.memory_request, self.memory_limit, "memory_request", "memory_limit")
        return self


def at_most(low: float, high: float, low_name: str, high_name: str) -> None:
    if low > high:
        raise _problem(f"{low_name} {low:g} is above {high_name} {high:g}; mend one of them")


def _problem(mend: str) -> InputError:
    """Pydantic adds where it is; the mend names the fields."""
    return InputError(None, "", None, mend)
