"""Overlaid plots of a recording and its simulation as small SVG files, written by hand: no plotting library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.control_plane.course import Array, Course

WIDTH, PANEL, LEFT, RIGHT, TOP = 860, 118, 46, 12, 34
REAL, MODEL, LOAD, INK, RULE = "#0b6e99", "#d9480f", "#e3e7ea", "#333b41", "#c6ccd1"
MOST_PANELS = 6


@dataclass(frozen=True)
class Panel:
    """One pair of lines; `load` (its own scale) is the grey area behind them."""

    title: str
    real: Array
    model: Array
    load: Array | None = None


def panels(real: Course, model: Course, names: list[str], load: Array, *, nodes: bool) -> list[Panel]:
    """Replicas of each workload, and the number of nodes where it changes."""
    found = [
        Panel(f"{name}: replicas", real.desired[:, w], model.desired[:, w], load[w, : len(real.time_s)])
        for w, name in enumerate(names[: MOST_PANELS - nodes])
    ]
    if nodes:
        found.append(Panel("nodes", real.nodes, model.nodes))
    return found


def svg(title: str, time_s: Array, shown: list[Panel]) -> str:
    """The whole drawing."""
    height = TOP + len(shown) * PANEL + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">',
        f"<title>{title}: real and simulated</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{title}</text>',
        *_legend(),
    ]
    for i, panel in enumerate(shown):
        parts += _panel(panel, time_s, TOP + i * PANEL, last=i + 1 == len(shown))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> Iterator[str]:
    for x, color, dash, text in ((520, REAL, "", "real"), (580, MODEL, "5 3", "simulated")):
        style = f'stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"'
        yield f'<line x1="{x}" y1="14" x2="{x + 22}" y2="14" {style}/>'
        yield f'<text x="{x + 27}" y="18">{text}</text>'
    yield f'<rect x="668" y="8" width="22" height="11" fill="{LOAD}"/><text x="695" y="18">load, own scale</text>'


def _panel(panel: Panel, time_s: Array, top: float, *, last: bool) -> Iterator[str]:
    high = max(float(max(panel.real.max(), panel.model.max())), 1.0) * 1.08
    bottom, inner = top + PANEL - 24, PANEL - 40
    end_s = float(time_s[-1] + (time_s[1] - time_s[0]))

    def x(at_s: float) -> float:
        return LEFT + at_s / end_s * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return bottom - value / high * inner

    yield f'<text x="{LEFT}" y="{top + 11:.0f}">{panel.title}</text>'
    if panel.load is not None and panel.load.max() > 0:
        tops = [
            f"{x(t):.1f},{bottom - v / panel.load.max() * inner:.1f}" for t, v in zip(time_s, panel.load, strict=True)
        ]
        yield f'<path d="M{LEFT},{bottom} L{" ".join(tops)} L{x(time_s[-1]):.1f},{bottom} Z" fill="{LOAD}"/>'
    for value in _round_values(high):
        at = y(value)
        yield f'<path d="M{LEFT},{at:.1f} H{WIDTH - RIGHT}" stroke="{RULE}" stroke-width="0.6"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>'
    for values, color, dash in ((panel.real, REAL, ""), (panel.model, MODEL, "5 3")):
        yield (
            f'<path d="{_steps(time_s, values, x, y, end_s)}" fill="none" stroke="{color}" stroke-width="1.8" '
            f'stroke-dasharray="{dash}"/>'
        )
    minutes = end_s / 60.0
    step = next(s for s in (1, 2, 5, 10, 20, 60, 1e9) if minutes / s <= 10)
    for m in np.arange(0, minutes + 1e-6, step):
        unit = " min" if last else ""
        yield f'<text x="{x(m * 60):.1f}" y="{bottom + 14:.0f}" text-anchor="middle">{m:g}{unit}</text>'


def _round_values(high: float) -> list[float]:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e9) if high / s <= 4)
    return [float(v) for v in np.arange(0, high, step)]


def _steps(time_s: Array, values: Array, x: object, y: object, end_s: float) -> str:
    """A staircase with one corner a change."""
    to_x, to_y = x, y
    assert callable(to_x)
    assert callable(to_y)
    parts = [f"M{to_x(0):.1f},{to_y(values[0]):.1f}"]
    for i in np.flatnonzero(np.abs(np.diff(values)) > 1e-9) + 1:
        parts.append(f"H{to_x(time_s[i]):.1f}V{to_y(values[i]):.1f}")
    return " ".join([*parts, f"H{to_x(end_s):.1f}"])
