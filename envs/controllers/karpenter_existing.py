"""Existing nodes in Karpenter's scheduling simulation: the first one with room for a pod. Compiled.

Ready ones before booting ones, each in slot order. What is looked up once holds for a whole pass over the
cluster: the largest free room of each block of node slots, and the first slot with room for a class.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_journal import log, shift
from envs.controllers.karpenter_layout import (
    BLOCK,
    F_BASE,
    F_BASE_PASS,
    F_BOOT,
    F_NOW,
    F_NOW_SOLVE,
    FIRST_BOOT,
    J_ON_NODE,
    PASS,
    SOLVE,
    UNPLACED,
)
from envs.controllers.karpenter_topology import host_allows, narrow
from envs.controllers.placement import all_plain, resources_fit
from envs.sim.jit import inner
from envs.sim.state import NODE_BOOTING, NODE_READY


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
    shift(classes, topology, nodes, b, w, n, 1, not all_plain(config.plain, b))
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
