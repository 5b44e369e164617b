"""The Cluster Autoscaler's "what if": pods moved and nodes added on the live arrays, then undone exactly.

Moves go through a journal, and `rollback` takes it back to a mark, newest move first; new nodes
are closed by putting back what their slots held. A pod goes to the node it was simulated onto last
time if it still fits, else to the first that fits in a scan that starts after the last match (so
it is not first-fit). Rule followed: cluster-autoscaler `pkg/simulator` as of 2026-08.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.controllers.ca_layout import (
    DEST,
    HEAD,
    HINT,
    HINT_LOOP,
    LOOP,
    M_CLASS,
    M_COUNTED,
    M_DST,
    M_OLDER,
    M_POD,
    M_SRC,
    N_MOVES,
    N_OPEN,
    O_GROUP,
    O_HAS_PODS,
    O_HI,
    O_PHASE,
    O_PODS,
    O_SLOT,
    O_USED,
    SCAN,
)
from envs.controllers.placement import all_plain, count_pod, fits, measure, resources_fit
from envs.sim.jit import inner
from envs.sim.state import NODE_READY


@inner
def charge(req: Any, used: Any, n_pods: Any, b: int, w: int, n: int, delta: int) -> None:
    """Add (1) or take off (-1) a pod of class w on node n: the books that filters and utilization read."""
    for r in range(req.shape[2]):
        used[b, n, r] += delta * req[b, w, r]
    n_pods[b, n] += delta


@inner
def try_node(
    classes: Any, topology: Any, groups: Any, nodes: Any, fork: Any, b: int, w: int, n: int, refresh: bool
) -> bool:
    """Put a pod of class w on node n if it fits. refresh: measure the class first (see placement)."""
    if refresh:
        measure(classes, topology, nodes, b, w, fork.fit)
    if not fits(classes, topology, groups, nodes, b, w, n, fork.fit):
        return False
    charge(classes.req, nodes.used, nodes.n_pods, b, w, n, 1)
    if not all_plain(fork.plain, b):
        count_pod(topology, nodes, b, w, n, 1)
    return True


@inner
def node_at(at: Any, pod: Any, b: int, p: int, hi: int, step: int) -> int:
    """Node tried at a step of the search for pod p: the hint (step -1), then a scan after the last match."""
    if step < 0:
        n = pod[b, HINT, p]
        return n if n < hi and pod[b, HINT_LOOP, p] >= at[b, LOOP] - 1 else -1
    n = at[b, SCAN] + 1 + step
    return n - hi if n >= hi else n


@inner
def next_fit(
    req: Any,
    fits_group: Any,
    alloc: Any,
    group: Any,
    phase: Any,
    used: Any,
    at: Any,
    node: Any,
    pod: Any,
    b: int,
    w: int,
    p: int,
    hi: int,
    anywhere: bool,
    step: int,
) -> int:
    """First step from `step` on whose node has room for a pod of class w and suits it; hi = none.

    anywhere: every ready node; otherwise only those marked DEST. Takes arrays, not tuples: it runs
    for each pod of each simulated removal.
    """
    while step < hi:
        n = node_at(at, pod, b, p, hi, step)
        if n >= 0 and phase[b, n] == NODE_READY and (anywhere or node[b, DEST, n] == 1):
            g = np.int64(group[b, n])
            if fits_group[b, w, g] and resources_fit(req, alloc, used, b, w, g, n):
                return step
        step += 1
    return hi


@inner
def mark_found(at: Any, pod: Any, b: int, p: int, n: int, step: int) -> None:
    """Remember that pod p went to node n."""
    if step >= 0:
        at[b, SCAN] = n
    pod[b, HINT, p] = n
    pod[b, HINT_LOOP, p] = at[b, LOOP]


@inner
def place_pod(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    fork: Any,
    b: int,
    w: int,
    p: int,
    anywhere: bool,
    counted: bool,
) -> int:
    """Put pod p (slot) of class w on a node: where it went last time, else by a scan; -1 = no place."""
    hi = np.int64(nodes.hi[b])
    plain = fork.plain[b, w]
    if not plain:
        measure(classes, topology, nodes, b, w, fork.fit)
    step = -1
    while step < hi:
        step = next_fit(
            classes.req,
            classes.fits_group,
            groups.alloc,
            nodes.group,
            nodes.phase,
            nodes.used,
            fork.at,
            fork.node,
            fork.pod,
            b,
            w,
            p,
            hi,
            anywhere,
            step,
        )
        if step >= hi:
            break
        n = node_at(fork.at, fork.pod, b, p, hi, step)
        if plain or fits(classes, topology, groups, nodes, b, w, n, fork.fit):
            mark_found(fork.at, fork.pod, b, p, n, step)
            charge(classes.req, nodes.used, nodes.n_pods, b, w, n, 1)
            if counted and not all_plain(fork.plain, b):
                count_pod(topology, nodes, b, w, n, 1)
            return n
        step += 1
    return -1


@inner
def log_move(at: Any, move: Any, b: int, w: int, p: int, src: int, counted: bool) -> int:
    """Journal that a pod leaves src (-1: it was on no node); the entry, -1 = journal full."""
    i = at[b, N_MOVES]
    if i >= move.shape[2]:
        return -1
    at[b, N_MOVES] = i + 1
    move[b, M_CLASS, i] = w
    move[b, M_POD, i] = p
    move[b, M_SRC, i] = src
    move[b, M_DST, i] = -1
    move[b, M_COUNTED, i] = 1 if counted else 0
    return i


@inner
def log_arrival(move: Any, node: Any, b: int, i: int, dst: int) -> None:
    """Journal that the pod of entry i was put on dst."""
    move[b, M_DST, i] = dst
    move[b, M_OLDER, i] = node[b, HEAD, dst]
    node[b, HEAD, dst] = i


@inner
def rollback(classes: Any, topology: Any, nodes: Any, fork: Any, b: int, mark: int) -> None:
    """Undo every move from the newest down to entry `mark`."""
    move, head, req, used, n_pods = fork.move, fork.node, classes.req, nodes.used, nodes.n_pods
    seen = not all_plain(fork.plain, b)
    for i in range(fork.at[b, N_MOVES] - 1, mark - 1, -1):
        w, counted = move[b, M_CLASS, i], seen and move[b, M_COUNTED, i] == 1
        src, dst = move[b, M_SRC, i], move[b, M_DST, i]
        if dst >= 0:
            head[b, HEAD, dst] = move[b, M_OLDER, i]
            charge(req, used, n_pods, b, w, dst, -1)
            if counted:
                count_pod(topology, nodes, b, w, dst, -1)
        if src >= 0:
            charge(req, used, n_pods, b, w, src, 1)
            if counted:
                count_pod(topology, nodes, b, w, src, 1)
    fork.at[b, N_MOVES] = mark


@inner
def free_slot(nodes: Any, fork: Any, b: int) -> Any:
    """A slot for the next simulated node, -1 = none left. The free stack itself is not touched."""
    from_stack = 0
    for k in range(fork.at[b, N_OPEN]):
        if fork.opened[b, k, O_SLOT] < fork.opened[b, 0, O_HI]:
            from_stack += 1
    at = nodes.n_free[b] - 1 - from_stack
    if at >= 0:
        return np.int64(nodes.free[b, at])
    return np.int64(nodes.hi[b]) if nodes.hi[b] < nodes.group.shape[1] else -1


@inner
def open_node(groups: Any, nodes: Any, fork: Any, b: int, g: int) -> int:
    """Simulate a new, ready, empty node of group g with its DaemonSet pods; its slot, -1 = no room."""
    k = fork.at[b, N_OPEN]
    slot = free_slot(nodes, fork, b) if k < fork.opened.shape[1] else -1
    if slot < 0:
        return -1
    fork.at[b, N_OPEN] = k + 1
    held = fork.opened[b, k]
    held[O_SLOT] = slot
    held[O_HAS_PODS] = 0
    held[O_GROUP] = nodes.group[b, slot]
    held[O_PHASE] = nodes.phase[b, slot]
    held[O_PODS] = nodes.n_pods[b, slot]
    held[O_HI] = nodes.hi[b]
    for r in range(nodes.used.shape[2]):
        held[O_USED + r] = nodes.used[b, slot, r]
        nodes.used[b, slot, r] = groups.daemon[b, g, r]
    nodes.group[b, slot] = g
    nodes.phase[b, slot] = NODE_READY
    nodes.n_pods[b, slot] = 0
    nodes.hi[b] = max(nodes.hi[b], slot + 1)
    return slot


@inner
def close_nodes(topology: Any, nodes: Any, pending: Any, fork: Any, b: int) -> None:
    """Take all simulated nodes and their pods away again, newest first."""
    for k in range(fork.at[b, N_OPEN] - 1, -1, -1):
        held = fork.opened[b, k]
        slot = held[O_SLOT]
        if held[O_HAS_PODS] == 1 and not all_plain(fork.plain, b):
            for w in range(pending.cls.shape[2]):
                count = nodes.pods_of[b, w, slot]
                if count > 0:
                    count_pod(topology, nodes, b, w, slot, -count)
        nodes.group[b, slot] = held[O_GROUP]
        nodes.phase[b, slot] = held[O_PHASE]
        nodes.n_pods[b, slot] = held[O_PODS]
        nodes.hi[b] = held[O_HI]
        for r in range(nodes.used.shape[2]):
            nodes.used[b, slot, r] = held[O_USED + r]
    fork.at[b, N_OPEN] = 0
