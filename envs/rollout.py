"""Any stack on a scenario: the one loop that what-if, tuning and evaluation stand on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from envs.cron_windows import windows
from envs.demand import Demand, rate_quantile
from envs.matching import hard_taints_tolerated, matches_node_affinity
from envs.measured_loop import Decide, MeasuredLoop
from envs.scenario import Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.pack import Case
from envs.sim.pack_placement import node_groups, requests
from envs.sim.queueing import load_tables, replicas_needed
from envs.sim.rows import timeline_of
from envs.stack import ScheduleSpec, Stack, StaticReplicas
from envs.timeline import Names, Rollout, Sink

DAY_S = 86400.0
BALANCING = {"random": 0, "least_request": 1, "pooled": 2}


def rollout(
    scenario: Scenario,
    stack: Stack,
    seed: int,
    *,
    days: float | None = None,
    sink: Sink | None = None,
    progress: Callable[[float], None] | None = None,
    decide: Decide | None = None,
) -> Rollout:
    """Run `stack` on `scenario` for its horizon (or the first `days`); one Timeline per day to `sink`.

    progress is called with simulated days done. decide: asked for a plan at its own period, from measurements
    only; a stack with `replay` needs one (`optimizer.replay_control.simulate` brings it). Equal scenario, stack,
    seed and version give equal bytes; the demand does not depend on the stack.
    """
    if (stack.replay is not None or stack.learned is not None) and decide is None:
        raise ValueError(f"stack {stack.name} is steered while it runs: run it by optimizer.replay_control.simulate")
    began = time.monotonic()
    demand = Demand.pack([scenario], [seed])
    sim = ClusterSim([case_of(scenario, stack, seed, demand)], rows=rows_per_day(scenario))
    _warm_up(sim, demand)
    horizon_s = min(scenario.horizon_s, days * DAY_S) if days else scenario.horizon_s
    total = max(round(horizon_s / scenario.tick_s), 1)
    names = names_of(scenario)
    chunk = rows_per_day(scenario) * sim.row_ticks
    loop = None if decide is None else MeasuredLoop(sim, decide)
    advance = sim.run if loop is None else loop.run
    for arrivals in _ahead(demand, total, chunk):
        sim.clear_rows()
        first, n = sim.tick, arrivals.shape[1]
        advance(arrivals)
        if sink is not None:
            sink(timeline_of(sim, names, first, n))
        if progress is not None:
            progress(sim.tick * scenario.tick_s / DAY_S)
    return Rollout(
        scenario=scenario.name,
        stack=stack.name,
        seed=seed,
        names=names,
        horizon_s=total * scenario.tick_s,
        ticks=total,
        wall_s=time.monotonic() - began,
        unreachable_slos=unreachable_slos(scenario),
        unschedulable=unschedulable(scenario),
        notes=demand.notes,
        info={} if loop is None else {"decisions": loop.decisions, "decision_s": loop.decision_s},
    )


def _ahead(demand: Demand, total: int, chunk: int) -> Iterator[NDArray[np.float64]]:
    """Arrivals chunk by chunk, the next one made on a second core while the caller simulates."""
    starts = range(0, total, chunk)
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(demand.arrivals, t, min(chunk, total - t)) for t in starts[:1]]
        for t in starts:
            ready = pending.pop().result()
            if t + chunk < total:
                pending.append(pool.submit(demand.arrivals, t + chunk, min(chunk, total - t - chunk)))
            yield ready


def rows_per_day(scenario: Scenario) -> int:
    """5-minute rows in a day's chunk."""
    return int(np.ceil(DAY_S / (max(round(300.0 / scenario.tick_s), 1) * scenario.tick_s)))


def case_of(scenario: Scenario, stack: Stack, seed: int, demand: Demand) -> Case:
    """A cluster of a batch; see case_at."""
    return case_at(scenario, stack, seed, demand.rates(0, 1)[0, 0])


