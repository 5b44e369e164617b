"""Tables of a what-if, put together from its finished cells in the order of the grid.

A row of the grid is averaged over its seeds. Money is USD over the horizon unless a name says
otherwise; shares are 0-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from envs.timeline import CHURN
from optimizer.cell_run import epoch_s
from optimizer.cell_store import CellStore
from optimizer.cell_tables import REASONS, WORST_HOURS, judge
from optimizer.grid import Cell, Row
from optimizer.statistics import saving_interval, saving_share

IDLE = "(idle)"
DISCOUNT, UNUSED = "(commitment discount)", "(commitment unused)"
COMMITMENT = ("list_usd", "commitment_saved_usd", "commitment_used_usd", "commitment_wasted_usd")
NO_TEAM = "(no team)"
DETAIL_WORKLOADS = 24  # workloads whose hours the report draws
_KEYS = ["row", "stack", "variation"]


def stacked(store: CellStore, cells: Sequence[Cell], table: str) -> pd.DataFrame:
    """One table of every cell, one under the other, with row, stack, variation, seed (and time) in front."""
    return pd.concat([_tagged(cell, store.read(cell, table)) for cell in cells], ignore_index=True)


def _tagged(cell: Cell, frame: pd.DataFrame) -> pd.DataFrame:
    row = cell.row
    head: dict[str, object] = {
        "row": row.index,
        "stack": row.stack.name,
        "variation": row.variation,
        "seed": cell.seed,
    }
    if "hour" in frame:
        start = epoch_s(row.scenario.start_utc)
        head["time"] = pd.to_datetime(frame["hour"] * 3600 + start, unit="s", utc=True)
    return pd.concat([pd.DataFrame(head, index=frame.index), frame], axis=1)


def workload_table(per_seed: pd.DataFrame) -> pd.DataFrame:
    """Workloads of each row, averaged over seeds; an SLO is met when it is met in most of the seeds."""
    keys = [*_KEYS, "workload", "namespace", "team", "kind", "slo_target"]
    grouped = per_seed.groupby(keys, sort=False, observed=True)
    frame = grouped[[c for c in per_seed.columns if c not in {*keys, "seed", "slo_met"}]].mean().reset_index()
    met = grouped["slo_met"].mean().to_numpy()
    frame = judge(frame)
    frame["seeds_met"] = met
    frame["slo_met"] = met > 0.5
    return frame


def summary_table(rows: Sequence[Row], hourly: pd.DataFrame, workloads: pd.DataFrame) -> pd.DataFrame:
    """The table of the command line: one line per row of the grid (columns: docs/guides/whatif.md)."""
    lines = [_summary_line(row, hourly[hourly["row"] == row.index], workloads) for row in rows]
    frame = pd.DataFrame(lines)
    daily = daily_costs(hourly)
    savings = [_saving(daily, row.index) for row in rows]
    return pd.concat([frame, pd.DataFrame(savings)], axis=1)


def _summary_line(row: Row, hours: pd.DataFrame, workloads: pd.DataFrame) -> dict[str, object]:
    seeds = hours["seed"].nunique()
    length_h = float(hours["hours"].sum()) / seeds
    total = float(hours[["good", *(f"bad_{reason}" for reason in REASONS)]].to_numpy().sum()) / seeds
    good = float(hours["good"].sum()) / seeds
    usd = float(hours["usd"].sum()) / seeds
    own = workloads[workloads["row"] == row.index]
    weight = hours["hours"]
    allocatable = float((hours["cpu_allocatable"] * weight).sum())
    return {
        "row": row.index,
        "stack": row.stack.name,
        "variation": row.variation,
        "seeds": seeds,
        "days": length_h / 24.0,
        "cost_usd": usd,
        **{name: float(hours[name].sum()) / seeds for name in COMMITMENT},
        "usd_per_30_days": usd / length_h * 720.0,
        "requests": total,
        "usd_per_million_requests": usd / total * 1e6 if total > 0 else float("nan"),
        "good_ratio": good / total if total > 0 else 1.0,
        "slos_met": int(own["slo_met"].sum()),
        "slos": len(own),
        "node_hours": float((hours["nodes"] * weight).sum()) / seeds,
        "cpu_utilization": float((hours["cpu_used"] * weight).sum()) / allocatable if allocatable else float("nan"),
        "cpu_requested_share": float((hours["cpu_requested"] * weight).sum()) / allocatable
        if allocatable
        else float("nan"),
        **{f"{name}_per_h": float(hours[name].sum()) / seeds / length_h for name in CHURN[:5]},
        **{name: float(hours[name].sum()) / seeds for name in CHURN[5:]},
    }


def daily_costs(hourly: pd.DataFrame) -> pd.DataFrame:
    """Cost of each (row, seed, day) and the `hours` that the day has: the units that the bootstrap draws."""
    day = hourly.assign(day=hourly["hour"] // 24)
    return day.groupby(["row", "seed", "day"], sort=True)[["usd", "hours"]].sum().reset_index()


def _saving(daily: pd.DataFrame, row: int, base: int = 0) -> dict[str, float]:
    """Saving of a row against the base row on the days that both have."""
    mine = daily[daily["row"] == row].set_index(["seed", "day"])["usd"]
    theirs = daily[daily["row"] == base].set_index(["seed", "day"])["usd"]
    both = theirs.index.intersection(mine.index)
    first, other = theirs.loc[both].to_numpy(float), mine.loc[both].to_numpy(float)
    if row == base:
        return dict.fromkeys(("saving_usd", "saving_share", "saving_low", "saving_high"), 0.0)
    seeds = both.get_level_values("seed").to_numpy(dtype=np.int64)
    interval = saving_interval(first, other, seeds)
    saved = float(first.sum() - other.sum()) / max(len(np.unique(seeds)), 1)
    return {
        "saving_usd": saved,
        "saving_share": saving_share(first, other),
        "saving_low": interval.low,
        "saving_high": interval.high,
    }


def cost_by(label: str, workloads: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Cost of each row by namespace or team: the share of nodes that its pods used or asked for.

    The line `(idle)` is what nobody used or asked for, so that each row adds up to its cost.
    """
    named = workloads.copy()
    named[label] = named[label].replace("", NO_TEAM)
    parts = named.groupby([*_KEYS, label], sort=False)["workload_usd"].sum().reset_index(name="usd")
    allocated = parts.groupby("row")["usd"].sum()
    idle = table[_KEYS].copy()
    idle[label] = IDLE
    idle["usd"] = table["list_usd"] - table["row"].map(allocated).fillna(0.0)
    parts = parts.sort_values(["row", "usd"], ascending=[True, False], kind="stable")
    lines = pd.concat([parts, idle, _commitment_lines(label, table)])
    return _with_share(lines.sort_values("row", kind="stable"), table)


