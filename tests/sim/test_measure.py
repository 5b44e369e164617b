"""What the metrics pipeline shows: old, saturating, silent about young pods, and never the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.controllers.hpa_pack import (
    NO_PODS,
    SIGNAL_CONCURRENCY,
    SIGNAL_CPU,
    SIGNAL_MEMORY,
    SIGNAL_QUEUE,
    SIGNAL_RPS,
    TOTAL_VALUE,
)
from envs.rollout import rollout
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.pack import Case
from envs.sim.state import POD_READY, POD_TERMINATING
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, ScalingRules, Stack, StaticNodes, StaticReplicas
from envs.timeline import Timeline
from tests.sim.core_kernels import fill_samples, sample_ages
from tests.sim.world_strategy import random_world

BOX = InstanceType("box", 64, 256.0, 64.0, 256.0, 250, 1.0)
NEVER = HpaBehavior(scale_down=ScalingRules(select="Disabled"))


def one_service(*metrics: HpaMetric, tick_s: float = 15.0, **fields: Any) -> Case:
    """One service on one large node under these HPA metrics; no warm-up."""
    values: dict[str, Any] = {"min_replicas": 2, "max_replicas": 20, "initial_replicas": 2, "cpu_request": 0.5}
    workload = Workload("web", ServiceModel(8, 0.1, 1.0, 0.05), **{**values, **fields})
    pool = NodePool("pool", ("box",), daemon_cpu=0.0)
    cluster = ClusterSpec((workload,), (pool,), (BOX,))
    scenario = Scenario("one", cluster, (GeneratedDemand(),), 7200.0, tick_s, 0.0, NoiseModel(enabled=False))
    stack = Stack("hpa", replicas=HpaSpec(metrics=metrics or (HpaMetric(),), behavior=NEVER), nodes=StaticNodes())
    return Case(scenario, stack, 4, np.array([10.0]))


def run(sim: ClusterSim, per_tick: float, ticks: int) -> None:
    sim.run(np.full((1, ticks, 1), per_tick))


def seen(sim: ClusterSim, now_s: float | None = None) -> Any:
    """The first metric's sample at the end of the last tick."""
    fill_samples(sim.view, 0, sim.tick * sim.tick_s if now_s is None else now_s, sim.tick)
    return sim.arrays.hpa_sample.metric[0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_samples_are_15_to_60_seconds_old_and_change_with_each_scrape(seed: int) -> None:
    sim = ClusterSim([random_world(seed, tick_s=15.0).case])
    times = np.sort(np.random.default_rng(seed).uniform(-3600.0, 90_000.0, 4000))
    times = np.concatenate([times, np.arange(1000.0, 1100.0, 0.25)])
    ages = np.empty(len(times))
    for w in range(sim.arrays.flow.n_ready.shape[1]):
        sample_ages(sim.view, 0, w, times, ages)
        assert ages.min() >= 15.0 - 1e-9
        assert ages.max() < 60.0 + 1e-9
        taken = (times - ages)[-400:]  # every 0.25 s of 100 s
        steps = np.diff(np.unique(taken.round(6)))
        assert steps == pytest.approx(np.full(len(steps), 15.0))
        assert 6 <= len(steps) <= 7


@pytest.mark.parametrize("limit", [0.4, 1.0, 2.5])
def test_cpu_saturates_at_the_limit(limit: float) -> None:
    """8 slots could burn 4 cores; however much is asked of it, a pod shows its limit and serves what that allows."""
    sim = ClusterSim([one_service(cpu_limit=limit, max_replicas=2)], rows=40)
    run(sim, 15.0 * 500.0, 60)
    sample = seen(sim)
    assert sample["usage"] // sample["ready"] == pytest.approx(limit * 1000, rel=0.001, abs=1)
    assert limit * 0.999 <= sim.arrays.flow.cpu_per_pod[0, 0] <= limit * (1 + 1e-9)
    good_bad = sim.arrays.rows.work[0, 2, 1:5, 0].sum()  # 300 s in the middle: served and given up
    assert good_bad == pytest.approx(500.0 * 300.0, rel=1e-6)


@pytest.mark.parametrize("limit", [0.4, 1.0, 2.5])
def test_a_pod_never_serves_more_than_its_cpu_is_enough_for(limit: float) -> None:
    """Load between what the limit allows and what the slots would: the rest is bad, all the time."""
    sim = ClusterSim([one_service(cpu_limit=limit, max_replicas=2)], rows=40)
    allowed = 2 * limit / 0.05
    run(sim, 15.0 * allowed * 1.2, 120)
    assert limit * 0.98 <= sim.arrays.flow.cpu_per_pod[0, 0] <= limit * (1 + 1e-9)
    bad = sim.arrays.rows.work[0, 4:, 2:5, 0].sum() / sim.arrays.rows.work[0, 4:, 0, 0].sum()
    assert bad > 0.9  # everything that is served has waited for its time-out's length: 10 s
    calm = ClusterSim([one_service(cpu_limit=limit, max_replicas=2)], rows=40)
    run(calm, 15.0 * allowed * 0.25, 120)
    assert calm.arrays.rows.work[0, 4:, 2:5, 0].sum() / calm.arrays.rows.work[0, 4:, 0, 0].sum() < 0.05


@pytest.mark.parametrize("tick_s", [5.0, 7.0, 15.0, 20.0, 60.0])
@pytest.mark.parametrize("kind", ["Resource", "External"])
def test_nothing_is_known_before_the_first_full_window(kind: str, tick_s: float) -> None:
    metric = HpaMetric() if kind == "Resource" else HpaMetric("External", "requests_per_second", "AverageValue", 50.0)
    sim = ClusterSim([one_service(metric, tick_s=tick_s)], rows=4)
    window, age = (30.0, 15.0) if kind == "Resource" else (60.0, 15.0)
    first = None
    while first is None:
        run(sim, 10.0 * tick_s, 1)
        if seen(sim)["ok"]:
            first = sim.tick * tick_s
    assert first >= window + age
    assert first <= window + 60.0 + 25.0 + 3 * tick_s  # a pod has to be ready for a while too


def test_a_young_pod_has_no_sample_and_then_an_unready_one() -> None:
    """After a scale-up: starting pods are unready, just started ones missing, then unready, then counted."""
    sim = ClusterSim([one_service(tick_s=5.0, start_delay_s=20.0, start_delay_cv=0.0)], rows=20)
    run(sim, 5.0 * 5.0, 60)
    calm = seen(sim)
    assert (calm["ready"], calm["unready"], calm["missing"]) == (2, 0, 0)
    states = []
    for _ in range(60):
        run(sim, 5.0 * 30.0, 1)
        sample = seen(sim)
        states.append((int(sample["ready"]), int(sample["unready"]), int(sample["missing"])))
        alive = sim.arrays.flow.n_ready[0, 0] + sim.arrays.flow.n_starting[0, 0]
        assert sum(states[-1]) == alive
    grown = next(i for i, state in enumerate(states) if sum(state) > 2)
    missing = next(i for i, state in enumerate(states) if state[2] > 0)
    counted = next(i for i, state in enumerate(states) if state[0] > 2)
    assert 20.0 <= (missing - grown) * 5.0 <= 30.0
    assert 45.0 <= (counted - missing) * 5.0 <= 90.0 + 5.0
    assert all(state[0] == 2 for state in states[:missing])


@pytest.mark.parametrize("seed", range(400, 420))
def test_samples_equal_a_slow_reading_of_the_history(seed: int) -> None:
    """Each metric of each workload, from every tick's truth kept in lists and each pod looked at."""
    world = random_world(seed, sim_s=900.0)
    sim = ClusterSim([world.case], rows=8)
    s, dt = sim.arrays, sim.tick_s
    width = world.arrivals.shape[1]
    history: list[dict[str, Any]] = []
    for i in range(len(world.arrivals)):
        sim.run(np.ascontiguousarray(world.arrivals[None, i : i + 1]))
        pod_s = s.flow.ready_pod_s[0].copy()
        history.append({
            "cpu": s.flow.cpu_per_pod[0] * pod_s, "mem": s.flow.mem_per_pod_gib[0] * pod_s, "pod_s": pod_s,
            "offered": world.arrivals[i], "waiting": s.flow.backlog[0].copy(), "busy": s.flow.busy[0].copy(),
        })  # fmt: skip
        now_s = sim.tick * dt
        if i % 3:
            continue
        fill_samples(sim.view, 0, now_s, sim.tick)
        for w in range(width):
            check_sample(sim, w, now_s, history)


def check_sample(sim: ClusterSim, w: int, now_s: float, history: list[dict[str, Any]]) -> None:
    s = sim.arrays
    ages = np.empty(1)
    sample_ages(sim.view, 0, w, np.array([now_s]), ages)
    any_pod = bool(np.any(s.pods.workload[0] == w))
    running = np.isin(s.pods.phase[0], (POD_READY, POD_TERMINATING)) & (s.pods.workload[0] == w)
    assert s.hpa_sample.pods_ready[0, w] == (np.count_nonzero(running) if any_pod else NO_PODS)
    for m in range(int(s.hpa.spec[0, w]["n_metrics"])):
        metric, sample = s.hpa.metric[0, w, m], s.hpa_sample.metric[0, w, m]
        resource = metric["signal"] in (SIGNAL_CPU, SIGNAL_MEMORY)
        taken_s = now_s - float(ages[0]) if resource else now_s - 15.0
        value = slow_value(sim, w, int(metric["signal"]), bool(metric["kind"] >= TOTAL_VALUE), taken_s, history)
        assert sample["ok"] == (value is not None)
        if metric["kind"] >= TOTAL_VALUE:
            assert value is None or sample["usage"] == pytest.approx(int(value * 1000), abs=1)
            continue
        groups = slow_groups(s, w, taken_s, now_s, metric, s.hpa.spec[0, w])
        assert (sample["ready"], sample["unready"], sample["missing"]) == groups
        if value is not None:
            assert sample["usage"] == pytest.approx(int(value * 1000) * groups[0], rel=1e-9, abs=groups[0])


def slow_value(
    sim: ClusterSim, w: int, signal: int, total: bool, taken_s: float, history: list[dict[str, Any]]
) -> float | None:
    """Mean of one ready pod (or the total) over the window of whole ticks that had ended at taken_s."""
    dt = sim.tick_s
    window = 30.0 if signal in (SIGNAL_CPU, SIGNAL_MEMORY) else 60.0
    ticks = max(round(window / dt), 1)
    last = min(int(np.floor(taken_s / dt)), sim.tick)  # ticks 0 .. last - 1 had ended
    if last - ticks < 1:  # the window may not reach into the first tick
        return None
    rows = history[last - ticks : last]
    pods = sum(r["pod_s"][w] for r in rows) / (ticks * dt)
    if not total and pods <= 0:
        return None
    if signal in (SIGNAL_QUEUE, SIGNAL_CONCURRENCY):
        amount = rows[-1]["waiting"][w] + (history[-1]["busy"][w] if signal == SIGNAL_CONCURRENCY else 0.0)
    else:
        name = {SIGNAL_CPU: "cpu", SIGNAL_MEMORY: "mem", SIGNAL_RPS: "offered"}[signal]
        amount = sum(r[name][w] for r in rows) / (ticks * dt) * (2**30 if signal == SIGNAL_MEMORY else 1)
    return float(amount if total else amount / pods)


def slow_groups(s: Any, w: int, taken_s: float, now_s: float, metric: Any, spec: Any) -> tuple[int, int, int]:
    """(ready, unready, missing) pods by the HPA's rules, pod by pod."""
    out = [0, 0, 0]
    for p in np.flatnonzero(s.pods.workload[0] == w).tolist():
        phase, ready_s, start_s = s.pods.phase[0, p], s.pods.ready_s[0, p], s.pods.bound_s[0, p]
        if phase == POD_TERMINATING:
            continue
        if phase != POD_READY:
            out[1] += 1
        elif ready_s > taken_s:
            out[2] += 1
        elif metric["by_readiness"] and start_s + spec["cpu_initialization_s"] > now_s and taken_s < ready_s + 30.0:
            out[1] += 1
        else:
            out[0] += 1
    return out[0], out[1], out[2]


# no peeking


@pytest.mark.parametrize("seed", range(500, 510))
def test_what_comes_later_changes_nothing_before(seed: int) -> None:
    world = random_world(seed, sim_s=1200.0)
    at = len(world.arrivals) // 2
    spiked = world.arrivals.copy()
    spiked[at:] = spiked[at:] * 50.0 + 1000.0
    calm, wild = (ClusterSim([world.case], rows=8) for _ in range(2))
    calm.run(np.ascontiguousarray(world.arrivals[None, :at]))
    wild.run(np.ascontiguousarray(spiked[None, :at]))
    assert calm.state_bytes() == wild.state_bytes()
    calm.run(np.ascontiguousarray(world.arrivals[None, at:]))
    wild.run(np.ascontiguousarray(spiked[None, at:]))
    assert calm.state_bytes() != wild.state_bytes()


def test_rows_before_a_planted_spike_are_equal_bytes() -> None:
    shape = GeneratedDemand(base_rps=60.0, daily_amplitude=0.3)
    case = one_service(HpaMetric("External", "requests_per_second", capacity_share=0.6))
    lines = []
    for flash in ((), (5400.0,)):
        scenario = replace(
            case.scenario, demand=(replace(shape, flash_at_s=flash),), noise=NoiseModel(), warmup_s=600.0
        )
        parts: list[Timeline] = []
        rollout(scenario, case.stack, 3, sink=parts.append)
        lines.append(Timeline.concat(parts))
    before = 5400 // 300
    for name, calm in vars(lines[0]).items():
        wild = getattr(lines[1], name)
        assert calm[:before].tobytes() == wild[:before].tobytes(), name
    assert lines[1].offered[before:].sum() > 1.5 * lines[0].offered[before:].sum()


def test_only_the_static_stack_uses_hindsight() -> None:
    """It is meant to: replicas for the peak that it could not have known."""
    case = one_service()
    flash = replace(GeneratedDemand(base_rps=300.0), flash_at_s=(5400.0,), flash_factor=10.0)
    ready = []
    for demand in (GeneratedDemand(base_rps=300.0), flash):
        parts: list[Timeline] = []
        scenario = replace(case.scenario, demand=(demand,))
        rollout(scenario, Stack("static", replicas=StaticReplicas(), nodes=StaticNodes()), 3, sink=parts.append)
        ready.append(Timeline.concat(parts).desired[0, 0])
    assert ready[1] > ready[0]
