"""Several settings of one learned stack on one case, as one batch of clusters.

What the network's variants would have cost on the past does not depend on the price of a violation, only the choice
does: all settings share one replay. And all clusters are one batch: one encoder and one call of the network a minute.
The plans are those of `optimizer.learned_control`; settings differ in their violation price alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from envs.observation import encode_rows
from envs.plain import Array
from envs.rollout_batch import BAD, Judged, WorkTotals, outcome_of
from envs.set_point_action import Steer, steered_points
from envs.sim import flow as f
from envs.stack import Learned, Stack
from envs.steered import prices_of
from envs.timeline import CHURN
from envs.workload_batch import MINUTE_S, WorkloadBatch
from optimizer.evaluate_cases import Case
from optimizer.learned_control import family_of, recalled
from optimizer.learned_stack import bundle_of, prior_of
from policies.burn import Burn, moved, no_burn, seen
from policies.family import members
from policies.learned import answer, with_price
from policies.network import Network


def one_batch(case: Case, stacks: Sequence[Stack]) -> bool:
    """Whether these are settings of one stack that differ in the violation price alone, on services only, and with
    sound telemetry: what each makes of garbage depends on the replicas that it has."""
    bare = {replace(s, learned=replace(s.learned, violation_price=None)) for s in stacks if s.learned is not None}
    services = all(w.kind == "service" for w in case.scenario.cluster.workloads)
    sound = not any(f.kind.startswith("telemetry") for f in case.scenario.faults)
    alike = len(bare) == 1 and services and sound
    return alike and all(s.learned is not None and s.learned.period_s == MINUTE_S for s in stacks)


def run_settings(case: Case, stacks: Sequence[Stack]) -> list[tuple[Judged, int, float]]:
    """(what it cost and broke, decisions, seconds of deciding) of each setting, in order."""
    run = _Settings(case, stacks)
    while not run.batch.done:
        run.minute()
    return run.judged()


class _Settings:
    def __init__(self, case: Case, stacks: Sequence[Stack]) -> None:
        assert stacks[0].learned is not None
        self.case, self.options = case, stacks[0].learned
        S, W = len(stacks), len(case.scenario.demand)
        scenario = replace(case.scenario, seed=case.seed)
        self.prices = np.stack([prices_of(scenario, _price(s.learned)) for s in stacks])  # (S, W)
        self.batch = WorkloadBatch([scenario] * S, stacks, self.prices.ravel())
        bundle = bundle_of(stacks[0])
        self.network = Network(bundle)
        prior = np.stack([prior_of(bundle)(p) for p in self.prices])
        cluster = self.batch.scenarios[0].cluster
        self.family = family_of(
            self.network, cluster, range(W), self.prices, prior, self.options, scenario.tick_s, case.seed
        )
        self.waiting = recalled(self.batch.scenarios[0], self.options.backfill_s)
        self.slo = np.array([w.slo_target for w in cluster.workloads])
        self.burns: list[Burn] = [no_burn(W) for _ in stacks]
        self.steer = Steer(self.prices.ravel(), np.ones(S * W), *np.full((2, S * W), np.nan))
        self.work, self.usd = np.zeros((4, S, W)), np.zeros(S)
        self.churn = np.zeros((S, len(CHURN)))
        self.minutes, self.seconds = 0, 0.0

    def minute(self) -> None:
        """Choose when it is time, decide, simulate, count."""
        began = time.perf_counter()
        if self.options.replay and self.minutes * MINUTE_S % self.options.every_s == 0:
            self._choose()
        signals = self.batch.signals()
        self._note_errors(signals.offered_rps, signals.error_share)
        action = answer(self.network, with_price(encode_rows(signals, self.batch.spec), self.steer.told))
        self.seconds += time.perf_counter() - began
        self.batch.hold(*steered_points(action, self.steer))
        self.waiting.append(self.batch.past.newest()[: self.prices.shape[1]])
        if self.minutes * MINUTE_S >= self.case.judged_from_s:
            self._count()
        self.minutes += 1

    def _choose(self) -> None:
        if self.waiting:
            self.family.extend(np.stack(self.waiting))
            self.waiting = []
        if self.options.burn:
            self.burns = [moved(burn, self.slo) for burn in self.burns]
        chosen = [self.family.choice(burn.multiplier, s) for s, burn in enumerate(self.burns)]
        self.steer = members(np.concatenate(chosen))

    def _note_errors(self, offered_rps: Array, error_share: Array) -> None:
        offered = (offered_rps * MINUTE_S).reshape(self.prices.shape)
        bad = offered * error_share.reshape(self.prices.shape)
        self.burns = [seen(burn, offered[s], bad[s], MINUTE_S) for s, burn in enumerate(self.burns)]

    def _count(self) -> None:
        rows, W = self.batch.sim.arrays.rows, self.prices.shape[1]
        work = rows.work[:, 0, :, :W]
        self.work += np.stack([work[:, f.OFFERED], work[:, f.GOOD], sum(work[:, k] for k in BAD), work[:, f.USD]])
        self.usd += rows.group[:, 0, f.NODE_USD].sum(axis=1)
        self.churn += rows.cluster[:, 0, [COUNTED[name] for name in CHURN]]

    def judged(self) -> list[tuple[Judged, int, float]]:
        """Of each setting; the time of deciding is shared out evenly."""
        each = self.seconds / len(self.usd)
        out = []
        for s, usd in enumerate(self.usd):
            totals = WorkTotals(*(self.work[k, s] for k in range(4)))
            churn = dict(zip(CHURN, self.churn[s].tolist(), strict=True))
            out.append((Judged(outcome_of(self.case.scenario, totals, float(usd)), churn), self.minutes, each))
        return out


COUNTED = {
    "pods_started": f.PODS_STARTED,
    "pods_evicted": f.PODS_EVICTED,
    "nodes_added": f.NODES_ADDED,
    "nodes_removed": f.NODES_REMOVED,
    "replica_changes": f.REPLICA_CHANGES,
    "nodes_lost": f.NODES_LOST,
    "interruptions": f.INTERRUPTIONS,
}


def _price(options: Learned | None) -> float | None:
    return None if options is None else options.violation_price
