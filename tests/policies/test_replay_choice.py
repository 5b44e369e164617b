"""Choosing by past loss: what the rule promises, on losses made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.cluster import Workload
from envs.intent import violation_price
from envs.setpoints import GRID, SetPoint, candidates, fleet_regret, of_today
from envs.stack import HpaMetric, HpaSpec
from policies import replay as rule
from policies.replay_table import dump, load

SEEDS = st.integers(0, 2**32 - 1)


def made(seed: int, *, W: int = 3, C: int = 7, B: int = 3, seconds: float = 3600.0) -> rule.Past:
    rng = np.random.default_rng(seed)
    return rule.Past(
        rng.uniform(1, 9, (W, C, B)),
        rng.uniform(0, 50, (W, C, B)),
        rng.uniform(1, 3, W),
        rng.uniform(1e3, 1e5, W),
        seconds,
    )


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_past_in_many_pieces_fades_as_the_closed_form_says(seed: int) -> None:
    parts = [made(seed + k, seconds=3600.0 * (1 + k)) for k in range(4)]
    past = rule.no_past(3, 7, 3)
    for part in parts:
        past = rule.later(past, part)
    end = sum(part.seconds for part in parts)
    age = end - np.cumsum([part.seconds for part in parts])
    closed = sum(part.usd * 0.5 ** (a / rule.HALF_LIFE_S) for part, a in zip(parts, age, strict=True))
    assert past.usd == pytest.approx(closed)
    assert past.seconds == end


@given(SEEDS, st.floats(0.1, 1e4))
@settings(max_examples=30, deadline=None)
def test_the_choice_knows_no_currency_and_no_size(seed: int, factor: float) -> None:
    past = made(seed)
    prior = np.zeros((3, 7))
    scaled = rule.Past(past.usd * factor, past.bad * factor, past.ideal_usd * factor, past.offered * factor)
    chosen = [rule.choose(rule.scores(rule.losses(p, 100.0), prior)) for p in (past, scaled)]
    assert np.array_equal(*chosen)


def test_without_a_past_the_fleet_decides_and_with_one_the_past_outweighs_it() -> None:
    prior = np.array([[0.5, 0.1, 0.9]])
    empty = rule.no_past(1, 3, 1)
    assert rule.choose(rule.scores(rule.losses(empty, 100.0), prior))[0] == 1
    usd = np.array([[[9.0], [9.0], [1.0]]])
    known = rule.Past(usd, np.zeros((1, 3, 1)), np.ones(1), np.ones(1))
    assert rule.choose(rule.scores(rule.losses(known, 100.0), prior))[0] == 2


def test_a_violation_is_dearer_the_stricter_the_slo() -> None:
    assert violation_price(100.0, [0.99, 0.999, 0.9995]) == pytest.approx([10.0, 100.0, 200.0])
    usd = np.array([[[2.0], [3.0]]])
    bad = np.array([[[0.05], [0.0]]])  # of 1 request: 5 %
    past = rule.Past(usd, bad, np.ones(1), np.ones(1))
    zero = np.zeros((1, 2))
    assert rule.choose(rule.scores(rule.losses(past, 10.0), zero))[0] == 0
    assert rule.choose(rule.scores(rule.losses(past, 100.0), zero))[0] == 1


def test_one_belief_that_fails_speaks_against_a_candidate_that_the_others_like() -> None:
    usd = np.array([[[2.0] * 3, [2.5] * 3]])
    bad = np.array([[[0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    past = rule.Past(usd, bad, np.ones(1), np.ones(1))
    zero = np.zeros((1, 2))
    assert rule.choose(rule.scores(rule.losses(past, 100.0), zero))[0] == 1
    middle = rule.without_belief_spread(past, 1)
    assert rule.choose(rule.scores(rule.losses(middle, 100.0), zero))[0] == 0


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_halving_keeps_the_better_half_and_whoever_is_kept(seed: int) -> None:
    score = np.random.default_rng(seed).normal(size=(4, 11))
    live = np.ones((4, 11), np.bool_)
    while live.sum(axis=1).max() > 2:
        fewer = rule.halve(np.where(live, score, np.inf), live, keep=(5,))
        assert not (fewer & ~live).any()
        assert fewer[:, 5].all()
        assert fewer[np.arange(4), np.argmin(score, axis=1)].all()
        for w in range(4):
            dropped = live[w] & ~fewer[w]
            assert score[w, fewer[w] & (np.arange(11) != 5)].max(initial=-9) <= score[w, dropped].min(initial=9)
        if np.array_equal(fewer, live):
            break
        live = fewer


def test_halvings_come_once_each_after_two_four_and_eight_days() -> None:
    hours = np.arange(0, 10 * 24) * 3600.0
    due = [rule.due_halvings(t, t + 3600.0) for t in hours]
    assert [int(h) // 86_400 for h in hours[np.flatnonzero(due)] + 3600.0] == [2, 4, 8]
    assert rule.due_halvings(0.0, 5 * 86_400.0) == 2


def test_the_fleet_table_is_exact_on_the_grid_and_between_its_neighbours_off_it() -> None:
    w = Workload("web")
    today = HpaSpec(metrics=(HpaMetric("External", "requests_per_second", "AverageValue", 50.0),))
    points = candidates(w, today)
    regret = fleet_regret("requests_per_second", 100.0, points)
    assert len(regret) == len(GRID) == 75
    assert regret.min() >= 0.0
    half = SetPoint((points[0].share + points[5].share) / 2, points[0].window_s, today)
    assert fleet_regret("requests_per_second", 100.0, [half])[0] == pytest.approx((regret[0] + regret[5]) / 2)
    assert of_today(w, today).share == pytest.approx(50.0 / 80.0)


def test_a_table_that_was_touched_is_refused() -> None:
    text = dump({"workloads": [{"name": "web", "usd": 1.25}]})
    assert load(text)["workloads"][0]["usd"] == 1.25
    with pytest.raises(ValueError, match="checksum"):
        load(text.replace("1.25", "1.24"))
    with pytest.raises(ValueError, match="schema"):
        load("{}")
