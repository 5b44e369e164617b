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
HARD_SPREAD, ANTI_AFFINITY, AFFINITY, SOFT_SPREAD, ON_HOST = 1, 2, 4, 8, 16  # ON_HOST: a hostname term


class FitScratch(NamedTuple):
    """What `measure` found for the pod in hand. Written and read per cluster b."""

    terms: I1  # (B,) bits of the class
    dom_count: I8  # (B, K, D) matching pods in a domain, -1 = no eligible node there (not for hostname)
    low: I8  # (B, K) the global minimum; 0 when there are fewer domains than min_domains
    counted: BOOL  # (B, K, G) hard constraint k counts the nodes of group g
    group_ok: BOOL  # (B, G) all that a whole group shares lets the pod on its nodes
    first_of_kind: BOOL  # (B,) no pod anywhere matches the required affinity, and the pod itself does


def fit_scratch(classes: Classes, topology: Topology) -> FitScratch:
    """Room for `measure`, once for a batch."""
    b, _, k = classes.spread_key.shape
    d, g = topology.dom_pods.shape[2], topology.group_domain.shape[1]
    return FitScratch(
        terms=np.zeros(b, np.int8),
        dom_count=np.full((b, k, d), -1, np.int64),
        low=np.zeros((b, k), np.int64),
        counted=np.zeros((b, k, g), np.bool_),
        group_ok=np.zeros((b, g), np.bool_),
        first_of_kind=np.zeros(b, np.bool_),
    )


@inner
def all_plain(plain: Any, b: int) -> bool:
    """Whether no class of cluster b has a term; plain (B, W + 1): which have none, and last, whether all do."""
    return plain[b, plain.shape[1] - 1]


