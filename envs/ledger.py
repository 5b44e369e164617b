"""Where the money went: pure functions over the terms that the simulator accumulates.

node dollars of a pool = used + requested but unused + idle. Definitions are with
`envs.sim.billing`; the terms add up to the bill to the last bit that floating point allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.discounts import CommittedUse, commitment_terms
from envs.timeline import CHURN, ROW_S, Names, Timeline

Terms = dict[str, float]


@dataclass(frozen=True)
class Ledger:
    """Named terms of one run, USD and counts over the horizon."""

    node_usd: Terms  # per "pool/capacity type"
    used_usd: Terms  # per pool
    requested_unused_usd: Terms
    idle_usd: Terms
    workload_usd: Terms  # allocated; the rest of node_usd is idle
    commitment: Terms  # of a committed use: saved, used, wasted; empty without one
    requests: float
    bad_requests: float
    churn: Terms  # pods started, pods evicted, nodes added, removed and lost, replica changes, interruptions

    @property
    def total_usd(self) -> float:
        """The bill: nodes at list prices, less what a commitment saved, plus what of it was not used."""
        commitment = self.commitment.get("wasted", 0.0) - self.commitment.get("saved", 0.0)
        return sum(self.node_usd.values()) + commitment


def ledger_of(timeline: Timeline, names: Names, committed: CommittedUse | None = None) -> Ledger:
    """Sum a timeline into named terms."""
    per_group = timeline.node_usd.sum(axis=0)
    node_usd: Terms = {}
    for g, usd in enumerate(per_group):
        key = f"{names.pools[names.group_pool[g]]}/{names.group_capacity_type[g]}"
        node_usd[key] = node_usd.get(key, 0.0) + float(usd)
    return Ledger(
        node_usd=node_usd,
        used_usd=_named(names.pools, timeline.used_usd),
        requested_unused_usd=_named(names.pools, timeline.requested_unused_usd),
        idle_usd=_named(names.pools, timeline.idle_usd),
        workload_usd=_named(names.workloads, timeline.workload_usd),
        commitment=_commitment(timeline, names, committed),
        requests=float(timeline.good.sum() + timeline.bad.sum()),
        bad_requests=float(timeline.bad.sum()),
        churn={key: float(getattr(timeline, key).sum()) for key in CHURN},
    )


def on_demand_usd(timeline: Timeline, names: Names) -> np.ndarray:
    """(T,) what a commitment may cover: node dollars of on-demand groups."""
    return timeline.node_usd[:, np.array(names.group_capacity_type) == "on-demand"].sum(axis=1)


def _commitment(timeline: Timeline, names: Names, committed: CommittedUse | None) -> Terms:
    if committed is None:
        return {}
    hour = np.floor(timeline.time_s / 3600.0)
    starts = np.flatnonzero(np.diff(hour, prepend=-1.0))
    spent = np.add.reduceat(on_demand_usd(timeline, names), starts)
    hours = np.diff(np.append(starts, hour.size)) * ROW_S / 3600.0
    terms = commitment_terms(spent, committed, hours)
    return {name: float(values.sum()) for name, values in terms.items()}


def _named(names: tuple[str, ...], values: np.ndarray) -> Terms:
    return {name: float(v) for name, v in zip(names, values.sum(axis=0), strict=True)}
