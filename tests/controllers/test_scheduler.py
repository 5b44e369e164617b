"""The choice of a node and preemption, against slow references on random worlds, and their invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.controllers.scheduler import pack_profile, scheduler_scratch
from envs.sim.random import seed_streams
from envs.sim.state import NODE_READY, POD_READY
from envs.stack import SchedulerProfile
from tests.controllers.scheduler_kernels import bind, find_preemption, schedule_one, unbind
from tests.controllers.scheduler_reference import Reference
from tests.controllers.scheduler_score_reference import preemption_rank, total_scores, victims_on
from tests.controllers.scheduler_world import Shape, World, random_world

DEFAULT = SchedulerProfile()
PROFILES = {
    "default": DEFAULT,
    "most": replace(DEFAULT, fit_strategy="MostAllocated", fit_weight=3, spread_weight=1),
    "ratio": replace(
        DEFAULT,
        fit_strategy="RequestedToCapacityRatio",
        fit_shape=((0, 0), (40, 8), (70, 3), (100, 10)),
        fit_resources=(("cpu", 3), ("memory", 1), ("gpu", 2)),
    ),
}


class Scheduler:
    """The kernel with its arrays for one world."""

    def __init__(self, world: World, profile: SchedulerProfile = DEFAULT, seed: int = 0) -> None:
        self.world, self.profile, self.rng = world, pack_profile([profile]), seed_streams([seed])
        self.scratch = scheduler_scratch(world.classes, world.topology, world.nodes, world.pods)

    def choose(self, w: int) -> int:
        x = self.world
        args = (x.classes, x.topology, x.groups, x.nodes, self.profile, self.rng)
        return schedule_one(*args, 0, w, self.scratch)

    def bind(self, w: int, n: int) -> None:
        bind(self.world.classes, self.world.topology, self.world.nodes, 0, w, n)

    @property
    def feasible(self) -> list[int]:
        return self.scratch.feasible[0, : self.scratch.n_feasible[0]].tolist()

    def preempt(self, w: int) -> tuple[int, list[int]]:
        x = self.world
        n = find_preemption(x.classes, x.topology, x.groups, x.nodes, x.pods, x.counts(), 0, w, self.scratch)
        return n, self.scratch.victims[0, : self.scratch.n_victims[0]].tolist()


@pytest.mark.parametrize("name", PROFILES)
def test_scores_and_choice_are_those_of_the_reference(name):
    several = 0
    for seed in range(80):
        world = random_world(seed, terms=0.4, elig=seed % 3 == 0)
        reference, scheduler = Reference(world), Scheduler(world, PROFILES[name], seed)
        for w in range(5):
            expected = [n for n in range(12) if reference.fits(n, w)]
            chosen = scheduler.choose(w)
            assert sorted(scheduler.feasible) == expected, (seed, w)
            if len(expected) < 2:
                assert chosen == (expected or [-1])[0]
                continue
            totals = total_scores(world, PROFILES[name], w, expected)
            got = dict(zip(scheduler.feasible, scheduler.scratch.score[0].tolist(), strict=False))
            assert got == totals, (seed, w)
            assert totals[chosen] == max(totals.values())
            several += 1
    assert several > 50


def test_binding_what_is_chosen_never_breaks_a_hard_rule():
    bound = 0
    for seed in range(25):
        world = random_world(seed, Shape(pods=0, nodes=20), terms=0.4)
        scheduler, rng = Scheduler(world), np.random.default_rng(seed)
        for _ in range(40):
            w = int(rng.integers(5))
            n = scheduler.choose(w)
            if n < 0:
                continue
            assert Reference(world).fits(n, w)
            scheduler.bind(w, n)
            bound += 1
            free = world.groups.alloc[0, world.nodes.group[0, n]] - world.nodes.used[0, n]
            assert (free[world.classes.req[0, w] > 0] >= 0).all()
    assert bound > 200


def test_room_is_known_however_pods_have_come_and_gone_between_two_searches():
    for seed in range(4):
        world = random_world(seed, Shape(pods=0, nodes=70), terms=0.0)
        world.classes.req[:] = [[[cpu, 1 << 20, 1, 0, 0] for cpu in (900, 1300, 1800, 2500, 3500)]]
        world.groups.alloc[:] = [[[cpu, 1 << 34, 110, 0, 0] for cpu in (1900, 3920, 3920, 7910)]]
        scheduler, rng, bound, few = Scheduler(world), np.random.default_rng(seed), [], 0
        for step in range(400):
            w = int(rng.integers(5))
            chosen, reference = scheduler.choose(w), Reference(world)
            expected = [n for n in range(70) if reference.fits(n, w)]
            assert sorted(scheduler.feasible) == expected, (seed, step)
            few += len(expected) < 8
            if chosen >= 0:
                scheduler.bind(w, chosen)
                bound.append((w, chosen))
            leave = int(rng.integers(60, 90)) if step % 200 == 199 else int(rng.random() < 0.2)
            for _ in range(min(leave, len(bound))):
                gone = bound.pop(int(rng.integers(len(bound))))
                unbind(world.classes, world.topology, world.nodes, 0, *gone)
        assert 50 < few < 350


def test_equal_nodes_are_chosen_at_random_and_equal_seeds_choose_alike():
    def choices(seed: int) -> list[int]:
        scheduler = Scheduler(_plain_world(6), seed=seed)
        return [scheduler.choose(0) for _ in range(60)]

    assert set(choices(1)) == set(range(6))
    assert choices(1) == choices(1)
    assert choices(1) != choices(2)


def _plain_world(nodes: int, zones: int = 1) -> World:
    """Equal empty nodes, one group per zone in blocks; classes without terms that ask for little."""
    world = random_world(0, Shape(nodes=nodes, groups=zones, domains=max(zones, 2), pods=8), terms=0.0)
    world.groups.alloc[:] = [4000, 16 << 30, 110, 0, 0]
    world.classes.req[:] = [100, 1 << 28, 1, 0, 0]
    world.classes.score_req[:] = world.classes.req[..., :2]
    for table in (world.classes.soft_taints, world.classes.affinity_score):
        table[:] = 0
    world.classes.fits_group[:], world.classes.affinity_ok[:] = True, True
    world.topology.group_domain[0, :, 1] = np.arange(zones)
    world.nodes.phase[0, :nodes] = NODE_READY
    world.nodes.group[0, :nodes] = np.arange(nodes) * zones // nodes
    for books in (world.nodes.used, world.nodes.score_used, world.nodes.n_pods, world.nodes.pods_of):
        books[:] = 0
    world.nodes.first_pod[:], world.pods.first_of[:], world.topology.dom_pods[:] = -1, -1, 0
    return world


@pytest.mark.parametrize(
    ("nodes", "percentage", "looked_at"), [(99, 0, 99), (150, 0, 100), (1000, 0, 420), (1000, 20, 200)]
)
def test_only_so_many_feasible_nodes_are_scored(nodes, percentage, looked_at):
    scheduler = Scheduler(_plain_world(nodes), replace(DEFAULT, percentage_of_nodes_to_score=percentage))
    scheduler.choose(0)
    assert len(scheduler.feasible) == looked_at


def test_the_next_search_begins_where_the_last_one_stopped_and_samples_go_round_the_zones():
    scheduler = Scheduler(_plain_world(300, zones=3))
    scheduler.choose(0)
    first = scheduler.feasible
    scheduler.choose(0)
    assert not set(first) & set(scheduler.feasible)
    zones = np.bincount(scheduler.world.nodes.group[0, first], minlength=3)
    assert zones.max() - zones.min() <= 1


def test_a_new_node_is_seen_at_once():
    world = _plain_world(150)
    world.nodes.hi[0] = 149
    scheduler = Scheduler(world)
    world.classes.req[0, 0, 0] = 4001
    assert scheduler.choose(0) == -1
    world.nodes.hi[0] = 150
    world.groups.alloc[0, 0, 0] = 4001
    world.nodes.used[0, :149, 0] = 1
    assert scheduler.choose(0) == 149


def books(world: World) -> list[np.ndarray]:
    """Copies of the nodes and their domains, but for the note of which nodes were touched."""
    kept = [x for name, x in zip(world.nodes._fields, world.nodes, strict=True) if not name.startswith("changed")]
    return [np.copy(a) for a in (*kept, *world.topology)]


def test_preemption_takes_the_victims_and_the_node_of_the_reference():
    helped = 0
    for seed in range(150):
        world = random_world(seed, Shape(nodes=8, pods=60), terms=0.2)
        world.classes.priority[0, 0] = 1000
        scheduler = Scheduler(world, seed=seed)
        if scheduler.choose(0) >= 0:
            continue
        before = books(world)
        node, victims = scheduler.preempt(0)
        for a, old in zip(books(world), before, strict=True):
            np.testing.assert_array_equal(a, old)
        options = {
            n: victims_on(world, n, 0) for n in range(8) if Reference(world).world.nodes.phase[0, n] == NODE_READY
        }
        useful = {n: found for n, found in options.items() if found}
        if not useful:
            assert node == -1
            continue
        helped += 1
        ranks = {n: preemption_rank(world, *found) for n, found in useful.items()}
        assert ranks[node] == min(ranks.values()), seed
        assert victims == useful[node][0], seed
    assert helped > 20


def test_preemption_spares_the_budget_and_the_important():
    world = _plain_world(2)
    world.classes.priority[0, :3] = [100, 10, 0]
    world.classes.req[0, :3, 0] = [3000, 2000, 2000]
    world.classes.pdb_kind[0], world.classes.pdb_value[0] = 0, 0
    for p, (w, n) in enumerate([(1, 0), (2, 0), (2, 1), (2, 1)]):
        bind(world.classes, world.topology, world.nodes, 0, w, n)
        world.pods.workload[0, p], world.pods.node[0, p], world.pods.phase[0, p] = w, n, POD_READY
        world.pods.bound_s[0, p] = p
        world.pods.next_n[0, p], world.nodes.first_pod[0, n] = world.nodes.first_pod[0, n], p
        world.pods.next_w[0, p], world.pods.first_of[0, w] = world.pods.first_of[0, w], p
    world.pods.hi[0] = 4
    scheduler = Scheduler(world)
    assert scheduler.choose(0) == -1
    assert scheduler.preempt(0) == (1, [2, 3])  # two unimportant pods rather than one that matters more
    world.classes.pdb_kind[0, 2], world.classes.pdb_value[0, 2] = 2, 1  # maxUnavailable 1
    assert scheduler.preempt(0) == (0, [0, 1])  # now they would break a budget
