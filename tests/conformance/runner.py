"""Read vectors, run each case through its topic's adapter, count."""

from __future__ import annotations

import gzip
import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.cases import Adapter, Case, Result, failed, left_out
from tests.conformance.catalogs import read_catalogs
from tests.conformance.topics import ADAPTERS, NOT_MODELLED

VECTORS = Path(__file__).parent / "vectors"
HPA_SOURCE = "kubernetes@v1.36.3 NewHorizontalController"
NO_CASES = {"catalogs"}  # look-up tables, not cases


@dataclass
class TopicReport:
    """Counts of one topic; failures and omissions as (case id, detail). sources: upstream@version."""

    topic: str
    passed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    omissions: list[tuple[str, str]] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """Cases that were judged: all that were not left out."""
        return self.passed + len(self.failures)

    def add(self, case: Case, result: Result) -> None:
        self.sources.add(case.source.split(" ")[0])
        if result.status == "passed":
            self.passed += 1
        elif result.status == "failed":
            self.failures.append((case.id, result.detail))
        else:
            self.omissions.append((case.id, result.detail))


def stem(path: Path) -> str:
    return path.name.split(".jsonl")[0]


def topic_files(folder: Path) -> list[Path]:
    """Every *.jsonl and *.jsonl.gz directly in the folder, but the look-up tables."""
    found = [p for p in folder.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz"))]
    return sorted(p for p in found if stem(p) not in NO_CASES)


def as_case(record: dict[str, Any], topic: str, number: int) -> Case:
    """One line as a case. Closed-loop records carry no topic: they have `spec` and `steps` instead."""
    if "steps" in record and "topic" not in record:
        return Case(
            "hpa_closed_loop",
            str(record.get("id")),
            HPA_SOURCE,
            str(record.get("kind")),
            record,
            None,
            record,
        )
    return Case(
        topic=str(record.get("topic", topic)),
        id=str(record.get("id", f"line {number}")),
        source=str(record.get("source", "")),
        description=str(record.get("description", "")),
        input=record.get("input"),
        expected=record.get("expected"),
        record=record,
    )


def read_cases(path: Path) -> Iterator[Case]:
    """Cases of one file, in order; empty lines are skipped."""
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield as_case(parse(line), stem(path), number)


def parse(line: str) -> dict[str, Any]:
    """One JSON object; anything else becomes a record that no adapter can pass."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    return record if isinstance(record, dict) else {"description": "not a JSON object"}


def judge(case: Case, adapters: Mapping[str, Adapter] = ADAPTERS) -> Result:
    """The adapter's answer; a crash is a failure and names the exception."""
    adapter = adapters.get(case.topic)
    if adapter is None:
        return left_out(NOT_MODELLED)
    try:
        return adapter(case)
    except Exception:
        return failed(traceback.format_exc().strip().splitlines()[-1])


def run(folder: Path = VECTORS, adapters: Mapping[str, Adapter] = ADAPTERS) -> dict[str, TopicReport]:
    """Every case in the folder; one report per topic, by name."""
    read_catalogs(VECTORS)
    read_catalogs(folder)
    reports: dict[str, TopicReport] = {}
    for path in topic_files(folder):
        for case in read_cases(path):
            report = reports.setdefault(case.topic, TopicReport(case.topic))
            report.add(case, judge(case, adapters))
    return dict(sorted(reports.items()))


def as_json(reports: Mapping[str, TopicReport]) -> dict[str, Any]:
    """{"topics": {name: {"passed", "total", "left_out"}}}; total leaves out what is left out."""
    topics = {name: {"passed": r.passed, "total": r.total, "left_out": len(r.omissions)} for name, r in reports.items()}
    return {"topics": topics}
