"""Slow, obvious scores and preemption of kube-scheduler 1.36: whole numbers, dictionaries, fractions."""

from __future__ import annotations

import copy
import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

from envs.sim.state import POD_READY, POD_STARTING, POD_TERMINATING
from envs.stack import SchedulerProfile
from tests.controllers.scheduler_reference import Reference
from tests.controllers.scheduler_world import World


def resource_score(profile: SchedulerProfile, used: int, alloc: int) -> int:
    if profile.fit_strategy == "LeastAllocated":
        return 0 if used > alloc else (alloc - used) * 100 // alloc
    percent = min(used, alloc) * 100 // alloc
    if profile.fit_strategy == "MostAllocated":
        return percent
    shape = [(x, 10 * y) for x, y in profile.fit_shape]
    if percent <= shape[0][0]:
        return shape[0][1]
    for (x0, y0), (x1, y1) in pairwise(shape):
        if percent <= x1:
            return y0 + math.trunc(Fraction((y1 - y0) * (percent - x0), x1 - x0))
    return shape[-1][1]


def fit_score(world: World, profile: SchedulerProfile, n: int, w: int) -> int:
    g, parts = world.nodes.group[0, n], []
    for name, weight in profile.fit_resources:
        r = {"cpu": 0, "memory": 1, "gpu": 3}[name]
        alloc, ask = int(world.groups.alloc[0, g, r]), int(world.classes.req[0, w, r])
        if alloc == 0 or (r == 3 and ask == 0):
            continue
        if r < 2:
            used = int(world.nodes.score_used[0, n, r] + world.classes.score_req[0, w, r])
        else:
            used = int(world.nodes.used[0, n, r]) + ask
        parts.append((resource_score(profile, used, alloc), weight))
    if profile.fit_strategy == "RequestedToCapacityRatio":
        parts = [(score, weight) for score, weight in parts if score > 0]
        if not parts:
            return 0
        return math.floor(Fraction(sum(s * x for s, x in parts), sum(x for _, x in parts)) + Fraction(1, 2))
    return sum(s * x for s, x in parts) // sum(x for _, x in parts) if parts else 0


def balanced_score(world: World, n: int, w: int) -> int:
    g, ask = world.nodes.group[0, n], world.classes.req[0, w]
    if ask[0] == 0 and ask[1] == 0:
        return 0

    def balance(extra: int) -> int:
        x, y = (min(1.0, (world.nodes.used[0, n, r] + extra * ask[r]) / world.groups.alloc[0, g, r]) for r in (0, 1))
        return int((1 - abs((x - y) / 2)) * 100)

    return 50 + (50 + balance(1) - balance(0)) // 2


