"""Karpenter's scheduling simulation: where would pods go, on nodes that exist and on new node claims.

Pods by falling CPU, then memory; each goes to the first existing node with room (ready ones first), else
to the open claim with fewest pods that can still take it, else to a new claim of the first pool in order of
weight. A claim is a set of offerings that narrows with every pod. A pod that finds no place gives up its
preferences one by one. What was put on existing nodes is journalled and undone by `undo`.
Rules followed: kubernetes-sigs/karpenter v1.14 pkg/controllers/provisioning/scheduling.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.karpenter_layout import (
    BLOCK,
    C_PODS,
    C_POOL,
    F_BASE,
    F_BASE_PASS,
    F_BOOT,
    F_ITEM,
    F_ITEM_SOLVE,
    F_NOW,
    F_NOW_SOLVE,
    FIRST_BOOT,
    J_CLASS,
    J_DOMAIN,
    J_KIND,
    J_MAYBE,
    J_OFF_NODE,
    J_ON_NODE,
    J_WHERE,
    N_CLAIMS,
    N_ITEMS,
    N_JOURNAL,
    PASS,
    SOLVE,
    UNPLACED,
)
from envs.controllers.karpenter_topology import host_allows, narrow
from envs.controllers.karpenter_variety import varied
from envs.controllers.placement import resources_fit
from envs.sim.jit import inner
from envs.sim.state import NODE_BOOTING, NODE_READY


@inner
def log(solve: Any, b: int, kind: int, where: int, w: int) -> None:
    """Add a journal entry; the journal has room for every pod and domain."""
    i = solve.at[b, N_JOURNAL]
    solve.at[b, N_JOURNAL] = i + 1
    solve.journal[b, J_KIND, i] = kind
    solve.journal[b, J_WHERE, i] = where
    solve.journal[b, J_CLASS, i] = w


@inner
def shift(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int, delta: int, counted: bool) -> None:
    """Put a pod of class w on node n's books (1) or take it off (-1), with its topology if that matters."""
    for r in range(classes.req.shape[2]):
        nodes.used[b, n, r] += delta * classes.req[b, w, r]
    if counted:
        nodes.pods_of[b, w, n] += delta
        g = nodes.group[b, n]
        for t in range(1, topology.group_domain.shape[2]):
            d = topology.group_domain[b, g, t]
            if d >= 0:
                topology.dom_pods[b, t, d, w] += delta


@inner
def take_off(config: Any, classes: Any, topology: Any, nodes: Any, solve: Any, b: int, w: int, n: int) -> None:
    """A pod of class w leaves node n in the simulation."""
    log(solve, b, J_OFF_NODE, n, w)
    shift(classes, topology, nodes, b, w, n, -1, not config.plain[b, -1])


