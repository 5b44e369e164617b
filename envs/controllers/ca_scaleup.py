"""The Cluster Autoscaler's scale-up: options per group, the plan for the chosen one, back-off.

Rules followed: cluster-autoscaler `pkg/core/scaleup/orchestrator` and `pkg/utils/backoff` as of 2026-08.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.ca_estimator import estimate
from envs.controllers.ca_expanders import POD_USD_PER_CORE_H, POD_USD_PER_GB_H, size_unfitness
from envs.controllers.ca_limits import allowed_nodes, balance, consume, quota_left
from envs.controllers.ca_snapshot import close_nodes, open_node
from envs.controllers.placement import fits, measure
from envs.sim.jit import inner, kernel
from envs.sim.state import CPU, MEM

BACKOFF_RESET_S = 10800.0  # a group that failed this long ago starts from the initial back-off


@inner
def valid_group(groups: Any, cfg: Any, state: Any, b: int, g: int, now_s: float) -> bool:
    """Group g is not in back-off, is below its maximum, and no quota forbids its next step."""
    size, top = state.sizes[b, g], groups.max_nodes[b, g]
    if state.backoff_until_s[b, g] > now_s or size >= top:
        return False
    step = 1
    if cfg.atomic[b, g]:
        step = top - size
        total = cfg.max_nodes_total[b]
        if total != 0 and state.n_nodes[b] + step > total:
            return False
    return allowed_nodes(cfg.quotas, b, g, step) == step


@inner
def find_schedulable(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    fit: Any,
    journal: Any,
    pending: Any,
    b: int,
    g: int,
) -> bool:
    """Set pending.schedulable[b, :, g]: which pending classes fit a new node of g; whether any does."""
    slot = open_node(groups, nodes, journal, b, g)
    found = False
    for k in range(pending.n[b]):
        w = pending.cls[b, k]
        ok = slot >= 0
        if ok:
            measure(classes, topology, nodes, b, w, fit)
            ok = fits(classes, topology, groups, nodes, b, w, slot, fit)
        pending.schedulable[b, w, g] = ok
        found |= ok
    close_nodes(nodes, journal, b, 0)
    return found


@inner
def takes_as_much(pending: Any, b: int, g: int, h: int) -> bool:
    """Every pending class that fits group g fits group h."""
    for k in range(pending.n[b]):
        w = pending.cls[b, k]
        if pending.schedulable[b, w, g] and not pending.schedulable[b, w, h]:
            return False
    return True


@inner
def is_partner(cfg: Any, state: Any, b: int, g: int, h: int) -> bool:
    """Whether a scale-up of group g may be spread over group h too."""
    if g == h or not cfg.balance[b] or cfg.atomic[b, g] or not cfg.similar[b, g, h]:
        return False
    return state.valid[b, h] and takes_as_much(state.pending, b, g, h)


@inner
def tighter(limit: int, other: int) -> int:
    """The stricter of two node caps: 0 = none, negative = nothing allowed."""
    if limit < 0 or other < 0:
        return -1
    return other if limit == 0 or 0 < other < limit else limit


@inner
def node_cap(groups: Any, cfg: Any, state: Any, b: int, g: int) -> int:
    """How many nodes the estimator may open: per scale-up, room in similar groups, room in the cluster."""
    cap = cfg.max_nodes_per_scaleup[b]
    if not cfg.capped[b]:
        return cap
    room = 0
    for h in range(groups.price.shape[1]):
        if h == g or is_partner(cfg, state, b, g, h):
            room += max(0, groups.max_nodes[b, h] - state.sizes[b, h])
    cap = tighter(cap, room if room > 0 else -1)
    total = cfg.max_nodes_total[b]
    if total > 0:
        left = total - state.n_nodes[b]
        cap = tighter(cap, left if left > 0 else -1)
    return cap


@inner
def add_option(classes: Any, groups: Any, cfg: Any, state: Any, b: int, g: int, n: int) -> None:
    """Record "n nodes of group g help pending.placed[b, g] pods" when it helps anybody."""
    pods, cpu, mem = 0, 0, 0
    for k in range(state.pending.n[b]):
        w = state.pending.cls[b, k]
        count = state.pending.placed[b, g, w]
        pods += count
        cpu += count * classes.req[b, w, CPU]
        mem += count * classes.req[b, w, MEM]
    if pods == 0 or n == 0:
        return
    options = state.options
    o = options.n[b]
    options.n[b] = o + 1
    options.group[b, o] = g
    options.n_nodes[b, o] = groups.max_nodes[b, g] if cfg.atomic[b, g] else n
    options.n_pods[b, o] = pods
    options.cpu_milli[b, o] = cpu
    options.mem_bytes[b, o] = mem
    options.pods_usd[b, o] = cpu * 1e-3 * POD_USD_PER_CORE_H + mem * 1e-9 * POD_USD_PER_GB_H
    options.unfitness[b, o] = size_unfitness(groups.cap[b, g, CPU], state.n_nodes[b])
    options.exists[b, o] = True


@kernel
def scale_up_options(
    classes: Any, topology: Any, groups: Any, nodes: Any, cfg: Any, state: Any, b: int, now_s: float
) -> int:
    """Fill state.options for the pods in state.pending; their number.

    state.sizes, n_nodes and pending are given. A group that is not valid fits nothing.
    """
    journal, pending = state.journal, state.pending
    state.options.n[b] = 0
    quota_left(cfg.quotas, state.sizes, b)
    for g in range(groups.price.shape[1]):
        state.valid[b, g] = False
        if valid_group(groups, cfg, state, b, g, now_s):
            state.valid[b, g] = find_schedulable(
                classes, topology, groups, nodes, state.search.fit, journal, pending, b, g
            )
        else:
            for k in range(pending.n[b]):
                pending.schedulable[b, pending.cls[b, k], g] = False
    for g in range(groups.price.shape[1]):
        if state.valid[b, g]:
            cap = node_cap(groups, cfg, state, b, g)
            n = estimate(
                classes,
                topology,
                groups,
                nodes,
                state.search,
                journal,
                pending,
                b,
                g,
                cap,
                cfg.shortcut[b],
            )
            add_option(classes, groups, cfg, state, b, g, n)
    return state.options.n[b]


@kernel
def scale_up_plan(groups: Any, cfg: Any, state: Any, add: Any, b: int, o: int) -> int:
    """Write add[b, g] for option o after the caps and balancing; the number of nodes, -1 = cluster is full.

    Caps in order: nodes of the whole cluster, quotas, balancing over similar groups up to each
    one's maximum, quotas again group by group.
    """
    g = state.options.group[b, o]
    n = state.options.n_nodes[b, o]
    total = cfg.max_nodes_total[b]
    if total > 0 and n + state.n_nodes[b] > total:
        n = total - state.n_nodes[b]
        if n < 1:
            return -1
    n = allowed_nodes(cfg.quotas, b, g, n)
    state.members[b, 0] = g
    count = 1
    for h in range(groups.price.shape[1]):
        if is_partner(cfg, state, b, g, h) and allowed_nodes(cfg.quotas, b, h, 1) == 1:
            state.members[b, count] = h
            count += 1
    for h in range(groups.price.shape[1]):
        state.new_sizes[b, h] = state.sizes[b, h]
    balance(state.members, count, state.sizes, groups.max_nodes, state.new_sizes, b, n)
    added = 0
    for h in range(groups.price.shape[1]):
        if h == g or is_partner(cfg, state, b, g, h):
            more = allowed_nodes(cfg.quotas, b, h, max(0, state.new_sizes[b, h] - state.sizes[b, h]))
            consume(cfg.quotas, b, h, more)
            add[b, h] = more
            added += more
    return added


@kernel
def note_scale_up_failure(cfg: Any, state: Any, b: int, g: int, now_s: float) -> None:
    """Back-off for group g: the initial time, doubled while failures go on, at most the maximum.

    A failure during a back-off does not lengthen it: concurrent requests fail together.
    """
    length = cfg.initial_backoff_s[b]
    until = state.backoff_until_s[b, g]
    failed_s = until - state.backoff_s[b, g]
    if until < now_s and state.backoff_s[b, g] > 0.0 and now_s - failed_s <= BACKOFF_RESET_S:
        length = min(2.0 * state.backoff_s[b, g], cfg.max_backoff_s[b])
    state.backoff_s[b, g] = length
    state.backoff_until_s[b, g] = now_s + length
