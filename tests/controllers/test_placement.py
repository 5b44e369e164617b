"""The hard filters and the bookkeeping of binding, against a slow reference on random worlds."""

from __future__ import annotations

import numpy as np
import pytest

from envs.controllers.placement import fit_scratch
from envs.sim.state import NODE_DRAINING, NODE_READY
from tests.controllers.scheduler_kernels import bind, count_pod, feasible_nodes, reserve, unbind
from tests.controllers.scheduler_reference import Reference
from tests.controllers.scheduler_world import Shape, random_world


def _feasible(world, w):
    scratch = fit_scratch(world.classes, world.topology)
    out = np.zeros(world.nodes.group.shape[1], np.bool_)
    feasible_nodes(world.classes, world.topology, world.groups, world.nodes, 0, w, scratch, out)
    return np.flatnonzero(out).tolist()


@pytest.mark.parametrize("elig", [False, True])
@pytest.mark.parametrize("terms", [0.0, 0.5, 0.9])
def test_feasible_nodes_are_those_of_the_reference(terms, elig):
    found = 0
    for seed in range(120):
        world = random_world(seed, terms=terms, elig=elig)
        reference = Reference(world)
        for w in range(5):
            expected = [n for n in range(int(world.nodes.hi[0])) if reference.fits(n, w)]
            assert _feasible(world, w) == expected, (seed, w)
            found += len(expected)
    assert found > 200


def test_unbind_undoes_bind():
    for seed in range(20):
        world = random_world(seed)
        n = next(n for n in range(12) if world.nodes.phase[0, n] == NODE_READY)
        books = {**world.nodes._asdict(), **world.topology._asdict()}
        for log in ("changed", "changed_on"):  # it keeps both moves
            del books[log]
        before = {name: np.copy(a) for name, a in books.items()}
        bind(world.classes, world.topology, world.nodes, 0, 2, n)
        assert world.nodes.pods_of[0, 2, n] == before["pods_of"][0, 2, n] + 1
        unbind(world.classes, world.topology, world.nodes, 0, 2, n)
        assert world.nodes.changed[0] == 2
        for name, a in books.items():
            np.testing.assert_array_equal(a, before[name], name)


def test_a_pod_being_deleted_holds_its_resources_but_no_longer_counts_for_spread():
    world = random_world(3)
    n = next(n for n in range(12) if world.nodes.phase[0, n] == NODE_READY)
    used, count = world.nodes.used[0, n].copy(), int(world.nodes.pods_of[0, 1, n])
    bind(world.classes, world.topology, world.nodes, 0, 1, n)
    count_pod(world.topology, world.nodes, 0, 1, n, -1)
    assert world.nodes.pods_of[0, 1, n] == count
    assert (world.nodes.used[0, n] == used + world.classes.req[0, 1]).all()
    reserve(world.classes, world.nodes, 0, 1, n, -1)
    assert (world.nodes.used[0, n] == used).all()


def _zone_world(counts):
    """One class with hard zone spread, maxSkew 1; node i is in zone i and holds counts[i] pods."""
    shape = Shape(
        workloads=1,
        groups=len(counts),
        nodes=len(counts),
        keys=2,
        domains=len(counts),
        spread=1,
        terms=1,
        pods=0,
    )
    world = random_world(
        0,
        Shape(workloads=4, groups=shape.groups, nodes=shape.nodes, keys=2, domains=shape.domains, pods=0),
        terms=0.0,
    )
    c = world.classes
    c.spread_key[0, 0, 0], c.spread_skew[0, 0, 0], c.spread_hard[0, 0, 0] = 1, 1, True
    c.spread_self[0, 0, 0], c.spread_sel[0, 0, 0], c.spread_min_domains[0, 0, 0] = True, 0, 1
    c.fits_group[:], c.affinity_ok[:], c.req[0, 0] = True, True, [0, 0, 1, 0, 0]
    world.groups.alloc[..., 2] = 110
    for i, count in enumerate(counts):
        world.nodes.phase[0, i], world.nodes.group[0, i] = NODE_READY, i
        world.topology.group_domain[0, i] = [-1, i]
        for _ in range(count):
            bind(c, world.topology, world.nodes, 0, 0, i)
    return world


def test_hard_zone_spread_allows_only_the_emptiest_zones():
    assert _feasible(_zone_world([2, 1, 1]), 0) == [1, 2]
    assert _feasible(_zone_world([1, 1, 1]), 0) == [0, 1, 2]


def test_a_cordoned_node_is_a_spread_domain_but_takes_no_pods():
    world = _zone_world([1, 1, 0])
    world.nodes.phase[0, 2] = NODE_DRAINING
    assert _feasible(world, 0) == []  # the empty zone keeps the minimum at 0, and cannot take the pod


def test_too_few_domains_make_the_minimum_zero():
    world = _zone_world([1, 1])
    world.classes.spread_min_domains[0, 0, 0] = 3
    assert _feasible(world, 0) == []
