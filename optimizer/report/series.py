"""Hourly series for the report's charts, thinned so that a page stays a page: plain lists, few digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from optimizer.cell_tables import REASONS
from optimizer.report.words import label

if TYPE_CHECKING:
    from optimizer.whatif import WhatIf

MAX_POINTS = 760  # a month of hours; longer horizons are drawn in steps of several hours
MAX_NUMBERS = 400_000  # numbers of the workload charts, about 2.5 MB of text
MAX_ROWS = 12  # rows whose time charts are in the page; the table has them all
_SPLIT = ("used_usd", "requested_unused_usd", "idle_usd")


def chart_data(result: WhatIf) -> dict[str, Any]:
    """Everything that the page's script draws. Each row's first seed; times are epoch milliseconds."""
    lines: list[Any] = list(result.table.itertuples())
    drawn = lines[:MAX_ROWS]
    seed = {line.row: cell_seed for line, cell_seed in zip(lines, [result.about.seeds[0]] * len(lines), strict=True)}
    hourly = result.hourly[result.hourly["seed"] == result.about.seeds[0]]
    step = _step(hourly, drawn)
    return {
        "stepHours": step,
        "rows": [_row(result, line, seed[line.row], step) for line in drawn],
        "workloads": _names(result, len(drawn), step),
        "scatter": [
            {
                "label": label(line),
                "usd": _short(line.usd_per_30_days),
                "bad": _short(1e6 * (1.0 - line.good_ratio)),
                "slos": f"{line.slos_met} of {line.slos} SLOs met",
            }
            for line in lines
        ],
    }


def _step(hourly: pd.DataFrame, drawn: list[Any]) -> int:
    longest = max(int((hourly["row"] == line.row).sum()) for line in drawn)
    return -(-longest // MAX_POINTS)


def _names(result: WhatIf, rows: int, step: int) -> list[str]:
    """Workloads that are drawn: as many as the page has room for, worst SLO first in the list."""
    names = list(dict.fromkeys(result.workload_hours["workload"]))
    hours = result.workload_hours.groupby("row")["hour"].nunique().max() if names else 0
    room = max(1, int(MAX_NUMBERS / max(1, 3 * rows * hours / step)))
    left = result.workloads[result.workloads["workload"].isin(names)].groupby("workload")["budget_left"].min()
    return list(left.sort_values(kind="stable").index[:room])


def _row(result: WhatIf, line: Any, seed: int, step: int) -> dict[str, Any]:
    def of(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame["row"] == line.row) & (frame["seed"] == seed)]

    hours = of(result.hourly)
    pools = of(result.pool_hours)
    types = of(result.type_hours)
    own = result.workload_hours[result.workload_hours["row"] == line.row]
    names = _names(result, min(len(result.table), MAX_ROWS), step)
    length = hours.set_index("hour")["hours"]
    return {
        "label": label(line),
        "time": [int(t.timestamp() * 1000) for t in hours["time"].iloc[::step]],
        "pools": {
            str(name): _means(part["usd"].to_numpy() / length.loc[part["hour"]].to_numpy(), step)
            for name, part in pools.groupby("pool", observed=True, sort=False)
        },
        "types": {
            str(name): _means(part["nodes"].to_numpy(), step)
            for name, part in types.groupby("instance_type", observed=True, sort=False)
            if part["nodes"].sum() > 0
        },
        "workloads": {name: _workload(own[own["workload"] == name], length, step) for name in names},
    }


def _workload(part: pd.DataFrame, length: pd.Series[float], step: int) -> dict[str, list[float]]:
    seconds = 3600.0 * length.loc[part["hour"]].to_numpy()
    bad = part[[f"bad_{reason}" for reason in REASONS]].sum(axis=1).to_numpy()
    return {
        "load": _means(part["offered"].to_numpy() / seconds, step),
        "capacity": _means(part["capacity_rps"].to_numpy(), step),
        "bad": _means(bad / seconds, step),
    }


def _means(values: Any, step: int) -> list[float]:
    """Means over `step` values, with four digits that count."""
    array = np.asarray(values, dtype=float)
    if step > 1:
        starts = np.arange(0, array.size, step)
        array = np.add.reduceat(array, starts) / np.diff(np.append(starts, array.size))
    return [_short(value) for value in array]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
