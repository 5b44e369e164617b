"""Kernels of the core against slow, obvious Python on the states that random worlds reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import IDLE_USD, NODE_S, NODE_USD, OOM, UNUSED_USD, USD, USED_USD
from envs.sim.load import MIN_CFS_CORES
from envs.sim.state import CPU, MEM, NODE_FREE, POD_PENDING, POD_READY, POD_STARTING, POD_TERMINATING
from tests.sim.core_kernels import bill_tick, deletion_choice, enforce_memory, set_speeds
from tests.sim.recount import check_books
from tests.sim.world_strategy import World, random_world

SEEDS = range(300, 324)


def reached(seed: int, share: float = 0.5) -> tuple[World, ClusterSim]:
    """A world and its simulation after a share of its ticks."""
    world = random_world(seed, sim_s=1200.0)
    sim = ClusterSim([world.case], rows=8)
    sim.run(np.ascontiguousarray(world.arrivals[None, : int(len(world.arrivals) * share)]))
    return world, sim


def ready_on(s: Any, n: int) -> list[int]:
    return np.flatnonzero((s.pods.node[0] == n) & (s.pods.phase[0] == POD_READY)).tolist()


# CPU


def water_level(wants: list[float], weights: list[float], room: float) -> float:
    """theta with sum of min(want, theta x weight) = room: satisfy pods one by one, the least per weight first."""
    left, weight = room, sum(weights)
    for want, own in sorted(zip(wants, weights, strict=True), key=lambda pair: pair[0] / pair[1]):
        if want / own * weight > left:
            return left / weight
        left, weight = left - want, weight - own
    return math.inf


def slow_speeds(s: Any, arrivals: np.ndarray, dt: float) -> tuple[list[float], bool]:
    """(share of its full-slots CPU that each workload's pods get, whether a node is full)."""
    v, flow = s.service, s.flow
    width = arrivals.shape[0]
    full = [float(v.slots[0, w] / v.service_s[0, w] * v.cpu_s[0, w]) for w in range(width)]
    wants, speeds = [], []
    for w in range(width):
        replicas = flow.ready_pod_s[0, w] / dt
        rate = (arrivals[w] + flow.backlog[0, w]) / dt / replicas if replicas > 0 else 0.0
        want = min(rate * v.cpu_s[0, w], full[w])
        wants.append(min(want, v.cpu_limit[0, w]))
        speeds.append(min(v.cpu_limit[0, w] / full[w], 1.0))
    shares: list[list[float]] = [[] for _ in range(width)]
    crowded = False
    for n in range(s.nodes.hi[0]):
        if s.nodes.phase[0, n] == NODE_FREE:
            continue
        g = s.nodes.group[0, n]
        room = float(s.groups.alloc[0, g, CPU] - s.groups.daemon[0, g, CPU]) / 1000.0
        classes = [int(s.pods.workload[0, p]) for p in ready_on(s, n)]
        weights = [max(float(v.cpu_request[0, w]), MIN_CFS_CORES) for w in classes]
        theta = water_level([wants[w] for w in classes], weights, room)
        crowded |= math.isfinite(theta)
        for w, weight in zip(classes, weights, strict=True):
            granted = min(wants[w], theta * weight)
            shares[w].append(granted / full[w] if granted < wants[w] - 1e-9 else speeds[w])
    means = [float(np.mean(x)) if x else speed for x, speed in zip(shares, speeds, strict=True)]
    return [max(m, 1e-3 * speed) for m, speed in zip(means, speeds, strict=True)], crowded


@pytest.mark.parametrize("seed", SEEDS)
def test_cpu_is_shared_as_cfs_does(seed: int) -> None:
    world, sim = reached(seed)
    s, dt = sim.arrays, sim.tick_s
    s.flow.ready_pod_s[0] = s.flow.n_ready[0] * dt
    peak = [w.service.capacity_rps * dt for w in world.scenario.cluster.workloads]
    for level in (0.2, 0.6, 1.0):
        load = np.array(peak) * s.flow.n_ready[0] * level
        expected, _ = slow_speeds(s, load, dt)
        set_speeds(sim.view, 0, load[None, None], 0, dt)
        assert s.flow.speed[0] == pytest.approx(expected, rel=1e-6)


def test_cpu_worlds_have_full_nodes() -> None:
    full = 0
    for seed in SEEDS:
        world, sim = reached(seed)
        sim.arrays.flow.ready_pod_s[0] = sim.arrays.flow.n_ready[0] * sim.tick_s
        load = np.array([w.service.capacity_rps for w in world.scenario.cluster.workloads]) * sim.tick_s
        full += slow_speeds(sim.arrays, load * sim.arrays.flow.n_ready[0], sim.tick_s)[1]
    assert full >= 3


# money


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tick_is_billed_and_split_by_the_rules(seed: int) -> None:
    _, sim = reached(seed)
    s, dt = sim.arrays, sim.tick_s
    s.clock.node_extra_s[0] = np.where(s.clock.live_nodes[0] > 0, 2.5, 0.0)
    sim.clear_rows()
    bill_tick(sim.view, 0, 0, dt)
    workload_usd = np.zeros(s.flow.speed.shape[1])
    for g in range(s.groups.price.shape[1]):
        alive = float(s.clock.live_nodes[0, g] * dt + s.clock.node_extra_s[0, g])
        usd = alive * s.groups.price[0, g] / 3600.0
        used, paid = slow_split(s, g, dt)
        scale = min(1.0, usd / sum(paid)) if sum(paid) > 0 else 1.0
        row = s.rows.group[0, 0, :, g]
        assert row[[NODE_S, NODE_USD]] == pytest.approx([alive, usd], rel=1e-12)
        parts = [sum(used) * scale, (sum(paid) - sum(used)) * scale, usd - sum(paid) * scale]
        assert row[[USED_USD, UNUSED_USD, IDLE_USD]] == pytest.approx(parts, rel=1e-9, abs=1e-15)
        workload_usd += np.array(paid) * scale
    assert s.rows.work[0, 0, USD] == pytest.approx(workload_usd, rel=1e-9)


def slow_split(s: Any, g: int, dt: float) -> tuple[list[float], list[float]]:
    """Dollars per workload on group g: (used, larger of used and requested), by resource and pod."""
    cores, gib = s.groups.cap[0, g, CPU] / 1000.0, s.groups.cap[0, g, MEM] / 2**30
    weight = cores * 0.031611 + gib * 0.004237
    second = s.groups.price[0, g] / 3600.0 * dt
    core_usd, gib_usd = second * 0.031611 / weight, second * 0.004237 / weight
    used, paid = [], []
    for w in range(s.flow.speed.shape[1]):
        bound = (s.pods.workload[0] == w) & (s.pods.node[0] >= 0)
        nodes = s.pods.node[0, bound]
        here = np.count_nonzero(s.nodes.group[0, nodes] == g)
        busy = s.flow.ready_pod_s[0, w] / dt / max(len(nodes), 1) * here
        cpu, mem = s.flow.cpu_per_pod[0, w] * busy, s.flow.mem_per_pod_gib[0, w] * busy
        used.append(cpu * core_usd + mem * gib_usd)
        asked_cpu, asked_mem = here * s.service.cpu_request[0, w], here * s.service.mem_request_gib[0, w]
        paid.append(max(cpu, asked_cpu) * core_usd + max(mem, asked_mem) * gib_usd)
    return used, paid


# ReplicaSet


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replicaset_deletes_in_the_controllers_order(seed: int) -> None:
    _, sim = reached(seed)
    s, now_s = sim.arrays, sim.tick * sim.tick_s
    for w in range(s.flow.speed.shape[1]):
        alive = np.flatnonzero((s.pods.workload[0] == w) & (s.pods.phase[0] != POD_TERMINATING)).tolist()
        assert deletion_choice(sim.view, 0, w, now_s) == (min(alive, key=slow_rank(s, now_s)) if alive else -1)


def slow_rank(s: Any, now_s: float) -> Any:
    """Sort key of ActivePodsWithRanks; ties go to the newer pod, of equal age to the later in creation."""
    order = {}
    for w in range(s.flow.speed.shape[1]):
        p, place = int(s.pods.first_of[0, w]), 0
        while p >= 0:
            order[p], p, place = place, int(s.pods.next_w[0, p]), place + 1

    def key(p: int) -> tuple[float, ...]:
        phase, node, w = s.pods.phase[0, p], s.pods.node[0, p], s.pods.workload[0, p]
        if phase == POD_PENDING:
            return (0, 0, 0, order[p])
        mates = (s.pods.node[0] == node) & (s.pods.workload[0] == w) & (s.pods.phase[0] != POD_TERMINATING)
        siblings = -int(np.count_nonzero(mates))
        if phase == POD_STARTING:
            return (1, siblings, 0, order[p])
        age = math.floor(math.log2(max(now_s - s.pods.ready_s[0, p], 1.0)))
        return (2, siblings, age, order[p])

    return key


# memory


@pytest.mark.parametrize("factor", [1.0, 1.6, 2.5])
@pytest.mark.parametrize("seed", SEEDS)
def test_memory_restarts_and_evicts_who_is_over(seed: int, factor: float) -> None:
    _, sim = reached(seed)
    s, now_s = sim.arrays, sim.tick * sim.tick_s
    s.flow.mem_per_pod_gib[0] = s.service.mem_request_gib[0] * factor * np.linspace(0.7, 1.3, s.flow.speed.shape[1])
    ready = np.flatnonzero(s.pods.phase[0] == POD_READY).tolist()
    w = s.pods.workload[0]
    use = {p: s.flow.mem_per_pod_gib[0, w[p]] * s.pods.mem_factor[0, p] for p in ready}
    restarted = {p for p in ready if use[p] > s.service.mem_limit_gib[0, w[p]]}
    evicted = set()
    for n in range(s.nodes.hi[0]):
        here = [p for p in ready_on(s, n) if p not in restarted]
        g = s.nodes.group[0, n]
        room = (s.groups.alloc[0, g, MEM] - s.groups.daemon[0, g, MEM]) / 2**30
        over = {p: use[p] - s.service.mem_request_gib[0, w[p]] for p in here}
        if sum(use[p] for p in here) > room and max(over.values()) > 0:
            evicted.add(max(over, key=lambda p: over[p]))
    sim.clear_rows()
    enforce_memory(sim.view, 0, 0, now_s)
    phase = s.pods.phase[0]
    assert {p for p in ready if phase[p] == POD_STARTING} == restarted
    assert {p for p in ready if phase[p] == POD_TERMINATING} == evicted
    assert s.rows.work[0, 0, OOM].sum() == len(restarted)
    check_books(sim)
    for w_evicted in {int(w[p]) for p in evicted}:
        alive = s.flow.n_ready[0] + s.flow.n_starting[0] + s.flow.n_pending[0]
        assert alive[w_evicted] == s.flow.spec_replicas[0, w_evicted], "an evicted pod has a successor at once"
