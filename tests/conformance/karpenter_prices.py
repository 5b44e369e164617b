"""Karpenter's price rules: instance types with offerings -> masks over node groups -> the simulator's kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.controllers.karpenter_decision import DELETE, NOTHING, REPLACE
from envs.controllers.karpenter_price import ON_DEMAND, RESERVED, SPOT
from envs.matching import Requirement, matches_labels
from tests.conformance import karpenter_kernels as kernels
from tests.conformance.cases import Case, Result, left_out, same, verdict
from tests.conformance.catalogs import CATALOGS

CAPACITY = {"reserved": RESERVED, "spot": SPOT, "on-demand": ON_DEMAND}
CAPACITY_KEY, ZONE_KEY = "karpenter.sh/capacity-type", "topology.kubernetes.io/zone"
TYPE_KEY = "node.kubernetes.io/instance-type"
DECISIONS = {NOTHING: "no-op", DELETE: "delete", REPLACE: "replace"}


@dataclass
class Offerings:
    """One row per available offering: a node group of one zone and capacity type."""

    names: list[str]
    kind: Any
    capacity: Any
    price: Any
    mask: Any

    @property
    def left(self) -> list[str]:
        """Types that still have an offering."""
        return [n for t, n in enumerate(self.names) if bool(self.mask[self.kind == t].any())]

    def scratch(self) -> tuple[Any, Any, Any]:
        """(first capacity type, worst, best launch price) per type."""
        T = len(self.names)
        return np.zeros(T, np.int64), np.zeros(T), np.zeros(T)


def offering_fields(offering: Any) -> tuple[str, str, float, bool]:
    """(capacity type, zone, USD/h, available) of either form of an offering."""
    if isinstance(offering, Mapping):
        return offering["capacity_type"], offering["zone"], offering["usd_per_h"], offering["available"]
    return tuple(offering[:4])  # type: ignore[return-value]


def requirement_list(raw: Sequence[Any] | None) -> tuple[Requirement, ...]:
    return tuple(Requirement(r["key"], r["operator"], tuple(r.get("values") or ())) for r in raw or ())


def offerings(types: Sequence[Any], requirements: Sequence[Any] | None) -> Offerings:
    """Masked by the requirements on capacity type and zone, the two keys that offerings carry."""
    wanted = tuple(r for r in requirement_list(requirements) if r.key in (CAPACITY_KEY, ZONE_KEY))
    rows = []
    names = list(dict.fromkeys(machine["name"] for machine in types))
    index = {name: t for t, name in enumerate(names)}
    for machine in types:
        t = index[machine["name"]]
        for offering in machine["offerings"]:
            kind, zone, price, available = offering_fields(offering)
            ok = available and matches_labels(wanted, {CAPACITY_KEY: kind, ZONE_KEY: zone})
            rows.append((t, CAPACITY[kind], price, ok))
    kinds, capacity, price, mask = (list(x) for x in zip(*rows, strict=True)) if rows else ([], [], [], [])
    return Offerings(
        names,
        np.array(kinds, np.int64),
        np.array(capacity, np.int64),
        np.array(price, np.float64),
        np.array(mask, np.bool_),
    )


def price_filter_case(case: Case) -> Result:
    c = case.input
    o = offerings(c["instance_types"], c["requirements"])
    first, worst, best = o.scratch()
    kernels.price_filter(o.mask, o.kind, o.capacity, o.price, first, worst, best, float(c["max_usd_per_h"]))
    prices = dict(zip(o.names, (float(x) for x in worst), strict=True))
    got = {"kept": sorted(o.left), "worst_launch_usd_per_h": {n: p for n, p in prices.items() if math.isfinite(p)}}
    want = {k: case.expected[k] for k in got}
    want["worst_launch_usd_per_h"] = {n: p for n, p in want["worst_launch_usd_per_h"].items() if p < 1e300}
    return verdict(want, got)


def same_type_case(case: Case) -> Result:
    c = case.input
    o = offerings(c["replacement_options"], c["replacement_requirements"])
    first, worst, best = o.scratch()
    index = {name: t for t, name in enumerate(o.names)}
    removed = np.array([index.get(x["instance_type"], -1) for x in c["candidates"]], np.int64)
    price = np.array([x["usd_per_h"] for x in c["candidates"]], np.float64)
    kernels.same_type(o.mask, o.kind, o.capacity, o.price, first, worst, best, removed, price)
    return verdict(sorted(case.expected["remaining_instance_types"]), sorted(o.left))


def decision_case(case: Case) -> Result:
    c = case.input
    options = c.get("replacement_options")
    if options is None:
        options = CATALOGS[c["replacement_options_catalog"]] if "replacement_options_catalog" in c else []
    needs = c.get("replacement_requirements") or []
    if any(r.get("min_values") and r["key"] != TYPE_KEY for r in needs):
        return left_out("minValues on another key than the instance type")
    min_types = max([r.get("min_values") or 0 for r in needs], default=0)
    o = offerings(options, needs)
    first, worst, best = o.scratch()
    candidates = c["candidates"]
    got = kernels.decide(
        bool(c["all_pods_scheduled"]),
        c["new_node_count"],
        len(candidates),
        all(x["capacity_type"] == "spot" for x in candidates),
        float(sum(x["usd_per_h"] for x in candidates)),
        bool(c["spot_to_spot_enabled"]),
        min_types,
        *(o.mask, o.kind, o.capacity, o.price, first, worst, best),
    )
    decided: dict[str, Any] = {"decision": DECISIONS[int(got)]}
    if int(got) == REPLACE:
        # The controller narrows a claim to spot by a requirement and leaves on-demand types in its list.
        cheaper = [n for n, p in zip(o.names, worst, strict=True) if p < sum(x["usd_per_h"] for x in candidates)]
        to_spot = all(x["capacity_type"] == "spot" for x in candidates)
        decided["replacement_instance_types"] = sorted(o.left if to_spot else cheaper)
        codes = {v: k for k, v in CAPACITY.items()}
        decided["replacement_capacity_types"] = sorted({codes[int(k)] for k in o.capacity[o.mask]})
        decided["replacement_instance_types"] = _ties(decided, case.expected, o)
    return verdict(case.expected, decided)


def _ties(decided: dict[str, Any], expected: dict[str, Any], o: Offerings) -> list[str]:
    """The expected names where ours differ from them among equal prices only (their order is arbitrary)."""

    def prices(names: Sequence[str]) -> list[float]:
        return sorted(float(o.price[o.kind == o.names.index(n)].min()) for n in names)

    ours, theirs = decided["replacement_instance_types"], expected.get("replacement_instance_types") or []
    return theirs if theirs and same(prices(theirs), prices(ours)) else ours
