"""A progress bar of a search on stderr: trials, trials per second, time left. Quiet when not a terminal."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _TrialsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("compiling or loading" if speed is None else f"{speed:,.2f} trials/s")


class TrialBar:
    """Call it with the number of trials done in this run; use it as a context manager."""

    def __init__(self, stream: TextIO, total: int, before: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} trials"),
            _TrialsPerSecond(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(file=stream),
            transient=True,
            speed_estimate_period=60.0,
            disable=not stream.isatty(),
        )
        self._before = before
        self._task = self._bar.add_task("tuning", total=total, completed=before)

    def __enter__(self) -> TrialBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, done: float) -> None:
        self._bar.update(self._task, completed=self._before + done)

    def stop(self) -> None:
        self._bar.stop()
