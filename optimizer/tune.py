"""Tune any stack's settings on a suite: a seeded search in rounds, every candidate on the same load.

The first half of the trials covers the whole space evenly (a Latin hypercube, McKay, Beckman, Conover 1979), the
second half looks around the best so far. Trial 0 is the stack as it is.
A round's candidates follow from the seed and the rounds before it, and each runs by itself, so any number
of processes gives the same bytes, and a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.objective import DEFAULT_WEIGHT, Objective, Outcome, bad_share, cost_index, rank
from envs.stack import Stack
from envs.suite import Suite
from envs.tunable import Setting, read_settings, settings_of, with_settings
from optimizer.frontier import cost_at, frontier

ROUND = 16  # trials between two looks at what is best
CENTRES = 6  # of the best, that the second half starts from
WIDEST, NARROWEST = 0.2, 0.03  # standard deviation of a step, at the middle and the end of the search
KEEP_CHOICE = 0.8  # probability that a step leaves a choice as it is


@dataclass(frozen=True)
class Search:
    """What is tuned, on what, and toward what."""

    stack: Stack
    suite: Suite
    trials: int = 200
    objective: Objective = "cost@slo"
    weight: float = DEFAULT_WEIGHT
    seed: int = 0

    @property
    def settings(self) -> tuple[Setting, ...]:
        return settings_of(self.stack)


@dataclass(frozen=True)
class Trial:
    """One candidate and what it did on each scenario of the suite."""

    number: int
    position: tuple[float, ...]
    values: dict[str, Any]
    outcomes: tuple[Outcome, ...]

    def key(self, search: Search) -> tuple[float, float, int]:
        """Least is best; of equals the earlier."""
        return (*rank(self.outcomes, search.objective, search.weight), self.number)

    @property
    def cost_index(self) -> float:
        return cost_index(self.outcomes)

    @property
    def bad_share(self) -> float:
        return bad_share(self.outcomes)

    @property
    def missed(self) -> int:
        """SLOs missed, over all scenarios."""
        return sum(outcome.missed for outcome in self.outcomes)

    @property
    def node_usd(self) -> float:
        return sum(outcome.node_usd for outcome in self.outcomes)


@dataclass(frozen=True)
class Candidate:
    """A trial that has not run."""

    number: int
    position: tuple[float, ...]
    values: dict[str, Any]

    def stack(self, search: Search) -> Stack:
        return search.stack if self.number == 0 else with_settings(search.stack, self.values)


Evaluate = Callable[[Search, Sequence[Candidate]], dict[int, tuple[Outcome, ...]]]


def tune(search: Search, evaluate: Evaluate, done: Sequence[Trial], keep: Callable[[Trial], None]) -> list[Trial]:
    """All trials, by number. done: those of an earlier run. keep is called with each new one, in order of number.

    evaluate runs candidates and gives their outcomes by number.
    """
    trials = {trial.number: trial for trial in done if trial.number < search.trials}
    for first in range(0, search.trials, ROUND):
        before = [trials[number] for number in range(first)]
        wanted = [candidate(search, number, before) for number in range(first, min(first + ROUND, search.trials))]
        missing = [one for one in wanted if one.number not in trials]
        outcomes = evaluate(search, missing) if missing else {}
        for one in missing:
            trial = Trial(one.number, one.position, one.values, outcomes[one.number])
            trials[one.number] = trial
            keep(trial)
    return [trials[number] for number in range(search.trials)]


def candidate(search: Search, number: int, before: Sequence[Trial]) -> Candidate:
    """Trial `number`, given every trial of the rounds before its own."""
    settings = search.settings
    if number == 0:
        values = read_settings(search.stack, settings)
        return Candidate(0, tuple(s.place(values[s.path]) for s in settings), values)
    half = max(search.trials // 2, ROUND)
    if number < half:
        position = spread(number, half, len(settings), search.seed)
    else:
        best = sorted(before, key=lambda trial: trial.key(search))[:CENTRES]
        position = near(best, settings, number, search)
    values = {s.path: s.value(float(p)) for s, p in zip(settings, position, strict=True)}
    return Candidate(number, tuple(float(p) for p in position), values)


def spread(number: int, points: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Point `number` of a Latin hypercube of so many points: each has a slice of every axis to itself."""
    rng = np.random.default_rng([seed, 1])
    slices = rng.permuted(np.tile(np.arange(points), (dimensions, 1)), axis=1)
    return np.asarray((slices[:, number] + rng.random((dimensions, points))[:, number]) / points)


