"""Compile every kernel that a what-if needs, once, with progress: `trimtab setup`."""

from __future__ import annotations

import multiprocessing
import sys
import time

import numpy as np
from numba.core import event, types

from envs.bound_tables import foresee
from envs.controllers.cluster_autoscaler import ca_loop
from envs.demand import Demand
from envs.replay_run import ReplayRun, Rows, cheapest
from envs.rollout import rollout, unreachable_slos
from envs.scenario_file import load_scenario
from envs.sim.billing import bill_tick
from envs.sim.cluster_sim import ClusterSim
from envs.sim.events import run_sync
from envs.sim.faults import strike
from envs.sim.jit import cache_dir
from envs.sim.karpenter import disrupt, provision
from envs.sim.load import serve_workload
from envs.sim.measure import measure_clusters, measure_workloads
from envs.sim.memory import enforce_memory
from envs.sim.pack import Case
from envs.sim.queueing import load_tables
from envs.sim.replay import serve_series
from envs.sim.scheduling import schedule_pending
from envs.stack import HpaSpec
from envs.stack_file import load_stack

KERNELS = 300  # how many this process compiles, about: only the progress bar's length depends on it


class _Progress(event.Listener):  # type: ignore[misc]
    """Counts finished compilations; rewrites one line on a terminal, prints a few lines elsewhere."""

    def __init__(self) -> None:
        self.done = 0
        self.began = time.monotonic()

    def on_start(self, event: object) -> None:
        """Nothing to show yet."""

    def on_end(self, event: object) -> None:
        self.done += 1
        total = max(KERNELS, self.done)
        if sys.stderr.isatty():
            bar = "#" * (30 * self.done // total)
            line = f"\rcompiling kernels [{bar:<30}] {self.done} done, {time.monotonic() - self.began:.0f} s "
            print(line, end="", file=sys.stderr, flush=True)
        elif self.done % 40 == 0:
            print(f"compiling kernels: {self.done} of about {total}", file=sys.stderr, flush=True)


def compile_kernels() -> float:
    """Compile into the cache (a no-op of a second when it is there already); seconds taken."""
    progress = _Progress()
    began = time.monotonic()
    event.register("numba:compile", progress)
    try:
        _exercise()
    finally:
        event.unregister("numba:compile", progress)
    seconds = time.monotonic() - began
    end = "\n" if sys.stderr.isatty() and progress.done else ""
    print(f"{end}kernels ready in {seconds:.0f} s ({progress.done} compiled), cached in {cache_dir()}", file=sys.stderr)
    return seconds


def _exercise() -> None:
    """Compile on two cores: the node autoscalers in a process of its own, the rest here, then the whole.

    A kernel that is in the cache is not compiled again by its callers, so the halves meet there.
    """
    sim = _toy()
    apart = multiprocessing.get_context("spawn").Process(target=compile_node_autoscalers)
    apart.start()
    view, number, real = sim.view.numba_type, types.int64, types.float64
    schedule_pending.compile((view, number, real, number, real))
    run_sync.compile((view, number, real, number, number, real))
    serve_workload.compile((view, number, number, real, number, number, real))
    strike.compile((view, number, number, real, number, real))
    bill_tick.compile((view, number, number, real))
    enforce_memory.compile((view, number, number, real))
    measure_workloads.compile((view, number, real, number, types.float64[:, ::1]))
    measure_clusters.compile((view, real, number, types.float64[:, :, ::1]))
    _demand_and_bound()
    _replay()
    apart.join()
    if apart.exitcode:
        raise RuntimeError("the node autoscalers' kernels do not compile; the reason is above")
    rollout(load_scenario("toy"), load_stack("hpa-default"), 0, days=0.01)


def compile_node_autoscalers() -> None:
    """The Cluster Autoscaler's loop, Karpenter's solves and its loops: about half of all there is to compile."""
    sim = _toy()
    view, number, real = sim.view.numba_type, types.int64, types.float64
    names = ("classes", "topology", "groups", "nodes", "pods", "flow", "ca", "ca_state", "ca_out", "rng")
    ca_loop.compile((*(sim.view.part(name) for name in names), number, real))
    disrupt.compile((view, number, real, number, real))
    provision.compile((view, number, real, number, real))


def _toy() -> ClusterSim:
    return ClusterSim([Case(load_scenario("toy"), load_stack("hpa-default"), 0, [1.0])])


def _demand_and_bound() -> None:
    """What a rollout and its bound need besides the tick: demand, replica counts for an SLO, the cheapest tick."""
    scenario = load_scenario("toy")
    Demand.pack([scenario], [0]).arrivals(0, 1)
    unreachable_slos(scenario)
    foresee(scenario, 0, days=0.01)


def _replay() -> None:
    """What tuning from a history needs: the past under other settings, and under those it had."""
    cluster = load_scenario("toy").cluster
    workload = cluster.workloads[0]
    run = ReplayRun([Rows(workload, (HpaSpec(),), (1.0,), cheapest(cluster, workload))], tick_s=15.0)
    run.advance(np.zeros((1, 1)))
    one = np.ones(1)
    serve_series(load_tables(), one, one, 15.0, (1.0, 1.0, 1.0, 1.0, 1.0, 0.0), np.empty((1, 4)))


if __name__ == "__main__":
    compile_kernels()
