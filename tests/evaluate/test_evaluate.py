"""`trimtab evaluate` on a tiny folder of load: protocol, resume, JSON, bad input, and nobody sees the future."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from envs.errors import InputError
from envs.objective import Outcome
from envs.rollout_batch import judged_batch
from envs.scenario import TraceDemand
from envs.stack import Replay
from envs.stack_file import load_stack, stack_names
from envs.suite import load_suite
from envs.timeline import Timeline
from optimizer.cli import app
from optimizer.evaluate import evaluate, uses_hindsight, wanted_cases
from optimizer.evaluate_cases import DAY_S, cases_of_traces, stretches
from optimizer.evaluate_console import pair_table, policy_table, signed
from optimizer.evaluate_replay import run_replays
from optimizer.evaluate_run import run_alone
from optimizer.evaluate_sweep import dial_of, sweep_of
from optimizer.evaluate_traces import read_folder
from optimizer.evaluate_trained import seen, trained_on
from optimizer.replay_control import simulate

RNG_RIPPLE = 0.05
SEEN_BY_NOBODY = [
    name
    for name in ("hpa-default", "rps-tuned", "keda-tuned", "forecast-tuned", "karpenter-balanced", "replay", "trimtab")
    if name in stack_names()
]


def load(path: Path, *, days: float = 1.0, step_s: int = 300, seed: int = 0, spike_at_s: float | None = None) -> Path:
    """A rippled daily rhythm as CSV; from spike_at_s on ten times as much."""
    time = np.arange(0, days * DAY_S, step_s)
    ripple = 1.0 + RNG_RIPPLE * np.random.default_rng(seed).standard_normal(len(time))
    value = (2.0 + np.sin(2 * np.pi * time / DAY_S + seed)) * ripple
    if spike_at_s is not None:
        value = np.where(time >= spike_at_s, 10.0 * value, value)
    lines = [f"{int(t)},{v:.5f},req_per_s" for t, v in zip(time, value, strict=True)]
    path.write_text("\n".join(["timestamp,value,unit", *lines]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "load"
    place.mkdir()
    for i in range(3):
        load(place / f"t{i}.csv", seed=i)
    load(place / "short.csv", days=0.1)
    (place / "manifest.csv").write_text("trace,source,start_utc\nt0,web,2026-03-02T00:00:00Z\nt1,web,\nt2,batchy,\n")
    return place


def test_traces_become_cases_by_source_and_short_ones_are_named(folder: Path) -> None:
    traces, skipped = read_folder(folder)
    assert [(t.source, t.name) for t in traces] == [("batchy", "t2"), ("web", "t0"), ("web", "t1")]
    assert len(skipped) == 1
    assert "short: skipped, 2.4 h" in skipped[0]
    cases = cases_of_traces("x", traces, seeds=2)
    assert len(cases.cases) == 3 * 2 * 2
    cluster = next(c for c in cases.cases if c.key == "t0/cluster/0").scenario
    used = [d.path.name for d in cluster.demand if isinstance(d, TraceDemand)]
    assert used == ["t0.csv", "t1.csv", "t0.csv", "t0.csv", "t0.csv"], "the source's other trace, then its own again"
    assert len({w.service for w in cluster.cluster.workloads}) == 5
    again, fewer, one = (cases_of_traces("x", t, seeds=n) for t, n in ((traces, 2), (traces[1:], 2), (traces, 1)))
    assert (again.digest, again.fingerprint) == (cases.digest, cases.fingerprint)
    assert fewer.digest != cases.digest == one.digest
    assert one.fingerprint != cases.fingerprint


def test_a_service_depends_on_its_trace_alone(folder: Path) -> None:
    traces, _ = read_folder(folder)
    alone = {c.unit: c.scenario for c in cases_of_traces("x", traces, seeds=1, kinds=("alone",)).cases}
    few = cases_of_traces("y", traces[:2], seeds=1, kinds=("alone",)).cases
    for case in few:
        assert case.scenario.cluster.workloads == alone[case.unit].cluster.workloads
        assert case.scenario.demand == alone[case.unit].demand


def test_without_a_manifest_each_file_is_its_own_source(folder: Path) -> None:
    (folder / "manifest.csv").unlink()
    assert [t.source for t in read_folder(folder)[0]] == ["t0", "t1", "t2"]


def test_two_days_of_history_then_three_judged_and_shares_of_less() -> None:
    assert stretches(10 * DAY_S, 3.0) == (2 * DAY_S, 3 * DAY_S)
    history, judged = stretches(DAY_S, 3.0)
    assert judged == pytest.approx(0.6 * DAY_S, abs=300)
    assert history == pytest.approx(0.4 * DAY_S, abs=300)
    assert stretches(4 * DAY_S, 3.0)[0] == pytest.approx(1.6 * DAY_S, abs=300)


def test_windows_count_back_from_the_end_around_holes_and_dead_stretches(tmp_path: Path) -> None:
    load(tmp_path / "long.csv", days=9.0, step_s=1800)
    lines = (tmp_path / "long.csv").read_text().splitlines()
    dead = [
        f"{line.split(',')[0]},0,req_per_s" if float(line.split(",")[0]) > 4.9 * DAY_S else line for line in lines[1:]
    ]
    (tmp_path / "dies.csv").write_text("\n".join([lines[0], *dead]) + "\n")
    traces, _ = read_folder(tmp_path)
    starts = {
        (c.unit, c.seed): c.scenario.demand[0].offset_s / DAY_S  # type: ignore[union-attr]
        for c in cases_of_traces("x", traces, seeds=3, days=2.0, kinds=("alone",)).cases
    }
    assert [round(starts["long", k], 3) for k in range(3)] == [5.0, 3.0, 1.0]
    assert [round(starts["dies", k], 3) for k in range(3)] == [1.0, 1.0, 1.0], "judged while it was alive"


def test_history_is_simulated_and_not_judged(folder: Path) -> None:
    (case,) = wanted_cases(folder, None, seeds=1, days=None, services=1, kinds=("alone",)).cases[:1]
    stack = load_stack("rps-target")
    whole = judged_batch(case.scenario, [stack], 0)[0]
    judged = judged_batch(case.scenario, [stack], 0, judged_from_s=case.judged_from_s)[0]
    before = judged_batch(case.scenario, [stack], 0, days=case.judged_from_s / DAY_S)[0]
    assert judged.outcome.node_usd + before.outcome.node_usd == pytest.approx(whole.outcome.node_usd)
    assert judged.churn["replica_changes"] + before.churn["replica_changes"] == whole.churn["replica_changes"]
    assert np.add(judged.outcome.bad, before.outcome.bad) == pytest.approx(whole.outcome.bad)
    alone = run_alone(case, stack).outcome
    assert alone.node_usd == pytest.approx(judged.outcome.node_usd)
    assert alone.bad == pytest.approx(judged.outcome.bad)


def test_prices_of_a_replaying_stack_share_one_replay_and_each_is_itself_alone(folder: Path) -> None:
    case = wanted_cases(folder, None, seeds=1, days=0.3, services=2).cases[0]
    base = replace(load_stack("replay"), replay=Replay(beliefs=(1.0,)))
    stacks = [replace(base, replay=replace(base.replay, violation_price=price)) for price in (3.0, 3000.0)]
    together = run_replays(case, stacks)
    for stack, run in zip(stacks, together, strict=True):
        alone = run_alone(case, stack)
        assert (alone.outcome, alone.churn) == (run.outcome, run.churn)
    assert together[0].outcome != together[1].outcome


@pytest.mark.parametrize("name", SEEN_BY_NOBODY)
def test_nobody_sees_a_spike_before_it_comes(tmp_path: Path, name: str) -> None:
    """Two worlds whose load is the same until a planted tenfold spike: until then nothing may differ."""
    at_s = 0.7 * DAY_S
    load(tmp_path / "calm.csv")
    load(tmp_path / "spiked.csv", spike_at_s=at_s)
    (case,) = [
        c for c in wanted_cases(tmp_path, None, seeds=1, days=None, services=2).cases if c.key == "calm/cluster/0"
    ]
    calm = replace(case.scenario, demand=tuple(replace(d, path=tmp_path / "calm.csv") for d in case.scenario.demand))  # type: ignore[type-var]
    spiked = replace(calm, demand=tuple(replace(d, path=tmp_path / "spiked.csv") for d in calm.demand))  # type: ignore[type-var]
    stack = load_stack(name)
    if stack.replay is not None:
        stack = replace(stack, replay=replace(stack.replay, beliefs=(1.0,)))
    lines = []
    for scenario in (calm, spiked):
        parts: list[Timeline] = []
        simulate(scenario, stack, 0, sink=parts.append)
        lines.append(Timeline.concat(parts))
    offset = case.scenario.demand[0].offset_s  # type: ignore[union-attr]
    before = (
        lines[0].time_s + 300.0 <= at_s - offset - 600.0
    )  # the line to the spike's first sample starts a step before
    for field in ("desired", "ready", "node_usd", "good", "nodes", "replica_changes"):
        one, other = (getattr(line, field) for line in lines)
        assert (one[before] == other[before]).all(), field
    assert not (lines[0].desired[~before] == lines[1].desired[~before]).all(), "the spike was there"


def test_a_dial_turns_from_cheap_to_safe() -> None:
    for name in ("hpa-default", "rps-tuned", "keda-tuned", "forecast-tuned", "business-hours", "static-p95", "replay"):
        stack = load_stack(name)
        points = sweep_of(stack)
        assert len(points) == 9
        assert points[0].stack is stack
        assert len({p.label for p in points}) == 9
        assert len({p.stack for p in points[1:]}) == 8
    assert dial_of({"replicas": {"kind": "unheard-of"}}) is None
    assert [p.label for p in sweep_of(load_stack("hpa-default"), 0)] == ["own"]
    with pytest.raises(InputError, match="--sweep"):
        sweep_of(load_stack("hpa-default"), 1)


def test_what_was_tuned_on_a_source_is_marked_there(folder: Path) -> None:
    trained = trained_on("hpa-tuned")
    assert "aiops 2018 kpi (netman)" in trained
    assert not trained_on("hpa-default")
    cases = wanted_cases(folder, None, seeds=1, days=None, services=1)
    assert seen(trained, cases) == frozenset()
    assert seen(frozenset({"web"}), cases) == {"web"}
    (own,) = [sha for _, trace, sha in cases.traces if trace == "t2"]
    assert seen(frozenset({own}), cases) == {"batchy"}
    suite = wanted_cases(None, "train", seeds=1, days=1.0, services=1)
    assert seen(trained, suite) == {"train-shop", "train-crowds", "train-pipeline"}
    assert load_suite("train").digest == suite.digest
    assert uses_hindsight(load_stack("static-p95"))
    assert not uses_hindsight(load_stack("replay"))


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["evaluate", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_compares_resumes_and_writes_what_it_says(folder: Path, tmp_path: Path) -> None:
    out, figures = tmp_path / "judged", tmp_path / "figures.json"
    words = [
        "--policies",
        "hpa-default,rps-tuned",
        "--load-dir",
        str(folder),
        "--services",
        "2",
        "--sweep",
        "2",
        "--jobs",
        "1",
    ]
    said = run(*words, "--out", str(out), "--json", str(figures))
    for word in ("overall", "web", "batchy", "rps-tuned", "Equal SLO", "short: skipped"):
        assert word in said
    document = json.loads(figures.read_text())
    assert document["schema"] == "trimtab.evaluate/1"
    assert set(document["policies"]) == {"hpa-default", "rps-tuned"}
    assert set(document["sources"]) == {"web", "batchy"}
    pair = document["pairs"]["rps-tuned"]["hpa-default"]
    assert set(pair) >= {"equal_slo", "hindsight", "attained", "levels", "point", "weighted", "improved", "missing"}
    assert set(pair["weighted"]) == {"30", "100", "300", "1000"}
    totals = document["policies"]["rps-tuned"]
    assert len(totals["frontier"]) == 3
    assert 0 < totals["workload_usd"] <= totals["node_usd"]
    assert document["alone"]["policies"]["rps-tuned"]["slos"] == 3
    assert (out / "results.json").read_text() == figures.read_text()
    lines = (out / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 * 2 * 3

    kept = (out / "runs.jsonl").read_bytes()
    (out / "runs.jsonl").write_bytes(kept[: len(kept) // 2])
    run(*words, "--out", str(out), "--resume")
    assert (out / "runs.jsonl").read_bytes() == kept
    assert (out / "results.json").read_text() == figures.read_text()
    with pytest.raises(InputError, match="policies differs"):
        evaluate(["hpa-default"], load_dir=folder, services=2, sweep=2, out=out, resume=True, jobs=1)


def test_an_interrupted_evaluation_keeps_what_was_finished(folder: Path, tmp_path: Path) -> None:
    def stop(done: float, total: float, what: str) -> None:
        if done > 0:
            raise KeyboardInterrupt

    out = tmp_path / "judged"
    with pytest.raises(KeyboardInterrupt):
        evaluate(["hpa-default"], load_dir=folder, services=1, sweep=0, out=out, jobs=1, progress=stop)
    assert len((out / "runs.jsonl").read_text().splitlines()) == 2


def test_called_off_on_two_processes_what_was_in_work_is_kept_too_and_the_rest_follows(
    folder: Path, tmp_path: Path
) -> None:
    seen: list[float] = []
    out = tmp_path / "judged"
    given = {"load_dir": folder, "services": 1, "sweep": 0, "out": out}
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            ["hpa-default"], jobs=2, progress=lambda done, *_: seen.append(done), stop=lambda: max(seen) > 0, **given
        )  # type: ignore[arg-type]
    kept = len((out / "runs.jsonl").read_text().splitlines()) - 1
    assert 2 <= kept < 6
    again = evaluate(["hpa-default"], jobs=1, resume=True, **given)  # type: ignore[arg-type]
    assert len(again.runs.known) == 6
    fresh = evaluate(["hpa-default"], load_dir=folder, services=1, sweep=0, jobs=1)
    assert {k: run.outcome for k, run in again.runs.known.items()} == {
        k: run.outcome for k, run in fresh.runs.known.items()
    }, "any number of processes, the same numbers"


def test_every_column_of_the_tables_has_its_head(folder: Path) -> None:
    result = evaluate(["hpa-default", "rps-tuned"], load_dir=folder, services=1, sweep=2, sweep_last=0, jobs=1)
    view = result.views["cluster"]
    for table in (policy_table(result, view, ""), pair_table(result, view, "")):
        heads = [str(column.header) for column in table.columns]
        assert all(heads), heads
        assert len(set(heads)) == len(heads)
    against = view.pairs["overall"]["rps-tuned", "hpa-default"]
    columns = {str(c.header): next(iter(c.cells)) for c in pair_table(result, view, "").columns}
    assert columns["of replicas"] == signed(against.equal_slo_replicas.value)
    assert columns["Point"] == signed(against.point)
    assert not any("rps-tuned: " in line for line in against.missing), "it has no frontier to speak of"


def test_names_that_would_collide_are_refused_or_numbered(folder: Path, tmp_path: Path) -> None:
    entries = "entries:\n" + "  - {scenario: toy, seed: 1, days: 0.05}\n  - {scenario: toy, seed: 2, days: 0.05}\n"
    (tmp_path / "twice.yaml").write_text(entries)
    cases = wanted_cases(None, str(tmp_path / "twice.yaml"), seeds=1, days=None, services=1)
    assert [c.unit for c in cases.cases] == ["toy", "toy (2)"]
    assert {c.source for c in cases.cases} == {"toy"}
    (folder / "manifest.csv").write_text("trace,source\nt0,overall\n")
    with pytest.raises(InputError, match="mean over sources"):
        read_folder(folder)
    (folder / "manifest.csv").unlink()
    (folder / "t0.csv.gz").write_bytes((folder / "t0.csv").read_bytes())
    with pytest.raises(InputError, match="two formats"):
        read_folder(folder)


def test_the_bound_is_below_every_policy(folder: Path) -> None:
    result = evaluate(
        ["rps-tuned", "hpa-default"], load_dir=folder, services=2, sweep=0, bound=True, jobs=1, kinds=("cluster",)
    )
    for totals in result.views["cluster"].policies["overall"].values():
        assert totals.above_bound.value > 0
    for (case, policy), usd in result.runs.bounds.items():
        found: Outcome = result.runs.known[case, policy, 0].outcome
        assert 0 < usd <= found.node_usd


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policies", "nobody", "--load-dir", "LOAD"], "unknown stack"),
        (["--policies", "hpa-default"], "--suite NAME or --load-dir DIR"),
        (["--policies", "hpa-default,hpa-default", "--load-dir", "LOAD"], "given twice"),
        (["--policies", "hpa-default", "--load-dir", "nowhere"], "no such folder"),
        (["--policies", "hpa-default", "--suite", "nowhere"], "unknown suite or scenario"),
        (["--policies", "hpa-default", "--load-dir", "LOAD", "--suite", "train"], "leave out --load-dir, or the suite"),
        (["--policies", "hpa-default", "--load-dir", "LOAD", "--kinds", "all"], "--kinds"),
        (["--policies", "hpa-default", "--load-dir", "LOAD", "--seeds", "0"], "--seeds"),
        (["--policies", "hpa-default", "--load-dir", "LOAD", "--resume"], "--out"),
        (["--policies", "", "--load-dir", "LOAD"], "name at least one stack"),
        (["--policies", "hpa-default", "--load-dir", "LOAD", "--json", "nowhere/x.json"], "--json"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, words: list[str], said: str, monkeypatch, capsys
) -> None:  # type: ignore[no-untyped-def]
    import sys

    from optimizer.cli import main

    monkeypatch.chdir(tmp_path)
    given = [str(folder) if word == "LOAD" else word for word in words]
    monkeypatch.setattr(sys, "argv", ["trimtab", "evaluate", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["load"]
