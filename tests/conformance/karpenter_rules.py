"""Karpenter's costs, budgets and Balanced scores: case -> the simulator's own kernels -> verdict."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.cluster import NodeBudget
from envs.controllers.karpenter_budget import UNLIMITED
from envs.controllers.karpenter_pack import REASON_BITS, budget_rows
from tests.conformance import karpenter_kernels as kernels
from tests.conformance.cases import Case, Result, verdict


def budgets_of(entries: Any) -> tuple[Any, Any]:
    """Rows and shares of NodePool budgets as the packer writes them."""
    budgets = []
    for entry in entries or ():
        text = str(entry["nodes"])
        share = text.endswith("%")
        budgets.append(
            NodeBudget(
                nodes=float(text.rstrip("%")) / (100.0 if share else 1.0),
                is_share=share,
                reasons=tuple(entry.get("reasons") or ()),
                schedule=entry.get("schedule") or "",
                duration_s=math.inf if entry.get("duration_seconds") is None else entry["duration_seconds"],
            )
        )
    return budget_rows(budgets)


def allowed(entries: Any, count: int, reason: str, now_s: float) -> int | None:
    rows, shares = budgets_of(entries)
    got = kernels.allowed_disruptions(rows, shares, count, REASON_BITS[reason], float(now_s))
    return None if got == UNLIMITED else int(got)


def is_broken(entries: Any) -> bool:
    rows, _ = budgets_of(entries)
    return any(bool(row[0]) and row[4] == 2 for row in rows)


def active_case(case: Case) -> Result:
    entry = {**case.input, "nodes": "0"}
    rows, _ = budgets_of([entry])
    broken = is_broken([entry])
    got = {"active": bool(kernels.window_open(rows[0], float(case.input["now_unix_s"]))), "error": broken}
    return verdict(case.expected, got)


def allowed_case(case: Case) -> Result:
    c = case.input
    got = allowed(c["budgets"], c["node_count"], c["reason"], c["now_unix_s"])
    return verdict(case.expected, {"allowed": got, "error": is_broken(c["budgets"])})


def remaining_case(case: Case) -> Result:
    c, got = case.input, {}
    for pool, budgets in c["pool_budgets"].items():
        mine = [n for n in c["nodes"] if n["pool"] == pool and n["managed"] and n["initialized"]]
        mine = [n for n in mine if not n["instance_terminating"]]
        leaving = sum(1 for n in mine if not n["ready"] or n["marked_for_deletion"])
        rows, shares = budgets_of(budgets)
        reason = REASON_BITS[c["reason"]]
        left = kernels.pool_budget(rows, shares, len(mine), leaving, reason, float(c["now_unix_s"]))
        got[pool] = None if left == UNLIMITED else int(left)
    return verdict(case.expected, {"remaining": got})


def deletion_cost(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def eviction_case(case: Case) -> Result:
    cost = deletion_cost(case.input["deletion_cost_annotation"])
    return verdict(case.expected, {"cost": kernels.eviction_cost(cost, float(case.input["priority"] or 0))})


def node_cost_case(case: Case) -> Result:
    pods = case.input["pods"]
    costs = np.array([deletion_cost(p["deletion_cost_annotation"]) for p in pods], np.float64)
    priorities = np.array([p["priority"] or 0 for p in pods], np.float64)
    return verdict(case.expected, {"cost": kernels.node_cost(costs, priorities)})


def order_case(case: Case) -> Result:
    price, cost = (
        np.array([c[key] for c in case.input["candidates"]], np.float64)
        for key in ("usd_per_h", "reschedule_disruption_cost")
    )
    ratio, order = np.zeros(len(price)), np.zeros(len(price), np.int64)
    kernels.sort_candidates(price, cost, ratio, order)
    return verdict(case.expected, {"sorted_ratios": ratio[order].tolist()})


def quiet_case(case: Case) -> Result:
    c = case.input
    event = math.nan if c["last_pod_event_unix_s"] is None else float(c["last_pod_event_unix_s"])
    after = math.inf if c["consolidate_after_seconds"] is None else float(c["consolidate_after_seconds"])
    got = kernels.under_consolidate_after(float(c["now_unix_s"]), event, float(c["initialized_unix_s"]), after)
    return verdict(case.expected, {"under_consolidate_after": bool(got)})


def number(value: float) -> float | str:
    return "inf" if math.isinf(value) else value


def score_case(case: Case) -> Result:
    c = case.input
    args = [float(c[k]) for k in ("savings", "disruption_cost", "pool_total_cost", "pool_total_disruption_cost")]
    score = kernels.move_score(*args)
    got = {"approved": bool(kernels.passes(score, float(c["k"]))), "score": number(score)}
    return verdict({k: case.expected[k] for k in got}, got)


def filter_case(case: Case) -> Result:
    c = case.input
    names = ("usd_per_h", "reschedule_disruption_cost", "pool_total_cost_usd_per_h", "pool_total_disruption_cost", "k")
    return verdict(case.expected, {"can_pass": bool(kernels.can_pass(*(float(c[k]) for k in names)))})


def move_case(case: Case) -> Result:
    c = case.input
    pools = sorted({x["pool"] for x in c["candidates"]} | set(c["pool_totals"]))
    policy = {x["pool"]: x["policy"] for x in c["candidates"]}
    totals = [c["pool_totals"].get(p) or {} for p in pools]
    score = np.zeros(len(pools))
    approved = kernels.approve_move(
        len(c["candidates"]),
        np.array([pools.index(x["pool"]) for x in c["candidates"]], np.int64),
        np.array([x["usd_per_h"] for x in c["candidates"]], np.float64),
        np.array([x["reschedule_disruption_cost"] for x in c["candidates"]], np.float64),
        np.array([policy.get(p) == "Balanced" for p in pools]),
        np.array([t.get("total_cost_usd_per_h", 0.0) for t in totals], np.float64),
        np.array([t.get("total_disruption_cost", 0.0) for t in totals], np.float64),
        float(c["net_savings_usd_per_h"]),
        float(c["k"]),
        score,
    )
    per_pool = {
        p: {"approved": bool(kernels.passes(s, float(c["k"]))), "score": number(float(s))}
        for p, s in zip(pools, score, strict=True)
        if not math.isnan(s)
    }
    return verdict(case.expected, {"approved": bool(approved), "per_pool": per_pool})


def script_case(case: Case) -> Result:
    """The scripts' own scores: as the controller's, but for its guards (no savings, no pool total)."""
    c = case.input
    unit = "price_units" if "savings_price_units" in c else "usd_per_h"
    names = (f"savings_{unit}", "move_disruption", f"pool_cost_{unit}", "pool_disruption")
    args = [float(c[k]) for k in names]
    rule = kernels.move_score if c["rule_variant"] == "score_with_node_base_1" else kernels.share_ratio
    score = rule(*args)
    got = {"approved": bool(kernels.passes(score, float(c["k"]))), "score": number(float(score))}
    return verdict(case.expected, got)
