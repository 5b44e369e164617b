"""Progress bars on stderr, quiet when not a terminal: days of a what-if or an evaluation, trials of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from optimizer.whatif import Step


class _Speed(ProgressColumn):
    """Units per second of wall-clock time, over the last minute."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("compiling or loading" if speed is None else self._form.format(speed))


class Bar:
    """What is done of all, in a unit; use it as a context manager. speed: a format of units per second."""

    def __init__(
        self, stream: TextIO, doing: str, *, unit: str = "", speed: str = "", total: float | None = None
    ) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
            *([_Speed(speed)] if speed else []),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(file=stream, soft_wrap=True),
            transient=True,
            speed_estimate_period=60.0,
            disable=not stream.isatty(),
        )
        self._task = self._bar.add_task(doing, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def show(self, done: float, total: float | None = None, doing: str | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total, description=doing)

    def say(self, line: str) -> None:
        """A line above the bar, or alone where there is none."""
        self._bar.console.print(line, markup=False, highlight=False)

    def stop(self) -> None:
        self._bar.stop()


class DaysBar(Bar):
    """Of a what-if: call it with a Step."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, "simulating", unit="simulated days", speed="{:,.1f} days/s")
        self.cells_done = self.cells = 0

    def __call__(self, step: Step) -> None:
        self.cells_done, self.cells = step.cells_done, step.cells
        said = f"{step.cells_done}/{step.cells} runs"
        if step.bounds:
            said = f"lower bound {min(step.bounds_done + 1, step.bounds)}/{step.bounds}"
        self.show(step.days_done, step.days, said)


class TrialBar(Bar):
    """Of a search: call it with the number of trials done in this run, beside those of a former one."""

    def __init__(self, stream: TextIO, total: int, before: int) -> None:
        super().__init__(stream, "tuning", unit="trials", speed="{:,.2f} trials/s", total=total)
        self._before = before
        self(0.0)

    def __call__(self, done: float) -> None:
        self.show(self._before + done)


class EvaluateBar(Bar):
    """Of an evaluation: call it with (done, all, what)."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, "reading load")

    def __call__(self, done: float, total: float, what: str) -> None:
        said = "lower bounds, cases" if what == "lower bound" else f"simulated days{f' ({what})' if what else ''}"
        self.show(done, total, said)
