"""The two doors between a simulated cluster and code that decides: Snapshot out, Plan in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.action import Plan
from envs.cluster import NodeBudget, object_names
from envs.controllers.karpenter_pack import budget_rows
from envs.sim.cluster_sim import ClusterSim
from envs.sim.measure import RATE_AGE_S, measure_workloads
from envs.sim.pack_placement import GIB, split_evenly
from envs.sim.state import CPU, MEM, NODE_BOOTING, NODE_READY
from envs.snapshot import PoolSignals, Snapshot, WorkloadSignals, signals, unknown
from envs.stack import Karpenter

API_AGE_S = 1.0  # specs and counts come from a watch of the Kubernetes API


def take_snapshot(sim: ClusterSim, *, b: int = 0) -> Snapshot:
    """What could be measured of cluster b now, each signal with its age; nothing of the hidden truth."""
    cluster = sim.cases[b].scenario.cluster
    now_s = sim.tick * sim.tick_s
    seen = np.empty((5, sim.arrays.flow.n_ready.shape[1]))
    measure_workloads(sim.view, b, now_s, sim.tick, seen)
    return Snapshot(
        time_s=now_s,
        workload_names=object_names(cluster)[0],
        pool_names=object_names(cluster)[1],
        workloads=_workloads(sim, b, seen[:, : len(cluster.workloads)]),
        pools=_pools(sim, b, len(cluster.node_pools)),
    )


def _workloads(sim: ClusterSim, b: int, seen: NDArray[np.float64]) -> WorkloadSignals:
    W = seen.shape[1]
    flow = sim.arrays.flow
    offered, errors = signals(seen[2:4], RATE_AGE_S + sim.arrays.faults.lag_s[b, :W])
    cpu, memory = signals(seen[:2], seen[4])

    spec, known = sim.arrays.hpa.spec[b, :W], np.empty((11, W))
    for i, count in enumerate((flow.n_ready, flow.spec_replicas, flow.n_starting, flow.n_pending)):
        known[i] = count[b, :W]
    known[4:9], known[9], known[10] = sim.hpas[b].values, spec["min_replicas"], spec["max_replicas"]
    api = iter(signals(known, API_AGE_S))
    return WorkloadSignals(
        offered_rps=offered,
        cpu_per_pod=cpu,
        memory_per_pod_gib=memory,
        error_share=errors,
        ready=next(api),
        desired=next(api),
        starting=next(api),
        pending=next(api),
        hpa_target=next(api),
        hpa_tolerance_up=next(api),
        hpa_tolerance_down=next(api),
        hpa_stabilization_up_s=next(api),
        hpa_stabilization_down_s=next(api),
        hpa_min_replicas=next(api),
        hpa_max_replicas=next(api),
        buffer_replicas=unknown(W),
    )


def _pools(sim: ClusterSim, b: int, L: int) -> PoolSignals:
    a = sim.arrays
    used = np.flatnonzero(a.nodes.group[b] >= 0)
    group, phase, taken = a.nodes.group[b][used], a.nodes.phase[b][used], a.nodes.used[b][used]
    pool, room, live = a.groups.pool[b][group], a.groups.alloc[b][group], phase != NODE_BOOTING
    each = np.empty((8, len(used)))
    each[0], each[1], each[2] = phase == NODE_READY, ~live, live
    each[3] = a.groups.price[b][group]
    each[4], each[5] = taken[:, CPU] * 1e-3, room[:, CPU] * 1e-3
    each[6], each[7] = taken[:, MEM] / GIB, room[:, MEM] / GIB
    each[3:] *= live
    bins = pool + L * np.arange(len(each))[:, None]
    sums = np.bincount(bins.ravel(), weights=each.ravel(), minlength=len(each) * L).reshape(len(each), L)
    ready, booting, nodes, usd, *resources = sums
    with np.errstate(invalid="ignore"):
        price = usd / np.where(nodes > 0, nodes, np.nan)
    minimum = np.bincount(a.groups.pool[b], weights=a.groups.min_nodes[b], minlength=L)[:L]
    api = iter(signals([ready, booting, *resources, price, minimum, a.clock.pool_max[b, :L]], API_AGE_S))
    return PoolSignals(
        nodes_ready=next(api),
        nodes_booting=next(api),
        requested_cpu=next(api),
        allocatable_cpu=next(api),
        requested_memory_gib=next(api),
        allocatable_memory_gib=next(api),
        price_usd_per_h=next(api),
        weight=unknown(L),
        consolidate_after_s=unknown(L),
        budget_share=unknown(L),
        min_nodes=next(api),
        max_nodes=next(api),
    )


def apply_plan(sim: ClusterSim, plan: Plan, *, b: int = 0) -> None:
    """Write a plan's fields into the objects that the HPA and node autoscaler kernels read.

    A plan that holds changes nothing. NodePool weight, consolidateAfter and budgets are Karpenter's; a
    CapacityBuffer has no reader yet and is left alone.
    """
    if plan.hold:
        return
    sim.hpas[b].apply(sim.arrays.hpa, b, plan.targets, sim.hpa_defaults)
    for index, pool in enumerate(sim.cases[b].scenario.cluster.node_pools):
        _write_pool(sim, b, index, len(pool.zones), plan)
    _write_karpenter(sim, b, plan)


def _write_pool(sim: ClusterSim, b: int, pool: int, zones: int, plan: Plan) -> None:
    a = sim.arrays
    low, high = plan.targets.min_nodes[pool], plan.targets.max_nodes[pool]
    if np.isnan(low) and np.isnan(high):
        return
    groups = np.flatnonzero((a.groups.pool[b] == pool) & (a.groups.alloc[b, :, CPU] > 0))  # not the padding
    if np.isfinite(low):
        a.groups.min_nodes[b, groups] = 0
        a.groups.min_nodes[b, groups[:zones]] = split_evenly(int(low), zones)  # the first type's zones
    if np.isfinite(high):
        a.clock.pool_max[b, pool] = int(high)
        a.groups.max_nodes[b, groups] = int(high)


def _write_karpenter(sim: ClusterSim, b: int, plan: Plan) -> None:
    """NodePool weight, consolidateAfter and budget, where the stack runs Karpenter. Nodes do not drift by it."""
    if not isinstance(sim.cases[b].stack.nodes, Karpenter):
        return
    kp, pools, targets = sim.arrays.kp, sim.cases[b].scenario.cluster.node_pools, plan.targets
    for index in range(len(pools)):
        if np.isfinite(targets.consolidate_after_s[index]):
            kp.after_s[b, index] = targets.consolidate_after_s[index]
        if np.isfinite(targets.budget_share[index]):
            rows, shares = budget_rows([NodeBudget(float(targets.budget_share[index]), True)])
            kp.budget[b, index], kp.share[b, index] = 0, 0.0
            kp.budget[b, index, 0], kp.share[b, index, 0] = rows[0], shares[0]
    weights = [w if np.isfinite(w) else p.weight for w, p in zip(targets.weight, pools, strict=True)]
    kp.pool_order[b, : len(pools)] = sorted(range(len(pools)), key=lambda i: (-weights[i], pools[i].name))
