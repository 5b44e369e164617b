"""Cost at equal SLO, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.frontier import cheapest_no_worse, cost_at, frontier, why_no_overlap

BAD = np.array([0.01, 0.001, 0.0001])
COST = np.array([100.0, 200.0, 400.0])


def at(bad: float) -> float:
    return float(cost_at(frontier(BAD, COST), bad)[0])


def test_cost_is_linear_in_the_logarithm_of_the_bad_share() -> None:
    """Half way from 1 % to 0.1 % in the logarithm is 0.316 %: $150. A tenth of the way from 0.1 % to 0.01 %: $220."""
    assert at(10**-2.5) == pytest.approx(150.0)
    assert at(10**-3.1) == pytest.approx(220.0)
    assert [at(b) for b in BAD] == pytest.approx(COST.tolist())


def test_nothing_is_extrapolated_and_the_reason_is_said() -> None:
    front = frontier(BAD, COST)
    assert np.isnan(at(0.02))
    assert np.isnan(at(0.00005))
    assert np.isnan(at(float("nan")))
    assert "more than its cheapest setting has (1 %)" in why_no_overlap(front, 0.02)
    assert "less than its safest setting has (0.01 %)" in why_no_overlap(front, 0.00005)
    assert why_no_overlap(front, 0.001) == ""


def test_a_setting_that_another_beats_in_both_is_no_part_of_the_frontier() -> None:
    """0.5 % at $500 is beaten by 0.1 % at $200; the line runs past it."""
    front = frontier(np.append(BAD, 0.005), np.append(COST, 500.0))
    assert front.on.sum() == 3
    assert float(cost_at(front, 10**-2.5)[0]) == pytest.approx(150.0)


def test_shares_below_one_in_a_million_are_not_told_apart() -> None:
    front = frontier(np.array([0.0, 1e-9, 0.01]), np.array([300.0, 250.0, 100.0]))
    assert front.on.tolist() == [[True, False, True]]
    assert float(cost_at(front, 0.0)[0]) == pytest.approx(250.0)


def test_rows_are_independent() -> None:
    many = frontier(np.stack([BAD, BAD]), np.stack([COST, 2.0 * COST]))
    assert cost_at(many, np.array([10**-2.5, 10**-2.5])) == pytest.approx([150.0, 300.0])
    assert np.isnan(cost_at(many, np.array([0.02, 0.01]))).tolist() == [True, False]


def test_against_a_point_nothing_is_interpolated_and_missed_slos_count() -> None:
    missed = np.array([2.0, 1.0, 0.0])
    assert cheapest_no_worse(BAD, COST, missed, bad_at=0.005, missed_at=2.0) == 200.0
    assert cheapest_no_worse(BAD, COST, missed, bad_at=0.02, missed_at=0.0) == 400.0
    assert np.isnan(cheapest_no_worse(BAD, COST, missed, bad_at=1e-6, missed_at=5.0))


@given(st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 1e4)), min_size=1, max_size=9), st.floats(1e-6, 1.0))
def test_a_frontier_falls_and_no_setting_lies_below_it(points: list[tuple[float, float]], bad: float) -> None:
    shares, costs = (np.array(side) for side in zip(*points, strict=True))
    front = frontier(shares, costs)
    on = front.cost[0][front.on[0]]
    assert (np.diff(on) < 0).all()
    assert (np.diff(front.bad[0][front.on[0]]) > 0).all()
    for b, c in points:
        found = float(cost_at(front, b)[0])
        assert np.isnan(found) or found <= c * (1 + 1e-9)
    low, high = front.range
    inside = low[0] <= bad <= high[0]
    assert np.isfinite(float(cost_at(front, bad)[0])) == inside
