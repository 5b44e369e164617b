"""What a cluster is made of: workloads, node pools, instance types. Frozen, in inside units.

Inside units everywhere: cores, GiB, seconds, USD. Text such as "250m" is parsed once, at the
YAML edge (`envs.quantities`). Names and order come from here: index w is `spec.workloads[w]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Literal, TypeVar

Balancing = Literal["random", "least_request", "pooled"]
WorkloadKind = Literal["service", "queue", "batch"]
CapacityType = Literal["on-demand", "spot"]
MinValuesPolicy = Literal["Strict", "BestEffort"]
ConsolidationPolicy = Literal["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]
DisruptionReason = Literal["Underutilized", "Empty", "Drifted"]
TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
ZONE_KEY = "topology.kubernetes.io/zone"
HOSTNAME_KEY = "kubernetes.io/hostname"
CAPACITY_KEY = "karpenter.sh/capacity-type"


@dataclass(frozen=True)
class InstanceType:
    """One machine shape. Capacity is what is sold; allocatable is what pods may request."""

    name: str
    vcpu: float  # cores
    memory_gib: float
    allocatable_cpu: float  # cores, after kube- and system-reserved
    allocatable_memory_gib: float
    max_pods: int
    price_usd_per_h: float  # on demand, list price after the scenario's discount
    gpu: int = 0
    arch: str = "amd64"
    spot_price_usd_per_h: float | None = None  # None: not offered on the spot market
    interrupted_per_month: float | None = None  # share of its spot nodes taken back in a month; None: not known

    def price_of(self, capacity_type: CapacityType) -> float | None:
        """USD/h of this machine as on-demand or spot; None where it is not offered."""
        return self.price_usd_per_h if capacity_type == "on-demand" else self.spot_price_usd_per_h


@dataclass(frozen=True)
class Taint:
    key: str
    value: str = ""
    effect: TaintEffect = "NoSchedule"


@dataclass(frozen=True)
class Toleration:
    """Empty key with operator Exists tolerates everything; empty effect matches every effect."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True)
class SpreadConstraint:
    """topologySpreadConstraints entry; the selector is the workload's own pods."""

    topology_key: str = ZONE_KEY
    max_skew: int = 1
    hard: bool = True  # DoNotSchedule; False = ScheduleAnyway
    min_domains: int = 1


@dataclass(frozen=True)
class AntiAffinity:
    """Required pod anti-affinity against pods of the named workloads (own name: one per domain)."""

    topology_key: str = HOSTNAME_KEY
    workloads: tuple[str, ...] = ()  # empty = itself


@dataclass(frozen=True)
class DisruptionBudget:
    """PodDisruptionBudget: exactly one of the two is set; a share (0-1) when `*_is_share`."""

    min_available: float | None = None
    max_unavailable: float | None = None
    is_share: bool = False


@dataclass(frozen=True)
class NodeBudget:
    """How many nodes of a pool Karpenter may disrupt at once: an entry of NodePool spec.disruption.budgets."""

    nodes: float = 0.1  # a count, or a share (0-1)
    is_share: bool = True
    reasons: tuple[DisruptionReason, ...] = ()  # empty = every reason
    schedule: str = ""  # cron, UTC; empty = always
    duration_s: float = float("inf")  # how long it holds from each time that the schedule fires


@dataclass(frozen=True)
class NodePool:
    """Nodes that one autoscaler setting governs. Each (type, capacity type, zone) is one node group.

    A field of Karpenter that is None here is the stack's.
    """

    name: str
    instance_types: tuple[str, ...]
    zones: tuple[str, ...] = ("zone-a",)
    capacity_types: tuple[CapacityType, ...] = ("on-demand",)
    min_nodes: int = 0  # of the first type, split over the zones as evenly as they go
    max_nodes: int = 100  # of the pool in all; every group may reach it alone
    initial_nodes: int = 1  # of the first type, split over the zones
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[Taint, ...] = ()
    boot_delay_s: float = 90.0  # request to Ready, mean
    boot_delay_cv: float = 0.25
    daemon_cpu: float = 0.1  # cores of DaemonSet requests on each node
    daemon_memory_gib: float = 0.2
    weight: int = 0  # Karpenter NodePool weight
    min_values: tuple[
        tuple[str, int], ...
    ] = ()  # label, fewest values of it among the types of a launch; Karpenter only
    limit_cpu: float = float("inf")  # cores of all its nodes; Karpenter only
    limit_memory_gib: float = float("inf")
    consolidate_after_s: float | None = None  # inf = never
    consolidation_policy: ConsolidationPolicy | None = None
    budgets: tuple[NodeBudget, ...] | None = None
    expire_after_s: float | None = None  # inf = never


