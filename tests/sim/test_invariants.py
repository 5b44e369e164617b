"""What must hold in every world: books that agree, limits kept, money and requests conserved, equal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from envs.rollout import names_of
from envs.sim.cluster_sim import ClusterSim, _leaves
from envs.sim.rows import timeline_of
from envs.sim.state import NODE_FREE, POD_STARTING, POD_TERMINATING
from envs.stack import ClusterAutoscaler, HpaSpec, StaticReplicas
from tests.sim.recount import check_books, worst_skew
from tests.sim.world_strategy import TICKS_S, World, random_world, reseeded

SEEDS = range(64)


def rows_for(world: World) -> int:
    return int(np.ceil(len(world.arrivals) * world.scenario.tick_s / 300.0)) + 2


def start(*worlds: World) -> ClusterSim:
    return ClusterSim([w.case for w in worlds], rows=max(map(rows_for, worlds)))


def feed(sim: ClusterSim, world: World, first: int, ticks: int) -> None:
    """Run `ticks` ticks of a world's load from its tick `first`."""
    sim.run(np.ascontiguousarray(world.arrivals[None, first : first + ticks]))


def chunks(world: World, size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, len(world.arrivals), size):
        yield first, min(size, len(world.arrivals) - first)


def finished(world: World) -> ClusterSim:
    sim = start(world)
    feed(sim, world, 0, len(world.arrivals))
    return sim


# books and limits


