"""What an evaluation leaves in its folder beside the runs: every setting on every case as a table, and the figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from optimizer.evaluate import Evaluation
from optimizer.evaluate_json import document
from optimizer.evaluate_report import render


def write_files(result: Evaluation, out: Path, *, command: str = "", report: bool = True) -> list[str]:
    """report.html, results.csv, results.parquet and results.json in `out`; their names."""
    table = results_table(result)
    table.to_csv(out / "results.csv", index=False, lineterminator="\n")
    table.to_parquet(out / "results.parquet", index=False)
    _whole(out / "results.json", document(result))
    if report:
        _whole(out / "report.html", render(result, command))
    return [*(["report.html"] if report else []), "results.json", "results.csv", "results.parquet", "runs.jsonl"]


def results_table(result: Evaluation) -> Any:
    """One line per case, policy and setting (a DataFrame); docs/guides/evaluate.md describes the columns."""
    import pandas as pd

    lines = []
    for case in result.plan.cases.cases:
        for policy, points in result.plan.policies.items():
            for k, point in enumerate(points):
                run = result.runs.known[case.key, policy, k]
                o = run.outcome
                lines.append({
                    "source": case.source, "trace": case.unit, "kind": case.kind, "seed": case.seed,
                    "policy": policy, "setting": point.label, "judged_days": case.judged_days,
                    "node_usd": o.node_usd, "workload_usd": sum(o.workload_usd), "cost_index": o.cost_index,
                    "requests": sum(o.good) + sum(o.bad), "bad_share": o.bad_share, "slos_missed": o.missed,
                    "slos": sum(o.reachable), **run.churn,
                    "bound_usd": result.runs.bounds.get((case.key, policy), float("nan")) if k == 0 else float("nan"),
                })  # fmt: skip
    return pd.DataFrame(lines)


def _whole(path: Path, text: str) -> None:
    """Write a file all at once."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
