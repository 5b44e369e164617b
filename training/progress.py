"""A training run on stderr: rows, rows per second, time left, and the reward as it grows. Lines when not a terminal."""

from __future__ import annotations

from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SHOWN = "rollout/reward"  # of an update: 0 is the tuned base, above is better
LINES = 20  # of a run that no terminal watches


class TrainBar:
    """Call it with the numbers of an update and the rows so far; use it as a context manager."""

    def __init__(self, stream: TextIO, rows: int) -> None:
        self._rows, self._terminal, self._lines = rows, stream.isatty(), 0
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left  {task.fields[curve]}"),
            console=self._console,
            transient=True,
            speed_estimate_period=60.0,
            disable=not self._terminal,
        )
        self._task = self._bar.add_task("", total=rows, speed="compiling or loading", curve="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, seen: dict[str, float], rows: int) -> None:
        speed, curve = f"{seen.get('time/rows_per_s', 0.0):,.0f} rows/s", self._words(seen)
        self._bar.update(self._task, completed=min(rows, self._rows), speed=speed, curve=curve)
        if not self._terminal and rows * LINES >= self._rows * (self._lines + 1):
            self._lines = rows * LINES // self._rows
            self.say(f"{min(rows, self._rows):,} of {self._rows:,} rows, {speed}, {curve}")

    def _words(self, seen: dict[str, float]) -> str:
        return f"reward {seen[SHOWN]:+.4f}" if SHOWN in seen else ""

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._console.print(line)
