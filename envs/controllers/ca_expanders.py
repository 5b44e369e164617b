"""Cluster Autoscaler expanders: which of the scale-up options is taken.

An option is "add n_nodes nodes of this group, so that n_pods pending pods can run". Each expander
keeps the best options, exact ties included; one of the kept is drawn at random.
Rules followed: cluster-autoscaler `pkg/expander` as of 2026-08 (default least-waste since 1.33).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.sim.jit import inner
from envs.sim.random import RNG_EXPANDER, below
from envs.sim.state import CPU, GPU, I4, MEM

LEAST_WASTE, RANDOM, MOST_PODS, LEAST_NODES, PRIORITY, PRICE = 0, 1, 2, 3, 4, 5
EXPANDERS = ("least-waste", "random", "most-pods", "least-nodes", "priority", "price")
NO_TIER = -2147483648

# The upstream pricing model (its cloud's list price in USD per core-hour and GB-hour), used for pods.
POD_USD_PER_CORE_H = 0.033174
POD_USD_PER_GB_H = 0.004446
STABILIZATION_USD = 0.1 * POD_USD_PER_CORE_H + 0.5 * POD_USD_PER_GB_H  # a pod of 100m and 500 MB
_GPU_UNFITNESS = 1000.0
_NOT_EXISTING = 2.0


def priority_tiers(names: Sequence[str], priorities: Mapping[int, Sequence[str]]) -> I4:
    """(G,) highest priority whose regular expressions match a group's name, else NO_TIER.

    A broken expression makes the whole configuration void, as upstream: nothing matches. A
    priority below -1 never wins.
    """
    tiers = np.full(len(names), NO_TIER, np.int32)
    try:
        compiled = {value: [re.compile(p) for p in patterns] for value, patterns in priorities.items()}
    except re.error:
        return tiers
    for i, name in enumerate(names):
        matching = [v for v, patterns in compiled.items() if any(p.search(name) for p in patterns)]
        tiers[i] = max((v for v in matching if v >= -1), default=NO_TIER)
    return tiers


@inner
def size_unfitness(cpu_milli: int, n_nodes: int) -> float:
    """Ratio of a node's CPU to the preferred size for a cluster of n_nodes, whichever way is >= 1."""
    preferred = 32000.0
    if n_nodes <= 2:
        preferred = 1000.0
    elif n_nodes <= 6:
        preferred = 2000.0
    elif n_nodes <= 20:
        preferred = 4000.0
    elif n_nodes <= 60:
        preferred = 8000.0
    elif n_nodes <= 200:
        preferred = 16000.0
    cpu = float(max(cpu_milli, 1))
    return max(preferred / cpu, cpu / preferred)


@inner
def waste_score(groups: Any, options: Any, b: int, o: int) -> float:
    """Wasted share of CPU plus wasted share of memory, of the capacity (not allocatable) added."""
    g = options.group[b, o]
    cpu = float(groups.cap[b, g, CPU] * options.n_nodes[b, o])
    mem = float(groups.cap[b, g, MEM] * options.n_nodes[b, o])
    return (cpu - options.cpu_milli[b, o]) / cpu + (mem - options.mem_bytes[b, o]) / mem


@inner
def price_score(groups: Any, options: Any, b: int, o: int, stabilization_usd: float) -> float:
    """Cost ratio of nodes to pods times the damped misfit of the node's size; NaN when a price is unknown.

    (nodes + s) / (pods + s) * ((misfit - 1)(1 - tanh((n - 1) / 15)) + 1): the misfit fades as the
    option grows. GPU nodes get misfit 1000, undamped; a group that does not exist yet counts twice.
    """
    g = options.group[b, o]
    n = options.n_nodes[b, o]
    cost = groups.price[b, g] * n + stabilization_usd
    score = cost / (options.pods_usd[b, o] + stabilization_usd)
    misfit = (options.unfitness[b, o] - 1.0) * (1.0 - math.tanh((n - 1) / 15.0)) + 1.0
    if groups.cap[b, g, GPU] > 0:
        misfit = _GPU_UNFITNESS
    score *= misfit
    return score if options.exists[b, o] else score * _NOT_EXISTING


@inner
def option_score(kind: int, groups: Any, options: Any, b: int, o: int, stabilization_usd: float) -> float:
    """Lower is better; NaN drops the option (for least-waste it loses every comparison instead)."""
    if kind == LEAST_WASTE:
        return waste_score(groups, options, b, o)
    if kind == MOST_PODS:
        return -float(options.n_pods[b, o])
    if kind == LEAST_NODES:
        n = options.n_nodes[b, o]
        return float(n) if n > 0 else math.nan
    if kind == PRIORITY:
        tier = groups.priority_tier[b, options.group[b, o]]
        return -float(tier) if tier != NO_TIER else math.nan
    if kind == PRICE:
        return price_score(groups, options, b, o, stabilization_usd)
    return 0.0


@inner
def keep_best(kind: int, groups: Any, options: Any, b: int, stabilization_usd: float) -> int:
    """Mark the best options of cluster b in options.best; their number (0: every option was dropped).

    Expander priority keeps all options when no tier matches.
    """
    least = math.nan
    kept = 0
    for o in range(options.n[b]):
        score = option_score(kind, groups, options, b, o, stabilization_usd)
        options.best[b, o] = False
        if math.isnan(score) and kind != LEAST_WASTE:
            continue
        if kept > 0 and score == least:
            options.best[b, o] = True
            kept += 1
        elif kept == 0 or score < least:
            options.best[b, :o] = False
            options.best[b, o] = True
            least = score
            kept = 1
    if kept == 0 and kind == PRIORITY:
        options.best[b, : options.n[b]] = True
        kept = options.n[b]
    return kept


@inner
def choose_option(kind: int, groups: Any, options: Any, rng: Any, b: int) -> int:
    """Index of the option taken, -1 when there is none; ties fall by the expander's random stream."""
    kept = keep_best(kind, groups, options, b, STABILIZATION_USD)
    if kept == 0:
        return -1
    skip = below(rng, b, RNG_EXPANDER, kept) if kept > 1 else 0
    for o in range(options.n[b]):
        if options.best[b, o]:
            if skip == 0:
                return o
            skip -= 1
    return -1
