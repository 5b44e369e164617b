"""Karpenter when a zone is lost or spot nodes are taken back, from the fault's first second to the last pod."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.controllers.karpenter_price import SPOT
from envs.faults import TOLERATION_S
from envs.sim.cluster_sim import ClusterSim
from envs.sim.state import NODE_BOOTING, NODE_FREE, NODE_LOST, POD_READY
from envs.spot import SpotMarket
from envs.stack import Karpenter, Stack, StaticReplicas
from tests.sim.recount import check_books
from tests.sim.test_faults import FAULTS, Run, start, world
from tests.sim.test_karpenter import karpenter_world

STILL = Stack("k", nodes=Karpenter(consolidate_after_s=np.inf))  # what moves, moves because of the loss
BACK_S = 600.0 + 3600.0
GONE_S = 600.0 + 50.0 + TOLERATION_S  # pods of a lost zone are deleted and replaced


def lost_zone(*, cpu: float, hard: bool) -> Run:
    """Six pods spread over three zones, two a node; zone a is lost from 600 s on for an hour."""
    scenario = world("{kind: zone-loss, at: 600s, zone: a, duration: 1h}", low="min_nodes: 0")
    web = scenario.cluster.workloads[0]
    web = replace(web, cpu_request=cpu, spread=tuple(replace(s, hard=hard) for s in web.spread))
    return start(replace(scenario, cluster=replace(scenario.cluster, workloads=(web,))), STILL)


def by_zone(run: Run) -> list[int]:
    """Ready pods in zones a, b, c."""
    s = run.sim.arrays
    nodes = s.pods.node[0, s.pods.phase[0] == POD_READY]
    zone = s.topology.group_domain[0, s.nodes.group[0, nodes], 1]
    return np.bincount(zone, minlength=3).tolist()


@pytest.mark.parametrize("hard", [False, True])
def test_pods_of_a_lost_zone_come_back_on_nodes_of_the_others_and_keep_the_skew(hard: bool) -> None:
    run = lost_zone(cpu=1.0, hard=hard)
    assert by_zone(run.until(600.0)) == [2, 2, 2]
    assert by_zone(run.until(900.0)) == [0, 2, 2]
    assert by_zone(run.until(GONE_S + 60.0)) == [0, 3, 3], "each has room for one more: one apart at most"
    check_books(run.sim)


def test_where_there_is_no_room_karpenter_buys_in_the_zones_that_are_left() -> None:
    run = lost_zone(cpu=1.9, hard=False)
    before = run.until(GONE_S - 15.0).sim.arrays.nodes.created_s[0].copy()
    run.until(GONE_S + 30.0)
    s = run.sim.arrays
    asked = np.flatnonzero(s.nodes.phase[0] == NODE_BOOTING)
    assert len(asked) == 1, "two pods share a node"
    assert before[asked[0]] != s.nodes.created_s[0, asked[0]]
    assert s.topology.group_domain[0, s.nodes.group[0, asked[0]], 1] in (1, 2)
    run.until(GONE_S + 150.0)
    assert (sum(by_zone(run)), by_zone(run)[0]) == (6, 0)
    assert by_zone(run.until(BACK_S + 600.0))[0] == 0, "nothing goes back by itself"
    check_books(run.sim)


def test_a_hard_spread_waits_for_the_zone() -> None:
    """DoNotSchedule with the lost zone still one of the pool's: a third pod in b would be three apart. Two pods stay
    pending for the rest of the hour, and come up in zone a once it is back."""
    run = lost_zone(cpu=1.9, hard=True)
    run.until(BACK_S - 15.0)
    assert by_zone(run) == [0, 2, 2]
    assert run.sim.arrays.pods.n_pending[0] == 2
    assert np.count_nonzero(run.sim.arrays.nodes.phase[0] == NODE_BOOTING) == 0
    assert by_zone(run.until(BACK_S + 300.0)) == [2, 2, 2]


def taken_back(kinds: str, *, stay: bool = False) -> Run:
    """The six pods on spot nodes of which each is taken back about once in twenty minutes; no shocks."""
    pools = f"zones: [a, b, c]\n    capacity_types: [{kinds}]"
    scenario = world("", types=pools)
    market = replace(SpotMarket(), hazard_factor=20_000.0, together=0.0)
    web = scenario.cluster.workloads[0]
    selector = (("karpenter.sh/capacity-type", "on-demand"),) if stay else ()
    cluster = replace(scenario.cluster, workloads=(replace(web, node_selector=selector),))
    pools_ = tuple(replace(p, min_nodes=0) for p in cluster.node_pools)
    return start(replace(scenario, cluster=replace(cluster, node_pools=pools_), spot=market), STILL)


def test_nodes_with_a_notice_are_drained_and_replaced_again_and_again() -> None:
    run = taken_back("spot").until(9000.0)
    line, s = run.rows(), run.sim.arrays
    assert line.interruptions.sum() >= 8
    assert line.nodes_added.sum() >= line.interruptions.sum() - 3, "what goes is replaced"
    assert line.ready[2:, 0].mean() > 5.5, "six replicas, but for the minute that a node boots"
    assert line.bad_lost.sum() == 0, "all pods have left when their node is taken"
    live = np.isin(s.nodes.phase[0], (NODE_FREE, NODE_LOST), invert=True)
    assert np.all(s.kp.capacity[0, s.nodes.group[0, live]] == SPOT)
    check_books(run.sim)


def test_pods_that_refuse_spot_are_never_interrupted() -> None:
    line = taken_back("spot, on-demand", stay=True).until(7200.0).rows()
    assert line.bad_lost.sum() == 0
    assert line.pods_evicted.sum() == 0


@pytest.mark.parametrize("seed", range(400, 420))
def test_books_agree_whatever_karpenter_loses(seed: int) -> None:
    w = karpenter_world(seed, tick_s=15.0)
    rng = np.random.default_rng([seed, 9])
    faults = tuple(f for f in FAULTS if rng.random() < 0.5)
    market = SpotMarket(hazard_factor=float(rng.choice([0.0, 3000.0])))
    scenario = replace(w.scenario, faults=faults, spot=market)
    replicas = StaticReplicas() if rng.random() < 0.3 else w.case.stack.replicas
    case = replace(w.case, scenario=scenario, stack=replace(w.case.stack, replicas=replicas))
    sim = ClusterSim([case], rows=int(np.ceil(len(w.arrivals) * 15.0 / 300.0)) + 2)
    for first in range(0, len(w.arrivals), 10):
        sim.run(np.ascontiguousarray(w.arrivals[None, first : first + 10]))
        check_books(sim)
    assert not sim.arrays.kp_solve.extra.any()
