"""Trials on disk, one JSON line each, so that a killed search goes on where it was; and the workers."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.objective import Outcome
from envs.stack import Stack
from envs.stack_file import document_of
from envs.suite import Entry
from optimizer.executor import available_cores
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


class Workers:
    """Runs candidates, in this process or in `jobs` spawned ones. Use as a context manager."""

    def __init__(self, jobs: int | None, progress: Progress) -> None:
        self.jobs, self.progress, self.done = jobs or available_cores(), progress, 0.0
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.jobs > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.jobs, context, initializer=watch_parent, initargs=(os.getpid(),))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __call__(self, search: Search, candidates: Sequence[Candidate]) -> dict[int, tuple[Outcome, ...]]:
        """Outcomes by trial number. How they are cut into batches changes no number."""
        entries = search.suite.entries
        size = min(max(len(candidates) * len(entries) // (2 * self.jobs), 1), MOST_AT_ONCE)
        stacks = [one.stack(search) for one in candidates]
        tasks = [(e, i) for e in range(len(entries)) for i in range(0, len(candidates), size)]
        found: dict[tuple[int, int], Outcome] = {}
        for (e, first), outcomes in self._run(tasks, entries, stacks, size):
            for i, outcome in enumerate(outcomes):
                found[e, first + i] = outcome
            self.done += len(outcomes) / len(entries)
            self.progress(self.done)
        return {one.number: tuple(found[e, i] for e in range(len(entries))) for i, one in enumerate(candidates)}

    def _run(
        self, tasks: Sequence[tuple[int, int]], entries: Sequence[Entry], stacks: Sequence[Stack], size: int
    ) -> Any:
        if self._pool is None:
            for e, i in tasks:
                yield (e, i), _work(entries[e], stacks[i : i + size])
            return
        waiting: dict[Future[list[Outcome]], tuple[int, int]] = {
            self._pool.submit(_work, entries[e], stacks[i : i + size]): (e, i) for e, i in tasks
        }
        while waiting:
            ended, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in ended:
                yield waiting.pop(future), future.result()


def _work(entry: Entry, stacks: Sequence[Stack]) -> list[Outcome]:
    from envs.rollout_batch import rollout_batch

    return rollout_batch(entry.scenario, stacks, entry.seed, days=entry.days)


def watch_parent(parent: int) -> None:
    """In a worker: Ctrl-C is the parent's business, and without a parent there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
