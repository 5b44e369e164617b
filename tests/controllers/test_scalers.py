"""KEDA's scale loop and metrics, forecasts and schedules: compiled kernels against slow references."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.controllers.forecast import forecast_floor, forecast_load, observe
from envs.controllers.hpa import hpa_sync
from envs.controllers.hpa_pack import empty_hpa_sample, empty_hpa_state, pack_hpa
from envs.controllers.keda import answer_metrics, is_active, keda_poll
from envs.controllers.scaler_pack import ScalerCase, Scalers, loop_events, pack_scalers
from envs.controllers.schedule import scheduled_floor
from envs.cron_windows import windows
from envs.stack import ForecastSpec, KedaFallback, KedaSpec, KedaTrigger, ReplicaScaler, ScheduleSpec, ScheduleWindow
from tests.controllers.scaler_reference import Forecaster, ScaleLoop

SEEDS = st.integers(0, 2**32 - 1)
HOUR = 3600.0
OFFICE = {"start": "0 8 * * *", "end": "0 18 * * *", "desired_replicas": 6}


def packed(scaler: ReplicaScaler, *, low: int = 1, floors: tuple[int, ...] = (), capacity: float = 100.0) -> Scalers:
    case = ScalerCase(
        scalers=[scaler],
        min_replicas=[low],
        capacity_rps=[capacity],
        lead_s=[120.0],
        floors=[floors],
        batch=[False],
        start_utc="2026-01-05T00:00:00Z",
        span_s=(-HOUR, 40 * 24 * HOUR),
        seed=3,
    )
    return pack_scalers([case], np.array([[max(low, 1)]], np.int32))


def pick(rng: np.random.Generator, values: tuple[Any, ...]) -> Any:
    return values[int(rng.integers(len(values)))]


def random_keda(rng: np.random.Generator) -> tuple[KedaSpec, int]:
    kinds = (
        KedaTrigger("requests_per_second", 10.0, activation=float(pick(rng, (0.0, 2.0)))),
        KedaTrigger("queue_length", 5.0, activation=float(pick(rng, (0.0, 3.0)))),
        KedaTrigger("cpu", 60.0, "Utilization"),
        KedaTrigger("cron", **OFFICE),
    )
    low = int(pick(rng, (0, 0, 1, 3)))
    behaviors = ("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower")
    fallback = KedaFallback(int(rng.integers(0, 6)), 2, pick(rng, behaviors)) if rng.random() < 0.5 else None
    return KedaSpec(
        triggers=tuple(pick(rng, kinds) for _ in range(rng.integers(1, 4))),
        cooldown_s=float(pick(rng, (0.0, 60.0, 300.0))),
        initial_cooldown_s=float(pick(rng, (0.0, 120.0))),
        min_replicas=low,
        idle_replicas=0 if low > 0 and rng.random() < 0.4 else None,
        fallback=fallback,
    ), low


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_the_scale_loop_does_what_kedas_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec, low = random_keda(rng)
    s = packed(spec, low=low)
    loop = ScaleLoop(spec, low, created_s=-HOUR)
    opened = windows(OFFICE["start"], OFFICE["end"], "UTC", "2026-01-05T00:00:00Z", (-HOUR, 40 * 24 * HOUR))
    current, now_s = int(rng.integers(0, 6)), float(rng.uniform(-HOUR, 30 * HOUR))
    for _ in range(40):
        now_s += float(pick(rng, (30.0, 30.0, 30.0, 400.0)))
        values = [None if rng.random() < 0.1 else float(pick(rng, (0.0, 0.0, 1.0, 2.0, 50.0))) for _ in spec.triggers]
        inside = any(a <= now_s < z for a, z in opened)
        states = [is_active(s.trigger[0, 0, t], s.times, -1.0 if v is None else v, now_s) for t, v in enumerate(values)]
        want = keda_poll(s.keda, 0, 0, now_s, current, max(states) > 0, min(states) < 0)
        assert want == loop.poll(now_s, current, values, [inside] * len(values))
        current = want if rng.random() < 0.7 else int(rng.integers(0, 6))  # the HPA and people write it too


def hpa_answer(spec: KedaSpec, *, now_s: float, usage: int | None, current: int, polls: int = 1) -> int:
    """What KEDA's HPA makes of `current` replicas after `polls` syncs with the same metrics."""
    one = np.ones((1, 1))
    hpa = pack_hpa(
        [[spec.hpa]],
        capacity_rps=100.0 * one,
        cpu_request_milli=one.astype(np.int64),
        memory_request_bytes=one.astype(np.int64),
        min_replicas=one.astype(np.int32),
        max_replicas=(50 * one).astype(np.int32),
    )
    s, state, sample = packed(spec), empty_hpa_state(hpa), empty_hpa_sample(1, 1, hpa.metric.shape[2])
    for i in range(polls):
        sample.metric["ok"][0, 0] = usage is not None
        sample.metric["usage"][0, 0] = usage or 0
        sample.pods_ready[0, 0] = current
        at_s = now_s + 15.0 * i
        answer_metrics(s.keda, s.trigger, s.times, hpa, sample, 0, 0, at_s, current)
        current = hpa_sync(hpa, state, sample, 0, 0, at_s, current, current)
    return current


