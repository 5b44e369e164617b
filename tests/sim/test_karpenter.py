"""Karpenter in the simulator: bills worked out by hand, and what holds in every random world."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from envs.action import Plan, nothing
from envs.cluster import ClusterSpec, DisruptionBudget, InstanceType, NodeBudget, NodePool, ServiceModel, Workload
from envs.controllers.karpenter_state import GIVEN_UP, HOLD, MULTI_NODE, REPLACED_BORN, SINGLE_NODE
from envs.rollout import names_of, rollout
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.exchange import apply_plan
from envs.sim.pack import Case
from envs.sim.rows import timeline_of
from envs.sim.state import NODE_BOOTING, NODE_DRAINING, NODE_READY
from envs.spot import SpotMarket
from envs.stack import Karpenter, Stack, StaticReplicas
from envs.timeline import Timeline
from tests.sim.recount import check_books
from tests.sim.test_invariants import chunks, feed, start
from tests.sim.world_strategy import World, random_world

HOUR_S = 3600.0
SEED = 5
FLAT = GeneratedDemand(base_rps=10.0, daily_amplitude=0.0, weekly_amplitude=0.0, noise_cv=0.0)
SERVICE = ServiceModel(8, 0.1, 1.0, 0.02, memory_base_gib=0.5, memory_per_busy_slot_gib=0.1)
SMALL = InstanceType("small", 4, 16.0, 4.0, 16.0, 100, 0.5, spot_price_usd_per_h=0.2)
BIG = InstanceType("big", 8, 32.0, 8.0, 32.0, 100, 1.0, spot_price_usd_per_h=0.3)
SLOW = Karpenter(validation_s=120.0, expire_after_s=math.inf)  # so that no node lives for less than a minute


def web(replicas: int = 1, **fields: object) -> Workload:
    values = {"cpu_request": 2.0, "memory_request_gib": 2.0, "min_replicas": replicas, "max_replicas": replicas}
    return Workload("web", SERVICE, **{**values, **fields})


def pool(*types: str, **fields: object) -> NodePool:
    values = {"max_nodes": 5, "boot_delay_s": 30.0, "boot_delay_cv": 0.0, "daemon_cpu": 0.0, "daemon_memory_gib": 0.0}
    return NodePool("pool", types, **{**values, **fields})


def hour(workload: Workload, nodes: NodePool, karpenter: Karpenter = SLOW, **fields: object) -> Timeline:
    """An hour without a warm-up, replicas fixed, no noise."""
    cluster = ClusterSpec((workload,), (nodes,), (SMALL, BIG))
    values = {"horizon_s": HOUR_S, "warmup_s": 0.0, "noise": NoiseModel(enabled=False), "tick_s": 5.0, **fields}
    values["spot"] = SpotMarket(interruptions=False)
    scenario = Scenario("bill", cluster, (FLAT,), **values)
    parts: list[Timeline] = []
    rollout(scenario, Stack("k", replicas=StaticReplicas(), nodes=karpenter), SEED, sink=parts.append)
    return Timeline.concat(parts)


def created_s() -> float:
    """When the pods of a lone workload are created: its HPA's phase."""
    return float(np.random.default_rng([SEED, 102]).uniform(0, 15.0, 1)[0])


def loop_s(after_s: float) -> float:
    """The first disruption loop after a time, when the loops before it found nothing."""
    at = 10.0 * float(np.random.default_rng([SEED, 104]).uniform(0, 1))
    while at <= after_s:
        at += 10.0
    return at


# bills by hand


def test_two_half_empty_nodes_become_one() -> None:
    """Two pods of 2 cores on two nodes of 4: one node goes after the wait and the pod's grace time of 30 s.

    Before the pods are there, one of the nodes is empty: that command is given up, as pods come meanwhile.
    """
    line = hour(web(2), pool("small", initial_nodes=2, zones=("a", "b")))
    first = loop_s(-1.0)
    found = first + 121.0 if first <= created_s() else first  # after a wait for nothing it looks again 1 s later
    lived = found + 120.0 + 30.0
    assert line.node_usd.sum() == pytest.approx(0.5 * (HOUR_S + lived) / HOUR_S, abs=1e-9)
    assert (line.nodes_removed.sum(), line.pods_evicted.sum()) == (1, 1)


def test_a_large_node_is_replaced_by_a_small_one_that_is_ready_first() -> None:
    """$1.00/h until the wait (120 s), the small node's boot (30 s) and the grace time (30 s) are over; then $0.50/h."""
    line = hour(web(1), pool("big", "small", initial_nodes=1))
    first = loop_s(-1.0)
    found = first + 121.0 if first <= created_s() else first
    asked = found + 120.0
    big, small = asked + 60.0, HOUR_S - asked
    assert line.node_usd.sum() == pytest.approx((1.0 * big + 0.5 * small) / HOUR_S, abs=1e-9)
    assert (line.nodes_added.sum(), line.nodes_removed.sum()) == (1, 1)


