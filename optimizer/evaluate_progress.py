"""A progress bar on stderr: simulated days of all runs, and whose run ended last. Quiet when not a terminal."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """Call it with (done, all, what); use it as a context manager."""

    def __init__(self, stream: TextIO) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(file=stream),
            transient=True,
            speed_estimate_period=60.0,
            disable=not stream.isatty(),
        )
        self._task = self._bar.add_task("reading load", total=None)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, done: float, total: float, what: str) -> None:
        said = "lower bounds, cases" if what == "lower bound" else f"simulated days{f' ({what})' if what else ''}"
        self._bar.update(self._task, completed=done, total=total, description=said)

    def stop(self) -> None:
        self._bar.stop()
