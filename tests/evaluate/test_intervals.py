"""Resampling is stratified, paired, deterministic; order statistics are what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from envs.interquartile import interquartile_mean
from optimizer.evaluate_statistics import Draws, improvement

SOURCES = ["a", "a", "a", "b", "b", "c"]


def test_every_resample_has_as_many_traces_of_each_source_and_the_first_is_the_data() -> None:
    draws = Draws(SOURCES, 2, resamples=200)
    drawn = np.array(SOURCES)[draws.unit]
    assert draws.unit[0].tolist() == list(range(6))
    for source in "abc":
        assert ((drawn == source).sum(axis=1) == SOURCES.count(source)).all()
    assert len({tuple(row) for row in draws.unit.tolist()}) > 50


def test_equal_seeds_give_equal_intervals() -> None:
    values = np.random.default_rng(3).normal(10.0, 1.0, (6, 2))
    one, two = (Draws(SOURCES, 2, resamples=300) for _ in range(2))
    assert one.estimate(one.pooled(values)) == two.estimate(two.pooled(values))
    other = Draws(SOURCES, 2, resamples=300, seed=1)
    assert one.estimate(one.pooled(values)) != other.estimate(other.pooled(values))


def test_in_pooled_means_sources_weigh_alike_and_so_do_traces_within_one() -> None:
    values = np.arange(24.0).reshape(6, 2, 2)
    draws = Draws(SOURCES, 2, resamples=20)
    pooled = draws.pooled(values)
    for r in range(21):
        drawn = np.array([values[u, row].mean(axis=0) for u, row in zip(draws.unit[r], draws.seed[r], strict=True)])
        per_source = [drawn[:3].mean(axis=0), drawn[3:5].mean(axis=0), drawn[5]]
        assert pooled[r] == pytest.approx(np.mean(per_source, axis=0))
        assert draws.values(values[:, :, 0])[r] == pytest.approx(drawn[:, 0])


def test_one_trace_and_one_seed_say_nothing_about_spread() -> None:
    draws = Draws(["a"], 1, resamples=50)
    found = draws.estimate(draws.pooled(np.array([[3.0]])))
    assert found.value == 3.0
    assert np.isnan([found.low, found.high]).all()


def test_an_interval_covers_the_spread_between_traces() -> None:
    draws = Draws(["a"] * 40, 1, resamples=2000)
    values = np.random.default_rng(0).normal(0.0, 1.0, (40, 1))
    found = draws.estimate(draws.pooled(values))
    half = 1.96 * values.std() / np.sqrt(40)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert found.low < found.value < found.high


def test_where_most_resamples_say_nothing_there_is_no_interval() -> None:
    draws = Draws(SOURCES, 1, resamples=100)
    figures = np.full(101, np.nan)
    figures[:40] = 1.0
    assert np.isnan(draws.estimate(figures).low)


def test_the_interquartile_mean_cuts_a_quarter_at_either_end() -> None:
    """Of 1..8 the middle is 3, 4, 5, 6. Of 1..5 a quarter rounded down is one: 2, 3, 4."""
    assert interquartile_mean(np.arange(1.0, 9.0)[None])[0] == 4.5
    assert interquartile_mean(np.array([[5.0, 1.0, 100.0, 3.0, 4.0]]))[0] == 4.0
    assert interquartile_mean(np.array([[np.nan, 2.0, 4.0]]))[0] == 3.0
    assert np.isnan(interquartile_mean(np.array([[np.nan]]))[0])


def test_improvement_counts_ties_half() -> None:
    assert improvement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])).tolist() == [1.0, 0.5, 0.0]
