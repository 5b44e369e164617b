"""Capacity from measurements whose truth is known: made by queueing formulas and by the simulator's service tick."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from envs.calibration import Assumed, Calibrated, calibrate
from envs.errors import InputError
from envs.history import History, read_history
from optimizer import cli
from tests.replay.measured import CAPACITY, CPU_S, CV, MINUTES, SERVICE_S, measured, write


def estimate(folder: Path, columns: dict[str, np.ndarray], **assumed: float) -> Calibrated:
    history: History = read_history([write(folder / "cart.csv", columns)])
    known = {"threshold_s": 0.6, "service_cv": CV, "service_s": SERVICE_S} | assumed
    return calibrate(history.workloads[0], Assumed(**known))  # type: ignore[arg-type]


@pytest.mark.parametrize(("peak", "latency"), [(0.97, True), (1.25, True), (1.25, False)])
def test_the_interval_holds_the_truth_where_the_data_reach_it(tmp_path: Path, peak: float, latency: bool) -> None:
    c = estimate(tmp_path, measured(peak, latency=latency))
    assert c.informed
    assert c.capacity_rps.low <= CAPACITY <= c.capacity_rps.high
    assert c.capacity_rps.high / c.capacity_rps.low < 1.6
    assert (c.episodes > 0) == (peak > 1)


def test_data_far_from_saturation_say_so_and_bound_capacity_from_below_only(tmp_path: Path) -> None:
    c = estimate(tmp_path, measured(0.4, latency=False))
    assert not c.informed
    assert c.capacity_rps.high > 2 * c.capacity_rps.low
    assert 0.3 * CAPACITY < c.capacity_rps.low <= CAPACITY
    assert any("never come near saturation" in note for note in c.notes)


def test_demand_of_saturated_minutes_is_not_served_load(tmp_path: Path) -> None:
    """Twice the capacity is asked for and half of it is refused: capacity is what is served, not what is asked."""
    mild, wild = (estimate(tmp_path, measured(p, latency=False)) for p in (1.1, 2.0))
    assert wild.capacity_rps.mid == pytest.approx(mild.capacity_rps.mid, rel=0.05)
    assert wild.capacity_rps.mid == pytest.approx(CAPACITY, rel=0.08)


def test_errors_at_night_are_not_saturation(tmp_path: Path) -> None:
    columns = measured(0.5, latency=False)
    columns["errors_rps"] = np.where(columns["served_rps"] < np.quantile(columns["served_rps"], 0.1), 30.0, 0.0)
    c = estimate(tmp_path, columns)
    assert c.episodes == 0
    assert any("another cause" in note for note in c.notes)


def test_cpu_per_request_survives_outliers_and_an_idle_share(tmp_path: Path) -> None:
    columns = measured(0.7)
    columns["cpu_cores"][::97] *= 6.0  # a neighbour, a scrape gone wrong
    c = estimate(tmp_path, columns)
    assert c.cpu_s_per_request is not None
    assert c.cpu_s_per_request.low <= CPU_S <= c.cpu_s_per_request.high
    assert c.cpu_s_per_request.high / c.cpu_s_per_request.low < 1.05
    assert c.idle_cpu == pytest.approx(0.02, abs=0.006)
    assert c.service_s == pytest.approx(SERVICE_S, rel=0.05)


def test_a_cpu_limit_bounds_capacity_from_above(tmp_path: Path) -> None:
    c = estimate(tmp_path, measured(0.4, latency=False), cpu_limit=1.1 * CAPACITY * CPU_S)
    assert c.capacity_rps.high < 1.35 * CAPACITY


def test_the_back_test_predicts_days_that_it_has_not_seen(tmp_path: Path) -> None:
    c = estimate(tmp_path, measured(1.15))
    assert c.back_test is not None
    assert c.back_test.cpu_error is not None
    assert c.back_test.cpu_error < 0.08
    assert c.back_test.bad_measured is not None
    assert c.back_test.bad_predicted is not None
    assert c.back_test.bad_predicted.low <= c.back_test.bad_measured <= c.back_test.bad_predicted.high
    assert c.back_test.bad_measured > 0.01


def test_start_delay_is_read_from_rises_that_are_met(tmp_path: Path) -> None:
    columns = measured(0.5)
    desired = np.full(MINUTES, 5.0)
    for k in range(8):
        desired[300 + 500 * k : 450 + 500 * k] = 8.0
    ready = np.minimum(np.roll(desired, 2), desired)  # two minutes later up, at once down
    columns |= {"desired_replicas": desired, "replicas": ready}
    c = estimate(tmp_path, columns)
    assert c.start_delay_s == pytest.approx(120.0 + 30.0)


def test_long_and_wide_files_say_the_same(tmp_path: Path) -> None:
    columns = {k: v[:200] for k, v in measured(0.5).items()}
    wide = write(tmp_path / "w.csv", {k if k == "time_s" else f"cart:{k}": v for k, v in columns.items()})
    lines = ["time,series,value"]
    lines += [
        f"{t:g},cart:{k},{x:.6g}" for k in list(columns)[1:] for t, x in zip(columns["time_s"], columns[k], strict=True)
    ]
    long = tmp_path / "l.csv"
    long.write_text("\n".join(lines) + "\n")
    a, b = (calibrate(read_history([p]).workloads[0], back_test=False) for p in (wide, long))
    assert a == b


@pytest.mark.parametrize(
    ("text", "field", "mend"),
    [
        ("time,cart:sreved_rps\n0,1\n60,2\n", "column", "served_rps"),
        ("time,cart:served_rps\n0,1\n60,2\n", "replicas", "add the column"),
        ("time,cart:replicas\n0,1\n60,2\n", "workload cart", "offered_rps"),
        ("time,cart:served_rps,cart:replicas\n0,1,1\n60,-2,1\n", "line 3", "negative"),
    ],
)
def test_bad_histories_name_the_column_and_the_mend(tmp_path: Path, text: str, field: str, mend: str) -> None:
    path = tmp_path / "h.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        calibrate(read_history([path]).workloads[0])
    assert field in str(caught.value)
    assert mend in str(caught.value)
    assert "h.csv" in str(caught.value)


def test_the_command_prints_json_and_writes_yaml_that_a_scenario_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "cart.csv", measured(0.97))
    out = tmp_path / "service.yaml"
    monkeypatch.setattr(sys, "argv", ["trimtab", "calibrate", str(path), "--yaml", str(out), "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    said = json.loads(capsys.readouterr().out)["workloads"][0]
    service = yaml.safe_load(out.read_text())["workloads"][0]["service"]
    assert said["name"] == "cart"
    milliseconds = float(service["service_time"].removesuffix("ms"))
    assert service["slots"] / milliseconds * 1000.0 == pytest.approx(said["capacity_rps"]["mid"], rel=0.01)
    assert math.isfinite(said["back_test"]["cpu_error"])
