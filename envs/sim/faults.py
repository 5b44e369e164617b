"""Faults as they strike: nodes die without grace, zones close, containers loop, prices and telemetry change.

A lost node is NODE_LOST: nothing is placed on it, it is no topology domain, and it is billed until its object
goes. Its pods serve nothing from that moment, but for MONITOR_GRACE_S requests are still sent to them; then they
are unready, and when the object goes they are deleted and replaced. Until then they count as starting pods that
never become ready, which is what the ReplicaSet, the HPA and PodDisruptionBudgets make of them.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.karpenter_state import HOLD
from envs.faults import MONITOR_GRACE_S
from envs.sim.autoscale import drain_node, pool_room
from envs.sim.fault_state import (
    HEALS_ALWAYS,
    HEALS_NOT,
    IGNORES,
    OP_API,
    OP_BLOCK,
    OP_CRASH_LOOP,
    OP_INTERRUPT,
    OP_LAG,
    OP_LOSE_CHOICE,
    OP_LOSE_GROUP,
    OP_LOSE_RANK,
    OP_PRICE,
    OP_RECOMMEND,
    OP_START,
    OP_TELEMETRY,
    REBALANCES,
)
from envs.sim.flow import INTERRUPTIONS, NODES_ADDED, NODES_LOST
from envs.sim.jit import inner
from envs.sim.karpenter import expect_pods_of
from envs.sim.nodes import remove_node, request_node, start_drain
from envs.sim.pods import finish_pod, start_again, stop_starting, terminate_pod
from envs.sim.random import RNG_FAULT, lognormal
from envs.sim.replicas import alive, reconcile
from envs.sim.state import (
    NODE_BOOTING,
    NODE_DRAINING,
    NODE_LOST,
    NODE_READY,
    POD_READY,
    POD_STARTING,
    POD_TERMINATING,
)

FIRST_BACKOFF_S, MAX_BACKOFF_S = 10.0, 300.0  # kubelet: CrashLoopBackOff, doubled at each crash


@inner
def strike(s: Any, b: int, i: int, now_s: float, row: int, tick_end_s: float) -> None:
    """Carry out operation i of the plan."""
    op, target, value = s.faults.op[b, i], s.faults.target[b, i], s.faults.value[b, i]
    until = s.faults.until[b, i]
    if op == OP_PRICE:
        s.groups.price[b, target] = value
    elif op == OP_START:
        s.service.start_mean_s[b, target] = value
    elif op == OP_API:
        s.clock.api_delay_s[b] = value
        s.clock.api_since_s[b] = now_s
    elif op == OP_TELEMETRY:
        s.faults.telemetry[b, target] = value
    elif op == OP_LAG:
        s.faults.lag_s[b, target] = value
    elif op == OP_BLOCK:
        s.faults.blocked[b, target] = 1 if value > 0.0 else 0
        for _ in range(s.faults.missing[b, target] if value <= 0.0 else 0):
            replace_node(s, b, target, now_s, row, tick_end_s)
        s.faults.missing[b, target] = 0
    elif op == OP_LOSE_GROUP:
        for n in range(s.nodes.hi[b]):
            if s.nodes.group[b, n] == target and s.nodes.phase[b, n] != NODE_LOST:
                lose_node(s, b, n, now_s, value, row, tick_end_s)
    elif op == OP_LOSE_CHOICE:
        n = nth_running(s, b, target, -1, int(value * running_nodes(s, b, target)))
        if n >= 0:
            lose_node(s, b, n, now_s, until, row, tick_end_s)
    elif op == OP_LOSE_RANK:
        n = nth_running(s, b, target, -1, int(value))
        if n >= 0:
            lose_node(s, b, n, now_s, until, row, tick_end_s)
    elif op == (OP_RECOMMEND if s.faults.handles[b] == REBALANCES else OP_INTERRUPT):  # a stack listens to one
        interrupt_node(s, b, nth_running(s, b, -1, target, int(value)), now_s, until, row, tick_end_s)
    elif op == OP_CRASH_LOOP:
        start_crash_loop(s, b, target, value, until, now_s, tick_end_s)


@inner
def is_running(s: Any, b: int, n: int, pool: int, group: int) -> bool:
    """Whether slot n holds a Ready or draining node of the pool, or of the group if pool is -1."""
    if s.nodes.phase[b, n] not in (NODE_READY, NODE_DRAINING):
        return False
    g = s.nodes.group[b, n]
    return s.groups.pool[b, g] == pool if pool >= 0 else g == group


@inner
def running_nodes(s: Any, b: int, pool: int) -> int:
    """Ready and draining nodes of a pool."""
    count = 0
    for n in range(s.nodes.hi[b]):
        count += 1 if is_running(s, b, n, pool, -1) else 0
    return count


@inner
def nth_running(s: Any, b: int, pool: int, group: int, rank: int) -> int:
    """The running node of that rank, in the order of slots, in a pool or group; -1 when there are fewer."""
    left = rank
    for n in range(s.nodes.hi[b]):
        if is_running(s, b, n, pool, group):
            if left == 0:
                return n
            left -= 1
    return -1


@inner
def interrupt_node(s: Any, b: int, n: int, now_s: float, notice_s: float, row: int, tick_end_s: float) -> None:
    """The provider wants spot node n back in notice_s; a stack that listens drains it from now on."""
    if n < 0 or (s.faults.doom_s[b, n] < math.inf and s.faults.noticed_s[b, n] >= s.nodes.created_s[b, n]):
        return  # it was told already
    if s.faults.doom_s[b, n] == math.inf:
        s.faults.n_doomed[b] += 1
    s.faults.noticed_s[b, n] = now_s
    s.faults.doom_s[b, n] = now_s + notice_s
    s.faults.doomed_group[b, n] = s.nodes.group[b, n]
    if row >= 0:
        s.rows.cluster[b, row, INTERRUPTIONS] += 1.0
    ready, held = s.nodes.phase[b, n] == NODE_READY, s.kp_state.node[b, HOLD, n] > 0
    if s.faults.handles[b] > IGNORES and (ready or held):
        s.kp_state.node[b, HOLD, n] = 0  # it waits for its replacement no longer
        if ready:
            start_drain(s.nodes, s.clock, b, n, now_s)
        drain_node(s, b, n, now_s, row, tick_end_s)
        expect_pods_of(s, b, now_s)


@inner
def reclaim_node(s: Any, b: int, n: int, now_s: float, gone_after_s: float, row: int, tick_end_s: float) -> None:
    """The notice of a spot node is over: what still runs on it dies, and its group starts another machine."""
    s.faults.doom_s[b, n] = math.inf
    s.faults.n_doomed[b] -= 1
    same = s.nodes.created_s[b, n] <= s.faults.noticed_s[b, n]
    if same and s.nodes.phase[b, n] in (NODE_READY, NODE_DRAINING):
        lose_node(s, b, n, now_s, gone_after_s, row, tick_end_s)
        s.faults.owed[b, n] = 0
    g = s.faults.doomed_group[b, n]
    if s.faults.heals[b] > HEALS_NOT:
        replace_or_wait(s, b, g, now_s, row, tick_end_s)


@inner
def lose_node(s: Any, b: int, n: int, now_s: float, gone_after_s: float, row: int, tick_end_s: float) -> None:
    """Node n dies now, with all that runs on it; its object goes gone_after_s later."""
    s.faults.owed[b, n] = 1 if s.nodes.phase[b, n] != NODE_DRAINING else 0
    if s.nodes.phase[b, n] == NODE_DRAINING:
        s.clock.n_draining[b] -= 1
    elif s.nodes.phase[b, n] == NODE_BOOTING:
        s.clock.n_booting[b] -= 1
    s.nodes.phase[b, n] = NODE_LOST
    s.faults.lost_s[b, n] = now_s
    s.faults.gone_s[b, n] = now_s + gone_after_s
    s.faults.n_lost[b] += 1
    p = s.nodes.first_pod[b, n]
    while p >= 0:
        w = s.pods.workload[b, p]
        if s.pods.phase[b, p] == POD_READY:  # keeps ready_s: it was an endpoint
            s.pods.phase[b, p] = POD_STARTING
            s.flow.n_ready[b, w] -= 1
            s.flow.n_starting[b, w] += 1
            s.flow.ready_pod_s[b, w] -= tick_end_s - now_s
        elif s.pods.phase[b, p] == POD_STARTING:
            stop_starting(s.pods, s.clock, b, p)
        p = s.pods.next_n[b, p]
    if row >= 0:
        s.rows.cluster[b, row, NODES_LOST] += 1.0


@inner
def forget_node(s: Any, b: int, n: int, now_s: float, row: int, tick_end_s: float) -> None:
    """The object of a lost node goes: its pods are deleted at once and replaced."""
    p = s.nodes.first_pod[b, n]
    while p >= 0:
        following = s.pods.next_n[b, p]
        if s.pods.phase[b, p] != POD_TERMINATING:
            terminate_pod(s.pods, s.flow, s.clock, s.service, s.topology, s.nodes, b, p, now_s, tick_end_s)
        finish_pod(s.pods, s.flow, s.clock, s.classes, s.nodes, b, p)
        p = following
    g = s.nodes.group[b, n]
    remove_node(s.nodes, s.clock, b, n, now_s, tick_end_s)
    if s.faults.owed[b, n] > 0 and s.faults.heals[b] > HEALS_NOT:
        replace_or_wait(s, b, g, now_s, row, tick_end_s)
    s.faults.n_lost[b] -= 1
    s.faults.gone_s[b, n] = math.inf
    for w in range(s.flow.spec_replicas.shape[1]):
        if alive(s, b, w) < s.flow.spec_replicas[b, w]:
            reconcile(s, b, w, now_s, row, tick_end_s)


@inner
def replace_or_wait(s: Any, b: int, g: int, now_s: float, row: int, tick_end_s: float) -> None:
    """A replacement now, or, where nothing else would ask for it, once the provider has machines again."""
    if s.faults.blocked[b, g] == 0:
        replace_node(s, b, g, now_s, row, tick_end_s)
    elif s.faults.heals[b] == HEALS_ALWAYS:
        s.faults.missing[b, g] += 1


@inner
def replace_node(s: Any, b: int, g: int, now_s: float, row: int, tick_end_s: float) -> None:
    """The cloud's group starts a machine for one that it lost."""
    if pool_room(s, b, s.groups.pool[b, g]) <= 0:
        return
    if request_node(s.nodes, s.groups, s.clock, s.rng, b, g, now_s, tick_end_s) >= 0 and row >= 0:
        s.rows.cluster[b, row, NODES_ADDED] += 1.0


