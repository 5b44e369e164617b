"""Bills worked out by hand, to the cent, in worlds where every time is known."""

from __future__ import annotations

import numpy as np
import pytest

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.ledger import Ledger, ledger_of
from envs.rollout import names_of, rollout
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.scenario_file import load_scenario
from envs.stack import ClusterAutoscaler, Stack, StaticNodes, StaticReplicas
from envs.stack_file import load_stack
from envs.timeline import Timeline

HOUR_S = 3600.0
FLAT = GeneratedDemand(base_rps=10.0, daily_amplitude=0.0, weekly_amplitude=0.0, noise_cv=0.0)
# 8 slots of 0.1 s and 0.05 CPU-seconds a request: 4 cores at 80 requests/s. At 10 requests/s: 0.5 cores, 1 busy slot.
SERVICE = ServiceModel(8, 0.1, 1.0, 0.05, memory_base_gib=1.0, memory_per_busy_slot_gib=1.0)
BOX = InstanceType("box", 8, 32.0, 8.0, 32.0, 100, 1.0)


def web(replicas: int = 1, name: str = "web", **fields: object) -> Workload:
    """A service with a fixed number of replicas of 4 cores and 4 GiB."""
    values = {"cpu_request": 4.0, "memory_request_gib": 4.0, "min_replicas": replicas, "max_replicas": replicas}
    return Workload(name, SERVICE, **{**values, **fields})


def pool(name: str = "pool", machine: str = "box", **fields: object) -> NodePool:
    values = {"max_nodes": 3, "boot_delay_s": 30.0, "boot_delay_cv": 0.0, "daemon_cpu": 0.0, "daemon_memory_gib": 0.0}
    return NodePool(name, (machine,), **{**values, **fields})


def run(workloads: tuple[Workload, ...], pools: tuple[NodePool, ...], nodes: object, **fields: object) -> Timeline:
    """An hour of the cluster on this node autoscaler, replicas fixed, no warm-up."""
    machines = fields.pop("machines", (BOX,))
    cluster = ClusterSpec(workloads, pools, machines)
    values = {"horizon_s": HOUR_S, "warmup_s": 0.0, "noise": NoiseModel(enabled=False), **fields}
    scenario = Scenario("bill", cluster, (FLAT,) * len(workloads), **values)
    parts: list[Timeline] = []
    rollout(scenario, Stack("fixed", replicas=StaticReplicas(), nodes=nodes), 5, sink=parts.append)
    return Timeline.concat(parts)


def first_loop_s(seed: int = 5, scan_s: float = 10.0) -> float:
    """When the Cluster Autoscaler's first loop is: its phase is drawn from the seed."""
    return scan_s * float(np.random.default_rng([seed, 103]).uniform(0, 1))


def test_the_toy_scenario_costs_24_dollars_and_so_do_its_parts() -> None:
    scenario = load_scenario("toy")
    parts: list[Timeline] = []
    rollout(scenario, load_stack("hpa-default"), 0, sink=parts.append)
    ledger: Ledger = ledger_of(Timeline.concat(parts), names_of(scenario))
    assert ledger.total_usd == pytest.approx(24.0, abs=1e-9)
    # a core is 0.031611 and a GiB 0.004237 of OpenCost's dollars: 12 cores and 64 GiB share the node's price
    core, gib = (24.0 * x / (12 * 0.031611 + 64 * 0.004237) for x in (0.031611, 0.004237))
    assert core * 12 + gib * 64 == pytest.approx(24.0)
    memory_used = 2 * (0.25 + 0.02 * 5)  # two replicas with 5 busy slots each
    memory_asked = 2 * scenario.cluster.workloads[0].memory_request_gib
    used = 5 * core + memory_used * gib
    asked = 10 * core + max(memory_asked, memory_used) * gib
    assert ledger.used_usd["nodes"] == pytest.approx(used, rel=1e-6)
    assert ledger.requested_unused_usd["nodes"] == pytest.approx(asked - used, rel=1e-6)
    assert ledger.idle_usd["nodes"] == pytest.approx(24.0 - asked, rel=1e-6)
    assert ledger.workload_usd["web"] == pytest.approx(asked, rel=1e-6)
    assert ledger.requests == pytest.approx(8_640_000)


