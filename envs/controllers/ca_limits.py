"""Cluster Autoscaler limits on a scale-up: quotas, balancing over similar groups, what is similar.

Quotas are counted in resources of their own: 0 cores (a node's CPU rounded up), 1 memory bytes,
2 nodes, 3 GPUs, then extended resources. Rules followed: cluster-autoscaler `pkg/resourcequotas`
and `pkg/processors/nodegroupset` as of 2026-08.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.sim.jit import inner, kernel
from envs.sim.state import BOOL, CPU, GPU, I8, MEM, PODS

Q_CORES, Q_MEM, Q_NODES, Q_GPU = 0, 1, 2, 3
UNLIMITED = np.iinfo(np.int64).max

# Similarity ratios of --memory-difference-ratio, --max-allocatable-... and --max-free-difference-ratio
MEMORY_RATIO, ALLOCATABLE_RATIO, FREE_RATIO = 0.015, 0.05, 0.05


class Quotas(NamedTuple):
    """Upper limits, each over some node groups. Static but for `left`."""

    limit: I8  # (B, Q, R) UNLIMITED = not limited
    covers: BOOL  # (B, Q, G)
    per_node: I8  # (B, G, R) what one node of a group counts
    left: I8  # (B, Q, R) scratch: what is left in this loop


def per_node_amounts(cap: NDArray[np.int64]) -> I8:
    """(B, G, R) capacity -> what one node counts against a quota."""
    amounts = cap.copy()
    amounts[..., Q_CORES] = -(-cap[..., CPU] // 1000)
    amounts[..., Q_NODES] = 1
    return amounts


@inner
def quota_left(quotas: Any, group: Any, plane: int, b: int) -> None:
    """Set quotas.left[b] to the limits less what group[b, plane, g] nodes of each group take."""
    for q in range(quotas.limit.shape[1]):
        for r in range(quotas.limit.shape[2]):
            left = quotas.limit[b, q, r]
            if left != UNLIMITED:
                for g in range(group.shape[2]):
                    if quotas.covers[b, q, g]:
                        left -= quotas.per_node[b, g, r] * group[b, plane, g]
            quotas.left[b, q, r] = left


@inner
def allowed_by(quotas: Any, b: int, q: int, g: int, r: int, n: int) -> int:
    """How many of n nodes of group g resource r of quota q still allows."""
    each = quotas.per_node[b, g, r]
    if not quotas.covers[b, q, g] or quotas.limit[b, q, r] == UNLIMITED or each <= 0:
        return n
    return max(0, min(n, quotas.left[b, q, r] // each))


@inner
def allowed_nodes(quotas: Any, b: int, g: int, n: int) -> int:
    """The largest number of new nodes of group g, at most n, that every quota allows."""
    allowed = n
    for q in range(quotas.limit.shape[1]):
        for r in range(quotas.limit.shape[2]):
            allowed = min(allowed, allowed_by(quotas, b, q, g, r, n))
    return allowed


@inner
def consume(quotas: Any, b: int, g: int, n: int) -> None:
    """Take n nodes of group g off what is left."""
    for q in range(quotas.limit.shape[1]):
        if quotas.covers[b, q, g]:
            for r in range(quotas.limit.shape[2]):
                if quotas.limit[b, q, r] != UNLIMITED:
                    quotas.left[b, q, r] -= quotas.per_node[b, g, r] * n


@inner
def sort_by_size(members: Any, sizes: Any, n: int) -> None:
    """Stable insertion sort of members[:n] (group indices) by sizes[group]."""
    for i in range(1, n):
        g = members[i]
        j = i
        while j > 0 and sizes[members[j - 1]] > sizes[g]:
            members[j] = members[j - 1]
            j -= 1
        members[j] = g


@inner
def balance(group: Any, member: int, size: int, new_size: int, max_nodes: Any, b: int, n_members: int, n: int) -> int:
    """Spread n new nodes over the first n_members groups of plane `member`, smallest first.

    group (B, planes, G); `size` and `new_size` are planes too, max_nodes (B, G). Returns the number
    that had room. A group exactly at its maximum is ignored; one above it takes nothing, but takes
    part in the order.
    """
    members, sizes, new_sizes, top = group[b, member], group[b, size], group[b, new_size], max_nodes[b]
    kept, room = 0, 0
    for i in range(n_members):
        g = members[i]
        new_sizes[g] = sizes[g]
        if sizes[g] != top[g]:
            room += max(0, top[g] - sizes[g])
            members[kept] = g
            kept += 1
    sort_by_size(members, sizes, kept)
    added = min(n, room)
    left, start, at = added, 0, 0
    while left > 0:
        g = members[at]
        if new_sizes[g] < top[g]:
            new_sizes[g] += 1
            left -= 1
        else:  # full: swap it to the front, out of the rotation
            members[at] = members[start]
            members[start] = g
            start += 1
            g = members[at]
        if at < kept - 1 and new_sizes[g] > new_sizes[members[at + 1]]:
            at += 1
        else:
            at = start
    return added


@inner
def within(x: float, y: float, ratio: float) -> bool:
    """Two quantities differ by at most `ratio` of the larger."""
    larger = max(x, y)
    return larger - min(x, y) <= larger * ratio


@kernel
def templates_similar(cap: Any, alloc: Any, daemon: Any, b: int, g: int, h: int, ratios: Any) -> bool:
    """Whether the nodes of groups g and h may be balanced, labels aside.

    cap, alloc, daemon: (B, G, R), capacity -1 where a resource is absent. ratios: (memory capacity,
    allocatable, free). Capacity has to be equal but for memory; allocatable and free may differ by
    a share of the larger. Free pods count no DaemonSet pods, as upstream.
    """
    for r in range(cap.shape[2]):
        x, y = cap[b, g, r], cap[b, h, r]
        if r == MEM:
            if not within(x * 1000.0, y * 1000.0, ratios[0]):
                return False
        elif x != y:
            return False
        scale = 1.0 if r == CPU else 1000.0
        x, y = alloc[b, g, r], alloc[b, h, r]
        if not within(x * scale, y * scale, ratios[1]):
            return False
        if r != PODS:
            x, y = x - daemon[b, g, r], y - daemon[b, h, r]
        if r != GPU and not within(x * scale, y * scale, ratios[2]):
            return False
    return True
