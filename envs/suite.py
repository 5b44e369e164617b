"""Suites: frozen lists of scenarios, each with its seed and days, that stacks are tuned and judged on.

load_suite("train")        # one that ships in envs/suites/
load_suite("ours.yaml")    # a user's own
load_suite("webshop")      # any scenario: a suite of one
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.scenario import Scenario, TraceDemand
from envs.scenario_file import gallery, load_scenario, scenario_path
from envs.schema_errors import validate
from envs.schema_types import Count, StrictModel
from envs.yaml_reader import read_yaml

SUITES = Path(__file__).parent / "suites"


class EntryModel(StrictModel):
    """One scenario of a suite."""

    scenario: str = Field(min_length=1, max_length=4096)
    """A scenario of the gallery or a file, relative to the suite's."""
    seed: Count = 0
    """Seed of its load and delays: every stack meets the same."""
    days: float | None = Field(default=None, gt=0, le=3660)
    """Simulated days; default the scenario's own."""


class SuiteModel(StrictModel):
    """A list of scenarios."""

    description: str = Field(default="", max_length=500)
    """One sentence: what it is for."""
    entries: tuple[EntryModel, ...] = Field(min_length=1, max_length=100)
    """What every candidate runs on."""


@dataclass(frozen=True)
class Entry:
    """One scenario with the seed and the days to run it for."""

    scenario: Scenario
    seed: int
    days: float

    @property
    def label(self) -> str:
        return f"{self.scenario.name}, seed {self.seed}, {self.days:g} days"


@dataclass(frozen=True)
class Suite:
    """digest: of every byte that the suite reads (its file, its scenarios', their load files')."""

    name: str
    description: str
    entries: tuple[Entry, ...]
    digest: str


def suite_names() -> list[str]:
    """The suites that ship with the package."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(name_or_path: str | Path, *, days: float | None = None, seed: int | None = None) -> Suite:
    """A shipped suite, a suite file, or a suite of one scenario. days and seed: in place of the entries' own.

    Raises InputError: an unknown name, an unreadable file, a wrong key or value.
    """
    text = str(name_or_path)
    if text in suite_names():
        return _from_file(SUITES / f"{text}.yaml", days, seed)
    if text in gallery():
        return _suite(text, "", [_entry(load_scenario(text), seed, days)], [scenario_path(text)])
    if not text.endswith((".yaml", ".yml", ".json")) and "/" not in text:
        mend = did_you_mean(text, [*suite_names(), *gallery()], noun="suite or scenario")
        raise InputError(None, "suite", text, mend + " (or give a path that ends in .yaml)")
    path = Path(text)
    document = read_yaml(path)
    if isinstance(document.data, dict) and "entries" not in document.data and "workloads" in document.data:
        scenario = load_scenario(path)
        return _suite(scenario.name, scenario.description, [_entry(scenario, seed, days)], [path])
    return _from_file(path, days, seed)


def _from_file(path: Path, days: float | None, seed: int | None) -> Suite:
    model = validate(SuiteModel, read_yaml(path))
    entries, files = [], [path]
    for i, entry in enumerate(model.entries):
        place: str | Path = entry.scenario if entry.scenario in gallery() else path.parent / entry.scenario
        try:
            loaded = load_scenario(place)
        except InputError as error:
            raise (
                error if error.file else InputError(path, f"entries[{i}].scenario", entry.scenario, error.mend)
            ) from None
        entries.append(_entry(loaded, entry.seed if seed is None else seed, entry.days if days is None else days))
        files.append(scenario_path(place))
    return _suite(path.stem, model.description, entries, files)


def _entry(scenario: Scenario, seed: int | None, days: float | None) -> Entry:
    full = scenario.horizon_s / 86400.0
    return Entry(scenario, scenario.seed if seed is None else seed, full if days is None else min(days, full))


def _suite(name: str, description: str, entries: list[Entry], files: Sequence[Path]) -> Suite:
    traces = {d.path for e in entries for d in e.scenario.demand if isinstance(d, TraceDemand)}
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.scenario.name} {entry.seed} {entry.days!r}\0".encode())
    for path in [*files, *sorted(traces)]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Suite(name, description, tuple(entries), digest.hexdigest()[:16])