def test_a_cron_trigger_asks_for_its_replicas_in_its_hours_only() -> None:
    spec = KedaSpec((KedaTrigger("cron", **OFFICE),), min_replicas=1)
    assert hpa_answer(spec, now_s=9 * HOUR, usage=0, current=1, polls=2) == 6
    assert hpa_answer(spec, now_s=7 * HOUR, usage=0, current=1, polls=2) == 1
    assert hpa_answer(spec, now_s=19 * HOUR, usage=0, current=6, polls=30) == 1  # after the stabilization window
    load = KedaSpec((KedaTrigger(threshold=10.0), KedaTrigger("cron", **OFFICE)), min_replicas=1)
    assert hpa_answer(load, now_s=9 * HOUR, usage=90_000, current=6, polls=2) == 9, "the larger of both holds"


def test_a_fallback_holds_after_more_failures_than_its_threshold() -> None:
    spec = KedaSpec((KedaTrigger(threshold=10.0),), min_replicas=1, fallback=KedaFallback(7, failure_threshold=3))
    assert hpa_answer(spec, now_s=0.0, usage=None, current=2, polls=3) == 2
    assert hpa_answer(spec, now_s=0.0, usage=None, current=2, polls=5) == 7
    assert hpa_answer(KedaSpec((KedaTrigger(threshold=10.0),)), now_s=0.0, usage=None, current=2, polls=9) == 2


def test_thresholds_may_be_given_in_what_a_replica_can_do() -> None:
    share = KedaSpec((KedaTrigger(capacity_share=0.5),))
    assert hpa_answer(share, now_s=0.0, usage=400_000, current=4) == 8  # 400/s at 50 of 100/s each
    drain = KedaSpec((KedaTrigger("queue_length", drain_s=30.0),))
    assert hpa_answer(drain, now_s=0.0, usage=12_000_000, current=3) == 4  # 12,000 items, 3,000 in 30 s each


# the forecast


