"""How good is replay? Objective of fixed and replayed set-points on load that they were not tuned on.

    python -m training.evaluate_replay --load DIR --sources aiops2018 --first-day 20

Objective = replica dollars / ideal + w x bad share, mean over workloads, judged after the backfilled days.
`--centers 1,1.15` repeats replay with a capacity that is believed to be so many times the true one.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.replay_run import ReplayRun, Rows
from envs.setpoints import GRID, candidates, fleet_regret
from policies import replay as rule
from training.make_replay_prior import today_of
from training.replay_fleet import PRICE, Fleet, fleet

F8 = NDArray[np.float64]
PRICES = (30.0, 100.0, 300.0, 1000.0)
SPREAD = (0.85, 1.0, 1.15)


@dataclass(frozen=True)
class Follower:
    """One way to choose each hour; its row in the run is the true service under what it chose."""

    name: str
    price: float
    beliefs: tuple[float, ...]
    prior_weight: float = rule.PRIOR_WEIGHT
    halving: bool = True


class Trial:
    """Every set-point under every belief, and followers whose setting changes by the hour."""

    def __init__(self, made: Fleet, metric: str, followers: list[Follower], *, threads: int) -> None:
        self.made, self.followers, self.threads = made, followers, threads
        self.beliefs = tuple(sorted({1.0, *(b for f in followers for b in f.beliefs)}))
        self.points = [candidates(w, today_of(metric, w)) for w in made.workloads]
        first = made.demand.rates(0, 1)[0, 0]
        C, B, F = len(GRID), len(self.beliefs), len(followers)
        cases = [
            Rows(
                w,
                tuple(p.spec for p in points for _ in self.beliefs) + (points[0].spec,) * F,
                self.beliefs * C + (1.0,) * F,
                PRICE,
                float(first[i]),
            )
            for i, (w, points) in enumerate(zip(made.workloads, self.points, strict=True))
        ]
        self.run = ReplayRun(cases, tick_s=made.demand.tick_s)
        self.shape = (len(cases), C, B)
        self.prior = {
            f.price: np.stack([fleet_regret(metric, f.price, points) for points in self.points]) for f in followers
        }
        cpu_s = np.array([w.service.cpu_s_per_request for w in made.workloads])
        self.ideal_usd = cpu_s * PRICE.usd_per_core_h / 3600.0
        self.past = rule.no_past(*self.shape)
        self.live = [np.ones(self.shape[:2], np.bool_) for _ in followers]

    def hour(self, arrivals: F8) -> tuple[rule.Past, F8, F8]:
        """(what every set-point cost, dollars (W, F), bad (W, F)) of one more hour; then everyone chooses."""
        spent = self.run.advance(arrivals, threads=self.threads)
        cut = self.shape[1] * self.shape[2]
        offered = arrivals.sum(axis=0)
        usd, bad = spent.usd[:, :cut].reshape(self.shape), spent.bad[:, :cut].reshape(self.shape)
        new = rule.Past(usd, bad, offered * self.ideal_usd, offered, len(arrivals) * self.made.demand.tick_s)
        before, self.past = self.past.seconds, rule.later(self.past, new)
        for k, follower in enumerate(self.followers):
            self._choose(k, follower, before)
        return new, spent.usd[:, cut:], spent.bad[:, cut:]

    def _choose(self, k: int, follower: Follower, before_s: float) -> None:
        at = [self.beliefs.index(b) for b in follower.beliefs]
        seen = rule.Past(
            self.past.usd[:, :, at], self.past.bad[:, :, at], self.past.ideal_usd, self.past.offered, self.past.seconds
        )
        loss = rule.losses(seen, follower.price)

        def score() -> F8:
            prior = self.prior[follower.price]
            return rule.scores(loss, prior, live=self.live[k], prior_weight=follower.prior_weight)

        for _ in range(rule.due_halvings(before_s, self.past.seconds) if follower.halving else 0):
            self.live[k] = rule.halve(score(), self.live[k])
        first = self.shape[1] * self.shape[2]
        for w, c in enumerate(rule.choose(score())):
            self.run.rewrite(w, first + k, self.points[w][c].spec)


def evaluate(made: Fleet, metric: str, *, past_days: float, centers: list[float], threads: int) -> list[list[str]]:
    """Rows of the table: name, then per price mean objective and mean log-regret against hindsight."""
    followers = [
        Follower(name, price, beliefs, weight)
        for price in PRICES
        for center in centers
        for name, beliefs, weight in (
            (f"replay, capacity x {center:g}", tuple(round(center * b, 6) for b in SPREAD), rule.PRIOR_WEIGHT),
            (f"replay, capacity x {center:g}, point estimate", (center,), rule.PRIOR_WEIGHT),
            (f"replay, capacity x {center:g}, no prior", tuple(round(center * b, 6) for b in SPREAD), 0.0),
        )
    ]
    trial = Trial(made, metric, followers, threads=threads)
    ticks = round(3600.0 / made.demand.tick_s)
    true = trial.beliefs.index(1.0)
    early: list[rule.Past] = []
    judged: list[tuple[rule.Past, F8, F8]] = []
    for hour in range(round(made.days * 24)):
        step = trial.hour(made.demand.arrivals(hour * ticks, ticks)[0])
        if hour < past_days * 24:
            early.append(step[0])
        else:
            judged.append(step)
    return _table(trial, metric, early, judged, true)


def _sums(pasts: list[rule.Past], true: int) -> tuple[F8, F8, F8, F8]:
    """(dollars (W, C), bad (W, C), ideal (W,), offered (W,)) under the true capacity."""
    return (
        np.sum([p.usd[:, :, true] for p in pasts], axis=0),
        np.sum([p.bad[:, :, true] for p in pasts], axis=0),
        np.sum([p.ideal_usd for p in pasts], axis=0),
        np.sum([p.offered for p in pasts], axis=0),
    )


def _table(
    trial: Trial, metric: str, early: list[rule.Past], judged: list[tuple[rule.Past, F8, F8]], true: int
) -> list[list[str]]:
    usd0, bad0, ideal0, offered0 = _sums(early, true)
    usd, bad, ideal, offered = _sums([j[0] for j in judged], true)
    own_usd, own_bad = np.sum([j[1] for j in judged], axis=0), np.sum([j[2] for j in judged], axis=0)
    rows: dict[str, list[str]] = {}
    for price in PRICES:
        loss = usd / ideal[:, None] + price * bad / offered[:, None]
        past = usd0 / ideal0[:, None] + price * bad0 / offered0[:, None]
        w = np.arange(len(loss))
        tuned = int(np.argmin(fleet_regret(metric, price, trial.points[0])))
        named = {
            "one constant, tuned on the training fleet": loss[:, tuned],
            "best constant, chosen on the test itself": loss[:, int(np.argmin(loss.mean(axis=0)))],
            "tuned on its own past, then frozen": loss[w, np.argmin(past, axis=1)],
        }
        for k, follower in enumerate(trial.followers):
            if follower.price == price:
                named[follower.name] = own_usd[:, k] / ideal + price * own_bad[:, k] / offered
        named["best constant per workload, in hindsight"] = loss.min(axis=1)
        hindsight = named["best constant per workload, in hindsight"]
        for name, values in named.items():
            regret = float(np.log(values / hindsight).mean())
            rows.setdefault(name, [name]).append(f"{values.mean():.2f} / {regret:+.3f}")
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate_replay", description=__doc__)
    parser.add_argument("--load", type=Path, required=True)
    parser.add_argument("--sources", default="aiops2018", help="beginnings of file names, a,b,c")
    parser.add_argument("--metric", default="requests_per_second", help="requests_per_second or cpu")
    parser.add_argument("--first-day", type=int, default=20)
    parser.add_argument("--days", type=float, default=8)
    parser.add_argument("--past-days", type=float, default=3.0, help="of these, replayed before judging begins")
    parser.add_argument("--segments", type=int, default=1)
    parser.add_argument("--centers", default="1")
    options = parser.parse_args()
    files = sorted(p for p in options.load.glob("*.csv.gz") if p.name.startswith(tuple(options.sources.split(","))))
    made = fleet(files, first_day=options.first_day, days=int(options.days), segments=options.segments)
    if not made.workloads:
        parser.error("no file of these sources is long enough")
    print(f"{len(set(made.traces))} traces, {len(made.workloads)} workloads, {options.metric}, mean / log-regret")
    centers = [float(c) for c in options.centers.split(",")]
    table = evaluate(made, options.metric, past_days=options.past_days, centers=centers, threads=os.cpu_count() or 1)
    print("| | " + " | ".join(f"w = {p:g}" for p in PRICES) + " |\n|---|" + "---|" * len(PRICES))
    for row in table:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