@inner
def class_terms(spread_key: Any, spread_hard: Any, anti_key: Any, ranti_key: Any, aff_key: Any, b: int, w: int) -> int:
    """Bits HARD_SPREAD | ANTI_AFFINITY | AFFINITY | SOFT_SPREAD | ON_HOST that class w needs."""
    bits = 0
    for k in range(spread_key.shape[2]):
        if spread_key[b, w, k] >= 0:
            bits |= HARD_SPREAD if spread_hard[b, w, k] else SOFT_SPREAD
        if spread_key[b, w, k] == HOSTNAME and spread_hard[b, w, k]:
            bits |= ON_HOST
    for a in range(anti_key.shape[2]):
        if anti_key[b, w, a] >= 0 or ranti_key[b, w, a] >= 0:
            bits |= ANTI_AFFINITY
        if anti_key[b, w, a] == HOSTNAME or ranti_key[b, w, a] == HOSTNAME:
            bits |= ON_HOST
    for a in range(aff_key.shape[2]):
        if aff_key[b, w, a] >= 0:
            bits |= AFFINITY
        if aff_key[b, w, a] == HOSTNAME:
            bits |= ON_HOST
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
def has_spread_keys(spread_key: Any, spread_hard: Any, group_domain: Any, b: int, w: int, g: int, hard: bool) -> bool:
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
    """Fill scratch for a pod of class w: its terms, the spread minimum, and what each group allows.

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
    group_ok, fits_group = scratch.group_ok[b], classes.fits_group[b, w]
    for g in range(group_ok.shape[0]):
        group_ok[g] = fits_group[g]
    if bits & (HARD_SPREAD | ANTI_AFFINITY | AFFINITY):
        _measure_groups(classes, topology, b, w, scratch)


@inner
def _measure_groups(classes: Any, topology: Any, b: int, w: int, scratch: Any) -> None:
    """group_ok: spread, anti-affinity and affinity under keys that a whole group shares."""
    key, hard, skew = classes.spread_key[b, w], classes.spread_hard[b, w], classes.spread_skew[b, w]
    own, low, dom_count = classes.spread_self[b, w], scratch.low[b], scratch.dom_count[b]
    anti_key, anti_sel = classes.anti_key[b, w], classes.anti_sel[b, w]
    ranti_key, ranti_sel = classes.ranti_key[b, w], classes.ranti_sel[b, w]
    aff_key, aff_sel, first = classes.aff_key[b, w], classes.aff_sel[b, w], scratch.first_of_kind[b]
    sel_start, sel_item, dom_pods = topology.sel_start, topology.sel_item, topology.dom_pods
    group_domain, group_ok = topology.group_domain[b], scratch.group_ok[b]
    for g in range(group_ok.shape[0]):
        domain, ok = group_domain[g], group_ok[g]
        for k in range(key.shape[0]):
            if key[k] >= 0 and hard[k]:
                d = domain[key[k]]
                if key[k] == HOSTNAME:
                    ok = ok and d >= -1
                else:
                    here = max(dom_count[k, d], 0) if d >= 0 else 0
                    ok = ok and d >= 0 and here + (1 if own[k] else 0) - low[k] <= skew[k]
        for a in range(anti_key.shape[0]):
            t = anti_key[a]
            if ok and t > HOSTNAME and domain[t] >= 0:
                ok = matching_in_domain(sel_start, sel_item, dom_pods, b, anti_sel[a], t, domain[t]) == 0
            t = ranti_key[a]
            if ok and t > HOSTNAME and domain[t] >= 0:
                ok = matching_in_domain(sel_start, sel_item, dom_pods, b, ranti_sel[a], t, domain[t]) == 0
        for a in range(aff_key.shape[0]):
            t = aff_key[a]
            if ok and t > HOSTNAME:
                ok = domain[t] >= 0 and (
                    first or matching_in_domain(sel_start, sel_item, dom_pods, b, aff_sel[a], t, domain[t]) > 0
                )
        group_ok[g] = ok


@inner
def mark_hosts(classes: Any, topology: Any, nodes: Any, b: int, w: int, scratch: Any, out: Any) -> None:
    """out[b, n] = whether class w's hostname terms let it on node n, for all slots. After `measure`."""
    key, hard, skew = classes.spread_key[b, w], classes.spread_hard[b, w], classes.spread_skew[b, w]
    own, low, sel = classes.spread_self[b, w], scratch.low[b], classes.spread_sel[b, w]
    anti_key, anti_sel = classes.anti_key[b, w], classes.anti_sel[b, w]
    ranti_key, ranti_sel = classes.ranti_key[b, w], classes.ranti_sel[b, w]
    aff_key, aff_sel, first = classes.aff_key[b, w], classes.aff_sel[b, w], scratch.first_of_kind[b]
    start, item, pods_of = topology.sel_start, topology.sel_item, nodes.pods_of
    group, counted, ok_of = nodes.group[b], scratch.counted[b], out[b]
    for n in range(nodes.hi[b]):
        ok = group[n] >= 0
        for k in range(key.shape[0]):
            if ok and key[k] == HOSTNAME and hard[k]:
                here = matching_on_node(start, item, pods_of, b, sel[k], n) if counted[k, group[n]] else 0
                ok = here + (1 if own[k] else 0) - low[k] <= skew[k]
        for a in range(anti_key.shape[0]):
            if ok and anti_key[a] == HOSTNAME:
                ok = matching_on_node(start, item, pods_of, b, anti_sel[a], n) == 0
            if ok and ranti_key[a] == HOSTNAME:
                ok = matching_on_node(start, item, pods_of, b, ranti_sel[a], n) == 0
        for a in range(aff_key.shape[0]):
            if ok and aff_key[a] == HOSTNAME and not first:
                ok = matching_on_node(start, item, pods_of, b, aff_sel[a], n) > 0
        ok_of[n] = ok


@inner
def _measure_spread(classes: Any, topology: Any, nodes: Any, b: int, w: int, k: int, scratch: Any) -> None:
    t, s, low, domains = classes.spread_key[b, w, k], classes.spread_sel[b, w, k], -1, 0
    count, counted = scratch.dom_count[b, k], scratch.counted[b, k]
    start, item, pods_of, domain = (
        topology.sel_start,
        topology.sel_item,
        nodes.pods_of,
        topology.group_domain[b],
    )
    phase, group, key, hard = nodes.phase[b], nodes.group[b], classes.spread_key, classes.spread_hard
    spread_elig, affinity = classes.spread_elig, classes.affinity_ok
    for d in range(count.shape[0]):
        count[d] = -1
    for g in range(counted.shape[0]):
        keys = has_spread_keys(key, hard, topology.group_domain, b, w, g, True)
        counted[g] = keys and passes_inclusion(spread_elig, affinity, b, w, k, g)
    for n in range(nodes.hi[b]):
        if phase[n] not in (NODE_READY, NODE_DRAINING) or not counted[group[n]]:
            continue
        c = matching_on_node(start, item, pods_of, b, s, n)
        if t == HOSTNAME:
            domains += 1
            low = c if low < 0 else min(low, c)
        else:
            d = domain[group[n], t]
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
    aff_key, aff_sel, own = classes.aff_key[b, w], classes.aff_sel[b, w], classes.aff_self[b, w]
    start, item, pods_of, dom_pods = topology.sel_start, topology.sel_item, nodes.pods_of, topology.dom_pods
    for a in range(aff_key.shape[0]):
        t, total = aff_key[a], 0
        if t == HOSTNAME:
            for n in range(nodes.hi[b]):
                total += matching_on_node(start, item, pods_of, b, aff_sel[a], n)
        elif t > HOSTNAME:
            for d in range(dom_pods.shape[2]):
                total += matching_in_domain(start, item, dom_pods, b, aff_sel[a], t, d)
        if t >= 0 and (total > 0 or not own[a]):
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
    key, hard, skew = classes.spread_key[b, w], classes.spread_hard[b, w], classes.spread_skew[b, w]
    own, sel, low = classes.spread_self[b, w], classes.spread_sel[b, w], scratch.low[b]
    start, item, pods_of = topology.sel_start, topology.sel_item, nodes.pods_of
    g = nodes.group[b, n]
    domain, counted, dom_count = topology.group_domain[b, g], scratch.counted[b], scratch.dom_count[b]
    for k in range(key.shape[0]):
        if key[k] < 0 or not hard[k]:
            continue
        d, here = domain[key[k]], 0
        if d < (0 if key[k] > HOSTNAME else -1):
            return False
        if key[k] > HOSTNAME:
            here = max(dom_count[k, d], 0)
        elif counted[k, g]:
            here = matching_on_node(start, item, pods_of, b, sel[k], n)
        if here + (1 if own[k] else 0) - low[k] > skew[k]:
            return False
    return True


