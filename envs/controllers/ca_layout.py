"""Working arrays of the Cluster Autoscaler: few arrays with named planes.

Numba passes a tuple by unpacking every array in it at each call, and compile time goes with that;
so what belongs together is one array whose second axis is named by the constants below.
Letters as in `envs.sim.state`; J journal entries, M simulated new nodes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.controllers.placement import FitScratch
from envs.sim.state import BOOL, F8, I4, I8, Classes

MAX_NEW_NODES = 1024  # simulated at once; above the 1,000 of one scale-up

# Fork.at
N_MOVES, LOOP, SCAN, N_OPEN, LAST_MATCH, N_PENDING, N_ORDER, COUNTS = 0, 1, 2, 3, 4, 5, 6, 7
# Fork.move: one pod of class M_CLASS goes from M_SRC to M_DST (-1 = nowhere). M_OLDER: the arrival on
# M_DST before this one. M_COUNTED: the pod counts for spread and affinity (it is not being deleted).
M_CLASS, M_POD, M_SRC, M_DST, M_OLDER, M_COUNTED, MOVE_PLANES = 0, 1, 2, 3, 4, 5, 6
# Fork.node: DEST = may take the pods of a removed node; HEAD = newest simulated arrival, -1 = none
DEST, HEAD = 0, 1
# Fork.pod: where pod p was simulated onto last, in which loop, and what the drain rules say of it
HINT, HINT_LOOP, VERDICT = 0, 1, 2
# Fork.opened: a simulated new node's slot, whether it holds a pod, and what the slot held before
O_SLOT, O_HAS_PODS, O_GROUP, O_PHASE, O_PODS, O_HI, O_USED = 0, 1, 2, 3, 4, 5, 6
# Pending.cls: pods of the class that fit nowhere; classes by first appearance; classes in the
# estimate's order; loop in which a pod of the class found no place
P_COUNT, P_LIST, P_ORDER, P_FAILED = 0, 1, 2, 3
# Pending.table: a pod of the class fits an empty node of the group; pods that the group's option helps
SCHEDULABLE, PLACED = 0, 1
# CaState.budget: budgets of class w are ITEM[START[w] : START[w + 1]]; LEFT and COUNT per budget
B_START, B_ITEM, B_LEFT, B_COUNT = 0, 1, 2, 3
# CaState.leaving: class, pod slot and M_COUNTED of the pods that leave the node at hand
L_CLASS, L_POD, L_COUNTED = 0, 1, 2
# CaState.group, per group: target size (booting, ready and draining), deletions in flight, considered
# in this scale-up, partner of the group at hand, list of groups to balance, sizes after it, registered
SIZE, DELETING, VALID, PARTNER, MEMBER, NEW_SIZE, REGISTERED, GROUP_PLANES = 0, 1, 2, 3, 4, 5, 6, 7
BACKOFF_UNTIL, BACKOFF_LENGTH = 0, 1  # CaState.group_s
# CaState.node_s: unneeded since (NaN = needed); found unremovable, not looked at before; creation of
# the node that these two are about
SINCE, UNREMOVABLE_UNTIL, BORN = 0, 1, 2
PHASE, CANDIDATE, RANK = 0, 1, 2  # CaState.slot: true phase; nodes eligible for removal; their rank
LAST_ADD, LAST_DELETE, LAST_LOOP, MIN_INTERVAL = 0, 1, 2, 3  # CaState.clock
# CaConfig.flag
EXPANDER, NEW_POD_DELAY_S, SCALE_DOWN, UTILIZATION_LIMIT, UNNEEDED_S, UNREADY_S = 0, 1, 2, 3, 4, 5
DELAY_ADD_S, DELAY_DELETE_S, DELAY_FAILURE_S, PARALLELISM, DRAIN_PARALLELISM = 6, 7, 8, 9, 10
MAX_PER_SCALEUP, MAX_PROVISION_S, INITIAL_BACKOFF_S, MAX_BACKOFF_S = 11, 12, 13, 14
MAX_NODES_TOTAL, BALANCE, CAPPED, SHORTCUT, FLAGS = 15, 16, 17, 18, 19


class Fork(NamedTuple):
    """Simulated changes and where the search for a place stands. Hints and SCAN live across loops.

    Everything is int64: a mix of widths makes Numba compile each kernel once per width.
    """

    at: I8  # (B, COUNTS)
    move: I8  # (B, MOVE_PLANES, J)
    node: I8  # (B, 2, N)
    pod: I8  # (B, 3, P)
    opened: I8  # (B, M, O_USED + R)
    plain: BOOL  # (B, W + 1) class w has no hard terms but resources; last: so has no class at all
    fit: FitScratch


class Pending(NamedTuple):
    """Pods that need help, by class, and the estimate in hand."""

    cls: I8  # (B, 4, W)
    table: I8  # (B, 2, G, W)
    score: F8  # (B, W) size share of each class on the node at hand


class Options(NamedTuple):
    """Scale-up options of one loop, index o below n[b]."""

    n: I4  # (B,)
    group: I4  # (B, G)
    n_nodes: I4  # (B, G)
    n_pods: I4  # (B, G)
    cpu_milli: I8  # (B, G) requests of the pods helped
    mem_bytes: I8  # (B, G)
    pods_usd: F8  # (B, G) USD/h that these pods are worth; NaN = unknown
    unfitness: F8  # (B, G) >= 1, how far the node's size is from the preferred one
    exists: BOOL  # (B, G)
    best: BOOL  # (B, G) kept by the expander


def plain_classes(classes: Classes) -> BOOL:
    """(B, W + 1) classes that only resources, selectors and taints bind; last: all of them are such."""
    hard: Any = ((classes.spread_key >= 0) & classes.spread_hard).any(axis=2)
    for key in (classes.anti_key, classes.ranti_key, classes.aff_key):
        hard |= (key >= 0).any(axis=2)
    return np.concatenate([~hard, ~hard.any(axis=1, keepdims=True)], axis=1)


def empty_fork(classes: Classes, n: int, p: int, fit: FitScratch) -> Fork:
    """Nothing simulated, no hints, the first scan starts at slot 0. Room for n nodes and p pods.

    Every pod may move four times over; a simulation that needs more fails as a whole.
    """
    b, _, r = classes.req.shape
    fork = Fork(
        at=np.zeros((b, COUNTS), np.int64),
        move=np.zeros((b, MOVE_PLANES, 4 * p + 64), np.int64),
        node=np.zeros((b, 2, n), np.int64),
        pod=np.full((b, 3, p), -2, np.int64),
        opened=np.zeros((b, min(n, MAX_NEW_NODES), O_USED + r), np.int64),
        plain=plain_classes(classes),
        fit=fit,
    )
    fork.at[:, SCAN] = -1
    fork.node[:, HEAD] = -1
    return fork


def empty_pending(b: int, w: int, g: int) -> Pending:
    """Room for w classes and g groups."""
    cls = np.zeros((b, 4, w), np.int64)
    cls[:, P_FAILED] = -1
    return Pending(cls=cls, table=np.zeros((b, 2, g, w), np.int64), score=np.zeros((b, w)))


def empty_options(b: int, g: int) -> Options:
    """Room for one option per group."""

    def ints() -> Any:
        return np.zeros((b, g), np.int32)

    return Options(
        n=np.zeros(b, np.int32),
        group=ints(),
        n_nodes=ints(),
        n_pods=ints(),
        cpu_milli=np.zeros((b, g), np.int64),
        mem_bytes=np.zeros((b, g), np.int64),
        pods_usd=np.zeros((b, g)),
        unfitness=np.ones((b, g)),
        exists=np.ones((b, g), np.bool_),
        best=np.zeros((b, g), np.bool_),
    )
