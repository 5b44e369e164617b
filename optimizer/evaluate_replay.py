"""Several violation prices of one replaying stack on one case, at little more than the price of one.

What a set-point would have cost on the past does not depend on the price of a violation, only the choice does. So
all controls look at one replay: it runs the set-points that any of them still considers, each reads its own. The
load that they measure is the same for all (it does not depend on what they choose); where it is not, they part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.action import Plan
from envs.replay_run import ReplayRun, Rows, Spent
from envs.rollout import rollout
from envs.snapshot import Snapshot
from envs.stack import Stack
from optimizer.evaluate_cases import Case
from optimizer.evaluate_run import JudgedFold, Run, run_alone
from optimizer.replay_control import ReplayControl

F8 = NDArray[np.float64]


def run_replays(case: Case, stacks: Sequence[Stack]) -> list[Run]:
    """As `optimizer.replay_control.simulate` of each alone."""
    choir = Choir(case, stacks)
    out = []
    for i, stack in enumerate(stacks):
        fold = JudgedFold(case)
        try:
            end = rollout(case.scenario, stack, case.seed, sink=fold, decide=choir.voice(i))
        except PartedError:
            out.append(run_alone(case, stack))
            continue
        out.append(fold.run({**end.info, "decision_s": choir.seconds / len(stacks)}))
    return out


class PartedError(Exception):
    """A stack measured another load than the first did."""


class Choir:
    """One replay for all controls; the first stack's run asks, and all of them answer."""

    def __init__(self, case: Case, stacks: Sequence[Stack]) -> None:
        shared = _Shared()
        self.controls = [ReplayControl(case.scenario, s, case.seed, replay=shared.reader) for s in stacks]
        self.seconds = 0.0  # of deciding, for all of them together
        self._heard: list[F8] = []
        self._plans: list[list[Plan]] = []

    def voice(self, i: int) -> Voice:
        return Voice(self, i)

    def plan(self, n: int, i: int, rates: F8) -> Plan | None:
        """What control i says at the n-th time of asking. Raises PartedError when `rates` are not what was heard."""
        if not self.controls[i].who:
            return None
        if n == len(self._heard):
            self._listen(rates)
        elif not np.array_equal(self._heard[n], rates, equal_nan=True):
            raise PartedError
        return self._plans[n][i]

    def _listen(self, rates: F8) -> None:
        began = time.perf_counter()
        for together in zip(*(c.stretches(rates) for c in self.controls), strict=True):
            for control, stretch in zip(self.controls, together, strict=True):
                control.replay(stretch)
        self._heard.append(rates)
        self._plans.append([control.plan() for control in self.controls])
        self.seconds += time.perf_counter() - began


class Voice:
    """One stack's `Decide`."""

    def __init__(self, choir: Choir, i: int) -> None:
        self.period_s = choir.controls[i].period_s
        self._choir, self._i, self._n = choir, i, 0

    def __call__(self, time_s: float, rates: F8, look: Callable[[], Snapshot]) -> Plan | None:
        self._n += 1
        return self._choir.plan(self._n - 1, self._i, rates)


class _Shared:
    """A ReplayRun that runs what any reader has live; every reader gets every stretch."""

    def __init__(self) -> None:
        self.run: ReplayRun | None = None
        self.readers: list[_Reader] = []
        self.spent: list[Spent] = []

    def reader(self, rows: Sequence[Rows], **options: Any) -> _Reader:
        if self.run is None:
            self.run = ReplayRun(rows, **options)
        self.readers.append(_Reader(self, np.ones_like(self.run.live)))
        return self.readers[-1]


class _Reader:
    """One control's view: its own live set-points."""

    def __init__(self, shared: _Shared, live: NDArray[np.bool_]) -> None:
        self.live = live
        self._shared, self._n = shared, 0

    def advance(self, arrivals: F8) -> Spent:
        """All readers take a stretch before any takes the next, so that what is live is known when it is run."""
        run = self._shared.run
        assert run is not None
        if self._n == len(self._shared.spent):
            run.live[...] = np.logical_or.reduce([reader.live for reader in self._shared.readers])
            self._shared.spent.append(run.advance(arrivals))
        self._n += 1
        return self._shared.spent[self._n - 1]
