"""The Cluster Autoscaler's scale-up: options per group, the plan for the chosen one, back-off.

Rules followed: cluster-autoscaler `pkg/core/scaleup/orchestrator` and `pkg/utils/backoff` as of 2026-08.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.controllers.ca_estimator import estimate
from envs.controllers.ca_expanders import POD_USD_PER_CORE_H, POD_USD_PER_GB_H, size_unfitness
from envs.controllers.ca_layout import (
    BACKOFF_LENGTH,
    BACKOFF_UNTIL,
    BALANCE,
    CAPPED,
    INITIAL_BACKOFF_S,
    MAX_BACKOFF_S,
    MAX_NODES_TOTAL,
    MAX_PER_SCALEUP,
    MEMBER,
    N_PENDING,
    NEW_SIZE,
    P_LIST,
    PARTNER,
    PLACED,
    SCHEDULABLE,
    SHORTCUT,
    SIZE,
    VALID,
)
from envs.controllers.ca_limits import allowed_nodes, balance, consume, quota_left
from envs.controllers.ca_snapshot import close_nodes, open_node
from envs.controllers.placement import fits, measure
from envs.sim.jit import inner, kernel
from envs.sim.state import CPU, MEM

BACKOFF_RESET_S = 10800.0  # a group that failed this long ago starts from the initial back-off


@inner
def valid_group(groups: Any, cfg: Any, state: Any, b: int, g: int, now_s: float) -> bool:
    """Group g is not in back-off, is below its maximum, and no quota forbids its next step."""
    size, top = state.group[b, SIZE, g], groups.max_nodes[b, g]
    if state.group_s[b, BACKOFF_UNTIL, g] > now_s or size >= top:
        return False
    step = 1
    if cfg.atomic[b, g]:
        step = top - size
        total = cfg.flag[b, MAX_NODES_TOTAL]
        if total != 0 and state.node_count[b] + step > total:
            return False
    return allowed_nodes(cfg.quotas, b, g, step) == step


@inner
def find_schedulable(
    classes: Any, topology: Any, groups: Any, nodes: Any, fork: Any, pending: Any, b: int, g: int
) -> bool:
    """Set SCHEDULABLE of group g: which pending classes fit a new node of it; whether any does."""
    slot = open_node(groups, nodes, fork, b, g)
    found = False
    for k in range(fork.at[b, N_PENDING]):
        w = np.int64(pending.cls[b, P_LIST, k])
        ok = slot >= 0
        if ok:
            measure(classes, topology, nodes, b, w, fork.fit)
            ok = fits(classes, topology, groups, nodes, b, w, slot, fork.fit)
        pending.table[b, SCHEDULABLE, g, w] = 1 if ok else 0
        found |= ok
    close_nodes(topology, nodes, pending, fork, b)
    return found


@inner
def takes_as_much(pending: Any, n_pending: int, b: int, g: int, h: int) -> bool:
    """Every pending class that fits group g fits group h."""
    for k in range(n_pending):
        w = pending.cls[b, P_LIST, k]
        if pending.table[b, SCHEDULABLE, g, w] == 1 and pending.table[b, SCHEDULABLE, h, w] == 0:
            return False
    return True


@inner
def mark_partners(groups: Any, cfg: Any, state: Any, pending: Any, b: int, g: int) -> None:
    """PARTNER[h]: group h is g itself, or a scale-up of g may be spread over it too."""
    balanced = cfg.flag[b, BALANCE] != 0 and not cfg.atomic[b, g]
    n_pending = state.fork.at[b, N_PENDING]
    for h in range(groups.price.shape[1]):
        partner = h == g
        if balanced and cfg.similar[b, g, h] and state.group[b, VALID, h] == 1:
            partner |= takes_as_much(pending, n_pending, b, g, h)
        state.group[b, PARTNER, h] = 1 if partner else 0


@inner
def tighter(limit: int, other: int) -> int:
    """The stricter of two node caps: 0 = none, negative = nothing allowed."""
    if limit < 0 or other < 0:
        return -1
    return other if limit == 0 or 0 < other < limit else limit


@inner
def node_cap(groups: Any, cfg: Any, state: Any, b: int) -> int:
    """How many nodes the estimator may open: per scale-up, room in the partners, room in the cluster."""
    cap = int(cfg.flag[b, MAX_PER_SCALEUP])
    if cfg.flag[b, CAPPED] == 0:
        return cap
    room = 0
    for h in range(groups.price.shape[1]):
        if state.group[b, PARTNER, h] == 1:
            room += max(0, groups.max_nodes[b, h] - state.group[b, SIZE, h])
    cap = tighter(cap, room if room > 0 else -1)
    total = int(cfg.flag[b, MAX_NODES_TOTAL])
    if total > 0:
        left = total - state.node_count[b]
        cap = tighter(cap, left if left > 0 else -1)
    return cap


@inner
def add_option(
    req: Any, groups: Any, options: Any, pending: Any, b: int, g: int, n: int, n_pending: int, n_nodes: int
) -> None:
    """Record "n nodes of group g help its PLACED pods" when it helps anybody. n_nodes: in the cluster."""
    pods, cpu, mem = 0, 0, 0
    for k in range(n_pending):
        w = pending.cls[b, P_LIST, k]
        count = pending.table[b, PLACED, g, w]
        pods += count
        cpu += count * req[b, w, CPU]
        mem += count * req[b, w, MEM]
    if pods == 0 or n == 0:
        return
    o = options.n[b]
    options.n[b] = o + 1
    options.group[b, o] = g
    options.n_nodes[b, o] = n
    options.n_pods[b, o] = pods
    options.cpu_milli[b, o] = cpu
    options.mem_bytes[b, o] = mem
    options.pods_usd[b, o] = cpu * 1e-3 * POD_USD_PER_CORE_H + mem * 1e-9 * POD_USD_PER_GB_H
    options.unfitness[b, o] = size_unfitness(groups.cap[b, g, CPU], n_nodes)
    options.exists[b, o] = True


@inner
def mark_valid(groups: Any, cfg: Any, state: Any, pending: Any, b: int, now_s: float) -> None:
    """VALID[g] for this scale-up; a group that is not valid can schedule nothing."""
    quota_left(cfg.quotas, state.group, SIZE, b)
    for g in range(groups.price.shape[1]):
        valid = valid_group(groups, cfg, state, b, g, now_s)
        state.group[b, VALID, g] = 1 if valid else 0
        if not valid:
            pending.table[b, SCHEDULABLE, g] = 0


@inner
def scale_up_options(
    classes: Any, topology: Any, groups: Any, nodes: Any, cfg: Any, state: Any, b: int, now_s: float
) -> int:
    """Fill state.options for the pods in state.pending; their number.

    SIZE of each group, node_count and the pending classes are given.
    """
    fork, pending, options = state.fork, state.pending, state.options
    mark_valid(groups, cfg, state, pending, b, now_s)
    n_groups = groups.price.shape[1]
    for g in range(n_groups):
        if state.group[b, VALID, g] == 1:
            find_schedulable(classes, topology, groups, nodes, fork, pending, b, g)
    options.n[b] = 0
    for g in range(n_groups):
        if state.group[b, VALID, g] == 1:
            mark_partners(groups, cfg, state, pending, b, g)
            cap = node_cap(groups, cfg, state, b)
            shortcut = cfg.flag[b, SHORTCUT] != 0
            n = estimate(classes, topology, groups, nodes, fork, pending, b, g, cap, shortcut)
            if cfg.atomic[b, g] and n > 0:
                n = groups.max_nodes[b, g]
            n_pending = fork.at[b, N_PENDING]
            add_option(classes.req, groups, options, pending, b, g, n, n_pending, state.node_count[b])
    return options.n[b]


@inner
def scale_up_plan(groups: Any, cfg: Any, state: Any, add: Any, b: int, o: int) -> int:
    """Write add[b, g] for option o after the caps and balancing; the number of nodes, -1 = cluster is full.

    Caps in order: nodes of the whole cluster, quotas, balancing over similar groups up to each
    one's maximum, quotas again group by group.
    """
    g = np.int64(state.options.group[b, o])
    n = np.int64(state.options.n_nodes[b, o])
    total = np.int64(cfg.flag[b, MAX_NODES_TOTAL])
    if total > 0 and n + state.node_count[b] > total:
        n = total - state.node_count[b]
        if n < 1:
            return -1
    n = allowed_nodes(cfg.quotas, b, g, n)
    mark_partners(groups, cfg, state, state.pending, b, g)
    count = 0
    for i in range(groups.price.shape[1]):  # the chosen group leads
        h = g if i == 0 else i - 1 if i <= g else i
        if state.group[b, PARTNER, h] == 1 and (h == g or allowed_nodes(cfg.quotas, b, h, 1) == 1):
            state.group[b, MEMBER, count] = h
            count += 1
    for h in range(groups.price.shape[1]):
        state.group[b, NEW_SIZE, h] = state.group[b, SIZE, h]
    balance(state.group, MEMBER, SIZE, NEW_SIZE, groups.max_nodes, b, count, n)
    added = 0
    for h in range(groups.price.shape[1]):
        more = max(0, state.group[b, NEW_SIZE, h] - state.group[b, SIZE, h])
        more = allowed_nodes(cfg.quotas, b, h, more)
        consume(cfg.quotas, b, h, more)
        add[b, h] = more
        added += more
    return added


@kernel
def note_scale_up_failure(cfg: Any, state: Any, b: int, g: int, now_s: float) -> None:
    """Back-off for group g: the initial time, doubled while failures go on, at most the maximum.

    A failure during a back-off does not lengthen it: concurrent requests fail together.
    """
    length = cfg.flag[b, INITIAL_BACKOFF_S]
    until = state.group_s[b, BACKOFF_UNTIL, g]
    failed_s = until - state.group_s[b, BACKOFF_LENGTH, g]
    if until < now_s and state.group_s[b, BACKOFF_LENGTH, g] > 0.0 and now_s - failed_s <= BACKOFF_RESET_S:
        length = min(2.0 * state.group_s[b, BACKOFF_LENGTH, g], cfg.flag[b, MAX_BACKOFF_S])
    state.group_s[b, BACKOFF_LENGTH, g] = length
    state.group_s[b, BACKOFF_UNTIL, g] = now_s + length
