"""Score plugins of kube-scheduler 1.36 with its integer arithmetic, every score 0-100. Compiled.

NodeResourcesFit (three strategies), BalancedAllocation, PodTopologySpread (ScheduleAnyway),
TaintToleration and NodeAffinity. `profile` is `scheduler.ProfileArrays`, `scratch` is
`scheduler.SchedulerScratch`; both are packed there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.controllers.placement import (
    matching_in_domain,
    matching_on_node,
    passes_inclusion,
)
from envs.sim.jit import inner
from envs.sim.state import CPU, HOSTNAME, MEM, NODE_DRAINING, NODE_READY

LEAST_ALLOCATED, MOST_ALLOCATED, CAPACITY_RATIO = 0, 1, 2
MAX_SCORE = 100
LACKS_KEY = -1e18  # in a sum of spread parts: the node is not scored
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
def gather_feasible(groups: Any, nodes: Any, b: int, scratch: Any) -> None:
    """Lay out the feasible nodes side by side, so that the loops over them run on vectors.

    group_of, in_group (feasible nodes of a group), and core: allocatable CPU and memory, used, used
    with the scoring defaults. core_ok: every node has both, small enough to be exact as floats.
    """
    in_group, feasible, group, group_of = (
        scratch.in_group[b],
        scratch.feasible[b],
        nodes.group[b],
        scratch.group_of[b],
    )
    alloc, used, score_used, core = groups.alloc[b], nodes.used[b], nodes.score_used[b], scratch.core[b]
    for g in range(in_group.shape[0]):
        in_group[g] = 0
    for i in range(scratch.n_feasible[b]):
        n = np.uint64(feasible[i])  # unsigned: no check for an index from the end
        shape = np.uint64(group[n])
        group_of[i] = shape
        in_group[shape] += 1
        for r in range(2):
            core[r, i] = float(alloc[shape, r])
            core[2 + r, i] = float(used[n, r])
            core[4 + r, i] = float(score_used[n, r])
    ok = True
    for g in range(in_group.shape[0]):
        for r in range(2):
            ok = ok and (in_group[g] == 0 or 0 < alloc[g, r] < _EXACT // 128)
    scratch.core_ok[b] = ok


@inner
def is_core(resource: Any) -> bool:
    """Whether a plugin looks at CPU and memory alone, as by default."""
    return resource.shape[0] == 2 and resource[0] == CPU and resource[1] == MEM


@inner
def _fit_core(core: Any, request: Any, weight: Any, least: bool, found: int, out: Any) -> None:
    """Least- or MostAllocated over CPU and memory alone; floats hold every whole number here exactly."""
    cpu, mem, used_cpu, used_mem = core[0], core[1], core[4], core[5]
    ask_cpu, ask_mem = float(request[CPU]), float(request[MEM])
    by_cpu, by_mem = float(weight[0]), float(weight[1])
    weights = max(by_cpu + by_mem, 1.0)
    if least and by_cpu == 1.0 and by_mem == 1.0:  # the default, in two divisions: halving is exact
        for i in range(found):
            x = cpu[i] - min(used_cpu[i] + ask_cpu, cpu[i])
            y = mem[i] - min(used_mem[i] + ask_mem, mem[i])
            out[i] = int(0.5 * (math.floor(MAX_SCORE * x / cpu[i]) + math.floor(MAX_SCORE * y / mem[i])))
        return
    for i in range(found):
        x, y = min(used_cpu[i] + ask_cpu, cpu[i]), min(used_mem[i] + ask_mem, mem[i])
        if least:
            x, y = cpu[i] - x, mem[i] - y
        x, y = math.floor(MAX_SCORE * x / cpu[i]), math.floor(MAX_SCORE * y / mem[i])
        out[i] = int((x * by_cpu + y * by_mem) / weights)


@inner
def _balanced_core(core: Any, request: Any, found: int, out: Any) -> None:
    """BalancedAllocation over CPU and memory alone: the deviation of two shares is half their distance."""
    cpu, mem, used_cpu, used_mem = core[0], core[1], core[2], core[3]
    ask_cpu, ask_mem = float(request[CPU]), float(request[MEM])
    for i in range(found):
        gap = min(used_cpu[i] / cpu[i], 1.0) - min(used_mem[i] / mem[i], 1.0)
        before = int((1.0 - abs(gap / 2.0)) * MAX_SCORE)
        gap = min((used_cpu[i] + ask_cpu) / cpu[i], 1.0) - min((used_mem[i] + ask_mem) / mem[i], 1.0)
        out[i] = 50 + ((50 + int((1.0 - abs(gap / 2.0)) * MAX_SCORE) - before) >> 1)


@inner
def fit_scores(classes: Any, groups: Any, nodes: Any, profile: Any, b: int, w: int, scratch: Any) -> None:
    """NodeResourcesFit of each feasible node into scratch.fit_score: weighted mean over resources.

    Of the use after placing the pod. CPU and memory count with the non-zero defaults for missing
    requests. An extended resource that the pod does not ask for is left out, and so is one that the
    node does not have; RequestedToCapacityRatio also leaves out what scores 0, and rounds to nearest.
    """
    strategy, resource, weight = profile.strategy[b], profile.fit_resource[b], profile.fit_resource_weight[b]
    shape_x, shape_y, points = profile.shape_x, profile.shape_y, profile.n_shape[b]
    req, score_req, alloc = classes.req[b, w], classes.score_req[b, w], groups.alloc[b]
    used, score_used, group_of = nodes.used[b], nodes.score_used[b], scratch.group_of[b]
    feasible, out = scratch.feasible[b], scratch.fit_score[b]
    if strategy != CAPACITY_RATIO and is_core(resource) and scratch.core_ok[b]:
        _fit_core(scratch.core[b], score_req, weight, strategy == LEAST_ALLOCATED, scratch.n_feasible[b], out)
        return
    for i in range(scratch.n_feasible[b]):
        n, g, total, weights = feasible[i], group_of[i], 0, 0
        for q in range(resource.shape[0]):
            r = resource[q]
            if r < 0 or alloc[g, r] == 0 or (r > MEM and req[r] == 0):
                continue
            have = alloc[g, r]
            want = score_used[n, r] + score_req[r] if r <= MEM else used[n, r] + req[r]
            if strategy == LEAST_ALLOCATED:
                score = hundredths(max(have - want, 0), have)
            else:
                score = hundredths(min(want, have), have)
            if strategy == CAPACITY_RATIO:
                score = broken_line(shape_x, shape_y, points, b, score)
            if strategy != CAPACITY_RATIO or score > 0:
                total += score * weight[q]
                weights += weight[q]
        mean = float(total) / float(max(weights, 1))
        out[i] = round_half_up(mean) if strategy == CAPACITY_RATIO else int(mean)


@inner
def is_best_effort(resource: Any, req: Any, b: int, w: int) -> bool:
    """Whether the pod asks for none of the resources that BalancedAllocation looks at: then it is skipped."""
    for q in range(resource.shape[1]):
        r = resource[b, q]
        if r >= 0 and req[b, w, r] > 0:
            return False
    return True


@inner
def balance(resource: Any, req: Any, alloc: Any, used: Any, g: int, n: int, pods: int) -> int:
    """trunc(100 (1 - standard deviation of the used shares)) with `pods` more pods on node n of group g.

    A resource that the node does not have, or an extended one that the pod does not ask for, is
    left out; a share is at most 1.
    """
    count, total, first, second = 0, 0.0, 0.0, 0.0
    for q in range(resource.shape[0]):
        r = resource[q]
        if r >= 0 and alloc[g, r] > 0 and (r <= MEM or req[r] > 0):
            x = min(float(used[n, r] + pods * req[r]) / float(alloc[g, r]), 1.0)
            count += 1
            total += x
            first, second = second, x
    if count == 2:
        return int((1.0 - abs((first - second) / 2.0)) * MAX_SCORE)
    if count < 2:
        return MAX_SCORE
    squares = 0.0
    for q in range(resource.shape[0]):
        r = resource[q]
        if r >= 0 and alloc[g, r] > 0 and (r <= MEM or req[r] > 0):
            x = min(float(used[n, r] + pods * req[r]) / float(alloc[g, r]), 1.0)
            squares += (x - total / count) * (x - total / count)
    return int((1.0 - math.sqrt(squares / count)) * MAX_SCORE)


@inner
def balanced_scores(classes: Any, groups: Any, nodes: Any, profile: Any, b: int, w: int, scratch: Any) -> None:
    """BalancedAllocation of each feasible node into scratch.balanced.

    Since 1.36 it is the change that the pod makes: 50 + (50 + after - before) / 2, so neutral is 75.
    0 for a pod without requests, for which the plugin is skipped.
    """
    feasible, group_of, out = scratch.feasible[b], scratch.group_of[b], scratch.balanced[b]
    resource, req, alloc, used = (
        profile.balanced_resource[b],
        classes.req[b, w],
        groups.alloc[b],
        nodes.used[b],
    )
    skipped = is_best_effort(profile.balanced_resource, classes.req, b, w)
    if not skipped and is_core(resource) and scratch.core_ok[b]:
        _balanced_core(scratch.core[b], req, scratch.n_feasible[b], out)
        return
    for i in range(scratch.n_feasible[b]):
        n, g = feasible[i], group_of[i]
        before = balance(resource, req, alloc, used, g, n, 0)
        out[i] = 0 if skipped else 50 + (50 + balance(resource, req, alloc, used, g, n, 1) - before) // 2


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
def _counts_all_groups(classes: Any, group_domain: Any, has_keys: Any, b: int, w: int, k: int) -> bool:
    """Whether soft constraint k counts the nodes of every group that has its key."""
    t, spread_elig, affinity_ok = classes.spread_key[b, w, k], classes.spread_elig, classes.affinity_ok
    for g in range(has_keys.shape[0]):
        if group_domain[g, t] >= 0 and not (has_keys[g] and passes_inclusion(spread_elig, affinity_ok, b, w, k, g)):
            return False
    return True


@inner
def _count_on_nodes(classes: Any, topology: Any, nodes: Any, b: int, w: int, k: int, scratch: Any) -> None:
    """Add the matching pods on counted nodes to fit.dom_count of the domains in play (>= 0)."""
    t, s = classes.spread_key[b, w, k], classes.spread_sel[b, w, k]
    spread_elig, affinity_ok, pods_of = classes.spread_elig, classes.affinity_ok, nodes.pods_of
    sel_start, sel_item, domain = topology.sel_start, topology.sel_item, topology.group_domain[b]
    phase, group, has_keys, count = (
        nodes.phase[b],
        nodes.group[b],
        scratch.has_keys[b],
        scratch.fit.dom_count[b, k],
    )
    for n in range(nodes.hi[b]):
        if phase[n] in (NODE_READY, NODE_DRAINING):
            d = domain[group[n], t]
            counted = d >= 0 and count[d] >= 0 and has_keys[group[n]]
            if counted and passes_inclusion(spread_elig, affinity_ok, b, w, k, group[n]):
                count[d] += matching_on_node(sel_start, sel_item, pods_of, b, s, n)


@inner
def _count_domains(classes: Any, topology: Any, nodes: Any, b: int, w: int, k: int, scratch: Any) -> int:
    """Matching pods per domain that has a feasible node, into fit.dom_count; the number of such domains."""
    t, s, size = classes.spread_key[b, w, k], classes.spread_sel[b, w, k], 0
    count, in_group, has_keys = scratch.fit.dom_count[b, k], scratch.in_group[b], scratch.has_keys[b]
    domain, known = topology.group_domain[b], scratch.counts_all
    sel_start, sel_item, dom_pods = topology.sel_start, topology.sel_item, topology.dom_pods
    for d in range(count.shape[0]):
        count[d] = -1
    for g in range(in_group.shape[0]):
        if in_group[g] > 0 and has_keys[g] and count[domain[g, t]] < 0:
            count[domain[g, t]] = 0
            size += 1
    if known[b, w, k] < 0:
        known[b, w, k] = 1 if _counts_all_groups(classes, domain, has_keys, b, w, k) else 0
    if known[b, w, k] == 0:
        _count_on_nodes(classes, topology, nodes, b, w, k, scratch)
        return size
    for d in range(count.shape[0]):
        if count[d] >= 0:
            count[d] = matching_in_domain(sel_start, sel_item, dom_pods, b, s, t, d)
    return size


@inner
def _prepare_spread(classes: Any, topology: Any, nodes: Any, b: int, w: int, scratch: Any) -> None:
    """What the soft constraints of class w give a node, by constraint and group, into scratch.

    weight ln(domains + 2); part = count * weight + maxSkew - 1 (for the hostname only maxSkew - 1:
    counts are per node), LACKS_KEY in groups without one of the keys.
    """
    key, hard, skew = classes.spread_key[b, w], classes.spread_hard[b, w], classes.spread_skew[b, w]
    domain, has_keys, in_group = topology.group_domain[b], scratch.has_keys[b], scratch.in_group[b]
    eligible = 0
    for g in range(in_group.shape[0]):
        has_keys[g] = True
        for k in range(key.shape[0]):
            if key[k] >= 0 and not hard[k] and domain[g, key[k]] < (0 if key[k] > HOSTNAME else -1):
                has_keys[g] = False
        eligible += in_group[g] if has_keys[g] else 0
    for k in range(key.shape[0]):
        t = key[k]
        if t < 0 or hard[k]:
            continue
        size = eligible if t == HOSTNAME else _count_domains(classes, topology, nodes, b, w, k, scratch)
        weight, count, part = math.log(float(size + 2)), scratch.fit.dom_count[b, k], scratch.part[b, k]
        scratch.weight[b, k] = weight
        for g in range(in_group.shape[0]):
            part[g] = float(skew[k] - 1)
            if not has_keys[g]:
                part[g] = LACKS_KEY
            elif t != HOSTNAME and in_group[g] > 0:
                part[g] += float(count[domain[g, t]]) * weight


@inner
def _sum_spread(classes: Any, topology: Any, nodes: Any, b: int, w: int, scratch: Any) -> None:
    """scratch.spread_sum of each feasible node: the sum over soft constraints of the node's part."""
    key, hard, sel = classes.spread_key[b, w], classes.spread_hard[b, w], classes.spread_sel[b, w]
    start, item, pods_of = topology.sel_start[b], topology.sel_item[b], nodes.pods_of[b]
    feasible, group_of, total = scratch.feasible[b], scratch.group_of[b], scratch.spread_sum[b]
    found = scratch.n_feasible[b]
    for i in range(found):
        total[i] = 0.0
    for k in range(key.shape[0]):
        if key[k] < 0 or hard[k]:
            continue
        part, weight, first, last = scratch.part[b, k], scratch.weight[b, k], start[sel[k]], start[sel[k] + 1]
        if key[k] != HOSTNAME:
            for i in range(found):
                total[i] += part[group_of[i]]
        elif last == first + 1:  # its own pods only, as by default
            own = pods_of[item[first]]
            for i in range(found):
                total[i] += float(own[np.uint64(feasible[i])]) * weight + part[np.uint64(group_of[i])]
        else:
            for i in range(found):
                count = 0
                for j in range(first, last):
                    count += pods_of[item[j], feasible[i]]
                total[i] += float(count) * weight + part[group_of[i]]


