"""The lower bound beside commitments, discounts and spot: never above the bill that a policy gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.bound import Served
from envs.discounts import CommittedUse, bill_with_commitment
from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import BAD_LOST, BAD_NO_NODE, BAD_SATURATED, BAD_STARTING, GOOD, NODE_USD, OFFERED
from envs.spot import SpotMarket
from envs.stack import Karpenter
from policies.clairvoyant import Clairvoyant
from tests.sim.test_bound_worlds import foresight_of, slos
from tests.sim.world_strategy import World, random_world


def mixed_world(seed: int) -> World:
    """A random world with prices of its own, spot in some pools (taken back in every third world), and, in every
    second one, Karpenter."""
    world = random_world(seed, warmup_s=300.0 if seed % 5 == 0 else 0.0)
    rng = np.random.default_rng([seed, 12])
    cluster, case = world.scenario.cluster, world.case
    off = 1.0 - rng.choice([0.0, 0.1, 0.35], len(cluster.instance_types))  # negotiated, by type
    machines = tuple(
        replace(m, price_usd_per_h=m.price_usd_per_h * x, spot_price_usd_per_h=m.price_usd_per_h * 0.4)
        for m, x in zip(cluster.instance_types, off, strict=True)
    )
    bought = (("on-demand",), ("spot", "on-demand"), ("on-demand", "spot"))
    pools = tuple(replace(p, capacity_types=bought[int(rng.integers(3))]) for p in cluster.node_pools)
    market = SpotMarket(interruptions=seed % 3 == 0, hazard_factor=2000.0)
    cluster = replace(cluster, instance_types=machines, node_pools=pools)
    nodes = Karpenter() if seed % 2 else case.stack.nodes
    scenario = replace(case.scenario, cluster=cluster, spot=market)
    return replace(world, case=replace(case, scenario=scenario, stack=replace(case.stack, nodes=nodes)))


def run(world: World) -> tuple[float, float, Served, float]:
    """(USD of on-demand nodes, of spot nodes, service level, hours)."""
    dt, ticks = world.scenario.tick_s, len(world.arrivals) - world.warmup_ticks
    sim = ClusterSim([world.case], rows=int(np.ceil(ticks * dt / 300.0)) + 2)
    sim.run(np.ascontiguousarray(world.arrivals[None]))
    work, group = sim.arrays.rows.work[0].sum(axis=0), sim.arrays.rows.group[0, :, NODE_USD].sum(axis=0)
    bad = sum(work[k] for k in (BAD_SATURATED, BAD_STARTING, BAD_NO_NODE, BAD_LOST))
    spot = sim.arrays.groups.spot[0] != 0
    served = Served(work[OFFERED], work[GOOD], np.asarray(bad))
    return float(group[~spot].sum()), float(group[spot].sum()), served, ticks * dt / 3600.0


@pytest.mark.parametrize("seed", range(2000, 2060))
def test_no_bill_is_below_the_bound_whatever_was_promised(seed: int) -> None:
    """Promises of nothing, of a part of what is spent, of just that, and of far more; the kindest accounting there is
    (one step for the whole horizon, so that no quiet hour wastes anything)."""
    world = mixed_world(seed)
    on_demand, spot, served, hours = run(world)
    off = float(np.random.default_rng([seed, 13]).choice([0.05, 0.3, 0.6]))
    for part in (0.0, 0.4, 1.0 - off, 5.0):
        promise = part * max(on_demand, 0.01) / hours
        bill = on_demand + spot
        scenario = world.scenario
        if promise > 0.0:
            scenario = replace(scenario, committed_use=CommittedUse(promise, off))
            paid, _, _ = bill_with_commitment(np.array([on_demand]), promise, off, step_h=hours)
            bill = float(paid[0]) + spot
        promised = replace(world, case=replace(world.case, scenario=scenario))
        bound = Clairvoyant(foresight_of(promised), slos(world)).at(served)
        assert bound.usd <= bill * (1.0 + 1e-9) + 1e-12, part


def test_a_promise_moves_the_bound() -> None:
    """It would be no bound of a committed bill otherwise: what is promised is paid, used or not."""
    world = mixed_world(2001)
    on_demand, _, served, hours = run(world)
    usd = []
    for promise in (0.0, 5.0 * on_demand / hours, 20.0 * on_demand / hours):
        use = CommittedUse(promise, 0.3) if promise else None
        promised = replace(world, case=replace(world.case, scenario=replace(world.scenario, committed_use=use)))
        usd.append(Clairvoyant(foresight_of(promised), slos(world)).at(served).usd)
    assert usd[1] >= 5.0 * on_demand * (1 - 1e-9)
    assert usd[2] == pytest.approx(4.0 * usd[1], rel=0.35)
    assert usd[0] < usd[1]
