"""Broken telemetry reaches every controller that reads it: HPA, KEDA, forecasts, Snapshots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.sim.exchange import take_snapshot
from envs.stack import (
    ForecastSpec,
    HpaMetric,
    HpaSpec,
    KedaFallback,
    KedaSpec,
    KedaTrigger,
    ReplicaScaler,
    Stack,
    StaticNodes,
)
from tests.sim.test_faults import Run, start, world

# 120 requests/s at 20 a replica: 6 replicas
TRIGGER = KedaTrigger("requests_per_second", 20.0)
RPS = HpaSpec(metrics=(HpaMetric("Pods", "requests_per_second", "AverageValue", 20.0),))
CROWD = "{kind: flash-crowd, at: 900s, duration: 1h, factor: 2}"


def under(scaler: ReplicaScaler, faults: str, *, until_s: float, **fields: int) -> Run:
    """The world of test_faults under one scaler, run to a time."""
    scenario = world(faults)
    workload = replace(scenario.cluster.workloads[0], **fields)  # type: ignore[arg-type]
    scenario = replace(scenario, cluster=replace(scenario.cluster, workloads=(workload,)))
    return start(scenario, Stack("s", replicas=scaler, nodes=StaticNodes())).until(until_s)


def replicas(run: Run) -> int:
    return int(run.sim.arrays.flow.spec_replicas[0, 0])


def scaled_up_s(run: Run) -> float:
    """When there were first more than six replicas."""
    while replicas(run) <= 6:
        run.until(run.sim.tick * run.sim.tick_s + 15.0)
    return run.sim.tick * run.sim.tick_s


def test_under_a_telemetry_gap_keda_holds() -> None:
    """It neither follows a crowd that nobody measures, nor sleeps for want of a metric."""
    gap = "{kind: telemetry-gap, at: 850s, duration: 30m}"
    keda = KedaSpec(triggers=(TRIGGER,), cooldown_s=60.0, min_replicas=0)
    assert replicas(under(keda, CROWD, until_s=1800.0)) in (11, 12), "240 requests/s; 11 is within the tolerance"
    assert replicas(under(keda, f"{CROWD}, {gap}", until_s=1800.0)) == 6
    assert replicas(under(keda, gap, until_s=2640.0)) == 6, "half an hour is longer than the cooldown"


def test_keda_believes_garbage_and_sleeps_on_a_zero() -> None:
    nothing = "{kind: telemetry-garbage, at: 900s, duration: 30m, factor: 0}"
    keda = KedaSpec(triggers=(TRIGGER,), cooldown_s=60.0, min_replicas=0)
    assert replicas(under(keda, nothing, until_s=2400.0, min_replicas=0)) == 0


def test_under_a_telemetry_gap_keda_falls_back_where_it_has_a_fallback() -> None:
    """From its fourth failure on, a trigger reports target x fallback replicas, and the HPA goes there."""
    gap = "{kind: telemetry-gap, at: 900s, duration: 30m}"
    keda = KedaSpec(triggers=(TRIGGER,), fallback=KedaFallback(9, 3))
    assert replicas(under(keda, gap, until_s=1500.0)) == 9
    assert replicas(under(keda, "", until_s=1500.0)) == 6


@pytest.mark.parametrize("scaler", [RPS, KedaSpec(triggers=(TRIGGER,))])
def test_late_metrics_make_late_reactions(scaler: ReplicaScaler) -> None:
    late = "{kind: telemetry-delay, at: 800s, duration: 1h, delay: 4m}"
    soon = scaled_up_s(under(scaler, CROWD, until_s=900.0))
    assert scaled_up_s(under(scaler, f"{CROWD}, {late}", until_s=900.0)) - soon == pytest.approx(240.0, abs=30.0)


def test_a_snapshot_says_how_late_its_metrics_are() -> None:
    run = under(RPS, f"{CROWD}, {{kind: telemetry-delay, at: 800s, duration: 1h, delay: 4m}}", until_s=1080.0)
    seen = take_snapshot(run.sim).workloads
    assert seen.offered_rps.value[0] == pytest.approx(120.0, rel=0.02), "as before the crowd"
    assert seen.offered_rps.age_s[0] == 255.0
    assert seen.cpu_per_pod.age_s[0] >= 255.0


def bins(run: Run) -> np.ndarray:
    """Forecast's 5-minute bins since the start."""
    scalers = run.sim.arrays.scalers
    first, last = 1, int(scalers.forecast["bin"][0, 0])
    return np.asarray(scalers.history[0, 0, np.arange(first, last) % scalers.history.shape[2]])


def test_a_forecast_knows_nothing_of_a_gap_and_believes_garbage() -> None:
    forecast = ForecastSpec(hpa=RPS)
    calm = bins(under(forecast, "", until_s=7200.0))
    blind = bins(under(forecast, "{kind: telemetry-gap, at: 3600s, duration: 30m}", until_s=7200.0))
    wrong = bins(under(forecast, "{kind: telemetry-garbage, at: 3600s, duration: 30m, factor: 3}", until_s=7200.0))
    assert calm == pytest.approx(120.0, rel=0.02)
    assert np.count_nonzero(blind < 0.0) in (5, 6), "bins that lie in the gap as a whole; unknown is not zero"
    assert blind[blind >= 0.0] == pytest.approx(120.0, rel=0.02)
    assert np.count_nonzero(wrong > 300.0) in (6, 7)
