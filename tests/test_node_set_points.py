"""Which machines a learned stack's NodePools may use, and how eagerly they are packed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Taint, Workload
from envs.errors import InputError
from envs.node_set_points import (
    AT_LEAST,
    REGRET_FILE,
    consolidate_after_s,
    types_for,
    usd_per_core,
)
from envs.prices import PriceBook
from envs.recorded_past import roughness
from envs.scenario import GeneratedDemand, Scenario
from envs.stack import Karpenter
from envs.stack_file import load_stack
from envs.steered import prices_of
from envs.workload_batch import WorkloadBatch
from optimizer import whatif
from optimizer.learned_stack import control_of

TYPES = ("m7i.large", "m7i.xlarge", "m7i.2xlarge", "c7i.xlarge", "r7i.large", "c7i.large")
BOOK = PriceBook.load("aws")
MACHINES: tuple[InstanceType, ...] = tuple(BOOK.instance_type(name, "us-east-1") for name in TYPES)


def a_pod(name: str, cpu: float, gib: float, **more: object) -> Workload:
    w = Workload(name=name, service=ServiceModel(cpu_s_per_request=0.05), cpu_request=cpu, memory_request_gib=gib)
    return replace(w, **more)  # type: ignore[arg-type]


def a_cluster(*pods: Workload, types: tuple[str, ...] = TYPES, **pool: object) -> ClusterSpec:
    return ClusterSpec(pods, (replace(NodePool("general", types), **pool),), MACHINES, "test")  # type: ignore[arg-type]


pods = st.lists(
    st.tuples(st.floats(0.05, 7.0), st.floats(0.1, 28.0)), min_size=1, max_size=6
).map(lambda pairs: [a_pod(f"w{i}", cpu, gib) for i, (cpu, gib) in enumerate(pairs)])  # fmt: skip


def takes(name: str, w: Workload) -> bool:
    machine, pool = MACHINES[TYPES.index(name)], NodePool("general", TYPES)
    return (
        round(w.cpu_request * 1000) <= round((machine.allocatable_cpu - pool.daemon_cpu) * 1000)
        and w.memory_request_gib <= machine.allocatable_memory_gib - pool.daemon_memory_gib
    )


@settings(max_examples=150, deadline=None)
@given(pods)
def test_every_pod_that_had_a_machine_still_has_one_and_a_choice_is_left(workloads: list[Workload]) -> None:
    cluster = a_cluster(*workloads)
    kept = many(cluster)
    assert list(kept) == [name for name in TYPES if name in kept]
    assert len(kept) >= min(AT_LEAST, len(TYPES))
    for w in workloads:
        assert not any(takes(name, w) for name in TYPES) or any(takes(name, w) for name in kept)


def many(cluster: ClusterSpec, of_each: float = 100.0) -> tuple[str, ...]:
    return types_for(cluster, cluster.node_pools[0], np.full(len(cluster.workloads), of_each))


def test_small_machines_go_where_daemonsets_and_system_eat_them_up() -> None:
    cluster = a_cluster(a_pod("web", 0.4, 0.8), types=("m7i.large", "m7i.xlarge", "m7i.2xlarge", "c7i.xlarge"))
    assert many(cluster) == ("m7i.xlarge", "m7i.2xlarge", "c7i.xlarge")


def test_a_handful_of_pods_keeps_the_small_machines() -> None:
    """The last machine is half empty, and where one or two are enough that is what counts."""
    cluster = a_cluster(a_pod("web", 0.4, 0.8), types=("m7i.large", "m7i.xlarge", "m7i.2xlarge", "c7i.xlarge"))
    assert all("m7i.large" in many(cluster, pods) for pods in (1.0, 3.0, 10.0))
    assert "m7i.large" not in many(cluster, 20.0)


def test_pods_that_ask_for_memory_keep_the_machines_that_have_it() -> None:
    cluster = a_cluster(a_pod("cache", 0.2, 4.0))
    pool = cluster.node_pools[0]
    cost = {m.name: usd_per_core(m, pool, cluster.workloads, [100.0]) for m in MACHINES}
    assert min(cost, key=lambda name: cost[name]).startswith(("r7i", "m7i"))
    assert min(cost, key=lambda name: cost[name]) in many(cluster)


def test_a_pod_that_asks_for_a_machine_by_its_label_keeps_it() -> None:
    """The least useful type of all stays where a node selector names it."""
    selector = (("node.kubernetes.io/instance-type", "m7i.large"),)
    types = ("m7i.large", "m7i.xlarge", "m7i.2xlarge", "c7i.xlarge")
    for picky, there in (({}, False), ({"node_selector": selector}, True)):
        cluster = a_cluster(a_pod("web", 0.4, 0.8), a_pod("old", 0.4, 0.8, **picky), types=types)
        assert ("m7i.large" in many(cluster)) is there


def test_of_three_types_two_stay_and_of_two_both() -> None:
    for types, left in ((("m7i.large", "m7i.xlarge", "m7i.2xlarge"), 2), (("m7i.large", "m7i.2xlarge"), 2)):
        cluster = a_cluster(a_pod("web", 1.2, 2.4), types=types)
        assert len(many(cluster)) == left


def test_a_what_if_has_the_machines_of_the_pools_as_they_are_set(tmp_path: Path) -> None:
    """Every stack's own machine types, in the same run as stacks that use all of them."""
    whatif.run("webshop", stacks=["trimtab", "karpenter"], days=0.02, out=tmp_path / "out")
    nodes = pd.read_parquet(tmp_path / "out" / "timeline_nodes.parquet")
    types = nodes[nodes["level"] == "group"].groupby("stack", observed=True)["instance_type"].unique()
    assert "m7i.xlarge" in set(types["karpenter"])
    assert "m7i.xlarge" not in set(types["trimtab"])
    assert {"m7i.2xlarge", "c7i.2xlarge"} <= set(types["trimtab"])


