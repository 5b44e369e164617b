"""`replay:` in a stack: inside what-if, each workload's HPA follows what its own measured past asks for.

Every hour the minutes measured since the last one are replayed under every set-point (envs.replay_run), the losses
join those of before (policies.replay), and the best set-point is written as a plan. What comes after is not known
here: this code gets samples and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.action import Plan, nothing
from envs.intent import violation_price
from envs.replay_run import ReplayRun, Rows, Spent, cheapest
from envs.rollout import rollout
from envs.scenario import Scenario
from envs.setpoints import candidates, fleet_regret, of_today, why_not
from envs.snapshot import Snapshot
from envs.stack import HpaMetric, Stack
from envs.timeline import Rollout, Sink
from optimizer.from_history import LEAST_GAIN, hpa_today
from optimizer.measured_past import alike, backfill
from policies import replay as rule

F8 = NDArray[np.float64]
DAY_S = 86_400.0


class Replaying(Protocol):
    """What a control needs of envs.replay_run.ReplayRun."""

    live: NDArray[np.bool_]

    def advance(self, arrivals: F8) -> Spent: ...


class Stretch(NamedTuple):
    """What is replayed next. Load that was not measured goes on as it was, but nothing is learnt from it."""

    arrivals: F8  # (n, W) requests per tick
    measured: NDArray[np.bool_]  # (W,)


Replays = Callable[..., Replaying]


def simulate(
    scenario: Scenario, stack: Stack, seed: int, *, days: float | None = None, sink: Sink | None = None
) -> Rollout:
    """`envs.rollout.rollout`, with the replay or the learned policy that the stack asks for."""
    if stack.learned is not None:
        from optimizer.learned_stack import control_of, rollout_under

        return rollout_under(control_of(scenario, stack, seed), seed, days=days, sink=sink)
    decide = ReplayControl(scenario, stack, seed) if stack.replay is not None else None
    return rollout(scenario, stack, seed, days=days, sink=sink, decide=decide)


class ReplayControl:
    """Decides set-points from measured minutes; see envs.measured_loop.Decide. Workloads that cannot be replayed
    (other kinds, other metrics, no node that fits) keep their setting.
    """

    def __init__(self, scenario: Scenario, stack: Stack, seed: int, *, replay: Replays = ReplayRun) -> None:
        """replay: makes what runs the set-points; several controls may share one (optimizer.evaluate_replay)."""
        assert stack.replay is not None
        self.options, self.scenario = stack.replay, scenario
        self.period_s = stack.replay.every_s
        self.who: list[int] = []
        self.points = []
        rows = []
        for i, w in enumerate(scenario.cluster.workloads):
            today = hpa_today(stack, w)
            if today is None or why_not(w, today):
                continue
            try:
                price = cheapest(scenario.cluster, w)
            except ValueError:
                continue
            points = (of_today(w, today), *candidates(w, today))
            beliefs = tuple(b * self.options.belief_scale for b in self.options.beliefs)
            settings = tuple(p.spec for p in points for _ in beliefs)
            rows.append(Rows(w, settings, beliefs * len(points), price))
            self.points.append(points)
            self.who.append(i)
        self._tick_s = scenario.tick_s
        self._seed = seed
        self._rows = rows
        self._replays = replay
        self._run: Replaying | None = None
        self._last = np.zeros(len(rows))
        self._learnt(rows)

    def _learnt(self, rows: list[Rows]) -> None:
        wl = [r.workload for r in rows]
        base = self.options.violation_price
        base = self.scenario.intent.violation_price if base is None else base
        self.price = violation_price(base, [w.slo_target for w in wl])
        metric = [points[0].spec.metrics[0].name for points in self.points]
        prior = [fleet_regret(m, p, points) for m, p, points in zip(metric, self.price, self.points, strict=True)]
        width = len(self.points[0]) if rows else 1
        self.prior = np.stack(prior) if rows else np.zeros((0, 1))
        self.shape = (len(rows), width, len(self.options.beliefs))
        usd = [r.workload.service.cpu_s_per_request * r.price.usd_per_core_h / 3600.0 for r in rows]
        self.ideal_usd = np.array(usd)
        self.past = rule.no_past(*self.shape)
        self.live = np.ones(self.shape[:2], np.bool_)

    def __call__(self, time_s: float, rates: F8, look: Callable[[], Snapshot]) -> Plan | None:
        """The plan for the next hour. At the first call the past before time 0 is replayed."""
        if not self.who:
            return None
        for stretch in self.stretches(rates):
            self.replay(stretch)
        return self.plan()

    def stretches(self, rates: F8) -> list[Stretch]:
        """What to replay next, oldest first: at first the past, then what was measured since; cut where some
        workload's measurements stop or go on."""
        out, everyone = [], np.ones(len(self.who), np.bool_)
        if self._run is None:
            past = backfill(self.scenario, self.options.backfill_s)
            out = [Stretch(arrivals[:, self.who], everyone) for arrivals in past]
        if not len(rates):
            return out
        measured = ~np.isnan(rates[:, self.who])
        ticks = max(round(60.0 / self._tick_s), 1)
        known = self._known(rates[:, self.who]) * self._tick_s
        for minutes in alike(measured):
            out.append(Stretch(np.repeat(known[minutes], ticks, axis=0), measured[minutes.start]))
        return out

    def _known(self, rates: F8) -> F8:
        """A minute that was not measured repeats the last one that was: unknown is not zero."""
        out = rates.copy()
        for i in range(len(out)):
            out[i] = np.where(np.isnan(out[i]), self._last, out[i])
            self._last = out[i]
        return out

    def replay(self, stretch: Stretch) -> None:
        """A stretch joins the past."""
        arrivals, measured = stretch
        if self._run is None:
            first = arrivals[0] / self._tick_s
            rows = [replace(r, first_rps=float(rps)) for r, rps in zip(self._rows, first, strict=True)]
            self._run = self._replays(rows, tick_s=self._tick_s, seed=self._seed)
        spent = self._run.advance(arrivals)
        offered, counts = arrivals.sum(axis=0) * measured, measured[:, None, None]
        usd, bad = spent.usd.reshape(self.shape) * counts, spent.bad.reshape(self.shape) * counts
        new = rule.Past(usd, bad, offered * self.ideal_usd, offered, len(arrivals) * self._tick_s)
        before = self.past.seconds
        self.past = rule.later(self.past, new, half_life_s=self.options.half_life_s)
        for _ in range(rule.due_halvings(before, self.past.seconds) if self.options.halving else 0):
            self.live = rule.halve(self._score(), self.live, keep=(0,))
            self._run.live[...] = np.repeat(self.live, self.shape[2], axis=1)

    def _score(self) -> F8:
        loss = rule.losses(self.past, self.price)
        return rule.scores(loss, self.prior, live=self.live, prior_weight=self.options.prior_weight)

    def choice(self) -> NDArray[np.int64]:
        """Per replayed workload: the least score, today's setting where nothing is better by LEAST_GAIN."""
        score = self._score()
        best = rule.choose(score)
        return np.where(score[:, 0] - score[np.arange(len(best)), best] > LEAST_GAIN, best, 0)

    def plan(self) -> Plan:
        """The set-points that the past asks for, as of now."""
        targets = nothing(self.scenario.cluster)
        target, window = targets.hpa_target.copy(), targets.hpa_stabilization_down_s.copy()
        for w, points, c in zip(self.who, self.points, self.choice(), strict=True):
            metric: HpaMetric = points[c].spec.metrics[0]
            share = metric.capacity_share
            capacity = self.scenario.cluster.workloads[w].service.capacity_rps
            target[w] = metric.target if share is None else share * capacity
            window[w] = points[c].window_s
        return Plan(replace(targets, hpa_target=target, hpa_stabilization_down_s=window))
