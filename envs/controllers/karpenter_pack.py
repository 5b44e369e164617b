"""Karpenter's settings of pools and stack -> the arrays that its kernels read. Text is parsed here, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.cluster import ClusterSpec, NodeBudget, NodePool, Taint, Workload
from envs.controllers.karpenter_budget import (
    ALL_REASONS,
    B_ANY_DAY,
    B_DAY,
    B_DURATION_S,
    B_HOUR,
    B_IS_SHARE,
    B_KIND,
    B_MINUTE,
    B_MONTH,
    B_NODES,
    B_REASONS,
    B_USED,
    B_WEEKDAY,
    BUDGET_PLANES,
    DRIFTED,
    EMPTY,
    UNDERUTILIZED,
)
from envs.controllers.karpenter_cost import EVICTION_COST_MAX, PRIORITY_UNIT
from envs.controllers.karpenter_layout import (
    ANTI,
    ANTI_OF_OTHERS,
    BALANCED,
    BATCH_IDLE_S,
    BATCH_MAX_S,
    EPOCH_S,
    FAMILIES,
    FLAGS,
    HAZARD_WEIGHT,
    LOOP_S,
    NO_LIMIT,
    RELAX_MIN_VALUES,
    S_CPU,
    S_MEMORY,
    SIZE_PLANES,
    SIZES,
    SPOT_TO_SPOT,
    SPREAD,
    U_PLANES,
    VALIDATION_S,
    WHEN_EMPTY,
    WHEN_UNDERUTILIZED,
    KpConfig,
)
from envs.controllers.karpenter_price import ON_DEMAND, SPOT
from envs.cron import ALWAYS, BROKEN, parse_cron
from envs.matching import matches_node_affinity, tolerates
from envs.offerings import node_labels, offerings
from envs.sim.state import BOOL, CPU, F8, I8, MEM, Classes, Groups, Topology
from envs.stack import Karpenter
from envs.type_labels import type_labels

POLICIES = {"WhenEmpty": WHEN_EMPTY, "WhenEmptyOrUnderutilized": WHEN_UNDERUTILIZED, "Balanced": BALANCED}
FOREVER = 1 << 30
REASON_BITS = {"Underutilized": UNDERUTILIZED, "Empty": EMPTY, "Drifted": DRIFTED}


def budget_rows(budgets: Sequence[NodeBudget]) -> tuple[I8, F8]:
    """(Q, BUDGET_PLANES) rows and (Q,) shares of a pool's budgets."""
    rows, shares = np.zeros((len(budgets), BUDGET_PLANES), np.int64), np.zeros(len(budgets))
    for row, budget in zip(rows, budgets, strict=True):
        row[B_USED], row[B_IS_SHARE] = 1, budget.is_share
        row[B_NODES] = 0 if budget.is_share else round(budget.nodes)
        row[B_REASONS] = sum(REASON_BITS[r] for r in budget.reasons) or ALL_REASONS
        row[B_KIND] = ALWAYS
        if budget.schedule:
            _write_schedule(row, budget)
    shares[:] = [b.nodes if b.is_share else 0.0 for b in budgets]
    return rows, shares


def _write_schedule(row: I8, budget: NodeBudget) -> None:
    try:
        mask = parse_cron(budget.schedule)
    except ValueError:
        row[B_KIND] = BROKEN
        return
    row[B_KIND], row[B_DURATION_S] = mask.kind, round(min(budget.duration_s, 1e15))
    for plane, bits in ((B_MINUTE, mask.minute), (B_HOUR, mask.hour), (B_DAY, mask.day), (B_MONTH, mask.month)):
        row[plane] = bits
    row[B_WEEKDAY], row[B_ANY_DAY] = mask.weekday, mask.any_day


