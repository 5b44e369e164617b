"""`trimtab tune --from-history` from files to patches, on real load that ships with the package."""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from envs.calibration import Interval
from envs.history import read_history
from envs.scenario_file import load_scenario
from envs.stack import HpaMetric, HpaSpec, Stack
from envs.stack_file import load_stack
from optimizer import cli
from optimizer.from_history import Options, Outcome, Replayed, believed, replay_history
from optimizer.measured_past import alike, measured_steps
from policies.replay_table import load
from tests.replay.measured import CAPACITY, measured, write

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "envs" / "data" / "load" / "aiops2018_demo.csv.gz"
SCENARIO = """\
name: pair
days: 1
tick: 60s
instance_types:
  - {name: own.node, vcpu: 8, memory: 32Gi, price: $0.40/h}
workloads:
  - name: cart
    demand: {generate: {base_rps: 50}}
    service: {slots: 4, service_time: 50ms, service_cv: 0.6, cpu_per_request: 9ms, threshold: 400ms}
    min_replicas: 1
    max_replicas: 60
  - name: search
    demand: {generate: {base_rps: 50}}
    service: {slots: 8, service_time: 140ms, service_cv: 0.8, cpu_per_request: 28ms, threshold: 1200ms}
    min_replicas: 1
    max_replicas: 60
    slo: 99%
  - name: mailer
    kind: queue
    demand: {generate: {base_rps: 5}}
    min_replicas: 1
    max_replicas: 8
node_pools:
  - {name: nodes, instance_types: [own.node], max_nodes: 90}
"""
Run = Callable[..., tuple[int, str, str]]


