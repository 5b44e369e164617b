"""What the user wants: service levels, money, how much disruption. The policy's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

REFERENCE_SLO = 0.999


@dataclass(frozen=True)
class Intent:
    """Objectives of one cluster. Per-workload SLO targets are on the workloads themselves.

    budget_usd_per_h: spending limit, USD per hour; inf = none.
    violation_price: what one unit of bad share costs, in multiples of ideal cost (w in the docs).
    autonomy: 0 observe, 1 recommend, 2 approve, 3 guarded, 4 autonomous.
    """

    budget_usd_per_h: float = float("inf")
    violation_price: float = 100.0
    slo_window_days: float = 30.0
    max_pod_evictions_per_h: float = float("inf")
    max_node_removals_per_h: float = float("inf")
    autonomy: int = 1


def violation_price(base: float, slo_target: Any) -> Any:
    """w of a workload: the intent's price at an SLO of 99.9 %, in inverse proportion to the bad share allowed.

    Worked: 100 at 99.9 %, 10 at 99 %, 200 at 99.95 %. A workload that uses up its budget pays 0.1 x ideal for it.
    """
    return base * (1.0 - REFERENCE_SLO) / np.maximum(1.0 - np.asarray(slo_target, np.float64), 1e-6)
