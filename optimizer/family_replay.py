"""Which member of the family, a variant of the network or a constant, each workload's own past asks for: losses of
`envs.steered_replay`, choice of `policies.replay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from envs.plain import Array
from envs.replay_run import Rows
from envs.steered_replay import MINUTE_S, SteeredReplay
from optimizer.measured_past import alike
from policies import replay as rule
from policies.family import FAMILY
from policies.learned import Actor, answer


class FamilyReplay:
    """W workloads with their HPAs on requests per second.

    prices (S, W): what a bad share of 1 costs, in ideals, in each of S settings that share one replay.
    prior (S, W, V): mean log-regret of the family on the training fleet.
    every_min: how often a row's set-points move, as often as the live policy's.
    """

    def __init__(
        self,
        actor: Actor,
        rows: Sequence[Rows],
        prices: Array,
        prior: Array,
        *,
        beliefs: Sequence[float],
        tick_s: float,
        seed: int = 0,
        half_life_s: float = rule.HALF_LIFE_S,
        every_min: int = 1,
        prior_weight: float = rule.PRIOR_WEIGHT,
    ) -> None:
        self.prices, self.prior, self.prior_weight = prices, prior, prior_weight
        self.half_life_s = half_life_s
        self.run = SteeredReplay(
            partial(answer, actor), rows, FAMILY, beliefs=beliefs, tick_s=tick_s, seed=seed, every=every_min
        )
        usd = [r.workload.service.cpu_s_per_request * r.price.usd_per_core_h / 3600.0 for r in rows]
        self.ideal_usd = np.array(usd)
        self.past = rule.no_past(*self.run.shape)
        self.live = [np.ones(self.run.shape[:2], np.bool_) for _ in prices]

    def extend(self, rates: Array, measured: NDArray[np.bool_] | None = None) -> None:
        """(minutes, W) measured requests/s join the past, oldest first; the field is halved where that is due.

        measured (minutes, W): False where a rate only stands in for one; it is run, and nothing is learnt from it.
        A setting drops the worse half of its members after 2, 4 and 8 days; those that every setting has dropped
        are not run any more.
        """
        known, before = np.ones(rates.shape, np.bool_) if measured is None else measured, self.past.seconds
        for minutes in alike(known):
            self._learn(rates[minutes], known[minutes.start])
        for _ in range(rule.due_halvings(before, self.past.seconds)):
            self.live = [rule.halve(self._score(s, self.prices[s]), self.live[s]) for s in range(len(self.prices))]
            self.run.keep(np.logical_or.reduce(self.live))

    def _learn(self, rates: Array, measured: NDArray[np.bool_]) -> None:
        usd, bad = self.run.advance(rates)
        offered, counts = rates.sum(axis=0) * MINUTE_S * measured, measured[:, None, None]
        new = rule.Past(usd * counts, bad * counts, offered * self.ideal_usd, offered, len(rates) * MINUTE_S)
        self.past = rule.later(self.past, new, half_life_s=self.half_life_s)

    def choice(self, multiplier: Array | float = 1.0, setting: int = 0) -> NDArray[np.int64]:
        """(W,) index into FAMILY: least log loss over the workload's best, plus the prior.

        multiplier: on the violation prices, from the error budget's burn.
        """
        return rule.choose(self._score(setting, self.prices[setting] * multiplier))

    def _score(self, s: int, prices: Array) -> Array:
        loss = rule.losses(self.past, prices)
        return rule.scores(loss, self.prior[s], live=self.live[s], prior_weight=self.prior_weight)