def pack_karpenter(
    settings: Sequence[Karpenter | None],
    clusters: Sequence[ClusterSpec],
    arrays: tuple[Classes, Topology, Groups],
    labels: Sequence[Sequence[Mapping[str, str]]],
    keys: Sequence[str],
    epoch_s: Sequence[float],
) -> KpConfig:
    """Settings of a batch. arrays: what the clusters were packed to; labels[b][g] and topology keys beside them.

    Where no stack of the batch runs Karpenter, the tables that grow with the cluster are left small.
    """
    classes, topology, groups = arrays
    B, W, R = classes.req.shape
    G, L = groups.price.shape[1], max(len(c.node_pools) for c in clusters)
    on = any(s is not None for s in settings)
    rules = [s or Karpenter() for s in settings]
    asks = [_wishes(c, labels[b], keys, classes, b) for b, c in enumerate(clusters)] if on else []
    values = _values(labels, keys, topology.dom_pods.shape[2])
    own = [p.budgets or () for c in clusters for p in c.node_pools] + [r.budgets for r in rules]
    steps, width = max([a.steps for a in asks], default=1), max([a.width for a in asks], default=1)
    rules_of_values = max([len(p.min_values) for c in clusters for p in c.node_pools], default=0)
    lists = max(1, *map(len, own)), max(1, rules_of_values)
    config = _empty_config((B, W, R, G, L), values.shape[1:], steps, width, lists, on)
    config.known[:] = values
    for b, cluster in enumerate(clusters):
        _write_settings(config, b, rules[b], cluster, epoch_s[b], groups)
        if on:
            asks[b].write(config, b)
            _write_order(config, b, cluster, classes)
            _write_twins(config, b, classes)
            _write_sizes(config, b, classes.req[b, : len(cluster.workloads)])
            _write_families(config, b, len(cluster.workloads))
            if config.plain[b, -1] and not config.n_steps[b].any():
                config.widest[b] = classes.req[b, : len(cluster.workloads)].max(axis=0)
            for index in range(len(cluster.node_pools)):
                mine = np.flatnonzero((groups.pool[b] == index) & (groups.max_nodes[b] > 0))
                for t in range(1, len(keys)):
                    domains = topology.group_domain[b, mine, t]
                    config.pool_asks[b, index, t] = True
                    config.pool_domain[b, index, t] = np.isin(np.arange(values.shape[2]), domains)
    return config


def _empty_config(
    sizes: tuple[int, int, int, int, int],
    domains: tuple[int, int],
    steps: int,
    width: int,
    lists: tuple[int, int],
    on: bool,
) -> KpConfig:
    B, W, R, G, L = sizes
    budgets, minima = lists
    if not on:
        W, steps, width = 1, 1, 1

    def longs(*shape: int) -> I8:
        return np.zeros((B, *shape), np.int64)

    def flags(*shape: int) -> BOOL:
        return np.zeros((B, *shape), np.bool_)

    return KpConfig(
        flag=np.zeros((B, FLAGS)),
        kind=longs(G),
        capacity=np.full((B, G), ON_DEMAND, np.int64),
        pool_order=np.full((B, L), -1, np.int64),
        least=longs(L, minima),
        value=np.full((B, minima, G), -1, np.int64),
        limit=np.full((B, L, R + 1), NO_LIMIT, np.int64),
        policy=longs(L),
        after_s=np.full((B, L), np.inf),
        expire_s=np.full((B, L), np.inf),
        budget=longs(L, budgets, BUDGET_PLANES),
        share=np.zeros((B, L, budgets)),
        twin=longs(W),
        rank=longs(W),
        cost=np.ones((B, W)),
        n_steps=longs(W),
        compat=flags(W, steps, G if on else 1),
        term=longs(W, width, U_PLANES),
        plain=np.ones((B, W + 1), np.bool_),
        pod_domain=np.ones((B, W, *domains), np.bool_),
        pod_asks=flags(W, domains[0]),
        known=flags(*domains),
        pool_domain=flags(L, *domains),
        pool_asks=flags(L, domains[0]),
        size=np.full((B, SIZE_PLANES, SIZES), NO_LIMIT, np.int64),
        sizes_of=longs(W),
        family=longs(W),
        family_has=flags(FAMILIES, G),
        widest=np.full((B, R), NO_LIMIT, np.int64),
    )


def _values(labels: Sequence[Sequence[Mapping[str, str]]], keys: Sequence[str], widest: int) -> BOOL:
    """(B, T, D) domains that the groups of each cluster have; as `pack_placement` numbers them."""
    known = np.zeros((len(labels), len(keys), widest), np.bool_)
    for b, groups in enumerate(labels):
        for t, key in enumerate(keys[1:], start=1):
            known[b, t, : len({g[key] for g in groups if key in g})] = True
    return known


