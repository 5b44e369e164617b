"""New node claims in Karpenter's scheduling simulation. Compiled.

A claim is a set of offerings that narrows with every pod that joins it. A pod joins the open claim with fewest
pods that can still take it, else opens one in the first pool in order of weight.
Rules followed: kubernetes-sigs/karpenter v1.14 pkg/controllers/provisioning/scheduling.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.karpenter_journal import log
from envs.controllers.karpenter_layout import C_PODS, C_POOL, J_DOMAIN, J_MAYBE, N_CLAIMS, UNPLACED
from envs.controllers.karpenter_topology import host_allows, narrow
from envs.controllers.karpenter_variety import varied
from envs.controllers.placement import all_plain
from envs.sim.jit import inner


@inner
def narrow_offerings(
    config: Any, classes: Any, topology: Any, groups: Any, solve: Any, b: int, w: int, step: int, c: int
) -> bool:
    """Cut try_mask to offerings that suit class w, its narrowed domains, and all requests with its own.

    c: the claim that is already there, -1 = none. False when nothing is left.
    """
    mask, domain, asks = solve.try_mask[b], solve.try_domain[b, 0], solve.try_asks[b]
    found, R = False, classes.req.shape[2]
    for g in range(mask.shape[0]):
        ok = mask[g] and config.compat[b, w, step, g]
        for r in range(R):
            if ok:
                total = classes.req[b, w, r] + groups.daemon[b, g, r] + (solve.total[b, c, r] if c >= 0 else 0)
                ok = total <= groups.alloc[b, g, r]
        for t in range(1, domain.shape[0]):
            if ok and asks[t]:
                d = topology.group_domain[b, g, t]
                ok = d >= 0 and domain[t, d]
        mask[g] = ok
        found = found or ok
    return found


@inner
def join_claim(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, c: int
) -> bool:
    """Add a pod of class w to open claim c if it can still take it."""
    for r in range(classes.req.shape[2]):
        if solve.total[b, c, r] + classes.req[b, w, r] > solve.most[b, c, r]:
            return False
    for t in range(1, solve.try_domain.shape[2]):
        solve.try_asks[b, t] = solve.asks[b, c, t]
        for d in range(solve.try_domain.shape[3]):
            solve.try_domain[b, 0, t, d] = solve.domain[b, c, t, d]
    for g in range(solve.try_mask.shape[1]):
        solve.try_mask[b, g] = solve.mask[b, c, g]
    if not narrow(config, topology, solve, b, w, step):
        return False
    if not host_allows(config, topology, nodes, solve, b, w, step, (-1, c)):
        return False
    if not narrow_offerings(config, classes, topology, groups, solve, b, w, step, c):
        return False
    if not varied(config, groups, solve, b, solve.claim[b, c, C_POOL], solve.try_mask[b]):
        return False
    commit(config, classes, topology, groups, solve, b, w, c)
    return True


@inner
def open_claim(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, pool: int
) -> bool:
    """Open a claim in a pool for a pod of class w, if its limits and offerings allow."""
    c, R = solve.at[b, N_CLAIMS], classes.req.shape[2]
    if c >= solve.claim.shape[1] or solve.left[b, pool, R] < 1:
        return False
    for t in range(1, solve.try_domain.shape[2]):
        solve.try_asks[b, t] = config.pool_asks[b, pool, t]
        for d in range(solve.try_domain.shape[3]):
            solve.try_domain[b, 0, t, d] = config.pool_domain[b, pool, t, d]
    for g in range(solve.try_mask.shape[1]):
        ok = groups.pool[b, g] == pool and solve.available[b, g]
        for r in range(R):
            ok = ok and groups.cap[b, g, r] <= solve.left[b, pool, r]
        solve.try_mask[b, g] = ok
    if not narrow(config, topology, solve, b, w, step):
        return False
    if not host_allows(config, topology, nodes, solve, b, w, step, (-1, -1)):
        return False
    if not narrow_offerings(config, classes, topology, groups, solve, b, w, step, -1):
        return False
    if not varied(config, groups, solve, b, pool, solve.try_mask[b]):
        return False
    solve.at[b, N_CLAIMS] = c + 1
    solve.claim[b, c, C_POOL], solve.claim[b, c, C_PODS] = pool, 0
    solve.order[b, c] = c
    solve.total[b, c] = 0
    solve.pods[b, c] = 0
    commit(config, classes, topology, groups, solve, b, w, c)
    charge_limit(groups, solve, b, c, R)
    return True


@inner
def charge_limit(groups: Any, solve: Any, b: int, c: int, R: int) -> None:
    """Take a new claim off its pool's limits: the largest capacity among its types, and one node."""
    pool = solve.claim[b, c, C_POOL]
    for r in range(R):
        largest = 0
        for g in range(solve.mask.shape[2]):
            if solve.mask[b, c, g]:
                largest = max(largest, groups.cap[b, g, r])
        solve.left[b, pool, r] -= largest
    solve.left[b, pool, R] -= 1


