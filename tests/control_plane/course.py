"""What happened, tick by tick, in one run: the common shape of a recording and of a simulation of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """One change of spec.replicas."""

    t: float  # scenario seconds
    w: int
    before: int
    after: int

    @property
    def up(self) -> bool:
        return self.after > self.before


@dataclass
class Course:
    """Rows are ticks from scenario time 0 to the end; W workloads."""

    time_s: Array  # (T,) start of each tick
    desired: Array  # (T, W) spec.replicas at the tick's end
    ready: Array  # (T, W) mean Ready pods
    pending: Array  # (T, W) unbound pods at the tick's end
    good: Array  # (T, W) requests
    bad: Array
    nodes: Array  # (T,) mean billed nodes
    usd: Array  # (T,)
    changes: list[Change] = field(default_factory=list)
    pod_s: dict[tuple[int, str], float] = field(default_factory=dict)  # bound pod-seconds by workload and machine type
    node_s: dict[str, float] = field(default_factory=dict)  # node-seconds by machine type and capacity type


def empty_course(ticks: int, workloads: int, dt: float) -> Course:
    def table() -> Array:
        return np.zeros((ticks, workloads))

    one = np.zeros(ticks)
    return Course(np.arange(ticks) * dt, table(), table(), table(), table(), table(), one.copy(), one.copy())


def add_span(row: Array, dt: float, start_s: float, end_s: float, amount: float = 1.0) -> float:
    """Add `amount` x the overlap of [start_s, end_s) with each tick to row (T,), over dt; seconds inside."""
    start_s, end_s = max(start_s, 0.0), min(end_s, len(row) * dt)
    if end_s <= start_s:
        return 0.0
    edges = np.arange(len(row)) * dt
    overlap = np.clip(np.minimum(edges + dt, end_s) - np.maximum(edges, start_s), 0.0, None)
    row += amount * overlap / dt
    return end_s - start_s


def as_steps(changes: Any, ticks: int, dt: float, before: float) -> Array:
    """A step function of (time, value) pairs, in order, at the ends of ticks."""
    out = np.full(ticks, before)
    for at_s, value in changes:
        first = max(int(np.ceil(at_s / dt - 1e-9)) - 1, 0)
        if first < ticks:
            out[first:] = value
    return out
