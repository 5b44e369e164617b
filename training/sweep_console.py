"""A sweep on the terminal: one bar over all members, a line as each ends, two tables at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.progress import TrainBar
from training.stage_plan import all_rows
from training.sweep import Member
from training.sweep_results import Found, Setting
from training.sweep_run import Step, Swept

WIDTH = 140  # where no terminal says otherwise


class SweepBar(TrainBar):
    """Rows of all members that are not finished yet."""

    def __init__(self, stream: TextIO, members: Sequence[Member], missing: Sequence[int]) -> None:
        super().__init__(stream, sum(all_rows(members[i].config) for i in missing))
        self._members, self._left = len(members), len(missing)
        self._at, self._speed = dict.fromkeys(missing, 0), dict.fromkeys(missing, 0.0)

    def _words(self, seen: dict[str, float]) -> str:
        return f"{self._members - self._left} of {self._members} runs ended"

    def step(self, step: Step) -> None:
        """An update of one member."""
        self._at[step.index] = step.rows
        self._speed[step.index] = step.seen.get("time/rows_per_s", 0.0)
        self({"time/rows_per_s": sum(self._speed.values())}, sum(self._at.values()))

    def ended(self, index: int, found: Found) -> None:
        """One member is through, called off or failed."""
        self._left -= 1
        self._speed[index] = 0.0
        said = found.error or (f"log ratio {_estimate(found.log_ratio, found.low, found.high)}" if found.done else "")
        self.say(f"{found.member.label}: {said or 'called off; --resume goes on'}")


def print_swept(swept: Swept, console: Console | None = None) -> None:
    """Members, then settings over their seeds, to stdout."""
    out = console or Console()
    if not out.is_terminal:
        out.width = max(out.width, WIDTH)
    out.print()
    out.print(_member_table(swept.found))
    out.print()
    out.print(_setting_table(swept.settings))


def _member_table(found: Sequence[Found]) -> Table:
    table = _table("Validation of each run: log(cost / cost of the tuned base), below 0 is cheaper; 95 % over clusters")
    prices = next((list(one.by_price) for one in found if one.done), [])
    for name in ("Setting", "Seed"):
        table.add_column(name)
    for name in ("Log ratio", "95 %", *(f"w={price:g}" for price in prices)):
        table.add_column(name, justify="right")
    for one in found:
        cells = [_number(one.log_ratio), _interval(one.low, one.high)] if one.done else [one.state, ""]
        cells += [_number(one.by_price[price]) if one.done else "" for price in prices]
        table.add_row(Text(one.member.setting), str(one.member.config.seed), *cells)
    return table


def _setting_table(settings: Sequence[Setting]) -> Table:
    table = _table("Over seeds: interquartile mean, 95 % by bootstrap over seeds")
    table.add_column("Setting")
    for name in ("Seeds", "Better than base", "Log ratio", "95 %", "Against the first", "95 %"):
        table.add_column(name, justify="right")
    for i, one in enumerate(settings):
        against = [_number(one.against_first[0]), _interval(*one.against_first[1:])] if i else ["", ""]
        seeds, better = f"{one.finished} of {one.of}", f"{one.better} of {one.finished}"
        ratio = [_number(one.log_ratio[0]), _interval(*one.log_ratio[1:])]
        table.add_row(Text(one.name), seeds, better, *ratio, *against)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", show_edge=False, pad_edge=False)


def _number(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "—"


def _interval(low: float, high: float) -> str:
    return f"[{low:+.4f}, {high:+.4f}]" if math.isfinite(low) and math.isfinite(high) else "—"


def _estimate(value: float, low: float, high: float) -> str:
    return f"{_number(value)} {_interval(low, high)}"