def test_a_pool_that_no_pod_may_use_is_left_alone() -> None:
    cluster = a_cluster(a_pod("web", 0.4, 0.8), taints=(Taint("gpu", "yes", "NoSchedule"),))
    assert many(cluster) == TYPES


@pytest.mark.parametrize("rough", [0.0, 0.1, 0.5, 9.0, float("nan")])
def test_the_dearer_a_bad_request_the_longer_a_node_is_kept(rough: float) -> None:
    cluster = a_cluster(a_pod("web", 0.4, 0.8), a_pod("api", 1.0, 1.0))
    known = np.array([rough, float("nan")])
    waits = [consolidate_after_s(cluster, np.full(2, price), known) for price in (0.0, 10.0, 100.0, 1000.0, 1e9)]
    assert waits == sorted(waits)
    assert all(wait == round(wait) and 0 < wait <= 7200 for wait in waits)


def test_where_load_is_rough_and_violations_are_dear_nodes_are_kept_longest() -> None:
    cluster, table = a_cluster(a_pod("web", 0.4, 0.8)), json.loads(REGRET_FILE.read_text())
    at = [(price, g["roughness"]) for price in table["prices"] for g in table["groups"]]
    waits = [consolidate_after_s(cluster, np.array([price]), np.array([rough])) for price, rough in at]
    chosen = np.array([g["chosen_s"] for g in table["groups"]])
    assert waits == chosen.T.ravel().tolist()
    assert (np.diff(chosen, axis=0) >= 0).all()
    assert (np.diff(chosen, axis=1) >= 0).all()
    assert chosen[-1, -1] > chosen[0, -1]


def test_roughness_is_zero_for_level_load_and_not_known_without_a_past() -> None:
    minutes = np.arange(1440.0)
    day = np.stack([np.full(1440, 5.0), 5.0 + 4.0 * (minutes % 30 == 7), np.full(1440, np.nan)], axis=1)
    found = roughness(day)
    assert found[0] == 0.0
    assert found[1] == pytest.approx(np.log(9.0 / (5.0 + 4.0 / 30.0)))
    assert np.isnan(found[2])


def test_the_shipped_stack_packs_nodes_with_karpenter() -> None:
    stack = load_stack("trimtab")
    assert isinstance(stack.nodes, Karpenter)
    assert stack.learned is not None
    assert stack.learned.node_pools


def test_node_pools_cannot_be_set_without_karpenter(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("nodes: {kind: cluster-autoscaler}\nlearned: {node_pools: true}\n")
    with pytest.raises(InputError, match=r"learned\.node_pools.*karpenter"):
        load_stack(str(path))


def test_what_if_and_the_batch_of_an_evaluation_set_the_same_pools() -> None:
    """Both rewrite cluster and stack through `envs.steered.steered`; nothing else may touch the pools."""
    cluster = a_cluster(a_pod("web", 0.4, 0.8, slo_target=0.999), a_pod("api", 0.5, 0.5, slo_target=0.99))
    scenario = Scenario("s", cluster, (GeneratedDemand(base_rps=50.0), GeneratedDemand(base_rps=50.0)), 3600.0)
    stack = load_stack("trimtab")
    control = control_of(scenario, stack, 0)
    batch = WorkloadBatch([scenario], [stack], prices_of(scenario))
    assert control.scenario.cluster.node_pools == batch.scenarios[0].cluster.node_pools
    assert control.stack.nodes == batch.stacks[0].nodes
    assert control.scenario.cluster.node_pools != cluster.node_pools
