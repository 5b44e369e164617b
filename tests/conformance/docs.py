"""docs/conformance.md from the reports of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.conformance.runner import TopicReport

DOCS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"

INTRO = """\
# Conformance

How closely the simulated HPA, scheduler, Cluster Autoscaler and Karpenter follow the real ones. Each case was recorded
from the real code: inputs and results of its own tests, of its functions over random inputs, or (HPA) of the
whole controller run in virtual time, where the replica count must be exact at every step. The functions
under test are the ones that the simulator runs; the adapters in `tests/conformance/` only build their inputs.

This page is written by

```
python -m tests.conformance --write-docs
```

Other vectors in the same format: `python -m tests.conformance --vectors DIR --json FILE`.

`judged` counts passed and failed cases; cases that the simulator's model has no place for are left out, and
the reasons are below.
"""


def percent(part: int, whole: int) -> str:
    """Rounded down to two places, so that 100 means all."""
    return f"{part * 10000 // whole / 100:.2f} %" if whole else "-"


def table(reports: Mapping[str, TopicReport]) -> list[str]:
    rows = ["| topic | passed | judged | share | left out | recorded from |", "|---|---:|---:|---:|---:|---|"]
    for r in reports.values():
        sources = ", ".join(sorted(r.sources))
        share = percent(r.passed, r.total)
        rows.append(f"| {r.topic} | {r.passed} | {r.total} | {share} | {len(r.omissions)} | {sources} |")
    return rows


def reasons(reports: Mapping[str, TopicReport]) -> list[str]:
    rows = ["", "## Left out", ""]
    for r in reports.values():
        for reason, count in Counter(detail for _, detail in r.omissions).most_common():
            rows.append(f"- {r.topic}: {count} × {reason}")
    return rows if len(rows) > 3 else [*rows, "Nothing."]


def shortfalls(reports: Mapping[str, TopicReport]) -> list[str]:
    rows = ["", "## Failed", ""]
    for r in reports.values():
        rows += [f"- `{case_id}`: {detail[:300]}" for case_id, detail in r.failures]
    return rows if len(rows) > 3 else [*rows, "Nothing."]


def page(reports: Mapping[str, TopicReport]) -> str:
    """The whole page, without times or machine names: equal results give equal bytes."""
    return "\n".join([INTRO, *table(reports), *reasons(reports), *shortfalls(reports), ""])
