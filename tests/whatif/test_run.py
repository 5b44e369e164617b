"""`whatif.run` on a stand-in simulator: what adds up, what is equal, what a row means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from envs.errors import InputError
from envs.timeline import Timeline
from optimizer import whatif
from optimizer.inputs import load_variations
from tests.whatif_fixtures import STACKS, scenario, short, simulate


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    return whatif.run(scenario(days=2.5), simulate=simulate, out=out, jobs=1, seeds=2)


def raw(stack: int = 0, seed: int = 0, days: float = 2.5) -> Timeline:
    parts: list[Timeline] = []
    simulate(scenario(days=days), STACKS[stack], seed, sink=parts.append)
    return Timeline.concat(parts)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_cost_is_the_sum_of_the_rows_that_were_simulated(result):
    for stack in range(3):
        both = [raw(stack, seed).node_usd.sum() for seed in (0, 1)]
        assert result.table["cost_usd"][stack] == pytest.approx(np.mean(both), abs=1e-9)


@pytest.mark.parametrize("frame", ["by_namespace", "by_team", "by_pool"])
def test_parts_add_up_to_the_cost_to_the_cent(result, frame):
    parts = getattr(result, frame).groupby("row")["usd"].sum()
    assert np.abs(parts.to_numpy() - result.table["cost_usd"].to_numpy()).max() < 0.005
    assert getattr(result, frame).groupby("row")["share"].sum().to_numpy() == pytest.approx(np.ones(3))


def test_used_unused_and_idle_add_up_to_each_pool(result):
    pool = result.by_pool
    split = pool["used_usd"] + pool["requested_unused_usd"] + pool["idle_usd"]
    assert split.to_numpy() == pytest.approx(pool["usd"].to_numpy())


def test_hours_add_up_to_the_table(result):
    hourly = result.hourly.groupby("row")["usd"].sum() / 2
    assert hourly.to_numpy() == pytest.approx(result.table["cost_usd"].to_numpy())
    assert result.pool_hours.groupby("row")["usd"].sum().to_numpy() / 2 == pytest.approx(hourly.to_numpy())
    assert result.type_hours.groupby("row")["usd"].sum().to_numpy() / 2 == pytest.approx(hourly.to_numpy())


def test_workloads_are_judged_by_their_requests(result):
    timeline = raw()
    line = result.workloads[(result.workloads["row"] == 0) & (result.workloads["workload"] == "checkout")].iloc[0]
    both = [raw(0, 0), raw(0, 1)]
    good = np.mean([t.good[:, 1].sum() for t in both])
    bad = np.mean([t.bad[:, 1].sum() for t in both])
    assert timeline.offered.shape[1] == 6
    assert line["good_ratio"] == pytest.approx(good / (good + bad))
    assert line["budget_left"] == pytest.approx(1 - bad / (0.001 * (good + bad)))
    assert bool(line["slo_met"]) == (good / (good + bad) >= 0.999)


def test_table_counts_met_slos_and_leaves_batch_out_of_requests(result):
    met = result.workloads.groupby("row")["slo_met"].sum()
    assert result.table["slos_met"].tolist() == met.tolist()
    expected = np.mean([(raw(0, s).good + raw(0, s).bad)[:, :5].sum() for s in (0, 1)])
    assert result.table["requests"][0] == pytest.approx(expected)


def test_utilization_is_of_allocatable_cpu(result):
    timeline = raw(0, 0)
    cores = np.array([3.92, 3.92, 7.91, 7.91, 3.92])
    one = whatif.run(scenario(days=2.5), stacks=[STACKS[0]], simulate=simulate, jobs=1)
    assert one.table["cpu_utilization"][0] == pytest.approx(timeline.cpu_used.sum() / (timeline.nodes @ cores).sum())
    assert one.table["node_hours"][0] == pytest.approx(timeline.nodes.sum() / 12)
    assert one.out is None


def test_first_row_is_the_baseline(result):
    first = result.table.iloc[0]
    assert (first["saving_usd"], first["saving_share"]) == (0.0, 0.0)
    second = result.table.iloc[1]
    assert second["saving_usd"] == pytest.approx(first["cost_usd"] - second["cost_usd"])
    assert second["saving_low"] <= second["saving_share"] <= second["saving_high"]


def test_worst_hours_are_the_worst_and_named(result):
    worst = result.worst_hours[result.worst_hours["row"] == 0]
    assert worst["rank"].tolist() == list(range(1, 11))
    assert worst["bad"].is_monotonic_decreasing
    assert worst["hour"].is_unique
    first = worst.iloc[0]
    assert (first["workload"], first["hour"]) == ("checkout", 14)
    assert first["bad_starting"] > first["bad_saturated"]


def test_timeline_file_has_every_row_once_and_streams_by_day(result):
    file = pq.ParquetFile(result.out / "timeline.parquet")
    assert file.num_row_groups == 3 * 2 * 3
    assert file.metadata.num_rows == 3 * 2 * 720 * 6
    frame = pd.read_parquet(result.out / "timeline.parquet")
    cost = frame[(frame["stack"] == "hpa-default") & (frame["seed"] == 1)]["offered"].sum()
    assert cost == pytest.approx(raw(0, 1).offered.sum())
    assert str(frame["time"].iloc[0]) == "2026-01-05 00:00:00+00:00"


def test_every_level_of_the_node_timeline_adds_up_to_the_cost(result):
    frame = pd.read_parquet(result.out / "timeline_nodes.parquet")
    sums = frame.groupby(["level", "stack", "seed"], observed=True)["node_usd"].sum().unstack("level")
    assert sums["group"].to_numpy() == pytest.approx(sums["cluster"].to_numpy())
    assert sums["pool"].to_numpy() == pytest.approx(sums["cluster"].to_numpy())


def test_results_files_hold_the_table(result):
    read = pd.read_csv(result.out / "results.csv", keep_default_na=False, na_values=["nan"])
    assert read["cost_usd"].to_numpy() == pytest.approx(result.table["cost_usd"].to_numpy())
    pd.testing.assert_frame_equal(pd.read_parquet(result.out / "results.parquet"), result.table, check_dtype=False)


def test_any_number_of_jobs_gives_identical_bytes(tmp_path):
    small = short()
    for jobs in (1, 2):
        whatif.run(small, stacks=STACKS[:2], simulate=simulate, out=tmp_path / str(jobs), jobs=jobs)
    one, two = files(tmp_path / "1"), files(tmp_path / "2")
    assert one == two
    assert {"results.csv", "results.parquet", "timeline.parquet", "timeline_nodes.parquet"} <= set(one)


def test_progress_counts_days_and_cells_up_to_the_end(tmp_path):
    steps: list[whatif.Step] = []
    whatif.run(scenario(days=2.5), stacks=STACKS[:2], simulate=simulate, jobs=1, progress=steps.append)
    assert steps[0] == whatif.Step(0, 2, 0.0, 5.0)
    assert steps[-1] == whatif.Step(2, 2, 5.0, 5.0)
    assert [s.days_done for s in steps] == sorted(s.days_done for s in steps)
    assert len({s.days_done for s in steps}) == 7


def test_days_cut_the_horizon():
    result = whatif.run(scenario(days=2.5), stacks=STACKS[:1], simulate=simulate, days=1, jobs=1)
    assert result.table["days"][0] == 1.0
    assert result.table["usd_per_30_days"][0] == pytest.approx(30 * result.table["cost_usd"][0])


def test_sensitivity_adds_rows_for_stacks_on_cpu_only():
    result = whatif.run(short(), simulate=simulate, jobs=1, sensitivity=True)
    assert list(zip(result.table["stack"], result.table["variation"], strict=True)) == [
        ("hpa-default", ""),
        ("hpa-default", "cpu request=0.5x"),
        ("hpa-default", "cpu request=2x"),
        ("hpa-cpu-50", ""),
        ("hpa-cpu-50", "cpu request=0.5x"),
        ("hpa-cpu-50", "cpu request=2x"),
        ("static-peak", ""),
    ]
    requests = [row.scenario.cluster.workloads[0].cpu_request for row in result.about.rows[:3]]
    assert requests == [1.0, 0.5, 2.0]


def test_slo_is_met_when_most_seeds_meet_it():
    from optimizer.results import workload_table

    head = {
        "row": 0,
        "stack": "s",
        "variation": "",
        "workload": "w",
        "namespace": "n",
        "team": "",
        "kind": "service",
    }
    rows = [
        {**head, "seed": k, "slo_target": 0.9, "bad": bad, "total": 100.0, "slo_met": bad <= 10}
        for k, bad in enumerate((0.0, 5.0, 80.0))
    ]
    table = workload_table(pd.DataFrame(rows))
    assert table["slo_met"].tolist() == [True]
    assert table["seeds_met"].tolist() == pytest.approx([2 / 3])
    assert table["budget_left"][0] < 0


def test_notes_are_said_once_and_unreachable_slos_by_row(result):
    assert len(result.about.notes) == 1
    assert result.about.unreachable_slos == {0: ("mailer",)}


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("--days", {"days": 0}),
        ("--days", {"days": float("nan")}),
        ("--seeds", {"seeds": 0}),
        ("--jobs", {"jobs": 0}),
        ("vary", {"vary": ["x=1"]}),
        ("--stacks", {"stacks": [STACKS[0], STACKS[0]]}),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, field, options):
    with pytest.raises(InputError) as caught:
        whatif.run(scenario(), simulate=simulate, out=tmp_path / "out", **options)
    assert caught.value.field == field
    assert not (tmp_path / "out").exists()


def test_a_stack_file_starts_where_the_user_stands(tmp_path, monkeypatch):
    (tmp_path / "ours.yaml").write_text("replicas: {metrics: [{type: Resource, name: cpu, target: 70%}]}\n")
    monkeypatch.chdir(tmp_path)
    ((made, _),) = load_variations("toy", ["hpa-default", "ours.yaml"], [])
    assert [stack.name for stack in made.stacks] == ["hpa-default", "ours"]


def test_a_scenario_without_stacks_asks_for_some():
    with pytest.raises(InputError, match="--stacks"):
        whatif.run(replace(scenario(), stacks=()), simulate=simulate)
