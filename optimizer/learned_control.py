"""`learned:` in a stack: inside what-if, a network moves each service's set-points every period.

The same `policies.decide.decide` as in a live agent, from Snapshots only. Before time 0 and then every hour, replay
(`optimizer.family_replay`) says for each workload which member of the family its own measured past asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from envs.action import Plan
from envs.cluster import ClusterSpec
from envs.demand import Demand
from envs.guardrails import PIPELINE
from envs.load_past import LoadPast
from envs.plain import Array
from envs.recorded_past import past_rates
from envs.replay_run import Rows, cheapest
from envs.scenario import Scenario
from envs.snapshot import Snapshot
from envs.stack import HpaSpec, Learned, Stack
from envs.steered import prices_of, steered
from optimizer.family_replay import FamilyReplay
from optimizer.measured_past import backfill
from policies.burn import moved, no_burn, seen
from policies.decide import Guards, decide, first_memory
from policies.family import MEMBERS, members
from policies.learned import Actor, LearnedSetPoints, scales_on_rps, told

HOUR_S = 3600.0
# Bounds and freshness hold. Steps and pauses do not: the HPA's own stabilization is what a set-point's change meets.
GUARDS = Guards(pipeline=tuple(g for g in PIPELINE if g[0] in ("freshness", "bounds")))


class LearnedControl:
    """Decides from measurements; see envs.measured_loop.Decide. `scenario` and `stack` are what to roll out."""

    def __init__(
        self,
        scenario: Scenario,
        stack: Stack,
        seed: int,
        actor: Actor,
        *,
        prior: Callable[[Array], Array] | None = None,
    ) -> None:
        assert stack.learned is not None
        self.options = stack.learned
        self.period_s = stack.learned.period_s
        self.prices = prices_of(scenario, self.options.violation_price)
        cluster, self.stack = steered(scenario, stack, self.prices)
        self.scenario = replace(scenario, cluster=cluster)
        self.intent = replace(scenario.intent, violation_price=self._base_price())
        self.policy = LearnedSetPoints(actor)
        self.memory = first_memory(self.policy, cluster)
        none = np.zeros((len(cluster.workloads), MEMBERS))
        self.prior = none if prior is None else prior(self.prices)
        self.slo = np.array([w.slo_target for w in cluster.workloads])
        self.past = LoadPast(len(cluster.workloads))
        self.who = [i for i, w in enumerate(cluster.workloads) if scales_on_rps(w) and _price(scenario, i)]
        self.replay = None
        if self.options.replay and self.who:
            prices, known = self.prices[None, self.who], self.prior[None, self.who]
            self.replay = family_of(actor, cluster, self.who, prices, known, self.options, scenario.tick_s, seed)
        self.burn = no_burn(len(cluster.workloads))
        self._last = np.zeros(len(cluster.workloads))
        self._seed = seed
        self._waiting: list[Array] = []  # rates that replay has not seen yet
        self._measured: list[NDArray[np.bool_]] = []  # of each of them, whether it was measured
        self._chosen_at = -np.inf
        self._begun = False

    def _base_price(self) -> float:
        given = self.options.violation_price
        return self.scenario.intent.violation_price if given is None else given

    def __call__(self, time_s: float, rates: Array, look: Callable[[], Snapshot]) -> Plan | None:
        """The plan for the next period."""
        if not self._begun:
            self._begun = True
            self._recall()
        for row in rates:
            self._last = np.where(np.isnan(row), self._last, row)
            self.past.push(row)
            self._waiting.append(self._last)
            self._measured.append(~np.isnan(row))
        if self.replay is not None and time_s - self._chosen_at >= self.options.every_s:
            self._choose(time_s)
        snapshot = replace(look(), past_rps=self.past.read())
        self._note_errors(snapshot)
        made, self.memory = decide(
            self.policy, self.memory, (snapshot,), self.scenario.cluster, self.intent, time_s, 0, guards=GUARDS
        )
        return made.plan

    def _note_errors(self, snapshot: Snapshot) -> None:
        now = snapshot.workloads
        offered = now.offered_rps.value * self.period_s
        self.burn = seen(self.burn, offered, offered * now.error_share.value, self.period_s)

    def _recall(self) -> None:
        """What was measured before time 0: minutes for the network to look back on, and load for replay."""
        demand = Demand.pack([self.scenario], [self._seed])
        self.past.extend(past_rates(demand, [self.scenario]))
        self._waiting += recalled(self.scenario, self.options.backfill_s)
        self._measured += [np.ones(len(row), np.bool_) for row in self._waiting]

    def _choose(self, time_s: float) -> None:
        """Each workload's member of the family for the next hour, into the policy's memory."""
        assert self.replay is not None
        if self._waiting:
            self.replay.extend(np.stack(self._waiting)[:, self.who], np.stack(self._measured)[:, self.who])
            self._waiting, self._measured = [], []
        self._chosen_at = time_s
        if self.options.burn:
            self.burn = moved(self.burn, self.slo)
        chosen = members(self.replay.choice(self.burn.multiplier[self.who]))
        self.memory = replace(self.memory, policy=told(self.memory.policy, self.who, chosen))


def _price(scenario: Scenario, i: int) -> bool:
    try:
        cheapest(scenario.cluster, scenario.cluster.workloads[i])
    except ValueError:
        return False
    return True


def family_of(
    actor: Actor, cluster: ClusterSpec, who: Sequence[int], prices: Array, prior: Array, options: Learned,
    tick_s: float, seed: int,
) -> FamilyReplay:  # fmt: skip
    """The replay of workloads `who`, whose HPAs follow requests per second; prices, prior: see FamilyReplay."""
    rows = []
    for i in who:
        w = cluster.workloads[i]
        assert isinstance(w.hpa, HpaSpec)
        rows.append(Rows(w, (w.hpa,), options.beliefs, cheapest(cluster, w)))
    return FamilyReplay(
        actor,
        rows,
        prices,
        prior,
        beliefs=options.beliefs,
        tick_s=tick_s,
        seed=seed,
        half_life_s=options.half_life_s,
        every_min=max(round(options.period_s / 60.0), 1),
        prior_weight=options.prior_weight,
    )


def recalled(scenario: Scenario, back_s: float) -> list[Array]:
    """(W,) requests/s of each minute that was measured before time 0, at most back_s of them, oldest first."""
    ticks, out = max(round(60.0 / scenario.tick_s), 1), []
    for day in backfill(scenario, back_s):
        n = len(day) // ticks
        out += list(day[: n * ticks].reshape(n, ticks, -1).sum(axis=1) / 60.0)
    return out
