"""The comparison on the terminal: one table of policies, one of pairs at equal SLO, per source, and what to know."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optimizer.evaluate import Evaluation
from optimizer.evaluate_results import OVERALL, View
from optimizer.evaluate_statistics import Estimate
from optimizer.whatif_words import percent, ratio, usd

TITLES = {"cluster": "small clusters", "alone": "each service alone"}
SHOWN_NOTES = 12
WIDTH = 170  # where no terminal says otherwise


def print_result(result: Evaluation, *, console: Console | None = None) -> None:
    """Tables to stdout."""
    out = console or Console()
    if not out.is_terminal:
        out.width = max(out.width, WIDTH)
    cases = result.plan.cases
    days = sum(case.judged_days for case in cases.cases)
    out.print(
        f"{cases.name} ({cases.digest}): {len(cases.cases)} cases, {days:,.4g} judged days, {result.seeds} seed(s)"
    )
    for kind, view in result.views.items():
        out.print()
        out.print(policy_table(result, view, TITLES[kind]))
        if result.pairs:
            out.print(pair_table(result, view, TITLES[kind]))
    _print_notes(result, out)


def policy_table(result: Evaluation, view: View, title: str) -> Table:
    """Per source: what each policy costs and keeps at its own setting."""
    table = Table(
        title=f"Policies at their own settings, {title}", title_justify="left", show_edge=False, pad_edge=False
    )
    has_bound = any(math.isfinite(t.above_bound.value) for per in view.policies.values() for t in per.values())
    for name in ("Source", "Policy"):
        table.add_column(name)
    columns = [
        "Nodes $/day",
        "Replicas $/day",
        "Cost index",
        "Good",
        "SLOs met",
        "w=100",
        "w=1000",
        "Replica changes/day",
    ]
    for name in [*columns, "ms/decision", *(["Above bound"] if has_bound else [])]:
        table.add_column(name, justify="right")
    for source, policies in view.policies.items():
        for i, (policy, t) in enumerate(policies.items()):
            mark = _mark(result, policy, source)
            cells = [
                usd(t.node_usd),
                usd(t.workload_usd),
                _plain(t.cost_index),
                ratio(t.good_ratio.value),
                f"{t.slos_met}/{t.slos}",
                f"{t.weighted[100.0].value:.3f}",
                f"{t.weighted[1000.0].value:.3f}",
                f"{t.churn['replica_changes']:,.0f}",
                "—" if math.isnan(t.decision_ms) else f"{t.decision_ms:,.3g}",
            ]
            cells += [percent(t.above_bound.value)] if has_bound else []
            table.add_row(
                Text(source if i == 0 else ""), Text(policy + mark), *cells, end_section=i == len(policies) - 1
            )
    return table


def pair_table(result: Evaluation, view: View, title: str) -> Table:
    """The last policy against each of the others: relative differences, below 0 it is cheaper."""
    ours = list(result.plan.policies)[-1]
    table = Table(
        title=f"{ours} against each, {title}: below 0 it is cheaper",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for name in ("Source", "Against"):
        table.add_column(name)
    for name in (
        "Equal SLO",
        "of replicas",
        "hindsight per trace",
        "Attained",
        "Point",
        "w=100",
        "w=1000",
        "P(better), w=100",
    ):
        table.add_column(name, justify="right")
    for source, pairs in view.pairs.items():
        rows = [(theirs, a) for (mine, theirs), a in pairs.items() if mine == ours]
        for i, (theirs, a) in enumerate(rows):
            table.add_row(
                Text(source if i == 0 else ""),
                Text(theirs),
                difference(a.equal_slo),
                signed(a.equal_slo_replicas.value),
                f"{difference(a.hindsight)} ({a.hindsight_traces})",
                difference(a.attained),
                signed(a.point),
                difference(a.weighted[100.0]),
                difference(a.weighted[1000.0]),
                percent(a.improved[100.0].value, 0),
                end_section=i == len(rows) - 1,
            )
    return table


def difference(found: Estimate) -> str:
    """−7.1 % [−9.0, −5.2]."""
    if not math.isfinite(found.value):
        return "no overlap"
    text = signed(found.value)
    if math.isfinite(found.low):
        text += f" [{100 * found.low:+.1f}, {100 * found.high:+.1f}]".replace("-", "−")
    return text


def signed(value: float) -> str:
    """A share with its sign; a dash for none."""
    return f"{100 * value:+.1f} %".replace("-", "−") if math.isfinite(value) else "—"


def _plain(found: Estimate) -> str:
    text = f"{found.value:.3f}"
    return text + (f" [{found.low:.2f}, {found.high:.2f}]" if math.isfinite(found.low) else "")


def _mark(result: Evaluation, policy: str, source: str) -> str:
    """† trained on this source (or on one of those in the sum), ‡ sized by hindsight."""
    known = result.seen[policy]
    mark = " †" if known and (source in known or source == OVERALL) else ""
    return mark + (" ‡" if policy in result.hindsight else "")


def _print_notes(result: Evaluation, out: Console) -> None:
    lines = list(result.plan.cases.notes)
    if any(result.seen.values()):
        lines.append("† tuned or trained on load of this source: its figures there are not those of unseen load")
    if result.hindsight:
        lines.append("‡ its definition looks at the whole load (a quantile of it): nobody could have run it")
    ours = list(result.plan.policies)[-1]
    for view in result.views.values():
        for source, pairs in view.pairs.items():
            lines += [
                f"{source}: {ours} against {b}, {m}"
                for (a, b), found in pairs.items()
                if a == ours
                for m in found.missing
            ]
    out.print()
    for line in lines[:SHOWN_NOTES]:
        out.print(Text(line, style="dim"))
    if len(lines) > SHOWN_NOTES:
        out.print(Text(f"and {len(lines) - SHOWN_NOTES} more such lines in the JSON", style="dim"))
