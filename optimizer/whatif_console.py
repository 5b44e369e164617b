"""The result in a terminal: the comparison, then where the cost lies. Fits 120 columns and shrinks to 60."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optimizer.whatif_words import more, more_usd, names, percent, ratio, saving, usd

if TYPE_CHECKING:
    import pandas as pd

    from optimizer.whatif import WhatIf

RESILIENCE_KEY = "bad requests and dollars beyond the same stack and seed without faults, to an hour after each"
MAX_PARTS = 8  # namespaces, teams or pools that are listed one by one


@dataclass(frozen=True)
class _Column:
    title: str
    text: Callable[[Any], str]
    least_width: int = 0  # terminals narrower than this do without it
    needs: str = "row"  # the column of the table that it shows


COLUMNS = (
    _Column("cost", lambda r: usd(r.cost_usd)),
    _Column("saving [95 %]", lambda r: "—" if r.row == 0 else saving(r.saving_share, r.saving_low, r.saving_high)),
    _Column("above bound", lambda r: percent(r.above_bound), 0, "above_bound"),
    _Column("good", lambda r: ratio(r.good_ratio)),
    _Column("SLOs", lambda r: f"{r.slos_met}/{r.slos}"),
    _Column("$/M req", lambda r: usd(r.usd_per_million_requests), 84),
    _Column("CPU used", lambda r: percent(r.cpu_utilization, 0), 94),
    _Column("node-h", lambda r: f"{r.node_hours:,.0f}", 104),
    _Column("pods/h", lambda r: f"{r.pods_started_per_h:,.1f}", 112),
    _Column("nodes/h", lambda r: f"{r.nodes_added_per_h:,.1f}", 120),
)
ERROR = "error: "  # starts a note that says that the program is wrong
KEY = (
    "good: requests answered in time. SLOs: workloads that met theirs. CPU used: of what nodes can allocate. "
    "pods/h, nodes/h: started an hour. saving: against the first row, 95 % interval over days and seeds."
)


def print_result(result: WhatIf, console: Console | None = None) -> None:
    """Print everything that belongs on a screen; the rest is in the report."""
    console = console or Console(highlight=False)
    _print_comparison(result, console)
    for title, frame in (
        ("namespace", result.by_namespace),
        ("team", result.by_team),
        ("pool", result.by_pool),
    ):
        console.print()
        console.print(parts_table(frame, title, result.table, console.width))
    if len(result.resilience):
        console.print()
        console.print(resilience_table(result.resilience, result.table, console.width))
        console.print(Text(RESILIENCE_KEY, style="dim"))
    _print_notes(result, console)


def _print_comparison(result: WhatIf, console: Console) -> None:
    about = result.about
    seeds = f", {len(about.seeds)} seeds (means)" if len(about.seeds) > 1 else ""
    console.print(Text(f"{about.scenario.name}: {about.days:g} days{seeds}", style="bold"))
    console.print(comparison_table(result.table, console.width))
    console.print(Text(KEY, style="dim"))
    if "above_bound" in result.table:
        console.print(Text(bound_key(result.table), style="dim"))


def bound_key(table: pd.DataFrame) -> str:
    """What the bound says, in a sentence; at the objectives it is the same for all stacks of a scenario."""
    text = "above bound: the cost over the least that any policy could have paid for the same service, all known ahead"
    at_slo = table["bound_at_slo_usd"]
    return f"{text}; to just meet every SLO: {usd(at_slo.iloc[0])}." if at_slo.nunique() == 1 else f"{text}."


def comparison_table(table: pd.DataFrame, width: int) -> Table:
    """One line per row of the grid, with the columns that the width has room for."""
    shown = [column for column in COLUMNS if width >= column.least_width and column.needs in table]
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    out.add_column("stack", overflow="fold", min_width=12)
    if table["variation"].any():
        out.add_column("variation", overflow="fold", min_width=10)
    for column in shown:
        out.add_column(column.title, justify="right", no_wrap=width >= 70)
    for row in table.itertuples():
        head = [Text(str(row.stack)), *([Text(str(row.variation))] if table["variation"].any() else [])]
        out.add_row(*head, *[Text(column.text(row)) for column in shown])
    return out


def resilience_table(frame: pd.DataFrame, table: pd.DataFrame, width: int) -> Table:
    """Bad requests beyond a run without faults, and dollars: one column per row of the grid, as many as fit."""
    rows = table.head(max(1, (width - 22) // 20))
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    out.add_column("fault", overflow="fold", min_width=12)
    for row in rows.itertuples():
        name = " · ".join(str(part) for part in (row.stack, row.variation) if part)
        out.add_column(Text(name), justify="right", overflow="fold")
    cost = {(line.row, line.fault): line for line in frame.itertuples()}
    for name in dict.fromkeys(frame["fault"]):
        lines: list[Any] = [cost.get((row, name)) for row in rows["row"]]
        texts = ["—" if line is None else f"{more(line.extra_bad)} {more_usd(line.extra_usd)}" for line in lines]
        out.add_row(Text(str(name)), *[Text(text) for text in texts])
    return out


def parts_table(frame: pd.DataFrame, label: str, table: pd.DataFrame, width: int) -> Table:
    """USD by namespace, team or pool: one column per row of the grid, as many as fit."""
    rows = table.head(max(1, (width - 22) // 16))
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    out.add_column(f"cost by {label}", overflow="fold", min_width=12)
    for row in rows.itertuples():
        name = " · ".join(str(part) for part in (row.stack, row.variation) if part)
        out.add_column(Text(name), justify="right", overflow="fold")
    usd_of = frame.pivot_table(index=label, columns="row", values="usd", sort=False, observed=True).fillna(0.0)
    last = usd_of.index.str.startswith("(idle")
    ordered = [*usd_of.index[~last], *usd_of.index[last]]
    listed, rest = (ordered, []) if len(ordered) <= MAX_PARTS else (ordered[: MAX_PARTS - 2], ordered[MAX_PARTS - 2 :])
    if len(rest) > 1 and last.any():
        listed, rest = [*listed, ordered[-1]], rest[:-1]
    for name in listed:
        out.add_row(Text(str(name)), *[usd(float(usd_of.loc[name, row])) for row in rows["row"]])
    if rest:
        sums = usd_of.loc[rest].sum()
        out.add_row(Text(f"({len(rest)} more)"), *[usd(float(sums[row])) for row in rows["row"]])
    return out


def _print_notes(result: WhatIf, console: Console) -> None:
    about = result.about
    lines = [note if note.startswith(ERROR) else f"note: {note}" for note in about.notes]
    unreachable = dict.fromkeys(name for found in about.unreachable_slos.values() for name in found)
    if unreachable:
        lines.append(f"no number of replicas meets the SLO of: {names(list(unreachable))}")
    unschedulable = dict.fromkeys(name for found in about.unschedulable.values() for name in found)
    if unschedulable:
        lines.append(f"pods that fit on no node of any pool: {names(list(unschedulable))}")
    broken = result.workloads[(result.workloads["row"] == 0) & ~result.workloads["slo_met"]]["workload"]
    if len(broken):
        lines.append(f"{result.table['stack'].iloc[0]} breaks the SLO of: {names(list(broken))}")
    if len(about.seeds) > 1:
        lines.append("an SLO counts as met when it is met in most of the seeds")
    console.print()
    for line in lines:
        console.print(Text(line, style="bold red" if line.startswith(ERROR) else "dim"))
