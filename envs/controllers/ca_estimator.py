"""How many nodes of one group the pending pods need: the Cluster Autoscaler's binpacking estimator.

Pods come in groups of equal pods (one class), the largest share of a node first. Each group is
tried on the nodes opened so far in this estimate that hold a pod already, the newest first, then
by a scan that starts after the last match; what is left is tried on the newest node only, and on
one more, until a pod does not fit an empty node or the node cap is hit.
Rule followed: cluster-autoscaler `pkg/estimator` as of 2026-08.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from envs.controllers.ca_snapshot import close_nodes, open_node, put, rollback, scan_nodes, take
from envs.controllers.placement import HARD_SPREAD, fits, measure, resources_fit, spread_ok
from envs.sim.jit import kernel
from envs.sim.state import BOOL, CPU, F8, HOSTNAME, I4, MEM


class Pending(NamedTuple):
    """Pods that need help, by class, and the estimate in hand. Scratch of one loop."""

    count: I4  # (B, W) pods of class w that fit nowhere
    n: I4  # (B,) number of classes among them
    cls: I4  # (B, W) these classes, by first appearance
    schedulable: BOOL  # (B, W, G) a pod of the class fits an empty node of the group
    n_order: I4  # (B,)
    order: I4  # (B, W) classes in the estimate's order
    score: F8  # (B, W) size share of each class on the node at hand
    placed: I4  # (B, G, W) pods of each class that the group's option helps
    has_pods: BOOL  # (B, M) whether the k-th node opened holds a pod
    last: I4  # (B,) index of the last match among the nodes opened


def empty_pending(b: int, w: int, g: int, m: int) -> Pending:
    """Room for w classes, g groups and m simulated nodes."""
    return Pending(
        count=np.zeros((b, w), np.int32),
        n=np.zeros(b, np.int32),
        cls=np.zeros((b, w), np.int32),
        schedulable=np.zeros((b, w, g), np.bool_),
        n_order=np.zeros(b, np.int32),
        order=np.zeros((b, w), np.int32),
        score=np.zeros((b, w)),
        placed=np.zeros((b, g, w), np.int32),
        has_pods=np.zeros((b, m), np.bool_),
        last=np.zeros(b, np.int32),
    )


@kernel
def size_share(classes: Any, groups: Any, b: int, w: int, g: int) -> float:
    """CPU request / allocatable + memory request / allocatable; a resource that is 0 counts nothing."""
    score = 0.0
    if groups.alloc[b, g, CPU] > 0:
        score += float(classes.req[b, w, CPU]) / float(groups.alloc[b, g, CPU])
    if groups.alloc[b, g, MEM] > 0:
        score += float(classes.req[b, w, MEM]) / float(groups.alloc[b, g, MEM])
    return score


@kernel
def order_classes(classes: Any, groups: Any, pending: Any, b: int, g: int) -> None:
    """Set pending.order: classes that fit group g, largest size share first, ties as they came."""
    n = 0
    for k in range(pending.n[b]):
        w = pending.cls[b, k]
        if not pending.schedulable[b, w, g]:
            continue
        score = size_share(classes, groups, b, w, g)
        pending.score[b, w] = score
        j = n
        while j > 0 and pending.score[b, pending.order[b, j - 1]] < score:
            pending.order[b, j] = pending.order[b, j - 1]
            j -= 1
        pending.order[b, j] = w
        n += 1
    pending.n_order[b] = n


@kernel
def share_nodes(count: int, request: int, capacity: int) -> int:
    """Nodes that `count` pods need by one resource of the capacity."""
    if request <= 0 or capacity <= 0:
        return 0
    return math.ceil(float(count) * request / capacity)


@kernel
def simulations_saved(classes: Any, groups: Any, topology: Any, pending: Any, b: int, w: int, g: int) -> int:
    """What the arithmetic shortcut saves for class w: pods - pods // nodes; -1 where it must not be used."""
    count = pending.count[b, w]
    nodes = max(
        share_nodes(count, classes.req[b, w, CPU], groups.cap[b, g, CPU]),
        share_nodes(count, classes.req[b, w, MEM], groups.cap[b, g, MEM]),
    )
    for k in range(classes.spread_key.shape[2]):
        if classes.spread_key[b, w, k] >= 0:
            return -1
    for a in range(classes.anti_key.shape[2]):
        if classes.anti_key[b, w, a] > HOSTNAME:
            return -1
        if classes.anti_key[b, w, a] == HOSTNAME:
            s = classes.anti_sel[b, w, a]
            for i in range(topology.sel_start[b, s], topology.sel_start[b, s + 1]):
                if topology.sel_item[b, i] == w:
                    nodes = max(nodes, count)
    return count - count // nodes if nodes > 0 else 0


