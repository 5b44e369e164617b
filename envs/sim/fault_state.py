"""A plan of faults as arrays, and what they have done so far. `envs.fault_plan` makes the plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from envs.sim.state import F8, I1, I4

# Operations: what `target` and `value` are. A window's end is one more operation that puts things back.
OP_PRICE = 0  # group, USD/h
OP_START = 1  # workload, mean start delay in s
OP_API = 2  # -, delay in s
OP_TELEMETRY = 3  # workload, factor; NaN = no samples
OP_BLOCK = 4  # group, 1: no new nodes, 0: again
OP_LOSE_GROUP = 5  # group, s until its nodes' objects are gone
OP_LOSE_CHOICE = 6  # pool, place among its nodes in [0, 1); until = s until the object is gone
OP_LOSE_RANK = 7  # pool, rank among its nodes; until likewise
OP_CRASH_LOOP = 8  # workload, share of its pods; until = end of the window
OP_INTERRUPT = 9  # spot group, rank among its nodes; until = s of notice
OP_RECOMMEND = 10  # likewise, before it: heard only by a stack that acts on rebalance recommendations
OP_LAG = 11  # workload, s by which its metrics are late
IGNORES, DRAINS, REBALANCES = 0, 1, 2  # what a stack does about spot notices
HEALS_NOT, HEALS_AT_ONCE, HEALS_ALWAYS = 0, 1, 2  # the last also what it lost while it was closed
Operation = tuple[float, int, int, float, float]  # time, op, target, value, until


class Faults(NamedTuple):
    """The plan and what it has done so far. E operations, the last one at infinity."""

    time_s: F8  # (B, E) rising
    op: I1  # (B, E)
    target: I4  # (B, E)
    value: F8  # (B, E)
    until: F8  # (B, E)
    next: I4  # (B,) first operation that is still to come
    telemetry: F8  # (B, W) what samples are multiplied by; NaN = there are none
    lag_s: F8  # (B, W) how much older than usual samples are
    crash_share: F8  # (B, W) share of new pods that loop until crash_until_s
    crash_until_s: F8  # (B, W)
    blocked: I1  # (B, G) 1: the provider has no nodes of this group
    lost_s: F8  # (B, N) when a lost node died
    gone_s: F8  # (B, N) when its object goes
    n_lost: I4  # (B,)
    heals: I1  # (B,) HEALS_*: whether node groups replace nodes that they lost
    owed: I1  # (B, N) 1: the group replaces this lost node
    missing: I4  # (B, G) replacements that wait for the group to be open again
    handles: I1  # (B,) IGNORES, DRAINS or REBALANCES
    noticed_s: F8  # (B, N) when the spot node in this slot was told to go
    doom_s: F8  # (B, N) when it dies; inf = it was not
    doomed_group: I4  # (B, N) its group, which may replace it
    n_doomed: I4  # (B,)
    dead_pod_s: F8  # (B, W) pod-seconds of this tick in which requests went to pods that were dead
    dead_share: F8  # (B, W) part of the tick in which there were any
    any_dead: I1  # (B,)


def pack_faults(
    plans: Sequence[Sequence[Operation]], manners: Sequence[tuple[int, int]], W: int, G: int, N: int
) -> Faults:
    """Plans of a batch, side by side. manners: (HEALS_*, what it does about spot notices) of each stack."""
    B, E = len(plans), max(map(len, plans)) + 1
    columns = [np.full((B, E), fill) for fill in (math.inf, 0.0, 0.0, 0.0, 0.0)]
    for b, plan in enumerate(plans):
        for i, operation in enumerate(plan):
            for column, number in zip(columns, operation, strict=True):
                column[b, i] = number
    time_s, op, target, value, until = columns
    return Faults(
        time_s=time_s,
        op=op.astype(np.int8),
        target=target.astype(np.int32),
        value=value,
        until=until,
        next=np.zeros(B, np.int32),
        telemetry=np.ones((B, W)),
        lag_s=np.zeros((B, W)),
        crash_share=np.zeros((B, W)),
        crash_until_s=np.full((B, W), -math.inf),
        blocked=np.zeros((B, G), np.int8),
        lost_s=np.full((B, N), -math.inf),
        gone_s=np.full((B, N), math.inf),
        n_lost=np.zeros(B, np.int32),
        heals=np.array([m[0] for m in manners], np.int8),
        owed=np.zeros((B, N), np.int8),
        missing=np.zeros((B, G), np.int32),
        handles=np.array([m[1] for m in manners], np.int8),
        noticed_s=np.full((B, N), -math.inf),
        doom_s=np.full((B, N), math.inf),
        doomed_group=np.zeros((B, N), np.int32),
        n_doomed=np.zeros(B, np.int32),
        dead_pod_s=np.zeros((B, W)),
        dead_share=np.zeros((B, W)),
        any_dead=np.zeros(B, np.int8),
    )
