"""The simulator on a recording's own scenario, as a Course.

Two things that are chance on both sides are taken from the recording, so that they do not count as error: the
base age of each workload's metrics, and the moments at which the HPA controller looked at each workload. (It takes an
object up again one period *after* it was done with it, so the true period is longer by what its work took.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.demand import Demand
from envs.rollout import case_of
from envs.scenario import Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import BAD_NO_NODE, BAD_SATURATED, BAD_STARTING, GOOD, NODE_S, NODE_USD, READY_S
from envs.sim.jit import kernel
from envs.sim.pack_placement import node_groups
from envs.sim.replicas import reconcile
from tests.control_plane.course import Change, Course, empty_course
from tests.control_plane.recorded import sync_times
from tests.control_plane.recording import Recording


@kernel
def create_pods(s: Any, w: int, now_s: float, tick_end_s: float) -> None:
    """A Deployment's first pods, without waiting for the autoscaler's first look."""
    reconcile(s, 0, w, now_s, -1, tick_end_s)


def simulate(recording: Recording, scenario: Scenario, *, seed: int | None = None) -> Course:
    """Run the recording's stack on its scenario. seed: of start delays, boot delays and ties."""
    seed = scenario.seed if seed is None else seed
    demand = Demand.pack([scenario], [scenario.seed])
    sim = ClusterSim([case_of(scenario, scenario.stacks[0], seed, demand)])
    n = len(scenario.cluster.workloads)
    sim.arrays.service.metric_age_s[0, :n] = recording.header["metric_age_s"]
    sim.arrays.clock.ends_count[0] = 0  # kwok's pods are gone without the terminal phase that a kubelet reports
    looks = Looks(sim, recording, n)
    first = sim.tick
    start_s = sim.arrays.service.start_mean_s[0].copy()
    if recording.header["first_pods"] == "ready":
        sim.arrays.service.start_mean_s[0] = 0.0  # until the first tick is over
    for w in range(n):
        create_pods(sim.view, w, sim.tick * sim.tick_s, (sim.tick + 1) * sim.tick_s)
    ticks = round(scenario.horizon_s / scenario.tick_s)
    course = empty_course(ticks, n, scenario.tick_s)
    types = [(g.machine.name, g.capacity_type) for g in node_groups(scenario.cluster)]
    for tick in range(sim.tick, ticks):
        before = sim.arrays.flow.spec_replicas[0, :n].copy()
        due = looks.set()
        sim.clear_rows()
        sim.run(demand.arrivals(tick, 1))
        looks.count()
        if tick == first:
            sim.arrays.service.start_mean_s[0] = start_s
        if tick >= 0:
            _note_tick(course, sim, tick, types)
            _note_changes(course, sim, due, before)
    return course


class Looks:
    """Makes the simulated HPA controller look at each workload when the real one did.

    Before every tick, each workload's next look is given as its phase in cycle 0, in the order of their times;
    after it, those that were run are counted. After the recording's last look they go on by its median period.
    """

    def __init__(self, sim: ClusterSim, recording: Recording, n: int) -> None:
        self.clock, self.n = sim.arrays.clock, n
        self.times = sync_times(recording, n, float(self.clock.hpa_period_s[0]))
        gaps = np.concatenate([np.diff(own) for own in self.times])
        self.period = float(np.median(gaps)) if len(gaps) else float(self.clock.hpa_period_s[0])
        self.clock.hpa_period_s[0] = self.period
        self.start_s = sim.tick * sim.tick_s + self.clock.hpa_phase_s[0].copy()
        self.done = np.zeros(len(self.start_s), np.int64)

    def set(self) -> list[float]:
        """Put down the next look of each workload; its time."""
        due = [self._next(w) for w in range(len(self.done))]
        self.clock.hpa_phase_s[0] = due
        self.clock.hpa_order[0] = np.argsort(due, kind="stable")
        self.clock.hpa_next[0] = 0
        return due

    def count(self) -> None:
        """Note which looks the tick has run."""
        width = len(self.done)
        for place, w in enumerate(self.clock.hpa_order[0]):
            self.done[w] += max(0, -((place - int(self.clock.hpa_next[0])) // width))

    def _next(self, w: int) -> float:
        own = self.times[w] if w < self.n else []
        k = int(self.done[w])
        if k < len(own):
            return own[k]
        if own:
            return own[-1] + (k - len(own) + 1) * self.period
        return float(self.start_s[w]) + k * self.period


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


def _note_changes(course: Course, sim: ClusterSim, due: list[float], before: np.ndarray) -> None:
    """A change within a tick came with the workload's look in it."""
    flow = sim.arrays.flow
    for w in np.flatnonzero(flow.spec_replicas[0, : len(before)] != before):
        course.changes.append(Change(due[w], int(w), int(before[w]), int(flow.spec_replicas[0, w])))
