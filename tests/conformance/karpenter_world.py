"""A Karpenter provisioning case as arrays: every pod is a class, every offering (and existing node) a group.

Strings are evaluated here by `envs.matching`, as the scenario packer does. A label that a pool or type
leaves open (two architectures, a custom label with several values) makes one group per value, where pods
ask for that label. Preferences become steps: what a pod asks for before it has given up 0, 1, 2 ... of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from envs.cluster import Taint
from envs.controllers.karpenter_layout import (
    AFFINITY,
    ANTI,
    ANTI_OF_OTHERS,
    FAMILIES,
    FLAGS,
    NO_LIMIT,
    RELAX_MIN_VALUES,
    SIZE_PLANES,
    SIZES,
    SPREAD,
    U_PLANES,
    KpConfig,
    KpSolve,
    empty_solve,
)
from envs.matching import Requirement, Selector, matches_labels, tolerates
from envs.sim.state import NODE_BOOTING, Classes, Groups, Nodes, Topology
from tests.conformance.catalogs import CATALOGS
from tests.conformance.karpenter_prices import CAPACITY, CAPACITY_KEY, TYPE_KEY, ZONE_KEY, offering_fields
from tests.conformance.scheduler_cases import empty_world, selector_of, taints_of, tolerations_of

HOSTNAME = "kubernetes.io/hostname"
ALIASES = {
    "beta.kubernetes.io/instance-type": TYPE_KEY,
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/zone": ZONE_KEY,
}
OTHER = "some-other-value"
FOREVER = 1 << 30
Pod = Mapping[str, Any]


@dataclass(frozen=True)
class KpWorld:
    """One case, b = 0; group_name[g] = (pool, type) of an offering, or ("", name) of an existing node."""

    config: KpConfig
    classes: Classes
    topology: Topology
    groups: Groups
    nodes: Nodes
    solve: KpSolve
    group_name: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wish:
    """What a pod asks of nodes and other pods at one step. node: requirements; terms: (kind, entry, index)."""

    required: tuple[Selector, ...]
    preferred: tuple[Selector, ...]
    soft: tuple[int, ...]  # indices of soft terms that still count
    tolerates_soft: bool = False


@dataclass(frozen=True)
class Row:
    """A node group to be: labels, and what it offers."""

    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    amounts: Mapping[str, float]
    capacity: Mapping[str, float] = field(default_factory=dict)
    daemon: Mapping[str, float] = field(default_factory=dict)
    pool: int = -1
    name: tuple[str, str] = ("", "")
    price: float = 0.0
    kind: str = "on-demand"
    type_labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


def requirements(raw: Any) -> Selector:
    """Expressions with normal keys; Gte and Lte as Gt and Lt of the whole number beside it."""
    out = []
    for r in raw or ():
        values = tuple(str(v) for v in r.get("values") or ())
        operator = r["operator"]
        if operator in ("Gte", "Lte"):
            values = (str(int(values[0]) + (-1 if operator == "Gte" else 1)),)
            operator = "Gt" if operator == "Gte" else "Lt"
        out.append(Requirement(ALIASES.get(r["key"], r["key"]), operator, values))
    return tuple(out)


def first_wish(pod: Pod, ignore: bool) -> Wish:
    """Everything that the pod would like."""
    chosen = tuple(Requirement(ALIASES.get(k, k), "In", (v,)) for k, v in (pod.get("node_selector") or {}).items())
    any_of = [requirements(t) for t in pod.get("node_affinity_required_any_of") or ()]
    required = tuple(chosen + term for term in any_of) or (chosen,)
    ranked = sorted(pod.get("node_affinity_preferred") or (), key=lambda t: -t["weight"])
    preferred = () if ignore else tuple(requirements(t["term"]) for t in ranked)
    soft = () if ignore else tuple(range(len(soft_terms(pod))))
    return Wish(required, preferred, soft)


def soft_terms(pod: Pod) -> list[tuple[int, Any]]:
    """Preferred terms on other pods in the order in which they are given up, then soft spread."""
    out: list[tuple[int, Any]] = []
    for key, kind in (("pod_affinity_preferred", AFFINITY), ("pod_anti_affinity_preferred", ANTI)):
        out += [(kind, t) for t in sorted(pod.get(key) or (), key=lambda t: -t["weight"])]
    return out + [(SPREAD, t) for t in spreads(pod, hard=False)]


def spreads(pod: Pod, *, hard: bool) -> list[Any]:
    found = pod.get("topology_spread") or ()
    return [t for t in found if (t["when_unsatisfiable"] == "DoNotSchedule") == hard]


def wishes(pod: Pod, ignore: bool, soft_taints: bool) -> Iterator[Wish]:
    """The pod's wish at each step: terms of required affinity, pods, nodes, spread, then soft taints."""
    wish = first_wish(pod, ignore)
    spread = {i for i, (kind, _) in enumerate(soft_terms(pod)) if kind == SPREAD}
    while True:
        yield wish
        others = [i for i in wish.soft if i not in spread]
        if len(wish.required) > 1:
            wish = replace(wish, required=wish.required[1:])
        elif others:
            wish = replace(wish, soft=tuple(i for i in wish.soft if i != others[0]))
        elif wish.preferred:
            wish = replace(wish, preferred=wish.preferred[1:])
        elif wish.soft:
            wish = replace(wish, soft=wish.soft[1:])
        elif soft_taints and not wish.tolerates_soft:
            wish = replace(wish, tolerates_soft=True)
        else:
            return