def _write_settings(
    config: KpConfig, b: int, rules: Karpenter, cluster: ClusterSpec, epoch_s: float, groups: Groups
) -> None:
    config.flag[b, [BATCH_IDLE_S, BATCH_MAX_S, VALIDATION_S, LOOP_S]] = [
        *(rules.batch_idle_s, rules.batch_max_s, rules.validation_s, rules.poll_s),
    ]
    config.flag[b, [SPOT_TO_SPOT, HAZARD_WEIGHT, EPOCH_S]] = [rules.spot_to_spot, rules.hazard_weight_h, epoch_s]
    config.flag[b, RELAX_MIN_VALUES] = rules.min_values_policy == "BestEffort"
    config.capacity[b] = np.where(groups.spot[b], SPOT, ON_DEMAND)
    names = [t.name for t in cluster.instance_types]
    g = 0
    for pool in cluster.node_pools:
        for machine, _, _, _ in offerings(cluster, pool):
            config.kind[b, g] = names.index(machine.name)
            g += 1
    order = sorted(
        range(len(cluster.node_pools)), key=lambda i: (-cluster.node_pools[i].weight, cluster.node_pools[i].name)
    )
    config.pool_order[b, : len(order)] = order
    for index, pool in enumerate(cluster.node_pools):
        write_pool(config, b, index, pool, rules)
    _write_min_values(config, b, cluster)


def _write_min_values(config: KpConfig, b: int, cluster: ClusterSpec) -> None:
    """Each pool's minima, and which value of the label an offering has (numbered in the order of offerings)."""
    g = 0
    for index, pool in enumerate(cluster.node_pools):
        config.least[b, index, : len(pool.min_values)] = [low for _, low in pool.min_values]
        numbers: list[dict[str, int]] = [{} for _ in pool.min_values]
        for machine, capacity, zone, _ in offerings(cluster, pool):
            labels = {**type_labels(machine), **node_labels(pool, machine, zone, capacity)}
            for k, (key, _) in enumerate(pool.min_values):
                if key in labels:
                    config.value[b, k, g] = numbers[k].setdefault(labels[key], len(numbers[k]))
            g += 1


def write_pool(config: KpConfig, b: int, index: int, pool: NodePool, rules: Karpenter) -> None:
    """A pool's settings: its own where it has any (and the stack lets it), else the stack's."""
    own = rules.use_pool_settings
    policy = (pool.consolidation_policy if own else None) or rules.consolidation_policy
    after = pool.consolidate_after_s if own and pool.consolidate_after_s is not None else rules.consolidate_after_s
    expire = pool.expire_after_s if own and pool.expire_after_s is not None else rules.expire_after_s
    budgets = pool.budgets if own and pool.budgets is not None else rules.budgets
    config.policy[b, index] = POLICIES[policy]
    config.after_s[b, index], config.expire_s[b, index] = after, expire
    if np.isfinite(pool.limit_cpu):
        config.limit[b, index, CPU] = round(pool.limit_cpu * 1000)
    if np.isfinite(pool.limit_memory_gib):
        config.limit[b, index, MEM] = round(pool.limit_memory_gib * (1 << 30))
    rows, shares = budget_rows(budgets)
    config.budget[b, index] = 0
    config.budget[b, index, : len(rows)], config.share[b, index, : len(rows)] = rows, shares


def _write_order(config: KpConfig, b: int, cluster: ClusterSpec, classes: Classes) -> None:
    """Rank of each class: CPU, then memory, falling; and what evicting one of its pods costs."""
    count = len(cluster.workloads)
    req = classes.req[b, :count]
    order = sorted(range(count), key=lambda w: (-req[w, CPU], -req[w, MEM], w))
    config.rank[b, order] = np.arange(count)
    config.rank[b, count:] = np.arange(count, config.rank.shape[1])
    for w, workload in enumerate(cluster.workloads):
        cost = 1.0 + workload.priority / PRIORITY_UNIT
        config.cost[b, w] = min(max(cost, -EVICTION_COST_MAX), EVICTION_COST_MAX)


def _write_twins(config: KpConfig, b: int, classes: Classes) -> None:
    """Classes that ask for the same and may go to the same places have the same first place."""
    seen: dict[bytes, int] = {}
    for w in range(config.twin.shape[1]):
        key = classes.req[b, w].tobytes() + config.compat[b, w].tobytes() + bytes([int(config.plain[b, w])])
        config.twin[b, w] = seen.setdefault(key, w)


def _write_sizes(config: KpConfig, b: int, req: I8) -> None:
    """CPU sizes to count pods by: all that there are, or SIZES of them, the smallest among them. req: (W, R)."""
    there = np.unique(req[req[:, CPU] > 0, CPU])
    if len(there) > SIZES:
        there = there[np.linspace(0, len(there) - 1, SIZES).round().astype(np.int64)]
    config.size[b, S_CPU, : len(there)] = there
    config.size[b, S_MEMORY, : len(there)] = [req[req[:, CPU] >= cpu, MEM].min() for cpu in there]
    config.sizes_of[b, : len(req)] = np.searchsorted(there, req[:, CPU], side="right")


