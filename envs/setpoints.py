"""The set-points that replay tries on a workload: how full a replica runs x how long the HPA waits to shrink.

75 candidates: 15 targets from 30 to 95 % of what a replica can do, x 5 scale-down windows. A candidate is written
in the unit of the workload's own HPA metric (percent of the CPU request, requests/s per pod), by the same function
that writes a plan's fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.action import hpa_after, nothing
from envs.cluster import ClusterSpec, Workload
from envs.stack import HpaMetric, HpaSpec

F8 = NDArray[np.float64]
SHARES = tuple(round(0.30 + 0.65 * k / 14, 2) for k in range(15))  # 0.30, 0.35, 0.39 ... 0.95
WINDOWS_S = (60, 180, 300, 900, 1800)
GRID = tuple(product(SHARES, WINDOWS_S))
SIGNALS = ("cpu", "requests_per_second")


@dataclass(frozen=True)
class SetPoint:
    """share: load of a replica over its capacity that the HPA holds. window_s: scale-down stabilization."""

    share: float
    window_s: float
    spec: HpaSpec


def full_value(metric: HpaMetric, w: Workload) -> float:
    """The metric's value on a replica whose every slot is busy, in the unit of its target."""
    if metric.name == "requests_per_second":
        return w.service.capacity_rps
    cores = min(w.service.capacity_rps * w.service.cpu_s_per_request, w.cpu_limit)
    return 100.0 * cores / max(w.cpu_request, 0.002) if metric.target_type == "Utilization" else cores


def why_not(w: Workload, today: HpaSpec) -> str:
    """Why this workload cannot be replayed; empty when it can."""
    if w.kind != "service":
        return f"kind {w.kind} has no requests per second to scale on"
    if any(metric.name not in SIGNALS for metric in today.metrics):
        return (
            f"its HPA scales on {', '.join(m.name for m in today.metrics)}; cpu or requests_per_second can be replayed"
        )
    if any(metric.name == "cpu" and w.cpu_request <= 0 for metric in today.metrics):
        return "its HPA scales on CPU but its pods request none"
    return ""


def of_today(w: Workload, today: HpaSpec) -> SetPoint:
    """The setting in force, as a set-point."""
    metric = today.metrics[0]
    target = metric.target
    if metric.capacity_share is not None:
        target = metric.capacity_share * w.service.capacity_rps
    down = today.behavior.scale_down if today.behavior else None
    window = down.stabilization_s if down and down.stabilization_s is not None else today.downscale_stabilization_s
    return SetPoint(target / full_value(metric, w), float(window), today)


def candidates(w: Workload, today: HpaSpec) -> tuple[SetPoint, ...]:
    """The 75 set-points on the first metric of today's HPA, in the order of GRID."""
    full = full_value(today.metrics[0], w)
    whole = today.metrics[0].target_type == "Utilization"
    return tuple(SetPoint(share, window, written(today, share * full, window, whole=whole)) for share, window in GRID)


def written(today: HpaSpec, target: float, window_s: float, *, whole: bool) -> HpaSpec:
    """Today's HPA with this target and scale-down window, exactly as a plan would write them.

    whole: the API holds percent as whole numbers.
    """
    fields = nothing(ClusterSpec(workloads=(Workload(""),), node_pools=(), instance_types=()))
    value = max(1.0, float(np.rint(target))) if whole else target
    window = np.array([float(window_s)])
    return hpa_after(today, replace(fields, hpa_target=np.array([value]), hpa_stabilization_down_s=window), 0)


REGRET_FILE = Path(__file__).parent / "data" / "replay" / "fleet_regret.json"


@lru_cache(maxsize=1)
def fleet_table() -> dict[str, Any]:
    """The shipped table; made by `python -m training.make_replay_prior`."""
    table: dict[str, Any] = json.loads(REGRET_FILE.read_text(encoding="utf-8"))
    if (tuple(table["shares"]), tuple(table["windows_s"])) != (SHARES, WINDOWS_S):
        raise ValueError(f"{REGRET_FILE} was made for another grid; make it again")
    return table


def fleet_regret(metric: str, price: float, points: Sequence[SetPoint]) -> F8:
    """(C,) mean log-regret of set-points on the training fleet at this violation price.

    Linear in the share and in the logarithms of window and price, held at the table's edges: exact on GRID.
    """
    table = fleet_table()
    by_price = np.array(table["log_regret"][metric]).reshape(len(table["prices"]), len(SHARES), len(WINDOWS_S))
    at = _place(np.log(table["prices"]), math.log(max(price, 1e-9)))
    grid = by_price[at[0]] * (1.0 - at[1]) + by_price[at[0] + 1] * at[1]
    out = []
    for point in points:
        i, x = _place(np.array(SHARES), point.share)
        j, y = _place(np.log(WINDOWS_S), math.log(max(point.window_s, 1.0)))
        low = grid[i, j] * (1.0 - y) + grid[i, j + 1] * y
        high = grid[i + 1, j] * (1.0 - y) + grid[i + 1, j + 1] * y
        out.append(low * (1.0 - x) + high * x)
    return np.array(out)


def _place(nodes: Any, value: float) -> tuple[int, float]:
    """Cell and fraction of a value on rising nodes, held to their ends."""
    held = min(max(value, float(nodes[0])), float(nodes[-1]))
    i = min(int(np.searchsorted(nodes, held, side="right")) - 1, len(nodes) - 2)
    return i, (held - float(nodes[i])) / float(nodes[i + 1] - nodes[i])
