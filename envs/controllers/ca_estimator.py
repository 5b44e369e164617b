"""How many nodes of one group the pending pods need: the Cluster Autoscaler's binpacking estimator.

Pods come in groups of equal pods (one class), the largest share of a node first. Each group is
tried on the nodes opened so far in this estimate that hold a pod already, the newest first, then
by a scan that starts after the last match; what is left is tried on the newest node only, and on
one more, until a pod does not fit an empty node or the node cap is hit.
Rule followed: cluster-autoscaler `pkg/estimator` as of 2026-08.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.ca_layout import (
    LAST_MATCH,
    M_OLDER,
    N_MOVES,
    N_OPEN,
    N_ORDER,
    N_PENDING,
    O_HAS_PODS,
    O_SLOT,
    P_COUNT,
    P_LIST,
    P_ORDER,
    PLACED,
    SCHEDULABLE,
)
from envs.controllers.ca_snapshot import (
    close_nodes,
    log_arrival,
    log_move,
    open_node,
    rollback,
    try_node,
)
from envs.controllers.placement import HARD_SPREAD, resources_fit, spread_ok
from envs.sim.jit import inner
from envs.sim.state import CPU, HOSTNAME, MEM, NODE_READY


@inner
def size_share(req: Any, alloc: Any, b: int, w: int, g: int) -> float:
    """CPU request / allocatable + memory request / allocatable; a resource that is 0 counts nothing."""
    score = 0.0
    if alloc[b, g, CPU] > 0:
        score += float(req[b, w, CPU]) / float(alloc[b, g, CPU])
    if alloc[b, g, MEM] > 0:
        score += float(req[b, w, MEM]) / float(alloc[b, g, MEM])
    return score


@inner
def order_classes(req: Any, alloc: Any, pending: Any, fork: Any, b: int, g: int) -> None:
    """Set P_ORDER: classes that fit group g, largest size share first, ties as they came."""
    n = 0
    order = pending.cls[b, P_ORDER]
    for k in range(fork.at[b, N_PENDING]):
        w = pending.cls[b, P_LIST, k]
        if pending.table[b, SCHEDULABLE, g, w] == 0:
            continue
        score = size_share(req, alloc, b, w, g)
        pending.score[b, w] = score
        j = n
        while j > 0 and pending.score[b, order[j - 1]] < score:
            order[j] = order[j - 1]
            j -= 1
        order[j] = w
        n += 1
    fork.at[b, N_ORDER] = n


@inner
def share_nodes(count: int, request: int, capacity: int) -> int:
    """Nodes that `count` pods need by one resource of the capacity."""
    if request <= 0 or capacity <= 0:
        return 0
    return math.ceil(float(count) * request / capacity)


@inner
def simulations_saved(classes: Any, topology: Any, cap: Any, b: int, w: int, g: int, count: int) -> int:
    """What the arithmetic shortcut saves for class w: pods - pods // nodes; -1 where it must not be used."""
    nodes = max(
        share_nodes(count, classes.req[b, w, CPU], cap[b, g, CPU]),
        share_nodes(count, classes.req[b, w, MEM], cap[b, g, MEM]),
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


@inner
def shortcut_last(classes: Any, topology: Any, cap: Any, pending: Any, fork: Any, b: int, g: int) -> bool:
    """Move the class that the shortcut saves most to the end of the order; False = none may use it."""
    best, most = -1, 0
    order, n = pending.cls[b, P_ORDER], fork.at[b, N_ORDER]
    for k in range(n):
        count = pending.cls[b, P_COUNT, order[k]]
        saved = simulations_saved(classes, topology, cap, b, order[k], g, count)
        if saved >= most:
            best, most = k, saved
    if best < 0:
        return False
    w = order[best]
    for k in range(best, n - 1):
        order[k] = order[k + 1]
    order[n - 1] = w
    return True


@inner
def spread_only(classes: Any, topology: Any, groups: Any, nodes: Any, fit: Any, b: int, w: int, n: int) -> bool:
    """Class w has a hostname spread, and it is spread that keeps it off node n. After `measure`."""
    on_hostname = False
    for k in range(classes.spread_key.shape[2]):
        on_hostname |= classes.spread_key[b, w, k] == HOSTNAME
    if not on_hostname or not fit.terms[b] & HARD_SPREAD:
        return False
    g = nodes.group[b, n]
    if not classes.fits_group[b, w, g] or not resources_fit(classes.req, groups.alloc, nodes.used, b, w, g, n):
        return False
    return not spread_ok(classes, topology, nodes, b, w, n, fit)


@inner
def use_opened(classes: Any, topology: Any, groups: Any, nodes: Any, fork: Any, b: int, w: int) -> bool:
    """Put one pod of class w on an opened node: the newest if it holds a pod, else after the last match."""
    n_open = fork.at[b, N_OPEN]
    if n_open == 0:
        return False
    newest = n_open - 1
    refresh = True
    k = newest
    for step in range(n_open + 1):
        if step > 0:
            k = fork.at[b, LAST_MATCH] + step
            k = k - n_open if k >= n_open else k
        held = fork.opened[b, k]
        if (k == newest) != (step == 0) or (step == 0 and held[O_HAS_PODS] == 0):
            continue
        if try_node(classes, topology, groups, nodes, fork, b, w, held[O_SLOT], refresh):
            if step > 0:
                fork.at[b, LAST_MATCH] = k
            held[O_HAS_PODS] = 1
            return True
        refresh = False
    return False


@inner
def use_any(classes: Any, topology: Any, groups: Any, nodes: Any, fork: Any, b: int, w: int, newest: int) -> bool:
    """Put one pod of class w on any node but `newest` (slot), real ones too; those go to the journal.

    Upstream does so where only a hostname spread keeps the pod off the newest node, and then counts
    the real nodes that it used among the new ones.
    """
    refresh = True
    for n in range(nodes.hi[b]):
        if n == newest or nodes.phase[b, n] != NODE_READY:
            continue
        if try_node(classes, topology, groups, nodes, fork, b, w, n, refresh):
            for k in range(fork.at[b, N_OPEN]):
                if fork.opened[b, k, O_SLOT] == n:
                    fork.opened[b, k, O_HAS_PODS] = 1
                    return True
            entry = max(0, log_move(fork.at, fork.move, b, w, -1, -1, True))
            log_arrival(fork.move, fork.node, b, entry, n)
            return True
        refresh = False
    return False


@inner
def real_nodes_used(fork: Any, b: int, mark: int) -> int:
    """Real nodes that hold pods of this estimate, which began at journal entry `mark`."""
    used = 0
    for i in range(mark, fork.at[b, N_MOVES]):
        if fork.move[b, M_OLDER, i] < mark:
            used += 1
    return used


@inner
def use_newest(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    fork: Any,
    b: int,
    w: int,
    g: int,
    left: int,
    cap: int,
    shortcut: bool,
) -> Any:
    """Put `left` pods of class w on the newest node, then on one more: (left, go on adding).

    shortcut: fill one node only, the empty newest one if there is one.
    """
    opened_now = False
    while left > 0:
        k = fork.at[b, N_OPEN] - 1
        if k >= 0 and (not shortcut or opened_now or fork.opened[b, k, O_HAS_PODS] == 0):
            held = fork.opened[b, k]
            if try_node(classes, topology, groups, nodes, fork, b, w, held[O_SLOT], True):
                held[O_HAS_PODS] = 1
                left -= 1
                opened_now = True
                continue
            if shortcut:
                return left, True
            blocked = spread_only(classes, topology, groups, nodes, fork.fit, b, w, held[O_SLOT])
            if blocked and use_any(classes, topology, groups, nodes, fork, b, w, held[O_SLOT]):
                left -= 1
                continue
            if held[O_HAS_PODS] == 0:
                return left, True
        if cap < 0 or (cap > 0 and k + 1 >= cap) or open_node(groups, nodes, fork, b, g) < 0:
            return left, False
        opened_now = True
    return left, True


@inner
def estimate(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    fork: Any,
    pending: Any,
    b: int,
    g: int,
    cap: int,
    shortcut: bool,
) -> int:
    """New nodes of group g that hold a pod; PLACED = pods helped, by class. Everything is undone.

    cap: at most so many nodes are opened; 0 = no cap, negative = none allowed.
    """
    order_classes(classes.req, groups.alloc, pending, fork, b, g)
    shortcut = shortcut and shortcut_last(classes, topology, groups.cap, pending, fork, b, g)
    pending.table[b, PLACED, g] = 0
    fork.at[b, LAST_MATCH] = -1
    mark = fork.at[b, N_MOVES]
    found = 0
    adding = True
    n = fork.at[b, N_ORDER]
    for i in range(n):
        w = pending.cls[b, P_ORDER, i]
        left = pending.cls[b, P_COUNT, w]
        total = left
        while left > 0 and use_opened(classes, topology, groups, nodes, fork, b, w):
            left -= 1
        fast = shortcut and i == n - 1
        if adding:
            before = left
            left, adding = use_newest(classes, topology, groups, nodes, fork, b, w, g, left, cap, fast)
            each = before - left
            if fast and each > 0:  # nodes = ceil(pods / pods per node), without a look at them
                while left > 0 and (cap == 0 or fork.at[b, N_OPEN] + found < cap):
                    left -= min(each, left)
                    found += 1
        pending.table[b, PLACED, g, w] = total - left
    for k in range(fork.at[b, N_OPEN]):
        found += fork.opened[b, k, O_HAS_PODS]
    found += real_nodes_used(fork, b, mark)
    rollback(classes, topology, nodes, fork, b, mark)
    close_nodes(topology, nodes, pending, fork, b)
    return found
