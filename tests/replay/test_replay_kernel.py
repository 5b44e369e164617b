"""The replay of one workload against the whole simulator, and what any batch of rows must keep."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.replay_run import Price, ReplayRun, Rows
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.setpoints import candidates
from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import BAD_SATURATED, BAD_STARTING, CPU_USED_S, DESIRED_S
from envs.sim.pack import Case
from envs.stack import HpaMetric, HpaSpec, Stack, StaticNodes
from envs.stack_file import load_stack

TICK_S, HOUR = 15.0, 240
PRICE = Price(0.05, 0.0, 90.0)
SERVICES = (
    Workload("few-slots", ServiceModel(2, 0.26, 0.8, 0.2, 3.0), cpu_request=1.6, max_replicas=60, start_delay_cv=0.0),
    Workload("fast", ServiceModel(6, 0.09, 0.6, 0.007, 0.6), cpu_request=0.5, max_replicas=60, start_delay_cv=0.0),
    Workload(
        "mesh",
        ServiceModel(16, 0.09, 1.0, 0.004, 1.5, 10.0, "least_request"),
        cpu_request=0.7,
        max_replicas=60,
        start_delay_s=45.0,
        start_delay_cv=0.0,
    ),
)


def waves(workloads: tuple[Workload, ...], ticks: int) -> np.ndarray:
    """(ticks, W) requests per tick: hills of an hour with jumps on them, 2 to 20 full replicas."""
    t = np.arange(ticks)
    hill = 8.0 + 6.0 * np.sin(2 * np.pi * t / 240.0) + 6.0 * (t % 173 < 40)
    return np.stack([hill * w.service.capacity_rps * TICK_S for w in workloads], axis=1)


def whole_simulator(stack: Stack, arrivals: np.ndarray) -> ClusterSim:
    """The services alone on far too many nodes, so that nothing ever waits for one."""
    machine = InstanceType("big", 64, 256, 63.5, 250.0, 200, 3.0)
    pool = NodePool("nodes", ("big",), min_nodes=12, max_nodes=12, initial_nodes=12)
    scenario = Scenario("wide", ClusterSpec(SERVICES, (pool,), (machine,)), (GeneratedDemand(),) * 3, 1e6, warmup_s=0.0)
    rows = int(np.ceil(len(arrivals) / 20))
    sim = ClusterSim([Case(scenario, stack, 5, list(arrivals[0] / TICK_S))], rows=rows)
    sim.run(np.ascontiguousarray(arrivals[None]))
    return sim


@pytest.mark.parametrize("name", ["hpa-cpu-60", "rps-target"])
def test_a_row_does_what_the_whole_simulator_does_where_nodes_never_lack(name: str) -> None:
    stack = replace(load_stack(name), nodes=StaticNodes())
    arrivals = waves(SERVICES, 960)
    sim = whole_simulator(stack, arrivals)
    rows = [
        Rows(w, (stack.replicas,), (1.0,), PRICE, arrivals[0, i] / TICK_S, node_share=0.0)
        for i, w in enumerate(SERVICES)
    ]
    run = ReplayRun(rows, tick_s=TICK_S)
    run._sim.workloads.phase_s[:] = sim.arrays.clock.hpa_phase_s[0]
    run._sim.workloads.metric_age_s[:] = sim.arrays.service.metric_age_s[0]
    run.advance(arrivals[:HOUR])  # the simulator's first pods still have to start
    spent = run.advance(arrivals[HOUR:])
    work = sim.arrays.rows.work[0][HOUR // 20 :].sum(axis=0)
    bad = work[BAD_SATURATED] + work[BAD_STARTING]
    offered = arrivals[HOUR:].sum(axis=0)
    assert spent.cpu_s[:, 0] == pytest.approx(work[CPU_USED_S], rel=1e-9)
    assert spent.pod_s[:, 0] == pytest.approx(work[DESIRED_S], rel=0.01)
    assert spent.bad[:, 0] / offered == pytest.approx(bad / offered, abs=1e-9)
    assert (bad / offered).min() > 0.01  # there was something to get wrong


def grid_rows(beliefs: tuple[float, ...]) -> list[Rows]:
    specs = [[p.spec for p in candidates(w, HpaSpec())[::9]] for w in SERVICES]
    return [
        Rows(w, tuple(s for s in own for _ in beliefs), beliefs * len(own), PRICE, 100.0)
        for w, own in zip(SERVICES, specs, strict=True)
    ]


def totals(run: ReplayRun, arrivals: np.ndarray, edges: list[int], threads: int = 1) -> np.ndarray:
    parts = [run.advance(arrivals[a:z], threads=threads) for a, z in pairwise(edges)]
    return np.array([np.stack(part) for part in parts])


def test_cuts_and_threads_change_no_bit_of_the_state() -> None:
    arrivals = waves(SERVICES, 480)
    runs = [ReplayRun(grid_rows((0.85, 1.15)), tick_s=TICK_S, seed=3) for _ in range(3)]
    whole = totals(runs[0], arrivals, [0, 480])
    pieces = totals(runs[1], arrivals, [0, 7, 8, 240, 480])
    threaded = totals(runs[2], arrivals, [0, 480], threads=3)
    assert whole.tobytes() == threaded.tobytes()
    assert pieces.sum(axis=0) == pytest.approx(whole[0], rel=1e-12)
    for a, b, c in zip(*(run._sim.state for run in runs), strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


def test_a_row_does_not_see_its_neighbours() -> None:
    arrivals = waves(SERVICES, 240)
    rows = grid_rows((1.0,))
    together = ReplayRun(rows, tick_s=TICK_S).advance(arrivals)
    alone = [replace(r, settings=r.settings[4:5], beliefs=r.beliefs[4:5]) for r in rows]
    assert np.array_equal(ReplayRun(alone, tick_s=TICK_S).advance(arrivals).usd[:, 0], together.usd[:, 4])
    one = ReplayRun(rows[1:2], tick_s=TICK_S).advance(arrivals[:, 1:2])
    assert np.array_equal(one.bad[0], together.bad[1])


def test_rows_that_are_not_live_stand_still_and_cost_nothing() -> None:
    run = ReplayRun(grid_rows((1.0,)), tick_s=TICK_S)
    run.live[:, 1::2] = False
    before = run.replicas.copy()
    spent = run.advance(waves(SERVICES, 240))
    assert spent.usd[:, 1::2].max() == 0.0 == spent.bad[:, 1::2].max()
    assert np.array_equal(run.replicas[:, 1::2], before[:, 1::2])
    assert spent.usd[:, ::2].min() > 0.0


def test_more_capacity_per_replica_is_never_worse_under_a_fixed_count() -> None:
    """Under a belief in more capacity, the same replicas serve no fewer requests well."""
    fixed = HpaSpec(min_replicas=9, max_replicas=9)
    rows = [Rows(w, (fixed,) * 4, (0.7, 0.85, 1.0, 1.3), PRICE, 100.0) for w in SERVICES]
    spent = ReplayRun(rows, tick_s=TICK_S).advance(waves(SERVICES, 480))
    assert (np.diff(spent.bad, axis=1) <= 1e-6).all()
    assert spent.bad[:, 0].min() > spent.bad[:, 3].max() * 0


def test_capacity_is_paid_by_the_larger_of_request_and_use() -> None:
    """Worked: 9 replicas that request 1 core each, at $0.05 a core-hour, for an hour: $0.45."""
    w = Workload("steady", ServiceModel(10, 0.1, 0.5, 0.02, 1.0), cpu_request=1.0, grace_s=0.0)
    hot = replace(w, cpu_request=0.25)  # uses 0.8 x 100 /s x 0.02 s = 1.6 cores
    fixed = HpaSpec(min_replicas=9, max_replicas=9)
    arrivals = np.full((240, 2), 9 * 0.8 * w.service.capacity_rps * TICK_S)
    arrivals[:, 0] *= 0.5  # 0.8 cores used of 1 requested
    run = ReplayRun([Rows(x, (fixed,), (1.0,), PRICE, 720.0, node_share=0.0) for x in (w, hot)], tick_s=TICK_S)
    run._sim.state.ready[:] = run._sim.state.replicas[:] = 9
    usd = run.advance(arrivals).usd[:, 0]
    assert usd[0] == pytest.approx(9 * 0.05)
    assert usd[1] == pytest.approx(9 * 0.05 * 1.6, rel=0.02)


def test_a_memory_metric_or_noise_free_load_is_not_needed() -> None:
    """Two metrics: the larger proposal wins, as in the HPA."""
    rps = HpaMetric("External", "requests_per_second", "AverageValue", capacity_share=0.3)
    both = HpaSpec(metrics=(HpaMetric(target=90.0), rps))
    rows = [Rows(w, (HpaSpec(metrics=(HpaMetric(target=90.0),)), both), (1.0, 1.0), PRICE, 50.0) for w in SERVICES]
    spent = ReplayRun(rows, tick_s=TICK_S).advance(waves(SERVICES, 480))
    assert (spent.pod_s[:, 1] > 1.5 * spent.pod_s[:, 0]).all()
    assert NoiseModel().enabled
