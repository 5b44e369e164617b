"""What policies are evaluated on: cases, each a scenario with a seed and the window that is judged.

A trace gives two kinds of case per seed: `cluster` (its service beside others of the same source) and `alone`.
Time runs through three stretches: what was measured before the simulation began (policies may read it), two simulated
days that are history and are not judged, and the judged days. Seed k is judged k windows before the trace's end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np

from envs.load_noise import key_of
from envs.scenario import Scenario, TraceDemand
from envs.suite import Suite
from optimizer.evaluate_services import REGION, RULE, Served, cluster_of, service_on
from optimizer.evaluate_traces import MAX_GAP_S, Recorded

Kind = Literal["cluster", "alone"]
KINDS: tuple[Kind, ...] = ("cluster", "alone")
SHIPPED = {"aiops2018_demo.csv.gz": "AIOps 2018 KPI (NetMan)", "nab_demo.csv.gz": "NAB realTweets"}
DAY_S, ROW_S = 86_400.0, 300.0
HISTORY_S = 2 * DAY_S  # simulated before the judged days
JUDGED_DAYS = 3.0
SHARE_JUDGED = 0.6  # of a trace that is too short for both


@dataclass(frozen=True)
class Case:
    """unit: what is resampled (a trace, or a scenario of a suite); judged: [judged_from_s, the horizon's end)."""

    source: str
    unit: str
    kind: Kind
    seed: int
    scenario: Scenario
    judged_from_s: float

    @property
    def key(self) -> str:
        return f"{self.unit}/{self.kind}/{self.seed}"

    @property
    def days(self) -> float:
        """Simulated in all."""
        return self.scenario.horizon_s / DAY_S

    @property
    def judged_days(self) -> float:
        return (self.scenario.horizon_s - self.judged_from_s) / DAY_S


@dataclass(frozen=True)
class Cases:
    """All cases of an evaluation. digest: of the load and the rule that made it services; notes: what was left out."""

    name: str
    cases: tuple[Case, ...]
    digest: str
    notes: tuple[str, ...]
    traces: tuple[tuple[str, str, str], ...] = ()  # (source, name, sha256) of each trace

    @property
    def fingerprint(self) -> str:
        """Of the load and of how it is cut into cases: two evaluations that share it ran on the same."""
        shape = [(c.key, c.scenario.horizon_s, c.judged_from_s, len(c.scenario.demand)) for c in self.cases]
        return hashlib.sha256(repr((self.digest, shape)).encode()).hexdigest()[:16]

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(case.source for case in self.cases))


def cases_of_traces(
    name: str, traces: Sequence[Recorded], *, seeds: int, days: float = JUDGED_DAYS, services: int = 5,
    kinds: Sequence[Kind] = KINDS, notes: Sequence[str] = (),
) -> Cases:  # fmt: skip
    """Every trace x kind x seed."""
    out: list[Case] = []
    said = list(notes)
    for trace in traces:
        mates = [t for t in traces if t.source == trace.source and t.name != trace.name]
        for seed in range(seeds):
            window = window_of(trace, seed, days)
            if window is None:
                said.append(f"{trace.name}: skipped, every window has a hole of more than an hour or next to no load")
                break
            out += [_case(trace, mates, kind, seed, window, services if kind == "cluster" else 1) for kind in kinds]
    about = tuple((t.source, t.name, t.sha256) for t in traces)
    digest = hashlib.sha256(repr((RULE, about)).encode()).hexdigest()[:16]
    return Cases(name, tuple(out), digest, tuple(said), about)


def cases_of_suite(suite: Suite, *, seeds: int, days: float | None = None) -> Cases:
    """Every entry x seed, judged over its whole horizon: a suite's entries say their own seeds and days."""
    out: list[Case] = []
    units: list[str] = []
    for entry in suite.entries:
        length_s = min(entry.days, days or entry.days) * DAY_S
        scenario = replace(entry.scenario, horizon_s=min(length_s, entry.scenario.horizon_s))
        source = entry.scenario.name
        before = units.count(source)
        units.append(source)
        unit = f"{source} ({before + 1})" if before else source  # a scenario may be there again, with another seed
        out += [Case(source, unit, "cluster", entry.seed + k, scenario, 0.0) for k in range(seeds)]
    return Cases(suite.name, tuple(out), suite.digest, (), tuple(_loads(suite)))


def _loads(suite: Suite) -> list[tuple[str, str, str]]:
    """(scenario, source of one of its load files, the file's SHA-256)."""
    pairs = {(e.scenario.name, d.path) for e in suite.entries for d in e.scenario.demand if isinstance(d, TraceDemand)}
    return sorted((name, source_of(p), hashlib.sha256(p.read_bytes()).hexdigest()) for name, p in pairs)