@kernel
def shortcut_last(classes: Any, groups: Any, topology: Any, pending: Any, b: int, g: int) -> bool:
    """Move the class that the shortcut saves most to the end of the order; False = none may use it."""
    best, most = -1, 0
    for k in range(pending.n_order[b]):
        saved = simulations_saved(classes, groups, topology, pending, b, pending.order[b, k], g)
        if saved >= most:
            best, most = k, saved
    if best < 0:
        return False
    w = pending.order[b, best]
    for k in range(best, pending.n_order[b] - 1):
        pending.order[b, k] = pending.order[b, k + 1]
    pending.order[b, pending.n_order[b] - 1] = w
    return True


@kernel
def settle(classes: Any, topology: Any, nodes: Any, journal: Any, b: int, w: int, n: int) -> None:
    """Simulate one pending pod of class w on node n."""
    i = take(classes, topology, nodes, journal, b, w, -1, -1, True)
    if i >= 0:
        put(classes, topology, nodes, journal, b, i, n)


@kernel
def opened_that_fits(
    classes: Any, topology: Any, groups: Any, nodes: Any, fit: Any, journal: Any, pending: Any, b: int, w: int
) -> int:
    """Index of an opened node with pods that takes class w: the newest, else after the last match; -1."""
    n_open = journal.n_open[b]
    if n_open == 0:
        return -1
    measure(classes, topology, nodes, b, w, fit)
    newest = n_open - 1
    slot = journal.slot[b, newest]
    if pending.has_pods[b, newest] and fits(classes, topology, groups, nodes, b, w, slot, fit):
        return newest
    k = pending.last[b]
    for _ in range(n_open):
        k += 1
        if k >= n_open:
            k = 0
        slot = journal.slot[b, k]
        if k != newest and fits(classes, topology, groups, nodes, b, w, slot, fit):
            pending.last[b] = k
            return k
    return -1


@kernel
def spread_only(
    classes: Any, topology: Any, groups: Any, nodes: Any, fit: Any, b: int, w: int, n: int
) -> bool:
    """Class w has a hostname spread, and it is spread that keeps it off node n. After `measure`."""
    on_hostname = False
    for k in range(classes.spread_key.shape[2]):
        on_hostname |= classes.spread_key[b, w, k] == HOSTNAME
    if not on_hostname or not fit.terms[b] & HARD_SPREAD:
        return False
    g = nodes.group[b, n]
    if not classes.fits_group[b, w, g] or not resources_fit(
        classes.req, groups.alloc, nodes.used, b, w, g, n
    ):
        return False
    return not spread_ok(classes, topology, nodes, b, w, n, fit)


@kernel
def fill_opened(
    classes: Any, topology: Any, groups: Any, nodes: Any, fit: Any, journal: Any, pending: Any, b: int, w: int
) -> int:
    """Put pods of class w on opened nodes until one fits nowhere; how many are left."""
    left = pending.count[b, w]
    while left > 0:
        k = opened_that_fits(classes, topology, groups, nodes, fit, journal, pending, b, w)
        if k < 0:
            break
        settle(classes, topology, nodes, journal, b, w, journal.slot[b, k])
        pending.has_pods[b, k] = True
        left -= 1
    return left


@kernel
def settle_elsewhere(
    classes: Any, topology: Any, groups: Any, nodes: Any, search: Any, journal: Any, b: int, w: int, mark: int
) -> int:
    """One pod of class w on any node that takes it, real ones too.

    -1 = none; 1 = on a real node that this estimate, begun at `mark`, had not used; 0 = otherwise.
    Upstream counts such a real node among the new ones.
    """
    n = scan_nodes(classes, topology, groups, nodes, search, b, w, True)
    if n < 0:
        return -1
    fresh = 1 if journal.head[b, n] < mark else 0
    for k in range(journal.n_open[b]):
        if journal.slot[b, k] == n:
            fresh = 0
    settle(classes, topology, nodes, journal, b, w, n)
    return fresh


