"""Many stacks on one scenario in one batch of clusters: the same load, made once; totals only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from envs.demand import Demand
from envs.objective import Outcome, demand_usd
from envs.rollout import DAY_S, case_of, rows_per_day, unreachable_slos
from envs.scenario import Scenario
from envs.sim import flow as f
from envs.sim.cluster_sim import ClusterSim
from envs.stack import Stack

BAD = (f.BAD_SATURATED, f.BAD_STARTING, f.BAD_NO_NODE)
CHUNK_TICKS = 1440


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
    demand = Demand.pack([scenario], [seed])
    sim = ClusterSim([case_of(scenario, stack, seed, demand) for stack in stacks], rows=rows_per_day(scenario))
    while sim.tick < 0:
        sim.run(_for_all(demand, sim.tick, min(-sim.tick, CHUNK_TICKS), len(stacks)))
    horizon_s = min(scenario.horizon_s, days * DAY_S) if days else scenario.horizon_s
    total = max(round(horizon_s / scenario.tick_s), 1)
    rows, W = sim.arrays.rows, len(scenario.cluster.workloads)
    work, node_usd = np.zeros((len(stacks), rows.work.shape[2], W)), np.zeros(len(stacks))
    most = rows_per_day(scenario) * sim.row_ticks
    while sim.tick < total:
        sim.clear_rows()
        end = min(sim.tick + most, total)
        while sim.tick < end:
            sim.run(_for_all(demand, sim.tick, min(end - sim.tick, CHUNK_TICKS), len(stacks)))
        work += rows.work.sum(axis=1)[:, :, :W]
        node_usd += rows.group[:, :, f.NODE_USD].sum(axis=(1, 2))
        if progress is not None:
            progress(sim.tick * scenario.tick_s / DAY_S)
    return [_outcome(scenario, work[b], float(node_usd[b])) for b in range(len(stacks))]


def _for_all(demand: Demand, tick: int, n: int, clusters: int) -> NDArray[np.float64]:
    """(clusters, n, W) arrivals, equal for all."""
    return np.ascontiguousarray(np.broadcast_to(demand.arrivals(tick, n), (clusters, n, demand.shape[1])))


def _outcome(scenario: Scenario, work: NDArray[np.float64], node_usd: float) -> Outcome:
    workloads = scenario.cluster.workloads
    out_of_reach = set(unreachable_slos(scenario))
    return Outcome(
        node_usd=node_usd,
        demand_usd=demand_usd(scenario, work[f.OFFERED].tolist()),
        good=tuple(work[f.GOOD].tolist()),
        bad=tuple(sum(work[i] for i in BAD).tolist()),
        workload_usd=tuple(work[f.USD].tolist()),
        slo_targets=tuple(w.slo_target for w in workloads),
        reachable=tuple(w.name not in out_of_reach for w in workloads),
    )
