"""What spares Karpenter work decides nothing: with it and without it a world ends in equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from envs.cluster import ClusterSpec, NodePool, ServiceModel, Workload
from envs.controllers.karpenter_layout import NO_LIMIT, S_CPU, S_MEMORY, SIZES, SOLVE
from envs.controllers.karpenter_state import R_FAMILY, R_PODS, R_VERSION, UNLISTED
from envs.scenario import GeneratedDemand, Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.pack import Case
from envs.sim.state import CPU, MEM, POD_TERMINATING
from envs.stack import Karpenter, Stack, StaticReplicas
from tests.sim.test_invariants import chunks, feed, start
from tests.sim.test_karpenter import BIG, SMALL, karpenter_world
from tests.sim.world_strategy import World


def outcome(sim: ClusterSim) -> list[bytes]:
    """The cluster, its clocks, random numbers and rows, array by array."""
    a = sim.arrays
    return [np.ascontiguousarray(x).tobytes() for part in (a.nodes, a.pods, a.flow, a.clock, a.rows) for x in part] + [
        a.rng.tobytes()
    ]


def both_ways(world: World, switch_off: Callable[[ClusterSim], None]) -> tuple[ClusterSim, ClusterSim]:
    """The world's end with a short cut, and without it."""
    one, other = start(world), start(world)
    switch_off(other)
    for sim in (one, other):
        feed(sim, world, 0, len(world.arrivals))
    return one, other


def test_nodes_that_counting_rules_out_would_not_have_moved() -> None:
    def no_sizes(sim: ClusterSim) -> None:
        sim.arrays.kp.sizes_of[:] = 0

    spared = 0
    for seed in range(300, 324):
        one, other = both_ways(karpenter_world(seed, tick_s=15.0), no_sizes)
        assert outcome(one) == outcome(other), seed
        spared += int(other.arrays.kp_solve.at[0, SOLVE] - one.arrays.kp_solve.at[0, SOLVE])
    assert spared > 100


def plain_world(seed: int) -> World:
    """A Karpenter world in which only room decides where pods go."""
    world = karpenter_world(seed, tick_s=15.0)
    cluster = world.scenario.cluster
    loads = tuple(replace(w, spread=(), anti_affinity=(), safe_to_evict=True) for w in cluster.workloads)
    taints = [tuple(t for t in p.taints if t.effect == "NoSchedule") for p in cluster.node_pools]
    pools = tuple(
        replace(p, taints=t, boot_delay_s=90.0, consolidation_policy="WhenEmptyOrUnderutilized")
        for p, t in zip(cluster.node_pools, taints, strict=True)
    )
    scenario = replace(world.scenario, cluster=replace(cluster, workloads=loads, node_pools=pools))
    return replace(world, case=replace(world.case, scenario=scenario))


def test_nodes_that_would_rely_on_a_node_that_boots_would_not_have_moved() -> None:
    def nothing_boots(sim: ClusterSim) -> None:
        sim.arrays.kp.widest[:] = NO_LIMIT

    spared = 0
    for seed in range(400, 424):
        one, other = both_ways(plain_world(seed), nothing_boots)
        assert outcome(one) == outcome(other), seed
        spared += int(other.arrays.kp_solve.at[0, SOLVE] - one.arrays.kp_solve.at[0, SOLVE])
    assert spared > 15


def test_a_roll_lists_the_pods_that_would_leave_its_node() -> None:
    seen = 0
    for seed in range(300, 312):
        world = karpenter_world(seed, tick_s=15.0)
        sim = start(world)
        for first, n in chunks(world, 10):
            feed(sim, world, first, n)
            seen += check_rolls(sim)
    assert seen > 100


def check_rolls(sim: ClusterSim) -> int:
    """Compare every roll that is up to date with the pods themselves; how many there were."""
    a, seen = sim.arrays, 0
    cpu, sizes = a.classes.req[0, :, CPU], a.kp.size[0, S_CPU]
    for n in range(a.nodes.hi[0]):
        of = a.kp_state.roll_of[0, n]
        if of[R_VERSION] != a.clock.pods_version[0, n] or of[R_PODS] == UNLISTED or of[R_VERSION] == 0:
            continue
        there = (a.pods.node[0] == n) & (a.pods.workload[0] >= 0) & (a.pods.phase[0] != POD_TERMINATING)
        pods = sorted(a.pods.workload[0][there].tolist(), key=lambda w: a.kp.rank[0, w])
        assert a.kp_state.roll[0, n, : of[R_PODS]].tolist() == pods
        assert a.kp_state.at_least[0, n].tolist() == [(cpu[pods] >= size).sum() for size in sizes]
        families = {int(a.kp.family[0, w]) for w in pods}
        assert of[R_FAMILY] == (families.pop() if len(families) == 1 else 0)
        seen += 1
    return seen


def test_many_requests_are_counted_by_a_few_sizes_the_smallest_among_them() -> None:
    requests = np.arange(1, 21) * 0.1
    loads = tuple(
        Workload(f"w{i}", ServiceModel(), cpu_request=float(cpu), memory_request_gib=1.0 + i % 3)
        for i, cpu in enumerate(requests)
    )
    cluster = ClusterSpec(loads, (NodePool("pool", ("small",), max_nodes=5),), (SMALL, BIG))
    scenario = Scenario("sizes", cluster, (GeneratedDemand(),) * 20, 3600.0, 15.0, 0.0)
    stack = Stack("k", replicas=StaticReplicas(), nodes=Karpenter())
    a = ClusterSim([Case(scenario, stack, 1, np.ones(20), [1] * 20)]).arrays
    sizes, req = a.kp.size[0], a.classes.req[0]
    assert sizes.shape[1] == SIZES
    assert (np.diff(sizes[S_CPU]) > 0).all()
    assert sizes[S_CPU].max() < NO_LIMIT
    assert sizes[S_CPU, 0] == req[:, CPU].min()
    for k, (cpu, memory) in enumerate(sizes.T):
        assert memory == req[req[:, CPU] >= cpu, MEM].min() == sizes[S_MEMORY, k]
    assert a.kp.sizes_of[0].tolist() == [(sizes[S_CPU] <= cpu).sum() for cpu in req[:, CPU]]
