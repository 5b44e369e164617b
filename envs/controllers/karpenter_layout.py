"""Arrays of Karpenter: settings, and the working memory of one scheduling simulation ("solve").

Letters as in `envs.sim.state`; V steps of relaxing a pod's preferences, C new node claims of a solve,
U terms of a pod's topology, Q budgets, J journal entries, Y instance types, K labels with
minValues. Planes are named below.
Everything whole is int64: a mix of widths makes Numba compile each kernel once per width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.sim.state import BOOL, F8, I8

# KpConfig.flag
BATCH_IDLE_S, BATCH_MAX_S, VALIDATION_S, LOOP_S, SPOT_TO_SPOT, HAZARD_WEIGHT, EPOCH_S, RELAX_MIN_VALUES, FLAGS = range(
    9
)
# KpConfig.policy
WHEN_EMPTY, WHEN_UNDERUTILIZED, BALANCED = 0, 1, 2
# KpConfig.term: kind, key, maxSkew, minDomains, selector, whether the pod matches it, step that drops it
U_KIND, U_KEY, U_SKEW, U_MIN, U_SELECTOR, U_SELF, U_UNTIL, U_PLANES = range(8)
NO_TERM, SPREAD, ANTI, AFFINITY, ANTI_OF_OTHERS = range(5)
# KpSolve.at
N_JOURNAL, N_CLAIMS, N_ITEMS, PASS, SOLVE, FIRST_BOOT, AT = range(7)
# KpSolve.journal: what was done, on which node (or domain), by which class
J_ON_NODE, J_OFF_NODE, J_DOMAIN, J_MAYBE = range(4)
J_KIND, J_WHERE, J_CLASS, J_PLANES = range(4)
# KpSolve.claim
C_POOL, C_PODS, C_PLANES = range(3)
# KpSolve.first: first ready and first booting node with room for a class, and the pass in which that was found;
# the same within a solve; where the class stands among the items that are gathered for a solve
F_BASE, F_BOOT, F_BASE_PASS, F_NOW, F_NOW_SOLVE, F_ITEM, F_ITEM_SOLVE, F_PLANES = range(8)
BLOCK = 16  # node slots whose largest free room is kept together
MAX_CLAIMS = 400
SIZES, FAMILIES = 8, 8  # at most; see karpenter_bound
# KpConfig.size: CPU of a size, least memory of a class of at least that CPU
S_CPU, S_MEMORY, SIZE_PLANES = range(3)
UNPLACED = -1
NO_LIMIT = 1 << 60


class KpConfig(NamedTuple):
    """Settings of each cluster's pools and stack, and its pods as Karpenter reads them. Static but for plans."""

    flag: F8  # (B, FLAGS)
    kind: I8  # (B, G) instance type
    capacity: I8  # (B, G) RESERVED, SPOT, ON_DEMAND of karpenter_price
    pool_order: I8  # (B, L) pools by falling weight
    least: I8  # (B, L, K) minValues of a label, 0 = none
    value: I8  # (B, K, G) which value of its pool's label k an offering has, -1 = it lacks the label
    limit: I8  # (B, L, R + 1) most of each resource in a pool's nodes; last: nodes
    policy: I8  # (B, L)
    after_s: F8  # (B, L) consolidateAfter, inf = never
    expire_s: F8  # (B, L) expireAfter, inf = never
    budget: I8  # (B, L, Q, BUDGET_PLANES)
    share: F8  # (B, L, Q)
    twin: I8  # (B, W) first class with the same requests and the same offerings
    rank: I8  # (B, W) position in the order of pods: CPU, then memory, falling
    cost: F8  # (B, W) eviction cost of a pod
    n_steps: I8  # (B, W) preferences to give up, one by one
    compat: BOOL  # (B, W, V, G) requirements and tolerations of a pod allow an offering
    term: I8  # (B, W, U, U_PLANES)
    plain: BOOL  # (B, W + 1) no term at all; last: so has no class
    pod_domain: BOOL  # (B, W, T, D) what the pod itself asks of a topology key
    pod_asks: BOOL  # (B, W, T)
    known: BOOL  # (B, T, D) domains that some offering or node has
    pool_domain: BOOL  # (B, L, T, D)
    pool_asks: BOOL  # (B, L, T)
    size: I8  # (B, SIZE_PLANES, SIZES) CPU sizes, rising; NO_LIMIT = no more
    sizes_of: I8  # (B, W) sizes that a class reaches
    family: I8  # (B, W) classes that may use the same offerings, 0 = any
    family_has: BOOL  # (B, FAMILIES, G) offerings that a family may use
    widest: I8  # (B, R) most of each resource that a pod asks for; NO_LIMIT where not only room decides


