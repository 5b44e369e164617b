"""Frozen suites: of traces by checksum, and one in which one thing goes wrong at a time. And the page."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from envs.errors import InputError
from envs.scenario import GeneratedDemand
from envs.stack import Learned, Replay, Stack
from envs.stack_file import load_stack
from envs.suite import load_suite
from optimizer.evaluate import evaluate, wanted_cases
from optimizer.evaluate_files import write_files
from optimizer.evaluate_run import is_plain
from optimizer.evaluate_suites import is_trace_suite, load_trace_suite, trace_suite_names
from optimizer.evaluate_sweep import sweep_of
from optimizer.evaluate_trained import named_in, seen

HOSTILE = "<script>alert(1)</script>"


def rhythm(path: Path, phase: int = 0) -> Path:
    """Half a day in steps of 10 minutes."""
    lines = [f"{600 * i},{2 + ((i + phase) % 12) / 6:.3f}" for i in range(72)]
    path.write_text("\n".join(["timestamp,value", *lines]) + "\n")
    return path


def suite_file(folder: Path, *paths: Path, source: str = "ours") -> Path:
    lines = [
        f'  - {{trace: {p.stem}, source: "{source}", sha256: {hashlib.sha256(p.read_bytes()).hexdigest()}}}'
        for p in paths
    ]
    path = folder / "suite.yaml"
    path.write_text("\n".join(["traces:", *lines]) + "\n")
    return path


def test_a_suite_of_traces_takes_its_own_recordings_from_a_folder(tmp_path: Path) -> None:
    load = tmp_path / "load"
    load.mkdir()
    one, two, _other = (rhythm(load / f"{name}.csv", i) for i, name in enumerate(("one", "two", "other")))
    suite = suite_file(tmp_path, one, two)
    assert is_trace_suite(str(suite))
    cases = wanted_cases(load, str(suite), seeds=1, days=None, services=2)
    assert {(c.source, c.unit) for c in cases.cases} == {("ours", "one"), ("ours", "two")}
    with pytest.raises(InputError, match="say in which folder"):
        wanted_cases(None, str(suite), seeds=1, days=None, services=2)
    rhythm(two, 5)
    with pytest.raises(InputError, match="is not the file that the suite means"):
        wanted_cases(load, str(suite), seeds=1, days=None, services=2)
    two.unlink()
    with pytest.raises(InputError, match="1 of 2 traces of the suite are not there, first two"):
        wanted_cases(load, str(suite), seeds=1, days=None, services=2)


def test_suites_of_traces_ship_and_hold_whole_sources_out() -> None:
    assert trace_suite_names() == ["dev", "train-traces", "validation"]
    sources = {name: {t.source for t in load_trace_suite(name).traces} for name in trace_suite_names()}
    sums = {name: {t.sha256 for t in load_trace_suite(name).traces} for name in trace_suite_names()}
    names = list(sources)
    for a, b in ((a, b) for a in names for b in names if a < b):
        assert not sources[a] & sources[b], f"{a} and {b} share a source"
        assert not sums[a] & sums[b]
    assert len(load_trace_suite("validation").traces) >= 20
    with pytest.raises(InputError, match="suite of traces"):
        load_trace_suite("devv")


def test_the_robustness_suite_is_frozen_and_has_what_it_says() -> None:
    suite = load_suite("robustness")
    assert suite.digest == "69346de682314517", "frozen: a change makes results incomparable"
    kinds = {fault.kind for entry in suite.entries for fault in entry.scenario.faults}
    assert kinds == {"flash-crowd", "telemetry-gap", "zone-loss", "price-change", "slow-image-pulls"}
    crowd = suite.entries[0].scenario.faults[0]
    assert crowd.factor == 5.0
    drought = next(e.scenario for e in suite.entries if e.scenario.name == "robust-drought")
    assert drought.spot.hazard_factor > 1
    assert drought.spot.stockout_s >= 6 * 3600
    dst = next(e.scenario for e in suite.entries if e.scenario.name == "robust-dst")
    assert all(isinstance(d, GeneratedDemand) and d.dst_shift_at_s is not None for d in dst.demand)


def test_each_row_of_the_robustness_suite_is_its_own_source(tmp_path: Path) -> None:
    result = evaluate(["hpa-default", "rps-tuned"], suite="robustness", days=0.05, sweep=0, jobs=1)
    view = result.views["cluster"]
    names = [entry.scenario.name for entry in load_suite("robustness").entries]
    assert list(view.policies) == ["overall", *names]
    assert all(view.policies[name]["rps-tuned"].slos == 5 for name in names)
    assert result.seen["rps-tuned"] == set(names) - {"robust-dst"}, "its curves are those of the training suite"


def test_the_page_shows_every_policy_and_no_foreign_markup(tmp_path: Path) -> None:
    load, out = tmp_path / "load", tmp_path / "out"
    load.mkdir()
    rhythm(load / "one.csv")
    (load / "manifest.csv").write_text(f"trace,source\none,{HOSTILE}\n")
    result = evaluate(["hpa-default", "rps-tuned"], load_dir=load, services=1, sweep=2, out=out, jobs=1)
    names = write_files(result, out, command="trimtab evaluate")
    assert names[0] == "report.html"
    page = (out / "report.html").read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    for word in ("hpa-default", "rps-tuned against each", "Equal SLO", "frontier", "trimtab evaluate"):
        assert word in page
    assert "http://" not in page.split("<script>")[0]
    block = page.split('<script id="data" type="application/json">')[1].split("</script>")[0]
    assert [len(points) for points in json.loads(block)["0"][0].values()] == [3, 3]


def test_stacks_that_decide_for_themselves_are_told_apart_and_have_a_price_for_a_dial() -> None:
    base = load_stack("rps-target")
    learned, replaying = replace(base, learned=Learned()), replace(base, replay=Replay())
    assert is_plain(base)
    assert not is_plain(learned)
    assert not is_plain(replaying)
    assert is_plain(replaying, but_for_replay=True)
    prices = [point.stack.learned.violation_price for point in sweep_of(learned)[1:] if point.stack.learned]
    assert (prices[0], prices[-1], len(set(prices))) == (3.0, 10_000.0, 8)
    assert len(sweep_of(Stack("plain"))) == 9


def test_a_bundle_says_what_it_was_trained_on(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"name": "x", "data": [{"source": "AIOps", "trace": "k1", "sha256": "ab" * 32}]}))
    assert {"AIOps", "k1", "ab" * 32} <= named_in(manifest)
    assert named_in(tmp_path / "none.json") == set()
    load = tmp_path / "load"
    load.mkdir()
    rhythm(load / "k1.csv")
    cases = wanted_cases(load, None, seeds=1, days=None, services=1)
    assert seen(frozenset({"k1"}), cases) == {"k1"}
    assert seen(frozenset({"k2"}), cases) == frozenset()
