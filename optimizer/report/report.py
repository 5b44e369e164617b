"""Write report.html: one page with everything in it, that opens without a network.

Text from users (names of workloads, stacks, files) goes through the template's escaping or into a JSON
block whose `<` are escaped; only the page's own style and scripts are inserted as they are.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from optimizer import whatif_words
from optimizer.report import words
from optimizer.report.differences import describe, differing_settings, plain
from optimizer.report.series import MAX_ROWS, chart_data

if TYPE_CHECKING:
    from envs.scenario import Scenario
    from envs.stack import Stack
    from optimizer.whatif import WhatIf

MAX_WORKLOADS = 40  # lines of the error-budget table
MAX_PARTS = 12  # namespaces or teams listed one by one


def write_report(result: WhatIf, path: Path, *, command: str = "") -> None:
    """Write the page, whole or not at all. Equal results give equal bytes."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(render(result, command=command), encoding="utf-8")
    os.replace(partial, path)


def render(result: WhatIf, *, command: str = "") -> str:
    """The page as text. `command` is shown among the inputs."""
    about = result.about
    lines: list[Any] = list(result.table.itertuples())
    return _template().render(
        style=Markup(_own_file("style.css")),
        script=Markup(_own_file("page.js")),
        plotly=Markup(plotly_js()),
        data=Markup(json_block(chart_data(result))),
        scenario=about.scenario,
        setting=words.setting(about.scenario, about.days, len(about.seeds)),
        headline=words.headline(result.table),
        lines=lines,
        has_bound="above_bound" in result.table,
        slo_bound=_slo_bound(result.table),
        max_usd=max(line.list_usd for line in lines) or 1.0,
        split=_money_split(result.by_pool),
        budgets=_budgets(result),
        hidden_workloads=max(0, len(about.scenario.cluster.workloads) - MAX_WORKLOADS),
        worst=[_worst(result.worst_hours, line.row) for line in lines[:MAX_ROWS]],
        faults=_faults(result),
        parts=[(title, _parts(frame, title)) for title, frame in _frames(result)],
        stacks=_stacks(result),
        differences=differing_settings(_stacks(result)),
        inputs=_inputs(about.scenario),
        about=about,
        command=command,
        drawn=MAX_ROWS,
    )


def _slo_bound(table: pd.DataFrame) -> float | None:
    """USD of the bound at the scenario's objectives, where all rows have the same."""
    if "bound_at_slo_usd" not in table or table["bound_at_slo_usd"].nunique() != 1:
        return None
    return float(table["bound_at_slo_usd"].iloc[0])


def _frames(result: WhatIf) -> list[tuple[str, pd.DataFrame]]:
    return [("namespace", result.by_namespace), ("team", result.by_team), ("pool", result.by_pool)]


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(_own_file),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "usd": whatif_words.usd,
        "ratio": whatif_words.ratio,
        "percent": whatif_words.percent,
        "count": whatif_words.count,
        "label": words.label,
        "why": words.why,
        "what_was_going_on": words.what_was_going_on,
        "target": whatif_words.target,
        "main_reason": words.main_reason,
        "describe": describe,
        "yaml": _yaml,
        "budget": _budget_text,
        "more": whatif_words.more,
        "more_usd": whatif_words.more_usd,
        "budget_class": _budget_class,
    }
    environment.globals |= {"saving": whatif_words.saving, "reasons": words.REASONS}
    return environment.get_template("page.html")


def _own_file(name: str) -> str:
    return (files("optimizer.report") / name).read_text(encoding="utf-8")


def plotly_js() -> str:
    """plotly.js, whole (4.8 MB): the page then needs nothing else. It comes with the plotly package."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def json_block(data: dict[str, Any]) -> str:
    """JSON that no HTML parser can end early: `<`, `>` and `&` as escapes."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _money_split(by_pool: pd.DataFrame) -> dict[int, dict[str, float]]:
    """USD used, requested but unused, and idle, per row."""
    sums = by_pool.groupby("row")[["used_usd", "requested_unused_usd", "idle_usd"]].sum()
    return {row: sums.loc[row].to_dict() for row in sums.index}


