"""Python entries to kernels of the core that otherwise only kernels call."""

from __future__ import annotations

from typing import Any

from envs.sim import billing, faults, load, measure, memory, pods
from envs.sim.jit import kernel

_bill_tick, _set_speeds, _fill_sample = billing.bill_tick, load.set_speeds, measure.fill_sample
_enforce_memory, _deletion_choice = memory.enforce_memory, pods.deletion_choice
_sample_time_s, _interrupt_node = measure.sample_time_s, faults.interrupt_node


@kernel
def bill_tick(s: Any, b: int, row: int, dt: float) -> None:
    _bill_tick(s, b, row, dt)


@kernel
def set_speeds(s: Any, b: int, arrivals: Any, tick: int, dt: float) -> None:
    _set_speeds(s, b, arrivals, tick, dt)


@kernel
def fill_samples(s: Any, b: int, now_s: float, tick: int) -> None:
    """Every workload's sample as its HPA would see it at now_s."""
    for w in range(s.flow.n_ready.shape[1]):
        _fill_sample(s, b, w, now_s, tick)


@kernel
def sample_ages(s: Any, b: int, w: int, times_s: Any, out: Any) -> None:
    for i in range(times_s.shape[0]):
        out[i] = times_s[i] - _sample_time_s(s, b, w, times_s[i])


@kernel
def enforce_memory(s: Any, b: int, row: int, tick_end_s: float) -> None:
    _enforce_memory(s, b, row, tick_end_s)


@kernel
def deletion_choice(s: Any, b: int, w: int, now_s: float) -> int:
    return _deletion_choice(s.pods, s.nodes, b, w, now_s)


@kernel
def interrupt_node(s: Any, n: int, now_s: float, notice_s: float, tick_end_s: float) -> None:
    """The provider's notice for node n of cluster 0; no row counts it."""
    _interrupt_node(s, 0, n, now_s, notice_s, -1, tick_end_s)
