"""The YAML shape of a scenario: the cluster, its prices, its horizon. See docs/guides/scenario.md."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from envs.cluster import CapacityType, NodePool
from envs.errors import InputError
from envs.fault_models import FaultDoc
from envs.intent import Intent
from envs.pool_models import DisruptionModel, DurationOrNever, LimitsModel
from envs.quantities import format_memory
from envs.scenario import NoiseModel, Scenario
from envs.schema_types import Cpu, Duration, Memory, Share, UsdPerHour
from envs.spot_models import SpotDoc
from envs.workload_models import NAME, Strict, Text, WorkloadDoc, at_most

_POOL = NodePool(name="_", instance_types=())
_NOISE = NoiseModel()
_INTENT = Intent()
MAX_WORKLOADS = 20_000
MAX_NODES = 100_000
MAX_DAYS = 400
ROW_S = 300.0  # results come in rows of five minutes
UTC = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?Z$"


class TaintDoc(Strict):
    """A node taint, as in Kubernetes."""

    key: str = Field(min_length=1, max_length=300, description="Taint key.")
    value: str = Field("", max_length=300, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("NoSchedule", description="Effect.")


class NodePoolDoc(Strict):
    """Nodes that one autoscaler setting governs; each (instance type, capacity type, zone) is one node group."""

    name: str = Field(pattern=NAME, max_length=253, description="Unique name.")
    instance_types: list[Text] = Field(
        min_length=1, max_length=200, description="Type names in the price book, or of instance_types below."
    )
    zones: list[Text] = Field(default=list(_POOL.zones), min_length=1, max_length=26, description="Zones of the nodes.")
    capacity_types: list[CapacityType] = Field(
        default=list(_POOL.capacity_types),
        min_length=1,
        max_length=2,
        description="What may be bought: on-demand, spot, or both.",
    )
    capacity_type: CapacityType | None = Field(None, description="Short for capacity_types with one entry.")
    min_nodes: int = Field(_POOL.min_nodes, ge=0, le=MAX_NODES, description="Fewest nodes of the whole pool.")
    max_nodes: int = Field(_POOL.max_nodes, ge=1, le=MAX_NODES, description="Most nodes of the whole pool.")
    initial_nodes: int = Field(_POOL.initial_nodes, ge=0, le=MAX_NODES, description="Nodes at the start.")
    labels: dict[str, str] = Field(default_factory=dict, max_length=100, description="Node labels.")
    taints: list[TaintDoc] = Field(default_factory=list, max_length=50, description="Node taints.")
    boot_delay: Duration = Field(
        _POOL.boot_delay_s, ge=0, le=86_400, description="Asked for to Ready, mean; also the billing's lead."
    )
    boot_delay_cv: float = Field(
        _POOL.boot_delay_cv, ge=0, le=5, description="Standard deviation / mean of boot_delay (no unit)."
    )
    daemon_cpu: Cpu = Field(_POOL.daemon_cpu, ge=0, le=1000, description="CPU that DaemonSets request on each node.")
    daemon_memory: Memory = Field(
        format_memory(_POOL.daemon_memory_gib),
        validate_default=True,
        ge=0,
        le=10_000,
        description="Memory that DaemonSets request on each node.",
    )
    weight: int = Field(_POOL.weight, ge=0, le=10_000, description="Karpenter's weight; higher is tried first.")
    min_values: dict[Text, Annotated[int, Field(ge=1, le=50)]] = Field(
        default_factory=dict,
        max_length=30,
        description="Karpenter's minValues: a label, and of how many values of it a launch must leave the choice.",
    )
    limits: LimitsModel = Field(LimitsModel(), description="Karpenter's limits of the pool's CPU and memory.")
    disruption: DisruptionModel = Field(DisruptionModel(), description="How Karpenter may disrupt the pool's nodes.")
    expire_after: DurationOrNever | None = Field(
        None, gt=0, description="Age at which Karpenter replaces a node, or Never; default the stack's."
    )

    @field_validator("capacity_types")
    @classmethod
    def _once(cls, kinds: list[CapacityType]) -> list[CapacityType]:
        if len(set(kinds)) < len(kinds):
            raise InputError(None, "capacity_types", kinds, "holds a name twice; remove one")
        return kinds

    @property
    def bought(self) -> list[CapacityType]:
        """What may be bought, by either way of saying it."""
        return self.capacity_types if self.capacity_type is None else [self.capacity_type]

    @model_validator(mode="after")
    def _bounds(self) -> NodePoolDoc:
        at_most(self.min_nodes, self.max_nodes, "min_nodes", "max_nodes")
        if self.capacity_type is not None and "capacity_types" in self.model_fields_set:
            mend = "is given beside capacity_types; leave one of them out"
            raise InputError(None, "capacity_type", self.capacity_type, mend)
        if "initial_nodes" in self.model_fields_set:
            at_most(self.initial_nodes, self.max_nodes, "initial_nodes", "max_nodes")
        return self


class InstanceTypeDoc(Strict):
    """A machine shape of your own, with its own price; it wins over one of that name in the book."""

    name: Text = Field(description="Name that node pools use.")
    vcpu: Cpu = Field(gt=0, le=10_000, description="CPUs that are sold.")
    memory: Memory = Field(gt=0, le=100_000, description="Memory that is sold.")
    price: UsdPerHour = Field(ge=0, le=1e6, description="List price on demand, before prices.discount.")
    spot_price: UsdPerHour | None = Field(None, ge=0, le=1e6, description="Price on the spot market; default none.")
    allocatable_cpu: Cpu | None = Field(None, gt=0, description="CPU that pods may request; default all of it.")
    allocatable_memory: Memory | None = Field(None, gt=0, description="Likewise for memory; default all of it.")
    max_pods: int = Field(110, ge=1, le=10_000, description="Pods that fit at most (the kubelet's own default).")
    gpu: int = Field(0, ge=0, le=64, description="Number of GPUs.")
    arch: Literal["amd64", "arm64"] = Field("amd64", description="CPU architecture.")

    @model_validator(mode="after")
    def _allocatable(self) -> InstanceTypeDoc:
        at_most(self.allocatable_cpu or 0, self.vcpu, "allocatable_cpu", "vcpu")
        at_most(self.allocatable_memory or 0, self.memory, "allocatable_memory", "memory")
        return self


class CommittedUseDoc(Strict):
    """A promise to spend so much an hour on on-demand nodes, used or not, at a discount (a savings plan)."""

    usd_per_h: UsdPerHour = Field(ge=0, le=1e6, description="Paid every hour, used or not.")
    discount: Share = Field(ge=0, lt=1, description="Off on-demand prices, on what the commitment covers.")


class PricesDoc(Strict):
    """What the prices of the built-in book are changed to."""

    file: Text | None = Field(None, description="Your own price list (CSV or YAML), relative to this file.")
    discount: Share = Field(0.0, ge=0, lt=1, description="Off every on-demand price (0.2 or 20%).")
    commitment: Literal["none", "1y", "3y"] = Field(
        "none", description="Price every node as under a commitment of 1 or 3 years, where the book has it."
    )
    committed_use: CommittedUseDoc | None = Field(
        None, description="A commitment by the hour; default none. It changes the bill, not what autoscalers choose."
    )
    overrides: dict[str, UsdPerHour] = Field(
        default_factory=dict, max_length=2000, description="Price per instance type, before the discount."
    )


class NoiseDoc(Strict):
    """Seeded variation below a trace's own step, the same for all stacks."""

    enabled: bool = Field(_NOISE.enabled, description="false: straight lines between trace points.")
    cv: float = Field(_NOISE.cv, ge=0, le=5, description="Standard deviation / mean of the slow part.")
    tau: Duration = Field(_NOISE.tau_s, gt=0, le=86_400, description="Correlation time of the slow part.")
    dispersion: float = Field(
        _NOISE.dispersion, ge=0, le=1000, description="Variance / mean of arrivals; 1 = Poisson, 0 = none."
    )


