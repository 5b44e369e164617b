"""The Cluster Autoscaler's kernels against obvious Python, and what its loop promises on random worlds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from envs.controllers.ca_expanders import LEAST_NODES, LEAST_WASTE, MOST_PODS
from envs.controllers.ca_layout import (
    DEST,
    N_MOVES,
    N_PENDING,
    P_COUNT,
    P_LIST,
    PLACED,
    SCHEDULABLE,
    empty_options,
)
from envs.controllers.cluster_autoscaler import (
    CaConfig,
    CaOutput,
    CaState,
    ca_loop,
    empty_ca_output,
    empty_ca_state,
    note_scale_up_failure,
    pack_autoscaler,
)
from envs.sim.random import seed_streams
from envs.sim.state import NODE_DRAINING, NODE_READY, POD_FREE, POD_PENDING
from envs.stack import ClusterAutoscaler
from tests.conformance import autoscaler_kernels as kernels
from tests.controllers.scheduler_world import Shape, World, random_world

SHAPE = Shape(workloads=5, groups=3, nodes=10, pods=40)
FAST = ClusterAutoscaler(scale_down_unneeded_s=20.0, scale_down_delay_after_add_s=0.0)


@dataclass(frozen=True)
class Setup:
    """A random world and a controller for it."""

    world: World
    cfg: CaConfig
    state: CaState
    out: CaOutput
    rng: Any

    @property
    def tuples(self) -> tuple[Any, ...]:
        w = self.world
        return w.classes, w.topology, w.groups, w.nodes

    def loop(self, now_s: float) -> None:
        args = (self.world.pods, self.world.counts(), self.cfg, self.state, self.out, self.rng, 0, now_s)
        ca_loop(*self.tuples, *args)

    def world_bytes(self) -> bytes:
        w = self.world
        return b"".join(a.tobytes() for a in (*w.topology, *w.nodes, *w.pods, *w.classes))


def setup(seed: int, stack: ClusterAutoscaler = FAST, *, terms: float = 0.0, low: int = 0, top: int = 8) -> Setup:
    world = random_world(seed, SHAPE, terms=terms)
    world.groups.cap[...] = world.groups.alloc
    shape = world.groups.min_nodes.shape
    groups = world.groups._replace(min_nodes=np.full(shape, low, np.int32), max_nodes=np.full(shape, top, np.int32))
    world = World(world.classes, world.topology, groups, world.nodes, world.pods)
    cfg = pack_autoscaler([stack], groups)
    state = empty_ca_state(world.classes, world.topology, groups, world.nodes, world.pods)
    return Setup(world, cfg, state, empty_ca_output(groups, world.nodes), seed_streams([seed]))


def room(s: Setup, n: int) -> Any:
    w = s.world
    return w.groups.alloc[0, w.nodes.group[0, n]] - w.nodes.used[0, n]


# --- estimator ---


def reference_estimate(s: Setup, counts: list[int], g: int, cap: int) -> tuple[int, list[int]]:
    """Resources only: groups by size share; opened nodes newest first then in a ring; then the newest or one more."""
    w = s.world
    req, alloc = w.classes.req[0], w.groups.alloc[0, g]
    empty = alloc - w.groups.daemon[0, g]

    def share(c: int) -> float:
        return float(sum(req[c, r] / alloc[r] for r in (0, 1)))

    def fits(c: int, left: Any) -> bool:
        return bool(np.all((req[c] == 0) | (req[c] <= left)))

    nodes: list[Any] = []
    used: list[bool] = []
    last, adding, placed = -1, True, [0] * len(counts)
    order = [c for c in sorted(range(len(counts)), key=share, reverse=True) if w.classes.fits_group[0, c, g]]
    for c in order:
        left = counts[c]
        while left:
            newest = len(nodes) - 1
            ring = [(last + 1 + i) % len(nodes) for i in range(len(nodes))]
            tries = ([newest] if nodes and used[newest] else []) + [k for k in ring if k != newest]
            hit = next((k for k in tries if fits(c, nodes[k])), None)
            if hit is None:
                break
            last = last if hit == newest else hit
            nodes[hit] = nodes[hit] - req[c]
            used[hit] = True
            left -= 1
        while left and adding:
            if not (nodes and fits(c, nodes[-1])):
                if nodes and not used[-1]:
                    break
                if cap < 0 or (cap and len(nodes) >= cap):
                    adding = False
                    break
                nodes.append(empty.copy())
                used.append(False)
                if not fits(c, nodes[-1]):
                    break
            nodes[-1] = nodes[-1] - req[c]
            used[-1] = True
            left -= 1
        placed[c] = counts[c] - left
    return sum(used), placed


@pytest.mark.parametrize("seed", range(40))
def test_estimate_matches_the_reference_and_leaves_no_trace(seed: int) -> None:
    s, rng = setup(seed), np.random.default_rng(seed)
    counts = [int(x) for x in rng.integers(1, 9, SHAPE.workloads)]
    s.state.fork.at[0, N_PENDING] = len(counts)
    s.state.pending.cls[0, P_LIST, : len(counts)] = np.arange(len(counts))
    s.state.pending.cls[0, P_COUNT, : len(counts)] = counts
    g, cap = int(rng.integers(SHAPE.groups)), int(rng.choice([0, 1, 2, -1]))
    s.state.pending.table[0, SCHEDULABLE, g] = s.world.classes.fits_group[0, :, g]
    free = s.world.nodes.group.shape[1] - int(s.world.nodes.hi[0])  # the free stack is empty
    cap = min(cap, free) if cap > 0 else (free if cap == 0 else cap)
    before = s.world_bytes()
    found = kernels.estimate(*s.tuples, s.state, 0, g, cap, False)
    assert s.world_bytes() == before
    assert (found, s.state.pending.table[0, PLACED, g].tolist()) == reference_estimate(s, counts, g, cap)


# --- removal ---


def can_pack(pods: list[Any], rooms: list[Any]) -> bool:
    """Whether some arrangement puts every pod in a room (depth first)."""
    if not pods:
        return True
    for i, left in enumerate(rooms):
        if np.all((pods[0] == 0) | (pods[0] <= left)):
            rest = [r - pods[0] if i == k else r for k, r in enumerate(rooms)]
            if can_pack(pods[1:], rest):
                return True
    return False


def pods_on(s: Setup, n: int) -> list[int]:
    found, p = [], int(s.world.nodes.first_pod[0, n])
    while p >= 0:
        found.append(p)
        p = int(s.world.pods.next_n[0, p])
    return found


@pytest.mark.parametrize("seed", range(25))
def test_a_node_whose_pods_fit_nowhere_else_is_never_removable(seed: int) -> None:
    s = setup(seed)
    w = s.world
    w.classes.fits_group[...] = True
    ready = [n for n in range(w.nodes.hi[0]) if w.nodes.phase[0, n] == NODE_READY]
    s.state.budget[...] = 0
    for n in ready:
        s.state.fork.node[0, DEST] = 0
        s.state.fork.node[0, DEST, [m for m in ready if m != n]] = 1
        before = s.world_bytes()
        count = kernels.simulate_removal(*s.tuples, w.pods, s.state, 0, n, 1e6)
        if count < 0:
            assert s.world_bytes() == before
            continue
        kernels.undo(*s.tuples, s.state, 0)
        w.nodes.phase[0, n] = NODE_READY
        assert s.world_bytes() == before
        asked = [w.classes.req[0, w.pods.workload[0, p]] for p in pods_on(s, n)]
        assert can_pack(asked, [room(s, m) for m in ready if m != n])


# --- the loop ---


@pytest.mark.parametrize("seed", range(20))
def test_a_loop_changes_nothing_but_its_own_state(seed: int) -> None:
    s = setup(seed, terms=0.5)
    before = s.world_bytes()
    for now_s in (1000.0, 1010.0, 1031.0):
        s.loop(now_s)
        assert s.world_bytes() == before
    assert s.state.fork.at[0, N_MOVES] == 0
    assert (s.state.fork.node[0, 1] == -1).all()


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_between_minimum_and_maximum_and_caps_hold(seed: int) -> None:
    low, top = int(seed % 3), 5
    s = setup(seed, ClusterAutoscaler(scale_down_unneeded_s=15.0, scale_down_delay_after_add_s=0.0), low=low, top=top)
    w = s.world
    for now_s in (1000.0, 1010.0, 1020.0, 1030.0):
        s.loop(now_s)
        sizes = np.bincount(w.nodes.group[0][w.nodes.group[0] >= 0], minlength=SHAPE.groups)
        assert (s.out.add[0] <= np.maximum(top - sizes, 0)).all()
        gone = s.out.remove[0, : s.out.n_remove[0]]
        assert len(set(gone.tolist())) == len(gone) <= 10
        assert (w.nodes.phase[0, gone] == NODE_READY).all()
        assert int(s.out.needs_drain[0, : len(gone)].sum()) <= 1
        lost = np.bincount(w.nodes.group[0, gone], minlength=SHAPE.groups)
        deleting = np.bincount(w.nodes.group[0][w.nodes.phase[0] == NODE_DRAINING], minlength=SHAPE.groups)
        assert (sizes - deleting - lost >= np.minimum(low, sizes - deleting))[lost > 0].all()


def test_unneeded_time_is_strictly_longer() -> None:
    s = setup(3, ClusterAutoscaler(scale_down_unneeded_s=60.0))
    clear(s)
    for now_s in (0.0, 30.0, 60.0):
        s.loop(now_s)
        assert s.out.n_remove[0] == 0
    s.loop(60.001)
    assert s.out.n_remove[0] > 0


def clear(s: Setup) -> None:
    """No pods at all: every node is empty."""
    w = s.world
    w.pods.phase[...], w.pods.n_pending[...] = POD_FREE, 0
    w.nodes.first_pod[...], w.nodes.n_pods[...] = -1, 0
    w.nodes.used[...], w.nodes.pods_of[...], w.topology.dom_pods[...] = 0, 0, 0


def test_a_pod_under_an_exhausted_budget_is_never_drained() -> None:
    for seed in range(10):
        s = setup(seed, ClusterAutoscaler(scale_down_unneeded_s=0.0))
        s.world.classes.pdb_kind[...], s.world.classes.pdb_value[...] = 2, 0.0  # maxUnavailable 0
        fresh = empty_ca_state(*s.tuples, s.world.pods)
        s = Setup(s.world, s.cfg, fresh, s.out, s.rng)
        for now_s in (1000.0, 1010.0, 1400.0):
            s.loop(now_s)
            assert not s.out.needs_drain[0, : s.out.n_remove[0]].any()


def test_young_pods_hold_back_both_directions() -> None:
    s = setup(5)
    clear(s)
    w = s.world
    w.classes.req[0, 0] = w.groups.alloc[0].max(axis=0) // 2 + 1
    w.classes.req[0, 0, 3:] = 0
    w.classes.fits_group[...] = True
    w.nodes.phase[0, :] = np.where(w.nodes.phase[0] == NODE_READY, NODE_DRAINING, w.nodes.phase[0])
    w.pods.workload[0, 0], w.pods.phase[0, 0], w.pods.created_s[0, 0] = 0, POD_PENDING, 999.0
    w.pods.pending[0, 0], w.pods.n_pending[0], w.pods.hi[0] = 0, 1, 1
    s.loop(1000.0)
    assert s.out.add[0].sum() == 0
    s.loop(1001.5)
    assert s.out.add[0].sum() <= 1


def test_back_off_doubles_up_to_its_maximum() -> None:
    s = setup(0)
    now_s, lengths = 0.0, []
    for _ in range(5):
        note_scale_up_failure(s.cfg, s.state, 0, 0, now_s)
        lengths.append(float(s.state.group_s[0, 0, 0]) - now_s)
        now_s += lengths[-1] + 1.0
    assert lengths == [300.0, 600.0, 1200.0, 1800.0, 1800.0]


# --- choices ---


@pytest.mark.parametrize("kind", [LEAST_WASTE, MOST_PODS, LEAST_NODES])
def test_expanders_match_obvious_python(kind: int) -> None:
    rng = np.random.default_rng(kind)
    for _ in range(50):
        s, n = setup(1), 3
        options = empty_options(1, n)
        options.n[0], options.group[0] = n, np.arange(n)
        options.n_nodes[0], options.n_pods[0] = rng.integers(1, 4, n), rng.integers(1, 4, n)
        options.cpu_milli[0], options.mem_bytes[0] = rng.integers(1, 3, n) * 500, rng.integers(1, 3, n) << 28
        kernels.keep_best(kind, s.world.groups, options, 0, 0.0)
        cap = s.world.groups.cap[0, :, :2] * options.n_nodes[0][:, None]
        waste = (cap[:, 0] - options.cpu_milli[0]) / cap[:, 0] + (cap[:, 1] - options.mem_bytes[0]) / cap[:, 1]
        score = {LEAST_WASTE: waste, MOST_PODS: -options.n_pods[0], LEAST_NODES: options.n_nodes[0]}[kind]
        assert options.best[0].tolist() == (score == score.min()).tolist()


def test_limit_on_unneeded_nodes() -> None:
    assert kernels.unneeded_limit(0, 10, 600.0, 10.0) == 20
    assert kernels.unneeded_limit(1000, 10, 600.0, 10.0) == 610
    assert kernels.unneeded_limit(5, 10, 600.0, 600.0) == 20
    assert kernels.unneeded_limit(5, 10, 0.0, 10.0) == 20