@inner
def count_dead_endpoints(s: Any, b: int, start_s: float, end_s: float) -> None:
    """Pod-seconds of the tick in which dead pods were still endpoints: until MONITOR_GRACE_S after the loss."""
    if s.faults.n_lost[b] == 0 and s.faults.any_dead[b] == 0:
        return
    s.faults.any_dead[b] = 0
    for w in range(s.faults.dead_pod_s.shape[1]):
        s.faults.dead_pod_s[b, w] = 0.0
        s.faults.dead_share[b, w] = 0.0
    for n in range(s.nodes.hi[b]):
        if s.nodes.phase[b, n] != NODE_LOST:
            continue
        lost_s = s.faults.lost_s[b, n]
        overlap_s = min(end_s, lost_s + MONITOR_GRACE_S) - max(start_s, lost_s)
        p = s.nodes.first_pod[b, n] if overlap_s > 0.0 else -1
        while p >= 0:
            if s.pods.phase[b, p] == POD_STARTING and s.pods.ready_s[b, p] <= lost_s:
                w = s.pods.workload[b, p]
                s.faults.dead_pod_s[b, w] += overlap_s
                s.faults.dead_share[b, w] = max(s.faults.dead_share[b, w], overlap_s / (end_s - start_s))
                s.faults.any_dead[b] = 1
            p = s.pods.next_n[b, p]