@pytest.mark.parametrize("tick_s", [5.0, 60.0])
def test_pending_pods_get_the_cheapest_type_that_holds_them(tick_s: float) -> None:
    """Three pods of 2 cores and no node: 6 cores fit on one big node ($1.00) only, asked for 1 s after the pods.

    That holds however long a tick is: the batch window closes in its own time, between the tick's other events.
    """
    line = hour(web(3), pool("small", "big", initial_nodes=0), tick_s=tick_s)
    asked = created_s() + 1.0
    assert line.node_usd.sum() == pytest.approx((HOUR_S - asked) / HOUR_S, abs=1e-9)
    assert line.nodes_added.sum() == 1


def test_spot_is_taken_where_the_pool_may_and_never_swapped_for_spot() -> None:
    both = pool("small", "big", initial_nodes=0, capacity_types=("on-demand", "spot"))
    line = hour(web(1), both)
    assert line.node_usd.sum() == pytest.approx(0.2 * (HOUR_S - created_s() - 1.0) / HOUR_S, abs=1e-9)
    assert line.nodes_removed.sum() == 0


@pytest.mark.parametrize("blocker", ["pdb", "do-not-disrupt", "never", "when empty", "budget 0"])
def test_what_keeps_a_node(blocker: str) -> None:
    workload, nodes, karpenter = web(2), pool("small", initial_nodes=2, zones=("a", "b")), SLOW
    if blocker == "pdb":
        workload = replace(workload, pdb=DisruptionBudget(max_unavailable=0))
    elif blocker == "do-not-disrupt":
        workload = replace(workload, safe_to_evict=False)
    elif blocker == "never":
        nodes = replace(nodes, consolidate_after_s=math.inf)
    elif blocker == "when empty":
        karpenter = replace(karpenter, consolidation_policy="WhenEmpty")
    else:
        nodes = replace(nodes, budgets=(NodeBudget(0, False),))
    assert hour(workload, nodes, karpenter).nodes_removed.sum() == 0


def test_a_pools_own_settings_can_be_set_aside() -> None:
    nodes = pool("small", initial_nodes=2, zones=("a", "b"), consolidate_after_s=math.inf)
    assert hour(web(2), nodes, replace(SLOW, use_pool_settings=False)).nodes_removed.sum() == 1


def test_a_closed_window_waits_for_its_end() -> None:
    """Nothing may go from 00:00 to 00:30; the scenario starts at midnight."""
    nodes = pool("small", initial_nodes=2, zones=("a", "b"), budgets=(NodeBudget(0, False, (), "0 0 * * *", 1800.0),))
    line = hour(web(2), nodes)
    assert line.nodes.sum(axis=1)[:6].min() == pytest.approx(2)
    assert line.nodes.sum(axis=1)[-1] == pytest.approx(1)


def test_quiet_time_after_a_pod_came() -> None:
    """consolidateAfter 10 min: the node goes that much after its pod was bound, not earlier."""
    nodes = pool("small", initial_nodes=2, zones=("a", "b"), consolidate_after_s=600.0)
    line = hour(web(2), nodes)
    lived = 2 * (line.node_usd.sum() - 0.5) * HOUR_S
    assert created_s() + 600.0 + 120.0 + 30.0 <= lived <= created_s() + 600.0 + 120.0 + 30.0 + 30.0


def grown(steps: list[tuple[float, int]], nodes: NodePool, until_s: float = HOUR_S) -> Timeline:
    """Replicas of `web` as they are set at given times, under Karpenter."""
    cluster = ClusterSpec((web(0, max_replicas=9),), (nodes,), (SMALL, BIG))
    scenario = Scenario("grown", cluster, (FLAT,), until_s, 5.0, 0.0, NoiseModel(enabled=False))
    stack = Stack("k", replicas=StaticReplicas(), nodes=SLOW)
    sim = ClusterSim([Case(scenario, stack, SEED, np.zeros(1), [0])], rows=20)
    for at_s, count in [*steps, (until_s, 0)]:
        sim.run(np.zeros((1, int(at_s / 5.0) - sim.tick, 1)))
        sim.arrays.static_replicas[0, 0] = count
    return timeline_of(sim, names_of(scenario), 0, sim.tick)


