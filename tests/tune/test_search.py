"""The search for settings: same seed, same trials, however often it is cut; and what it calls best."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import InputError
from envs.objective import Outcome, bad_share, cost_index, rank, weighted
from envs.stack import HpaSpec, Stack
from envs.stack_file import load_stack, stack_from_document, stack_names
from envs.suite import Entry, Suite, load_suite
from envs.tunable import read_settings, settings_of, with_settings
from optimizer.tune import (
    Candidate,
    Search,
    Trial,
    at_equal_slo,
    best_of,
    pareto,
    per_workload_stack,
    spread,
    tune,
    tuned_stack,
)
from optimizer.tune_trials import TrialFile, Workers
from tests.whatif_fixtures import scenario

SUITE = Suite("toy", "", (Entry(scenario(), 1, 1.0), Entry(scenario(), 2, 1.0)), "0123")


def outcome(cost: float, bad: Sequence[float], slo: float = 0.99) -> Outcome:
    n = len(bad)
    return Outcome(cost, 10.0, tuple(1000.0 - b for b in bad), tuple(bad), (cost / n,) * n, (slo,) * n, (True,) * n)


def world(search: Search, candidates: Sequence[Candidate]) -> dict[int, tuple[Outcome, ...]]:
    """Cost falls with the target, bad requests rise with it; the best lies where the SLO is just met."""
    found = {}
    for one in candidates:
        target = one.values["replicas.metrics.0.target"]
        tolerance = one.values["replicas.tolerance"]
        bad = [10.0 * math.exp((target - 65.0) / 8.0) + 3.0 * tolerance + k for k in range(6)]
        found[one.number] = (outcome(1000.0 / target, bad), outcome(2000.0 / target, bad))
    return found


def search(**changes: object) -> Search:
    return replace(Search(load_stack("hpa-default"), SUITE, trials=80), **changes)  # type: ignore[arg-type]


def test_the_best_is_the_cheapest_that_meets_every_slo() -> None:
    trials = tune(search(), world, [], lambda _: None)
    best = best_of(search(), trials)
    assert best.missed == 0
    met = [t for t in trials if t.missed == 0]
    assert best.cost_index == min(t.cost_index for t in met)
    assert 58.0 <= best.values["replicas.metrics.0.target"] <= 63.0  # where ten bad in a thousand are left
    assert trials[0].values["replicas.metrics.0.target"] == 80.0, "the stack as it is takes part"


def test_the_second_half_looks_around_the_best() -> None:
    trials = tune(search(), world, [], lambda _: None)
    late = [t.values["replicas.metrics.0.target"] for t in trials[-20:]]
    early = [t.values["replicas.metrics.0.target"] for t in trials[1:21]]
    assert np.std(late) < np.std(early) / 2


@pytest.mark.parametrize("stop", [1, 15, 16, 47, 79])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path, stop: int) -> None:
    whole = tune(search(), world, [], lambda _: None)
    file = TrialFile(tmp_path / "a.trials.jsonl", search())
    file.start()
    for trial in whole[:stop]:
        file.append(trial)
    with file.path.open("a") as stream:
        stream.write('{"number": 99, "posi')  # the kill
    later: list[Trial] = []
    again = tune(search(), world, file.read(), later.append)
    assert again == whole
    assert [t.number for t in later] == list(range(stop, 80))
    assert len(file.path.read_text().splitlines()) == stop + 1, "the cut line is gone"


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"trials": 81}, {"objective": "weighted"}, {"stack": load_stack("keda")}]
)
def test_trials_of_another_search_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    file = TrialFile(tmp_path / "a.trials.jsonl", search())
    file.start()
    with pytest.raises(InputError, match="cannot go on"):
        TrialFile(file.path, search(**changes)).read()


@pytest.mark.parametrize("text", ["", "x\n", "[1]\n", '{"seed": 0}\n'])
def test_a_file_that_holds_no_trials_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.trials.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="--resume"):
        TrialFile(path, search()).read()


def test_a_broken_trial_is_named_by_its_line(tmp_path: Path) -> None:
    file = TrialFile(tmp_path / "a.trials.jsonl", search())
    file.start()
    with file.path.open("a") as stream:
        stream.write('{"number": 0}\n')
    with pytest.raises(InputError, match="line 2"):
        file.read()


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_the_first_half_covers_the_space_evenly(dimensions: int, seed: int) -> None:
    points = np.array([spread(n, 64, dimensions, seed) for n in range(64)])
    for column in points.T:  # each slice of every axis has its point
        assert sorted(int(64 * x) for x in column) == list(range(64))


def test_another_seed_tries_other_settings_and_the_same_seed_the_same() -> None:
    a, b, c = (tune(search(seed=s), world, [], lambda _: None) for s in (0, 0, 1))
    assert a == b
    assert [t.position for t in a[1:]] != [t.position for t in c[1:]]


# settings


@pytest.mark.parametrize("name", stack_names())
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_setting_gives_a_stack_that_can_be_written_and_read(name: str, data: st.DataObject) -> None:
    stack = load_stack(name)
    table = settings_of(stack)
    assert len({s.path for s in table}) == len(table) > 3
    position = data.draw(st.lists(st.floats(0, 1), min_size=len(table), max_size=len(table)))
    values = {s.path: s.value(p) for s, p in zip(table, position, strict=True)}
    made = with_settings(stack, values)
    assert read_settings(made, table) == values
    for s in table:
        assert s.value(s.place(values[s.path])) == values[s.path]


def test_a_tuned_stack_reads_back_and_says_how_it_was_made() -> None:
    trials = tune(search(), world, [], lambda _: None)
    made = tuned_stack(search(), best_of(search(), trials), "ours")
    assert made.name == "ours"
    assert isinstance(made.replicas, HpaSpec)
    assert made.replicas.metrics[0].target == best_of(search(), trials).values["replicas.metrics.0.target"]
    assert "80 trials on toy" in made.description


# objectives


def test_the_objectives_are_their_formulas() -> None:
    a, b = outcome(30.0, [1.0, 20.0]), outcome(20.0, [40.0, 0.0])
    assert (a.cost_index, b.cost_index) == (3.0, 2.0)
    assert a.violation == pytest.approx(math.log(2.0))
    assert b.violation == pytest.approx(math.log(4.0))
    assert (a.missed, b.missed) == (1, 1)
    assert cost_index([a, b]) == 2.5
    assert bad_share([a, b]) == pytest.approx((21 / 2000 + 40 / 2000) / 2)
    assert weighted([a, b], 100.0) == pytest.approx(2.5 + 100.0 * bad_share([a, b]))
    assert rank([a], "cost@slo") < rank([b], "cost@slo"), "less violation first, whatever it costs"
    assert rank([b], "weighted", 1.0) < rank([a], "weighted", 1.0)


def test_an_slo_out_of_reach_is_nobodys_fault() -> None:
    lost = replace(outcome(30.0, [900.0, 1.0]), reachable=(False, True))
    assert (lost.violation, lost.missed) == (0.0, 0)


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(0, 900)), min_size=1, max_size=30))
def test_the_front_holds_whom_nobody_beats(points: list[tuple[float, float]]) -> None:
    trials = [Trial(i, (), {}, (outcome(cost, [bad]),)) for i, (cost, bad) in enumerate(points)]
    front = pareto(trials)
    for trial in trials:
        beaten = any(
            (o.cost_index <= trial.cost_index and o.bad_share < trial.bad_share)
            or (o.cost_index < trial.cost_index and o.bad_share <= trial.bad_share)
            for o in trials
        )
        assert beaten or any((o.cost_index, o.bad_share) == (trial.cost_index, trial.bad_share) for o in front)
    assert [t.cost_index for t in front] == sorted(t.cost_index for t in front)


# hindsight


def test_hindsight_takes_for_each_workload_the_setting_that_was_best_for_it() -> None:
    def split(_: Search, candidates: Sequence[Candidate]) -> dict[int, tuple[Outcome, ...]]:
        found = {}
        for one in candidates:
            target = one.values["replicas.metrics.0.target"]
            usd = (target, 100.0 - target, *(50.0,) * 4)
            base = outcome(300.0, [1.0] * 6)
            found[one.number] = (replace(base, workload_usd=usd), base)
        return found

    suite = replace(SUITE, entries=SUITE.entries[:1])
    wanted = search(suite=suite, trials=40)
    trials = tune(wanted, split, [], lambda _: None)
    stack = per_workload_stack(wanted, trials, "ours-hindsight")
    targets = {name: replicas.metrics[0].target for name, replicas in stack.per_workload}  # type: ignore[union-attr]
    names = [w.name for w in suite.entries[0].scenario.cluster.workloads]
    seen = [t.values["replicas.metrics.0.target"] for t in trials]
    assert (targets[names[0]], targets[names[1]]) == (min(seen), max(seen))
    assert "NOT ATTAINABLE" in stack.description
    own = next(w for w in suite.entries[0].scenario.cluster.workloads if w.name == names[1])
    assert stack.hpa_of(own).metrics[0].target == max(seen)


# suites


def test_the_training_suite_is_frozen() -> None:
    """Every byte of it: tuned stacks that ship were tuned on just this."""
    suite = load_suite("train")
    assert suite.digest == "abbd3dfae45406bf", "tune the shipped stacks again, then put the new digest here"
    assert [(e.scenario.name, e.seed, e.days) for e in suite.entries] == [
        ("train-shop", 1001, 7),
        ("train-crowds", 1002, 7),
        ("train-pipeline", 1003, 7),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trian", None, 'did you mean "train"'),
        ("none.yaml", None, "does not exist"),
        ("s.yaml", "entries: []", "entries: has 0 entries"),
        ("s.yaml", "entries: [{scenario: webshop, sed: 1}]", 'did you mean "seed"'),
        ("s.yaml", "entries: [{scenario: webshop, days: -1}]", "entries[0].days"),
        ("s.yaml", "entries: [{scenario: nowhere.yaml}]", "nowhere.yaml"),
        ("s.yaml", "entries: [{scenario: x}]", "x: file: does not exist"),
    ],
)
def test_a_wrong_suite_is_told_where_and_how_to_mend_it(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_suite(path if text is not None or "." in name else name)
    assert said in str(caught.value)


def test_a_scenario_is_a_suite_of_one() -> None:
    suite = load_suite("toy", days=0.5)
    assert [(e.scenario.name, e.days) for e in suite.entries] == [("toy", 0.5)]
    assert suite.digest != load_suite("toy").digest


def test_stacks_travel_as_documents() -> None:
    stack = replace(Stack("x"), per_workload=(("web", HpaSpec()), ("api", load_stack("keda").replicas)))
    from envs.stack_file import document_of

    assert stack_from_document(json.loads(json.dumps(document_of(stack)))) == stack


def test_no_workers_are_started_for_one_job() -> None:
    with Workers(1, lambda _: None) as workers:
        assert workers.jobs == 1


def test_what_the_trade_offs_cost_at_the_bad_share_that_a_stack_has_as_it_is() -> None:
    """As it is: index 30 at 0.316 % bad. Trials: 20 at 1 %, 30 at 0.1 %, so half way 25: 16.7 % less."""
    points = [(300.0, 10**-2.5), (200.0, 0.01), (300.0, 0.001), (900.0, 0.0005)]
    trials = [Trial(i, (), {}, (outcome(cost, [1000.0 * bad]),)) for i, (cost, bad) in enumerate(points)]
    assert at_equal_slo(trials) == pytest.approx(25.0 / 30.0 - 1.0)
    assert at_equal_slo(trials[:1]) == 0.0
