"""Karpenter's rules against slow references, and the rules that a first implementation gets wrong."""

from __future__ import annotations

import math
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.cluster import NodeBudget
from envs.controllers.karpenter_budget import EMPTY, UNLIMITED
from envs.controllers.karpenter_cost import MOVED_PLANES
from envs.controllers.karpenter_layout import AT, BLOCK, F_BASE, F_BOOT, F_PLANES
from envs.controllers.karpenter_pack import budget_rows
from envs.controllers.karpenter_price import ON_DEMAND, SPOT
from envs.cron import parse_cron
from envs.sim.state import NODE_BOOTING, NODE_DRAINING, NODE_FREE, NODE_READY
from tests.conformance import karpenter_kernels as kernels
from tests.controllers.karpenter_kernels import find_starts, provider_choice, sort_both_ways

SCHEDULES = (
    "*/7 3-20/5 * * *",
    "0 0 13 * 5",
    "15 3 29 2 *",
    "30 6 * * sun",
    "@monthly",
    "5 4 1,15 * *",
    "59 23 * 12 *",
)


def fires(text: str, at: datetime) -> bool:
    """Whether a schedule fires in a minute, field by field."""
    m = parse_cron(text)
    day, weekday = m.day >> at.day & 1, m.weekday >> (at.isoweekday() % 7) & 1
    on_day = (day and weekday) if m.any_day else (day or weekday)
    return bool(m.minute >> at.minute & 1 and m.hour >> at.hour & 1 and m.month >> at.month & 1 and on_day)


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), st.integers(1_700_000_000, 1_860_000_000), st.integers(1, 3 * 86_400))
def test_a_window_is_open_when_the_schedule_fired_within_its_duration(text: str, now: int, duration: int) -> None:
    rows, _ = budget_rows([NodeBudget(1, False, (), text, float(duration))])
    start = datetime.fromtimestamp(now - now % 60, UTC)
    want = False
    for back in range(duration // 60 + 2):
        at = start - timedelta(minutes=back)
        if fires(text, at) and now - duration < at.timestamp() <= now:
            want = True
            break
    assert bool(kernels.window_open(rows[0], float(now))) == want


def test_a_window_opens_at_its_exact_start_and_is_closed_at_its_exact_end() -> None:
    rows, _ = budget_rows([NodeBudget(1, False, (), "0 9 * * *", 3600.0)])
    nine = datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp()
    assert [bool(kernels.window_open(rows[0], nine + s)) for s in (-1, 0, 3599, 3600)] == [False, True, True, False]


def test_the_smallest_budget_counts_and_a_broken_one_stops_everything() -> None:
    rows, shares = budget_rows([NodeBudget(0.1), NodeBudget(3, False, ("Empty",)), NodeBudget(1, False, ("Drifted",))])
    assert kernels.pool_budget(rows, shares, 41, 0, EMPTY, 0.0) == 3
    assert kernels.pool_budget(rows, shares, 21, 1, EMPTY, 0.0) == 2  # 10 % of 21 is 3, one is on its way
    broken, none = budget_rows([NodeBudget(1, False, ("Drifted",), "whenever", 60.0)])
    assert kernels.pool_budget(broken, none, 40, 0, EMPTY, 0.0) == 0
    assert kernels.pool_budget(*budget_rows([]), 40, 0, EMPTY, 0.0) == UNLIMITED


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(1, 50)), min_size=1, max_size=40))
def test_candidates_are_sorted_by_falling_ratio_and_equal_ones_stay(pairs: list[tuple[float, float]]) -> None:
    price, cost = (np.array(x, np.float64) for x in zip(*pairs, strict=True))
    ratio, order = np.zeros(len(pairs)), np.zeros(len(pairs), np.int64)
    kernels.sort_candidates(price, cost, ratio, order)
    assert order.tolist() == sorted(range(len(pairs)), key=lambda i: -(price[i] / cost[i]))


@pytest.mark.parametrize("most", [3, 40, 300])
def test_sorting_again_is_sorting(most: int) -> None:
    """Many equal ratios, few to many changes, nodes that are new."""
    rng, nodes, hi = np.random.default_rng(most), 700, 600
    ratio, sorted_by, moved = np.full(nodes, -1.0), np.full(nodes, -1.0), np.zeros((MOVED_PLANES, nodes), np.int64)
    order, again = np.arange(nodes), np.arange(nodes)
    for _ in range(60):
        hi = min(nodes, hi + int(rng.integers(0, 4)))
        at = rng.integers(0, hi, int(rng.integers(0, most)))
        ratio[at] = rng.choice([-1.0, 0.1, 0.2, 0.3], len(at))
        sort_both_ways(ratio, order, sorted_by, again, moved, hi)
        assert again.tolist() == order.tolist()


