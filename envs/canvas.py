"""A picture of an episode: load against capacity, nodes, dollars; as an array or on the terminal."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, PANEL, LEFT = 640, 400, 118, 96
PAPER, INK, GRID = (255, 255, 255), (40, 44, 52), (222, 226, 230)
COLOURS = {"load": (31, 119, 180), "capacity": (148, 163, 184), "nodes": (44, 160, 44), "usd": (214, 96, 77)}
PANELS = (("requests/s", ("load", "capacity")), ("nodes", ("nodes",)), ("USD / period", ("usd",)))
BARS = " ▁▂▃▄▅▆▇█"
KEPT = 1440


class Film:
    """Frames of an episode, the last KEPT of them."""

    def __init__(self) -> None:
        self.frames: list[dict[str, float]] = []

    def add(self, frame: dict[str, float]) -> None:
        """load and capacity in requests/s, nodes, usd of the period."""
        self.frames = [*self.frames[-KEPT + 1 :], frame]

    def series(self, name: str) -> NDArray[np.float64]:
        """One number of every frame."""
        return np.array([frame.get(name, 0.0) for frame in self.frames], np.float64)

    def picture(self) -> NDArray[np.uint8]:
        """(HEIGHT, WIDTH, 3) RGB."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        draw = ImageDraw.Draw(image)
        for i, (title, names) in enumerate(PANELS):
            self._panel(draw, 12 + i * (PANEL + 12), title, names)
        return np.asarray(image, np.uint8)

    def _panel(self, draw: Any, top: int, title: str, names: tuple[str, ...]) -> None:
        """One strip with its title, its largest value and its lines."""
        rows = {name: self.series(name) for name in names}
        most = max((float(r.max()) for r in rows.values() if len(r)), default=0.0) or 1.0
        draw.rectangle((LEFT, top, WIDTH - 12, top + PANEL), outline=GRID)
        draw.text((8, top + 2), title, fill=INK)
        draw.text((8, top + 16), f"max {most:,.4g}", fill=INK)
        for k, (name, row) in enumerate(rows.items()):
            if len(names) > 1:
                draw.text((8, top + 36 + 14 * k), name, fill=COLOURS[name])
            if len(row):
                draw.line(_points(row, most, top), fill=COLOURS[name], width=2)

    def show(self) -> None:
        """The last minutes as bars on the terminal, rewritten in place."""
        if not self.frames:
            return
        rows = []
        for name in ("load", "capacity", "nodes", "usd"):
            row = self.series(name)[-60:]
            level = np.rint(row / (row.max() or 1.0) * (len(BARS) - 1)).astype(int)
            rows.append(f"{name:>9} {''.join(BARS[k] for k in level)} {row[-1]:,.4g}")
        back = f"\x1b[{len(rows)}A" if len(self.frames) > 1 and sys.stdout.isatty() else ""
        print(back + "\n".join(f"\x1b[2K{r}" if back else r for r in rows), flush=True)


def _points(row: NDArray[np.float64], most: float, top: int) -> list[tuple[float, float]]:
    across = np.linspace(LEFT + 2, WIDTH - 14, max(len(row), 2))
    down = top + PANEL - 2 - np.clip(row / most, 0.0, 1.0) * (PANEL - 6)
    if len(row) == 1:
        down = np.repeat(down, 2)
    return list(zip(across.tolist(), down.tolist(), strict=True))
