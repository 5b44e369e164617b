"""From unneeded nodes to deletions: timers, group minima, and how many may go at once.

Rules followed: cluster-autoscaler `pkg/core/scaledown/{unneeded,planner,budgets}` as of 2026-08.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from envs.controllers.ca_layout import DELETING, REGISTERED, SIZE
from envs.sim.jit import inner
from envs.sim.state import BOOL, F8, I1, I4

# why an unneeded node stays
REMOVABLE, LOOKUP_FAILED, NO_SCALE_DOWN, TOO_SOON, TOO_SOON_UNREADY, NO_GROUP, AT_MINIMUM = range(7)
UNREMOVABLE_NAMES = (
    "",
    "UnexpectedError",
    "ScaleDownDisabledAnnotation",
    "NotUnneededLongEnough",
    "NotUnreadyLongEnough",
    "NotAutoscaled",
    "NodeGroupMinSizeReached",
)


class Unneeded(NamedTuple):
    """Nodes found unneeded, index i below n[b]. Scratch of one loop."""

    n: I4  # (B,)
    node: I4  # (B, N)
    group: I4  # (B, N) -1 = in no group
    since_s: F8  # (B, N)
    threshold_s: F8  # (B, N)
    ready: BOOL  # (B, N)
    needs_drain: BOOL  # (B, N)
    risky: BOOL  # (B, N) some budget does not cover all its pods at once
    disabled: BOOL  # (B, N) annotated, or its options could not be read: see `broken`
    broken: BOOL  # (B, N)
    reason: I1  # (B, N) result: REMOVABLE or why not


class Cropped(NamedTuple):
    """What the deletion budgets let through: scratch and result. Second axis: 0 empty, 1 to be drained."""

    n_order: I4  # (B, 2)
    order: I4  # (B, 2, G) groups by first appearance
    want: I4  # (B, 2, G) removable nodes
    keep: I4  # (B, 2, G)
    node: I4  # (B, N) result: node slots, empty ones first
    drain: BOOL  # (B, N)
    n: I4  # (B,)


def empty_unneeded(b: int, n: int) -> Unneeded:
    """Room for n nodes."""
    return Unneeded(
        n=np.zeros(b, np.int32),
        node=np.zeros((b, n), np.int32),
        group=np.zeros((b, n), np.int32),
        since_s=np.zeros((b, n)),
        threshold_s=np.zeros((b, n)),
        ready=np.ones((b, n), np.bool_),
        needs_drain=np.zeros((b, n), np.bool_),
        risky=np.zeros((b, n), np.bool_),
        disabled=np.zeros((b, n), np.bool_),
        broken=np.zeros((b, n), np.bool_),
        reason=np.zeros((b, n), np.int8),
    )


def empty_cropped(b: int, g: int, n: int) -> Cropped:
    """Room for g groups and n nodes."""
    per_group = np.zeros((b, 2, g), np.int32)
    return Cropped(
        n_order=np.zeros((b, 2), np.int32),
        order=per_group.copy(),
        want=per_group.copy(),
        keep=per_group.copy(),
        node=np.zeros((b, n), np.int32),
        drain=np.zeros((b, n), np.bool_),
        n=np.zeros(b, np.int32),
    )


@inner
def unneeded_limit(now_unneeded: int, parallelism: int, unneeded_s: float, interval_s: float) -> int:
    """How many unneeded nodes are worth finding: min(current + 2N, N * unneeded time / interval + N)."""
    loops = math.floor(max(unneeded_s, interval_s) / interval_s + 1e-9)
    return int(min(now_unneeded + 2 * parallelism, parallelism * loops + parallelism))


@inner
def stay_reason(unneeded: Any, b: int, i: int, now_s: float) -> int:
    """The reasons that need no look at the group's size. Unneeded time is *strictly* longer."""
    if unneeded.broken[b, i]:
        return LOOKUP_FAILED
    if unneeded.disabled[b, i]:
        return NO_SCALE_DOWN
    threshold_s = unneeded.threshold_s[b, i]
    if threshold_s > 0.0 and unneeded.since_s[b, i] + threshold_s >= now_s:
        return TOO_SOON if unneeded.ready[b, i] else TOO_SOON_UNREADY
    return NO_GROUP if unneeded.group[b, i] < 0 else REMOVABLE


@inner
def turn_of(unneeded: Any, b: int, i: int) -> int:
    """When node i is served: empty nodes first (0), then those to be drained (1), risky ones last (2)."""
    if not unneeded.needs_drain[b, i]:
        return 0
    return 2 if unneeded.risky[b, i] else 1


