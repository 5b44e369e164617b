"""Score plugins of kube-scheduler 1.36 with its integer arithmetic, every score 0-100. Compiled.

NodeResourcesFit (three strategies), BalancedAllocation, PodTopologySpread (ScheduleAnyway),
TaintToleration and NodeAffinity. `profile` is `scheduler.ProfileArrays`, `scratch` is
`scheduler.SchedulerScratch`; both are packed there.
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.placement import (
    has_spread_keys,
    matching_in_domain,
    matching_on_node,
    passes_inclusion,
)
from envs.sim.jit import inner
from envs.sim.state import HOSTNAME, MEM, NODE_DRAINING, NODE_READY

LEAST_ALLOCATED, MOST_ALLOCATED, CAPACITY_RATIO = 0, 1, 2
MAX_SCORE = 100
_EXACT = 2**53


@inner
def hundredths(part: int, whole: int) -> int:
    """floor(100 * part / whole) for part >= 0, whole > 0.

    One float division where it is exact: floor(fl(x / y)) = floor(x / y) while x + y < 2**53,
    because x / y then stays further below the next whole number than rounding reaches.
    """
    x = part * MAX_SCORE
    if x + whole < _EXACT:
        return int(float(x) / float(whole))
    return x // whole


@inner
def round_half_up(x: float) -> int:
    """Nearest whole number of x >= 0, halves up."""
    low = math.floor(x)
    return int(low) + (1 if x - low >= 0.5 else 0)


@inner
def broken_line(x: Any, y: Any, points: int, b: int, utilization: int) -> int:
    """Score (0-100) of a utilization percent on the shape x, y; slopes truncate toward zero."""
    for i in range(points):
        if utilization <= x[b, i]:
            if i == 0:
                return y[b, 0]
            rise = (y[b, i] - y[b, i - 1]) * (utilization - x[b, i - 1])
            step = abs(rise) // (x[b, i] - x[b, i - 1])
            return y[b, i - 1] + (step if rise >= 0 else -step)
    return y[b, points - 1]


@inner
def fit_score(classes: Any, groups: Any, nodes: Any, profile: Any, b: int, w: int, g: int, n: int) -> int:
    """NodeResourcesFit: weighted mean over the profile's resources of the score after placing the pod.

    CPU and memory count with the non-zero defaults for missing requests. An extended resource that
    the pod does not ask for is left out, and so is one that the node does not have;
    RequestedToCapacityRatio also leaves out resources that score 0, and rounds to nearest.
    """
    total, weights, strategy = 0, 0, profile.strategy[b]
    for q in range(profile.fit_resource.shape[1]):
        r = profile.fit_resource[b, q]
        if r < 0:
            break
        if r <= MEM:
            used = nodes.score_used[b, n, r] + classes.score_req[b, w, r]
        elif classes.req[b, w, r] == 0:
            continue
        else:
            used = nodes.used[b, n, r] + classes.req[b, w, r]
        alloc = groups.alloc[b, g, r]
        if alloc == 0:
            continue
        if strategy == LEAST_ALLOCATED:
            score = hundredths(max(alloc - used, 0), alloc)
        else:
            score = hundredths(min(used, alloc), alloc)
        if strategy == CAPACITY_RATIO:
            score = broken_line(profile.shape_x, profile.shape_y, profile.n_shape[b], b, score)
        if strategy != CAPACITY_RATIO or score > 0:
            total += score * profile.fit_resource_weight[b, q]
            weights += profile.fit_resource_weight[b, q]
    if weights == 0:
        return 0
    if strategy == CAPACITY_RATIO:
        return round_half_up(float(total) / float(weights))
    return int(float(total) / float(weights))


@inner
def is_best_effort(resource: Any, req: Any, b: int, w: int) -> bool:
    """Whether the pod asks for none of the resources that BalancedAllocation looks at: then it is skipped."""
    for q in range(resource.shape[1]):
        r = resource[b, q]
        if r >= 0 and req[b, w, r] > 0:
            return False
    return True


@inner
def balance(resource: Any, req: Any, alloc: Any, used: Any, b: int, w: int, g: int, n: int, pods: int) -> int:
    """trunc(100 (1 - standard deviation of the used shares)) with `pods` pods of class w added.

    A resource that the node does not have, or an extended one that the pod does not ask for, is
    left out; a share is at most 1.
    """
    count, total, squares = 0, 0.0, 0.0
    first, second = 0.0, 0.0
    for sweep in range(2):
        for q in range(resource.shape[1]):
            r = resource[b, q]
            if r < 0 or alloc[b, g, r] == 0 or (r > MEM and req[b, w, r] == 0):
                continue
            x = min(float(used[b, n, r] + pods * req[b, w, r]) / float(alloc[b, g, r]), 1.0)
            if sweep == 0:
                count += 1
                total += x
                first, second = second, x
            else:
                squares += (x - total / count) * (x - total / count)
        if count <= 2:
            break
    deviation = math.sqrt(squares / count) if count > 2 else 0.0
    if count == 2:
        deviation = abs((first - second) / 2.0)
    return int((1.0 - deviation) * MAX_SCORE)


@inner
def balanced_score(resource: Any, req: Any, alloc: Any, used: Any, b: int, w: int, g: int, n: int) -> int:
    """BalancedAllocation since 1.36: the change made, 50 + (50 + after - before) / 2, so neutral is 75."""
    change = 0
    for pods in range(2):
        change = balance(resource, req, alloc, used, b, w, g, n, pods) - change
    return 50 + (50 + change) // 2


@inner
def normalize(raw: Any, present: Any, reverse: bool, out: Any) -> None:
    """The default normalisation over the entries with present > 0: floor(100 raw / max), or 100 minus it.

    When the maximum is 0: all 100 if reverse (taints: fewer is better), else all 0.
    """
    highest = 0
    for i in range(raw.shape[0]):
        if present[i] > 0 and raw[i] > highest:
            highest = raw[i]
    for i in range(raw.shape[0]):
        score = raw[i] * MAX_SCORE // highest if highest > 0 and present[i] > 0 else 0
        out[i] = MAX_SCORE - score if reverse else score


@inner
def count_feasible_groups(nodes: Any, b: int, scratch: Any) -> None:
    """scratch.in_group = how many feasible nodes each group has."""
    for g in range(scratch.in_group.shape[1]):
        scratch.in_group[b, g] = 0
    for i in range(scratch.n_feasible[b]):
        scratch.in_group[b, nodes.group[b, scratch.feasible[b, i]]] += 1


@inner
def _counts_all_groups(classes: Any, topology: Any, b: int, w: int, k: int) -> bool:
    """Whether soft constraint k counts the nodes of every group that has its key."""
    t = classes.spread_key[b, w, k]
    for g in range(topology.group_domain.shape[1]):
        if topology.group_domain[b, g, t] >= 0 and not (
            has_spread_keys(classes.spread_key, classes.spread_hard, topology.group_domain, b, w, g, False)
            and passes_inclusion(classes.spread_elig, classes.affinity_ok, b, w, k, g)
        ):
            return False
    return True


@inner
def _count_domains(classes: Any, topology: Any, nodes: Any, b: int, w: int, k: int, scratch: Any) -> int:
    """Matching pods per domain that has a feasible node, into fit.dom_count; the number of such domains."""
    t, s, size = classes.spread_key[b, w, k], classes.spread_sel[b, w, k], 0
    count = scratch.fit.dom_count[b, k]
    for d in range(count.shape[0]):
        count[d] = -1
    for g in range(scratch.in_group.shape[1]):
        if (
            scratch.in_group[b, g] > 0
            and scratch.has_keys[b, g]
            and count[topology.group_domain[b, g, t]] < 0
        ):
            count[topology.group_domain[b, g, t]] = 0
            size += 1
    if scratch.counts_all[b, w, k] < 0:
        scratch.counts_all[b, w, k] = 1 if _counts_all_groups(classes, topology, b, w, k) else 0
    if scratch.counts_all[b, w, k] > 0:
        for d in range(count.shape[0]):
            if count[d] >= 0:
                count[d] = matching_in_domain(
                    topology.sel_start, topology.sel_item, topology.dom_pods, b, s, t, d
                )
        return size
    for n in range(nodes.hi[b]):
        if nodes.phase[b, n] in (NODE_READY, NODE_DRAINING):
            g = nodes.group[b, n]
            d = topology.group_domain[b, g, t]
            if (
                d >= 0
                and count[d] >= 0
                and has_spread_keys(
                    classes.spread_key, classes.spread_hard, topology.group_domain, b, w, g, False
                )
                and passes_inclusion(classes.spread_elig, classes.affinity_ok, b, w, k, g)
            ):
                count[d] += matching_on_node(topology.sel_start, topology.sel_item, nodes.pods_of, b, s, n)
    return size


@inner
def prepare_spread(classes: Any, topology: Any, nodes: Any, b: int, w: int, scratch: Any) -> None:
    """What the soft constraints of class w give a node, by constraint and group, into scratch.

    weight ln(domains + 2); part = count * weight + maxSkew - 1 (for the hostname only maxSkew - 1:
    counts are per node). After `count_feasible_groups`.
    """
    eligible = 0
    for g in range(scratch.in_group.shape[1]):
        keys = has_spread_keys(classes.spread_key, classes.spread_hard, topology.group_domain, b, w, g, False)
        scratch.has_keys[b, g] = keys
        if keys:
            eligible += scratch.in_group[b, g]
    for k in range(classes.spread_key.shape[2]):
        t = classes.spread_key[b, w, k]
        if t < 0 or classes.spread_hard[b, w, k]:
            continue
        size = eligible if t == HOSTNAME else _count_domains(classes, topology, nodes, b, w, k, scratch)
        weight = math.log(float(size + 2))
        scratch.weight[b, k] = weight
        if t != HOSTNAME:
            for g in range(scratch.in_group.shape[1]):
                if scratch.in_group[b, g] > 0 and scratch.has_keys[b, g]:
                    count = scratch.fit.dom_count[b, k, topology.group_domain[b, g, t]]
                    scratch.part[b, k, g] = float(count) * weight + float(classes.spread_skew[b, w, k] - 1)


@inner
def spread_raw(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int, scratch: Any) -> int:
    """PodTopologySpread before normalising: round(sum of count * weight + maxSkew - 1), smaller is better.

    -1 for a node that lacks one of the keys. After `prepare_spread`.
    """
    g = nodes.group[b, n]
    if not scratch.has_keys[b, g]:
        return -1
    total = 0.0
    for k in range(classes.spread_key.shape[2]):
        t = classes.spread_key[b, w, k]
        if t < 0 or classes.spread_hard[b, w, k]:
            continue
        if t == HOSTNAME:
            count = matching_on_node(
                topology.sel_start, topology.sel_item, nodes.pods_of, b, classes.spread_sel[b, w, k], n
            )
            total += float(count) * scratch.weight[b, k] + float(classes.spread_skew[b, w, k] - 1)
        else:
            total += scratch.part[b, k, g]
    return round_half_up(total)


@inner
def spread_scores(classes: Any, topology: Any, nodes: Any, b: int, w: int, scratch: Any) -> None:
    """Raw and normalised PodTopologySpread scores of the feasible nodes, into spread_raw and spread.

    100 (max + min - raw) / max over the nodes that have the keys, 100 when max is 0; 0 for the others.
    """
    count_feasible_groups(nodes, b, scratch)
    prepare_spread(classes, topology, nodes, b, w, scratch)
    lowest, highest = 2147483647, 0
    for i in range(scratch.n_feasible[b]):
        raw = spread_raw(classes, topology, nodes, b, w, scratch.feasible[b, i], scratch)
        scratch.spread_raw[b, i] = raw
        if raw >= 0:
            lowest, highest = min(lowest, raw), max(highest, raw)
    for i in range(scratch.n_feasible[b]):
        raw = scratch.spread_raw[b, i]
        if raw < 0:
            scratch.spread[b, i] = 0
        elif highest == 0:
            scratch.spread[b, i] = MAX_SCORE
        else:
            scratch.spread[b, i] = hundredths(highest + lowest - raw, highest)
