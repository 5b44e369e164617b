"""What a sweep has found: validation of each member, and of each setting over its seeds.

A log ratio is the mean over rows of log(cost / cost of the tuned base) on held-out load: -0.10 is 10 % cheaper, about.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from envs.interquartile import bootstrapped
from envs.plain import Array
from training.progress import SHOWN
from training.sweep import Member
from training.train import finished

NAN = float("nan")
FILES = ("sweep.json", "members.csv", "settings.csv", "curves.html")


@dataclass(frozen=True)
class Found:
    """A member's validation. by_price: log ratio at each violation price. error: why there is none."""

    member: Member
    log_ratio: float = NAN
    low: float = NAN
    high: float = NAN
    by_price: Mapping[float, float] = field(default_factory=dict)
    error: str = ""

    @property
    def done(self) -> bool:
        return math.isfinite(self.log_ratio)

    @property
    def state(self) -> str:
        """finished, failed or missing."""
        return "finished" if self.done else "failed" if self.error else "missing"

    def plain(self) -> dict[str, Any]:
        """A row of members.csv."""
        row = {
            "setting": self.member.setting, "seed": self.member.config.seed, "state": self.state,
            "log_ratio": self.log_ratio, "low": self.low, "high": self.high,
        }  # fmt: skip
        row |= {f"log_ratio_at_{price:g}": value for price, value in self.by_price.items()}
        return {**row, "folder": self.member.folder.name, "error": self.error}


@dataclass(frozen=True)
class Setting:
    """One combination of settings over its seeds: interquartile means with 95 % bootstrap intervals over seeds.

    better: seeds whose own validation interval is below 0. against_first: difference to the first setting, seed by
    seed (equal seeds are judged in equal worlds).
    """

    name: str
    finished: int
    of: int
    better: int
    log_ratio: tuple[float, float, float]
    against_first: tuple[float, float, float]

    def plain(self) -> dict[str, Any]:
        """A row of settings.csv."""
        row: dict[str, Any] = {"setting": self.name, "finished": self.finished, "of": self.of, "better": self.better}
        for name, estimate in (("log_ratio", self.log_ratio), ("against_first", self.against_first)):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))
        return row


def found_in(member: Member, error: str = "") -> Found:
    """What lies in the member's folder."""
    if not finished(member.folder):
        return Found(member, error=error)
    *rows, total = json.loads((member.folder / "stages.json").read_text(encoding="utf-8"))["rows"]
    log_ratio, low, high = map(float, total[3:6])
    return Found(member, log_ratio, low, high, {float(row[0]): float(row[3]) for row in rows})


def by_setting(found: Sequence[Found]) -> list[Setting]:
    """Aggregated over seeds, in the order of the sweep."""
    groups: dict[str, list[Found]] = {}
    for one in found:
        groups.setdefault(one.member.setting, []).append(one)
    first = {one.member.config.seed: one.log_ratio for one in next(iter(groups.values()))}
    made = []
    for name, group in groups.items():
        ratios = np.array([one.log_ratio for one in group])
        against = ratios - np.array([first[one.member.config.seed] for one in group])
        better = sum(one.done and one.high < 0.0 for one in group)
        done = sum(one.done for one in group)
        made.append(Setting(name, done, len(group), better, bootstrapped(ratios), bootstrapped(against)))
    return made


def curve_of(member: Member) -> tuple[Array, Array]:
    """(rows, reward) of each update so far."""
    path = member.folder / "curve.csv"
    if not path.exists():
        return np.zeros(0), np.zeros(0)
    with path.open(newline="", encoding="utf-8") as stream:
        points = [(float(rows), float(value)) for rows, name, value in csv.reader(stream) if name == SHOWN]
    rows, values = np.array(points).reshape(-1, 2).T
    return rows, values


def write_results(place: Path, found: Sequence[Found], settings: Sequence[Setting], page: str) -> None:
    """sweep.json, members.csv, settings.csv and curves.html of the sweep's folder."""
    members, aggregated = [one.plain() for one in found], [one.plain() for one in settings]
    write_csv(place / "members.csv", members)
    write_csv(place / "settings.csv", aggregated)
    both = {"settings": _json(aggregated), "members": _json(members)}
    (place / "sweep.json").write_text(json.dumps(both, indent=1) + "\n", encoding="utf-8")
    (place / "curves.html").write_text(page, encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Columns in order of appearance; unknown numbers are empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in _json(rows))


def _json(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """NaN as None, other numbers to five digits."""

    def plain(value: Any) -> Any:
        return (round(value, 5) if math.isfinite(value) else None) if isinstance(value, float) else value

    return [{key: plain(value) for key, value in row.items()} for row in rows]
