"""A simulated cluster whose HPAs are rewritten from time to time, by code that sees measurements only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.action import Plan
from envs.plausible import LOOK_BACK_MIN, impossible
from envs.sim.cluster_sim import ClusterSim
from envs.sim.exchange import apply_plan, take_snapshot
from envs.sim.measure import RATE_WINDOW_S, measure_workloads
from envs.snapshot import Snapshot

F8 = NDArray[np.float64]
OFFERED, BAD_SHARE = 2, 3  # rows of measure_workloads


class Decide(Protocol):
    """What to change, from what has been measured so far. period_s: how often it is asked."""

    period_s: float

    def __call__(self, time_s: float, rates: F8, look: Callable[[], Snapshot]) -> Plan | None:
        """rates (n, W): offered requests/s of the n minutes since it was last asked, as the metrics pipeline
        showed them (a minute's mean, 15 s old). NaN: not measured, or cannot be
        (envs.plausible). look(): what can be measured of the cluster now. None: change nothing.
        """


class MeasuredLoop:
    """Runs cluster 0 of `sim` a minute at a time, takes each minute's sample, asks `decide` at its period."""

    def __init__(self, sim: ClusterSim, decide: Decide) -> None:
        self.sim, self.decide = sim, decide
        self._step = max(round(RATE_WINDOW_S / sim.tick_s), 1)
        self._every = max(round(decide.period_s / (self._step * sim.tick_s)), 1) * self._step
        self._rates: list[F8] = []
        self._asked_at: int | None = None
        workloads = sim.cases[0].scenario.cluster.workloads
        self._capacity = np.array([w.service.capacity_rps if w.kind == "service" else np.inf for w in workloads])
        self._ready, self._sampled = np.zeros((LOOK_BACK_MIN, len(workloads))), 0  # a ring of the last minutes
        self.decisions, self.decision_s = 0, 0.0  # how often it was asked, and wall-clock seconds that it took

    def run(self, arrivals: NDArray[np.float64]) -> None:
        """Advance by (1, n, W) arrivals; any n, chunk by chunk."""
        at, total = 0, arrivals.shape[1]
        while at < total:
            if self.sim.tick % self._every == 0 and self._asked_at != self.sim.tick:
                self._ask(arrivals.shape[2])
            n = min(self._step - self.sim.tick % self._step, total - at)
            self.sim.run(np.ascontiguousarray(arrivals[:, at : at + n]))
            at += n
            if self.sim.tick % self._step == 0:
                self._rates.append(self._sample())

    def _ask(self, width: int) -> None:
        self._asked_at = self.sim.tick
        rates = np.stack(self._rates) if self._rates else np.zeros((0, width))
        self._rates = []
        began = time.perf_counter()
        plan = self.decide(self.sim.tick * self.sim.tick_s, rates, lambda: take_snapshot(self.sim))
        self.decisions, self.decision_s = self.decisions + 1, self.decision_s + time.perf_counter() - began
        if plan is not None:
            apply_plan(self.sim, plan)

    def _sample(self) -> F8:
        seen = np.empty((5, self.sim.arrays.flow.n_ready.shape[1]))
        measure_workloads(self.sim.view, 0, self.sim.tick * self.sim.tick_s, self.sim.tick, seen)
        self._ready[self._sampled % LOOK_BACK_MIN] = self.sim.arrays.flow.n_ready[0]
        self._sampled += 1
        most = self._ready.max(axis=0)
        return np.where(impossible(seen[OFFERED], seen[BAD_SHARE], most, self._capacity), np.nan, seen[OFFERED])
