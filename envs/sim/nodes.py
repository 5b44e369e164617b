"""Node life: asked for (booting, billed) -> ready -> draining -> removed. Billing per second, 60 s minimum."""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import inner
from envs.sim.random import RNG_BOOT, lognormal
from envs.sim.state import NODE_BOOTING, NODE_DRAINING, NODE_FREE, NODE_READY

MINIMUM_BILLED_S = 60.0


@inner
def request_node(nodes: Any, groups: Any, clock: Any, rng: Any, b: int, g: int, now_s: float, tick_end_s: float) -> int:
    """Ask the provider for a node of group g; it boots after a random delay. Slot, -1 when none is left."""
    if nodes.n_free[b] > 0:
        nodes.n_free[b] -= 1
        n = nodes.free[b, nodes.n_free[b]]
    elif nodes.hi[b] < nodes.phase.shape[1]:
        n = nodes.hi[b]
        nodes.hi[b] += 1
    else:
        clock.overflow[b] += 1
        return -1
    nodes.epoch[b] += 1
    nodes.group[b, n] = g
    nodes.phase[b, n] = NODE_BOOTING
    for r in range(nodes.used.shape[2]):
        nodes.used[b, n, r] = groups.daemon[b, g, r]
    for r in range(2):
        nodes.score_used[b, n, r] = groups.daemon[b, g, r]
    nodes.n_pods[b, n] = 0
    nodes.first_pod[b, n] = -1
    nodes.created_s[b, n] = now_s
    clock.claim_until_s[b, n] = -math.inf
    clock.pod_event_s[b, n] = math.nan
    clock.claim_event_s[b, n] = math.nan
    clock.pods_version[b, n] += 1
    nodes.ready_s[b, n] = now_s + lognormal(rng, b, RNG_BOOT, groups.boot_mean_s[b, g], groups.boot_cv[b, g])
    nodes.ready_s[b, n] += clock.api_delay_s[b]
    clock.live_nodes[b, g] += 1
    clock.node_extra_s[b, g] -= now_s - (tick_end_s - clock.tick_s[b])
    clock.n_booting[b] += 1
    clock.changes[b] += 1
    return n


@inner
def make_node_ready(nodes: Any, clock: Any, b: int, n: int) -> None:
    """A booting node registers; unschedulable pods get another look."""
    nodes.phase[b, n] = NODE_READY
    clock.change_s[b] = max(clock.change_s[b], nodes.ready_s[b, n])
    clock.n_booting[b] -= 1
    clock.changes[b] += 1
    clock.retry[b] = 1


@inner
def start_drain(nodes: Any, clock: Any, b: int, n: int, now_s: float) -> None:
    """Cordon node n; its pods are evicted under their PDBs from now on."""
    nodes.phase[b, n] = NODE_DRAINING
    clock.drain_since_s[b, n] = now_s
    clock.n_draining[b] += 1
    clock.changes[b] += 1


@inner
def stop_drain(nodes: Any, clock: Any, b: int, n: int) -> None:
    """The drain failed: uncordon."""
    nodes.phase[b, n] = NODE_READY
    clock.n_draining[b] -= 1
    clock.changes[b] += 1
    clock.retry[b] = 1


@inner
def remove_node(nodes: Any, clock: Any, b: int, n: int, now_s: float, tick_end_s: float) -> None:
    """Take an empty node out of the cluster and the bill; less than a minute is billed as a minute."""
    g = nodes.group[b, n]
    if nodes.phase[b, n] == NODE_DRAINING:
        clock.n_draining[b] -= 1
    elif nodes.phase[b, n] == NODE_BOOTING:
        clock.n_booting[b] -= 1
    lived = now_s - nodes.created_s[b, n]
    clock.live_nodes[b, g] -= 1
    clock.node_extra_s[b, g] += now_s - (tick_end_s - clock.tick_s[b])
    if lived < MINIMUM_BILLED_S:
        clock.node_extra_s[b, g] += MINIMUM_BILLED_S - lived
    clock.drain_since_s[b, n] = now_s
    clock.change_s[b] = max(clock.change_s[b], now_s)
    clock.changes[b] += 1
    nodes.group[b, n] = -1
    nodes.phase[b, n] = NODE_FREE
    nodes.free[b, nodes.n_free[b]] = n
    nodes.n_free[b] += 1
    nodes.epoch[b] += 1