def test_a_type_is_as_dear_as_its_dearest_offering_of_what_would_be_launched() -> None:
    kind, capacity = np.array([0, 0, 0, 1, 1]), np.array([SPOT, SPOT, ON_DEMAND, ON_DEMAND, ON_DEMAND])
    price, mask = np.array([0.1, 0.3, 0.9, 0.2, 0.25]), np.ones(5, np.bool_)
    first, worst, best = np.zeros(2, np.int64), np.zeros(2), np.zeros(2)
    left = kernels.price_filter(mask, kind, capacity, price, first, worst, best, 0.3)
    assert worst.tolist() == [0.3, 0.25]
    assert (left, mask.tolist()) == (1, [False, False, False, True, True])  # 0.3 is not strictly below 0.3


def test_the_provider_takes_spot_first_and_weighs_its_price_with_the_hazard() -> None:
    kind, capacity = np.array([0, 1, 2]), np.array([SPOT, SPOT, ON_DEMAND])
    price, hazard, live = np.array([0.10, 0.11, 0.05]), np.array([2e-4, 0.0, 0.0]), np.zeros(3, np.int64)

    def taken(k: float, most: int = 60) -> int:
        return int(provider_choice(np.ones(3, np.bool_), kind, capacity, price, hazard, live, k, most))

    assert taken(0.0) == 0
    assert taken(730.0) == 1  # 0.10 x (1 + 730 x 0.0002) = 0.1146
    assert taken(730.0, most=1) == 2  # only the cheapest type is sent: that is the on-demand one
    assert provider_choice(np.zeros(3, np.bool_), kind, capacity, price, hazard, live, 0.0, 60) == -1


def test_equal_offerings_go_round_by_the_nodes_that_are_there() -> None:
    same = np.zeros(3, np.int64)
    live = np.array([2, 1, 1])
    args = (np.ones(3, np.bool_), same, same + ON_DEMAND, np.ones(3), np.zeros(3), live, 0.0, 60)
    assert provider_choice(*args) == 1


@pytest.mark.parametrize(
    ("priority", "cost"), [(0, 1.0), (2_000_000_000, 10.0), (-2_000_000_000, -10.0), (1 << 25, 2.0)]
)
def test_eviction_cost_is_clamped(priority: int, cost: float) -> None:
    assert kernels.eviction_cost(0.0, float(priority)) == cost


def test_balanced_needs_half_of_the_disruption_share() -> None:
    assert kernels.move_score(1.0, 1.0, 10.0, 10.0) == 1.0
    assert kernels.passes(kernels.move_score(1.0, 2.0, 10.0, 10.0), 2.0)
    assert not kernels.passes(kernels.move_score(1.0, 2.1, 10.0, 10.0), 2.0)
    assert kernels.move_score(-1.0, 2.0, 10.0, 10.0) == kernels.move_score(1.0, 2.0, 0.0, 10.0) == 0.0
    assert math.isinf(kernels.move_score(1.0, 0.0, 10.0, 10.0))


Config = namedtuple("Config", "twin compat")
Classes = namedtuple("Classes", "req")
Groups = namedtuple("Groups", "alloc")
Nodes = namedtuple("Nodes", "hi group phase used")
Solve = namedtuple("Solve", "at first block")


@pytest.mark.parametrize("seed", range(40))
def test_the_first_ready_and_the_first_booting_node_with_room_are_found(seed: int) -> None:
    """Against a look at every slot: a ready node with room does not hide the booting ones behind it."""
    rng = np.random.default_rng(seed)
    N, W = int(rng.integers(1, 3 * BLOCK)), 4
    phase = rng.choice([NODE_FREE, NODE_READY, NODE_READY, NODE_BOOTING, NODE_DRAINING], N).astype(np.int64)
    group = np.where(phase == NODE_FREE, -1, rng.integers(0, 2, N))
    used = rng.choice([0, 5, 10], (1, N, 3)).astype(np.int64)
    req = rng.integers(1, 8, (1, W, 3)).astype(np.int64)
    compat = rng.random((1, W, 1, 2)) < 0.8
    first, at = np.zeros((1, F_PLANES, W), np.int64), np.zeros((1, AT), np.int64)
    nodes = Nodes(np.array([N]), group[None], phase[None], used)
    solve = Solve(at, first, np.zeros((1, N // BLOCK + 1, 2), np.int64))
    find_starts(Config(np.arange(W)[None], compat), Classes(req), Groups(np.full((1, 2, 3), 10)), nodes, solve)
    for w in range(W):
        fits = [g >= 0 and compat[0, w, 0, g] and (req[0, w] + used[0, n] <= 10).all() for n, g in enumerate(group)]
        for plane, wanted in ((F_BASE, NODE_READY), (F_BOOT, NODE_BOOTING)):
            slots = [n for n in range(N) if fits[n] and phase[n] == wanted]
            if plane == F_BASE or slots:
                assert first[0, plane, w] == (slots[0] if slots else N)
