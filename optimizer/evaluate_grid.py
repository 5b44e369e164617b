"""Every policy's settings on every case, on all cores; what is finished is kept at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from envs.executor import Stopped, Tell, never, pick_executor
from envs.stack import Stack
from optimizer.evaluate_cases import Case, Cases
from optimizer.evaluate_run import Run, run_case
from optimizer.evaluate_store import RunFile
from optimizer.evaluate_sweep import Point

Progress = Callable[[float, float, str], None]  # simulated days done, of all, what is in work
AT_ONCE = 9  # clusters of one batch


@dataclass(frozen=True)
class Plan:
    """What is evaluated: policies by name, each with its own setting first and its frontier's behind it."""

    cases: Cases
    policies: dict[str, tuple[Point, ...]]


@dataclass(frozen=True)
class _Task:
    case: Case
    policy: str
    settings: tuple[int, ...]
    stacks: tuple[Stack, ...]

    @property
    def days(self) -> float:
        return self.case.days * len(self.stacks)


def run_all(
    plan: Plan, runs: RunFile, *, jobs: int | None = None, progress: Progress | None = None, stop: Stopped = never
) -> None:
    """Fill `runs` with what it lacks. Any number of jobs gives the same numbers.

    Raises KeyboardInterrupt after stop(): then what is in work has been waited for, and kept.
    """
    tasks = _missing(plan, runs)
    total, done = sum(task.days for task in tasks), 0.0
    if progress is not None:
        progress(done, total, "")
    with pick_executor(jobs, len(tasks)) as executor:
        for task, found in executor.run(_work, tasks, lambda message: None, stop):
            for setting, run in zip(task.settings, found, strict=True):
                runs.keep((task.case.key, task.policy, setting), run)
            done += task.days
            if progress is not None:
                progress(done, total, task.policy)
    if done < total and stop():
        raise KeyboardInterrupt


def _missing(plan: Plan, runs: RunFile) -> list[_Task]:
    """In the order of cases and policies."""
    tasks = []
    for case in plan.cases.cases:
        for policy, points in plan.policies.items():
            wanted = [k for k in range(len(points)) if (case.key, policy, k) not in runs.known]
            for first in range(0, len(wanted), AT_ONCE):
                some = tuple(wanted[first : first + AT_ONCE])
                tasks.append(_Task(case, policy, some, tuple(points[k].stack for k in some)))
    return tasks


def _work(task: _Task, tell: Tell, stopped: Stopped) -> list[Run]:
    return run_case(task.case, task.stacks)


def broken_bounds(plan: Plan, runs: RunFile) -> list[str]:
    """A line for each bound that is above what its policy paid; its figure is left out of the results."""
    from envs.bound import defect, is_broken

    lines = []
    for case in plan.cases.cases:
        for policy in plan.policies:
            usd, paid = runs.bounds.get((case.key, policy)), runs.known[case.key, policy, 0].outcome.node_usd
            if usd is not None and is_broken(usd, paid):
                lines.append(defect(f"{policy} on {case.key}", usd, paid))
    return lines


def add_bounds(plan: Plan, runs: RunFile, progress: Progress | None = None) -> None:
    """The lower bound of each case at the service level of each policy's own setting."""
    from optimizer.evaluate_bound import bounds_of

    missing = [c for c in plan.cases.cases if any((c.key, p) not in runs.bounds for p in plan.policies)]
    for done, case in enumerate(missing):
        if progress is not None:
            progress(float(done), float(len(missing)), "lower bound")
        outcomes = {policy: runs.known[case.key, policy, 0].outcome for policy in plan.policies}
        for policy, usd in bounds_of(case, outcomes).items():
            runs.keep_bound(case.key, policy, usd)