@inner
def start_crash_loop(s: Any, b: int, w: int, share: float, until_s: float, now_s: float, tick_end_s: float) -> None:
    """From now on ceil(share x pods) of the ready pods of workload w crash, the newest first; then each new one may."""
    s.faults.crash_share[b, w] = share
    s.faults.crash_until_s[b, w] = until_s
    seen = 0
    p = s.pods.first_of[b, w]
    while p >= 0:
        if s.pods.phase[b, p] == POD_READY:
            if math.ceil((seen + 1) * share - 1e-9) > math.ceil(seen * share - 1e-9):
                s.flow.n_ready[b, w] -= 1
                s.flow.n_starting[b, w] += 1
                s.flow.ready_pod_s[b, w] -= tick_end_s - now_s
                start_again(s.pods, s.clock, b, p, after_crashes(s, b, w, now_s))
            seen += 1
        p = s.pods.next_w[b, p]


@inner
def crashes_now(s: Any, b: int, p: int, now_s: float) -> bool:
    """Whether a pod that is about to be ready crashes instead: a share of the workload's pods, by slot and birth."""
    w = s.pods.workload[b, p]
    if now_s >= s.faults.crash_until_s[b, w]:
        return False
    h = (p * 2654435761 + int(s.pods.created_s[b, p] * 1000.0) * 69069 + 12345) % 4294967296
    h = (h * 1664525 + 1013904223) % 4294967296
    return (h + 0.5) / 4294967296.0 < s.faults.crash_share[b, w]


@inner
def after_crashes(s: Any, b: int, w: int, crash_s: float) -> float:
    """When a pod of workload w that crashed at crash_s is ready at last.

    It is started again after 10, 20, 40 ... 300 s, and crashes at once while the fault lasts; the first start after
    its end takes the usual start delay.
    """
    start_s, wait_s = crash_s + FIRST_BACKOFF_S, FIRST_BACKOFF_S
    while start_s < s.faults.crash_until_s[b, w]:
        wait_s = min(2.0 * wait_s, MAX_BACKOFF_S)
        start_s += wait_s
    return start_s + lognormal(s.rng, b, RNG_FAULT, s.service.start_mean_s[b, w], s.service.start_cv[b, w])