def _commitment_lines(label: str, table: pd.DataFrame) -> pd.DataFrame:
    """What a committed use took off the list price and what of it was paid unused; no line without one."""
    found = table[table["commitment_used_usd"] + table["commitment_wasted_usd"] > 0]
    lines = []
    for name, sign, column in ((DISCOUNT, -1.0, "commitment_saved_usd"), (UNUSED, 1.0, "commitment_wasted_usd")):
        line = found[_KEYS].copy()
        line[label] = name
        line["usd"] = sign * found[column]
        lines.append(line)
    return pd.concat(lines)


def cost_by_pool(pool_hours: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Cost of each row by pool, and how much of it was used, requested but unused, and idle."""
    seeds = pool_hours.groupby("row")["seed"].nunique()
    columns = ["usd", "used_usd", "requested_unused_usd", "idle_usd"]
    grouped = pool_hours.groupby([*_KEYS, "pool"], sort=False, observed=True)
    frame = grouped[columns].sum()
    frame["mean_nodes"] = grouped["nodes"].mean()
    frame = frame.reset_index()
    frame[columns] = frame[columns].div(frame["row"].map(seeds), axis=0)
    lines = pd.concat([frame, _commitment_lines("pool", table)]).fillna(0.0)
    return _with_share(lines.sort_values("row", kind="stable"), table)


def _with_share(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    cost = frame["row"].map(table.set_index("row")["cost_usd"])
    return frame.assign(share=(frame["usd"] / cost).where(cost > 0, 0.0)).reset_index(drop=True)


def worst_hours_table(per_cell: pd.DataFrame) -> pd.DataFrame:
    """The ten worst hours of each row, worst first, ranked from 1; of an hour, its worst seed."""
    ordered = per_cell.sort_values(["row", "bad"], ascending=[True, False], kind="stable")
    ordered = ordered.drop_duplicates(["row", "hour"])
    top = ordered.groupby("row", sort=False).head(WORST_HOURS).reset_index(drop=True)
    top.insert(4, "rank", top.groupby("row").cumcount() + 1)
    return top


def detail_workloads(workloads: pd.DataFrame, count: int = DETAIL_WORKLOADS) -> list[str]:
    """Workloads worth drawing: those that broke their SLO most, then the dearest; in cluster order."""
    by_name = workloads.groupby("workload", sort=False).agg({"budget_left": "min", "workload_usd": "max"})
    broken = by_name[by_name["budget_left"] < 0].sort_values("budget_left", kind="stable").index[:count]
    dear = by_name.sort_values("workload_usd", ascending=False, kind="stable").index
    chosen = set(list(dict.fromkeys([*broken, *dear]))[:count])
    return [name for name in by_name.index if name in chosen]


def workload_hours(store: CellStore, cells: Iterable[Cell], names: Sequence[str]) -> pd.DataFrame:
    """Hours of the named workloads in each row's first seed."""
    frames = []
    for cell in cells:
        frame = store.read(cell, "workload_hours")
        frame = frame[frame["workload"].isin(list(names))].reset_index(drop=True)
        frames.append(_tagged(cell, frame.astype({"workload": "object"})))
    return pd.concat(frames, ignore_index=True)
