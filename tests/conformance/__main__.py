"""python -m tests.conformance: how closely the simulated controllers follow the real ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.docs import DOCS_PAGE, page
from tests.conformance.runner import VECTORS, TopicReport, as_json, run

EPILOG = """\
total counts the cases that were judged (passed + failed); cases left out are counted apart and listed
with their reason. A topic without an adapter has total 0. The exit code is 0 when the run was completed,
1 with --strict and a failed case, 2 for unusable arguments.
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--vectors", type=Path, default=VECTORS, metavar="DIR", help="folder of *.jsonl[.gz]")
    p.add_argument("--json", type=Path, metavar="FILE", help="write passed, total and left_out per topic")
    p.add_argument("--write-docs", action="store_true", help=f"write {DOCS_PAGE.name} under docs/")
    p.add_argument("--failures", type=int, default=5, metavar="N", help="failed cases shown per topic")
    p.add_argument("--strict", action="store_true", help="exit with 1 when a case failed")
    return p


def show(report: TopicReport, failures: int) -> None:
    left = f", {len(report.omissions)} left out" if report.omissions else ""
    print(f"{report.topic:38} {report.passed}/{report.total}{left}")
    for case_id, detail in report.failures[:failures]:
        print(f"    failed {case_id}: {detail}")
    if len(report.failures) > failures:
        print(f"    ... and {len(report.failures) - failures} more failed")
    reasons = {reason for _, reason in report.omissions}
    if report.total == 0 and len(reasons) == 1:
        print(f"    left out, all {len(report.omissions)} cases: {reasons.pop()}")
        return
    for case_id, reason in report.omissions:
        print(f"    left out {case_id}: {reason}")


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if not args.vectors.is_dir():
        print(f"{args.vectors}: no such folder; give --vectors a folder of *.jsonl.gz files", file=sys.stderr)
        return 2
    reports = run(args.vectors)
    for report in reports.values():
        show(report, args.failures)
    if args.json:
        args.json.write_text(json.dumps(as_json(reports), indent=2) + "\n", encoding="utf-8")
    if args.write_docs:
        DOCS_PAGE.write_text(page(reports), encoding="utf-8")
    return int(args.strict and any(r.failures for r in reports.values()))


if __name__ == "__main__":
    sys.exit(main())
