"""Karpenter's settings of pools and stack -> the arrays that its kernels read. Text is parsed here, once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.cluster import NodeBudget
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
from envs.cron import ALWAYS, BROKEN, parse_cron
from envs.sim.state import F8, I8

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