def _budgets(result: WhatIf) -> list[dict[str, Any]]:
    """Workloads with the least error budget left in any row first; one cell per row of the grid."""
    frame = result.workloads
    worst = frame.groupby("workload", sort=False)["budget_left"].min().sort_values(kind="stable")
    cells: dict[Any, Any] = dict(
        zip(zip(frame["workload"], frame["row"], strict=True), frame.itertuples(), strict=True)
    )
    unreachable = {name for found in result.about.unreachable_slos.values() for name in found}
    rows = result.table["row"].tolist()
    return [
        {
            "workload": name,
            "target": cells[name, rows[0]].slo_target,
            "kind": cells[name, rows[0]].kind,
            "unreachable": name in unreachable,
            "cells": [cells[name, row] for row in rows],
        }
        for name in worst.index[:MAX_WORKLOADS]
    ]


def _budget_text(left: float) -> str:
    """Error budget left as people say it: 87 %, broken 3.2x over."""
    if left >= 0:
        return f"{100 * left:.0f} % left"
    over = 1.0 - left
    return f"{over:.1f}x spent" if over < 1000 else "over 1,000x spent"


def _budget_class(left: float) -> str:
    steps = [(0.75, "b5"), (0.5, "b4"), (0.25, "b3"), (0.0, "b2"), (-1.0, "b1")]
    return next((name for least, name in steps if left >= least), "b0")


def _worst(frame: pd.DataFrame, row: int) -> list[Any]:
    return list(frame[frame["row"] == row].itertuples())


def _faults(result: WhatIf) -> list[dict[str, Any]]:
    """Lines of the resilience table: a fault, and per row of the grid what it cost, with its heat from 0 to 5."""
    frame = result.resilience
    about = {fault.name: words.describe_fault(fault) for fault in result.about.scenario.faults}
    lines = []
    for name in dict.fromkeys(frame["fault"]):
        own = {item.row: item for item in frame[frame["fault"] == name].itertuples()}
        worst = max(*(item.extra_bad for item in own.values()), 1.0)
        cells = [own.get(row) for row in result.table["row"]]
        lines.append({
            "name": name,
            "about": about.get(name, ""),
            "cells": [(cell, _heat(cell.extra_bad, cell.requests, worst)) if cell else None for cell in cells],
        })  # fmt: skip
    return lines


def _heat(extra: float, requests: float, worst: float) -> str:
    """Pale where next to nothing was lost; else by the share of the line's worst."""
    if extra < 1e-5 * requests or extra < 1.0:
        return "f0"
    return "f" + str(min(1 + int(4 * extra / worst), 4))


def _parts(frame: pd.DataFrame, column: str) -> list[tuple[str, list[float]]]:
    """(name, USD in each row of the grid), dearest first, the rest summed, idle last."""
    table = frame.pivot_table(index=column, columns="row", values="usd", sort=False, observed=True).fillna(0.0)
    idle = table[table.index.str.startswith("(idle")]
    named = table.drop(idle.index)
    named = named.loc[named.max(axis=1).sort_values(ascending=False, kind="stable").index]
    listed = [(str(name), values.tolist()) for name, values in named.head(MAX_PARTS).iterrows()]
    if len(named) > MAX_PARTS:
        listed.append((f"{len(named) - MAX_PARTS} more", named.iloc[MAX_PARTS:].sum().tolist()))
    return listed + [("Idle, shared by all", values.tolist()) for _, values in idle.iterrows()]


def _stacks(result: WhatIf) -> list[Stack]:
    """The distinct stacks, in the order of the table; a varied stack once per variation that changes it."""
    return list(dict.fromkeys(row.stack for row in result.about.rows))


def _inputs(scenario: Scenario) -> str:
    """The scenario's YAML as the user wrote it, or the whole of a Scenario made in Python."""
    if scenario.source is not None and scenario.source.is_file():
        return scenario.source.read_text(encoding="utf-8", errors="replace")
    return _yaml(scenario)


def _yaml(value: Any) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the same text in a tenth of the time
    return yaml.dump(plain(value), Dumper=dumper, sort_keys=False, allow_unicode=True, width=100)