def asked(wish: Wish) -> Selector:
    """Requirements in force: the first required term and the heaviest preference."""
    return wish.required[0] + (wish.preferred[0] if wish.preferred else ())


def referenced(pods: Sequence[Pod]) -> dict[str, set[str]]:
    """Label keys that pods ask for, with the values that they name."""
    found: dict[str, set[str]] = {}
    for pod in pods:
        wish = first_wish(pod, ignore=False)
        for term in (*wish.required, *wish.preferred):
            for r in term:
                values = set(r.values)
                if r.operator in ("Gt", "Lt"):
                    values = {str(int(v) + step) for v in r.values for step in (-1, 0, 1)}
                found.setdefault(r.key, set()).update(values)
        for t in pod.get("topology_spread") or ():
            found.setdefault(t["topology_key"], set())
        for key in ("pod_affinity_required", "pod_anti_affinity_required"):
            for t in pod.get(key) or ():
                found.setdefault(t["topology_key"], set())
    return found


def label_values(key: str, machine: Any, rules: Selector, named: set[str]) -> list[str | None]:
    """Values that a node of this type and pool may have for a label; None = without it."""
    mine = [r for r in rules if r.key == key]
    if key == TYPE_KEY:
        values: set[str] | None = {machine["name"]}
    elif machine["labels"].get(key):
        values = set(machine["labels"][key])
    elif mine and any(r.operator == "DoesNotExist" for r in mine):
        values = None
    elif mine:
        values = set(named) | {OTHER} | {v for r in mine if r.operator == "In" for v in r.values}
        for r in mine:
            if r.operator in ("Gt", "Lt"):
                values |= {str(int(v) + step) for v in r.values for step in (-1, 1)}
    else:
        values = None
    if values is None:
        return [None]
    return [v for v in sorted(values) if matches_labels(tuple(mine), {key: v})]


def pool_rows(pool: Mapping[str, Any], index: int, keys: Mapping[str, set[str]]) -> Iterator[Row]:
    """A row per available offering that the pool's requirements allow."""
    rules = requirements(pool["requirements"])
    fixed = {r.key for r in rules if r.key not in (ZONE_KEY, CAPACITY_KEY)}
    overhead = pool["daemon_overhead"][0]["overhead"] if pool["daemon_overhead"] else {}
    open_keys = [k for k in keys if k not in (ZONE_KEY, CAPACITY_KEY, HOSTNAME)]
    for number, machine in enumerate(CATALOGS[pool["catalog"]]):
        known = {k for k in fixed if machine["labels"].get(k) or k == TYPE_KEY}
        if any(not label_values(k, machine, rules, keys.get(k, set())) for k in known):
            continue
        choices = [label_values(k, machine, rules, keys[k]) for k in open_keys]
        for offering in machine["offerings"]:
            kind, zone, price, available = offering_fields(offering)
            place = {CAPACITY_KEY: kind, ZONE_KEY: zone}
            if not available or not matches_labels(tuple(r for r in rules if r.key in place), place):
                continue
            for values in product(*choices):
                labels = place | {k: v for k, v in zip(open_keys, values, strict=True) if v is not None}
                name = (pool["name"], f"{machine['name']}#{number}")
                amounts, capacity = machine["allocatable"], machine["capacity"]
                about = {**machine["labels"], TYPE_KEY: [machine["name"]]}
                taints = taints_of(pool["taints"])
                yield Row(labels, taints, amounts, capacity, overhead, index, name, price, kind, about)


