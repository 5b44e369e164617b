"""Karpenter when the provider takes nodes back or has none: notices, and offerings that are refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from envs.cluster import ClusterSpec, NodePool
from envs.controllers.karpenter_price import ON_DEMAND, SPOT
from envs.controllers.karpenter_state import HOLD
from envs.scenario import NoiseModel, Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.pack import Case
from envs.sim.state import NODE_BOOTING, NODE_DRAINING, NODE_FREE, NODE_READY
from envs.stack import Stack, StaticReplicas
from tests.sim.core_kernels import interrupt_node
from tests.sim.recount import check_books
from tests.sim.test_karpenter import BIG, FLAT, SEED, SLOW, SMALL, created_s, pool, web

NOTICE_S = 120.0
LASTING = {"consolidate_after_s": math.inf}


def cluster(count: int, nodes: NodePool) -> ClusterSim:
    """Pods of 2 cores and 30 s of grace under Karpenter, in ticks of 5 s."""
    spec = ClusterSpec((web(count, max_replicas=20),), (nodes,), (SMALL, BIG))
    scenario = Scenario("taken", spec, (FLAT,), 7200.0, 5.0, 0.0, NoiseModel(enabled=False))
    return ClusterSim(
        [Case(scenario, Stack("k", replicas=StaticReplicas(), nodes=SLOW), SEED, np.zeros(1), [count])], rows=40
    )


def run(sim: ClusterSim, until_s: float) -> None:
    sim.run(np.zeros((1, round(until_s / sim.tick_s) - sim.tick, 1)))
    check_books(sim)


def slots(sim: ClusterSim, phase: int) -> list[int]:
    return np.flatnonzero(sim.arrays.nodes.phase[0] == phase).tolist()


def notify(sim: ClusterSim, n: int) -> float:
    """The provider's notice for node n, now; its time."""
    now_s = sim.tick * sim.tick_s
    interrupt_node(sim.view, n, now_s, NOTICE_S, now_s + sim.tick_s)
    return now_s


def test_a_node_with_a_notice_is_drained_and_replaced_before_it_is_taken() -> None:
    """Cordoned and drained at once, its pods' next node asked for within seconds: all are ready before the two minutes
    are over, and the node is given back."""
    sim = cluster(4, pool("small", initial_nodes=0, capacity_types=("spot",), **LASTING))
    run(sim, 300.0)
    first = slots(sim, NODE_READY)
    assert len(first) == 2
    now_s = notify(sim, first[0])
    assert slots(sim, NODE_DRAINING) == first[:1]
    run(sim, now_s + 5.0)
    asked = slots(sim, NODE_BOOTING)
    assert len(asked) == 1
    assert sim.arrays.nodes.created_s[0, asked[0]] <= now_s + 2.0
    run(sim, now_s + NOTICE_S)
    assert sim.arrays.flow.n_ready[0, 0] == 4
    assert sim.arrays.nodes.phase[0, first[0]] == NODE_FREE


def test_a_notice_does_not_wait_for_the_node_that_consolidation_asked_for() -> None:
    """A node that is held until its replacement is Ready drains at the notice."""
    sim = cluster(1, pool("big", "small", initial_nodes=1, boot_delay_s=600.0))
    while not sim.arrays.kp_state.node[0, HOLD].any():
        run(sim, sim.tick * sim.tick_s + 5.0)
    held = int(np.flatnonzero(sim.arrays.kp_state.node[0, HOLD])[0])
    notify(sim, held)
    assert sim.arrays.flow.n_terminating[0, 0] == 1
    run(sim, sim.tick * sim.tick_s + 60.0)
    assert sim.arrays.nodes.phase[0, held] == NODE_FREE
    assert len(slots(sim, NODE_BOOTING)) == 1, "the node that was asked for is still what its pod waits for"


def test_what_was_refused_is_left_out_for_three_minutes() -> None:
    """Spot is sold out when the pod comes: the first claim fails, the next, at the pod's second look 10 s later, is on
    demand. Then spot is back, which Karpenter learns three minutes after it was refused, not before."""
    both = pool("small", initial_nodes=0, capacity_types=("on-demand", "spot"), **LASTING)
    sim = cluster(2, replace(both, max_nodes=9))
    spot = np.flatnonzero(sim.arrays.kp.capacity[0] == SPOT)
    sim.arrays.faults.blocked[0, spot] = 1
    run(sim, 60.0)
    assert bought(sim) == [(created_s() + 11.0, ON_DEMAND)]
    sim.arrays.faults.blocked[0, spot] = 0
    refused_s = created_s() + 1.0
    sim.arrays.static_replicas[0, 0] = 4
    run(sim, 150.0)
    sim.arrays.static_replicas[0, 0] = 6
    run(sim, 300.0)
    found = bought(sim)
    assert [kind for _, kind in found] == [ON_DEMAND, ON_DEMAND, ON_DEMAND]
    assert all(at_s < refused_s + 180.0 for at_s, _ in found)
    sim.arrays.static_replicas[0, 0] = 8
    run(sim, 400.0)
    assert bought(sim)[-1][1] == SPOT


def bought(sim: ClusterSim) -> list[tuple[float, int]]:
    """Creation time and capacity type of each node, in order."""
    s = sim.arrays
    alive = np.flatnonzero(s.nodes.group[0] >= 0)
    pairs = [(float(s.nodes.created_s[0, n]), int(s.kp.capacity[0, s.nodes.group[0, n]])) for n in alive]
    return sorted(pairs)
