"""The simulator on a recording's own scenario, as a Course.

Three things that are chance on both sides are taken from the recording, so that they do not count as
error: the base age of each workload's metrics, the phase of each HPA's syncs, and their measured period.
"""

from __future__ import annotations

import numpy as np

from envs.demand import Demand
from envs.rollout import case_of
from envs.scenario import Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import BAD_NO_NODE, BAD_SATURATED, BAD_STARTING, GOOD, NODE_S, NODE_USD, READY_S
from envs.sim.pack_placement import node_groups
from tests.control_plane.course import Change, Course, empty_course
from tests.control_plane.recorded import sync_phases
from tests.control_plane.recording import Recording


def simulate(recording: Recording, scenario: Scenario, *, seed: int | None = None) -> Course:
    """Run the recording's stack on its scenario. seed: of start delays, boot delays and ties."""
    seed = scenario.seed if seed is None else seed
    demand = Demand.pack([scenario], [scenario.seed])
    sim = ClusterSim([case_of(scenario, scenario.stacks[0], seed, demand)])
    _take_chance(sim, recording, scenario)
    n = len(scenario.cluster.workloads)
    while sim.tick < 0:
        sim.run(demand.arrivals(sim.tick, 1))
    ticks = round(scenario.horizon_s / scenario.tick_s)
    course = empty_course(ticks, n, scenario.tick_s)
    types = [(g.machine.name, g.capacity_type) for g in node_groups(scenario.cluster)]
    for tick in range(ticks):
        before = sim.arrays.flow.spec_replicas[0, :n].copy()
        sim.clear_rows()
        sim.run(demand.arrivals(tick, 1))
        _note_tick(course, sim, tick, types)
        _note_changes(course, sim, tick, before)
    return course


def _take_chance(sim: ClusterSim, recording: Recording, scenario: Scenario) -> None:
    clock, n = sim.arrays.clock, len(scenario.cluster.workloads)
    sim.arrays.service.metric_age_s[0, :n] = recording.header["metric_age_s"]
    phases, period = sync_phases(recording, n, float(clock.hpa_period_s[0]))
    clock.hpa_period_s[0] = period
    for w, phase in enumerate(phases):
        if phase is not None:
            clock.hpa_phase_s[0, w] = phase
    clock.hpa_order[0] = np.argsort(clock.hpa_phase_s[0], kind="stable")
    clock.hpa_next[0] = int(np.ceil(sim.tick * sim.tick_s / period)) * clock.hpa_order.shape[1]


def _note_tick(course: Course, sim: ClusterSim, tick: int, types: list[tuple[str, str]]) -> None:
    flow, dt, n = sim.arrays.flow, sim.tick_s, course.desired.shape[1]
    work, group = sim.arrays.rows.work[0, 0], sim.arrays.rows.group[0, 0]
    course.desired[tick] = flow.spec_replicas[0, :n]
    course.ready[tick] = work[READY_S, :n] / dt
    course.pending[tick] = flow.n_pending[0, :n]
    course.good[tick] = work[GOOD, :n]
    course.bad[tick] = (work[BAD_SATURATED] + work[BAD_STARTING] + work[BAD_NO_NODE])[:n]
    course.nodes[tick] = group[NODE_S].sum() / dt
    course.usd[tick] = group[NODE_USD].sum()
    for g, (machine, capacity) in enumerate(types):
        key = f"{machine}/{capacity}"
        course.node_s[key] = course.node_s.get(key, 0.0) + float(group[NODE_S, g])
        for w in range(n):
            pods = int(flow.bound_in_group[0, w, g])
            if pods:
                course.pod_s[w, machine] = course.pod_s.get((w, machine), 0.0) + pods * dt


def _note_changes(course: Course, sim: ClusterSim, tick: int, before: np.ndarray) -> None:
    """A change within a tick came with the workload's sync in it."""
    flow, clock, dt = sim.arrays.flow, sim.arrays.clock, sim.tick_s
    period = float(clock.hpa_period_s[0])
    for w in np.flatnonzero(flow.spec_replicas[0, : len(before)] != before):
        phase = float(clock.hpa_phase_s[0, w])
        last = np.floor(((tick + 1) * dt - phase) / period) * period + phase
        course.changes.append(Change(float(last), int(w), int(before[w]), int(flow.spec_replicas[0, w])))
