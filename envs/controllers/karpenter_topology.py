"""How Karpenter reads a pod's topology: spread, anti-affinity, affinity, on claims that are still open.

A claim holds, for each topology key, the domains that it may end up in. A spread constraint narrows them
to the one with fewest pods, anti-affinity to those without any, affinity to those with some. Pods count in
a domain once their claim can only end up there; for anti-affinity they count wherever they might.
Rules followed: kubernetes-sigs/karpenter v1.14 pkg/controllers/provisioning/scheduling (topology).
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_layout import (
    AFFINITY,
    N_CLAIMS,
    NO_TERM,
    SPREAD,
    U_KEY,
    U_KIND,
    U_MIN,
    U_SELECTOR,
    U_SELF,
    U_SKEW,
    U_UNTIL,
)
from envs.controllers.placement import matching_in_domain, matching_on_node
from envs.sim.jit import inner
from envs.sim.state import HOSTNAME

FAR = 1 << 40


@inner
def in_domain(topology: Any, b: int, s: int, t: int, d: int) -> int:
    """Pods that selector s matches and that are known to be in domain d of key t."""
    return matching_in_domain(topology.sel_start, topology.sel_item, topology.dom_pods, b, s, t, d)


@inner
def maybe_in_domain(topology: Any, extra: Any, b: int, s: int, t: int, d: int) -> int:
    """Likewise, with those that may end up there."""
    total = in_domain(topology, b, s, t, d)
    for i in range(topology.sel_start[b, s], topology.sel_start[b, s + 1]):
        total += extra[b, t, d, topology.sel_item[b, i]]
    return total


@inner
def on_claim(topology: Any, pods: Any, b: int, s: int, c: int) -> int:
    """Pods on claim c that selector s matches."""
    total = 0
    for i in range(topology.sel_start[b, s], topology.sel_start[b, s + 1]):
        total += pods[b, c, topology.sel_item[b, i]]
    return total


@inner
def on_any_host(topology: Any, nodes: Any, solve: Any, b: int, s: int) -> int:
    """Pods anywhere that selector s matches."""
    total = 0
    for n in range(nodes.hi[b]):
        total += matching_on_node(topology.sel_start, topology.sel_item, nodes.pods_of, b, s, n)
    for c in range(solve.at[b, N_CLAIMS]):
        total += on_claim(topology, solve.pods, b, s, c)
    return total


@inner
def host_allows(config: Any, topology: Any, nodes: Any, solve: Any, b: int, w: int, step: int, here: Any) -> bool:
    """Whether the hostname terms of class w allow a place. here = (node slot or -1, claim or -1 = a new one).

    For spread, the least loaded host counts as empty: one can always be added.
    """
    for u in range(config.term.shape[2]):
        term = config.term[b, w, u]
        if term[U_KIND] == NO_TERM or term[U_KEY] != HOSTNAME or step >= term[U_UNTIL]:
            continue
        count, s = 0, term[U_SELECTOR]
        if here[0] >= 0:
            count = matching_on_node(topology.sel_start, topology.sel_item, nodes.pods_of, b, s, here[0])
        elif here[1] >= 0:
            count = on_claim(topology, solve.pods, b, s, here[1])
        if term[U_KIND] == SPREAD:
            if count + term[U_SELF] > term[U_SKEW]:
                return False
        elif term[U_KIND] == AFFINITY:
            if count == 0 and (term[U_SELF] == 0 or on_any_host(topology, nodes, solve, b, s) > 0):
                return False
        elif count > 0:
            return False
    return True


@inner
def spread_domain(config: Any, topology: Any, b: int, w: int, term: Any, allowed: Any) -> int:
    """The allowed domain with fewest pods that keeps the skew, -1 = none. allowed: (D,)."""
    t, s = term[U_KEY], term[U_SELECTOR]
    low, domains = FAR, 0
    for d in range(allowed.shape[0]):
        if config.known[b, t, d] and config.pod_domain[b, w, t, d]:
            domains += 1
            low = min(low, in_domain(topology, b, s, t, d))
    if domains < term[U_MIN]:
        low = 0
    best, fewest = -1, FAR
    for d in range(allowed.shape[0]):
        if allowed[d] and config.known[b, t, d]:
            count = in_domain(topology, b, s, t, d) + term[U_SELF]
            if count - low <= term[U_SKEW] and count < fewest:
                best, fewest = d, count
    return best


@inner
def affinity_domains(config: Any, topology: Any, b: int, w: int, term: Any, allowed: Any, out: Any) -> bool:
    """Cut out[d] to domains that hold a matching pod; when none does and the pod matches, to the first allowed."""
    t, s = term[U_KEY], term[U_SELECTOR]
    found, anywhere = False, False
    for d in range(allowed.shape[0]):
        some = config.known[b, t, d] and in_domain(topology, b, s, t, d) > 0
        anywhere = anywhere or (some and config.pod_domain[b, w, t, d])
        found = found or (some and allowed[d])
    if not found and (anywhere or term[U_SELF] == 0):
        return False
    first = not found
    for d in range(allowed.shape[0]):
        ok = allowed[d] and config.known[b, t, d]
        if found:
            ok = ok and in_domain(topology, b, s, t, d) > 0
        else:
            ok = ok and first
            first = first and not ok
        out[d] = out[d] and ok
    return True


@inner
def narrow(config: Any, topology: Any, solve: Any, b: int, w: int, step: int) -> bool:
    """Cut try_domain[0] to what class w allows, from what its place allows (the same on entry).

    try_domain[1] is a copy that every term is judged against. False when a term leaves nothing.
    """
    domain, place, asks = solve.try_domain[b, 0], solve.try_domain[b, 1], solve.try_asks[b]
    for t in range(1, domain.shape[0]):
        asks[t] = asks[t] or config.pod_asks[b, w, t]
        for d in range(domain.shape[1]):
            domain[t, d] = domain[t, d] and config.pod_domain[b, w, t, d]
            place[t, d] = domain[t, d]
    for u in range(config.term.shape[2]):
        term = config.term[b, w, u]
        t = term[U_KEY]
        if term[U_KIND] == NO_TERM or t == HOSTNAME or step >= term[U_UNTIL]:
            continue
        if term[U_KIND] == SPREAD:
            best = spread_domain(config, topology, b, w, term, place[t])
            for d in range(domain.shape[1]):
                domain[t, d] = domain[t, d] and d == best
        elif term[U_KIND] == AFFINITY:
            if not affinity_domains(config, topology, b, w, term, place[t], domain[t]):
                return False
        else:
            for d in range(domain.shape[1]):
                free = maybe_in_domain(topology, solve.extra, b, term[U_SELECTOR], t, d) == 0
                domain[t, d] = domain[t, d] and config.known[b, t, d] and free
        asks[t] = True
        if not any_of(domain[t]):
            return False
    return True


@inner
def any_of(row: Any) -> bool:
    found = False
    for d in range(row.shape[0]):
        found = found or row[d]
    return found
