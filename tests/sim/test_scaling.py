"""KEDA, forecasts and schedules inside a running cluster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.rollout import rollout, schedule_floors
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.pack import Case
from envs.stack import (
    ForecastSpec,
    HpaSpec,
    KedaSpec,
    KedaTrigger,
    ReplicaScaler,
    ScheduleSpec,
    ScheduleWindow,
    Stack,
)
from envs.timeline import Timeline
from tests.sim.recount import check_books
from tests.sim.world_strategy import pick, random_world

BOTH = (KedaTrigger(capacity_share=0.7), KedaTrigger("queue_length", drain_s=30.0))
ZERO = KedaSpec(triggers=BOTH, min_replicas=0)
TICK_S = 15.0


def world(scaler: ReplicaScaler, *, kind: str = "service", hours: float = 24.0, **workload: object) -> Case:
    """One workload of 80 requests/s a replica on roomy nodes that start quickly."""
    service = ServiceModel(timeout_s=60.0, threshold_s=2.0)
    one = Workload("web", service, kind=kind, max_replicas=20, start_delay_s=10.0, **workload)  # type: ignore[arg-type]
    machine = InstanceType("big", 16, 64, 15.6, 60.0, 100, 0.8)
    cluster = ClusterSpec((one,), (NodePool("p", ("big",), initial_nodes=3, max_nodes=9),), (machine,))
    quiet = NoiseModel(enabled=False)
    scenario = Scenario("one", cluster, (GeneratedDemand(),), hours * 3600, TICK_S, 0.0, quiet)
    return Case(scenario, Stack("s", replicas=scaler), 1, np.zeros(1))


def run(case: Case, rps: list[float]) -> tuple[ClusterSim, np.ndarray]:
    """(the simulation, spec.replicas after each tick); rps: requests/s in each tick."""
    sim, seen = ClusterSim([case], rows=400), []
    for rate in rps:
        sim.run(np.full((1, 1, 1), rate * TICK_S))
        seen.append(int(sim.arrays.flow.spec_replicas[0, 0]))
    check_books(sim)
    return sim, np.array(seen)


def minutes(*spans: tuple[float, float]) -> list[float]:
    """(minutes, requests/s) one after the other, per tick."""
    return [rate for length, rate in spans for _ in range(round(length * 60 / TICK_S))]


@pytest.mark.parametrize("kind", ["service", "queue"])
def test_idle_work_goes_to_zero_after_the_cooldown_and_comes_back(kind: str) -> None:
    sim, seen = run(world(ZERO, kind=kind), minutes((10, 100), (20, 0), (10, 100)))
    last_request, tick = 10 * 4, 4
    asleep = int(np.flatnonzero(seen[last_request:] == 0)[0])
    # the rate over 60 s keeps the trigger active for 60-75 s, polls come every 30 s, the cooldown takes 300 s
    assert 300 / TICK_S <= asleep <= (300 + 75 + 2 * 30 + TICK_S) / TICK_S
    assert not seen[last_request + asleep : 30 * tick].any()
    woken = int(np.flatnonzero(seen[30 * tick :] > 0)[0])
    assert woken <= (30 + 15 + 2 * TICK_S) / TICK_S, "a poll and a scrape after the first request"
    assert seen[-1] >= 2
    assert sim.arrays.flow.n_ready[0, 0] >= 2


def test_requests_at_zero_wait_until_their_time_out_and_none_is_lost_or_counted_twice() -> None:
    sim, seen = run(world(ZERO), minutes((30, 0), (1, 40), (9, 0), (10, 40)))
    assert seen[29 * 4] == 0
    work = sim.arrays.rows.work[0, :, :, 0].sum(axis=0)
    offered, good, bad = work[0], work[1], work[2:5].sum()
    assert offered == pytest.approx(40 * 60 * 11)
    assert good + bad + sim.arrays.flow.backlog[0, 0] == pytest.approx(offered)
    assert 0 < bad < 40 * 60 * 3, "those that found no replica for longer than the threshold are bad"


def test_without_zero_keda_never_goes_below_the_minimum() -> None:
    for spec in (KedaSpec(triggers=BOTH), KedaSpec(triggers=BOTH, min_replicas=3)):
        _, seen = run(world(spec, min_replicas=2), minutes((10, 300), (40, 0)))
        assert seen.min() == seen[-1] == (spec.min_replicas or 2)


def test_idle_replicas_jump_to_the_minimum_at_the_first_request() -> None:
    spec = KedaSpec(triggers=BOTH, min_replicas=4, idle_replicas=0)
    _, seen = run(world(spec), minutes((30, 0), (10, 1)))
    assert seen[29 * 4] == 0
    assert set(seen[31 * 4 :]) == {4}


def test_an_activation_threshold_keeps_a_trickle_asleep() -> None:
    spec = replace(ZERO, triggers=(KedaTrigger(capacity_share=0.7, activation=5.0),))
    _, seen = run(world(spec), minutes((30, 0), (10, 4), (5, 8)))
    assert not seen[29 * 4 : 40 * 4].any()
    assert seen[-1] > 0


def test_a_schedule_holds_its_floor_whatever_the_load() -> None:
    window = ScheduleWindow(start="0 2 * * *", end="0 4 * * *", min_replicas=6)
    _, seen = run(replace(world(ScheduleSpec((window,))), floors=[(6,)]), minutes((6 * 60, 10)))
    assert set(seen[round(2.05 * 240) : round(3.95 * 240)]) == {6}
    assert seen[round(1.9 * 240)] == 1
    assert seen[round(4.2 * 240)] == 1, "five minutes of stabilization after the window"


def day(base: float, peak: float) -> list[float]:
    """A day whose hour from 12 to 13 is busy."""
    return minutes((12 * 60, base), (60, peak), (11 * 60, base))


def test_a_forecast_is_there_before_the_load_on_the_second_day() -> None:
    case = world(ForecastSpec(), hours=48)
    _, first = run(case, day(100, 900))
    _, both = run(case, day(100, 900) + day(100, 900))
    noon = 12 * 240
    need = 900 / (80 * 0.7)
    assert first[noon - 1] < need / 2, "nobody could know on the first day"
    assert both[len(first) + noon - 1] >= need - 1
    assert both[len(first) + 11 * 240] < need / 2, "an hour before, nothing is kept for it"


def test_a_load_to_come_changes_nothing_before_it_is_measured() -> None:
    quiet, spike = day(100, 900) + day(100, 900), day(100, 900) + day(100, 900)
    at = len(quiet) - 600
    spike[at:] = [1500.0] * 600
    case = world(ForecastSpec(), hours=48)
    one, other = run(case, quiet)[1], run(case, spike)[1]
    assert (one[: at + 1] == other[: at + 1]).all()
    assert (one[at:] != other[at:]).any()


@pytest.mark.parametrize("seed", range(900, 916))
def test_the_books_are_kept_in_random_worlds(seed: int) -> None:
    made = random_world(seed, sim_s=1800.0)
    rng = np.random.default_rng([seed, 9])
    scaler = pick(
        rng,
        (
            ZERO,
            replace(ZERO, cooldown_s=60.0, polling_interval_s=5.0),
            ForecastSpec(hpa=HpaSpec()),
            ScheduleSpec((ScheduleWindow(start="*/10 * * * *", end="*/15 * * * *", min_replicas=3),)),
        ),
    )
    floors = [(3,)] * len(made.scenario.cluster.workloads)
    case = replace(made.case, stack=replace(made.case.stack, replicas=scaler), floors=floors)
    sim = ClusterSim([case], rows=64)
    half = len(made.arrivals) // 2
    for part in (made.arrivals[:half], made.arrivals[half:]):
        sim.run(np.ascontiguousarray(part[None]))
        check_books(sim)
    work = sim.arrays.rows.work[0].sum(axis=0)
    left = sim.arrays.flow.backlog[0]
    assert work[1] + work[2:5].sum(axis=0) + left == pytest.approx(work[0], rel=1e-6, abs=1e-6)
    most = [max(w.max_replicas, 1) for w in made.scenario.cluster.workloads]
    assert (sim.arrays.flow.spec_replicas[0] <= most).all()
    twin = ClusterSim([case, case], rows=64)
    twin.run(np.ascontiguousarray(np.stack([made.arrivals, made.arrivals])), threads=2)
    assert (twin.arrays.flow.spec_replicas == sim.arrays.flow.spec_replicas).all(), "B = 2 on two threads is B = 1"


def test_floors_of_a_schedule_are_for_the_load_of_its_own_hours() -> None:
    """A quantile of the window's load, as one reads it off a dashboard."""
    case = world(HpaSpec())
    shape = GeneratedDemand(base_rps=400.0, daily_amplitude=0.5, weekly_amplitude=0.0, peak_hour=14.0, noise_cv=0.0)
    scenario = replace(case.scenario, demand=(shape,), start_utc="2026-01-05T00:00:00Z")
    spec = ScheduleSpec(
        (
            ScheduleWindow("0 12 * * *", "0 16 * * *", load_quantile=0.5),
            ScheduleWindow("0 0 * * *", "0 4 * * *", load_quantile=0.5),
            ScheduleWindow(min_replicas=2),
        )
    )
    busy, calm, given = schedule_floors(scenario, spec, 0)
    assert (busy, given) == (11, 2)  # about 590 requests/s at 56 a replica
    assert calm == 4  # about 210


def test_every_scaler_runs_a_whatif_and_gives_equal_bytes_twice() -> None:
    case = world(HpaSpec(), hours=3.0)
    shape = GeneratedDemand(base_rps=200.0, noise_cv=0.05)
    scenario = replace(case.scenario, demand=(shape,), warmup_s=600.0)
    for scaler in (ZERO, ForecastSpec(), ScheduleSpec()):
        totals = []
        for _ in range(2):
            parts: list[Timeline] = []
            rollout(scenario, Stack("s", replicas=scaler, use_workload_hpa=False), 5, sink=parts.append)
            totals.append(np.concatenate([p.desired.ravel() for p in parts]).tobytes())
        assert totals[0] == totals[1]