def source_of(path: Path) -> str:
    """The source of a load file that ships, as manifests of the full recordings call it; else its name."""
    return SHIPPED.get(path.name, path.name)


@dataclass(frozen=True)
class Window:
    """Seconds into a trace: simulated from start_s, judged from start_s + history_s on for judged_s."""

    start_s: float
    history_s: float
    judged_s: float

    @property
    def length_s(self) -> float:
        return self.history_s + self.judged_s


def stretches(duration_s: float, days: float) -> tuple[float, float]:
    """(simulated history, judged) seconds of a trace: two days and `days`; of a shorter trace 40 % and 60 %."""
    if duration_s >= HISTORY_S + days * DAY_S:
        return HISTORY_S, days * DAY_S
    judged = min(SHARE_JUDGED * duration_s, days * DAY_S) // ROW_S * ROW_S
    return min(duration_s - judged, HISTORY_S) // ROW_S * ROW_S, judged


def window_of(trace: Recorded, number: int, days: float) -> Window | None:
    """Window 0 ends with the trace, 1 ends where 0 is judged from, and so on, cyclically.

    Those with a long hole or a dead stretch do not count; None when that spoils all of them.
    """
    return _place(trace, number, *stretches(trace.duration_s, days))


def _place(trace: Recorded, number: int, history_s: float, judged_s: float) -> Window | None:
    last = trace.duration_s - history_s - judged_s
    if last < 0:
        return None
    starts = [last - k * judged_s for k in range(int(last // judged_s) + 1)]
    good = [s for s in starts if trace.is_whole(s + history_s, judged_s) and trace.is_whole(s, history_s + judged_s)]
    return Window(good[number % len(good)], history_s, judged_s) if good else None


def _case(trace: Recorded, mates: Sequence[Recorded], kind: Kind, seed: int, window: Window, services: int) -> Case:
    placed = [(trace, window.start_s), *_beside(trace, mates, seed, window, services - 1)]
    counts: dict[str, int] = {}
    served: list[Served] = []
    for number, (one, _) in enumerate(placed):
        counts[one.name] = counts.get(one.name, -1) + 1
        served.append(service_on(one, counts[one.name], f"s{number}-{_label(one.name)}"))
    name = f"{_label(trace.name)}-{kind}"
    scenario = Scenario(
        name=name,
        cluster=cluster_of(served, name),
        demand=tuple(
            TraceDemand(s.trace.path, s.trace.column, scale=s.scale, offset_s=offset, max_gap_s=MAX_GAP_S)
            for s, (_, offset) in zip(served, placed, strict=True)
        ),
        horizon_s=window.length_s,
        region=REGION,
        start_utc=_clock(trace, window.start_s),
        seed=seed,
    )
    return Case(trace.source, trace.name, kind, seed, scenario, window.history_s)


def _beside(
    trace: Recorded, mates: Sequence[Recorded], seed: int, window: Window, count: int
) -> list[tuple[Recorded, float]]:
    """Other services of the cluster: traces of the same source in an order of the trace's own, at the same time of
    day where both clocks are known; where there are too few, more services on the trace itself."""
    rng = np.random.Generator(np.random.Philox(key=key_of(RULE, "beside", trace.source, trace.name)))
    out: list[tuple[Recorded, float]] = []
    for i in rng.permutation(len(mates)):
        found = _place(mates[i], seed, window.history_s, window.judged_s)
        if found is not None:
            out.append((mates[i], _same_hour(mates[i], found.start_s, trace, window)))
    return [*out, *[(trace, window.start_s)] * count][: max(count, 0)]


def _same_hour(mate: Recorded, start_s: float, trace: Recorded, window: Window) -> float:
    """The mate's start, up to a day earlier, at the trace's time of day; as it is where there is no room for that."""
    if mate.start_utc is None or trace.start_utc is None:
        return start_s
    ahead = (_epoch(mate.start_utc) + start_s - _epoch(trace.start_utc) - window.start_s) % DAY_S
    moved = start_s - ahead
    return moved if moved >= 0 and mate.is_whole(moved, window.length_s) else start_s


def _epoch(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _clock(trace: Recorded, start_s: float) -> str:
    """The trace's own clock where it has one; else a Monday."""
    if trace.start_utc is None:
        return Scenario.start_utc
    at = datetime.fromtimestamp(_epoch(trace.start_utc), UTC) + timedelta(seconds=start_s)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _label(name: str) -> str:
    """A name that tables and folders can take."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)[:60] or "trace"