@inner
def removable_at(unneeded: Any, group: Any, min_nodes: Any, b: int, now_s: float) -> int:
    """Set unneeded.reason; the number of removable nodes. Empty nodes use up the minimum first.

    group (B, planes, G): SIZE is lowered by one for each removable node; DELETING are deletions in
    flight, still in SIZE.
    """
    found = 0
    for turn in range(3):
        for i in range(unneeded.n[b]):
            if turn_of(unneeded, b, i) != turn:
                continue
            reason = stay_reason(unneeded, b, i, now_s)
            if reason == REMOVABLE:
                g = unneeded.group[b, i]
                if group[b, SIZE, g] - group[b, DELETING, g] <= min_nodes[b, g]:
                    reason = AT_MINIMUM
                else:
                    group[b, SIZE, g] -= 1
                    found += 1
            unneeded.reason[b, i] = reason
    return found


@inner
def count_groups(unneeded: Any, crop: Any, b: int) -> None:
    """Fill crop.want and crop.order from the removable nodes."""
    crop.n_order[b] = 0
    crop.want[b] = 0
    crop.keep[b] = 0
    for turn in range(3):
        side = min(turn, 1)
        for i in range(unneeded.n[b]):
            if unneeded.reason[b, i] == REMOVABLE and turn_of(unneeded, b, i) == turn:
                g = unneeded.group[b, i]
                if crop.want[b, side, g] == 0:
                    crop.order[b, side, crop.n_order[b, side]] = g
                    crop.n_order[b, side] += 1
                crop.want[b, side, g] += 1


@inner
def crop_whole(crop: Any, group: Any, atomic: Any, b: int, total: int, drains: int) -> Any:
    """All-or-nothing groups: (total, drains) left. The first may overflow a budget that is not exactly 0.

    Groups with empty nodes come first, together with their nodes to be drained.
    """
    overflow = True
    for side in range(2):
        for k in range(crop.n_order[b, side]):
            g = crop.order[b, side, k]
            empty, drain = crop.want[b, 0, g], crop.want[b, 1, g]
            if not atomic[b, g] or (side == 1 and empty > 0):
                continue
            if side == 1:
                drains = min(total, drains)
            if total < empty + drain or drains < drain:
                exhausted = (drains if side == 1 else total) == 0 or (drain > 0 and drains == 0)
                if exhausted or not overflow:
                    break
            if empty + drain == group[b, REGISTERED, g]:
                crop.keep[b, 0, g] = empty
                crop.keep[b, 1, g] = drain
                total -= empty + drain
                drains -= drain
                overflow = False
    return total, drains


@inner
def crop_single(crop: Any, side: int, atomic: Any, b: int, budget: int) -> int:
    """Other groups, node by node, in their order; what is left of the budget."""
    for k in range(crop.n_order[b, side]):
        g = crop.order[b, side, k]
        if not atomic[b, g]:
            crop.keep[b, side, g] = max(0, min(crop.want[b, side, g], budget))
            budget -= crop.keep[b, side, g]
    return budget


@inner
def emit_group(unneeded: Any, crop: Any, b: int, side: int, g: int) -> None:
    """Append the kept nodes of group g to the result, risky ones last."""
    left = crop.keep[b, side, g]
    for turn in range(side, 2 * side + 1):
        for i in range(unneeded.n[b]):
            if left == 0:
                return
            mine = unneeded.reason[b, i] == REMOVABLE and unneeded.group[b, i] == g
            if mine and turn_of(unneeded, b, i) == turn:
                crop.node[b, crop.n[b]] = unneeded.node[b, i]
                crop.drain[b, crop.n[b]] = side == 1
                crop.n[b] += 1
                left -= 1


@inner
def crop_to_budgets(unneeded: Any, crop: Any, group: Any, atomic: Any, b: int, total: int, drains: int) -> None:
    """Keep what fits `total` deletions and `drains` drains, both less what is in flight.

    group (B, planes, G): REGISTERED are the nodes of each group that exist; an all-or-nothing group
    goes as a whole.
    """
    count_groups(unneeded, crop, b)
    total, drains = crop_whole(crop, group, atomic, b, total, drains)
    total = crop_single(crop, 0, atomic, b, total)
    crop_single(crop, 1, atomic, b, min(total, drains))
    crop.n[b] = 0
    for side in range(2):
        for single in range(2):
            for k in range(crop.n_order[b, side]):
                g = crop.order[b, side, k]
                if atomic[b, g] == (single == 0):
                    emit_group(unneeded, crop, b, side, g)
