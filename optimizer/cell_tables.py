"""What one rollout comes to: totals per workload with their SLO verdict, and its worst hours."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from optimizer.hours import HOUR_S, WORKLOAD_SUMS, HourFold, counts_as_requests

Array = NDArray[np.float64]
WORST_HOURS = 10
REASONS = ("saturated", "starting", "no_node", "lost")


def workload_totals(fold: HourFold) -> pd.DataFrame:
    """One row per workload, over the horizon.

    `total` counts the requests that were judged (good + bad). The SLO is met when good / total >=
    slo_target; `budget_left` is 1 - bad / ((1 - slo_target) total): 1 untouched, 0 used up, below 0
    broken. A workload that had no requests meets its SLO.
    """
    names, hours = fold.names, fold.hours()[:, None]
    frame = pd.DataFrame(
        {"workload": names.workloads, "namespace": names.namespaces, "team": names.teams, "kind": names.kinds}
    )
    frame["slo_target"] = np.array(names.slo_targets, dtype=float)
    for name in WORKLOAD_SUMS:
        frame[name] = fold.array(name).sum(axis=0)
    frame["bad"] = frame[[f"bad_{reason}" for reason in REASONS]].sum(axis=1)
    frame["total"] = frame["good"] + frame["bad"]
    frame["replica_h"] = (fold.array("ready") * hours).sum(axis=0)
    frame["cpu_used_core_h"] = (fold.array("cpu_used") * hours).sum(axis=0)
    frame["cpu_requested_core_h"] = (fold.array("cpu_requested") * hours).sum(axis=0)
    return judge(frame)


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Add good_ratio, budget_left and slo_met from slo_target, bad and total."""
    total, bad = frame["total"].to_numpy(), frame["bad"].to_numpy()
    allowed = (1.0 - frame["slo_target"].to_numpy()) * total
    with np.errstate(divide="ignore", invalid="ignore"):
        frame["good_ratio"] = np.where(total > 0, 1.0 - bad / total, 1.0)
        frame["budget_left"] = np.where(bad > 0, 1.0 - bad / allowed, 1.0)
    # A count of requests adds up in floating point: a thousandth of a request is no breach.
    frame["slo_met"] = bad <= allowed + 1e-3
    return frame


def worst_hours(fold: HourFold, count: int = WORST_HOURS) -> pd.DataFrame:
    """The hours with the most bad requests, worst first: what they cost and what was going on.

    One row per hour: bad and good requests of the cluster by reason, the workload that lost most, and
    that workload's load, capacity and replicas then and in the hour before.
    """
    counted = counts_as_requests(fold.names)
    bad_by = {reason: fold.array(f"bad_{reason}")[:, counted] for reason in REASONS}
    bad = sum(bad_by.values(), np.zeros(1))
    per_hour = bad.sum(axis=1)
    order = np.argsort(-per_hour, kind="stable")[:count]
    order = order[per_hour[order] > 0]
    rows = [_worst_hour(fold, int(h), int(counted[np.argmax(bad[h])]), counted) for h in order]
    return pd.DataFrame(rows, columns=list(_WORST_COLUMNS)).astype(_WORST_COLUMNS)


_WORST_COLUMNS: dict[str, str] = {
    "hour": "int64",
    "bad": "float64",
    "total": "float64",
    **{f"bad_{reason}": "float64" for reason in REASONS},
    "workload": "object",
    "workload_bad": "float64",
    **{f"workload_bad_{reason}": "float64" for reason in REASONS},
    "workloads_hit": "int64",
    "load_rps": "float64",
    "load_before_rps": "float64",
    "capacity_rps": "float64",
    "ready": "float64",
    "ready_before": "float64",
    "starting": "float64",
    "pending": "float64",
    "pods_started": "float64",
    "nodes_added": "float64",
    "nodes_removed": "float64",
}


def _worst_hour(fold: HourFold, h: int, w: int, counted: NDArray[np.int64]) -> dict[str, object]:
    before = max(h - 1, 0)
    cluster = {reason: fold.array(f"bad_{reason}")[h, counted] for reason in REASONS}
    bad = np.sum(list(cluster.values()), axis=0)
    good = fold.array("good")[h, counted]
    own = {f"workload_bad_{reason}": fold.array(f"bad_{reason}")[h, w] for reason in REASONS}
    load_rps = fold.array("offered")[:, w] / (fold.hours() * HOUR_S)
    return {
        "hour": int(fold.hour()[h]),
        "bad": bad.sum(),
        "total": good.sum() + bad.sum(),
        **{f"bad_{reason}": values.sum() for reason, values in cluster.items()},
        "workload": fold.names.workloads[w],
        "workload_bad": sum(own.values()),
        **own,
        "workloads_hit": int((bad > 0.001 * (good + bad) + 0.5).sum()),
        "load_rps": load_rps[h],
        "load_before_rps": load_rps[before],
        **{name: fold.array(name)[h, w] for name in ("capacity_rps", "ready", "starting", "pending")},
        "ready_before": fold.array("ready")[before, w],
        **{name: fold.array(name)[h] for name in ("pods_started", "nodes_added", "nodes_removed")},
    }