def real_minutes(days: int) -> dict[str, np.ndarray]:
    """Two real services' minutes, scaled to a mean of 8 and 6 full replicas."""
    with gzip.open(DEMO, "rt") as stream:
        rows = list(csv.reader(stream))
    at = [rows[0].index(name) for name in ("kpi_71595dd7", "kpi_40e25005")]
    kept = np.array([[float(row[k] or 0.0) for k in at] for row in rows[1 : 1 + 1440 * days]])
    return {"cart": kept[:, 0] / kept[:, 0].mean() * 640.0, "search": kept[:, 1] / kept[:, 1].mean() * 340.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario, and a day of what was measured of its services: 1 % of requests failed."""
    (tmp_path / "pair.yaml").write_text(SCENARIO)
    minutes = real_minutes(1)
    lines = ["time,cart:served_rps,cart:errors_rps,search"]
    for i, (cart, search) in enumerate(zip(minutes["cart"], minutes["search"], strict=True)):
        lines.append(f"{60 * i},{0.99 * cart:.6g},{0.01 * cart:.6g},{search:.6g}")
    (tmp_path / "history.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def trimtab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trimtab", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def replayed(folder: Path, *, threads: int = 1, stack: Stack | None = None, **options: object) -> Replayed:
    scenario = load_scenario(folder / "pair.yaml")
    history = read_history([folder / "history.csv"])
    given = Options(**options)  # type: ignore[arg-type]
    return replay_history(scenario, stack or load_stack("hpa-default"), history, given, threads=threads)


def test_offered_is_served_and_errors_together(folder: Path) -> None:
    history = read_history([folder / "history.csv"])
    cart = history.of("cart")
    assert cart is not None
    assert cart.offered_rps == pytest.approx(real_minutes(1)["cart"], rel=1e-5)
    assert cart.served_rps == pytest.approx(0.99 * cart.offered_rps, rel=1e-5)


def test_what_a_gap_bridges_is_known_as_such(tmp_path: Path) -> None:
    path = tmp_path / "web.csv"
    path.write_text("time,served_rps,replicas\n" + "".join(f"{60 * i},{i},2\n" for i in range(60) if not 20 <= i < 25))
    series = read_history([path]).workloads[0]
    assert series.name == "web"
    assert series.known.sum() == len(series.time_s)  # rows that are not there are no samples at all
    path.write_text("time,served_rps,replicas\n" + "".join(f"{60 * i},{'' if i == 7 else i},2\n" for i in range(60)))
    series = read_history([path]).workloads[0]
    assert np.flatnonzero(~series.known).tolist() == [7]


@pytest.mark.parametrize("hole", ["empty", "absent"])
def test_what_bridges_a_gap_teaches_nothing(folder: Path, hole: str) -> None:
    """Forty minutes without samples of `cart`: their straight line is replayed and paid for, but not learnt from."""
    whole = replayed(folder)
    lines = (folder / "history.csv").read_text().splitlines()
    empty = [",".join([line.split(",")[0], "", "", line.split(",")[3]]) for line in lines[601:641]]
    lines[601:641] = empty if hole == "empty" else []
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    series = read_history([folder / "history.csv"]).of("cart")
    assert series is not None
    known = measured_steps(series, 0.0, 60.0, 1440)
    assert 39 <= np.count_nonzero(~known) <= 42
    assert not known[602:638].any()
    cart, before = replayed(folder).outcomes[0], whole.outcomes[0]
    assert cart.offered.sum() == pytest.approx(before.offered.sum(), rel=0.05), "the day is replayed whole"
    assert np.isfinite(cart.loss[cart.chosen])
    assert cart.loss != pytest.approx(before.loss, rel=1e-6)


def test_stretches_are_cut_where_measurements_stop_and_go_on() -> None:
    """Two workloads over ten steps; the first was not measured in three of them, which go by themselves."""
    measured = np.ones((10, 2), np.bool_)
    measured[4:7, 0] = False
    assert [(s.start, s.stop) for s in alike(measured)] == [(0, 4), (4, 7), (7, 10)]
    assert [(s.start, s.stop) for s in alike(np.ones((5, 2), np.bool_))] == [(0, 5)]


def test_the_proposal_is_no_worse_than_today_on_the_past_and_threads_change_nothing(folder: Path) -> None:
    one, two = replayed(folder), replayed(folder, threads=2)
    for a, b in zip(one.outcomes, two.outcomes, strict=True):
        assert a.chosen == b.chosen
        assert a.usd.tobytes() == b.usd.tobytes()
        assert a.loss[a.chosen] <= a.loss[0] * 1.1  # the fleet's prior may outvote a small difference
        assert a.offered.sum() == pytest.approx(a.offered.sum())
    assert [o.workload.name for o in one.outcomes] == ["cart", "search"]
    assert dict(one.left_out)["mailer"] == "has no history"


def test_a_careless_setting_of_today_is_mended_and_a_dear_violation_buys_more_replicas(folder: Path) -> None:
    wasteful = Stack("wasteful", replicas=HpaSpec(metrics=(HpaMetric(target=20.0),)))
    cheap = replayed(folder, stack=wasteful, violation_price=10.0)
    dear = replayed(folder, stack=wasteful, violation_price=3000.0)
    for low, high in zip(cheap.outcomes, dear.outcomes, strict=True):
        assert low.saved_usd_per_day > 0.3 * low.usd[:, 0].mean()
        assert low.usd[:, low.chosen].mean() < high.usd[:, high.chosen].mean()
        assert low.bad_share(low.chosen) >= high.bad_share(high.chosen)


def test_a_capacity_believed_too_high_costs_little_under_the_ensemble_and_much_without(folder: Path) -> None:
    """The belief table's shape: choose under a wrong capacity, judge under the true one."""
    true = replayed(folder, beliefs=(1.0,), violation_price=300.0)

    def regret(beliefs: tuple[float, ...]) -> float:
        found = replayed(folder, beliefs=tuple(1.15 * b for b in beliefs), violation_price=300.0)
        logs = []
        for mine, truth in zip(found.outcomes, true.outcomes, strict=True):
            loss = np.where(np.isfinite(truth.loss), truth.loss, np.inf)
            logs.append(np.log(loss[mine.chosen] / loss.min()))
        return float(np.mean(logs))

    point, ensemble = regret((1.0,)), regret((0.85, 1.0, 1.15))
    assert ensemble < point
    assert ensemble < 0.25


def test_capacity_comes_from_the_history_where_it_tells(folder: Path) -> None:
    """The scenario says 80 requests/s a replica; the minutes say 66.7, and each belief is about that."""
    write(folder / "cart.csv", measured(1.2))
    scenario, stack = load_scenario(folder / "pair.yaml"), load_stack("hpa-default")
    history = read_history([folder / "cart.csv"])
    told = replay_history(scenario, stack, history, Options(days=1)).outcomes[0]
    assert told.calibrated is not None
    assert told.workload.service.capacity_rps == pytest.approx(CAPACITY, rel=0.06)
    assert told.points[20].spec.metrics[0].target != replay_today(folder).points[20].spec.metrics[0].target
    quiet = replay_history(scenario, stack, history, Options(days=1, calibrate=False)).outcomes[0]
    assert quiet.calibrated is None
    assert quiet.workload.service.capacity_rps == 80.0
    wide = replace(told.calibrated, capacity_rps=Interval(50.0, 66.0, 99.0))
    assert believed(wide, (0.85, 1.0, 1.15)) == pytest.approx((50 / 66, 1.0, 99 / 66))
    assert believed(replace(wide, capacity_rps=Interval(63, 66, 69)), (0.85, 1.0, 1.15)) == (0.85, 1.0, 1.15)


def replay_today(folder: Path) -> Outcome:
    return replayed(folder, days=1).outcomes[0]


def test_the_command_writes_patches_that_kubectl_would_take(folder: Path, trimtab: Run) -> None:
    out = folder / "out"
    code, said, _ = trimtab(
        "tune", "--from-history", folder / "history.csv", "--scenario", folder / "pair.yaml", "--stack", "hpa-cpu-50",
        "--top", 1, "--out", out,
    )  # fmt: skip
    assert code == 0
    assert "and 1 more" in said
    assert "a month" in said
    table = load((out / "choices.json").read_text())
    assert [w["name"] for w in table["workloads"]] == ["cart", "search"]
    assert all(len(w["candidates"]) == 76 for w in table["workloads"])
    changed = [w for w in table["workloads"] if w["chosen"]]
    assert changed
    for w in changed:
        path = out / f"{w['name']}.hpa.yaml"
        patch = yaml.safe_load(path.read_text())
        assert path.read_text().startswith(f"# kubectl patch hpa {w['name']} -n default --type merge")
        target = patch["spec"]["metrics"][0]["resource"]["target"]
        assert target == {"type": "Utilization", "averageUtilization": round(w["proposed"]["target"])}
        window = patch["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
        assert window == w["proposed"]["scale_down_window_s"]
        assert len(w["proposed"]["usd_per_day"]) == 1


def test_json_is_one_document_that_two_runs_agree_on(folder: Path, trimtab: Run) -> None:
    call = ("tune", "--from-history", folder / "history.csv", "--scenario", folder / "pair.yaml", "--json")
    first, second = trimtab(*call), trimtab(*call)
    assert first == second
    assert load(first[1])["totals"]["workloads"] == 2


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("--scenario", "pair.yaml", "--patch", "vpa"), "use hpa or keda"),
        (("--scenario", "pair.yaml", "--stack", "static-peak"), "has no HPA"),
        (("--scenario", "pair.yaml", "--out", "pair.yaml"), "choose another name"),
        (("--scenario", "pair.yaml", "--out", "none/there"), "make it first"),
        (("--scenario", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_bad_input_ends_with_two_and_writes_nothing(
    folder: Path, trimtab: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], mend: str
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    code, out, err = trimtab("tune", "--from-history", "history.csv", *arguments)
    assert (code, out) == (2, "")
    assert mend in err
    assert sorted(folder.iterdir()) == before


def test_a_history_of_other_services_names_the_nearest(folder: Path, trimtab: Run) -> None:
    (folder / "other.csv").write_text("time,crat\n" + "".join(f"{60 * i},5\n" for i in range(1500)))
    code, _, err = trimtab("tune", "--from-history", folder / "other.csv", "--scenario", folder / "pair.yaml")
    assert code == 2
    assert "other.csv" in err
