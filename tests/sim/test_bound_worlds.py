"""The lower bound in whole worlds: nothing that runs in the simulator is ever below it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.action import Plan, nothing
from envs.bound import Foresight, Served
from envs.bound_tables import Resolution, foresee_load
from envs.sim.cluster_sim import ClusterSim
from envs.sim.exchange import apply_plan
from envs.sim.flow import BAD_NO_NODE, BAD_SATURATED, BAD_STARTING, GOOD, NODE_USD, OFFERED
from envs.stack import HpaSpec, Stack
from policies.clairvoyant import Bound, Clairvoyant
from tests.sim.world_strategy import World, random_world

COARSE = Resolution(blocks=4, block_s=400.0, rows=30)  # bins some tens of per cent wide: looser, quick, as valid
SEEDS = range(120)


def foresight_of(world: World) -> Foresight:
    first = world.warmup_ticks
    return foresee_load(
        world.scenario, lambda t, n: world.arrivals[first + t : first + t + n], first_tick=-first,
        ticks=len(world.arrivals) - first, fine=COARSE,
    )  # fmt: skip


def slos(world: World) -> np.ndarray:
    return np.array([w.slo_target for w in world.scenario.cluster.workloads])


def outcome(sim: ClusterSim) -> tuple[float, Served]:
    """(USD of nodes, service level) of cluster 0 over all rows."""
    work = sim.arrays.rows.work[0].sum(axis=0)
    bad = work[BAD_SATURATED] + work[BAD_STARTING] + work[BAD_NO_NODE]
    return float(sim.arrays.rows.group[0, :, NODE_USD].sum()), Served(work[OFFERED], work[GOOD], bad)


def run(world: World, plan_every: int = 0) -> tuple[float, Served]:
    """The world under its stack; with plan_every, random plans on top, one each so many ticks."""
    rows = int(np.ceil(len(world.arrivals) * world.scenario.tick_s / 300.0)) + 2
    sim = ClusterSim([world.case], rows=rows)
    rng = np.random.default_rng([world.case.seed, 11])
    step = plan_every or len(world.arrivals)
    for first in range(0, len(world.arrivals), step):
        if plan_every:
            apply_plan(sim, Plan(random_targets(world, rng)))
        sim.run(np.ascontiguousarray(world.arrivals[None, first : first + step]))
    return outcome(sim)


def random_targets(world: World, rng: np.random.Generator) -> object:
    """Replicas held at a random count by min = max, here and there; pools held at a random size."""
    spec = world.scenario.cluster
    low = np.array([w.min_replicas for w in spec.workloads])
    high = np.array([w.max_replicas for w in spec.workloads])
    held = np.rint(low + (high - low) * rng.random(len(low)) ** 2)
    held[rng.random(len(low)) < 0.3] = np.nan
    nodes = np.array([p.max_nodes for p in spec.node_pools], float)
    nodes[rng.random(len(nodes)) < 0.7] = np.nan
    return replace(nothing(spec), hpa_min_replicas=held, hpa_max_replicas=held, max_nodes=nodes)


def assert_above(world: World, usd: float, served: Served) -> Bound:
    bound = Clairvoyant(foresight_of(world), slos(world)).at(served)
    assert np.all(bound.workload_usd >= 0.0)
    assert bound.usd <= usd * (1.0 + 1e-9) + 1e-12
    return bound


@pytest.mark.parametrize("seed", SEEDS)
def test_no_stack_is_below_the_bound(seed: int) -> None:
    world = random_world(seed, warmup_s=300.0 if seed % 3 == 0 else 0.0)
    assert_above(world, *run(world))


@pytest.mark.parametrize("seed", range(1000, 1080))
def test_no_random_policy_is_below_the_bound(seed: int) -> None:
    world = random_world(seed)
    world = replace(
        world, case=replace(world.case, stack=Stack("held", replicas=HpaSpec(), nodes=world.case.stack.nodes))
    )
    assert_above(world, *run(world, plan_every=max(4, len(world.arrivals) // 15)))


def test_the_bound_grows_with_the_service_level() -> None:
    shares, grown = [0.9, 0.5, 0.2, 0.05, 0.01, 1e-3, 1e-4, 0.0], 0
    for seed in range(8):
        world = random_world(seed)
        known = foresight_of(world)
        clairvoyant = Clairvoyant(known, slos(world))
        usd = [clairvoyant.at(Served(known.offered, (1 - s) * known.offered, s * known.offered)).usd for s in shares]
        assert np.all(np.diff(usd) >= -1e-9)
        grown += usd[0] < 0.9 * usd[-1]
    assert grown >= 4  # in some worlds the pools' minimum is all that counts


def test_the_bound_is_no_formality() -> None:
    """Summed over worlds the bound is a good part of what the stacks cost: it could fail."""
    paid, least = 0.0, 0.0
    for seed in range(24):
        world = random_world(seed)
        usd, served = run(world)
        paid += usd
        least += assert_above(world, usd, served).usd
    assert least > 0.2 * paid
