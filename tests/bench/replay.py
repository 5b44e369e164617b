"""How long replay takes: a tenth of the whole through all of its days, and the hourly increment of 1,000 workloads."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np

from envs.demand import Demand
from envs.replay_run import ReplayRun, Rows, cheapest
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from envs.setpoints import candidates
from envs.stack import HpaSpec
from policies import replay as rule

BELIEFS = (0.85, 1.0, 1.15)
DAYS, WORKLOADS, SEEDS = 14, 50, (1, 2, 3, 4, 5)  # 12 services of the web shop on each seed
PRICE, DAY_TICKS = 137.0, 5760


def replay_run(workloads: int) -> tuple[ReplayRun, Scenario, np.ndarray]:
    """Services of the web shop over and over, today's setting and 75 others under three beliefs each; and the dollars
    of the CPU that a request of each burns."""
    shop, today = load_scenario("webshop"), HpaSpec()
    cases, ideal = [], []
    for i in range(workloads):
        w = shop.cluster.workloads[i % len(shop.cluster.workloads)]
        specs = (today, *(point.spec for point in candidates(w, today)))
        settings = tuple(spec for spec in specs for _ in BELIEFS)
        price = cheapest(shop.cluster, w)
        ideal.append(w.service.cpu_s_per_request * price.usd_per_core_h / 3600.0)
        cases.append(Rows(replace(w, name=f"{w.name}-{i}"), settings, BELIEFS * len(specs), price))
    return ReplayRun(cases, tick_s=shop.tick_s), shop, np.array(ideal)


class Halving:
    """The field of set-points, halved by its own losses as replay does."""

    def __init__(self, run: ReplayRun, ideal_usd: np.ndarray) -> None:
        self.run, self.ideal_usd = run, ideal_usd
        self.shape = (len(ideal_usd), run.live.shape[1] // len(BELIEFS), len(BELIEFS))
        self.past = rule.no_past(*self.shape)
        self.live = np.ones(self.shape[:2], np.bool_)

    def day(self, arrivals: np.ndarray, threads: int) -> None:
        spent, offered = self.run.advance(arrivals, threads=threads), arrivals.sum(axis=0)
        usd, bad = spent.usd.reshape(self.shape), spent.bad.reshape(self.shape)
        before = self.past.seconds
        self.past = rule.later(self.past, rule.Past(usd, bad, offered * self.ideal_usd, offered, 86_400.0))
        for _ in range(rule.due_halvings(before, self.past.seconds)):
            score = rule.scores(rule.losses(self.past, PRICE), np.zeros(self.shape[:2]), live=self.live)
            self.live = rule.halve(score, self.live, keep=(0,))
            self.run.live[...] = np.repeat(self.live, len(BELIEFS), axis=1)


def tenth_of_all() -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, CPU nanoseconds a row-tick) of 50 workloads through 14 days."""
    run, shop, ideal = replay_run(WORKLOADS)
    threads, field = os.cpu_count() or 1, Halving(run, ideal)
    demand = Demand.pack([shop] * len(SEEDS), list(SEEDS))
    wall = cpu = rows = 0.0
    for day in range(DAYS):
        loads = demand.arrivals(day * DAY_TICKS, DAY_TICKS)
        arrivals = np.ascontiguousarray(np.concatenate(list(loads), axis=1)[:, :WORKLOADS])
        rows += float(field.live.sum()) * len(BELIEFS)
        began, before = time.perf_counter(), time.process_time()
        field.day(arrivals, threads)
        wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - before
    return wall, cpu, cpu * 1e9 / (rows * DAY_TICKS)


def hour_of_1000() -> tuple[float, float]:
    """(wall, CPU seconds) of an hour's increment of 1,000 workloads before anything is halved."""
    run, shop, _ = replay_run(1000)
    hour = np.tile(Demand.pack([shop], [1]).arrivals(0, 240)[0], 84)[:, :1000]
    began, before = time.perf_counter(), time.process_time()
    run.advance(np.ascontiguousarray(hour), threads=os.cpu_count() or 1)
    return time.perf_counter() - began, time.process_time() - before
