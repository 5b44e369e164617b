"""The Cluster Autoscaler's "what if": pods moved and nodes added on the live arrays, then undone exactly.

Every change goes through a journal, and `rollback` takes the journal back to a mark, newest change
first, so that the arrays are byte for byte what they were. Nothing here decides anything but where
a pod goes: the node it was simulated onto last time, else the first that fits in a scan that
starts after the last match (so it is not first-fit). Rule followed: cluster-autoscaler
`pkg/simulator/{clustersnapshot,scheduling}` as of 2026-08.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.controllers.placement import FitScratch, bind, count_pod, fits, measure, reserve
from envs.sim.jit import kernel
from envs.sim.state import BOOL, CPU, I1, I4, I8, MEM, NODE_FREE, NODE_READY

MAX_NEW_NODES = 1024  # simulated at once; above the 1,000 of one scale-up


class Journal(NamedTuple):
    """Simulated changes. Entry i below n[b] moves one pod of class cls from src to dst (-1 = nowhere)."""

    n: I4  # (B,)
    cls: I4  # (B, J)
    pod: I4  # (B, J) pod slot, -1 = none
    src: I4  # (B, J)
    dst: I4  # (B, J)
    older: I4  # (B, J) the arrival on dst before this one
    counted: BOOL  # (B, J) the pod counts for spread and affinity (it is not being deleted)
    head: I4  # (B, N) newest simulated arrival on a node, -1 = none
    n_open: I4  # (B,) simulated new nodes
    slot: I4  # (B, M) their slots
    old_group: I4  # (B, M) what the slot held before
    old_phase: I1  # (B, M)
    old_pods: I4  # (B, M)
    old_used: I8  # (B, M, R)
    old_score_used: I8  # (B, M, 2)
    old_hi: I4  # (B, M)


class Search(NamedTuple):
    """Where the search for a place stands. hint and hint_loop live across loops."""

    dest: BOOL  # (B, N) nodes that may take the pods of a removed one
    scan: I4  # (B,) slot of the last match
    hint: I4  # (B, P) node that pod p was simulated onto last
    hint_loop: I4  # (B, P) in which loop; older than one loop is forgotten
    loop: I4  # (B,)
    fit: FitScratch


def empty_journal(b: int, n: int, p: int, r: int) -> Journal:
    """Room for every pod to move four times over; a simulation that needs more fails as a whole."""
    m = min(n, MAX_NEW_NODES)
    moves = np.zeros((b, 4 * p + 64), np.int32)
    return Journal(
        n=np.zeros(b, np.int32),
        cls=moves.copy(),
        pod=moves.copy(),
        src=moves.copy(),
        dst=moves.copy(),
        older=moves.copy(),
        counted=np.zeros(moves.shape, np.bool_),
        head=np.full((b, n), -1, np.int32),
        n_open=np.zeros(b, np.int32),
        slot=np.zeros((b, m), np.int32),
        old_group=np.zeros((b, m), np.int32),
        old_phase=np.zeros((b, m), np.int8),
        old_pods=np.zeros((b, m), np.int32),
        old_used=np.zeros((b, m, r), np.int64),
        old_score_used=np.zeros((b, m, 2), np.int64),
        old_hi=np.zeros((b, m), np.int32),
    )


def empty_search(b: int, n: int, p: int, fit: FitScratch) -> Search:
    """No hints; the first scan starts at slot 0."""
    return Search(
        dest=np.zeros((b, n), np.bool_),
        scan=np.full(b, -1, np.int32),
        hint=np.full((b, p), -1, np.int32),
        hint_loop=np.full((b, p), -2, np.int32),
        loop=np.zeros(b, np.int32),
        fit=fit,
    )


@kernel
def take(
    classes: Any, topology: Any, nodes: Any, journal: Any, b: int, w: int, p: int, src: int, counted: bool
) -> int:
    """Take a pod of class w off node src (-1: it is on none); its journal entry, -1 = journal full."""
    i = journal.n[b]
    if i >= journal.cls.shape[1]:
        return -1
    journal.n[b] = i + 1
    journal.cls[b, i] = w
    journal.pod[b, i] = p
    journal.src[b, i] = src
    journal.dst[b, i] = -1
    journal.counted[b, i] = counted
    if src >= 0:
        reserve(classes, nodes, b, w, src, -1)
        if counted:
            count_pod(topology, nodes, b, w, src, -1)
    return i


@kernel
def put(classes: Any, topology: Any, nodes: Any, journal: Any, b: int, i: int, dst: int) -> None:
    """Put the pod of entry i on node dst."""
    w = journal.cls[b, i]
    journal.dst[b, i] = dst
    journal.older[b, i] = journal.head[b, dst]
    journal.head[b, dst] = i
    if journal.counted[b, i]:
        bind(classes, topology, nodes, b, w, dst)
    else:
        reserve(classes, nodes, b, w, dst, 1)


@kernel
def rollback(classes: Any, topology: Any, nodes: Any, journal: Any, b: int, mark: int) -> None:
    """Undo every entry from the newest down to `mark`."""
    for i in range(journal.n[b] - 1, mark - 1, -1):
        w, src, dst = journal.cls[b, i], journal.src[b, i], journal.dst[b, i]
        if dst >= 0:
            journal.head[b, dst] = journal.older[b, i]
            reserve(classes, nodes, b, w, dst, -1)
            if journal.counted[b, i]:
                count_pod(topology, nodes, b, w, dst, -1)
        if src >= 0:
            reserve(classes, nodes, b, w, src, 1)
            if journal.counted[b, i]:
                count_pod(topology, nodes, b, w, src, 1)
    journal.n[b] = mark


@kernel
def free_slot(nodes: Any, journal: Any, b: int) -> int:
    """A node slot for the next simulated node, -1 = none left. The free stack itself is not touched."""
    below_hi = 0
    for k in range(journal.n_open[b]):
        if journal.slot[b, k] < journal.old_hi[b, 0]:
            below_hi += 1
    at = nodes.n_free[b] - 1 - below_hi
    if at >= 0:
        return nodes.free[b, at]
    return nodes.hi[b] if nodes.hi[b] < nodes.group.shape[1] else -1


@kernel
def open_node(groups: Any, nodes: Any, journal: Any, b: int, g: int) -> int:
    """Simulate a new, ready node of group g with its DaemonSet pods; its slot, -1 = no room."""
    k = journal.n_open[b]
    slot = free_slot(nodes, journal, b) if k < journal.slot.shape[1] else -1
    if slot < 0:
        return -1
    journal.n_open[b] = k + 1
    journal.slot[b, k] = slot
    journal.old_group[b, k] = nodes.group[b, slot]
    journal.old_phase[b, k] = nodes.phase[b, slot]
    journal.old_pods[b, k] = nodes.n_pods[b, slot]
    journal.old_hi[b, k] = nodes.hi[b]
    for r in range(nodes.used.shape[2]):
        journal.old_used[b, k, r] = nodes.used[b, slot, r]
        nodes.used[b, slot, r] = groups.daemon[b, g, r]
    for r in range(2):
        journal.old_score_used[b, k, r] = nodes.score_used[b, slot, r]
        nodes.score_used[b, slot, r] = groups.daemon[b, g, CPU if r == 0 else MEM]
    nodes.group[b, slot] = g
    nodes.phase[b, slot] = NODE_READY
    nodes.n_pods[b, slot] = 0
    nodes.hi[b] = max(nodes.hi[b], slot + 1)
    return slot


@kernel
def close_nodes(nodes: Any, journal: Any, b: int, mark: int) -> None:
    """Take the simulated nodes away again, down to `mark`, after their pods were rolled back."""
    for k in range(journal.n_open[b] - 1, mark - 1, -1):
        slot = journal.slot[b, k]
        nodes.group[b, slot] = journal.old_group[b, k]
        nodes.phase[b, slot] = journal.old_phase[b, k]
        nodes.n_pods[b, slot] = journal.old_pods[b, k]
        nodes.hi[b] = journal.old_hi[b, k]
        for r in range(nodes.used.shape[2]):
            nodes.used[b, slot, r] = journal.old_used[b, k, r]
        for r in range(2):
            nodes.score_used[b, slot, r] = journal.old_score_used[b, k, r]
    journal.n_open[b] = mark


@kernel
def scan_nodes(
    classes: Any, topology: Any, groups: Any, nodes: Any, search: Any, b: int, w: int, anywhere: bool
) -> int:
    """First node after the last match that takes a pod of class w, -1 = none. After `measure`.

    anywhere: every ready node; otherwise only those in search.dest.
    """
    hi = nodes.hi[b]
    cpu, mem = classes.req[b, w, CPU], classes.req[b, w, MEM]
    n = search.scan[b]
    for _ in range(hi):
        n += 1
        if n >= hi:
            n = 0
        if nodes.phase[b, n] != NODE_READY or not (anywhere or search.dest[b, n]):
            continue
        g = nodes.group[b, n]
        # most nodes fall here: two comparisons instead of a call
        if cpu > 0 and nodes.used[b, n, CPU] + cpu > groups.alloc[b, g, CPU]:
            continue
        if mem > 0 and nodes.used[b, n, MEM] + mem > groups.alloc[b, g, MEM]:
            continue
        if fits(classes, topology, groups, nodes, b, w, n, search.fit):
            search.scan[b] = n
            return n
    return -1


@kernel
def find_place(
    classes: Any, topology: Any, groups: Any, nodes: Any, search: Any, b: int, w: int, p: int, anywhere: bool
) -> int:
    """Node for pod p (slot, -1 = none) of class w: where it went last time if it still fits, else a scan."""
    measure(classes, topology, nodes, b, w, search.fit)
    found = -1
    if p >= 0 and search.hint_loop[b, p] >= search.loop[b] - 1:
        n = search.hint[b, p]
        known = 0 <= n < nodes.hi[b] and (anywhere or search.dest[b, n])
        if known and fits(classes, topology, groups, nodes, b, w, n, search.fit):
            found = n
    if found < 0:
        found = scan_nodes(classes, topology, groups, nodes, search, b, w, anywhere)
    if p >= 0 and found >= 0:
        search.hint[b, p] = found
        search.hint_loop[b, p] = search.loop[b]
    return found


@kernel
def hide_node(nodes: Any, b: int, n: int) -> None:
    """The node is gone for what follows in this simulation. The caller restores its phase."""
    nodes.phase[b, n] = NODE_FREE
