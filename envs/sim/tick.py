"""The tick: events, then load, then memory, then money. One compiled entry for a range of clusters."""

from __future__ import annotations

from typing import Any

from envs.sim.billing import bill_tick
from envs.sim.events import first_sync, run_events
from envs.sim.jit import kernel
from envs.sim.load import serve_workload, set_speeds
from envs.sim.memory import enforce_memory


@kernel
def run_ticks(s: Any, arrivals: Any, first: int, last: int, tick0: int, ticks_per_row: int) -> None:
    """Advance clusters first..last-1 by arrivals.shape[1] ticks, from tick tick0.

    arrivals: (B, n, W) requests arriving in each tick. Ticks below 0 are warm-up: simulated, not
    recorded. Row of tick t: (t // ticks_per_row) % Y. Clusters do not touch each other, so ranges
    may run on threads.
    """
    rows = s.rows.work.shape[1]
    for b in range(first, last):
        dt = s.clock.tick_s[b]
        for i in range(arrivals.shape[1]):
            tick = tick0 + i
            row = (tick // ticks_per_row) % rows if tick >= 0 else -1
            _start_tick(s, b, dt)
            run_events(s, b, tick, row)
            set_speeds(s, b, arrivals, i, dt)
            for w in range(arrivals.shape[2]):
                serve_workload(s, b, w, arrivals[b, i, w], tick, row, dt)
            if row >= 0:
                bill_tick(s, b, row, dt)
            enforce_memory(s, b, row, (tick + 1) * dt)


@kernel
def prime(s: Any, b: int, from_s: float) -> None:
    """Set cluster b's controllers to start at from_s (a multiple of the HPA period is best)."""
    first_sync(s, b, from_s)



@kernel
def _start_tick(s: Any, b: int, dt: float) -> None:
    for w in range(s.flow.ready_pod_s.shape[1]):
        s.flow.ready_pod_s[b, w] = s.flow.n_ready[b, w] * dt
    for g in range(s.clock.node_extra_s.shape[1]):
        s.clock.node_extra_s[b, g] = 0.0