def test_a_candidates_pods_do_not_go_to_a_node_in_its_quiet_time() -> None:
    """consolidateAfter 10 min, two nodes, pods at 0 and 300 s: the first node is a candidate at 600 s, but the only
    place for its pod is quiet at 900 s, so nothing goes before that and the wait of 120 s."""
    nodes = pool("small", initial_nodes=2, zones=("a", "b"), consolidate_after_s=600.0)
    line = grown([(0.0, 1), (300.0, 2)], nodes)
    assert np.flatnonzero(line.nodes_removed).tolist() == [1020 // 300], "in the row of 300 s that 1,020 s is in"


def test_the_end_of_a_quiet_time_alone_is_no_reason_to_look_again() -> None:
    """As above, but the target is quiet until 930 s. The look at 600 s finds nothing and nothing happens after it: the
    next ones are at 900 s and 1,200 s."""
    nodes = pool("small", initial_nodes=2, zones=("a", "b"), consolidate_after_s=600.0)
    line = grown([(0.0, 1), (330.0, 2)], nodes)
    assert np.flatnonzero(line.nodes_removed).tolist() == [1350 // 300], "after the wait of 120 s and the grace of 30 s"


def test_balanced_declines_what_costs_more_disruption_than_it_saves() -> None:
    """Eight small pods on a big node could move to a cheaper one of $0.95: 5 % saved for 100 % of the disruption."""
    cheap = replace(BIG, name="cheap", price_usd_per_h=0.95)
    workload, nodes = web(8, cpu_request=0.9), pool("big", "cheap", initial_nodes=1)
    for policy, moves in (("WhenEmptyOrUnderutilized", 1), ("Balanced", 0)):
        cluster = ClusterSpec((workload,), (nodes,), (cheap, BIG))
        scenario = Scenario("b", cluster, (FLAT,), 1800.0, 5.0, 0.0, NoiseModel(enabled=False))
        parts: list[Timeline] = []
        stack = Stack("k", replicas=StaticReplicas(), nodes=replace(SLOW, consolidation_policy=policy))
        rollout(scenario, stack, SEED, sink=parts.append)
        assert Timeline.concat(parts).nodes_removed.sum() == moves


def test_a_node_expires_and_its_pods_get_another() -> None:
    nodes = pool("small", initial_nodes=1, expire_after_s=1200.0, consolidate_after_s=math.inf)
    line = hour(web(1), nodes)
    assert line.nodes_removed.sum() >= 2
    assert line.ready[-1, 0] > 0.9


def test_limits_hold() -> None:
    line = hour(web(9), pool("small", initial_nodes=0, limit_cpu=12.0))
    assert line.nodes.sum(axis=1).max() <= 3
    assert line.pending[-1, 0] == pytest.approx(3.0)


# random worlds


def karpenter_world(seed: int, *, tick_s: float = 5.0) -> World:
    """A random world with Karpenter, spot and pools of different weight, limits and policy."""
    world = random_world(seed, tick_s=tick_s)
    rng = np.random.default_rng([seed, 8])
    cluster = world.scenario.cluster
    pools = tuple(
        replace(
            p,
            capacity_types=(("on-demand",), ("spot", "on-demand"))[int(rng.integers(2))],
            weight=int(rng.integers(0, 3)),
            limit_cpu=float(rng.choice([math.inf, 4.0 * p.max_nodes])),
            consolidate_after_s=float(rng.choice([0.0, 0.0, 30.0])),
            consolidation_policy=("WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced", None)[int(rng.integers(4))],
            budgets=(None, (NodeBudget(0.34),), (NodeBudget(1, False, ("Underutilized",)), NodeBudget(2, False)))[
                int(rng.integers(3))
            ],
        )
        for p in cluster.node_pools
    )
    machines = tuple(replace(m, spot_price_usd_per_h=0.35 * m.price_usd_per_h) for m in cluster.instance_types)
    cluster = replace(cluster, node_pools=pools, instance_types=machines)
    nodes = Karpenter(expire_after_s=math.inf, spot_to_spot=bool(rng.integers(2)))
    case = world.case
    scenario = replace(case.scenario, cluster=cluster, spot=SpotMarket(interruptions=False))
    case = replace(case, scenario=scenario, stack=replace(case.stack, nodes=nodes))
    return replace(world, case=case)


def nodes_by_pool(sim: ClusterSim, *phases: int) -> np.ndarray:
    s = sim.arrays
    mine = np.isin(s.nodes.phase[0], phases)
    return np.bincount(s.groups.pool[0][s.nodes.group[0][mine]], minlength=s.kp.policy.shape[1])


@pytest.mark.parametrize("seed", range(300, 324))
def test_books_limits_budgets_and_replacements(seed: int) -> None:
    """Tick by tick: books agree, no pool over its limits, no more nodes on their way out than budgets allow, nothing
    is done in the past, and no cordoned node is touched before its replacement is Ready."""
    world = karpenter_world(seed)
    sim = start(world)
    s, pools = sim.arrays, world.scenario.cluster.node_pools
    before = nodes_by_pool(sim, NODE_READY, NODE_DRAINING)
    for number, (first, n) in enumerate(chunks(world, 1)):
        leaving = nodes_by_pool(sim, NODE_DRAINING)
        start_s, born_s = sim.tick * sim.tick_s, s.nodes.created_s[0].copy()
        feed(sim, world, first, n)
        assert np.all(s.nodes.created_s[0][s.nodes.created_s[0] != born_s] >= start_s), (
            "no node is asked for in the past"
        )
        if number % 10 == 0:
            check_books(sim)
        now = nodes_by_pool(sim, NODE_READY, NODE_DRAINING)
        grown = nodes_by_pool(sim, NODE_DRAINING) > leaving
        for k, p in enumerate(pools):
            count, draining = max(int(now[k]), int(before[k])), int(nodes_by_pool(sim, NODE_DRAINING)[k])
            most = [math.ceil(b.nodes * count - 1e-9) if b.is_share else b.nodes for b in p.budgets or (NodeBudget(),)]
            assert not grown[k] or draining <= max(most)
            live = np.isin(s.nodes.phase[0], (NODE_BOOTING, NODE_READY, NODE_DRAINING))
            mine = live & (s.groups.pool[0][s.nodes.group[0]] == k)
            assert mine.sum() <= max(p.max_nodes, p.initial_nodes)
            cpu = s.groups.cap[0, s.nodes.group[0][mine], 0].sum() / 1000
            assert cpu <= max(p.limit_cpu, 8.0 * p.initial_nodes) + 1e-9
        for i in np.flatnonzero(s.kp_state.node[0, HOLD]):
            if s.nodes.phase[0, i] != NODE_DRAINING:
                continue
            spare = int(s.kp_state.node[0, HOLD, i]) - 1
            if s.nodes.created_s[0, spare] == s.kp_state.node_s[0, REPLACED_BORN, i]:
                assert s.nodes.phase[0, spare] == NODE_BOOTING
        before = now
    assert not s.kp_solve.extra.any()
    assert not s.kp_solve.closed.any()


def test_random_worlds_see_every_kind_of_command() -> None:
    done = np.zeros(6, np.int64)
    for seed in range(300, 312):
        world = karpenter_world(seed, tick_s=15.0)
        sim = start(world)
        feed(sim, world, 0, len(world.arrivals))
        done += sim.arrays.kp_state.done[0]
    assert done[SINGLE_NODE] + done[MULTI_NODE] > 0
    assert done[1] > 0
    assert done[GIVEN_UP] > 0


@pytest.mark.parametrize("seed", range(300, 306))
def test_equal_seeds_give_equal_bytes(seed: int) -> None:
    world = karpenter_world(seed, tick_s=15.0)
    one, other = start(world), start(world)
    feed(one, world, 0, 60)
    feed(other, world, 0, 25)
    feed(other, world, 25, 35)
    assert one.state_bytes() == other.state_bytes()


def test_a_disruption_budget_of_pods_is_never_broken() -> None:
    """Twelve pods of which one may be missing; a fragmented cluster is consolidated through that needle's eye."""
    workload = web(12, cpu_request=1.0, pdb=DisruptionBudget(max_unavailable=1), start_delay_s=5.0, start_delay_cv=0.0)
    cluster = ClusterSpec((workload,), (pool("small", initial_nodes=5, zones=("a", "b", "c")),), (SMALL, BIG))
    scenario = Scenario("pdb", cluster, (FLAT,), HOUR_S, 5.0, 0.0, NoiseModel(enabled=False))
    stack = Stack("k", replicas=StaticReplicas(), nodes=Karpenter(expire_after_s=math.inf))
    sim = ClusterSim([Case(scenario, stack, SEED, np.array([10.0]), [12])], rows=20)
    load = np.full((1, 1, 1), 50.0)
    for tick in range(500):
        sim.run(load)
        assert tick < 20 or sim.arrays.flow.n_ready[0, 0] >= 11
    assert timeline_of(sim, names_of(scenario), 0, sim.tick).nodes_removed.sum() >= 1


def test_a_plan_reaches_karpenter() -> None:
    """Weight, consolidateAfter and budget of a plan are what the kernels read afterwards."""
    world = karpenter_world(301, tick_s=15.0)
    sim = start(world)
    count = len(world.scenario.cluster.node_pools)
    targets = replace(
        nothing(world.scenario.cluster),
        weight=np.arange(count) + 1.0,
        consolidate_after_s=np.full(count, 77.0),
        budget_share=np.full(count, 0.5),
    )
    apply_plan(sim, Plan(targets))
    kp = sim.arrays.kp
    assert kp.pool_order[0, :count].tolist() == list(range(count))[::-1]
    assert np.all(kp.after_s[0, :count] == 77.0)
    assert np.all(kp.share[0, :count, 0] == 0.5)
