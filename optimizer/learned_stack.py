"""The control that runs a stack's bundle in what-if, and the rollout under it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.action import Plan
from envs.plain import Array
from envs.rollout import rollout
from envs.scenario import Scenario
from envs.snapshot import Snapshot
from envs.stack import Stack
from envs.timeline import Rollout, Sink
from optimizer.learned_control import LearnedControl
from optimizer.stack_bundle import bundle_of, bundle_path
from policies.bundle import Bundle
from policies.family import MEMBERS, prior_at
from policies.network import Network

__all__ = ["bundle_of", "bundle_path", "control_of", "prior_of", "rollout_under"]


def prior_of(bundle: Bundle) -> Callable[[Array], Array]:
    """(W,) violation prices -> (W, V) mean log-regret of the family of a bundle that was loaded for this version."""
    prior = bundle.manifest.prior
    if prior is None:
        return lambda prices: np.zeros((len(prices), MEMBERS))
    return lambda prices: prior_at(prices, prior.prices, prior.log_regret)


def control_of(scenario: Scenario, stack: Stack, seed: int) -> LearnedControl:
    """What decides in a rollout of this stack."""
    bundle = bundle_of(stack)
    return LearnedControl(scenario, stack, seed, Network(bundle), prior=prior_of(bundle))


def rollout_under(
    control: LearnedControl, seed: int, *, days: float | None = None, sink: Sink | None = None,
    watch: Callable[[Plan], None] | None = None,
) -> Rollout:  # fmt: skip
    """Roll a control's scenario and stack out; watch(plan) is told each plan."""
    decide = _Watched(control, watch) if watch else control
    return rollout(control.scenario, control.stack, seed, days=days, sink=sink, decide=decide)


class _Watched:
    """Passes questions on and shows the answers."""

    def __init__(self, control: LearnedControl, watch: Callable[[Plan], None]) -> None:
        self.period_s, self._control, self._watch = control.period_s, control, watch

    def __call__(self, time_s: float, rates: Array, look: Callable[[], Snapshot]) -> Plan | None:
        plan = self._control(time_s, rates, look)
        if plan is not None:
            self._watch(plan)
        return plan
