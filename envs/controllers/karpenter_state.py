"""What Karpenter remembers between its loops, and the working arrays of its disruption loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.controllers.karpenter_layout import FAMILIES, SIZES
from envs.sim.state import BOOL, F8, I8

# KpState.clock: next provisioning (inf = none is due), first pod of its batch, next disruption loop, last loop
# that looked at everything and found nothing to do, and likewise of multi-node and single-node consolidation alone;
# before that no node is old enough to expire
PROVISION_AT, BATCH_S, LOOP_AT, NOTHING_S, MULTI_DONE_S, SINGLE_DONE_S, EXPIRE_S, CLOCKS = range(8)
# KpState.number: pending pods at the last look, kind and action of the command that waits, its nodes; whether budgets
# kept candidates from a multi-node (1) or from any move (2); changes of the cluster state at *_DONE_S
SEEN, COMMAND, ACTION, N_COMMAND, CONSTRAINED, MULTI_DONE, SINGLE_DONE, NUMBERS = range(8)
CONSTRAINED_MULTI, CONSTRAINED_SINGLE = 1, 2
REFRESH_S = 300.0  # a cluster where nothing happens is looked at again
NO_COMMAND, EMPTINESS, MULTI_NODE, SINGLE_NODE = range(4)
# KpState.node_s: pods are expected until then, cost was worked out at, disruption cost, birth of its replacement
NOMINATED_UNTIL, COSTED_S, COST, REPLACED_BORN, NODE_TIMES = range(5)
# KpState.node: replacement slot + 1 that a cordoned node waits for, holds a do-not-disrupt pod, slots by ratio,
# slots under consideration, in its quiet period (consolidateAfter)
HOLD, HELD_BACK, ORDER, LIST, QUIET, NODE_PLANES = range(6)
# KpState.pool_usd: USD/h and disruption cost of all its nodes; score of a move
POOL_USD, POOL_COST, POOL_SCORE, POOL_VALUES = range(4)
# KpState.pool: nodes, nodes on their way out, left to disrupt for being empty, underutilized; cursor
P_NODES, P_LEAVING, P_EMPTY, P_UNDER, P_CURSOR, POOL_PLANES = range(6)
# KpState.roll_of: version of the node's pods that its roll shows, their number (UNLISTED = not in the roll), family
R_VERSION, R_PODS, R_FAMILY, ROLL_PLANES = range(4)
UNLISTED, ANY_FAMILY = -1, 0
ROLL = 64  # pods of a roll at most
# KpState.done: commands carried out by kind, and those given up after the wait
GIVEN_UP, EXPIRED, DONE = 4, 5, 6


class KpState(NamedTuple):
    """Planes are named above."""

    clock: F8  # (B, CLOCKS)
    number: I8  # (B, NUMBERS)
    node_s: F8  # (B, NODE_TIMES, N)
    node: I8  # (B, NODE_PLANES, N)
    ratio: F8  # (B, N) dollars per disruption of candidates, -1 of others
    pool_usd: F8  # (B, POOL_VALUES, L)
    pool: I8  # (B, POOL_PLANES, L)
    balanced: BOOL  # (B, L)
    command: I8  # (B, N) nodes of the command that waits to be validated
    born_s: F8  # (B, N) their creation
    option: BOOL  # (B, G) offerings that its replacement may have
    move_pool: I8  # (B, N) of the nodes under consideration: pool, price, disruption cost
    move_usd: F8  # (B, N)
    move_cost: F8  # (B, N)
    move_kind: I8  # (B, N)
    done: I8  # (B, DONE)
    cheaper: I8  # (B, 2, G) room for pods of whatever costs less
    refused_s: F8  # (B, G) the provider had none of an offering: it is taken as unavailable until then
    spare: I8  # (B, G) nodes above the pool's minimum, less those on their way out
    roll_of: I8  # (B, N, ROLL_PLANES)
    roll: I8  # (B, N, ROLL) classes of the pods that would leave a node, by rank
    at_least: I8  # (B, N, SIZES) how many of them are of a size or more
    may_go: BOOL  # (B, W) the workload's disruption budget allows an eviction
    room: I8  # (B, FAMILIES, SIZES) most pods of a size or more that ready nodes have room for
    tally: I8  # (B, FAMILIES, SIZES) of the nodes under consideration
    boots: BOOL  # (B, FAMILIES) a node that boots has room for any pod of the family
    on_new: I8  # (B, G + 1, SIZES) most pods of a size or more on one new node: cheaper than group g's; last: on any


def empty_state(b: int, w: int, n: int, pools: int, g: int, loop_at: F8) -> KpState:
    """No memory. w: classes that Karpenter knows. loop_at (B,): first disruption loop, inf = Karpenter does not run."""
    state = KpState(
        clock=np.zeros((b, CLOCKS)),
        number=np.zeros((b, NUMBERS), np.int64),
        node_s=np.full((b, NODE_TIMES, n), -np.inf),
        node=np.zeros((b, NODE_PLANES, n), np.int64),
        ratio=np.full((b, n), -1.0),
        pool_usd=np.zeros((b, POOL_VALUES, pools)),
        pool=np.zeros((b, POOL_PLANES, pools), np.int64),
        balanced=np.zeros((b, pools), np.bool_),
        command=np.zeros((b, n), np.int64),
        born_s=np.zeros((b, n)),
        option=np.zeros((b, g), np.bool_),
        move_pool=np.zeros((b, n), np.int64),
        move_usd=np.zeros((b, n)),
        move_cost=np.zeros((b, n)),
        move_kind=np.zeros((b, n), np.int64),
        done=np.zeros((b, DONE), np.int64),
        cheaper=np.zeros((b, 2, g), np.int64),
        refused_s=np.full((b, g), -np.inf),
        spare=np.zeros((b, g), np.int64),
        roll_of=np.zeros((b, n, ROLL_PLANES), np.int64),
        roll=np.zeros((b, n, ROLL), np.int64),
        at_least=np.zeros((b, n, SIZES), np.int64),
        may_go=np.zeros((b, w), np.bool_),
        room=np.zeros((b, FAMILIES, SIZES), np.int64),
        tally=np.zeros((b, FAMILIES, SIZES), np.int64),
        boots=np.zeros((b, FAMILIES), np.bool_),
        on_new=np.zeros((b, g + 1, SIZES), np.int64),
    )
    state.number[:, [MULTI_DONE, SINGLE_DONE]] = -1
    state.clock[:, PROVISION_AT] = np.inf
    state.clock[:, LOOP_AT] = loop_at
    state.clock[:, [NOTHING_S, EXPIRE_S]] = -np.inf
    state.node[:, ORDER] = np.arange(n)
    return state