def build(case: Mapping[str, Any], *, zones: Sequence[str] = (), order: Sequence[int] = ()) -> KpWorld:
    """The arrays of a case. Pools are tried in the order in which they stand.

    zones: those that instance types declare beside their offerings. order: a permutation of the zones;
    among domains with equally many pods the first is taken, where upstream takes any.
    """
    pods, pools, existing = case["pods"], case["pools"], case["existing_nodes"]
    keys = referenced(pods)
    rows = [
        Row(
            {ALIASES.get(k, k): v for k, v in n["labels"].items()},
            taints_of(n["taints"]),
            n["remaining"],
            name=("", n["name"]),
        )
        for n in existing
    ]
    for index, pool in enumerate(pools):
        rows += list(pool_rows(pool, index, keys))
    topology_keys = [HOSTNAME, ZONE_KEY, *sorted(k for k in keys if k not in (HOSTNAME, ZONE_KEY))]
    values = {k: sorted({r.labels[k] for r in rows if k in r.labels}) for k in topology_keys}
    declared = sorted({*values[ZONE_KEY], *zones})
    values[ZONE_KEY] = [declared[i] for i in order if i < len(declared)] or declared
    resources = ["cpu_milli", "memory_bytes", "pods", "gpu"]
    resources += sorted({k for p in pods for k in p["requests"]} - set(resources))
    D = max(1, *(len(v) for v in values.values()))
    world = empty_world(
        classes=len(pods), nodes=max(len(existing), 1), resources=len(resources), keys=len(topology_keys), domains=D,
        constraints=1,
    )  # fmt: skip
    G = len(rows) or 1
    groups = _groups(rows, resources, G)
    terms, members = _terms(pods, topology_keys, ignores(case))
    topology = _topology(rows, topology_keys, values, members, G, D, len(pods))
    world.nodes.hi[0] = len(existing)
    for n, node in enumerate(existing):
        world.nodes.phase[0, n] = world.nodes.phase[0, n] if node["initialized"] else NODE_BOOTING
    for w, pod in enumerate(pods):
        world.classes.req[0, w] = [1 if r == "pods" else round(pod["requests"].get(r, 0)) for r in resources]
    config = _config(case, rows, topology_keys, values, terms, D, len(resources))
    solve = empty_solve(config, max(len(pods) + 1, len(existing) + 1), 4 * len(pods) + 8, len(resources))
    for index, pool in enumerate(pools):
        given = pool["remaining_limits"] or {}
        solve.left[0, index] = [*(given.get(r, NO_LIMIT) for r in resources), given.get("nodes", NO_LIMIT)]
    solve.available[0, : len(existing)] = False
    names = tuple(r.name for r in rows)
    return KpWorld(config, world.classes, topology, groups, world.nodes, solve, names)


def ignores(case: Mapping[str, Any]) -> bool:
    return bool(case.get("ignore_preferences")) or case.get("preference_policy") == "\x01"


def _groups(rows: Sequence[Row], resources: Sequence[str], G: int) -> Groups:
    def amounts(get: str) -> Any:
        out = np.zeros((1, G, len(resources)), np.int64)
        for g, row in enumerate(rows):
            out[0, g] = [round(getattr(row, get).get(r, 0)) for r in resources]
        return out

    none = np.zeros((1, G), np.int32)
    pool = none.copy()
    pool[0, : len(rows)] = [r.pool for r in rows]
    price = np.zeros((1, G))
    price[0, : len(rows)] = [r.price for r in rows]
    return Groups(
        amounts("capacity"), amounts("amounts"), amounts("daemon"), price, pool, none, none, none, price, price, none
    )


