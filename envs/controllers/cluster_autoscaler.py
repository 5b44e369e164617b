"""The Cluster Autoscaler's loop: which nodes to ask for, and which to remove.

One call of `ca_loop` is one loop at a real-valued time. It works on the live arrays and leaves
them byte for byte as they were; what it decided is in `CaOutput`. Order of a loop, as upstream:
upcoming nodes become ready in the simulation, pending pods are packed onto what is there, the rest
ask for nodes; then the removal of underused nodes is simulated, one on top of the other.
Version followed: cluster-autoscaler as of 2026-08, commit 472288069b42.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.controllers.ca_eligibility import DRAIN_IGNORED
from envs.controllers.ca_expanders import choose_option
from envs.controllers.ca_layout import (
    BACKOFF_UNTIL,
    BORN,
    DELETING,
    DEST,
    EXPANDER,
    L_CLASS,
    LAST_ADD,
    LAST_LOOP,
    LOOP,
    MAX_NODES_TOTAL,
    MAX_PROVISION_S,
    MIN_INTERVAL,
    N_MOVES,
    N_PENDING,
    NEW_POD_DELAY_S,
    P_COUNT,
    P_FAILED,
    P_LIST,
    PHASE,
    SCALE_DOWN,
    SINCE,
    SIZE,
    UNREMOVABLE_UNTIL,
)
from envs.controllers.ca_scaledown import scale_down
from envs.controllers.ca_scaleup import note_scale_up_failure, scale_up_options, scale_up_plan
from envs.controllers.ca_snapshot import log_arrival, log_move, place_pod, rollback
from envs.controllers.ca_state import (
    CaConfig,
    CaOutput,
    CaState,
    drain_flags,
    empty_ca_output,
    empty_ca_state,
    pack_autoscaler,
)
from envs.sim.jit import inner, kernel
from envs.sim.state import (
    GPU,
    NODE_BOOTING,
    NODE_DRAINING,
    NODE_FREE,
    NODE_READY,
    POD_TERMINATING,
)

__all__ = [
    "CaConfig",
    "CaOutput",
    "CaState",
    "ca_loop",
    "drain_flags",
    "empty_ca_output",
    "empty_ca_state",
    "note_scale_up_failure",
    "pack_autoscaler",
]

GPU_POD_DELAY_S = 30.0
EXPENDABLE_BELOW = -10  # --expendable-pods-priority-cutoff


@inner
def meet(node_s: Any, created_s: float, b: int, n: int) -> None:
    """Forget what was known of slot n when it holds another node now."""
    if node_s[b, BORN, n] != created_s:
        node_s[b, BORN, n] = created_s
        node_s[b, SINCE, n] = math.nan
        node_s[b, UNREMOVABLE_UNTIL, n] = -math.inf


@inner
def take_stock(nodes: Any, state: Any, b: int, now_s: float, max_provision_s: float) -> int:
    """Sizes, and what each node is in this loop's simulation; a group with a late node, -1 = none.

    Arrays are taken out of their tuples first: this looks at every node in every loop.
    """
    slot, node, group, node_s = state.slot, state.fork.node, state.group, state.node_s
    phases, group_of, created_s = nodes.phase, nodes.group, nodes.created_s
    late_group: Any = -1
    total = 0
    for n in range(nodes.hi[b]):
        phase, g = np.int64(phases[b, n]), np.int64(group_of[b, n])
        slot[b, PHASE, n] = phase
        node[b, DEST, n] = 1 if phase == NODE_READY else 0
        if phase == NODE_FREE:
            continue
        meet(node_s, created_s[b, n], b, n)
        group[b, SIZE, g] += 1
        total += 1
        if phase == NODE_DRAINING:
            group[b, DELETING, g] += 1
        elif phase == NODE_BOOTING:
            late = now_s - created_s[b, n] > max_provision_s
            late_group = g if late else late_group
            phases[b, n] = NODE_FREE if late else NODE_READY  # an upcoming node takes pods
    state.node_count[b] = total
    return late_group


@inner
def begin(cfg: Any, nodes: Any, state: Any, out: Any, b: int, now_s: float) -> None:
    """Reset what a loop works on, and look at every node."""
    state.fork.at[b, LOOP] += 1
    state.group[b, SIZE] = 0
    state.group[b, DELETING] = 0
    out.add[b] = 0
    out.n_remove[b] = 0
    late = take_stock(nodes, state, b, now_s, cfg.flag[b, MAX_PROVISION_S])
    if late >= 0 and state.group_s[b, BACKOFF_UNTIL, late] <= now_s:
        note_scale_up_failure(cfg, state, b, late, now_s)
    clock = state.clock[b]
    if not math.isnan(clock[LAST_LOOP]):
        clock[MIN_INTERVAL] = min(clock[MIN_INTERVAL], max(now_s - clock[LAST_LOOP], 1e-9))
    clock[LAST_LOOP] = now_s


@inner
def list_waiting(
    priority: Any, drain_code: Any, first_pod: Any, pods: Any, slot: Any, waiting: Any, b: int, hi: int
) -> int:
    """Pods that need a place, by priority: pending ones, and those that draining nodes will evict."""
    count = 0
    for i in range(pods.n_pending[b]):
        p = pods.pending[b, i]
        if priority[b, pods.workload[b, p]] >= EXPENDABLE_BELOW:
            waiting[b, L_CLASS, count] = p
            count += 1
    for n in range(hi):
        p = first_pod[b, n] if slot[b, PHASE, n] == NODE_DRAINING else -1
        while p >= 0:
            w = pods.workload[b, p]
            if pods.phase[b, p] != POD_TERMINATING and drain_code[b, w] != DRAIN_IGNORED:
                i = count
                while i > 0 and priority[b, pods.workload[b, waiting[b, L_CLASS, i - 1]]] < priority[b, w]:
                    waiting[b, L_CLASS, i] = waiting[b, L_CLASS, i - 1]
                    i -= 1
                waiting[b, L_CLASS, i] = p
                count += 1
            p = pods.next_n[b, p]
    return count


@inner
def add_pending(cls: Any, count: Any, b: int, w: int) -> None:
    """One more pod of class w needs help."""
    if cls[b, P_COUNT, w] == 0:
        cls[b, P_LIST, count[b, N_PENDING]] = w
        count[b, N_PENDING] += 1
    cls[b, P_COUNT, w] += 1


@inner
def pack_waiting(
    classes: Any, topology: Any, groups: Any, nodes: Any, pods: Any, state: Any, b: int, now_s: float
) -> Any:
    """Put waiting pods on ready and upcoming nodes; the rest by class in state.pending.

    (oldest creation time, oldest of a GPU pod) of the rest. Once a pod of a class found no place,
    its later ones are not tried.
    """
    fork, cls, waiting = state.fork, state.pending.cls, state.leaving
    for k in range(fork.at[b, N_PENDING]):
        cls[b, P_COUNT, cls[b, P_LIST, k]] = 0
    fork.at[b, N_PENDING] = 0
    oldest_s, oldest_gpu_s = math.inf, math.inf
    loop = fork.at[b, LOOP]
    total = list_waiting(
        classes.priority, classes.drain_code, nodes.first_pod, pods, state.slot, waiting, b, nodes.hi[b]
    )
    for i in range(total):
        p = np.int64(waiting[b, L_CLASS, i])
        w = np.int64(pods.workload[b, p])
        if cls[b, P_FAILED, w] != loop:
            entry = log_move(fork.at, fork.move, b, w, p, -1, True)
            n = -1
            if entry >= 0:
                n = place_pod(classes, topology, groups, nodes, fork, b, w, p, True, True)
            if n >= 0:
                log_arrival(fork.move, fork.node, b, entry, n)
                continue
            if entry >= 0:
                fork.at[b, N_MOVES] = entry
            cls[b, P_FAILED, w] = loop
        created_s = pods.created_s[b, p]
        if created_s < now_s:
            add_pending(cls, fork.at, b, w)
            oldest_s = min(oldest_s, created_s)
            if classes.req[b, w, GPU] > 0:
                oldest_gpu_s = min(oldest_gpu_s, created_s)
    return oldest_s, oldest_gpu_s


@inner
def ready_nodes(slot: Any, b: int, hi: int) -> int:
    """Nodes that are Ready, cordoned ones too."""
    count = 0
    for n in range(hi):
        if slot[b, PHASE, n] in (NODE_READY, NODE_DRAINING):
            count += 1
    return count


@inner
def scale_up(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    cfg: Any,
    state: Any,
    out: Any,
    rng: Any,
    b: int,
    now_s: float,
) -> bool:
    """Fill out.add; True when new pods are waited for, in which case nothing is removed either."""
    oldest_s, oldest_gpu_s = pack_waiting(classes, topology, groups, nodes, pods, state, b, now_s)
    if state.fork.at[b, N_PENDING] == 0:
        return False
    total = cfg.flag[b, MAX_NODES_TOTAL]
    if total > 0 and ready_nodes(state.slot, b, nodes.hi[b]) >= total:
        return False
    if oldest_s + cfg.flag[b, NEW_POD_DELAY_S] > now_s:
        return True
    if not math.isinf(oldest_gpu_s) and oldest_gpu_s + GPU_POD_DELAY_S > now_s:
        return True
    if scale_up_options(classes, topology, groups, nodes, cfg, state, b, now_s) == 0:
        return False
    o = choose_option(int(cfg.flag[b, EXPANDER]), groups, state.options, rng, b)
    if o >= 0 and scale_up_plan(groups, cfg, state, out.add, b, o) > 0:
        state.clock[b, LAST_ADD] = now_s
    return False


@inner
def restore_phases(phase: Any, slot: Any, b: int, hi: int) -> None:
    """Give every node its true phase back."""
    for n in range(hi):
        phase[b, n] = slot[b, PHASE, n]


@kernel
def ca_loop(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    counts: Any,
    cfg: Any,
    state: Any,
    out: Any,
    rng: Any,
    b: int,
    now_s: float,
) -> None:
    """One loop of cluster b at time now_s: nodes to add per group in out.add, to remove in out.remove.

    counts: n_ready, n_starting, n_pending (B, W), the pods that are alive. Nodes in phase NODE_BOOTING
    are upcoming, those in NODE_DRAINING are deletions in flight. Only
    `state`, `out` and the expander's random stream are different afterwards.
    """
    begin(cfg, nodes, state, out, b, now_s)
    wait = scale_up(classes, topology, groups, nodes, pods, cfg, state, out, rng, b, now_s)
    if cfg.flag[b, SCALE_DOWN] != 0:
        scale_down(classes, topology, groups, nodes, pods, counts, cfg, state, out, b, now_s, wait)
    if state.fork.at[b, N_MOVES] > 0:
        rollback(classes, topology, nodes, state.fork, b, 0)
    restore_phases(nodes.phase, state.slot, b, nodes.hi[b])
