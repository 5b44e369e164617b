"""The two stages that need no training, on validation: every hour each service gets what its own past asks for.

`policies.replay` chooses, from what each candidate would have cost: constants (the 75 set-points of envs.setpoints) or
the variants of a network (policies.family). The past is what was measured before the worlds begin, and grows with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.executor import Stopped, never
from envs.observation import encode_rows
from envs.plain import Array
from envs.replay_run import Price, ReplayRun, Rows, cheapest
from envs.set_point_action import LONGEST_S, steered_points
from envs.setpoints import GRID, SetPoint, fleet_regret
from envs.stack import HpaBehavior, HpaSpec, ScalingRules
from envs.steered_replay import MINUTE_S, SteeredReplay
from envs.workload_batch import Terms, WorkloadBatch
from policies import replay as rule
from policies.family import FAMILY, members, prior_at
from policies.learned import with_price
from policies.manifest import VariantPrior
from training.act import Act

HOUR_MIN = 60
BELIEFS = (0.85, 1.0, 1.15)  # about a replica's capacity, as in the stacks that ship


class Candidates(Protocol):
    """What may be chosen, and what each of it would have cost."""

    prior: Array  # (W, C)

    def advance(self, rates: Array) -> tuple[Array, Array]:
        """(minutes, W) measured requests/s: (dollars, bad requests), each (W, C, B)."""
        ...

    def step(self, batch: WorkloadBatch, chosen: NDArray[np.int64]) -> Terms:
        """One control period with row i under candidate chosen[i]."""
        ...


class Constants:
    """The 75 set-points, each held for good."""

    def __init__(self, batch: WorkloadBatch, beliefs: Sequence[float]) -> None:
        W, C, B = len(batch.workloads), len(GRID), len(beliefs)
        cases = [replace(r, settings=(_roomy(r),) * (C * B), beliefs=tuple(beliefs) * C) for r in rows_of(batch)]
        self.shape, self.tick_s, self._threads = (W, C, B), batch.sim.tick_s, batch.threads
        self._run = ReplayRun(cases, tick_s=self.tick_s)
        self._points = np.array(GRID, np.float64)
        self._run.steer(*(np.tile(np.repeat(column, B), (W, 1)) for column in self._points.T))
        asked = [SetPoint(share, window, HpaSpec()) for share, window in GRID]
        self.prior = np.stack([fleet_regret("requests_per_second", float(p), asked) for p in batch.prices])

    def advance(self, rates: Array) -> tuple[Array, Array]:
        ticks = max(round(MINUTE_S / self.tick_s), 1)
        spent = self._run.advance(np.repeat(rates * self.tick_s, ticks, axis=0), threads=self._threads)
        return spent.usd.reshape(self.shape), spent.bad.reshape(self.shape)

    def step(self, batch: WorkloadBatch, chosen: NDArray[np.int64]) -> Terms:
        return batch.hold(*self._points[chosen].T)


class Variants:
    """The family: a network told one of six prices, on a base scaled by one of five factors; and constants."""

    def __init__(self, act: Act, batch: WorkloadBatch, beliefs: Sequence[float], prior: VariantPrior) -> None:
        self._act = act
        self._run = SteeredReplay(
            act, rows_of(batch), FAMILY, beliefs=beliefs, tick_s=batch.sim.tick_s, every=batch.minutes
        )  # fmt: skip
        self.prior = prior_at(batch.prices, prior.prices, prior.log_regret)

    def advance(self, rates: Array) -> tuple[Array, Array]:
        return self._run.advance(rates)

    def step(self, batch: WorkloadBatch, chosen: NDArray[np.int64]) -> Terms:
        steer = members(chosen)
        action = self._act(with_price(encode_rows(batch.signals(), batch.spec), steer.told))
        return batch.hold(*steered_points(action, steer))


def rows_of(batch: WorkloadBatch) -> list[Rows]:
    """A row of replay for each service, at the prices of its own cluster."""
    clusters = [s.cluster for s in batch.scenarios for _ in s.cluster.workloads]
    out = []
    for cluster, w in zip(clusters, batch.workloads, strict=True):
        assert isinstance(w.hpa, HpaSpec)
        price: Price = cheapest(cluster, w)
        out.append(Rows(w, (w.hpa,), (1.0,), price))
    return out


def _roomy(row: Rows) -> HpaSpec:
    """The HPA with the longest window: memory is laid out for what is written later."""
    return replace(row.settings[0], behavior=HpaBehavior(scale_down=ScalingRules(stabilization_s=int(LONGEST_S))))


def replayed(batch: WorkloadBatch, candidates: Candidates, *, days: float, stop: Stopped = never) -> Array:
    """(N,) mean cost of a minute when replay chooses anew every hour, after `days` of measured past.

    Raises KeyboardInterrupt after stop().
    """
    past = _learned(batch, candidates, None, batch.past.last(round(days * 1440)))
    total, steps, minutes = np.zeros(len(batch.workloads)), 0, 0
    chosen = rule.choose(rule.scores(rule.losses(past, batch.prices), candidates.prior))
    while not batch.done:
        if stop():
            raise KeyboardInterrupt
        total += candidates.step(batch, chosen).cost
        steps, minutes = steps + 1, minutes + batch.minutes
        if minutes >= HOUR_MIN:
            past, minutes = _learned(batch, candidates, past, batch.past.last(minutes)), 0
            chosen = rule.choose(rule.scores(rule.losses(past, batch.prices), candidates.prior))
    return total / steps


def _learned(batch: WorkloadBatch, candidates: Candidates, past: rule.Past | None, rates: Array) -> rule.Past:
    """The past with these minutes (minutes, W) behind it, an hour at a time. What was not measured counts nothing."""
    cpu_s = np.array([w.service.cpu_s_per_request for w in batch.workloads])
    usd_s = np.array([r.price.usd_per_core_h for r in rows_of(batch)]) / 3600.0
    for first in range(0, len(rates), HOUR_MIN):
        hour = rates[first : first + HOUR_MIN]
        known = np.asarray(np.isfinite(hour).all(axis=0))
        hour = np.where(known, hour, 0.0)
        usd, bad = (x * known[:, None, None] for x in candidates.advance(hour))
        offered = hour.sum(axis=0) * MINUTE_S
        new = rule.Past(usd, bad, offered * cpu_s * usd_s, offered, len(hour) * MINUTE_S)
        past = new if past is None else rule.later(past, new)
    assert past is not None
    return past