def rates(rng: np.random.Generator, days: float, step_s: float) -> list[tuple[float, float]]:
    """Daily rhythm, noise, growth, silence and gaps."""
    at = np.arange(-HOUR, days * 24 * HOUR, step_s) + float(rng.uniform(0, step_s))
    shape = 200 + 150 * np.sin(at / 86400 * 2 * np.pi) + 40 * np.sin(at / 1800 * 2 * np.pi)
    load = shape * rng.lognormal(0, float(pick(rng, (0.02, 0.3))), len(at)) * (1 + at / 86400 * rng.uniform(-0.1, 0.1))
    load[rng.random(len(at)) < float(pick(rng, (0.0, 0.1)))] = -1.0
    if rng.random() < 0.3:
        load[len(at) // 3 : len(at) // 3 + 9] = 0.0
    return [(float(t), float(v)) for t, v in zip(at, load, strict=True)]


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_the_forecast_is_that_of_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = ForecastSpec(quantile=float(pick(rng, (0.5, 0.9, 0.99))), lead_s=float(pick(rng, (60.0, 500.0))))
    s = packed(spec)
    slow = Forecaster(int(s.forecast["lead_bins"][0, 0]), spec.quantile, 70.0)
    for k, (at_s, rate) in enumerate(rates(rng, float(pick(rng, (1.2, 2.0))), 290.0)):
        observe(s, 0, 0, at_s, rate)
        slow.samples.append((at_s, rate))
        if k % 90 == 89:
            load, wanted = forecast_load(s, 0, 0), slow.floor_load()
            assert load == pytest.approx(-1.0 if wanted is None else wanted, rel=1e-9)
            need = 0 if wanted is None else math.ceil(wanted / 70.0 - 1e-9)
            assert forecast_floor(s, 0, 0, 9) == min(max(need, 1), 9)


def test_the_forecast_knows_a_week_and_looks_at_nothing_else() -> None:
    """A load that peaks on one weekday: seen once, it is expected the next week, not on the days between."""
    s = packed(ForecastSpec(quantile=0.9))
    peak = {}
    for minute in range(15 * 1440):
        at_s = minute * 60.0
        weekday, hour = minute // 1440 % 7, minute % 1440 / 60
        observe(s, 0, 0, at_s, 900.0 if weekday == 2 and 10 <= hour < 12 else 100.0)
        if minute % 1440 == 9 * 60 + 59:
            peak[minute // 1440] = forecast_load(s, 0, 0)
    assert max(peak[day] for day in (1, 2, 4, 5, 6)) < 300, "the first week knows nothing of it"
    assert peak[9] > 850, "a minute before ten on the same weekday"
    assert peak[8] < 300


def test_what_comes_later_changes_no_forecast() -> None:
    a, b = packed(ForecastSpec()), packed(ForecastSpec())
    for minute in range(3 * 1440):
        for s in (a, b):
            observe(s, 0, 0, minute * 60.0, 100.0 + minute % 1440)
    before = forecast_load(a, 0, 0)
    observe(a, 0, 0, 3 * 86400.0, 5000.0)
    assert forecast_load(b, 0, 0) == before
    assert forecast_load(a, 0, 0) != before, "the sample itself does count once it is there"


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_a_floor_grows_with_the_quantile_and_stays_within_its_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rates(rng, 1.1, 300.0)
    floors = []
    for quantile in (0.3, 0.6, 0.9, 0.99):
        s = packed(ForecastSpec(quantile=quantile), low=2)
        for at_s, rate in samples:
            observe(s, 0, 0, at_s, rate)
        floors.append(forecast_floor(s, 0, 0, 7))
    assert floors == sorted(floors)
    assert all(2 <= floor <= 7 for floor in floors)


# the schedule


def test_a_schedule_raises_the_floor_in_its_hours() -> None:
    spec = ScheduleSpec(
        windows=(
            ScheduleWindow(start="0 8 * * 1-5", end="0 20 * * 1-5", min_replicas=5),
            ScheduleWindow(start="0 12 * * *", end="0 13 * * *", load_quantile=0.9),
        )
    )
    s = packed(spec, low=2, floors=(5, 8))

    def floor(day: int, hour: float) -> int:
        return scheduled_floor(s.times, s.table[0, 0], s.own_min[0, 0], 7, (24 * day + hour) * HOUR)

    monday, saturday = 0, 5
    assert [floor(monday, h) for h in (7.9, 8.0, 11.99, 12.0, 13.0, 19.9, 20.0)] == [2, 5, 5, 7, 5, 5, 2]
    assert [floor(saturday, h) for h in (9.0, 12.5, 15.0)] == [2, 7, 2]


def test_rounds_of_a_tick_have_room() -> None:
    assert loop_events(packed(KedaSpec(polling_interval_s=5.0)), 60.0) == 13
    assert loop_events(packed(ScheduleSpec((ScheduleWindow(min_replicas=1),)), floors=(1,)), 15.0) == 2
