"""The stored vectors pass to the stated bars; the harness itself never crashes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.conformance.__main__ import main
from tests.conformance.cases import failed, passed, same
from tests.conformance.runner import VECTORS, TopicReport, run, stem, topic_files
from tests.conformance.topics import ADAPTERS

TOPICS = [stem(p) for p in topic_files(VECTORS)]
MAX_LEFT_OUT = 0.05


def bar(topic: str) -> float:
    if topic.startswith("ks_"):
        return 1.0
    return 0.99 if topic == "hpa_closed_loop" else 0.90


@pytest.fixture(scope="module")
def reports() -> dict[str, TopicReport]:
    return run()


@pytest.mark.parametrize("topic", TOPICS)
def test_topic_reaches_its_bar(topic: str, reports: dict[str, TopicReport]) -> None:
    assert topic in ADAPTERS
    report = reports[topic]
    assert report.passed >= bar(topic) * report.total, report.failures[:3]
    left_out = len(report.omissions)
    assert left_out <= MAX_LEFT_OUT * (report.total + left_out), report.omissions[:3]


@pytest.mark.parametrize("component", ["ca_", "karpenter_"])
def test_node_autoscalers_pass_95_percent_overall(component: str, reports: dict[str, TopicReport]) -> None:
    mine = [r for r in reports.values() if r.topic.startswith(component)]
    assert sum(r.passed for r in mine) >= 0.95 * sum(r.total for r in mine)


def write(path: Path, records: list[dict[str, object]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(r) + "\n" for r in records)


def test_unknown_topics_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "unheard_of.jsonl.gz", [{"id": "k1", "input": {}, "expected": {}}])
    write(tmp_path / "catalogs.jsonl.gz", [{"id": "c", "types": []}])
    assert main(["--vectors", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    out = json.loads((tmp_path / "out.json").read_text())
    assert out == {"topics": {"unheard_of": {"passed": 0, "total": 0, "left_out": 1}}}


def test_a_crashing_adapter_is_a_failed_case(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl.gz", [{"id": "a", "topic": "t", "input": {}, "expected": 1}])
    report = run(tmp_path, {"t": lambda case: passed() if case.input["missing"] else failed("")})["t"]
    assert report.failures == [("a", "KeyError: 'missing'")]


def test_numbers_compare_with_relative_tolerance() -> None:
    assert same({"x": [1.0, None, "a", True]}, {"x": (1.0 + 1e-12, None, "a", True)})
    assert not same({"x": 1.0}, {"x": 1.00001})
    assert not same({"x": 1.0}, {"y": 1.0})