def _terms(
    pods: Sequence[Pod], keys: Sequence[str], ignore: bool
) -> tuple[list[list[list[int]]], list[tuple[int, ...]]]:
    """Topology terms per pod, and the members of each selector."""
    members: list[tuple[int, ...]] = []
    terms: list[list[list[int]]] = [[] for _ in pods]

    def chosen(pod: Pod, entry: Mapping[str, Any]) -> tuple[int, ...]:
        selector = selector_of(entry.get("selector")) or ()
        for key in entry.get("match_label_keys") or ():
            if key in pod["labels"]:
                selector += (Requirement(key, "In", (pod["labels"][key],)),)
        spaces = entry.get("namespaces") or [pod.get("namespace") or "default"]
        nothing = entry.get("selector") is None
        return tuple(
            i for i, p in enumerate(pods)
            if not nothing and (p.get("namespace") or "default") in spaces
            and matches_labels(selector, p.get("labels") or {})
        )  # fmt: skip

    def add(w: int, kind: int, entry: Mapping[str, Any], until: int) -> None:
        found = chosen(pods[w], entry)
        key = keys.index(ALIASES.get(entry["topology_key"], entry["topology_key"]))
        members.append(found)
        skew, low = entry.get("max_skew") or 1, entry.get("min_domains") or 0
        terms[w].append([kind, key, skew, low, len(members) - 1, int(w in found), until])
        if kind == ANTI and until == FOREVER:
            members.append((w,))
            for other in found:
                terms[other].append([ANTI_OF_OTHERS, key, 1, 0, len(members) - 1, int(other == w), FOREVER])

    for w, pod in enumerate(pods):
        steps = list(wishes(pod, ignore, soft_taints=False))
        for t in spreads(pod, hard=True):
            add(w, SPREAD, t, FOREVER)
        for t in pod.get("pod_affinity_required") or ():
            add(w, AFFINITY, t, FOREVER)
        for t in pod.get("pod_anti_affinity_required") or ():
            add(w, ANTI, t, FOREVER)
        for i, (kind, entry) in enumerate(soft_terms(pod)):
            until = next((k for k, wish in enumerate(steps) if i not in wish.soft), FOREVER)
            term = entry.get("term") or entry
            if until > 0:
                add(w, kind, term, until)
    return terms, members


def _topology(
    rows: Sequence[Row], keys: Sequence[str], values: Mapping[str, list[str]], members: Sequence[tuple[int, ...]],
    G: int, D: int, W: int,
) -> Topology:  # fmt: skip
    domain = np.full((1, G, len(keys)), -1, np.int32)
    for g, row in enumerate(rows):
        for t, key in enumerate(keys):
            if t > 0 and key in row.labels:
                domain[0, g, t] = values[key].index(row.labels[key])
    start = np.concatenate([[0], np.cumsum([len(m) for m in members])]).astype(np.int32)
    item = np.array([i for m in members for i in m] or [0], np.int32)
    return Topology(start[None], item[None], domain, np.zeros((1, len(keys), D, W), np.int32))