def near(best: Sequence[Trial], settings: Sequence[Setting], number: int, search: Search) -> NDArray[np.float64]:
    """A step from one of the best, shorter toward the end of the search, reflected at the edges."""
    rng = np.random.default_rng([search.seed, 2, number])
    centre = np.array(best[int(rng.integers(len(best)))].position)
    left = (search.trials - number) / max(search.trials - search.trials // 2, 1)
    width = NARROWEST + (WIDEST - NARROWEST) * min(left, 1.0)
    moves = rng.random(len(settings)) < max(0.5, 2.0 / len(settings))
    stepped = centre + np.where(moves, rng.normal(0.0, width, len(settings)), 0.0)
    folded = 1.0 - np.abs(1.0 - np.abs(stepped) % 2.0)
    anew, keep = rng.random(len(settings)), rng.random(len(settings)) < KEEP_CHOICE
    is_choice = np.array([s.scale == "choice" for s in settings])
    return np.where(is_choice, np.where(keep, centre, anew), folded)


def best_of(search: Search, trials: Sequence[Trial]) -> Trial:
    return min(trials, key=lambda trial: trial.key(search))


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in both cost index and bad share, by rising cost."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.cost_index, t.bad_share, t.number)):
        if not front or trial.bad_share < front[-1].bad_share:
            front.append(trial)
    return front


def at_equal_slo(trials: Sequence[Trial]) -> float:
    """Cost of the trials' frontier at the bad share of the stack as it is, relative to its own cost (-0.1: 10 % less).

    As `trimtab evaluate` has it: see optimizer.frontier.
    """
    start = trials[0]
    front = frontier(np.array([t.bad_share for t in trials]), np.array([t.cost_index for t in trials]))
    return float(cost_at(front, start.bad_share)[0]) / start.cost_index - 1.0


def tuned_stack(search: Search, trial: Trial, name: str) -> Stack:
    """The stack that a trial stands for, under its new name."""
    stack = with_settings(search.stack, {} if trial.number == 0 else trial.values, name=name)
    met = f"{trial.missed} of {_slos(trial)} SLOs missed there"
    said = f"{search.stack.name}, tuned for {search.objective} in {search.trials} trials on {search.suite.name}; {met}."
    return replace(stack, name=name, description=said)


def _slos(trial: Trial) -> int:
    return sum(sum(outcome.reachable) for outcome in trial.outcomes)


def per_workload_stack(search: Search, trials: Sequence[Trial], name: str) -> Stack:
    """Hindsight: nodes of the best trial, and for each workload the replica settings of the trial that was best for it.

    Its own dollars count (allocated by max of use and request); a trial that misses its SLO is taken
    only if all do. Nobody can know this beforehand, and workloads that share nodes were tuned one by one.
    """
    from envs.stack_file import document_of, stack_from_document

    best = best_of(search, trials)
    document = document_of(tuned_stack(search, best, name))
    for e, entry in enumerate(search.suite.entries):
        for w, workload in enumerate(entry.scenario.cluster.workloads):
            own = min(trials, key=lambda t: (*_own_key(t.outcomes[e], w), t.number))
            stack = tuned_stack(search, own, name)
            document["per_workload"][workload.name] = document_of(stack)["replicas"]
    document["description"] = f"NOT ATTAINABLE, hindsight per workload on {search.suite.name}: {search.stack.name}."
    return stack_from_document(document, name=name)


def _own_key(outcome: Outcome, w: int) -> tuple[float, float]:
    return outcome.overspent(w), outcome.workload_usd[w]