@inner
def commit(config: Any, classes: Any, topology: Any, groups: Any, solve: Any, b: int, w: int, c: int) -> None:
    """Write what a pod of class w narrowed claim c to, and let it count in its domains."""
    R, D = classes.req.shape[2], solve.try_domain.shape[3]
    solve.floor_usd[b, c] = math.inf
    for r in range(R):
        solve.total[b, c, r] += classes.req[b, w, r]
        solve.most[b, c, r] = 0
    for g in range(solve.try_mask.shape[1]):
        solve.mask[b, c, g] = solve.try_mask[b, g]
        if solve.try_mask[b, g]:
            solve.floor_usd[b, c] = min(solve.floor_usd[b, c], groups.price[b, g])
            for r in range(R):
                room = groups.alloc[b, g, r] - groups.daemon[b, g, r]
                solve.most[b, c, r] = max(solve.most[b, c, r], room)
    solve.pods[b, c, w] += 1
    solve.claim[b, c, C_PODS] += 1
    for t in range(1, solve.try_domain.shape[2]):
        solve.asks[b, c, t] = solve.try_asks[b, t]
        count, last = 0, -1
        for d in range(D):
            solve.domain[b, c, t, d] = solve.try_domain[b, 0, t, d]
            if solve.try_domain[b, 0, t, d]:
                count, last = count + 1, d
        if all_plain(config.plain, b) or not solve.try_asks[b, t]:
            continue
        if count == 1:
            topology.dom_pods[b, t, last, w] += 1
            log(solve, b, J_DOMAIN, t * D + last, w)
            continue
        for d in range(D):
            if solve.try_domain[b, 0, t, d]:
                solve.extra[b, t, d, w] += 1
                log(solve, b, J_MAYBE, t * D + d, w)


@inner
def reorder(solve: Any, b: int, at: int) -> None:
    """Claim order[at] got a pod: move it behind those with fewer, or in front of those with more (a new one)."""
    order, claim, last = solve.order[b], solve.claim[b], solve.at[b, N_CLAIMS] - 1
    c = order[at]
    while at < last and claim[order[at + 1], C_PODS] < claim[c, C_PODS]:
        order[at] = order[at + 1]
        at += 1
    while at > 0 and claim[order[at - 1], C_PODS] > claim[c, C_PODS]:
        order[at] = order[at - 1]
        at -= 1
    order[at] = c


@inner
def on_claim(
    config: Any, classes: Any, topology: Any, groups: Any, nodes: Any, solve: Any, b: int, w: int, step: int, most: int
) -> int:
    """Put a pod of class w on an open claim, or on a new one while there are fewer than `most`; UNPLACED, or
    -2 - claim."""
    for i in range(solve.at[b, N_CLAIMS]):
        c = solve.order[b, i]
        if join_claim(config, classes, topology, groups, nodes, solve, b, w, step, c):
            reorder(solve, b, i)
            return -2 - c
    if solve.at[b, N_CLAIMS] >= most:
        return UNPLACED
    for k in range(config.pool_order.shape[1]):
        pool = config.pool_order[b, k]
        if pool >= 0 and open_claim(config, classes, topology, groups, nodes, solve, b, w, step, pool):
            c = solve.at[b, N_CLAIMS] - 1
            reorder(solve, b, c)
            return -2 - c
    return UNPLACED
