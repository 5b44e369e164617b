"""Whether a pod may go on a node, and the bookkeeping of putting it there. Compiled.

The hard filters of kube-scheduler 1.36: group tables (selector, affinity, taints), resources, hard
topology spread, required pod anti-affinity both ways, required pod affinity. The scheduler and
the Cluster Autoscaler's simulations call the same kernels on the same arrays.

Which nodes there are. Slots 0 .. nodes.hi[b]-1 are looked at. NODE_READY takes pods and is a
topology domain; NODE_DRAINING (cordoned, or a ghost whose removal is being simulated) takes none
but still is a domain and its pods still count; NODE_FREE and NODE_BOOTING are not there at all. A
simulated new node is a slot with its group, its `used` (the group's daemons) and NODE_READY.

Two steps, as in the scheduler itself. `measure(...)` once for each pod: O(N) if its class has a
hard spread constraint or required affinity, a few loads otherwise. Then `fits(...)` for each node
tried: resources only for a class without terms. Measure again after any bind or node change.

pods_of and dom_pods count what spread and affinity see. The scheduler's spread counts leave out
pods that are being deleted: call `count_pod(..., -1)` when a pod's deletion starts and
`reserve(..., -1)` when it is gone; `unbind` does both at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.sim.jit import inner
from envs.sim.state import BOOL, HOSTNAME, I1, I8, NODE_DRAINING, NODE_READY, Classes, Topology

# bits of FitScratch.terms: what else than resources a class has to be checked for
HARD_SPREAD, ANTI_AFFINITY, AFFINITY, SOFT_SPREAD = 1, 2, 4, 8


class FitScratch(NamedTuple):
    """What `measure` found for the pod in hand. Written and read per cluster b."""

    terms: I1  # (B,) bits of the class
    dom_count: I8  # (B, K, D) matching pods in a domain, -1 = no eligible node there (not for hostname)
    low: I8  # (B, K) the global minimum; 0 when there are fewer domains than min_domains
    first_of_kind: BOOL  # (B,) no pod anywhere matches the required affinity, and the pod itself does


def fit_scratch(classes: Classes, topology: Topology) -> FitScratch:
    """Room for `measure`, once for a batch."""
    b, _, k = classes.spread_key.shape
    d = topology.dom_pods.shape[2]
    return FitScratch(
        terms=np.zeros(b, np.int8),
        dom_count=np.full((b, k, d), -1, np.int64),
        low=np.zeros((b, k), np.int64),
        first_of_kind=np.zeros(b, np.bool_),
    )


@inner
def class_terms(
    spread_key: Any, spread_hard: Any, anti_key: Any, ranti_key: Any, aff_key: Any, b: int, w: int
) -> int:
    """Bits HARD_SPREAD | ANTI_AFFINITY | AFFINITY | SOFT_SPREAD that class w needs."""
    bits = 0
    for k in range(spread_key.shape[2]):
        if spread_key[b, w, k] >= 0:
            bits |= HARD_SPREAD if spread_hard[b, w, k] else SOFT_SPREAD
    for a in range(anti_key.shape[2]):
        if anti_key[b, w, a] >= 0:
            bits |= ANTI_AFFINITY
    for a in range(ranti_key.shape[2]):
        if ranti_key[b, w, a] >= 0:
            bits |= ANTI_AFFINITY
    for a in range(aff_key.shape[2]):
        if aff_key[b, w, a] >= 0:
            bits |= AFFINITY
    return bits


@inner
def matching_on_node(sel_start: Any, sel_item: Any, pods_of: Any, b: int, s: int, n: int) -> int:
    """Counted pods on node n of the classes that selector s matches."""
    total = 0
    for i in range(sel_start[b, s], sel_start[b, s + 1]):
        total += pods_of[b, sel_item[b, i], n]
    return total


@inner
def matching_in_domain(sel_start: Any, sel_item: Any, dom_pods: Any, b: int, s: int, t: int, d: int) -> int:
    """Counted pods in domain d of key t (not the hostname) of the classes that selector s matches."""
    total = 0
    for i in range(sel_start[b, s], sel_start[b, s + 1]):
        total += dom_pods[b, t, d, sel_item[b, i]]
    return total


@inner
def has_spread_keys(
    spread_key: Any, spread_hard: Any, group_domain: Any, b: int, w: int, g: int, hard: bool
) -> bool:
    """Whether nodes of group g carry every key of class w's hard (or soft) constraints."""
    for k in range(spread_key.shape[2]):
        t = spread_key[b, w, k]
        if t < 0 or spread_hard[b, w, k] != hard:
            continue
        if group_domain[b, g, t] < (0 if t > HOSTNAME else -1):
            return False
    return True


