"""Snapshot: what could be measured of a cluster at one moment. The only thing that crosses from the
simulator, or from live telemetry, to the code that decides.

Axes: W workloads and L node pools, in the order of the ClusterSpec. Every signal carries its age;
NaN is unknown, and unknown is never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from envs.load_past import PAST
from envs.plain import Array, from_plain, read_only, to_plain


@dataclass(frozen=True, eq=False)
class Signal:
    """One measured quantity. value (n,), NaN = unknown. age_s (n,): how old at the snapshot's time."""

    value: Array
    age_s: Array

    def __post_init__(self) -> None:
        for name in ("value", "age_s"):
            given = getattr(self, name)
            kept = read_only(given)
            if kept is not given:
                object.__setattr__(self, name, kept)
        if self.value.ndim != 1 or self.value.shape != self.age_s.shape:
            raise ValueError(f"value {self.value.shape} and age_s {self.age_s.shape} must be equal and flat")

    def fresh(self, max_age_s: float, later_s: float = 0.0) -> Any:
        """(n,) bool: known, and not older than max_age_s when looked at later_s after the snapshot.

        No quantity here can be negative, so a negative value is garbage and counts as unknown.
        """
        return np.isfinite(self.value) & (self.value >= 0.0) & (self.age_s + later_s <= max_age_s)


def signal(value: Any, age_s: Any = 0.0) -> Signal:
    """A Signal from anything array-like; a scalar age holds for all."""
    known = np.atleast_1d(np.asarray(value, np.float64))
    if isinstance(age_s, float | int):
        return Signal(known, _ages(known.size, float(age_s)))
    return Signal(known, np.broadcast_to(np.asarray(age_s, np.float64), known.shape))


def signals(values: Any, age_s: Any) -> list[Signal]:
    """A Signal for each row of values (k, n), all of one age: a number, or (n,)."""
    table = np.array(values, np.float64)
    table.setflags(write=False)
    ages = _ages(table.shape[1], age_s) if isinstance(age_s, float | int) else read_only(np.array(age_s))
    return [_kept(row, ages) for row in table]


def _kept(value: Array, age_s: Array) -> Signal:
    """A Signal of flat float64 arrays of one length that nobody can write to: there is nothing left to check."""
    made = object.__new__(Signal)
    made.__dict__.update(value=value, age_s=age_s)
    return made


@lru_cache(maxsize=64)
def _ages(n: int, age_s: float) -> Array:
    return read_only(np.full(n, age_s))


@lru_cache(maxsize=64)
def unknown(n: int) -> Signal:
    """n values that nobody measured."""
    return signal(np.full(n, np.nan), np.inf)


@dataclass(frozen=True, eq=False)
class WorkloadSignals:
    """Each (W,). hpa_*: the HorizontalPodAutoscaler in force; hpa_target in its first metric's unit."""

    offered_rps: Signal  # requests/s that arrived
    cpu_per_pod: Signal  # cores used, mean of the ready pods
    memory_per_pod_gib: Signal
    error_share: Signal  # 0-1, requests that missed the objective
    ready: Signal  # replicas
    desired: Signal  # spec.replicas
    starting: Signal  # bound, not ready
    pending: Signal  # not bound
    hpa_target: Signal  # percent of request, requests/s per pod, ...
    hpa_tolerance_up: Signal  # share
    hpa_tolerance_down: Signal
    hpa_stabilization_up_s: Signal
    hpa_stabilization_down_s: Signal
    hpa_min_replicas: Signal
    hpa_max_replicas: Signal
    buffer_replicas: Signal  # CapacityBuffer: room held for so many more pods


@dataclass(frozen=True, eq=False)
class PoolSignals:
    """Each (L,)."""

    nodes_ready: Signal
    nodes_booting: Signal
    requested_cpu: Signal  # cores
    allocatable_cpu: Signal
    requested_memory_gib: Signal
    allocatable_memory_gib: Signal
    price_usd_per_h: Signal  # of one node, mean of the pool
    weight: Signal  # NodePool fields in force
    consolidate_after_s: Signal
    budget_share: Signal  # 0-1, share of nodes that may be disrupted at once
    min_nodes: Signal
    max_nodes: Signal


@dataclass(frozen=True, eq=False)
class Snapshot:
    """time_s: seconds on the caller's clock (simulated or Unix). Raises ValueError on unequal lengths.

    past_rps (W, len(PAST)): what each workload's load was before, see envs.load_past; empty: nobody kept it.
    """

    time_s: float
    workload_names: tuple[str, ...]
    pool_names: tuple[str, ...]
    workloads: WorkloadSignals
    pools: PoolSignals
    past_rps: Array = field(default_factory=lambda: np.zeros((0, len(PAST))))

    def __post_init__(self) -> None:
        wanted = (len(self.workload_names) if self.past_rps.size else 0, len(PAST))
        object.__setattr__(self, "past_rps", read_only(self.past_rps).reshape(wanted))
        for group, names in ((self.workloads, self.workload_names), (self.pools, self.pool_names)):
            if {one.value.size for one in vars(group).values()} != {len(names)}:
                name, one = next(pair for pair in vars(group).items() if pair[1].value.size != len(names))
                raise ValueError(f"{name}: {one.value.size} values for {len(names)} names")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; `from_dict` gives the same snapshot back, bit for bit."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> Snapshot:
        """Raises KeyError, TypeError or ValueError when a field is missing, unknown or of another shape."""
        made: Snapshot = from_plain(Snapshot, plain)
        return made


History = tuple[Snapshot, ...]  # oldest first; the last is now