@kernel
def fill_new(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    search: Any,
    journal: Any,
    pending: Any,
    b: int,
    w: int,
    g: int,
    left: int,
    cap: int,
    mark: int,
) -> Any:
    """Put `left` pods of class w on the newest node or one more: (left, go on adding, real nodes used)."""
    used_real = 0
    while left > 0:
        k = journal.n_open[b] - 1
        if k >= 0:
            newest = journal.slot[b, k]
            measure(classes, topology, nodes, b, w, search.fit)
            if fits(classes, topology, groups, nodes, b, w, newest, search.fit):
                settle(classes, topology, nodes, journal, b, w, newest)
                pending.has_pods[b, k] = True
                left -= 1
                continue
            if spread_only(classes, topology, groups, nodes, search.fit, b, w, newest):
                fresh = settle_elsewhere(classes, topology, groups, nodes, search, journal, b, w, mark)
                if fresh >= 0:
                    used_real += fresh
                    left -= 1
                    continue
            if not pending.has_pods[b, k]:
                return left, True, used_real
        if cap < 0 or (cap > 0 and journal.n_open[b] >= cap):
            return left, False, used_real
        slot = open_node(groups, nodes, journal, b, g)
        if slot < 0:
            return left, False, used_real
        k = journal.n_open[b] - 1
        pending.has_pods[b, k] = False
        measure(classes, topology, nodes, b, w, search.fit)
        if not fits(classes, topology, groups, nodes, b, w, slot, search.fit):
            break
        settle(classes, topology, nodes, journal, b, w, slot)
        pending.has_pods[b, k] = True
        left -= 1
    return left, True, used_real


@kernel
def fill_by_arithmetic(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    fit: Any,
    journal: Any,
    pending: Any,
    b: int,
    w: int,
    g: int,
    left: int,
    cap: int,
) -> Any:
    """The shortcut for the last class: fill one new node, then nodes = ceil(pods / pods per node).

    (left, further nodes).
    """
    k = journal.n_open[b] - 1
    if left == 0:
        return left, 0
    if k < 0 or pending.has_pods[b, k]:
        if cap < 0 or (cap > 0 and journal.n_open[b] >= cap) or open_node(groups, nodes, journal, b, g) < 0:
            return left, 0
        k = journal.n_open[b] - 1
        pending.has_pods[b, k] = False
    slot = journal.slot[b, k]
    each = 0
    while each < left:
        measure(classes, topology, nodes, b, w, fit)
        if not fits(classes, topology, groups, nodes, b, w, slot, fit):
            break
        settle(classes, topology, nodes, journal, b, w, slot)
        pending.has_pods[b, k] = True
        each += 1
    left -= each
    further = 0
    while each > 0 and left > 0 and (cap == 0 or journal.n_open[b] + further < cap):
        left -= min(each, left)
        further += 1
    return left, further


@kernel
def estimate(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    search: Any,
    journal: Any,
    pending: Any,
    b: int,
    g: int,
    cap: int,
    shortcut: bool,
) -> int:
    """New nodes of group g that hold a pod; pending.placed[b, g] = pods helped. Everything is undone.

    cap: at most so many nodes are opened; 0 = no cap, negative = none allowed.
    """
    mark, open_mark = journal.n[b], journal.n_open[b]
    order_classes(classes, groups, pending, b, g)
    shortcut = shortcut and shortcut_last(classes, groups, topology, pending, b, g)
    pending.placed[b, g, :] = 0
    pending.last[b] = -1
    extra = 0
    adding = True
    for i in range(pending.n_order[b]):
        w = pending.order[b, i]
        left = fill_opened(classes, topology, groups, nodes, search.fit, journal, pending, b, w)
        if adding and shortcut and i == pending.n_order[b] - 1:
            left, further = fill_by_arithmetic(
                classes, topology, groups, nodes, search.fit, journal, pending, b, w, g, left, cap
            )
            extra += further
        elif adding:
            left, adding, real = fill_new(
                classes, topology, groups, nodes, search, journal, pending, b, w, g, left, cap, mark
            )
            extra += real
        pending.placed[b, g, w] = pending.count[b, w] - left
    found = extra
    for k in range(open_mark, journal.n_open[b]):
        found += 1 if pending.has_pods[b, k] else 0
    rollback(classes, topology, nodes, journal, b, mark)
    close_nodes(nodes, journal, b, open_mark)
    return found