def normalize(raw: dict[int, int], *, reverse: bool) -> dict[int, int]:
    most = max(raw.values())
    scaled = {n: 100 * x // most if most else 0 for n, x in raw.items()}
    return {n: 100 - x if reverse else x for n, x in scaled.items()}


def spread_scores(reference: Reference, w: int, feasible: list[int]) -> dict[int, int]:
    c, soft = reference.world.classes, reference.constraints(w, False)
    keys = [int(c.spread_key[0, w, k]) for k in soft]
    scored = [n for n in feasible if all(reference.domain(n, t) is not None for t in keys)]
    raw = dict.fromkeys(scored, 0.0)
    for k, t in zip(soft, keys, strict=True):
        s, skew = int(c.spread_sel[0, w, k]), int(c.spread_skew[0, w, k])
        domains = {reference.domain(n, t) for n in scored}
        counts: Counter[str | None] = Counter()
        for m in reference.there:
            if t == 0 or reference.eligible(m, w, k, False):
                counts[reference.domain(m, t)] += reference.matching(m, s)
        for n in scored:
            raw[n] += counts[reference.domain(n, t)] * math.log(len(domains) + 2) + skew - 1
    whole = {n: math.floor(x + 0.5) for n, x in raw.items()}
    high, low = max(whole.values(), default=0), min(whole.values(), default=0)
    return {n: 0 if n not in whole else 100 * (high + low - whole[n]) // high if high else 100 for n in feasible}


def total_scores(world: World, profile: SchedulerProfile, w: int, feasible: list[int]) -> dict[int, int]:
    """Weighted sum of all plugins per feasible node."""
    reference, group = Reference(world), world.nodes.group[0]
    taints = normalize({n: int(world.classes.soft_taints[0, w, group[n]]) for n in feasible}, reverse=True)
    liked = normalize({n: int(world.classes.affinity_score[0, w, group[n]]) for n in feasible}, reverse=False)
    spread = dict.fromkeys(feasible, 0)
    if reference.constraints(w, False):
        spread = spread_scores(reference, w, feasible)
    return {
        n: profile.fit_weight * fit_score(world, profile, n, w)
        + profile.balanced_weight * balanced_score(world, n, w)
        + profile.spread_weight * spread[n]
        + profile.taint_weight * taints[n]
        + profile.affinity_weight * liked[n]
        for n in feasible
    }


def allowed_disruptions(world: World, w: int) -> float:
    kind, value = int(world.classes.pdb_kind[0, w]), float(world.classes.pdb_value[0, w])
    mine = [p for p in range(int(world.pods.hi[0])) if world.pods.workload[0, p] == w]
    expected = sum(world.pods.phase[0, p] != POD_TERMINATING for p in mine)
    healthy = sum(world.pods.phase[0, p] == POD_READY for p in mine)
    if kind == 0:
        return math.inf
    amount = int(value) if kind <= 2 else math.ceil(Fraction(str(value)) * expected)
    keep = amount if kind in (1, 3) else max(0, expected - amount)
    return max(0, healthy - keep) if expected else 0


def _without(world: World, pods: list[int]) -> World:
    """A copy of the world whose books lack these pods."""
    world = copy.deepcopy(world)
    for p in pods:
        n, w = int(world.pods.node[0, p]), int(world.pods.workload[0, p])
        world.nodes.used[0, n] -= world.classes.req[0, w]
        world.nodes.pods_of[0, w, n] -= 1
        for t in range(1, world.topology.group_domain.shape[2]):
            d = world.topology.group_domain[0, world.nodes.group[0, n], t]
            if d >= 0:
                world.topology.dom_pods[0, t, d, w] -= 1
    return world


def victims_on(world: World, n: int, w: int) -> tuple[list[int], int] | None:
    """(victims, broken budgets) if preempting on n helps, most important first."""
    pods, priority = world.pods, world.classes.priority[0]

    def importance(p: int) -> tuple[int, float]:
        return -int(priority[pods.workload[0, p]]), float(pods.bound_s[0, p])

    running = [p for p in range(int(pods.hi[0])) if pods.phase[0, p] in (POD_STARTING, POD_READY)]
    lower = [p for p in running if pods.node[0, p] == n and priority[pods.workload[0, p]] < priority[w]]
    lower.sort(key=importance)
    if not lower or not Reference(_without(world, lower)).fits(n, w):
        return None
    left = {int(pods.workload[0, p]): allowed_disruptions(world, int(pods.workload[0, p])) for p in lower}
    breaking = []
    for p in lower:
        left[int(pods.workload[0, p])] -= 1
        if left[int(pods.workload[0, p])] < 0:
            breaking.append(p)
    gone = list(lower)
    for p in breaking + [p for p in lower if p not in breaking]:
        fewer = [q for q in gone if q != p]
        if Reference(_without(world, fewer)).fits(n, w):
            gone = fewer
    return sorted(gone, key=importance), sum(p in breaking for p in gone)


def preemption_rank(world: World, victims: list[int], broken: int) -> tuple[float, ...]:
    """Smaller is better."""
    priority = [int(world.classes.priority[0, world.pods.workload[0, p]]) for p in victims]
    starts = [float(world.pods.bound_s[0, p]) for p, x in zip(victims, priority, strict=True) if x == max(priority)]
    return broken, max(priority), sum(x + 2**31 for x in priority), len(victims), -min(starts)
