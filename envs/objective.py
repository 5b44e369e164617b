"""How good a run was, in one number or two: the objectives that tuning, learning and reports share. Pure.

    cost index = node dollars / (sum of demand CPU x cheapest $ per core-hour)
    weighted   = cost index + w x bad share
    violation  = sum over workloads of max(0, ln(bad share / (1 - SLO)))

The denominator is what the load's own CPU seconds would cost on the cheapest core of the scenario, perfectly
packed: 1 is out of reach, and scenarios of any size weigh alike. A workload whose SLO no replica count can
reach has no violation. docs/design/tune.md has a worked example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from envs.scenario import Scenario

Objective = Literal["cost@slo", "weighted"]
OBJECTIVES: tuple[Objective, ...] = ("cost@slo", "weighted")
DEFAULT_WEIGHT = 100.0  # one request in a hundred weighs as much as the load's own CPU at its cheapest
LEAST_BAD = 1e-12


@dataclass(frozen=True)
class Outcome:
    """One stack on one scenario, warm-up left out. Per workload: requests and allocated dollars."""

    node_usd: float
    demand_usd: float  # of `demand_usd`
    good: tuple[float, ...]
    bad: tuple[float, ...]
    workload_usd: tuple[float, ...]
    slo_targets: tuple[float, ...]
    reachable: tuple[bool, ...]  # whether any replica count meets the SLO

    @property
    def cost_index(self) -> float:
        return self.node_usd / max(self.demand_usd, 1e-12)

    @property
    def bad_share(self) -> float:
        """Of all requests."""
        return sum(self.bad) / max(sum(self.good) + sum(self.bad), 1e-12)

    def overspent(self, w: int) -> float:
        """ln(bad share / error budget) of workload w where it is above 0."""
        share = self.bad[w] / max(self.good[w] + self.bad[w], 1e-12)
        if not self.reachable[w] or share <= LEAST_BAD:
            return 0.0
        return max(0.0, math.log(share / (1.0 - self.slo_targets[w])))

    @property
    def violation(self) -> float:
        return sum(self.overspent(w) for w in range(len(self.bad)))

    @property
    def missed(self) -> int:
        """Workloads that missed a reachable SLO."""
        return sum(self.overspent(w) > 0 for w in range(len(self.bad)))


def cheapest_core_usd_per_h(scenario: Scenario) -> float:
    """Least on-demand price per core sold, over the instance types of the scenario's pools."""
    return min(machine.price_usd_per_h / machine.vcpu for machine in scenario.cluster.instance_types)


def demand_usd(scenario: Scenario, offered: Sequence[float]) -> float:
    """What the CPU seconds of these requests cost at the cheapest core's price; offered: per workload."""
    core_s = sum(n * w.service.cpu_s_per_request for n, w in zip(offered, scenario.cluster.workloads, strict=True))
    return core_s / 3600.0 * cheapest_core_usd_per_h(scenario)


def cost_index(outcomes: Sequence[Outcome]) -> float:
    """Mean over scenarios."""
    return sum(o.cost_index for o in outcomes) / len(outcomes)


def bad_share(outcomes: Sequence[Outcome]) -> float:
    """Mean over scenarios."""
    return sum(o.bad_share for o in outcomes) / len(outcomes)


def weighted(outcomes: Sequence[Outcome], weight: float = DEFAULT_WEIGHT) -> float:
    """Mean over scenarios of cost index + weight x bad share."""
    return cost_index(outcomes) + weight * bad_share(outcomes)


def rank(outcomes: Sequence[Outcome], objective: Objective, weight: float = DEFAULT_WEIGHT) -> tuple[float, float]:
    """Sort key, least first. cost@slo: (violation, cost index), so among those that meet every SLO the cheapest."""
    if objective == "weighted":
        return weighted(outcomes, weight), 0.0
    return sum(o.violation for o in outcomes), cost_index(outcomes)