@inner
def passes_inclusion(spread_elig: Any, affinity_ok: Any, b: int, w: int, k: int, g: int) -> bool:
    """Whether the node inclusion policies of constraint k of class w let it count group g's nodes."""
    return spread_elig[b, w, k, g] if spread_elig.shape[0] > 0 else affinity_ok[b, w, g]


@inner
def measure(classes: Any, topology: Any, nodes: Any, b: int, w: int, scratch: Any) -> None:
    """Fill scratch for a pod of class w: its terms, the spread minimum and counts per domain.

    Minimum over the domains that have an eligible node of the matching pods on eligible nodes.
    """
    bits = class_terms(
        classes.spread_key, classes.spread_hard, classes.anti_key, classes.ranti_key, classes.aff_key, b, w
    )
    scratch.terms[b] = bits
    if bits & HARD_SPREAD:
        for k in range(classes.spread_key.shape[2]):
            if classes.spread_key[b, w, k] >= 0 and classes.spread_hard[b, w, k]:
                _measure_spread(classes, topology, nodes, b, w, k, scratch)
    if bits & AFFINITY:
        scratch.first_of_kind[b] = _first_of_kind(classes, topology, nodes, b, w)


@inner
def _counted(classes: Any, topology: Any, b: int, w: int, k: int, g: int) -> bool:
    """Whether hard constraint k counts the nodes of group g: all hard keys there, policies passed."""
    keys = has_spread_keys(classes.spread_key, classes.spread_hard, topology.group_domain, b, w, g, True)
    return keys and passes_inclusion(classes.spread_elig, classes.affinity_ok, b, w, k, g)


@inner
def _measure_spread(classes: Any, topology: Any, nodes: Any, b: int, w: int, k: int, scratch: Any) -> None:
    t, s = classes.spread_key[b, w, k], classes.spread_sel[b, w, k]
    count = scratch.dom_count[b, k]
    for d in range(count.shape[0]):
        count[d] = -1
    low, domains, last_group, counted = np.int64(-1), 0, -1, False
    for n in range(nodes.hi[b]):
        phase = nodes.phase[b, n]
        if phase not in (NODE_READY, NODE_DRAINING):
            continue
        g = nodes.group[b, n]
        if g != last_group:
            last_group = g
            counted = _counted(classes, topology, b, w, k, g)
        if not counted:
            continue
        c = matching_on_node(topology.sel_start, topology.sel_item, nodes.pods_of, b, s, n)
        if t == HOSTNAME:
            domains += 1
            low = c if low < 0 else min(low, c)
        else:
            d = topology.group_domain[b, g, t]
            count[d] = c if count[d] < 0 else count[d] + c
    if t != HOSTNAME:
        for d in range(count.shape[0]):
            if count[d] >= 0:
                domains += 1
                low = count[d] if low < 0 else min(low, count[d])
    scratch.low[b, k] = low if domains >= classes.spread_min_domains[b, w, k] and low > 0 else 0


@inner
def _first_of_kind(classes: Any, topology: Any, nodes: Any, b: int, w: int) -> bool:
    """The first pod of a group with affinity to itself may go anywhere that has the keys."""
    for a in range(classes.aff_key.shape[2]):
        t, s = classes.aff_key[b, w, a], classes.aff_sel[b, w, a]
        if t < 0:
            continue
        if not classes.aff_self[b, w, a]:
            return False
        if t == HOSTNAME:
            for n in range(nodes.hi[b]):
                if matching_on_node(topology.sel_start, topology.sel_item, nodes.pods_of, b, s, n) > 0:
                    return False
        else:
            for d in range(topology.dom_pods.shape[2]):
                if (
                    matching_in_domain(topology.sel_start, topology.sel_item, topology.dom_pods, b, s, t, d)
                    > 0
                ):
                    return False
    return True


@inner
def resources_fit(req: Any, alloc: Any, used: Any, b: int, w: int, g: int, n: int) -> bool:
    """Whether requests of class w fit on node n of group g, pod count and extended resources too.

    A resource that is not asked for is not checked, even on a node that is over it.
    """
    for r in range(req.shape[2]):
        asked = req[b, w, r]
        if asked > 0 and used[b, n, r] + asked > alloc[b, g, r]:
            return False
    return True


@inner
def spread_ok(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int, scratch: Any) -> bool:
    """Hard topology spread: matching + self - minimum <= maxSkew for each constraint. After `measure`."""
    g = nodes.group[b, n]
    for k in range(classes.spread_key.shape[2]):
        t = classes.spread_key[b, w, k]
        if t < 0 or not classes.spread_hard[b, w, k]:
            continue
        if t == HOSTNAME:
            if topology.group_domain[b, g, t] < -1:
                return False
            counted = _counted(classes, topology, b, w, k, g)
            here = (
                matching_on_node(
                    topology.sel_start, topology.sel_item, nodes.pods_of, b, classes.spread_sel[b, w, k], n
                )
                if counted
                else 0
            )
        else:
            d = topology.group_domain[b, g, t]
            if d < 0:
                return False
            here = max(scratch.dom_count[b, k, d], 0)
        own = 1 if classes.spread_self[b, w, k] else 0
        if here + own - scratch.low[b, k] > classes.spread_skew[b, w, k]:
            return False
    return True