def _config(
    case: Mapping[str, Any], rows: Sequence[Row], keys: Sequence[str], values: Mapping[str, list[str]],
    terms: Sequence[Sequence[Sequence[int]]], D: int, R: int,
) -> KpConfig:  # fmt: skip
    pods, pools = case["pods"], case["pools"]
    W, G, L, T = len(pods), len(rows) or 1, max(len(pools), 1), len(keys)
    soft_taints = any(t.effect == "PreferNoSchedule" for r in rows for t in r.taints)
    steps = [list(wishes(p, ignores(case), soft_taints)) for p in pods]
    V, U = max(len(s) for s in steps), max(1, *(len(t) for t in terms))
    kinds = list(dict.fromkeys(r.name for r in rows))
    compat, term = np.zeros((1, W, V, G), np.bool_), np.zeros((1, W, U, U_PLANES), np.int64)
    pod_domain, pod_asks = np.ones((1, W, T, D), np.bool_), np.zeros((1, W, T), np.bool_)
    for w, pod in enumerate(pods):
        for u, row in enumerate(terms[w]):
            term[0, w, u] = row
        for v, wish in enumerate(steps[w]):
            compat[0, w, v, : len(rows)] = [_suits(pod, wish, r) for r in rows]
        for t, key in enumerate(keys):
            mine = tuple(r for r in steps[w][0].required[0] if r.key == key)
            pod_asks[0, w, t] = any(r.operator == "In" for r in mine)
            for d, value in enumerate(values[key]):
                pod_domain[0, w, t, d] = matches_labels(mine, {key: value})
    pool_domain, pool_asks = np.ones((1, L, T, D), np.bool_), np.zeros((1, L, T), np.bool_)
    for index, pool in enumerate(pools):
        for t, key in enumerate(keys):
            mine = tuple(r for r in requirements(pool["requirements"]) if r.key == key)
            pool_asks[0, index, t] = any(r.operator == "In" for r in mine)
            for d, value in enumerate(values[key]):
                pool_domain[0, index, t, d] = matches_labels(mine, {key: value})
    known = np.zeros((1, T, D), np.bool_)
    for t, key in enumerate(keys):
        known[0, t, : len(values[key])] = True
    order = sorted(
        range(W),
        key=lambda w: (-pods[w]["requests"].get("cpu_milli", 0), -pods[w]["requests"].get("memory_bytes", 0), w),
    )
    rank = np.zeros((1, W), np.int64)
    rank[0, order] = np.arange(W)
    plain = np.array([[*(not t for t in terms), not any(terms)]])
    nothing = np.zeros((1, L))
    flag = np.zeros((1, FLAGS))
    flag[0, RELAX_MIN_VALUES] = case.get("min_values_policy") == "BestEffort"
    least, value = _min_values(pools, rows, L, G)
    return KpConfig(
        flag=flag, kind=np.array([[kinds.index(r.name) for r in rows] or [0]], np.int64),
        capacity=np.array([[CAPACITY[r.kind] for r in rows] or [0]], np.int64),
        pool_order=np.arange(len(pools), dtype=np.int64)[None], least=least, value=value,
        limit=np.zeros((1, L, R + 1), np.int64),
        policy=np.zeros((1, L), np.int64), after_s=nothing, expire_s=nothing.copy(),
        budget=np.zeros((1, L, 1, 12), np.int64), share=np.zeros((1, L, 1)),
        twin=np.arange(W)[None], rank=rank, cost=np.ones((1, W)),
        n_steps=np.array([[len(s) - 1 for s in steps]], np.int64), compat=compat, term=term, plain=plain,
        pod_domain=pod_domain, pod_asks=pod_asks, known=known, pool_domain=pool_domain, pool_asks=pool_asks,
        size=np.full((1, SIZE_PLANES, SIZES), NO_LIMIT, np.int64), sizes_of=np.zeros((1, W), np.int64),
        family=np.zeros((1, W), np.int64), family_has=np.ones((1, FAMILIES, len(rows) or 1), np.bool_),
        widest=np.full((1, R), NO_LIMIT, np.int64),
    )  # fmt: skip


def _min_values(pools: Sequence[Mapping[str, Any]], rows: Sequence[Row], L: int, G: int) -> tuple[Any, Any]:
    """(1, L, K) minima and (1, K, G) values by number, -1 = without the label, of requirements with minValues."""
    asked = [[r for r in pool["requirements"] if r.get("min_values")] for pool in pools]
    K = max([1, *map(len, asked)])
    least, value = np.zeros((1, L, K), np.int64), np.full((1, K, G), -1, np.int64)
    for index, mine in enumerate(asked):
        for k, r in enumerate(mine):
            least[0, index, k], key, seen = r["min_values"], ALIASES.get(r["key"], r["key"]), {}
            for g, row in enumerate(rows):
                had = [row.labels[key]] if key in row.labels else row.type_labels.get(key) or ()
                if row.pool == index and had:
                    value[0, k, g] = seen.setdefault(had[0], len(seen))
    return least, value


def _suits(pod: Pod, wish: Wish, row: Row) -> bool:
    if not matches_labels(asked(wish), row.labels):
        return False
    tolerations = tolerations_of(pod.get("tolerations"))
    return all(
        tolerates(tolerations, t) or (t.effect == "PreferNoSchedule" and wish.tolerates_soft) for t in row.taints
    )