class IntentDoc(Strict):
    """What the user wants of the cluster; workloads carry their own SLOs."""

    budget: UsdPerHour | None = Field(None, ge=0, description="Spending limit; default none.")
    violation_price: float = Field(
        _INTENT.violation_price, ge=0, le=1e9, description="Cost of one unit of bad share / ideal cost."
    )
    slo_window_days: float = Field(_INTENT.slo_window_days, gt=0, le=400, description="Error-budget window, days.")
    max_pod_evictions_per_h: float | None = Field(None, ge=0, description="Limit for policies; default none.")
    max_node_removals_per_h: float | None = Field(None, ge=0, description="Limit for policies; default none.")
    autonomy: int = Field(_INTENT.autonomy, ge=0, le=4, description="0 observe ... 4 autonomous.")


class ScenarioDoc(Strict):
    """A whole scenario, once `defaults` are merged and `count` is expanded."""

    name: str = Field(pattern=NAME, max_length=253, description="Name, shown in tables and reports.")
    description: str = Field("", max_length=20_000, description="What this is and why.")
    provider: Text = Field("aws", description="Cloud whose price book is used: aws, gcp, azure, or of prices.file.")
    region: Text = Field("us-east-1", description="Region whose prices are used.")
    days: float = Field(gt=0, le=MAX_DAYS, description="Horizon that is simulated and billed, days.")
    start_utc: str = Field(Scenario.start_utc, pattern=UTC, description="Clock time of the start, UTC.")
    tick: Duration = Field(Scenario.tick_s, ge=5, le=60, description="Simulation step.")
    warmup: Duration = Field(
        Scenario.warmup_s,
        ge=0,
        le=864_000,
        description="Simulated before the start, neither billed nor judged.",
    )
    seed: int = Field(Scenario.seed, ge=0, le=2**31 - 1, description="Seed of demand, delays and arrivals.")
    traffic_scale: float = Field(1.0, ge=0, le=1e6, description="Multiplies the load of every workload.")
    prices: PricesDoc = Field(default={}, validate_default=True, description="Discounts and your own prices.")
    instance_types: list[InstanceTypeDoc] = Field(
        default_factory=list, max_length=1000, description="Machine shapes of your own."
    )
    workloads: list[WorkloadDoc] = Field(min_length=1, max_length=MAX_WORKLOADS, description="What runs.")
    node_pools: list[NodePoolDoc] = Field(min_length=1, max_length=500, description="What it runs on.")
    noise: NoiseDoc = Field(default={}, validate_default=True, description="Variation below a trace's step.")
    intent: IntentDoc = Field(default={}, validate_default=True, description="Budget and limits.")
    spot: SpotDoc = Field(default={}, validate_default=True, description="Interruptions and prices of spot nodes.")
    faults: list[FaultDoc] = Field(default_factory=list, max_length=1000, description="What goes wrong, and when.")

    stacks: list[str | dict[str, Any]] = Field(
        default=["hpa-default"],
        max_length=100,
        description="What runs without --stacks: names, paths of stack files, or stacks spelled out.",
    )

    @field_validator("tick")
    @classmethod
    def _divides_a_row(cls, tick_s: float) -> float:
        if (ROW_S / tick_s) % 1 != 0:
            mend = "must go into 5 minutes a whole number of times: 5, 6, 10, 12, 15, 20, 25, 30, 50 or 60 s"
            raise InputError(None, "tick", tick_s, mend)
        return tick_s

    @field_validator("days")
    @classmethod
    def _holds_a_row(cls, days: float) -> float:
        if days * 86_400 < ROW_S:
            raise InputError(None, "days", days, "is under 5 minutes (0.0035), the least that is reported")
        return days

    @field_validator("start_utc")
    @classmethod
    def _real_date(cls, text: str) -> str:
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise InputError(None, "start_utc", text, f"is no date and time: {error}") from None
        return text
