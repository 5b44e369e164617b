"""The tick: events, then load, then memory, then money. One compiled entry for a range of clusters."""

from __future__ import annotations

from typing import Any

from envs.sim.billing import bill_tick
from envs.sim.events import run_events
from envs.sim.faults import count_dead_endpoints
from envs.sim.jit import inner, kernel
from envs.sim.load import serve_workload, set_speeds
from envs.sim.memory import enforce_memory
from envs.sim.nodes import make_node_ready, request_node


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
            count_dead_endpoints(s, b, tick * dt, (tick + 1) * dt)
            set_speeds(s, b, arrivals, i, dt)
            for w in range(arrivals.shape[2]):
                serve_workload(s, b, w, arrivals[b, i, w], tick, row, dt)
            if row >= 0:
                bill_tick(s, b, row, dt)
            enforce_memory(s, b, row, (tick + 1) * dt)


@inner
def _start_tick(s: Any, b: int, dt: float) -> None:
    for w in range(s.flow.ready_pod_s.shape[1]):
        s.flow.ready_pod_s[b, w] = s.flow.n_ready[b, w] * dt
    for g in range(s.clock.node_extra_s.shape[1]):
        s.clock.node_extra_s[b, g] = 0.0


@kernel
def place_initial(s: Any, b: int, g: int, count: int, now_s: float) -> None:
    """Give cluster b `count` nodes of group g that are Ready at now_s."""
    for _ in range(count):
        n = request_node(s.nodes, s.groups, s.clock, s.rng, b, g, now_s, now_s)
        if n >= 0:
            s.nodes.ready_s[b, n] = now_s
            make_node_ready(s.nodes, s.clock, b, n)
