"""Which variant of the network each workload's own past asks for: losses of `envs.steered_replay`, choice of
`policies.replay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from envs.plain import Array
from envs.replay_run import Rows
from envs.steered_replay import MINUTE_S, SteeredReplay
from policies import replay as rule
from policies.family import told_prices, variant_scalings
from policies.learned import Actor, answer


class FamilyReplay:
    """W workloads with their HPAs on requests per second.

    every_min: how often a row's set-points move, as often as the live policy's.
    """

    def __init__(
        self,
        actor: Actor,
        rows: Sequence[Rows],
        *,
        beliefs: Sequence[float],
        tick_s: float,
        seed: int = 0,
        half_life_s: float = rule.HALF_LIFE_S,
        every_min: int = 1,
    ) -> None:
        self.half_life_s = half_life_s
        told, scaling = told_prices(len(rows)), variant_scalings()
        self.run = SteeredReplay(
            partial(answer, actor), rows, told, scaling, beliefs=beliefs, tick_s=tick_s, seed=seed, every=every_min
        )
        usd = [r.workload.service.cpu_s_per_request * r.price.usd_per_core_h / 3600.0 for r in rows]
        self.ideal_usd = np.array(usd)
        self.past = rule.no_past(*self.run.shape)

    def extend(self, rates: Array) -> None:
        """(minutes, W) measured requests/s join the past, oldest first."""
        usd, bad = self.run.advance(rates)
        offered = rates.sum(axis=0) * MINUTE_S
        new = rule.Past(usd, bad, offered * self.ideal_usd, offered, len(rates) * MINUTE_S)
        self.past = rule.later(self.past, new, half_life_s=self.half_life_s)

    def choice(self, prices: Array, prior: Array, prior_weight: float) -> NDArray[np.int64]:
        """(W,) index into VARIANTS: least log loss over the workload's best, plus the prior (W, V).

        prices (W,): what a bad share of 1 costs, in ideals.
        """
        loss = rule.losses(self.past, prices)
        return rule.choose(rule.scores(loss, prior, prior_weight=prior_weight))
