"""Carry out what the node autoscaler decided: ask for nodes, drain and remove nodes under PDBs."""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.cluster_autoscaler import ca_loop, note_scale_up_failure
from envs.controllers.disruption import pdb_allowed
from envs.controllers.karpenter_roll import BLOCKS
from envs.controllers.karpenter_state import HOLD, LOOP_AT
from envs.sim.flow import NODES_ADDED, NODES_REMOVED, PODS_EVICTED
from envs.sim.jit import inner
from envs.sim.nodes import remove_node, request_node, start_drain, stop_drain
from envs.sim.pods import terminate_pod
from envs.sim.replicas import reconcile
from envs.sim.state import NODE_DRAINING, NODE_READY, POD_TERMINATING

MAX_DRAIN_S = 600.0  # Cluster Autoscaler --max-graceful-termination-sec


@inner
def autoscale(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """One Cluster Autoscaler loop and its consequences."""
    ca_loop(s.classes, s.topology, s.groups, s.nodes, s.pods, s.flow, s.ca, s.ca_state, s.ca_out, s.rng, b, now_s)
    for g in range(s.groups.price.shape[1]):
        if s.ca_out.add[b, g] > 0 and s.faults.blocked[b, g] > 0:  # the provider refuses: back off, try others
            note_scale_up_failure(s.ca, s.ca_state, b, g, now_s)
            continue
        for _ in range(min(s.ca_out.add[b, g], pool_room(s, b, s.groups.pool[b, g]))):
            if request_node(s.nodes, s.groups, s.clock, s.rng, b, g, now_s, tick_end_s) >= 0 and row >= 0:
                s.rows.cluster[b, row, NODES_ADDED] += 1.0
    for i in range(s.ca_out.n_remove[b]):
        n = s.ca_out.remove[b, i]
        if s.nodes.phase[b, n] == NODE_READY:
            start_drain(s.nodes, s.clock, b, n, now_s)
            drain_node(s, b, n, now_s, row, tick_end_s)


@inner
def pool_room(s: Any, b: int, pool: int) -> int:
    """Nodes that the pool's own maximum leaves."""
    live = 0
    for g in range(s.groups.pool.shape[1]):
        if s.groups.pool[b, g] == pool:
            live += s.clock.live_nodes[b, g]
    return max(s.clock.pool_max[b, pool] - live, 0)


@inner
def drain_node(s: Any, b: int, n: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Evict what the budgets allow; remove the node once it is empty.

    Karpenter never gives up; the others do so after MAX_DRAIN_S.
    """
    if s.kp_state.node[b, HOLD, n] > 0:
        return  # it waits for its replacement
    p = s.nodes.first_pod[b, n]
    while p >= 0:
        following = s.pods.next_n[b, p]
        w = s.pods.workload[b, p]
        if s.pods.phase[b, p] != POD_TERMINATING and s.classes.drain_code[b, w] != BLOCKS:
            healthy = s.flow.n_ready[b, w]
            if pdb_allowed(s.classes, b, w, healthy, s.flow.spec_replicas[b, w]) > 0:
                terminate_pod(s.pods, s.flow, s.clock, s.service, s.topology, s.nodes, b, p, now_s, tick_end_s)
                if row >= 0:
                    s.rows.cluster[b, row, PODS_EVICTED] += 1.0
                reconcile(s, b, w, now_s, row, tick_end_s)
        p = following
    if s.nodes.n_pods[b, n] == 0:
        drop_node(s, b, n, now_s, row, tick_end_s)
    elif now_s - s.clock.drain_since_s[b, n] > MAX_DRAIN_S and math.isinf(s.kp_state.clock[b, LOOP_AT]):
        stop_drain(s.nodes, s.clock, b, n)
        s.ca_state.last_failure_s[b] = now_s


@inner
def drop_node(s: Any, b: int, n: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Remove an empty node and count it."""
    remove_node(s.nodes, s.clock, b, n, now_s, tick_end_s)
    if row >= 0:
        s.rows.cluster[b, row, NODES_REMOVED] += 1.0


@inner
def continue_drains(s: Any, b: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Once a tick: another try at every node that is still draining."""
    if s.clock.n_draining[b] == 0:
        return
    for n in range(s.nodes.hi[b]):
        if s.nodes.phase[b, n] == NODE_DRAINING:
            drain_node(s, b, n, now_s, row, tick_end_s)