@inner
def host_affinity_ok(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int, scratch: Any) -> bool:
    """Required anti-affinity (both ways) and affinity under the hostname key. After `measure`."""
    anti_key, anti_sel = classes.anti_key[b, w], classes.anti_sel[b, w]
    ranti_key, ranti_sel = classes.ranti_key[b, w], classes.ranti_sel[b, w]
    aff_key, aff_sel, first = classes.aff_key[b, w], classes.aff_sel[b, w], scratch.first_of_kind[b]
    start, item, pods_of, ok = topology.sel_start, topology.sel_item, nodes.pods_of, True
    for a in range(anti_key.shape[0]):
        if anti_key[a] == HOSTNAME:
            ok = ok and matching_on_node(start, item, pods_of, b, anti_sel[a], n) == 0
        if ranti_key[a] == HOSTNAME:
            ok = ok and matching_on_node(start, item, pods_of, b, ranti_sel[a], n) == 0
    for a in range(aff_key.shape[0]):
        if aff_key[a] == HOSTNAME and not first:
            ok = ok and matching_on_node(start, item, pods_of, b, aff_sel[a], n) > 0
    return ok


@inner
def fits(classes: Any, topology: Any, groups: Any, nodes: Any, b: int, w: int, n: int, scratch: Any) -> bool:
    """Whether a pod of class w may be bound to node n: all hard filters. After `measure` for class w."""
    if nodes.phase[b, n] != NODE_READY or not scratch.group_ok[b, nodes.group[b, n]]:
        return False
    if not resources_fit(classes.req, groups.alloc, nodes.used, b, w, nodes.group[b, n], n):
        return False
    if not scratch.terms[b] & ON_HOST:
        return True
    if scratch.terms[b] & HARD_SPREAD and not spread_ok(classes, topology, nodes, b, w, n, scratch):
        return False
    return host_affinity_ok(classes, topology, nodes, b, w, n, scratch)


@inner
def reserve(classes: Any, nodes: Any, b: int, w: int, n: int, delta: int) -> None:
    """Add (delta 1) or give back (-1) the requests of one pod of class w on node n."""
    req, used, score_req, score_used = classes.req, nodes.used, classes.score_req, nodes.score_used
    for r in range(req.shape[2]):
        used[b, n, r] += delta * req[b, w, r]
    for r in range(2):
        score_used[b, n, r] += delta * score_req[b, w, r]
    nodes.n_pods[b, n] += delta
    nodes.changed_on[b, nodes.changed[b] % nodes.changed_on.shape[1]] = n
    nodes.changed[b] += 1


@inner
def count_pod(topology: Any, nodes: Any, b: int, w: int, n: int, delta: int) -> None:
    """Let one pod of class w on node n count (delta 1), or no longer (-1), for spread and affinity."""
    nodes.pods_of[b, w, n] += delta
    domain, dom_pods = topology.group_domain[b, nodes.group[b, n]], topology.dom_pods
    for t in range(1, domain.shape[0]):
        if domain[t] >= 0:
            dom_pods[b, t, domain[t], w] += delta


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
