"""What disrupting a node costs, and in which order Karpenter looks at nodes. Compiled.

Rules followed: kubernetes-sigs/karpenter v1.14 pkg/utils/disruption and pkg/controllers/disruption.
"""

from __future__ import annotations

from typing import Any

from envs.sim.jit import inner

DELETION_COST_UNIT = 134217728.0  # 2^27 of controller.kubernetes.io/pod-deletion-cost are worth one pod
PRIORITY_UNIT = 33554432.0  # 2^25 of priority likewise
EVICTION_COST_MAX = 10.0
NODE_BASE_COST = 1.0
FEW = 256  # nodes whose place is looked for one by one
M_ITEM, M_FROM, M_KEPT_FROM, MOVED_PLANES = range(4)  # of sort_again's scratch


@inner
def eviction_cost(deletion_cost: float, priority: float) -> float:
    """Cost of evicting one pod: 1 + deletion cost / 2^27 + priority / 2^25, within [-10, 10]."""
    cost = 1.0 + deletion_cost / DELETION_COST_UNIT + priority / PRIORITY_UNIT
    return min(max(cost, -EVICTION_COST_MAX), EVICTION_COST_MAX)


@inner
def add_pod_cost(node_cost: float, pod_cost: float) -> float:
    """Disruption cost of a node with one reschedulable pod more; it starts at NODE_BASE_COST.

    A pod that is better evicted than kept adds nothing.
    """
    return node_cost + max(pod_cost, 0.0)


@inner
def is_empty(node_cost: float) -> bool:
    """Whether a node counts as empty: nothing on it that costs anything to evict."""
    return node_cost <= NODE_BASE_COST


@inner
def savings_ratio(price_usd_per_h: float, node_cost: float) -> float:
    """Dollars per hour for each unit of disruption: candidates are taken in falling order of it."""
    return price_usd_per_h / node_cost


@inner
def sort_by_ratio(ratio: Any, order: Any, count: int) -> None:
    """Sort order[:count] by falling ratio[order[i]]; equal ones as they were.

    An insertion sort: the order of the last loop is nearly right in the next one.
    """
    for i in range(1, count):
        item = order[i]
        value = ratio[item]
        j = i
        while j > 0 and ratio[order[j - 1]] < value:
            order[j] = order[j - 1]
            j -= 1
        order[j] = item


@inner
def sort_again(ratio: Any, sorted_by: Any, order: Any, moved: Any, count: int) -> None:
    """sort_by_ratio of an order that was sorted by `sorted_by`, which is brought up to date.

    Nodes whose ratio is as it was are in order among themselves: the others are taken out, sorted, and merged in.
    moved: (MOVED_PLANES, N) scratch.
    """
    changed = 0
    for n in range(count):
        changed += ratio[n] != sorted_by[n]
    if changed > FEW:
        sort_by_ratio(ratio, order, count)
    elif changed > 0:
        kept, k = 0, 0
        for i in range(count):
            n = order[i]
            if ratio[n] != sorted_by[n]:
                moved[M_ITEM, k], moved[M_FROM, k] = n, i
                k += 1
            else:
                order[kept], moved[M_KEPT_FROM, kept] = n, i
                kept += 1
        merge_moved(ratio, order, moved, kept, k)
    for n in range(count if changed > 0 else 0):
        sorted_by[n] = ratio[n]


@inner
def merge_moved(ratio: Any, order: Any, moved: Any, kept: int, count: int) -> None:
    """Sort the first `count` moved nodes and merge them into order[:kept], from the back; equal ones as they were."""
    item, origin, kept_from = moved[M_ITEM], moved[M_FROM], moved[M_KEPT_FROM]
    for i in range(1, count):
        n, at, j = item[i], origin[i], i
        while j > 0 and ratio[item[j - 1]] < ratio[n]:
            item[j], origin[j] = item[j - 1], origin[j - 1]
            j -= 1
        item[j], origin[j] = n, at
    i, k = kept - 1, count - 1
    while k >= 0:
        n, last = item[k], i >= 0
        if last:
            other = ratio[order[i]]
            last = other < ratio[n] or (other == ratio[n] and kept_from[i] > origin[k])
        if last:
            order[i + k + 1] = order[i]
            i -= 1
        else:
            order[i + k + 1] = n
            k -= 1
