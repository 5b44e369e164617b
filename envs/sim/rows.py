"""Accumulated rows of one cluster -> Timeline (means, requests, USD)."""

from __future__ import annotations

import numpy as np

from envs.sim import flow as f
from envs.sim.cluster_sim import ClusterSim
from envs.timeline import Names, Timeline


def timeline_of(sim: ClusterSim, names: Names, first_tick: int, ticks: int, *, b: int = 0) -> Timeline:
    """The rows of ticks [first_tick, first_tick + ticks) of cluster b. They must still be in the ring."""
    step = sim.row_ticks
    index = np.arange(first_tick // step, (first_tick + ticks - 1) // step + 1)
    ends = np.minimum((index + 1) * step, first_tick + ticks)
    seconds = ((ends - np.maximum(index * step, first_tick)) * sim.tick_s)[:, None]
    rows = sim.arrays.rows
    ring = index % rows.work.shape[1]
    W, G = len(names.workloads), len(names.groups)
    work, group, cluster = rows.work[b, ring][:, :, :W], rows.group[b, ring][:, :, :G], rows.cluster[b, ring]
    pool = np.zeros((G, len(names.pools)))
    pool[np.arange(G), list(names.group_pool)] = 1.0
    return Timeline(
        time_s=np.asarray(index * step * sim.tick_s, np.float64),
        offered=work[:, f.OFFERED],
        good=work[:, f.GOOD],
        bad_saturated=work[:, f.BAD_SATURATED],
        bad_starting=work[:, f.BAD_STARTING],
        bad_no_node=work[:, f.BAD_NO_NODE],
        bad_lost=work[:, f.BAD_LOST],
        ready=work[:, f.READY_S] / seconds,
        desired=work[:, f.DESIRED_S] / seconds,
        pending=work[:, f.PENDING_S] / seconds,
        starting=work[:, f.STARTING_S] / seconds,
        capacity_rps=work[:, f.CAPACITY] / seconds,
        cpu_used=work[:, f.CPU_USED_S] / seconds,
        cpu_requested=work[:, f.CPU_REQUESTED_S] / seconds,
        memory_used_gib=work[:, f.MEM_USED_S] / seconds,
        memory_requested_gib=work[:, f.MEM_REQUESTED_S] / seconds,
        backlog=work[:, f.BACKLOG],
        oom_restarts=work[:, f.OOM],
        workload_usd=work[:, f.USD],
        nodes=group[:, f.NODE_S] / seconds,
        node_usd=group[:, f.NODE_USD],
        used_usd=group[:, f.USED_USD] @ pool,
        requested_unused_usd=group[:, f.UNUSED_USD] @ pool,
        idle_usd=group[:, f.IDLE_USD] @ pool,
        pods_started=cluster[:, f.PODS_STARTED],
        pods_evicted=cluster[:, f.PODS_EVICTED],
        nodes_added=cluster[:, f.NODES_ADDED],
        nodes_removed=cluster[:, f.NODES_REMOVED],
        replica_changes=cluster[:, f.REPLICA_CHANGES],
        nodes_lost=cluster[:, f.NODES_LOST],
        interruptions=cluster[:, f.INTERRUPTIONS],
    )
