"""The evaluation's page: the frontier plot and the tables of each source. One file, no network."""

from __future__ import annotations

import math
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from optimizer import whatif_words
from optimizer.evaluate import Evaluation
from optimizer.evaluate_console import TITLES, difference, signed
from optimizer.evaluate_results import OVERALL, WEIGHTS, Totals, View
from optimizer.evaluate_statistics import Estimate
from optimizer.frontier import LEAST_BAD
from optimizer.report.report import json_block, plotly_js

LEVELS_SHOWN = (0.99, 0.995, 0.999)


def render(result: Evaluation, command: str = "") -> str:
    """The page as text. Equal results give equal bytes."""
    kinds, ours = list(result.views), list(result.plan.policies)[-1]
    views = [_view(result.views[kind], TITLES[kind], number, ours) for number, kind in enumerate(kinds)]
    cases = result.plan.cases
    return _environment().from_string(_own_file("evaluate.html")).render(
        name=cases.name,
        style=Markup(_own_file("style.css")),
        plotly=Markup(plotly_js()),
        data=Markup(json_block({str(i): _points(result.views[kind]) for i, kind in enumerate(kinds)})),
        views=views,
        ours=ours,
        weights=WEIGHTS,
        levels=LEVELS_SHOWN,
        headline=headline(result),
        lead=lead(result),
        setting=setting(result),
        notes=cases.notes,
        marks=lambda policy, source: _marks(result, policy, source),
        how=f"{f'Made by: {command}. ' if command else ''}Load {cases.digest}; trimtab {result.version}.",
    )  # fmt: skip


def headline(result: Evaluation) -> str:
    """What the last policy saves at equal SLO against the best of the others, in one sentence."""
    ours = list(result.plan.policies)[-1]
    pairs = next(iter(result.views.values())).pairs[OVERALL]
    known = {b: a.equal_slo for (mine, b), a in pairs.items() if mine == ours and math.isfinite(a.equal_slo.value)}
    if not known:
        return f"{ours} on {result.plan.cases.name}"
    strongest = max(known, key=lambda name: known[name].value)
    found = known[strongest]
    size = whatif_words.percent(abs(found.value))
    said = f"{ours} costs {size} {'less' if found.value < 0 else 'more'} than {strongest} at equal SLO"
    if math.isfinite(found.low) and found.low <= 0 <= found.high:
        return f"{said}, which may be chance"
    return said


def lead(result: Evaluation) -> str:
    """The same against all of them, with intervals."""
    ours = list(result.plan.policies)[-1]
    pairs = next(iter(result.views.values())).pairs[OVERALL]
    said = [f"{b} {difference(a.equal_slo)}" for (mine, b), a in pairs.items() if mine == ours]
    return f"At equal SLO against: {'; '.join(said)}." if said else ""


def setting(result: Evaluation) -> str:
    cases = result.plan.cases
    days = sum(case.judged_days for case in cases.cases)
    traces = len({case.unit for case in cases.cases})
    sources, seeds = len(cases.sources), result.seeds
    return (
        f"{traces} traces of {sources} source{'s' if sources != 1 else ''}, {seeds} seed{'s' if seeds != 1 else ''}, "
        f"{len(cases.cases)} cases, {days:,.4g} judged days."
    )


def _view(view: View, title: str, number: int, ours: str) -> dict[str, Any]:
    pairs = {s: {b: a for (mine, b), a in found.items() if mine == ours} for s, found in view.pairs.items()}
    has_bound = any(math.isfinite(t.above_bound.value) for per in view.policies.values() for t in per.values())
    return {
        "title": title, "number": number, "sources": list(view.policies), "policies": view.policies, "pairs": pairs,
        "has_bound": has_bound,
    }  # fmt: skip


def _points(view: View) -> list[dict[str, list[dict[str, Any]]]]:
    """Per source, in the order of the page: policy -> its settings, its own first."""
    return [{policy: _settings(t) for policy, t in per.items()} for per in view.policies.values()]


def _settings(totals: Totals) -> list[dict[str, Any]]:
    return [
        {
            "setting": p["setting"],
            "bad": max(p["bad_share"], LEAST_BAD),
            "cost": p["cost_index"],
            "on": p["on_frontier"],
        }
        for p in totals.frontier
    ]


def _marks(result: Evaluation, policy: str, source: str) -> list[str]:
    out = []
    if source in result.seen[policy] or (source == OVERALL and result.seen[policy]):
        out.append("trained on this source" if source != OVERALL else "trained on some of these sources")
    if policy in result.hindsight:
        out.append("looks at the whole load")
    return out


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "usd": whatif_words.usd,
        "ratio": whatif_words.ratio,
        "percent": whatif_words.percent,
        "target": whatif_words.target,
        "share": difference,
        "signed": signed,
        "figure": _figure,
        "number": lambda value: "—" if math.isnan(value) else f"{value:,.3g}",
    }
    return environment


def _figure(found: Estimate) -> str:
    text = f"{found.value:.3f}"
    return text + (f" [{found.low:.2f}, {found.high:.2f}]" if math.isfinite(found.low) else "")


def _own_file(name: str) -> str:
    return (files("optimizer.report") / name).read_text(encoding="utf-8")