@pytest.mark.parametrize("tick_s", [5.0, 15.0, 60.0])
def test_a_node_that_is_not_needed_is_billed_until_it_is_removed(tick_s: float) -> None:
    """Unneeded from the first loop on, removed in the first loop that is more than ten minutes later: 610 s."""
    line = run((web(),), (pool(initial_nodes=2),), ClusterAutoscaler(), tick_s=tick_s)
    lived = first_loop_s() + 610.0
    assert line.node_usd.sum() == pytest.approx((HOUR_S + lived) / HOUR_S, abs=1e-9)
    assert line.nodes_removed.sum() == 1
    assert line.nodes[: int(lived // 300)].min() == 2


@pytest.mark.parametrize("tick_s", [5.0, 15.0, 60.0])
def test_a_node_that_lives_less_than_a_minute_is_billed_a_minute(tick_s: float) -> None:
    quick = ClusterAutoscaler(scale_down_unneeded_s=5.0)
    line = run((web(),), (pool(initial_nodes=2),), quick, tick_s=tick_s)
    assert first_loop_s() + 10.0 < 60.0
    assert line.node_usd.sum() == pytest.approx((HOUR_S + 60.0) / HOUR_S, abs=1e-9)


@pytest.mark.parametrize("tick_s", [5.0, 15.0, 60.0])
def test_a_node_is_billed_from_when_it_is_asked_for(tick_s: float) -> None:
    """Three pods of 4 cores on a node of 8: the third waits for the first loop at least 2 s after it was created."""
    line = run((web(3),), (pool(),), ClusterAutoscaler(), tick_s=tick_s)
    created = float(np.random.default_rng([5, 102]).uniform(0, 15.0, 1)[0])
    asked = first_loop_s()
    while asked < created + 2.0:
        asked += 10.0
    assert line.node_usd.sum() == pytest.approx((2 * HOUR_S - asked) / HOUR_S, abs=1e-9)
    assert line.nodes_added.sum() == 1
    assert line.pending[3:].max() == 0.0


def test_two_pools_with_different_prices() -> None:
    machines = (BOX, InstanceType("gold", 16, 32.0, 16.0, 32.0, 100, 3.25))
    pools = (pool(labels=(("kind", "a"),), initial_nodes=2), pool("gold", "gold", labels=(("kind", "b"),)))
    loads = (web(node_selector=(("kind", "a"),)), web(name="api", node_selector=(("kind", "b"),)))
    line = run(loads, pools, StaticNodes(), machines=machines)
    assert line.node_usd.sum(axis=0) == pytest.approx([2.0, 3.25], abs=1e-9)
    assert (line.used_usd + line.requested_unused_usd + line.idle_usd).sum(axis=0) == pytest.approx([2.0, 3.25])
    assert line.workload_usd.sum() == pytest.approx(5.25 - line.idle_usd.sum())


def test_used_and_unused_and_idle_by_hand() -> None:
    """One pod asks for 4 of 8 cores and 4 of 32 GiB; it uses 0.5 cores, and 1 + 1 x 1 busy slot = 2 GiB."""
    line = run((web(start_delay_s=0.0, start_delay_cv=0.0),), (pool(),), StaticNodes())
    weight = 8 * 0.031611 + 32 * 0.004237
    core, gib = 0.031611 / weight, 0.004237 / weight  # USD/h
    later = slice(1, None)  # the first row has the pod's start in it
    rows = len(line.time_s) - 1
    assert line.used_usd[later].sum() == pytest.approx((0.5 * core + 2 * gib) * rows / 12, rel=1e-6)
    assert line.requested_unused_usd[later].sum() == pytest.approx((3.5 * core + 2 * gib) * rows / 12, rel=1e-6)
    assert line.idle_usd[later].sum() == pytest.approx((4 * core + 28 * gib) * rows / 12, rel=1e-6)


def test_the_warm_up_is_not_billed() -> None:
    line = run((web(),), (pool(),), StaticNodes(), warmup_s=600.0)
    assert line.node_usd.sum() == pytest.approx(1.0, abs=1e-9)
    assert line.offered.sum() == pytest.approx(36_000.0)
