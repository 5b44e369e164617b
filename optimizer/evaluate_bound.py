"""What perfect foresight would have paid over the judged window, at the service level that a policy attained."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from envs.bound import Served
from envs.bound_tables import foresee_load
from envs.demand import Demand
from envs.objective import Outcome
from optimizer.evaluate_cases import Case
from policies.clairvoyant import Clairvoyant


def bounds_of(case: Case, outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """USD per policy; demand and machines are read once. docs/design/bound.md says what a bound is.

    Time starts at the judged window. Prices that change within a scenario are read by the scenario's own clock, so a
    scenario with faults has to be judged from its start (the suites' are).
    """
    scenario, first = case.scenario, round(case.judged_from_s / case.scenario.tick_s)
    if first and scenario.faults:
        raise ValueError(f"{case.key}: a scenario with faults is judged from its start")
    demand = Demand.pack([scenario], [case.seed])
    total = round(scenario.horizon_s / scenario.tick_s)

    def load(tick: int, n: int) -> NDArray[np.float64]:
        return np.asarray(demand.arrivals(tick + first, n)[0])

    known = foresee_load(
        scenario, load, first_tick=demand.first_tick - first, ticks=total - first, seed=case.seed,
        threads=os.cpu_count() or 1,
    )  # fmt: skip
    clairvoyant = Clairvoyant(known, np.array([w.slo_target for w in scenario.cluster.workloads]))
    return {
        policy: clairvoyant.at(Served(known.offered, np.array(o.good), np.array(o.bad))).usd
        for policy, o in outcomes.items()
    }