@pytest.mark.parametrize("seed", SEEDS)
def test_books_agree_and_limits_hold_after_every_chunk(seed: int) -> None:
    world = random_world(seed)
    sim = start(world)
    for first, n in chunks(world, max(5, len(world.arrivals) // 12)):
        feed(sim, world, first, n)
        check_books(sim)
        check_replicas(sim)
        assert_finite_and_positive(sim)


def check_replicas(sim: ClusterSim) -> None:
    """spec.replicas is inside the bounds in force, and that many pods are alive."""
    s, case = sim.arrays, sim.cases[0]
    for w, workload in enumerate(case.scenario.cluster.workloads):
        spec = int(s.flow.spec_replicas[0, w])
        if isinstance(case.stack.replicas, StaticReplicas):
            assert spec == case.replicas[w]
        else:
            assert max(workload.min_replicas, 1) <= spec <= workload.max_replicas
        alive = int(s.flow.n_ready[0, w] + s.flow.n_starting[0, w] + s.flow.n_pending[0, w])
        assert alive <= max(spec, workload.max_replicas)
        if sim.tick * sim.tick_s > 2 * 15.0 + sim.tick_s:  # every Deployment was reconciled once
            assert alive == spec


def assert_finite_and_positive(sim: ClusterSim) -> None:
    rows, flow = sim.arrays.rows, sim.arrays.flow
    for array in (rows.work, rows.group, rows.cluster, flow.backlog, flow.busy, flow.cpu_per_pod):
        assert np.all(np.isfinite(array))
        assert array.min() >= -1e-9


@pytest.mark.parametrize("seed", range(100, 116))
def test_new_pods_keep_hard_spread_and_nodes_stay_when_they_should(seed: int) -> None:
    """A tick in which only new pods of a class were bound never leaves a skew above its limit, unless it was there."""
    world = random_world(seed, tick_s=5.0)
    sim = start(world)
    s = sim.arrays
    hard = [(w, k) for w, k in np.argwhere(s.classes.spread_hard[0] & (s.classes.spread_key[0] >= 0)).tolist()]
    skew = dict.fromkeys(hard, 0)
    for first, n in chunks(world, 1):
        nodes = s.nodes.phase[0].copy()
        staying = s.nodes.pods_of[0].sum(axis=1)
        gone = s.pods.phase[0] == POD_TERMINATING
        feed(sim, world, first, n)
        quiet = np.array_equal(nodes, s.nodes.phase[0])
        removed = np.count_nonzero((s.pods.phase[0] == POD_TERMINATING) & ~gone) > 0
        grown = s.nodes.pods_of[0].sum(axis=1) > staying
        for w, k in hard:
            now = worst_skew(s, 0, w, k)
            if quiet and not removed and grown[w]:
                assert now <= max(int(s.classes.spread_skew[0, w, k]), skew[w, k])
            skew[w, k] = now


# conservation


@pytest.mark.parametrize("seed", SEEDS)
def test_requests_are_conserved(seed: int) -> None:
    world = random_world(seed, warmup_s=300.0)
    sim = start(world)
    feed(sim, world, 0, world.warmup_ticks)
    before = sim.arrays.flow.backlog[0].copy()
    feed(sim, world, world.warmup_ticks, len(world.arrivals) - world.warmup_ticks)
    line = timeline_of(sim, names_of(world.scenario), 0, sim.tick)
    offered = line.offered.sum(axis=0)
    assert np.allclose(offered, world.arrivals[world.warmup_ticks :].sum(axis=0), rtol=1e-12)
    out = line.good.sum(axis=0) + line.bad.sum(axis=0) + sim.arrays.flow.backlog[0]
    assert out == pytest.approx(offered + before, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_money_adds_up(seed: int) -> None:
    world = random_world(seed)
    sim = finished(world)
    names = names_of(world.scenario)
    line = timeline_of(sim, names, 0, sim.tick)
    bill = line.node_usd.sum()
    pool_usd = np.zeros((len(line.time_s), len(names.pools)))
    np.add.at(pool_usd.T, list(names.group_pool), line.node_usd.T)
    parts = line.used_usd + line.requested_unused_usd + line.idle_usd
    assert parts == pytest.approx(pool_usd, rel=1e-9, abs=1e-12)
    assert line.workload_usd.sum() + line.idle_usd.sum() == pytest.approx(bill, rel=1e-9)
    for term in (line.node_usd, line.used_usd, line.requested_unused_usd, line.idle_usd, line.workload_usd):
        assert term.min() >= -1e-12


@pytest.mark.parametrize("tick_s", [5.0, 7.0])
@pytest.mark.parametrize("seed", range(200, 212))
def test_the_bill_is_that_of_the_nodes_births_and_deaths(seed: int, tick_s: float) -> None:
    """Each node costs its group's price for the time that it lived, 60 s at least; seen tick by tick."""
    world = random_world(seed, tick_s=tick_s)
    if isinstance(world.case.stack.nodes, ClusterAutoscaler):
        quick = replace(world.case.stack.nodes, scale_down_unneeded_s=5.0, scale_down_delay_after_add_s=0.0)
        world = replace(world, case=replace(world.case, stack=replace(world.case.stack, nodes=quick)))
    sim = start(world)
    s = sim.arrays
    born: dict[int, tuple[float, int]] = {}
    cost, hidden, removed = 0.0, 0.0, 0
    price = s.groups.price[0]
    for first, n in [(0, 0), *chunks(world, 1)]:
        feed(sim, world, first, n)
        for i in range(s.nodes.hi[0]):
            alive, birth = s.nodes.phase[0, i] != NODE_FREE, float(s.nodes.created_s[0, i])
            if i in born and (not alive or birth != born[i][0]):
                since, group = born.pop(i)
                death = float(s.clock.drain_since_s[0, i])
                if alive:  # the slot was used again in the tick, which hides the death in it
                    hidden, death = hidden + tick_s * price[group] / 3600.0, (sim.tick - 1) * tick_s
                cost += max(death - since, 60.0) * price[group] / 3600.0
                removed += 1
            if alive and i not in born:
                born[i] = (birth, int(s.nodes.group[0, i]))
    end = sim.tick * tick_s
    cost += sum((end - since) * price[group] / 3600.0 for since, group in born.values())
    line = timeline_of(sim, names_of(world.scenario), 0, sim.tick)
    assert cost * (1 - 1e-9) <= line.node_usd.sum() <= (cost + hidden) * (1 + 1e-9)
    assert line.nodes_removed.sum() == removed


# equal bytes


@pytest.mark.parametrize("seed", range(12))
def test_chunks_do_not_matter_and_equal_seeds_give_equal_bytes(seed: int) -> None:
    world = random_world(seed, sim_s=100 * TICKS_S[seed % 5], tick_s=TICKS_S[seed % 5])
    whole, parts, other = start(world), start(world), start(reseeded(world, seed + 1000))
    feed(whole, world, 0, 100)
    feed(parts, world, 0, 37)
    feed(parts, world, 37, 63)
    feed(other, world, 0, 100)
    assert whole.state_bytes() == parts.state_bytes()
    assert whole.state_bytes() != other.state_bytes()


def test_clusters_of_a_batch_do_not_touch_each_other() -> None:
    """Eight seeds of one world: the batch's slices equal eight batches of one, on one thread or two."""
    base = random_world(3, tick_s=15.0)
    worlds = [reseeded(base, seed) for seed in range(8)]
    load = np.stack([np.roll(base.arrivals, 7 * i, axis=0) for i in range(8)])
    batch, threaded = start(*worlds), start(*worlds)
    batch.run(load)
    threaded.run(load, threads=2)
    assert batch.state_bytes() == threaded.state_bytes()
    for b, world in enumerate(worlds):
        alone = start(world)
        alone.run(np.ascontiguousarray(load[b : b + 1]))
        for one, many in zip(_leaves(alone.arrays), _leaves(batch.arrays), strict=True):
            if one.shape[:1] == (1,) and many.shape[:1] == (8,):
                assert one[0].tobytes() == many[b].tobytes()


def test_padding_does_not_change_a_cluster() -> None:
    """Clusters of different widths in one batch: each has the rows, pods and nodes that it has alone."""
    worlds = [random_world(seed, tick_s=15.0) for seed in range(40, 48)]
    width = max(w.arrivals.shape[1] for w in worlds)
    load = np.zeros((8, len(worlds[0].arrivals), width))
    for b, world in enumerate(worlds):
        load[b, :, : world.arrivals.shape[1]] = world.arrivals
    batch = start(*worlds)
    batch.run(load)
    for b, world in enumerate(worlds):
        alone = finished(world)
        names = names_of(world.scenario)
        mine, theirs = (timeline_of(sim, names, 0, sim.tick, b=i) for sim, i in ((alone, 0), (batch, b)))
        for name, values in vars(mine).items():
            assert values.tobytes() == np.ascontiguousarray(getattr(theirs, name)).tobytes(), (b, name)
        hi = int(alone.arrays.pods.hi[0])
        assert hi == int(batch.arrays.pods.hi[b])
        for field in ("workload", "phase", "node", "created_s", "ready_s"):
            one, many = (getattr(sim.arrays.pods, field) for sim in (alone, batch))
            assert one[0, :hi].tobytes() == many[b, :hi].tobytes()


def test_worlds_reach_every_corner() -> None:
    """The random worlds are worth their time: together they see all that the invariants are about."""
    seen: set[str] = set()
    for seed in range(20):
        world = random_world(seed)
        sim = finished(world)
        line = timeline_of(sim, names_of(world.scenario), 0, sim.tick)
        events = ("pods_evicted", "nodes_added", "nodes_removed", "replica_changes", "oom_restarts", "pending",
                  "bad_starting", "bad_no_node", "bad_saturated", "starting")  # fmt: skip
        seen |= {name for name in events if getattr(line, name).sum() > 0}
        if np.any(sim.arrays.pods.phase == POD_STARTING):
            seen.add("starts")
        if np.any(sim.arrays.flow.speed < 1.0):
            seen.add("contention")
        if isinstance(world.case.stack.replicas, HpaSpec):
            seen.add("hpa")
    assert len(seen) == 13
