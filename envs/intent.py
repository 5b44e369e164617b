"""What the user wants: service levels, money, how much disruption. The policy's input."""

from __future__ import annotations

from dataclasses import dataclass


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
