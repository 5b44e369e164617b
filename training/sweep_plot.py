"""The picture of a sweep: every member's reward as it trains, and what validation said. One file, no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.interquartile import interquartile_mean
from training.sweep_results import Found, Setting, curve_of

COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be123c", "#4d7c0f", "#7e22ce", "#0369a1", "#a16207", "#57534e", "#db2777")
SMOOTH = 9  # updates of a moving mean: single updates are noise


def page(title: str, found: Sequence[Found], settings: Sequence[Setting]) -> str:
    """The page as text."""
    from plotly.subplots import make_subplots

    titles = ("Reward while training (0 = the tuned base)", "Validation: log(cost / base), below 0 is cheaper")
    figure = make_subplots(1, 2, column_widths=[0.6, 0.4], subplot_titles=titles, horizontal_spacing=0.08)
    for i, setting in enumerate(settings):
        group = [one for one in found if one.member.setting == setting.name]
        colour = COLOURS[i % len(COLOURS)]
        _curves(figure, setting.name, group, colour)
        _judged(figure, len(settings) - i, setting, group, colour)
    ticks = {"tickvals": list(range(len(settings), 0, -1)), "ticktext": [_short(s.name) for s in settings]}
    figure.update_yaxes(row=1, col=2, range=[0.4, len(settings) + 0.6], automargin=True, **ticks)
    figure.update_xaxes(row=1, col=2, zeroline=True, zerolinecolor="#111", zerolinewidth=1)
    figure.update_xaxes(row=1, col=1, title="rows")
    figure.update_layout(
        title={"text": title, "x": 0.01},
        template="plotly_white",
        legend={"orientation": "h", "y": -0.18},
        margin={"l": 60, "r": 30, "t": 80, "b": 90},
        height=560,
    )
    return str(figure.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False}))


def _curves(figure: Any, name: str, group: Sequence[Found], colour: str) -> None:
    """Thin: members. Thick: their interquartile mean, where all of them have points."""
    curves = [curve_of(one.member) for one in group]
    for one, (rows, reward) in zip(group, curves, strict=True):
        if len(rows):
            line = {"color": colour, "width": 1}
            _line(figure, rows, smooth(reward), one.member.label, line=line, opacity=0.35, showlegend=False)
    whole = [c for c in curves if len(c[0])]
    shortest = min((len(rows) for rows, _ in whole), default=0)
    if shortest:
        stacked = np.stack([smooth(reward)[:shortest] for _, reward in whole], axis=1)
        middle = interquartile_mean(stacked)
        _line(figure, whole[0][0][:shortest], middle, name, line={"color": colour, "width": 3}, opacity=1.0)


def _line(figure: Any, x: Any, y: Any, name: str, **style: Any) -> None:
    figure.add_scatter(x=list(x), y=[round(float(v), 6) for v in y], name=name, mode="lines", row=1, col=1, **style)


def _judged(figure: Any, height: int, setting: Setting, group: Sequence[Found], colour: str) -> None:
    """A dot a seed, and the interquartile mean with its interval."""
    done = [one for one in group if one.done]
    figure.add_scatter(
        x=[one.log_ratio for one in done],
        y=[height - 0.12] * len(done),
        text=[one.member.label for one in done],
        mode="markers",
        marker={"color": colour, "opacity": 0.5},
        showlegend=False,
        hovertemplate="%{text}: %{x:.4f}<extra></extra>",
        row=1,
        col=2,
    )
    value, low, high = setting.log_ratio
    if not np.isfinite(value):
        return
    known = np.isfinite(low) and np.isfinite(high)
    bars = {"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low]} if known else None
    figure.add_scatter(
        x=[value],
        y=[height + 0.12],
        error_x=bars,
        mode="markers",
        marker={"color": colour, "symbol": "diamond", "size": 11},
        showlegend=False,
        hovertemplate=f"interquartile mean of {setting.finished} seeds: %{{x:.4f}}<extra></extra>",
        row=1,
        col=2,
    )


def smooth(values: Any) -> Any:
    """Moving mean over the last updates, shorter at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    upto = np.arange(1, len(values) + 1)
    back = np.maximum(upto - SMOOTH, 0)
    return (sums[upto] - sums[back]) / (upto - back)


def _short(name: str) -> str:
    """Settings below each other, without the sections that they are in."""
    parts = [part.partition("=") for part in name.split(", ")]
    return "<br>".join(path.rsplit(".", 1)[-1] + equals + value for path, equals, value in parts)
