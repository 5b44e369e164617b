"""The paired bootstrap against hand-computed cases and a slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.statistics import saving_interval, saving_share

COSTS = st.lists(st.floats(1.0, 1000.0), min_size=2, max_size=12)


def strata(*sizes: int) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


def slow_interval(base, other, groups, *, resamples: int, seed: int) -> tuple[float, float]:
    """One resample at a time, one day at a time, in plain Python, on the same draws."""
    generator = np.random.Generator(np.random.PCG64(seed))
    members = {int(g): [i for i in range(len(base)) if groups[i] == g] for g in sorted(set(groups.tolist()))}
    drawn = {g: generator.integers(0, len(ids), (resamples, len(ids))) for g, ids in members.items()}
    shares = []
    for r in range(resamples):
        total = kept = 0.0
        for g, ids in members.items():
            for k in drawn[g][r]:
                total += base[ids[k]]
                kept += other[ids[k]]
        shares.append((total - kept) / total)
    shares.sort()

    def quantile(q: float) -> float:
        at = q * (resamples - 1)
        low = math.floor(at)
        return shares[low] + (at - low) * (shares[min(low + 1, resamples - 1)] - shares[low])

    return quantile(0.025), quantile(0.975)


def test_saving_share_of_a_hand_computed_case():
    assert saving_share(np.array([100.0, 300.0]), np.array([80.0, 220.0])) == pytest.approx(0.25)


def test_saving_share_of_a_free_base_is_unknown():
    assert math.isnan(saving_share(np.zeros(2), np.ones(2)))


def test_equal_saving_every_day_has_no_spread():
    base = np.array([10.0, 20.0, 40.0, 5.0])
    interval = saving_interval(base, 0.9 * base, strata(4))
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.1))


def test_two_days_give_the_two_extremes():
    """Days that save 0 and 50 %: a quarter of the resamples is one day twice, so the interval spans both."""
    interval = saving_interval(np.array([10.0, 10.0]), np.array([10.0, 5.0]), strata(2))
    assert (interval.low, interval.high) == pytest.approx((0.0, 0.5))


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1)])
def test_one_day_a_seed_says_nothing_about_spread(sizes):
    n = sum(sizes)
    interval = saving_interval(np.ones(n), np.ones(n) * 0.5, strata(*sizes))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_seeds_are_resampled_within_themselves():
    """A seed that is all cheap days and one that is all dear ones never mix: no spread at all."""
    base = np.array([1.0, 1.0, 100.0, 100.0])
    other = np.array([0.5, 0.5, 100.0, 100.0])
    interval = saving_interval(base, other, strata(2, 2))
    assert interval.low == interval.high == pytest.approx(1.0 / 202.0)


@given(st.lists(st.floats(1.0, 1000.0), min_size=4, max_size=12), st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_matches_the_slow_reference(costs, seed):
    base = np.array(costs)
    other = base * np.linspace(0.5, 1.2, base.size)
    groups = strata(base.size // 2, base.size - base.size // 2)
    fast = saving_interval(base, other, groups, resamples=200, seed=seed)
    assert (fast.low, fast.high) == pytest.approx(slow_interval(base, other, groups, resamples=200, seed=seed))


@given(COSTS)
@settings(max_examples=25, deadline=None)
def test_interval_lies_within_the_daily_savings(costs):
    base = np.array(costs)
    share = np.linspace(-0.3, 0.6, base.size)
    interval = saving_interval(base, base * (1 - share), strata(base.size), resamples=100)
    assert share.min() - 1e-12 <= interval.low <= interval.high <= share.max() + 1e-12


def test_equal_calls_give_equal_intervals():
    base, other = np.arange(1.0, 15.0), np.arange(2.0, 16.0)[::-1]
    assert saving_interval(base, other, strata(14)) == saving_interval(base, other, strata(14))


def test_covers_the_true_saving_about_as_often_as_it_says():
    """200 known worlds of 14 days: 85 to 99 % of the intervals cover (small samples run low)."""
    generator, hits = np.random.default_rng(1), 0
    for _ in range(200):
        base = generator.lognormal(3.0, 0.2, 14)
        other = base * generator.normal(0.9, 0.05, 14)
        interval = saving_interval(base, other, strata(14), resamples=400)
        hits += interval.low <= 0.1 <= interval.high
    assert 0.85 <= hits / 200 <= 0.99