def _write_families(config: KpConfig, b: int, count: int) -> None:
    """Classes by the offerings that they may use, with all preferences given up; the rest is family 0."""
    config.family_has[b, 0] = True
    seen: dict[bytes, int] = {}
    for w in range(count):
        may = config.compat[b, w].any(axis=0)
        family = seen.setdefault(may.tobytes(), len(seen) + 1)
        if family < FAMILIES:
            config.family[b, w] = family
            config.family_has[b, family] = may


@dataclass(frozen=True)
class _Wishes:
    """What the pods of a cluster ask for. terms[w]: rows of KpConfig.term; compat[w]: (V, G)."""

    terms: list[list[list[int]]]
    compat: list[BOOL]
    domain: list[list[tuple[int, list[int]]]]

    @property
    def steps(self) -> int:
        return max(len(c) for c in self.compat)

    @property
    def width(self) -> int:
        return max(1, *(len(t) for t in self.terms))

    def write(self, config: KpConfig, b: int) -> None:
        for w, rows in enumerate(self.terms):
            for u, row in enumerate(rows):
                config.term[b, w, u] = row
            config.plain[b, w] = not rows
            steps, groups = self.compat[w].shape
            config.compat[b, w, :steps, :groups] = self.compat[w]
            config.n_steps[b, w] = steps - 1
            for t, allowed in self.domain[w]:
                config.pod_asks[b, w, t] = True
                config.pod_domain[b, w, t] = np.isin(np.arange(config.pod_domain.shape[3]), allowed)
        config.plain[b, -1] = not any(self.terms)


def _wishes(
    cluster: ClusterSpec, labels: Sequence[Mapping[str, str]], keys: Sequence[str], classes: Classes, b: int
) -> _Wishes:
    """Karpenter reads the pod's own rules: the scheduler's default spread is not among them.

    Soft spread counts as hard until it has to be given up, one by one, and after that soft taints.
    """
    taints = [t for pool in cluster.node_pools for t in pool.taints]
    per_group = [cluster.node_pools[i].taints for i in _pool_of_groups(cluster)]
    out = _Wishes([], [], [])
    for w, workload in enumerate(cluster.workloads):
        rows, given_up = [], 0
        for k, spread in enumerate(workload.spread):
            until = FOREVER if spread.hard else (given_up := given_up + 1)
            selector, low = int(classes.spread_sel[b, w, k]), spread.min_domains
            rows.append([SPREAD, int(classes.spread_key[b, w, k]), spread.max_skew, low, selector, 1, until])
        rows += _affinity_rows(classes, b, w)
        soft_taints = any(t.effect == "PreferNoSchedule" and not tolerates(workload.tolerations, t) for t in taints)
        selected = [matches_node_affinity(g, node_selector=dict(workload.node_selector)) for g in labels]
        steps = [
            [ok and _tolerated(workload, ts, step > given_up) for ok, ts in zip(selected, per_group, strict=True)]
            for step in range(1 + given_up + (1 if soft_taints else 0))
        ]
        out.terms.append(rows)
        out.compat.append(np.array(steps, np.bool_))
        out.domain.append(_asked_domains(workload, labels, keys))
    return out


def _pool_of_groups(cluster: ClusterSpec) -> list[int]:
    return [i for i, pool in enumerate(cluster.node_pools) for _ in offerings(cluster, pool)]


def _tolerated(workload: Workload, taints: Sequence[Taint], soft_too: bool) -> bool:
    return all(tolerates(workload.tolerations, t) or (soft_too and t.effect == "PreferNoSchedule") for t in taints)


def _affinity_rows(classes: Classes, b: int, w: int) -> list[list[int]]:
    """Required anti-affinity, the pod's own and that of others against it."""
    rows = []
    for a in range(classes.anti_key.shape[2]):
        if classes.anti_key[b, w, a] >= 0:
            rows.append([ANTI, int(classes.anti_key[b, w, a]), 1, 0, int(classes.anti_sel[b, w, a]), 0, FOREVER])
        if classes.ranti_key[b, w, a] >= 0:
            key, selector = int(classes.ranti_key[b, w, a]), int(classes.ranti_sel[b, w, a])
            rows.append([ANTI_OF_OTHERS, key, 1, 0, selector, 0, FOREVER])
    return rows


def _asked_domains(
    workload: Workload, labels: Sequence[Mapping[str, str]], keys: Sequence[str]
) -> list[tuple[int, list[int]]]:
    """(key, domains) where the node selector names a topology key."""
    out, selector = [], dict(workload.node_selector)
    for t, key in enumerate(keys[1:], start=1):
        if key in selector:
            values = sorted({g[key] for g in labels if key in g})
            out.append((t, [values.index(selector[key])] if selector[key] in values else []))
    return out