@inner
def spread_scores(classes: Any, topology: Any, nodes: Any, b: int, w: int, scratch: Any) -> None:
    """Raw and normalised PodTopologySpread scores of the feasible nodes, into spread_raw and spread.

    Raw: the rounded sum over the constraints, fewer is better; -1 without one of the keys.
    Normalised: 100 (max + min - raw) / max over the nodes that have the keys, 100 when max is 0; 0
    for the others. After `gather_feasible`.
    """
    _prepare_spread(classes, topology, nodes, b, w, scratch)
    _sum_spread(classes, topology, nodes, b, w, scratch)
    total, raws, out, found = (
        scratch.spread_sum[b],
        scratch.spread_raw[b],
        scratch.spread[b],
        scratch.n_feasible[b],
    )
    lowest, highest = 2147483647, 0
    for i in range(found):
        raw = round_half_up(max(total[i], -1.0))
        raws[i] = raw
        lowest = min(lowest, raw if raw >= 0 else lowest)
        highest = max(highest, raw)
    if highest == 0:
        for i in range(found):
            out[i] = MAX_SCORE if raws[i] >= 0 else 0
        return
    whole = float(highest)
    for i in range(found):  # sums of a few thousand pods: exact in floats
        score = int(float(MAX_SCORE * (highest + lowest - raws[i])) / whole)
        out[i] = score if raws[i] >= 0 else 0