@inner
def undo(config: Any, classes: Any, topology: Any, nodes: Any, solve: Any, b: int, mark: int) -> None:
    """Take the journal back to entry `mark`, and forget all claims."""
    counted, D = not config.plain[b, -1], topology.dom_pods.shape[2]
    for i in range(solve.at[b, N_JOURNAL] - 1, mark - 1, -1):
        kind, where, w = solve.journal[b, J_KIND, i], solve.journal[b, J_WHERE, i], solve.journal[b, J_CLASS, i]
        if kind == J_ON_NODE:
            shift(classes, topology, nodes, b, w, where, -1, counted)
        elif kind == J_OFF_NODE:
            shift(classes, topology, nodes, b, w, where, 1, counted)
        elif kind == J_DOMAIN:
            topology.dom_pods[b, where // D, where % D, w] -= 1
        else:
            solve.extra[b, where // D, where % D, w] -= 1
    solve.at[b, N_JOURNAL] = mark
    solve.at[b, N_CLAIMS] = 0


@inner
def start_pass(groups: Any, nodes: Any, solve: Any, b: int) -> None:
    """Before the solves of one look at the cluster: the largest free room of each block of node slots, and the
    first slot with a booting node."""
    solve.at[b, PASS] += 1
    solve.at[b, FIRST_BOOT] = nodes.hi[b]
    used, alloc, group, block = nodes.used[b], groups.alloc[b], nodes.group[b], solve.block[b]
    for k in range(nodes.hi[b] // BLOCK + 1):
        block[k, 0] = block[k, 1] = 0
    for n in range(nodes.hi[b]):
        g = group[n]
        if g >= 0:
            k = n // BLOCK
            block[k, 0] = max(block[k, 0], alloc[g, 0] - used[n, 0])
            block[k, 1] = max(block[k, 1], alloc[g, 1] - used[n, 1])
            if nodes.phase[b, n] == NODE_BOOTING:
                solve.at[b, FIRST_BOOT] = min(solve.at[b, FIRST_BOOT], n)


@inner
def node_takes(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, n: int
) -> bool:
    """Whether a pod of class w may go on existing node n; resources are looked at by the caller."""
    g = nodes.group[b, n]
    if not config.compat[b, w, step, g]:
        return False
    if config.plain[b, w]:
        return True
    for t in range(1, solve.try_domain.shape[2]):
        for d in range(solve.try_domain.shape[3]):
            solve.try_domain[b, 0, t, d] = topology.group_domain[b, g, t] == d
        solve.try_asks[b, t] = True
    if not narrow(config, topology, solve, b, w, step):
        return False
    return host_allows(config, topology, nodes, solve, b, w, step, (n, -1))


@inner
def first_node(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int,
    phase: int, start: int,
) -> int:  # fmt: skip
    """First slot from `start` on with a node in `phase` that takes a pod of class w; nodes.hi = none."""
    hi, cpu, memory = nodes.hi[b], classes.req[b, w, 0], classes.req[b, w, 1]
    block, n = solve.block[b], start
    while n < hi:
        if n % BLOCK == 0 and (block[n // BLOCK, 0] < cpu or block[n // BLOCK, 1] < memory):
            n += BLOCK
            continue
        open_here = nodes.phase[b, n] == phase and not solve.closed[b, n]
        room = open_here and resources_fit(classes.req, groups.alloc, nodes.used, b, w, nodes.group[b, n], n)
        if room and node_takes(config, classes, topology, groups, nodes, solve, b, w, step, n):
            return n
        n += 1
    return hi


@inner
def on_node(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, phase: int
) -> int:
    """Put a pod of class w on the first existing node in `phase` with room; its slot or UNPLACED.

    A plain class looks from where its last pod went: room only shrinks within a solve. Where its first one
    may go is kept for the whole pass.
    """
    start, hi, t = 0, nodes.hi[b], config.twin[b, w]
    first, known = solve.first[b], config.plain[b, w] and step == 0
    if known:
        start = first[F_BASE, t] if phase == NODE_READY else first[F_BOOT, t]
        if phase == NODE_READY and first[F_NOW_SOLVE, t] == solve.at[b, SOLVE]:
            start = max(start, first[F_NOW, t])
    n = first_node(config, classes, topology, groups, nodes, solve, b, w, step, phase, start) if start < hi else hi
    if known and phase == NODE_READY:
        first[F_NOW, t], first[F_NOW_SOLVE, t] = n, solve.at[b, SOLVE]
    if n >= hi:
        return UNPLACED
    log(solve, b, J_ON_NODE, n, w)
    shift(classes, topology, nodes, b, w, n, 1, not config.plain[b, -1])
    return n


@inner
def find_start(config: Any, classes: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int) -> None:
    """First ready and first booting slot that has room for a pod of plain class w at all, closed or not.

    Once a pass for all classes alike, and before anything is placed on top of it.
    """
    first, hi, w = solve.first[b], nodes.hi[b], config.twin[b, w]
    if first[F_BASE_PASS, w] == solve.at[b, PASS]:
        return
    first[F_BASE_PASS, w], first[F_BASE, w], first[F_BOOT, w] = solve.at[b, PASS], hi, hi
    cpu, memory, block, n = classes.req[b, w, 0], classes.req[b, w, 1], solve.block[b], 0
    while n < hi:
        if n % BLOCK == 0 and (block[n // BLOCK, 0] < cpu or block[n // BLOCK, 1] < memory):
            n += BLOCK
            continue
        g, phase = nodes.group[b, n], nodes.phase[b, n]
        plane = F_BASE if phase == NODE_READY else F_BOOT
        useful = phase in (NODE_READY, NODE_BOOTING) and first[plane, w] == hi and config.compat[b, w, 0, g]
        if useful and resources_fit(classes.req, groups.alloc, nodes.used, b, w, g, n):
            first[plane, w] = n
        if first[F_BASE, w] < hi:  # only a booting node is left to be found
            if first[F_BOOT, w] < hi:
                return
            n = max(n, solve.at[b, FIRST_BOOT] - 1)
        n += 1


@inner
def narrow_offerings(
    config: Any, classes: Any, topology: Any, groups: Any, solve: Any, b: int, w: int, step: int, c: int
) -> bool:
    """Cut try_mask to offerings that suit class w, its narrowed domains, and all requests with its own.

    c: the claim that is already there, -1 = none. False when nothing is left.
    """
    mask, domain, asks = solve.try_mask[b], solve.try_domain[b, 0], solve.try_asks[b]
    found, R = False, classes.req.shape[2]
    for g in range(mask.shape[0]):
        ok = mask[g] and config.compat[b, w, step, g]
        for r in range(R):
            if ok:
                total = classes.req[b, w, r] + groups.daemon[b, g, r] + (solve.total[b, c, r] if c >= 0 else 0)
                ok = total <= groups.alloc[b, g, r]
        for t in range(1, domain.shape[0]):
            if ok and asks[t]:
                d = topology.group_domain[b, g, t]
                ok = d >= 0 and domain[t, d]
        mask[g] = ok
        found = found or ok
    return found


@inner
def join_claim(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, c: int
) -> bool:
    """Add a pod of class w to open claim c if it can still take it."""
    for r in range(classes.req.shape[2]):
        if solve.total[b, c, r] + classes.req[b, w, r] > solve.most[b, c, r]:
            return False
    for t in range(1, solve.try_domain.shape[2]):
        solve.try_asks[b, t] = solve.asks[b, c, t]
        for d in range(solve.try_domain.shape[3]):
            solve.try_domain[b, 0, t, d] = solve.domain[b, c, t, d]
    for g in range(solve.try_mask.shape[1]):
        solve.try_mask[b, g] = solve.mask[b, c, g]
    if not narrow(config, topology, solve, b, w, step):
        return False
    if not host_allows(config, topology, nodes, solve, b, w, step, (-1, c)):
        return False
    if not narrow_offerings(config, classes, topology, groups, solve, b, w, step, c):
        return False
    if not varied(config, groups, solve, b, solve.claim[b, c, C_POOL], solve.try_mask[b]):
        return False
    commit(config, classes, topology, groups, solve, b, w, c)
    return True


@inner
def open_claim(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, pool: int
) -> bool:
    """Open a claim in a pool for a pod of class w, if its limits and offerings allow."""
    c, R = solve.at[b, N_CLAIMS], classes.req.shape[2]
    if c >= solve.claim.shape[1] or solve.left[b, pool, R] < 1:
        return False
    for t in range(1, solve.try_domain.shape[2]):
        solve.try_asks[b, t] = config.pool_asks[b, pool, t]
        for d in range(solve.try_domain.shape[3]):
            solve.try_domain[b, 0, t, d] = config.pool_domain[b, pool, t, d]
    for g in range(solve.try_mask.shape[1]):
        ok = groups.pool[b, g] == pool and solve.available[b, g]
        for r in range(R):
            ok = ok and groups.cap[b, g, r] <= solve.left[b, pool, r]
        solve.try_mask[b, g] = ok
    if not narrow(config, topology, solve, b, w, step):
        return False
    if not host_allows(config, topology, nodes, solve, b, w, step, (-1, -1)):
        return False
    if not narrow_offerings(config, classes, topology, groups, solve, b, w, step, -1):
        return False
    if not varied(config, groups, solve, b, pool, solve.try_mask[b]):
        return False
    solve.at[b, N_CLAIMS] = c + 1
    solve.claim[b, c, C_POOL], solve.claim[b, c, C_PODS] = pool, 0
    solve.order[b, c] = c
    solve.total[b, c] = 0
    solve.pods[b, c] = 0
    commit(config, classes, topology, groups, solve, b, w, c)
    charge_limit(groups, solve, b, c, R)
    return True


@inner
def charge_limit(groups: Any, solve: Any, b: int, c: int, R: int) -> None:
    """Take a new claim off its pool's limits: the largest capacity among its types, and one node."""
    pool = solve.claim[b, c, C_POOL]
    for r in range(R):
        largest = 0
        for g in range(solve.mask.shape[2]):
            if solve.mask[b, c, g]:
                largest = max(largest, groups.cap[b, g, r])
        solve.left[b, pool, r] -= largest
    solve.left[b, pool, R] -= 1


@inner
def commit(config: Any, classes: Any, topology: Any, groups: Any, solve: Any, b: int, w: int, c: int) -> None:
    """Write what a pod of class w narrowed claim c to, and let it count in its domains."""
    R, D = classes.req.shape[2], solve.try_domain.shape[3]
    solve.floor_usd[b, c] = math.inf
    for r in range(R):
        solve.total[b, c, r] += classes.req[b, w, r]
        solve.most[b, c, r] = 0
    for g in range(solve.try_mask.shape[1]):
        solve.mask[b, c, g] = solve.try_mask[b, g]
        if solve.try_mask[b, g]:
            solve.floor_usd[b, c] = min(solve.floor_usd[b, c], groups.price[b, g])
            for r in range(R):
                room = groups.alloc[b, g, r] - groups.daemon[b, g, r]
                solve.most[b, c, r] = max(solve.most[b, c, r], room)
    solve.pods[b, c, w] += 1
    solve.claim[b, c, C_PODS] += 1
    for t in range(1, solve.try_domain.shape[2]):
        solve.asks[b, c, t] = solve.try_asks[b, t]
        count, last = 0, -1
        for d in range(D):
            solve.domain[b, c, t, d] = solve.try_domain[b, 0, t, d]
            if solve.try_domain[b, 0, t, d]:
                count, last = count + 1, d
        if config.plain[b, -1] or not solve.try_asks[b, t]:
            continue
        if count == 1:
            topology.dom_pods[b, t, last, w] += 1
            log(solve, b, J_DOMAIN, t * D + last, w)
            continue
        for d in range(D):
            if solve.try_domain[b, 0, t, d]:
                solve.extra[b, t, d, w] += 1
                log(solve, b, J_MAYBE, t * D + d, w)


@inner
def reorder(solve: Any, b: int, at: int) -> None:
    """Claim order[at] got a pod: move it behind those with fewer, or in front of those with more (a new one)."""
    order, claim, last = solve.order[b], solve.claim[b], solve.at[b, N_CLAIMS] - 1
    c = order[at]
    while at < last and claim[order[at + 1], C_PODS] < claim[c, C_PODS]:
        order[at] = order[at + 1]
        at += 1
    while at > 0 and claim[order[at - 1], C_PODS] > claim[c, C_PODS]:
        order[at] = order[at - 1]
        at -= 1
    order[at] = c


@inner
def on_claim(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, most: int
) -> int:
    """Put a pod of class w on an open claim, or on a new one while there are fewer than `most`; UNPLACED, or
    -2 - claim."""
    for i in range(solve.at[b, N_CLAIMS]):
        c = solve.order[b, i]
        if join_claim(config, classes, topology, groups, nodes, solve, b, w, step, c):
            reorder(solve, b, i)
            return -2 - c
    if solve.at[b, N_CLAIMS] >= most:
        return UNPLACED
    for k in range(config.pool_order.shape[1]):
        pool = config.pool_order[b, k]
        if pool >= 0 and open_claim(config, classes, topology, groups, nodes, solve, b, w, step, pool):
            c = solve.at[b, N_CLAIMS] - 1
            reorder(solve, b, c)
            return -2 - c
    return UNPLACED


@inner
def place(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, most: int
) -> int:
    """Where a pod of class w goes: a node slot, -2 - claim, or UNPLACED. Preferences go one by one."""
    for step in range(config.n_steps[b, w] + 1):
        n = UNPLACED
        for phase in (NODE_READY, NODE_BOOTING):
            if n == UNPLACED:
                n = on_node(config, classes, topology, groups, nodes, solve, b, w, step, phase)
        if n < 0:
            n = on_claim(config, classes, topology, groups, nodes, solve, b, w, step, most)
        if n != UNPLACED:
            return n
    return UNPLACED


@inner
def add_item(solve: Any, b: int, w: int, count: int) -> None:
    """Add pods of class w to those to be placed."""
    first, items, at = solve.first[b], solve.item[b], solve.at[b]
    if first[F_ITEM_SOLVE, w] == at[SOLVE] and first[F_ITEM, w] < at[N_ITEMS] and items[0, first[F_ITEM, w]] == w:
        items[1, first[F_ITEM, w]] += count
        return
    i = at[N_ITEMS]
    items[0, i], items[1, i] = w, count
    first[F_ITEM_SOLVE, w], first[F_ITEM, w] = at[SOLVE], i
    at[N_ITEMS] = i + 1


@inner
def sort_items(rank: Any, items: Any, count: int) -> None:
    """Sort the items by rank (Shell sort: in place)."""
    gap = count // 2
    while gap > 0:
        for i in range(gap, count):
            w, pods, j = items[0, i], items[1, i], i
            while j >= gap and rank[items[0, j - gap]] > rank[w]:
                items[0, j], items[1, j] = items[0, j - gap], items[1, j - gap]
                j -= gap
            items[0, j], items[1, j] = w, pods
        gap //= 2


@inner
def place_items(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, most: int, ceiling: float,
    strict: bool,
) -> int:  # fmt: skip
    """Place all items, at most `most` claims; pods that found no place (item[1] holds how many of each).

    Pods that are left are tried again as long as others find a place: these may have made way for them.
    strict: give up with the first pod that finds no place, would go on a node that is not ready yet, or
    leaves the claim nothing below the ceiling.
    """
    items, moved = solve.item[b], True
    sort_items(config.rank[b], items, solve.at[b, N_ITEMS])
    for i in range(solve.at[b, N_ITEMS]):
        if config.plain[b, items[0, i]]:
            find_start(config, classes, groups, nodes, solve, b, items[0, i])
    solve.at[b, SOLVE] += 1
    while moved:
        moved, left = False, 0
        for i in range(solve.at[b, N_ITEMS]):
            w = items[0, i]
            while items[1, i] > 0:
                n = place(config, classes, topology, groups, nodes, solve, b, w, most)
                if n == UNPLACED:
                    break
                if strict and late_or_dear(nodes, solve, b, n, ceiling):
                    return 1
                solve.where[b, w] = n
                items[1, i] -= 1
                moved = True
            left += items[1, i]
            if strict and left > 0:
                return left
        moved = moved and left > 0
    return left


@inner
def late_or_dear(nodes: Any, solve: Any, b: int, n: int, ceiling: float) -> bool:
    """Whether a pod's place is a node that is not ready, or a claim whose cheapest offering reaches the ceiling."""
    if n >= 0:
        return nodes.phase[b, n] == NODE_BOOTING
    return not solve.floor_usd[b, -2 - n] < ceiling
