"""Replay measured pasts under every set-point: what each would have cost, and which one to take.

Choice and losses are policies.replay's, the simulation envs.replay_run's; this module feeds one with the other,
day by day, and keeps what a person wants to see.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.calibration import Calibrated, assumed_of, calibrate, with_measured
from envs.cluster import Workload
from envs.errors import InputError
from envs.history import History, Series
from envs.history_load import demand_of
from envs.intent import violation_price
from envs.nearest import did_you_mean
from envs.replay_run import Price, ReplayRun, Rows, cheapest
from envs.scenario import Scenario
from envs.setpoints import SetPoint, candidates, fleet_regret, of_today, why_not
from envs.stack import HpaSpec, KedaSpec, Stack
from optimizer.measured_past import alike, measured_steps
from policies import replay as rule

F8 = NDArray[np.float64]
DAY_S = 86_400.0
BLOCK = 32  # workloads replayed side by side: their state stays in the processor's cache
BELIEFS = (0.85, 1.0, 1.15)
MOST_CPU_ERROR = 0.5  # of the calibration's back-test; beyond it the scenario's service is taken
LEAST_GAIN = 0.01  # a new setting must score this much better (log of the loss) than today's
Progress = Callable[[float, float], None]  # workload-days done, of all


@dataclass(frozen=True)
class Options:
    """days: of the past, counted back from its end. violation_price: at an SLO of 99.9 %, in multiples of ideal."""

    days: int = 14
    calibrate: bool = True  # where the history tells a replica's capacity, it counts, not the scenario's
    beliefs: tuple[float, ...] = BELIEFS
    violation_price: float = 100.0
    prior_weight: float = rule.PRIOR_WEIGHT
    half_life_s: float = rule.HALF_LIFE_S
    halving: bool = True


@dataclass(frozen=True, eq=False)
class Outcome:
    """One workload's replay. Arrays over days (D,) or candidates (C,); candidate 0 is today's setting.

    Money and bad requests are those under the middle belief. ahead_*: each day under the setting that the days
    before it would have chosen (day 0: today's), so nothing of it was seen when it was chosen.
    """

    workload: Workload
    points: tuple[SetPoint, ...]
    chosen: int
    price: float  # of a bad share of 1, in multiples of ideal
    offered: F8  # (D,) requests
    usd: F8  # (D, C); NaN from the day on that a candidate was dropped
    bad: F8  # (D, C)
    ahead_usd: F8  # (D,)
    ahead_bad: F8
    loss: F8  # (C,) weighted, mean over beliefs; NaN where dropped
    source: str
    calibrated: Calibrated | None = None  # None: the service is as the scenario says

    @property
    def saved_usd_per_day(self) -> float:
        return float((self.usd[:, 0] - self.usd[:, self.chosen]).mean())

    def bad_share(self, candidate: int) -> float:
        return float(self.bad[:, candidate].sum() / max(self.offered.sum(), 1e-9))


@dataclass(frozen=True)
class Replayed:
    """Every workload that could be replayed, and why the others could not."""

    outcomes: tuple[Outcome, ...]
    left_out: tuple[tuple[str, str], ...]  # (workload, reason)
    stack: str
    options: Options


@dataclass(frozen=True)
class _Job:
    """One workload on its way."""

    workload: Workload
    today: HpaSpec
    series: Series
    days: int
    price: Price
    beliefs: tuple[float, ...]
    calibrated: Calibrated | None

    @property
    def points(self) -> tuple[SetPoint, ...]:
        return (of_today(self.workload, self.today), *candidates(self.workload, self.today))


def replay_history(
    scenario: Scenario,
    stack: Stack,
    history: History,
    options: Options,
    *,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Replayed:
    """Replay every workload of the scenario that the history has. Equal inputs give equal bytes, on any threads.

    Raises InputError when no workload of the scenario is in the history or the stack has no HPA.
    """
    jobs, left_out = _jobs(scenario, stack, history, options)
    total, done = float(sum(job.days for job in jobs)), 0.0
    outcomes: list[Outcome] = []
    for block in _blocks(jobs):
        for step in _replay_block(block, scenario, options, threads or os.cpu_count() or 1):
            if isinstance(step, Outcome):
                outcomes.append(step)
            else:
                done += len(block)
                if progress is not None:
                    progress(done, total)
    order = {w.name: i for i, w in enumerate(scenario.cluster.workloads)}
    outcomes.sort(key=lambda outcome: order[outcome.workload.name])
    return Replayed(tuple(outcomes), tuple(left_out), stack.name, options)


def hpa_today(stack: Stack, w: Workload) -> HpaSpec | None:
    """The HPA in force: the workload's own where it has one and the stack lets it, else the stack's; or KEDA's."""
    scaler = stack.scaler_of(w)
    if isinstance(scaler, KedaSpec) and all(trigger.type != "cron" for trigger in scaler.triggers):
        return scaler.hpa
    return scaler if isinstance(scaler, HpaSpec) else None


def _jobs(
    scenario: Scenario, stack: Stack, history: History, options: Options
) -> tuple[list[_Job], list[tuple[str, str]]]:
    jobs: list[_Job] = []
    left_out: list[tuple[str, str]] = []
    names = [w.name for w in scenario.cluster.workloads]
    for w in scenario.cluster.workloads:
        found = _job(scenario, stack, history, w, options)
        if isinstance(found, str):
            left_out.append((w.name, found))
        else:
            jobs.append(found)
    left_out += [(s.name, f"is not in the scenario; {did_you_mean(s.name, names, noun='workload')}")
                 for s in history.workloads if s.name not in names]  # fmt: skip
    if not jobs:
        first = next((why for name, why in left_out if name in names), "")
        sources = sorted({str(s.source) for s in history.workloads})
        known = [s.name for s in history.workloads]
        mend = f"none of the scenario's workloads can be replayed; the first: {names[0]}: {first}; "
        mend += f"the history is of {', '.join(known[:5])}{' and others' if len(known) > 5 else ''}"
        raise InputError(", ".join(sources), "workloads", None, mend)
    return jobs, left_out


def _job(scenario: Scenario, stack: Stack, history: History, w: Workload, options: Options) -> _Job | str:
    """The workload's job, or why there is none."""
    series = history.of(w.name)
    if series is None:
        return "has no history"
    today = hpa_today(stack, w)
    if today is None:
        return f"has no HPA in stack {stack.name}"
    if reason := why_not(w, today):
        return reason
    days = min(int((series.time_s[-1] - series.time_s[0] + series.step_s) / DAY_S + 1e-9), options.days)
    if days < 1:
        return f"has {series.time_s[-1] / 3600.0:.1f} h of history; give at least a day"
    try:
        price = cheapest(scenario.cluster, w)
    except ValueError as error:
        return str(error)
    found = _calibrated(w, series) if options.calibrate else None
    if found is None:
        return _Job(w, today, series, days, price, options.beliefs, None)
    return _Job(with_measured(w, found), today, series, days, price, believed(found, options.beliefs), found)


def _calibrated(w: Workload, series: Series) -> Calibrated | None:
    """What the history says of the service; None where it does not reach capacity or its back-test is bad."""
    if series.get("replicas") is None:
        return None
    try:
        found = calibrate(series, assumed_of(w))
    except InputError:
        return None
    tested = found.back_test
    if not found.informed or (tested and tested.cpu_error is not None and tested.cpu_error > MOST_CPU_ERROR):
        return None
    return found


def believed(c: Calibrated, beliefs: tuple[float, ...]) -> tuple[float, ...]:
    """Factors on the calibrated capacity: `beliefs`, stretched to the interval's ends where that is wider."""
    low, high = c.capacity_rps.low / c.capacity_rps.mid, c.capacity_rps.high / c.capacity_rps.mid
    down = max(1.0, (1.0 - low) / max(1.0 - min(beliefs), 1e-9))
    up = max(1.0, (high - 1.0) / max(max(beliefs) - 1.0, 1e-9))
    return tuple(1.0 + (b - 1.0) * (down if b < 1.0 else up) for b in beliefs)


def _blocks(jobs: Sequence[_Job]) -> Iterator[list[_Job]]:
    """Jobs of equally many days side by side."""
    for days in sorted({job.days for job in jobs}):
        same = [job for job in jobs if job.days == days]
        for at in range(0, len(same), BLOCK):
            yield same[at : at + BLOCK]


def _start_s(job: _Job) -> float:
    """When the last `days` of its measurements begin."""
    return float(job.series.time_s[-1] + job.series.step_s - job.days * DAY_S)


def _curve(job: _Job) -> tuple[F8, F8]:
    """The last `days` of the measured load, held at its ends to whole days."""
    time, value, start = job.series.time_s, job.series.offered_rps, _start_s(job)
    kept = time > start + 1e-6
    inside = np.interp(start, time, value)
    out_time = np.concatenate([[start], time[kept], [start + job.days * DAY_S]])
    out = np.concatenate([[inside], value[kept], [value[-1]]])
    rising = np.concatenate([[True], np.diff(out_time) > 1e-6])
    return out_time[rising] - start, out[rising]


def _replay_block(jobs: list[_Job], scenario: Scenario, options: Options, threads: int) -> Iterator[Outcome | None]:
    """None after each day, in the end the outcomes."""
    names = [job.workload.name for job in jobs]
    seed, tick_s = scenario.seed, scenario.tick_s
    curves = [_curve(job) for job in jobs]
    demand = demand_of(curves, names, tick_s=tick_s, noise=scenario.noise, seed=seed)
    state = _Block(jobs, options, tick_s=tick_s, seed=seed, first_rps=[float(value[0]) for _, value in curves])
    ticks = round(DAY_S / tick_s)
    measured = np.stack([measured_steps(j.series, _start_s(j), tick_s, j.days * ticks) for j in jobs], axis=1)
    for day in range(jobs[0].days):
        arrivals = demand.arrivals(day * ticks, min(ticks, demand.last_tick - day * ticks))[0]
        state.day(arrivals, measured[day * ticks :][: len(arrivals)], threads)
        yield None
    yield from state.outcomes()


class _Block:
    """Replays workloads side by side and remembers what each day cost."""

    def __init__(self, jobs: list[_Job], options: Options, *, tick_s: float, seed: int, first_rps: list[float]) -> None:
        self.jobs, self.options, self.tick_s = jobs, options, tick_s
        self.points = [job.points for job in jobs]
        self.shape = (len(jobs), len(self.points[0]), len(options.beliefs))
        rows = [
            Rows(
                job.workload,
                tuple(point.spec for point in points for _ in options.beliefs),
                job.beliefs * len(points),
                job.price,
                rps,
            )
            for job, points, rps in zip(jobs, self.points, first_rps, strict=True)
        ]
        self.run = ReplayRun(rows, tick_s=tick_s, seed=seed)
        self.price = violation_price(options.violation_price, [job.workload.slo_target for job in jobs])
        self.prior = np.stack(
            [
                fleet_regret(job.today.metrics[0].name, price, points)
                for job, points, price in zip(jobs, self.points, self.price, strict=True)
            ]
        )
        ideal = [job.workload.service.cpu_s_per_request * job.price.usd_per_core_h / 3600.0 for job in jobs]
        self.ideal_usd = np.array(ideal)  # per request
        self.past = rule.no_past(*self.shape)
        self.live = np.ones(self.shape[:2], np.bool_)
        self.middle = int(np.argmin(np.abs(np.array(options.beliefs) - 1.0)))
        self.usd: list[F8] = []
        self.bad: list[F8] = []
        self.offered: list[F8] = []
        self.choices: list[NDArray[np.int64]] = [np.zeros(len(jobs), np.int64)]

    def day(self, arrivals: F8, measured: NDArray[np.bool_], threads: int) -> None:
        """One more day of load, (n, W) requests per tick, and which of it was measured (n, W).

        Its dollars are those of the whole day; what is learnt from is what was measured.
        """
        usd, bad, before = np.zeros(self.shape), np.zeros(self.shape), self.past.seconds
        for ticks in alike(measured):
            stretch = arrivals[ticks]
            spent = self.run.advance(np.ascontiguousarray(stretch), threads=threads)
            new_usd, new_bad = spent.usd.reshape(self.shape), spent.bad.reshape(self.shape)
            usd, bad = usd + new_usd, bad + new_bad
            counts, each = measured[ticks.start], measured[ticks.start][:, None, None]
            offered = stretch.sum(axis=0) * counts
            new = rule.Past(
                new_usd * each, new_bad * each, offered * self.ideal_usd, offered, len(stretch) * self.tick_s
            )
            self.past = rule.later(self.past, new, half_life_s=self.options.half_life_s)
        dropped = ~self.live
        self.usd.append(np.where(dropped, np.nan, usd[:, :, self.middle]))
        self.bad.append(np.where(dropped, np.nan, bad[:, :, self.middle]))
        self.offered.append(arrivals.sum(axis=0))
        for _ in range(rule.due_halvings(before, self.past.seconds) if self.options.halving else 0):
            self.live = rule.halve(self.score(), self.live, keep=(0,))
            self.run.live[...] = np.repeat(self.live, self.shape[2], axis=1)
        self.choices.append(self.choice())

    def loss(self) -> F8:
        return np.where(self.live, rule.losses(self.past, self.price), np.nan)

    def score(self) -> F8:
        return rule.scores(
            rule.losses(self.past, self.price), self.prior, live=self.live, prior_weight=self.options.prior_weight
        )

    def choice(self) -> NDArray[np.int64]:
        """The least score; today's setting where nothing is better by LEAST_GAIN."""
        score = self.score()
        best = rule.choose(score)
        gain = score[:, 0] - score[np.arange(len(best)), best]
        return np.where(gain > LEAST_GAIN, best, 0)

    def outcomes(self) -> Iterator[Outcome]:
        usd, bad, offered, loss = np.stack(self.usd), np.stack(self.bad), np.stack(self.offered), self.loss()
        days = np.arange(len(usd))
        for w, job in enumerate(self.jobs):
            ahead = np.array([choice[w] for choice in self.choices[:-1]])
            yield Outcome(
                workload=job.workload,
                points=self.points[w],
                chosen=int(self.choices[-1][w]),
                price=float(self.price[w]),
                offered=offered[:, w],
                usd=usd[:, w],
                bad=bad[:, w],
                ahead_usd=usd[days, w, ahead],
                ahead_bad=bad[days, w, ahead],
                loss=loss[w],
                source=job.series.source.name,
                calibrated=job.calibrated,
            )