@dataclass(frozen=True)
class ServiceModel:
    """How one replica turns requests into latency and CPU.

    A request holds one of `slots` for a lognormal time with mean `service_time_s` and coefficient
    of variation `service_cv`, and burns `cpu_s_per_request` CPU-seconds. It is good when
    wait + service <= `threshold_s`; it is given up after `timeout_s`.
    """

    slots: int = 8
    service_time_s: float = 0.1
    service_cv: float = 0.5
    cpu_s_per_request: float = 0.0125
    threshold_s: float = 0.5
    timeout_s: float = 10.0
    balancing: Balancing = "random"
    memory_base_gib: float = 0.25
    memory_per_busy_slot_gib: float = 0.02

    @property
    def capacity_rps(self) -> float:
        """Requests per second of one replica with every slot busy."""
        return self.slots / self.service_time_s


@dataclass(frozen=True)
class Workload:
    """One Deployment, its pods' requests, its service model and its objective."""

    name: str
    service: ServiceModel = field(default_factory=ServiceModel)
    kind: WorkloadKind = "service"
    namespace: str = "default"
    team: str = ""
    cpu_request: float = 1.0  # cores
    memory_request_gib: float = 0.5
    gpu_request: int = 0
    cpu_limit: float = float("inf")  # cores
    memory_limit_gib: float = float("inf")
    priority: int = 0
    min_replicas: int = 1
    max_replicas: int = 100
    initial_replicas: int | None = None  # None: what the load at the start needs
    slo_target: float = 0.999  # good / total
    backlog_age_slo_s: float = 60.0  # kind queue: an item older than this when done is bad
    deadline_s: float = 3600.0  # kind batch: likewise, per hourly batch of work
    start_delay_s: float = 20.0  # scheduled to Ready, mean
    start_delay_cv: float = 0.3
    grace_s: float = 30.0
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    spread: tuple[SpreadConstraint, ...] = ()
    anti_affinity: tuple[AntiAffinity, ...] = ()
    pdb: DisruptionBudget | None = None
    safe_to_evict: bool = True
    hpa: object | None = None  # envs.stack.HpaSpec or KedaSpec of the user's own manifest, else None


@dataclass(frozen=True)
class ClusterSpec:
    """A whole cluster. Tuple order is index order in every array of the project."""

    workloads: tuple[Workload, ...]
    node_pools: tuple[NodePool, ...]
    instance_types: tuple[InstanceType, ...]
    name: str = "cluster"

    def workload_index(self, name: str) -> int:
        return [w.name for w in self.workloads].index(name)


S = TypeVar("S")
T = TypeVar("T")
MOST_SPECS = 64


def once_per_spec(work: Callable[[S], T]) -> Callable[[S], T]:
    """`work` done once for each specification, for every decision asks again. Known by identity: hashing a thousand
    workloads costs more than most of what is asked. MOST_SPECS are kept.
    """
    kept: dict[int, tuple[S, T]] = {}

    @wraps(work)
    def remembered(spec: S) -> T:
        found = kept.get(id(spec))
        if found is None or found[0] is not spec:
            if len(kept) >= MOST_SPECS:
                kept.clear()
            found = kept[id(spec)] = (spec, work(spec))
        return found[1]

    return remembered


@once_per_spec
def object_names(spec: ClusterSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the workloads and of the pools, in the order of every array."""
    return tuple(w.name for w in spec.workloads), tuple(p.name for p in spec.node_pools)
