"""Karpenter's scheduling simulation: where would pods go, on nodes that exist and on new node claims. Compiled.

Pods by falling CPU, then memory; each goes to the first existing node with room (ready ones first), else
to the open claim with fewest pods that can still take it, else to a new claim. A pod that finds no place gives
up its preferences one by one. What was put on existing nodes is journalled and undone by `undo`.
Rules followed: kubernetes-sigs/karpenter v1.14 pkg/controllers/provisioning/scheduling.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_claims import on_claim
from envs.controllers.karpenter_existing import find_start, on_node
from envs.controllers.karpenter_layout import F_ITEM, F_ITEM_SOLVE, N_ITEMS, SOLVE, UNPLACED
from envs.sim.jit import inner
from envs.sim.state import NODE_BOOTING, NODE_READY


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
