"""The simulator's hidden truth as struct-of-arrays, and the static arrays it is packed from.

Leading axis B = clusters in the batch. Other axes: W workloads (one workload = one pod class),
G node groups (pool x instance type x zone x capacity type), N node slots, P pod slots,
R resources (0 CPU milli, 1 memory bytes, 2 pods, 3 GPU, 4.. extended), T topology keys
(key 0 is the hostname: its domain is the node itself), D domains per key, K spread constraints,
A affinity terms, S selectors, M selector items, L node pools.

Kernels take these tuples and the cluster index b: `f(classes, nodes, ..., b, ...)`. The tuples are
small on purpose: Numba unpacks a tuple into every array at each call that is not inlined.
Nothing outside envs/sim and envs/controllers imports this module.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CPU, MEM, PODS, GPU = 0, 1, 2, 3
HOSTNAME = 0  # topology key index

# node phases
NODE_FREE, NODE_BOOTING, NODE_READY, NODE_DRAINING, NODE_LOST = 0, 1, 2, 3, 4
# pod phases
POD_FREE, POD_PENDING, POD_STARTING, POD_READY, POD_TERMINATING = 0, 1, 2, 3, 4

I1 = NDArray[np.int8]
I2 = NDArray[np.int16]
I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
BOOL = NDArray[np.bool_]


class Classes(NamedTuple):
    """What the scheduler and the node autoscaler know of a pod of workload w. Static."""

    req: I8  # (B, W, R) requests; req[..., PODS] = 1
    score_req: I8  # (B, W, 2) CPU milli and memory bytes, a missing request as 100m / 200 MiB
    priority: I4  # (B, W)
    fits_group: BOOL  # (B, W, G) node selector, affinity, arch, hard taints
    affinity_ok: BOOL  # (B, W, G) node selector and affinity only: which nodes are spread domains
    soft_taints: I4  # (B, W, G) PreferNoSchedule taints not tolerated
    affinity_score: I4  # (B, W, G) sum of matching preferred node affinity weights
    spread_key: I4  # (B, W, K) topology key index, -1 = no constraint
    spread_skew: I4  # (B, W, K)
    spread_hard: BOOL  # (B, W, K)
    spread_min_domains: I4  # (B, W, K)
    spread_self: BOOL  # (B, W, K) the selector matches the pod itself
    spread_sel: I4  # (B, W, K) selector index
    anti_key: I4  # (B, W, A) own required anti-affinity: key, -1 = none
    anti_sel: I4  # (B, W, A)
    ranti_key: I4  # (B, W, A) anti-affinity of others that this pod would violate: key
    ranti_sel: I4  # (B, W, A) the classes that have such a term
    aff_key: I4  # (B, W, A) required pod affinity
    aff_sel: I4  # (B, W, A)
    aff_self: BOOL  # (B, W, A) the term matches the pod itself
    drain_code: I1  # (B, W) 0 may be moved, 1 blocks a drain, 2 ignored (DaemonSet, mirror)
    pdb_kind: I1  # (B, W) 0 none, 1 minAvailable, 2 maxUnavailable, 3 and 4 the same as shares
    pdb_value: F8  # (B, W)
    # (B, W, K, G) nodes that spread constraint k counts, by its nodeAffinityPolicy and
    # nodeTaintsPolicy; empty = affinity_ok for all of them, which is what the default policies give
    spread_elig: BOOL = np.zeros((0, 0, 0, 0), np.bool_)


class Topology(NamedTuple):
    """Selectors (which classes they match) and the domains of node groups. dom_pods is state."""

    sel_start: I4  # (B, S + 1) offsets into sel_item
    sel_item: I4  # (B, M) class indices
    group_domain: I4  # (B, G, T) domain under key t >= 1, -1 = label missing; key 0: -2 = likewise
    dom_pods: I4  # (B, T, D, W) bound pods of class w in domain d (key 0 unused)


class Groups(NamedTuple):
    """Node groups: one shape each. Static but for price (scenarios change it over time)."""

    cap: I8  # (B, G, R) capacity
    alloc: I8  # (B, G, R) allocatable
    daemon: I8  # (B, G, R) requests of DaemonSet pods on each node
    price: F8  # (B, G) USD/h
    pool: I4  # (B, G)
    zone: I4  # (B, G)
    min_nodes: I4  # (B, G)
    max_nodes: I4  # (B, G)
    boot_mean_s: F8  # (B, G)
    boot_cv: F8  # (B, G)
    priority_tier: I4  # (B, G) expander priority; -2147483648 = no match
    spot: BOOL = np.zeros((0, 0), np.bool_)  # (B, G) bought on the spot market; empty = none is
    hazard: F8 = np.zeros((0, 0))  # (B, G) interruptions per node-hour; empty = none


CHANGED = 64  # changes of nodes that are remembered


class Nodes(NamedTuple):
    """Node slots. node_hi bounds the slots ever used; a free slot has group -1."""

    group: I4  # (B, N)
    phase: I1  # (B, N) NODE_*
    used: I8  # (B, N, R) requests of bound pods + daemons
    score_used: I8  # (B, N, 2) likewise with the scheduler's non-zero defaults
    n_pods: I4  # (B, N) bound workload pods, terminating ones included
    created_s: F8  # (B, N) when it was asked for
    ready_s: F8  # (B, N) when it became, or will become, Ready
    pods_of: I2  # (B, W, N) bound pods of class w
    first_pod: I4  # (B, N) head of the node's pod list, -1 = empty
    hi: I4  # (B,)
    free: I4  # (B, N) stack of free slots below hi
    n_free: I4  # (B,)
    epoch: I4  # (B,) goes up whenever a slot is taken or given back
    changed: I8  # (B,) how often pods were put on a node or taken off it
    changed_on: I4  # (B, CHANGED) which node it was: the last ones, in a ring


class Pods(NamedTuple):
    """Pod slots, in a doubly linked list per workload and one per node."""

    workload: I4  # (B, P) -1 = free
    phase: I1  # (B, P) POD_*
    node: I4  # (B, P) -1 = not bound
    created_s: F8  # (B, P)
    bound_s: F8  # (B, P); of a pending pod: until when the victims of its preemption terminate, else -inf
    ready_s: F8  # (B, P) when it became, or will become, Ready; inf while pending
    gone_s: F8  # (B, P) end of termination; inf unless terminating
    mem_factor: F8  # (B, P) memory use over its workload's mean, drawn at birth
    next_w: I4  # (B, P) workload list
    prev_w: I4  # (B, P)
    next_n: I4  # (B, P) node list
    prev_n: I4  # (B, P)
    first_of: I4  # (B, W) newest pod of a workload, -1 = none
    hi: I4  # (B,)
    free: I4  # (B, P)
    n_free: I4  # (B,)
    pending: I4  # (B, P) unbound pods in the order of the scheduling queue
    n_pending: I4  # (B,)


def empty_nodes(b: int, w: int, n: int, r: int) -> Nodes:
    """Node slots, all free."""
    return Nodes(
        group=np.full((b, n), -1, np.int32),
        phase=np.zeros((b, n), np.int8),
        used=np.zeros((b, n, r), np.int64),
        score_used=np.zeros((b, n, 2), np.int64),
        n_pods=np.zeros((b, n), np.int32),
        created_s=np.zeros((b, n)),
        ready_s=np.zeros((b, n)),
        pods_of=np.zeros((b, w, n), np.int16),
        first_pod=np.full((b, n), -1, np.int32),
        hi=np.zeros(b, np.int32),
        free=np.zeros((b, n), np.int32),
        n_free=np.zeros(b, np.int32),
        epoch=np.zeros(b, np.int32),
        changed=np.zeros(b, np.int64),
        changed_on=np.zeros((b, CHANGED), np.int32),
    )


def empty_pods(b: int, w: int, p: int) -> Pods:
    """Pod slots, all free."""
    minus = np.full((b, p), -1, np.int32)
    return Pods(
        workload=minus.copy(),
        phase=np.zeros((b, p), np.int8),
        node=minus.copy(),
        created_s=np.zeros((b, p)),
        bound_s=np.zeros((b, p)),
        ready_s=np.full((b, p), np.inf),
        gone_s=np.full((b, p), np.inf),
        mem_factor=np.ones((b, p)),
        next_w=minus.copy(),
        prev_w=minus.copy(),
        next_n=minus.copy(),
        prev_n=minus.copy(),
        first_of=np.full((b, w), -1, np.int32),
        hi=np.zeros(b, np.int32),
        free=np.zeros((b, p), np.int32),
        n_free=np.zeros(b, np.int32),
        pending=np.zeros((b, p), np.int32),
        n_pending=np.zeros(b, np.int32),
    )
