"""Trials on disk, one JSON line each, so that a killed search goes on where it was; and the workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from envs.errors import InputError
from envs.executor import Interrupted, Stopped, Tell, available_cores, pick_executor
from envs.objective import Outcome
from envs.stack import Stack
from envs.stack_file import document_of
from envs.suite import Entry
from optimizer.grid import simulator_hash, trimtab_version
from optimizer.tune import Candidate, Search, Trial

MOST_AT_ONCE = 8  # clusters of one batch
Progress = Callable[[float], None]  # trials done


def about(search: Search) -> dict[str, Any]:
    """What makes two searches the same one."""
    return {
        "stack": document_of(search.stack),
        "suite": search.suite.name,
        "suite_digest": search.suite.digest,
        "objective": search.objective,
        "weight": search.weight,
        "seed": search.seed,
        "trials": search.trials,
        "version": trimtab_version(),
        "simulator": simulator_hash(),
    }


class TrialFile:
    """The JSON-lines file of one search: a line that says what it is, then a line per trial."""

    def __init__(self, path: Path, search: Search) -> None:
        self.path, self.search = path, search

    def start(self) -> None:
        """A new file."""
        self.path.write_text(json.dumps(about(self.search)) + "\n", encoding="utf-8")

    def read(self) -> list[Trial]:
        """Trials of an earlier run; a last line that a kill cut short is dropped from the file.

        Raises InputError when the file is of another search.
        """
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        self._check(whole[0] if whole else "")
        if len(whole) < len(lines):
            self.path.write_text("".join(whole), encoding="utf-8")
        return [self._trial(line, number) for number, line in enumerate(whole[1:], 2)]

    def append(self, trial: Trial) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(trial)) + "\n")

    def _check(self, line: str) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise InputError(self.path, "--resume", None, "is no file of trials; use --force to start afresh")
        said = about(self.search)
        for key in said:
            if found.get(key) != said[key]:
                mend = f"cannot go on: {key} differs from what was asked for; give another --out, or --force"
                raise InputError(self.path, "--resume", None, mend)

    def _trial(self, line: str, number: int) -> Trial:
        try:
            found = json.loads(line)
            outcomes = tuple(outcome_from(o) for o in found.pop("outcomes"))
            return Trial(**found | {"position": tuple(found["position"]), "outcomes": outcomes})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(self.path, f"line {number}", None, f"is no trial ({error}); use --force") from None


def outcome_from(plain: dict[str, Any]) -> Outcome:
    """An Outcome as JSON has it."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    return Outcome(**fields)


@dataclass(frozen=True)
class Piece:
    """What a worker gets: candidates of one batch on one entry of the suite."""

    entry: Entry
    index: int  # of the entry
    first: int  # of the candidates
    stacks: Sequence[Stack]


class Workers:
    """Runs candidates, in this process or in `jobs` spawned ones. Use as a context manager."""

    def __init__(self, jobs: int | None, progress: Progress) -> None:
        self.jobs, self.progress, self.done = jobs or available_cores(), progress, 0.0
        self._executor = pick_executor(self.jobs, self.jobs)

    def __enter__(self) -> Self:
        self._executor.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._executor.__exit__(*raised)

    def __call__(self, search: Search, candidates: Sequence[Candidate]) -> dict[int, tuple[Outcome, ...]]:
        """Outcomes by trial number. How they are cut into batches changes no number."""
        entries = search.suite.entries
        size = min(max(len(candidates) * len(entries) // (2 * self.jobs), 1), MOST_AT_ONCE)
        stacks = [one.stack(search) for one in candidates]
        pieces = [
            Piece(entry, e, i, stacks[i : i + size])
            for e, entry in enumerate(entries)
            for i in range(0, len(candidates), size)
        ]
        found: dict[tuple[int, int], Outcome] = {}
        for piece, outcomes in self._executor.run(_work, pieces, lambda message: None):
            for i, outcome in enumerate(outcomes):
                found[piece.index, piece.first + i] = outcome
            self.done += len(outcomes) / len(entries)
            self.progress(self.done)
        return {one.number: tuple(found[e, i] for e in range(len(entries))) for i, one in enumerate(candidates)}


def _work(piece: Piece, tell: Tell, stopped: Stopped) -> list[Outcome]:
    from envs.rollout_batch import rollout_batch

    def day_done(days: float) -> None:
        if stopped():
            raise Interrupted

    return rollout_batch(piece.entry.scenario, piece.stacks, piece.entry.seed, days=piece.entry.days, progress=day_done)