def case_at(scenario: Scenario, stack: Stack, seed: int, first_rps: NDArray[np.float64]) -> Case:
    """A cluster whose load begins with these rates; fixed replica counts are worked out from the load's quantile.

    The load at the start of a batch workload is the mean of its first hour, not what comes in its first tick.
    """
    hours = [scenario.tick_s / 3600.0 if w.kind == "batch" else 1.0 for w in scenario.cluster.workloads]
    first = first_rps[: len(hours)] * hours
    scalers = [stack.scaler_of(w) for w in scenario.cluster.workloads]
    replicas = [static_count(scenario, s, w) if isinstance(s, StaticReplicas) else 0 for w, s in enumerate(scalers)]
    floors = [schedule_floors(scenario, s, w) if isinstance(s, ScheduleSpec) else () for w, s in enumerate(scalers)]
    return Case(scenario, stack, seed, first, replicas, floors)


def schedule_floors(scenario: Scenario, spec: ScheduleSpec, w: int) -> tuple[int, ...]:
    """Replicas that each window of a schedule keeps: given, or for a quantile of the load in its own hours."""
    workload = scenario.cluster.workloads[w]
    floors = []
    for window in spec.windows:
        if window.load_quantile is None:
            floors.append(window.min_replicas or 0)
            continue
        opened = windows(window.start, window.end, window.timezone, scenario.start_utc, (0.0, scenario.horizon_s))
        rps = rate_quantile(scenario, w, window.load_quantile, during=opened)
        floors.append(int(np.ceil(rps / (workload.service.capacity_rps * spec.utilization) - 1e-9)))
    return tuple(floors)


def static_count(scenario: Scenario, static: StaticReplicas, w: int) -> int:
    """Replicas that carry the load's quantile at the wanted utilization, within the bounds."""
    workload = scenario.cluster.workloads[w]
    rps = rate_quantile(scenario, w, static.quantile)
    need = rps / (workload.service.capacity_rps * static.utilization) * static.headroom
    return int(np.clip(np.ceil(need - 1e-9), max(workload.min_replicas, 1), workload.max_replicas))


def _warm_up(sim: ClusterSim, demand: Demand) -> None:
    while sim.tick < 0:
        n = min(-sim.tick, 2000)
        sim.run(demand.arrivals(sim.tick, n))


def names_of(scenario: Scenario) -> Names:
    """Axis labels of this scenario's timelines."""
    cluster = scenario.cluster
    groups = node_groups(cluster)
    return Names(
        workloads=tuple(w.name for w in cluster.workloads),
        namespaces=tuple(w.namespace for w in cluster.workloads),
        teams=tuple(w.team for w in cluster.workloads),
        slo_targets=tuple(w.slo_target for w in cluster.workloads),
        kinds=tuple(w.kind for w in cluster.workloads),
        pools=tuple(p.name for p in cluster.node_pools),
        groups=tuple(g.name for g in groups),
        group_pool=tuple(g.pool for g in groups),
        group_type=tuple(g.machine.name for g in groups),
        group_zone=tuple(g.zone for g in groups),
        group_capacity_type=tuple(g.capacity_type for g in groups),
    )


def unreachable_slos(scenario: Scenario) -> tuple[str, ...]:
    """Services whose SLO no replica count can meet: too many requests are slow on an idle replica."""
    tables, out = load_tables(), []
    for w in scenario.cluster.workloads:
        s = w.service
        args = (s.slots, s.service_time_s, s.service_cv, s.threshold_s, BALANCING[s.balancing])
        if w.kind == "service" and replicas_needed(tables, 1e-3, w.slo_target, *args, 1_000_000) < 0:
            out.append(w.name)
    return tuple(out)


def unschedulable(scenario: Scenario) -> tuple[str, ...]:
    """Workloads whose pod no empty node of the scenario takes: too large, or selector and taints forbid it."""
    out = []
    for w in scenario.cluster.workloads:
        cpu, memory, _, gpu = requests(w)
        fits = any(
            cpu <= round((g.machine.allocatable_cpu - g.spec.daemon_cpu) * 1000)
            and memory <= (g.machine.allocatable_memory_gib - g.spec.daemon_memory_gib) * 2**30
            and gpu <= g.machine.gpu
            and matches_node_affinity(g.labels, node_selector=dict(w.node_selector))
            and hard_taints_tolerated(w.tolerations, g.spec.taints)
            for g in node_groups(scenario.cluster)
        )
        if not fits:
            out.append(w.name)
    return tuple(out)
