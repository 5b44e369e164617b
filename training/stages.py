"""The stage table: what each stage costs on held-out worlds, against the stage before; kept only where that is less.

A stage is kept where the whole interval of its mean log ratio of costs is below 0; where several variants were tried,
intervals are widened accordingly. Costs are on disk as soon as they are known, so that a resumed run does not roll out
again.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.plain import Array
from policies.manifest import Table
from training.validation import HeldOut

COLUMNS = ("stage", "variant", "against", "cost", "log_ratio", "low", "high", "tried", "kept")
BASE = "base"
Cell = str | float | int | bool | None


@dataclass(frozen=True, eq=False)
class Cost:
    """Of one policy on the held-out worlds: (N,) a minute's mean, and observations on the way (none under replay)."""

    mean: Array
    seen: NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """A line of the table. tried: variants of the stage, which the interval is widened for."""

    stage: str
    variant: str
    against: str
    cost: float
    log_ratio: float
    low: float
    high: float
    tried: int
    kept: bool


class StageTable:
    """Compares stages as they come. folder: where costs are kept."""

    def __init__(self, held: HeldOut, folder: Path, seed: int) -> None:
        self.held, self.folder = held, folder
        self.rows: list[Row] = []
        self.costs: dict[str, Cost] = {}
        self._rng = np.random.default_rng([seed, 31])

    def cost(self, name: str, roll: Callable[[], Cost]) -> Cost:
        """Of the policy of that name: from disk, or rolled out."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            made, aside = roll(), path.with_suffix(".new.npz")
            np.savez(aside, mean=made.mean, seen=made.seen)
            os.replace(aside, path)
        with np.load(path, allow_pickle=False) as kept:
            self.costs[name] = Cost(kept["mean"], kept["seen"])
        return self.costs[name]

    def judge(self, stage: str, variants: list[str], against: str) -> str | None:
        """Rows for these variants; the name of the best if it is kept, else None. The names have costs already."""
        best = min(variants, key=lambda name: self._ratio(name, against))
        kept = None
        for name in variants:
            mine, before = self.costs[name].mean, self.costs[against].mean
            ratio, low, high = self.held.against(mine, before, self._rng, tried=len(variants))
            good = name == best and high < 0.0
            kept = name if good else kept
            self.rows.append(Row(stage, name, against, float(mine.mean()), ratio, low, high, len(variants), good))
        return kept

    def _ratio(self, name: str, against: str) -> float:
        return float(np.log(self.costs[name].mean / self.costs[against].mean).mean())

    def best(self, stage: str) -> str:
        """The stage's variant of least log ratio, kept or not."""
        return min((r for r in self.rows if r.stage == stage), key=lambda r: r.log_ratio).variant

    def table(self) -> Table:
        """As it ships."""
        head = "each stage against the one before on held-out series: mean log ratio of costs (of the forecaster's: of "
        head += "pinball losses), with its interval"
        rows: list[list[Cell]] = [[_cell(getattr(r, name)) for name in COLUMNS] for r in self.rows]
        return Table(title=head, columns=list(COLUMNS), rows=rows)

    def write(self, path: Path) -> None:
        """stages.csv"""
        made = self.table()
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([made.columns, *made.rows])


def _cell(value: Cell) -> Cell:
    return round(value, 5) if isinstance(value, float) else value
