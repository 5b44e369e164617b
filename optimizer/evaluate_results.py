"""From runs to figures: per policy, per source and per pair of policies. docs/guides/evaluate.md says how to read them.

Cost is the cost index of `envs.objective` (node dollars over what the load's own CPU would cost), so that traces of
any size weigh alike; dollars are given beside it. A pooled figure is a mean over sources of the means over their traces
and seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.bound import is_broken
from envs.interquartile import interquartile_mean
from optimizer.evaluate_cases import Case, Kind
from optimizer.evaluate_grid import Plan
from optimizer.evaluate_run import Run
from optimizer.evaluate_statistics import Draws, Estimate, improvement
from optimizer.evaluate_store import RunFile
from optimizer.frontier import F8, Frontier, cheapest_no_worse, cost_at, frontier, why_no_overlap

WEIGHTS = (30.0, 100.0, 300.0, 1000.0)
LEVELS = (0.99, 0.995, 0.999, 0.9995, 0.9999)
OVERALL = "overall"


@dataclass(frozen=True)
class Measured:
    """Arrays over (units U, seeds S, policies' settings K): one kind of case, one set of units."""

    units: tuple[str, ...]
    sources: tuple[str, ...]  # (U,)
    cost: dict[str, F8]  # policy -> (U, S, K) cost index
    replicas: dict[str, F8]  # (U, S, K) the part of it that pods use or reserve
    bad: dict[str, F8]  # (U, S, K)
    missed: dict[str, F8]  # (U, S, K) SLOs
    runs: dict[str, list[Run]]  # policy -> own setting on every case
    bounds: dict[str, list[tuple[float, float]]]  # policy -> (node dollars, bound) where a bound is known
    slos: int  # reachable ones over all cases

    @property
    def seeds(self) -> int:
        return next(iter(self.cost.values())).shape[1]


@dataclass(frozen=True)
class Against:
    """Policy `ours` against policy `theirs` on one set of traces. Ratios minus 1: below 0, ours is cheaper.

    equal_slo: our setting against their frontier at our bad share (pooled; one setting for all traces).
    equal_slo_replicas: likewise with the allocated replica dollars in place of the node dollars.
    hindsight: equal_slo trace by trace, against the frontier of each trace (interquartile mean).
    attained: both at their own settings, whatever their bad shares. levels: both frontiers at a good-request ratio.
    point: our cheapest setting with no more bad requests and missed SLOs than theirs at its own setting.
    weighted, improved: cost index + w x bad share, relative difference of means, probability of improvement.
    single: weighted, against their single setting that is best on these very traces; each: against the best setting
    of every trace. missing: what has no overlap, one clause each.
    """

    equal_slo: Estimate
    equal_slo_replicas: Estimate
    hindsight: Estimate
    hindsight_traces: int
    attained: Estimate
    levels: dict[float, Estimate]
    point: float
    weighted: dict[float, Estimate]
    weighted_iqm: dict[float, Estimate]
    improved: dict[float, Estimate]
    single: dict[float, Estimate]
    each: dict[float, Estimate]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Totals:
    """One policy at its own setting on one set of traces; dollars and churn are per cluster and judged day."""

    node_usd: float
    workload_usd: float
    good_ratio: Estimate
    cost_index: Estimate
    cost_iqm: Estimate
    slos_met: int
    slos: int
    churn: dict[str, float]
    decision_ms: float
    above_bound: Estimate
    weighted: dict[float, Estimate]
    frontier: list[dict[str, Any]] = field(default_factory=list)  # every setting: label, bad share, cost, whether on it


@dataclass(frozen=True)
class View:
    """All figures of one kind of case."""

    kind: Kind
    traces: int
    policies: dict[str, dict[str, Totals]]  # source or OVERALL -> policy -> figures
    pairs: dict[str, dict[tuple[str, str], Against]]  # source or OVERALL -> (ours, theirs) -> figures


def view_of(plan: Plan, runs: RunFile, kind: Kind, *, pairs: Sequence[tuple[str, str]]) -> View | None:
    """None where there is no case of that kind."""
    cases = [case for case in plan.cases.cases if case.kind == kind]
    if not cases:
        return None
    names = list(dict.fromkeys(case.source for case in cases))
    sets = {OVERALL: cases} if len(names) > 1 else {}
    sets |= {name: [c for c in cases if c.source == name] for name in names}
    if len(names) == 1:
        sets = {OVERALL: cases, **sets}
    policies: dict[str, dict[str, Totals]] = {}
    against: dict[str, dict[tuple[str, str], Against]] = {}
    for name, some in sets.items():
        measured = _measured(plan, runs, some)
        draws = Draws(measured.sources, measured.seeds)
        days = float(np.mean([case.judged_days for case in some]))
        policies[name] = {p: _totals(plan, measured, draws, p, days) for p in plan.policies}
        pooled = _Pooled(measured, draws)
        against[name] = {pair: pooled.against(*pair) for pair in pairs}
    return View(kind, len({case.unit for case in cases}), policies, against)


def _measured(plan: Plan, runs: RunFile, cases: Sequence[Case]) -> Measured:
    units = list(dict.fromkeys(case.unit for case in cases))
    source = {case.unit: case.source for case in cases}
    by_unit = [[case for case in cases if case.unit == unit] for unit in units]

    def array(policy: str, of: Any) -> NDArray[np.float64]:
        settings = range(len(plan.policies[policy]))
        return np.array([[[of(runs.known[c.key, policy, k]) for k in settings] for c in row] for row in by_unit])

    own = {p: [runs.known[c.key, p, 0] for c in cases] for p in plan.policies}
    bounds = {
        p: [(runs.known[c.key, p, 0].outcome.node_usd, usd) for c in cases if (usd := runs.bounds.get((c.key, p)))]
        for p in plan.policies
    }
    return Measured(
        tuple(units),
        tuple(source[unit] for unit in units),
        {p: array(p, lambda run: run.outcome.cost_index) for p in plan.policies},
        {p: array(p, _replica_index) for p in plan.policies},
        {p: array(p, lambda run: run.outcome.bad_share) for p in plan.policies},
        {p: array(p, lambda run: float(run.outcome.missed)) for p in plan.policies},
        own,
        bounds,
        sum(sum(run.outcome.reachable) for run in next(iter(own.values()))),
    )


def _replica_index(run: Run) -> float:
    return sum(run.outcome.workload_usd) / max(run.outcome.demand_usd, 1e-12)


def _totals(plan: Plan, m: Measured, draws: Draws, policy: str, days: float) -> Totals:
    own, cost, bad = m.runs[policy], m.cost[policy], m.bad[policy]
    pooled = draws.pooled(np.stack([cost, bad], axis=-1))  # (R, K, 2)
    front = frontier(pooled[0, :, 1], pooled[0, :, 0])
    on = set(zip(front.bad[0][front.on[0]].tolist(), front.cost[0][front.on[0]].tolist(), strict=True))
    decided = [run.decision_ms for run in own if run.decisions]
    return Totals(
        node_usd=_mean([run.outcome.node_usd for run in own]) / days,
        workload_usd=_mean([sum(run.outcome.workload_usd) for run in own]) / days,
        good_ratio=draws.estimate(1.0 - pooled[:, 0, 1]),
        cost_index=draws.estimate(pooled[:, 0, 0]),
        cost_iqm=draws.estimate(interquartile_mean(draws.values(cost[:, :, 0]))),
        slos_met=m.slos - sum(run.outcome.missed for run in own),
        slos=m.slos,
        churn={name: _mean([run.churn[name] for run in own]) / days for name in own[0].churn},
        decision_ms=_mean(decided) if decided else float("nan"),
        above_bound=_above(m, draws, policy),
        weighted={w: draws.estimate(pooled[:, 0, 0] + w * pooled[:, 0, 1]) for w in WEIGHTS},
        frontier=[
            {"setting": point.label, "bad_share": b, "cost_index": c, "on_frontier": (max(b, 1e-6), c) in on}
            for point, c, b in zip(plan.policies[policy], *pooled[0].T.tolist(), strict=True)
        ],
    )


def _above(m: Measured, draws: Draws, policy: str) -> Estimate:
    """Mean of cost / bound - 1 over cases."""
    found = m.bounds[policy]
    if len(found) != len(m.runs[policy]):
        return Estimate(float("nan"))
    shown = [bound > 0 and not is_broken(bound, usd) for usd, bound in found]
    ratios = np.array([usd / bound - 1.0 if ok else np.nan for ok, (usd, bound) in zip(shown, found, strict=True)])
    return draws.estimate(draws.pooled(ratios.reshape(len(m.units), m.seeds)))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


class _Pooled:
    """Pooled frontiers of every policy in each resample, made once for all pairs."""

    def __init__(self, m: Measured, draws: Draws) -> None:
        self.m, self.draws = m, draws
        both = {p: draws.pooled(np.stack([m.cost[p], m.bad[p], m.replicas[p]], axis=-1)) for p in m.cost}
        self.cost = {p: a[:, :, 0] for p, a in both.items()}  # (R, K)
        self.bad = {p: a[:, :, 1] for p, a in both.items()}
        self.replicas = {p: a[:, :, 2] for p, a in both.items()}
        self.missed = {p: m.missed[p].mean(axis=(0, 1)) for p in m.cost}
        self.front: dict[str, Frontier] = {p: frontier(self.bad[p], self.cost[p]) for p in m.cost}

    def against(self, ours: str, theirs: str) -> Against:
        estimate, missing = self.draws.estimate, []
        cost, bad = self.cost[ours][:, 0], self.bad[ours][:, 0]
        equal = estimate(cost / cost_at(self.front[theirs], bad) - 1.0)
        why = why_no_overlap(_first(self.front[theirs]), float(bad[0]))
        if why:
            missing.append(f"at {ours}'s own setting: {why}")
        levels: dict[float, Estimate] = {}
        for level in LEVELS:
            both = cost_at(self.front[ours], 1.0 - level), cost_at(self.front[theirs], 1.0 - level)
            levels[level] = estimate(both[0] / both[1] - 1.0)
            missing += [
                f"at {100 * level:g} % good: {name}: {why}"
                for name in (ours, theirs)
                if self.cost[name].shape[1] > 1  # one that ran at its own setting only has no frontier to speak of
                and (why := why_no_overlap(_first(self.front[name]), 1.0 - level))
            ]
        hindsight, traces = self._hindsight(ours, theirs)
        if traces < len(self.m.units):
            missing.append(f"trace by trace: {len(self.m.units) - traces} of {len(self.m.units)} traces do not overlap")
        return Against(
            equal_slo=equal,
            equal_slo_replicas=estimate(self.replicas[ours][:, 0] / self._replicas_at(theirs, bad) - 1.0),
            hindsight=hindsight,
            hindsight_traces=traces,
            attained=estimate(cost / self.cost[theirs][:, 0] - 1.0),
            levels=levels,
            point=self._point(ours, theirs),
            weighted={w: self._weighted(ours, theirs, w) for w in WEIGHTS},
            weighted_iqm={w: self._weighted_iqm(ours, theirs, w) for w in WEIGHTS},
            improved={w: self._improved(ours, theirs, w) for w in WEIGHTS},
            single={w: self._single(ours, theirs, w) for w in WEIGHTS},
            each={w: self._each(ours, theirs, w) for w in WEIGHTS},
            missing=tuple(missing),
        )

    def _replicas_at(self, theirs: str, bad: F8) -> F8:
        return cost_at(frontier(self.bad[theirs], self.replicas[theirs]), bad)

    def _hindsight(self, ours: str, theirs: str) -> tuple[Estimate, int]:
        U, S, K = self.m.cost[theirs].shape
        fronts = frontier(self.m.bad[theirs].reshape(-1, K), self.m.cost[theirs].reshape(-1, K))
        at = cost_at(fronts, self.m.bad[ours][:, :, 0].ravel()).reshape(U, S)
        ratio = self.m.cost[ours][:, :, 0] / at - 1.0
        known = int(np.isfinite(ratio).any(axis=1).sum())
        return self.draws.estimate(interquartile_mean(self.draws.values(ratio))), known

    def _point(self, ours: str, theirs: str) -> float:
        found = cheapest_no_worse(
            self.bad[ours][0], self.cost[ours][0], self.missed[ours],
            bad_at=float(self.bad[theirs][0, 0]), missed_at=float(self.missed[theirs][0]),
        )  # fmt: skip
        return found / float(self.cost[theirs][0, 0]) - 1.0

    def _own(self, policy: str, w: float) -> F8:
        """(U, S) objective at the policy's own setting."""
        return np.asarray(self.m.cost[policy][:, :, 0] + w * self.m.bad[policy][:, :, 0])

    def _weighted(self, ours: str, theirs: str, w: float) -> Estimate:
        mean = [self.cost[p][:, 0] + w * self.bad[p][:, 0] for p in (ours, theirs)]
        return self.draws.estimate(mean[0] / mean[1] - 1.0)

    def _weighted_iqm(self, ours: str, theirs: str, w: float) -> Estimate:
        each = self._own(ours, w) / self._own(theirs, w) - 1.0
        return self.draws.estimate(interquartile_mean(self.draws.values(each)))

    def _improved(self, ours: str, theirs: str, w: float) -> Estimate:
        return self.draws.estimate(self.draws.pooled(improvement(self._own(ours, w), self._own(theirs, w))))

    def _single(self, ours: str, theirs: str, w: float) -> Estimate:
        best = (self.cost[theirs] + w * self.bad[theirs]).min(axis=1)
        return self.draws.estimate((self.cost[ours][:, 0] + w * self.bad[ours][:, 0]) / best - 1.0)

    def _each(self, ours: str, theirs: str, w: float) -> Estimate:
        best = (self.m.cost[theirs] + w * self.m.bad[theirs]).mean(axis=1, keepdims=True).min(axis=2)  # (U, 1)
        mine = self.draws.pooled(self._own(ours, w))
        return self.draws.estimate(mine / self.draws.pooled(np.broadcast_to(best, self._own(ours, w).shape)) - 1.0)


def _first(front: Frontier) -> Frontier:
    """The data as it is, without the resamples."""
    return Frontier(front.bad[:1], front.cost[:1], front.on[:1])
