"""A progress bar on stderr: cells, simulated days, days per second, time left. Quiet when not a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from optimizer.whatif import Step


class _DaysPerSecond(ProgressColumn):
    """Simulated days per second of wall-clock time, over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("compiling or loading" if speed is None else f"{speed:,.1f} days/s")


class ProgressBar:
    """Call it with a Step; use it as a context manager."""

    def __init__(self, stream: TextIO) -> None:
        self.cells_done = self.cells = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} simulated days"),
            _DaysPerSecond(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(file=stream),
            transient=True,
            speed_estimate_period=30.0,
            disable=not stream.isatty(),
        )
        self._task = self._bar.add_task("simulating", total=None)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, step: Step) -> None:
        self.cells_done, self.cells = step.cells_done, step.cells
        said = f"{step.cells_done}/{step.cells} runs"
        if step.bounds:
            said = f"lower bound {min(step.bounds_done + 1, step.bounds)}/{step.bounds}"
        self._bar.update(self._task, completed=step.days_done, total=step.days, description=said)

    def stop(self) -> None:
        self._bar.stop()
