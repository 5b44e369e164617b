"""The plot of a search: cost against bad requests, every trial a dot, the Pareto front a line. One file, no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from optimizer.report.report import json_block, plotly_js
from optimizer.tune import Search, Trial, at_equal_slo, best_of, pareto
from optimizer.whatif_words import percent

LEAST_SHOWN = 1e-7  # a share of 0 has no place on a logarithmic axis


def render(search: Search, trials: Sequence[Trial], command: str) -> str:
    """The page as text. Equal trials give equal bytes."""
    best, start = best_of(search, trials), trials[0]
    rest = [trial for trial in trials if trial.number not in (0, best.number)]
    data = {
        "met": _points(search, [t for t in rest if t.missed == 0]),
        "missed": _points(search, [t for t in rest if t.missed > 0]),
        "front": _points(search, pareto(trials)),
        "start": _points(search, [start]),
        "best": _points(search, [best]),
    }
    page = (files("optimizer.report") / "tune.html").read_text(encoding="utf-8")
    return (
        Environment(autoescape=True)
        .from_string(page)
        .render(
            name=search.stack.name,
            suite=search.suite.name,
            trials=len(trials),
            story=story(search, trials),
            settings=[(s.path, _shown(start.values[s.path]), _shown(best.values[s.path])) for s in search.settings],
            how=f"Made by: {command}. Objective {search.objective}; suite {search.suite.digest}; seed {search.seed}.",
            plotly=Markup(plotly_js()),
            data=Markup(json_block(data)),
        )
    )


def story(search: Search, trials: Sequence[Trial]) -> str:
    """What the search found, in one sentence."""
    best, start = best_of(search, trials), trials[0]
    change = 1.0 - best.node_usd / max(start.node_usd, 1e-12)
    more = f"{percent(abs(change))} {'less' if change >= 0 else 'more'}"
    equal = at_equal_slo(trials)
    same = (
        f" At the bad share that it has as it is, the best trade-offs cost {percent(-equal)} less." if equal < 0 else ""
    )
    return (
        f"{search.stack.name} as it is costs ${start.node_usd:,.2f}, {percent(start.bad_share)} bad requests, "
        f"{start.missed} SLOs missed; the best setting (trial {best.number}) costs ${best.node_usd:,.2f} ({more}), "
        f"{percent(best.bad_share)} bad requests, {best.missed} SLOs missed.{same}"
    )


def _points(search: Search, trials: Sequence[Trial]) -> dict[str, list[Any]]:
    return {
        "cost": [trial.cost_index for trial in trials],
        "bad": [max(trial.bad_share, LEAST_SHOWN) for trial in trials],
        "text": [_hover(search, trial) for trial in trials],
    }


def _hover(search: Search, trial: Trial) -> str:
    lines = [f"trial {trial.number}: ${trial.node_usd:,.2f}, {trial.missed} SLOs missed"]
    lines += [f"{s.path.removeprefix('replicas.')}: {_shown(trial.values[s.path])}" for s in search.settings]
    return "<br>".join(line.replace("&", "&amp;").replace("<", "&lt;") for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value).replace('"', "")
    return "default" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)
