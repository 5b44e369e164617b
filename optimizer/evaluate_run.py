"""Run one policy's settings on one case, and keep what was judged.

Plain stacks run as one batch of clusters, their load made once. Stacks that replay the past share that replay over
their violation prices (`optimizer.evaluate_replay`); what else decides for itself runs setting by setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from envs.objective import Outcome
from envs.rollout_batch import Judged, WorkTotals, judged_batch, outcome_of
from envs.stack import Stack
from envs.timeline import CHURN, Timeline
from optimizer.evaluate_cases import Case

EDGE_S = 1e-6


@dataclass(frozen=True)
class Run:
    """One setting on one case. decision_ms: mean wall-clock time of a decision; NaN for stacks without one."""

    outcome: Outcome
    churn: dict[str, float] = field(default_factory=dict)
    decisions: int = 0
    decision_ms: float = float("nan")


def run_case(case: Case, stacks: Sequence[Stack]) -> list[Run]:
    """In the order of the stacks; equal inputs give equal numbers, but for the decision times."""
    if all(is_plain(stack) for stack in stacks):
        found = judged_batch(case.scenario, stacks, case.seed, judged_from_s=case.judged_from_s)
        return [Run(one.outcome, one.churn) for one in found]
    if all(stack.replay is not None and is_plain(stack, but_for_replay=True) for stack in stacks):
        from optimizer.evaluate_replay import run_replays

        return run_replays(case, stacks)
    from optimizer.evaluate_learned import one_batch, run_settings

    if one_batch(case, stacks):
        return [Run(j.outcome, j.churn, n, 1e3 * s / max(n, 1)) for j, n, s in run_settings(case, stacks)]
    return [run_alone(case, stack) for stack in stacks]


def is_plain(stack: Stack, *, but_for_replay: bool = False) -> bool:
    """Whether the cluster's own controllers are all there is to the stack."""
    return (but_for_replay or stack.replay is None) and stack.learned is None


def run_alone(case: Case, stack: Stack) -> Run:
    """Any stack that `trimtab whatif` takes, the same way as there."""
    from optimizer.replay_control import simulate

    fold = JudgedFold(case)
    end = simulate(case.scenario, stack, case.seed, sink=fold)
    return fold.run(end.info)


class JudgedFold:
    """A sink that sums what comes from the judged window on."""

    def __init__(self, case: Case) -> None:
        self.case = case
        W = len(case.scenario.cluster.workloads)
        self._work = WorkTotals(*(np.zeros(W) for _ in WorkTotals._fields))
        self._usd, self._churn = 0.0, dict.fromkeys(CHURN, 0.0)

    def __call__(self, timeline: Timeline) -> None:
        rows = timeline.time_s >= self.case.judged_from_s - EDGE_S
        sums = (timeline.offered, timeline.good, timeline.bad, timeline.workload_usd)
        for totals, values in zip(self._work, sums, strict=True):
            totals[...] += values[rows].sum(axis=0)
        self._usd += float(timeline.node_usd[rows].sum())
        for name in CHURN:
            self._churn[name] += float(getattr(timeline, name)[rows].sum())

    def run(self, info: dict[str, float]) -> Run:
        """info: of the Rollout."""
        judged = Judged(outcome_of(self.case.scenario, self._work, self._usd), self._churn)
        n = int(info.get("decisions", 0))
        return Run(judged.outcome, judged.churn, n, 1e3 * info["decision_s"] / n if n else float("nan"))
