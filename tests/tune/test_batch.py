"""Many stacks in one batch are each stack alone; tuning on the simulator, from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from envs.executor import available_cores
from envs.objective import cheapest_core_usd_per_h, demand_usd
from envs.rollout import rollout
from envs.rollout_batch import rollout_batch
from envs.scenario_file import load_scenario
from envs.stack import KedaSpec
from envs.stack_file import load_stack
from envs.timeline import Timeline
from optimizer.cli import app

NAMES = ("hpa-default", "keda-zero", "forecast", "business-hours", "static-peak")
SHORT = 0.15


def test_a_batch_of_stacks_is_each_stack_alone() -> None:
    scenario = load_scenario("queues-and-batch")
    together = rollout_batch(scenario, [load_stack(name) for name in NAMES], 4, days=SHORT)
    for name, outcome in zip(NAMES, together, strict=True):
        parts: list[Timeline] = []
        rollout(scenario, load_stack(name), 4, days=SHORT, sink=parts.append)
        line = Timeline.concat(parts)
        assert outcome.node_usd == pytest.approx(line.node_usd.sum(), rel=1e-12)
        assert outcome.good == pytest.approx(line.good.sum(axis=0), rel=1e-12)
        assert outcome.bad == pytest.approx(line.bad.sum(axis=0), rel=1e-9, abs=1e-9)
        assert outcome.workload_usd == pytest.approx(line.workload_usd.sum(axis=0), rel=1e-12)
        assert outcome.demand_usd == pytest.approx(demand_usd(scenario, line.offered.sum(axis=0).tolist()))


def test_the_cost_index_of_the_toy_is_known_by_hand() -> None:
    """One day at 100 requests/s x 0.05 CPU-seconds: 5 cores x 24 h at $1.00 / 12 cores is $10; the node costs $24."""
    toy = load_scenario("toy")
    (outcome,) = rollout_batch(toy, [toy.stacks[0]], 0)
    assert cheapest_core_usd_per_h(toy) == pytest.approx(1.0 / 12.0)
    assert outcome.demand_usd == pytest.approx(10.0)
    assert outcome.cost_index == pytest.approx(2.4)


def test_settings_of_single_workloads_hold_for_them_alone() -> None:
    scenario = load_scenario("queues-and-batch")
    first = scenario.cluster.workloads[0].name
    base = load_stack("hpa-default")
    kept = replace(base, per_workload=((first, KedaSpec(min_replicas=40)),))
    seen = []
    for stack in (base, kept):
        parts: list[Timeline] = []
        rollout(scenario, stack, 4, days=SHORT, sink=parts.append)
        seen.append(np.concatenate([part.desired for part in parts]))
    assert seen[0][:, 0].min() < 40
    assert (seen[1][:, 0] == 40).all()
    assert (seen[1][:, 1:].min(axis=0) < 40).all(), "the others are scaled by the stack"


def tune(tmp_path: Path, *words: str) -> str:
    arguments = ["tune", "--stack", "keda", "--scenarios", "toy", "--days", "0.1", *words]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_leaves_a_stack_that_whatif_takes_its_trials_and_a_plot(tmp_path: Path) -> None:
    out = tmp_path / "ours.yaml"
    said = tune(tmp_path, "--trials", "20", "--out", str(out), "--jobs", "1")
    assert "In " in said
    stack = load_stack(out)
    assert (stack.name, stack.use_workload_hpa) == ("ours", False)
    head = out.read_text().split("\nname:")[0]
    for word in ("trimtab tune --stack keda --scenarios toy --trials 20", "digest", "seed 0", "cost@slo", "trimtab 0"):
        assert word in head
    lines = (tmp_path / "ours.trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines[1:]] == list(range(20))
    page = (tmp_path / "ours.html").read_text()
    assert "Pareto front" in page
    assert "http://" not in page.split("<script>")[0]

    again = tmp_path / "again.yaml"
    tune(tmp_path, "--trials", "20", "--out", str(again), "--jobs", "2")
    assert again.read_text().replace("again", "ours") == out.read_text(), "any number of processes, the same bytes"
    trials = (tmp_path / "again.trials.jsonl").read_bytes()
    assert trials == (tmp_path / "ours.trials.jsonl").read_bytes()
    (tmp_path / "again.trials.jsonl").write_bytes(trials[: len(trials) // 2])
    tune(tmp_path, "--trials", "20", "--out", str(again), "--jobs", "1", "--resume")
    assert (tmp_path / "again.trials.jsonl").read_bytes() == trials
    assert available_cores() >= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stack", "nobody"], "unknown stack"),
        (["--stack", "replay"], "tunes itself"),
        (["--stack", "trimtab"], "learned policy"),
        (["--stack", "keda", "--scenarios", "nowhere"], "unknown suite or scenario"),
        (["--stack", "keda", "--objective", "money"], "must be cost@slo or weighted"),
        (["--stack", "keda", "--days", "-1"], "--days"),
        (["--stack", "keda", "--weight", "nan"], "--weight"),
        ([], "name the stack to tune"),
        (["--from-history", "x.csv"], "--scenario"),
    ],
)
def test_bad_input_ends_before_anything_is_written(
    tmp_path: Path, words: list[str], said: str, monkeypatch, capsys
) -> None:  # type: ignore[no-untyped-def]
    import sys

    from optimizer.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trimtab", "tune", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_stack_file_in_the_way_is_kept(tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    import sys

    from optimizer.cli import main

    out = tmp_path / "ours.yaml"
    out.write_text("mine")
    monkeypatch.setattr(sys, "argv", ["trimtab", "tune", "--stack", "keda", "--scenarios", "toy", "--out", str(out)])
    with pytest.raises(SystemExit):
        main()
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "mine"