@inner
def _matching_near(topology: Any, nodes: Any, b: int, s: int, t: int, n: int) -> int:
    """Matching pods in node n's domain of key t; -1 when the node lacks the key."""
    if t == HOSTNAME:
        return matching_on_node(topology.sel_start, topology.sel_item, nodes.pods_of, b, s, n)
    d = topology.group_domain[b, nodes.group[b, n], t]
    return (
        matching_in_domain(topology.sel_start, topology.sel_item, topology.dom_pods, b, s, t, d)
        if d >= 0
        else -1
    )


@inner
def anti_affinity_ok(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int) -> bool:
    """Required anti-affinity both ways: the pod's own terms, and those of the pods already there."""
    for a in range(classes.anti_key.shape[2]):
        t = classes.anti_key[b, w, a]
        if t >= 0 and _matching_near(topology, nodes, b, classes.anti_sel[b, w, a], t, n) > 0:
            return False
    for a in range(classes.ranti_key.shape[2]):
        t = classes.ranti_key[b, w, a]
        if t >= 0 and _matching_near(topology, nodes, b, classes.ranti_sel[b, w, a], t, n) > 0:
            return False
    return True


@inner
def affinity_ok(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int, scratch: Any) -> bool:
    """Required pod affinity: a match in the node's domain for every term. After `measure`.

    The node must carry every key, even for the first pod of its kind. aff_sel selects the classes
    that match all of the pod's terms.
    """
    for a in range(classes.aff_key.shape[2]):
        t = classes.aff_key[b, w, a]
        if t < 0:
            continue
        near = _matching_near(topology, nodes, b, classes.aff_sel[b, w, a], t, n)
        if near < 0 or (near == 0 and not scratch.first_of_kind[b]):
            return False
    return True


@inner
def terms_ok(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int, scratch: Any) -> bool:
    """Spread, anti-affinity and affinity of class w on node n. After `measure`."""
    bits = scratch.terms[b]
    if bits & HARD_SPREAD and not spread_ok(classes, topology, nodes, b, w, n, scratch):
        return False
    if bits & ANTI_AFFINITY and not anti_affinity_ok(classes, topology, nodes, b, w, n):
        return False
    return not bits & AFFINITY or affinity_ok(classes, topology, nodes, b, w, n, scratch)


@inner
def fits(classes: Any, topology: Any, groups: Any, nodes: Any, b: int, w: int, n: int, scratch: Any) -> bool:
    """Whether a pod of class w may be bound to node n: all hard filters. After `measure` for class w."""
    if nodes.phase[b, n] != NODE_READY:
        return False
    g = nodes.group[b, n]
    if not classes.fits_group[b, w, g] or not resources_fit(
        classes.req, groups.alloc, nodes.used, b, w, g, n
    ):
        return False
    if not scratch.terms[b] & (HARD_SPREAD | ANTI_AFFINITY | AFFINITY):
        return True
    return terms_ok(classes, topology, nodes, b, w, n, scratch)


@inner
def reserve(classes: Any, nodes: Any, b: int, w: int, n: int, delta: int) -> None:
    """Add (delta 1) or give back (-1) the requests of one pod of class w on node n."""
    for r in range(classes.req.shape[2]):
        nodes.used[b, n, r] += delta * classes.req[b, w, r]
    for r in range(2):
        nodes.score_used[b, n, r] += delta * classes.score_req[b, w, r]
    nodes.n_pods[b, n] += delta


@inner
def count_pod(topology: Any, nodes: Any, b: int, w: int, n: int, delta: int) -> None:
    """Let one pod of class w on node n count (delta 1), or no longer (-1), for spread and affinity."""
    nodes.pods_of[b, w, n] += delta
    g = nodes.group[b, n]
    for t in range(1, topology.group_domain.shape[2]):
        d = topology.group_domain[b, g, t]
        if d >= 0:
            topology.dom_pods[b, t, d, w] += delta


@inner
def bind(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int) -> None:
    """Put one pod of class w on node n: used, score_used, n_pods, pods_of, dom_pods."""
    reserve(classes, nodes, b, w, n, 1)
    count_pod(topology, nodes, b, w, n, 1)


@inner
def unbind(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int) -> None:
    """Undo `bind` at once, for a pod whose deletion was not announced with `count_pod(..., -1)`."""
    reserve(classes, nodes, b, w, n, -1)
    count_pod(topology, nodes, b, w, n, -1)