class KpSolve(NamedTuple):
    """Working memory of a solve. Claims are rows below at[N_CLAIMS]; `extra` is zero at rest."""

    at: I8  # (B, AT)
    journal: I8  # (B, J_PLANES, J)
    extra: I8  # (B, T, D, W) pods that may land in a domain, beside those that are known to
    available: BOOL  # (B, G) the provider has this offering
    claim: I8  # (B, C, C_PLANES)
    total: I8  # (B, C, R) requests on the claim
    most: I8  # (B, C, R) largest room for pods among its types
    floor_usd: F8  # (B, C) its cheapest offering
    mask: BOOL  # (B, C, G) offerings that are left
    domain: BOOL  # (B, C, T, D)
    asks: BOOL  # (B, C, T)
    pods: I8  # (B, C, W)
    order: I8  # (B, C) claims by number of pods
    try_domain: BOOL  # (B, 2, T, D) what a pod would narrow a claim to; what its node allows
    try_asks: BOOL  # (B, T)
    try_mask: BOOL  # (B, G)
    left: I8  # (B, L, R + 1) of the pools' limits
    item: I8  # (B, 2, W) class and number of pods to place
    where: I8  # (B, W) where the last pod of a class went: a node slot, -2 - claim, or UNPLACED
    first: I8  # (B, F_PLANES, W)
    block: I8  # (B, N / BLOCK + 1, 2) largest free CPU and memory of a block of slots
    closed: BOOL  # (B, N) takes no pods in this solve
    kind_first: I8  # (B, Y) scratch of launch prices
    kind_worst: F8  # (B, Y)
    kind_best: F8  # (B, Y)
    kept_kind: BOOL  # (B, Y) scratch of minValues
    seen_value: BOOL  # (B, values)
    few_mask: BOOL  # (B, G)
    need: I8  # (B, K) values that a replacement must keep


def empty_solve(config: KpConfig, nodes: int, pods: int, resources: int) -> KpSolve:
    """Room for a cluster of so many node and pod slots."""
    b, w = config.rank.shape
    g, pools = config.kind.shape[1], config.policy.shape[1]
    t, d = config.known.shape[1:]
    c = min(nodes, MAX_CLAIMS)
    kinds = int(config.kind.max(initial=0)) + 1

    def longs(*shape: int) -> I8:
        return np.zeros((b, *shape), np.int64)

    def flags(*shape: int) -> BOOL:
        return np.zeros((b, *shape), np.bool_)

    return KpSolve(
        at=longs(AT),
        journal=longs(J_PLANES, (2 + 2 * t * d) * pods + 64),
        extra=longs(t, d, w),
        available=np.ones((b, g), np.bool_),
        claim=longs(c, C_PLANES),
        total=longs(c, resources),
        most=longs(c, resources),
        floor_usd=np.zeros((b, c)),
        mask=flags(c, g),
        domain=flags(c, t, d),
        asks=flags(c, t),
        pods=longs(c, w),
        order=longs(c),
        try_domain=flags(2, t, d),
        try_asks=flags(t),
        try_mask=flags(g),
        left=longs(pools, resources + 1),
        item=longs(2, w),
        where=longs(w),
        first=longs(F_PLANES, w),
        block=longs(nodes // BLOCK + 1, 2),
        closed=flags(nodes),
        kind_first=longs(kinds),
        kind_worst=np.zeros((b, kinds)),
        kind_best=np.zeros((b, kinds)),
        kept_kind=flags(kinds),
        seen_value=flags(int(config.value.max(initial=0)) + 1),
        few_mask=flags(g),
        need=longs(config.least.shape[2]),
    )
