"""Many stacks on one scenario in one batch of clusters: the same load, made once; totals only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.demand import Demand
from envs.objective import Outcome, demand_usd
from envs.rollout import DAY_S, case_of, rows_per_day, unreachable_slos
from envs.scenario import Scenario
from envs.sim import flow as f
from envs.sim.cluster_sim import ClusterSim
from envs.stack import Stack
from envs.timeline import CHURN

BAD = (f.BAD_SATURATED, f.BAD_STARTING, f.BAD_NO_NODE, f.BAD_LOST)
CHUNK_TICKS = 1440


class WorkTotals(NamedTuple):
    """Sums over time, (W,) each: requests, and allocated dollars."""

    offered: NDArray[np.float64]
    good: NDArray[np.float64]
    bad: NDArray[np.float64]
    usd: NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What a stack cost and broke from some time on, and how much it moved (keys: CHURN)."""

    outcome: Outcome
    churn: dict[str, float]


def rollout_batch(
    scenario: Scenario,
    stacks: Sequence[Stack],
    seed: int,
    *,
    days: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Outcome]:
    """What each stack would have cost and broken; as `envs.rollout.rollout` of each alone.

    progress is called with simulated days done.
    """
    return [one.outcome for one in judged_batch(scenario, stacks, seed, days=days, progress=progress)]


def judged_batch(
    scenario: Scenario,
    stacks: Sequence[Stack],
    seed: int,
    *,
    days: float | None = None,
    judged_from_s: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> list[Judged]:
    """The same, with nothing counted before judged_from_s (a multiple of 5 minutes): history that is simulated.

    Raises ValueError for stacks that are steered while they run (replay, a learned policy): nobody would steer them.
    """
    for stack in stacks:
        if stack.replay is not None or stack.learned is not None:
            raise ValueError(f"stack {stack.name} is steered while it runs: it cannot run in a plain batch")
    demand = Demand.pack([scenario], [seed])
    sim = ClusterSim([case_of(scenario, stack, seed, demand) for stack in stacks], rows=rows_per_day(scenario))
    while sim.tick < 0:
        sim.run(_for_all(demand, sim.tick, min(-sim.tick, CHUNK_TICKS), len(stacks)))
    horizon_s = min(scenario.horizon_s, days * DAY_S) if days else scenario.horizon_s
    total, first = max(round(horizon_s / scenario.tick_s), 1), round(judged_from_s / scenario.tick_s)
    rows, W = sim.arrays.rows, len(scenario.cluster.workloads)
    work, node_usd = np.zeros((len(stacks), rows.work.shape[2], W)), np.zeros(len(stacks))
    churn = np.zeros((len(stacks), len(CHURN)))
    most = rows_per_day(scenario) * sim.row_ticks
    while sim.tick < total:
        sim.clear_rows()
        judged = sim.tick >= first
        end = min(sim.tick + most, total if judged else min(first, total))
        while sim.tick < end:
            sim.run(_for_all(demand, sim.tick, min(end - sim.tick, CHUNK_TICKS), len(stacks)))
        if judged:
            work += rows.work.sum(axis=1)[:, :, :W]
            node_usd += rows.group[:, :, f.NODE_USD].sum(axis=(1, 2))
            churn += rows.cluster.sum(axis=1)
        if progress is not None:
            progress(sim.tick * scenario.tick_s / DAY_S)
    return [
        Judged(
            outcome_of(scenario, _totals(work[b]), float(node_usd[b])),
            dict(zip(CHURN, churn[b].tolist(), strict=True)),
        )
        for b in range(len(stacks))
    ]


def _for_all(demand: Demand, tick: int, n: int, clusters: int) -> NDArray[np.float64]:
    """(clusters, n, W) arrivals, equal for all."""
    return np.ascontiguousarray(np.broadcast_to(demand.arrivals(tick, n), (clusters, n, demand.shape[1])))


def _totals(work: NDArray[np.float64]) -> WorkTotals:
    return WorkTotals(work[f.OFFERED], work[f.GOOD], np.sum([work[i] for i in BAD], axis=0), work[f.USD])


def outcome_of(scenario: Scenario, work: WorkTotals, node_usd: float) -> Outcome:
    """An Outcome from totals per workload."""
    workloads = scenario.cluster.workloads
    out_of_reach = set(unreachable_slos(scenario))
    return Outcome(
        node_usd=node_usd,
        demand_usd=demand_usd(scenario, work.offered.tolist()),
        good=tuple(work.good.tolist()),
        bad=tuple(work.bad.tolist()),
        workload_usd=tuple(work.usd.tolist()),
        slo_targets=tuple(w.slo_target for w in workloads),
        reachable=tuple(w.name not in out_of_reach for w in workloads),
    )
