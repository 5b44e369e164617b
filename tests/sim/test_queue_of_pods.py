"""Scheduling queue, preemption and drains inside the simulation: they end, and do no more than they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.cluster import ClusterSpec, DisruptionBudget, InstanceType, NodePool, ServiceModel, Workload
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import PODS_EVICTED
from envs.sim.pack import Case
from envs.sim.state import NODE_DRAINING
from envs.stack import ClusterAutoscaler, Stack, StaticNodes, StaticReplicas
from tests.sim.recount import check_books

BOX = InstanceType("box", 4, 64.0, 4.0, 64.0, 100, 1.0)


def pods(name: str, cpu: float, **fields: Any) -> Workload:
    values: dict[str, Any] = {"start_delay_s": 5.0, "start_delay_cv": 0.0, "memory_request_gib": 0.5}
    return Workload(name, ServiceModel(), cpu_request=cpu, max_replicas=50, **{**values, **fields})


def cluster(workloads: tuple[Workload, ...], counts: list[int], nodes: int, autoscaler: Any = None, **more: Any) -> Any:
    """A simulation of fixed replica counts on `nodes` boxes of 4 cores."""
    pool = NodePool("pool", ("box",), initial_nodes=nodes, max_nodes=nodes, daemon_cpu=0.0, daemon_memory_gib=0.0)
    tick_s = more.pop("tick_s", 15.0)
    warmup_s = more.pop("warmup_s", 0.0)
    demand = (GeneratedDemand(),) * len(workloads)
    spec = ClusterSpec(workloads, (pool,), (BOX,))
    scenario = Scenario("queue", spec, demand, 7200.0, tick_s, warmup_s, NoiseModel(enabled=False))
    stack = Stack("fixed", replicas=StaticReplicas(), nodes=autoscaler or StaticNodes())
    return ClusterSim([Case(scenario, stack, 2, np.zeros(len(workloads)), counts)], rows=40)


def run(sim: ClusterSim, seconds: float) -> None:
    sim.run(np.zeros((1, int(seconds / sim.tick_s), len(sim.cases[0].scenario.cluster.workloads))))
    check_books(sim)


def evicted(sim: ClusterSim) -> float:
    return float(sim.arrays.rows.cluster[0, :, PODS_EVICTED].sum())


def set_replicas(sim: ClusterSim, w: int, count: int) -> None:
    sim.arrays.static_replicas[0, w] = count


@pytest.mark.parametrize("tick_s", [5.0, 15.0, 60.0])
@pytest.mark.parametrize("graces", [(30.0, 30.0), (5.0, 90.0)])
def test_a_preempting_pod_gets_the_room_it_made(tick_s: float, graces: tuple[float, float]) -> None:
    """A node of 4 cores: 1 + 2 in use by others, the important pod needs 3; nobody moves in while it waits."""
    low = (pods("a", 1.0, grace_s=graces[0]), pods("b", 1.0, grace_s=graces[1]))
    sim = cluster((*low, pods("vip", 3.0, priority=100)), [1, 2, 0], 1, tick_s=tick_s)
    run(sim, 120.0)
    assert sim.arrays.flow.n_ready[0].tolist() == [1, 2, 0]
    set_replicas(sim, 2, 1)
    run(sim, 900.0)
    assert sim.arrays.flow.n_ready[0].tolist()[2] == 1
    assert sim.arrays.flow.n_ready[0].sum() == 2
    assert evicted(sim) == 2, "no pod was evicted twice"


def test_many_pods_preempt_in_one_grace_time() -> None:
    """Twelve important pods take six full nodes in one go, not one after the other."""
    sim = cluster((pods("low", 1.0), pods("vip", 2.0, priority=10)), [24, 0], 6)
    run(sim, 120.0)
    set_replicas(sim, 1, 12)
    run(sim, 90.0)
    assert sim.arrays.flow.n_ready[0].tolist() == [0, 12]
    assert evicted(sim) == 24


def test_scale_downs_do_not_hold_up_a_preemption() -> None:
    """Pods of others that terminate all the time are none of the preempting pod's business."""
    churn = pods("churn", 0.1, grace_s=60.0)
    sim = cluster((pods("low", 3.0), pods("vip", 3.0, priority=10), churn), [1, 0, 5], 1)
    run(sim, 120.0)
    set_replicas(sim, 1, 1)
    for i in range(12):
        set_replicas(sim, 2, 4 + i % 2)
        run(sim, 15.0)
    assert sim.arrays.flow.n_ready[0, 1] == 1
    assert evicted(sim) == 1


def test_equals_do_not_preempt_each_other() -> None:
    sim = cluster((pods("a", 3.0, priority=5), pods("b", 3.0, priority=5)), [1, 1], 1)
    run(sim, 600.0)
    assert evicted(sim) == 0
    assert sim.arrays.flow.n_pending[0].sum() == 1


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_drain_ends_within_its_time_whatever_the_budget(allowed: int) -> None:
    """With no disruption allowed nothing is drained; with one at a time a node's pods leave one by one."""
    budget = DisruptionBudget(max_unavailable=float(allowed))
    quick = ClusterAutoscaler(scale_down_unneeded_s=60.0, scale_down_delay_after_add_s=0.0)
    sim = cluster((pods("web", 0.5, pdb=budget, grace_s=20.0), pods("fill", 0.5)), [8, 8], 3, quick, tick_s=5.0)
    run(sim, 300.0)
    set_replicas(sim, 1, 0)
    low = 8
    for _ in range(300):
        run(sim, 5.0)
        low = min(low, int(sim.arrays.flow.n_ready[0, 0]))
    assert low >= 8 - allowed
    assert not np.any(sim.arrays.nodes.phase == NODE_DRAINING)
    assert (sim.arrays.clock.live_nodes.sum() < 3) == (allowed > 0)


def test_pods_that_fit_nowhere_wait_and_cost_nothing() -> None:
    sim = cluster((pods("huge", 64.0), pods("web", 1.0)), [40, 4], 1, ClusterAutoscaler())
    run(sim, 1800.0)
    assert sim.arrays.flow.n_pending[0].tolist() == [40, 0]
    assert sim.arrays.flow.n_ready[0, 1] == 4
    passes = int(sim.arrays.scratch.passes[0])
    assert passes < 60, "the queue is looked at when something changed, not all the time"


@pytest.mark.parametrize("warmup_s", [0.0, 600.0])
def test_what_waits_is_bound_at_once_when_there_is_room(warmup_s: float) -> None:
    """However often others of its kind have failed meanwhile, and before time 0 as after it.

    A pod's back-off is that of its own tries, and it has none between two events that might help it.
    """
    sim = cluster((pods("web", 1.0), pods("huge", 4.0, grace_s=0.0)), [0, 1], 1, warmup_s=warmup_s)
    run(sim, 30.0)
    for count in range(1, 5):
        set_replicas(sim, 0, count)
        run(sim, 45.0)
    assert sim.arrays.flow.n_pending[0].tolist() == [4, 0]
    set_replicas(sim, 1, 0)
    run(sim, 30.0)
    bound = sim.arrays.pods.bound_s[0][sim.arrays.pods.workload[0] == 0]
    looks = (bound - sim.arrays.clock.hpa_phase_s[0, 1]) / 15.0  # the huge pod goes when its workload is looked at
    assert len(bound) == 4
    assert np.all(bound == bound[0])
    assert looks == pytest.approx(np.round(looks), abs=1e-6)
