"""The load of a replayed scenario: the simulator's own service and measurement kernels on the *real* pods.

Every tick, what the control plane did in it (ready pod-seconds, pods and nodes as they are now) is written
into the arrays of an otherwise unused ClusterSim, and its kernels serve the tick and answer metrics. So CPU,
saturation, windows and ages are by construction those of the simulator; replicas and nodes are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.demand import Demand
from envs.rollout import case_of
from envs.scenario import Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import BAD_NO_NODE, BAD_SATURATED, BAD_STARTING, GOOD
from envs.sim.jit import kernel
from envs.sim.load import serve_workload, set_speeds
from envs.sim.measure import external_value, per_pod_milli, sample_time_s
from envs.sim.pack import initial_replicas
from envs.sim.pack_placement import node_groups
from envs.sim.state import NODE_READY, POD_READY, POD_STARTING
from envs.stack import Stack

GroupKey = tuple[str, str, str, str]  # NodePool, instance type, zone, capacity type


@kernel
def serve_tick(s: Any, arrivals: Any, tick: int, dt: float) -> None:
    """Serve one tick of cluster 0 into row 0; arrivals (1, 1, W)."""
    set_speeds(s, 0, arrivals, 0, dt)
    for w in range(arrivals.shape[2]):
        serve_workload(s, 0, w, arrivals[0, 0, w], tick, 0, dt)


@kernel
def read_pod(s: Any, w: int, signal: int, sample_s: float, tick: int) -> float:
    return per_pod_milli(s, 0, w, signal, sample_s, tick)


@kernel
def read_total(s: Any, w: int, signal: int, now_s: float, tick: int) -> float:
    return external_value(s, 0, w, signal, now_s, tick)


@kernel
def read_sample_time(s: Any, w: int, now_s: float) -> float:
    return sample_time_s(s, 0, w, now_s)


@dataclass(frozen=True)
class PodNow:
    """One pod that is bound and not being deleted."""

    workload: int
    node: str
    ready: bool


@dataclass(frozen=True)
class TickInput:
    """What the control plane did in one tick, (W,) each, and what stands at its end."""

    ready_pod_s: list[float]
    starting: list[int]
    pending: list[int]
    terminating: list[int]
    pods: list[PodNow]
    nodes: dict[str, GroupKey]


@dataclass(frozen=True)
class TickResult:
    """Requests of the tick, (W,) each, and cores in use by one ready pod."""

    good: list[float]
    bad: list[float]
    cores: list[float]


class Shadow:
    """Load and measurement of one scenario whose pods are somewhere else."""

    def __init__(self, scenario: Scenario, stack: Stack) -> None:
        self.scenario = scenario
        self.demand = Demand.pack([scenario], [scenario.seed])
        case = case_of(scenario, stack, scenario.seed, self.demand)
        self.sim = ClusterSim([case])
        self.dt, self.tick = scenario.tick_s, self.sim.tick
        self.done = self.tick  # ticks before this one have been served
        self.n = len(scenario.cluster.workloads)
        self.groups: dict[GroupKey, int] = {}
        for g, group in enumerate(node_groups(scenario.cluster)):
            self.groups[group_key(group.labels)] = g
        fixed = self.sim.arrays.static_replicas[0]
        self.initial = [
            int(fixed[i]) if fixed[i] >= 0 else initial_replicas(w, float(case.first_rps[i]))
            for i, w in enumerate(scenario.cluster.workloads)
        ]

    @property
    def metric_age_s(self) -> list[float]:
        """Base age of each workload's resource samples."""
        return [float(x) for x in self.sim.arrays.service.metric_age_s[0, : self.n]]

    def serve(self, tick: int, given: TickInput) -> TickResult:
        """Serve tick `tick`, which must be the next one."""
        flow = self.sim.arrays.flow
        flow.ready_pod_s[0, : self.n] = given.ready_pod_s
        flow.n_starting[0, : self.n] = given.starting
        flow.n_pending[0, : self.n] = given.pending
        flow.n_terminating[0, : self.n] = given.terminating
        self._place(given)
        self.sim.clear_rows()
        serve_tick(self.sim.view, self.demand.arrivals(tick, 1), tick, self.dt)
        self.done = tick + 1
        work = self.sim.arrays.rows.work[0, 0]
        bad = work[BAD_SATURATED] + work[BAD_STARTING] + work[BAD_NO_NODE]
        return TickResult(_list(work[GOOD], self.n), _list(bad, self.n), _list(flow.cpu_per_pod[0], self.n))

    def pod_milli(self, w: int, signal: int, now_s: float, sample_s: float) -> float:
        """One ready pod in milli-units at sample_s; -1 = unknown. See envs.sim.measure."""
        return float(read_pod(self.sim.view, w, signal, sample_s, self._current(now_s)))

    def total(self, w: int, signal: int, now_s: float) -> float:
        """The workload's total as an External metric; -1 = unknown."""
        return float(read_total(self.sim.view, w, signal, now_s, self._current(now_s)))

    def sample_time(self, w: int, now_s: float) -> float:
        """Time of the newest resource sample."""
        return float(read_sample_time(self.sim.view, w, now_s))

    def _current(self, now_s: float) -> int:
        """The tick in work at now_s; a served tick at most one later when the machine is slow."""
        return min(int(np.floor(now_s / self.dt)), self.done)

    def _place(self, given: TickInput) -> None:
        """Pods and nodes into the slots that CPU contention reads."""
        nodes, pods = self.sim.arrays.nodes, self.sim.arrays.pods
        nodes.group[0], nodes.phase[0], nodes.first_pod[0] = -1, 0, -1
        pods.workload[0], pods.phase[0] = -1, 0
        slots: dict[str, int] = {}
        for name, key in given.nodes.items():
            group = self.groups.get(key, -1)
            if group >= 0 and len(slots) < nodes.group.shape[1]:
                slots[name] = len(slots)
                nodes.group[0, slots[name]], nodes.phase[0, slots[name]] = group, NODE_READY
        nodes.hi[0] = len(slots)
        p = 0
        for pod in given.pods:
            if pod.node not in slots or p >= pods.phase.shape[1]:
                continue
            n = slots[pod.node]
            pods.workload[0, p], pods.node[0, p] = pod.workload, n
            pods.phase[0, p] = POD_READY if pod.ready else POD_STARTING
            pods.next_n[0, p], nodes.first_pod[0, n] = nodes.first_pod[0, n], p
            p += 1
        pods.hi[0] = p


def group_key(labels: dict[str, str]) -> GroupKey:
    """The node group that a node with these labels belongs to."""
    return (
        labels.get("karpenter.sh/nodepool", ""),
        labels.get("node.kubernetes.io/instance-type", ""),
        labels.get("topology.kubernetes.io/zone", ""),
        labels.get("karpenter.sh/capacity-type", "on-demand"),
    )


def _list(values: Any, n: int) -> list[float]:
    return [float(x) for x in values[:n]]
