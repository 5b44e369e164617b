"""The tuned base runs beside a policy as it would alone, and load is made once for both, whoever reads it when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.base_beside import BaseBeside
from envs.demand import Demand
from envs.load_ahead import AHEAD, LoadAhead
from envs.load_past import KEPT_MIN, LAGS_MIN, LEADS_MIN, PAST, PEAKS_MIN, LoadPast
from envs.recorded_past import past_rates
from envs.stack_file import load_stack
from envs.workload_batch import WorkloadBatch
from envs.world_draw import Draw, draw_scenario, shipped_loads

HORIZON_S = 7.0 * 3600.0 + 300.0  # more than a block of load ahead, and no multiple of 7 minutes
WORLDS = [draw_scenario(np.random.default_rng(3), shipped_loads(), Draw(HORIZON_S, workloads=3)) for _ in range(2)]
STACKS = [load_stack(name) for name in ("rps-target", "karpenter-rps")]


def batch(period_s: float = 60.0, threads: int = 1) -> WorkloadBatch:
    return WorkloadBatch(WORLDS, STACKS, np.geomspace(10.0, 3000.0, 6), period_s=period_s, threads=threads)


@pytest.mark.parametrize(("period_s", "threads"), [(60.0, 1), (420.0, 2)])
def test_the_base_beside_pays_what_a_batch_pays_that_nobody_steers(period_s: float, threads: int) -> None:
    mine, alone, rng = batch(period_s, threads), batch(period_s), np.random.default_rng(1)
    beside = BaseBeside(mine)
    steered = False
    while not mine.done:
        ours = mine.step(rng.uniform(-1.0, 1.0, (6, 2)))
        base, expected = beside.next_terms(), alone.step(np.zeros((6, 2)))
        for name, value in vars(expected).items():
            assert getattr(base, name).tobytes() == value.tobytes(), name
        steered = steered or bool((ours.usd != base.usd).any())
    assert steered


def test_the_base_beside_leaves_the_batch_alone() -> None:
    with_base, alone = batch(), batch()
    beside = BaseBeside(with_base)
    for _ in range(3):
        with_base.step(np.ones((6, 2)))
        beside.next_terms()
        alone.step(np.ones((6, 2)))
    assert with_base.sim.state_bytes() == alone.sim.state_bytes()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.lists(st.integers(1, 3), min_size=1, max_size=30))
def test_load_is_the_same_in_whatever_blocks_it_is_made(minute_ticks: int, minutes: list[int]) -> None:
    demand = Demand.pack(WORLDS, [s.seed for s in WORLDS])
    load, tick = LoadAhead(demand, minute_ticks), 0
    np.testing.assert_array_equal(load.read(-120, 120), demand.arrivals(-120, 120))
    assert load.block_ticks >= AHEAD
    for n in minutes:
        for _ in range(n):
            some = load.read(tick, min(minute_ticks, demand.last_tick - tick))
            np.testing.assert_array_equal(some, demand.arrivals(tick, some.shape[1]))
            rest = load.rest(tick)
            assert (tick + rest.shape[1]) % load.block_ticks == 0 or tick + rest.shape[1] == demand.last_tick
            tick += some.shape[1]
        if tick >= demand.last_tick:
            return


def reference(rates: np.ndarray) -> np.ndarray:
    """PAST from (minutes, n) samples, the last of which is the newest, as its words say it."""

    def ago(minutes: int) -> np.ndarray:
        return rates[-1 - minutes] if minutes < len(rates) else np.full(rates.shape[1], np.nan)

    columns = [ago(m) for m in LAGS_MIN]
    for m in PEAKS_MIN:
        columns.append(np.fmax.reduce([ago(k) for k in range(m)]))
    for back in (1440, 10_080):
        for lead in LEADS_MIN:
            around = np.stack([ago(back - lead + k) for k in range(-2, 3)]).astype(np.float32)
            columns.append(around.sum(axis=0, dtype=np.float32) / np.float32(5))
    return np.stack(columns, axis=1)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, KEPT_MIN),
    st.lists(st.integers(1, 250), min_size=1, max_size=6),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_the_past_is_read_as_its_words_say_whenever_it_is_asked_for(
    known: int, pushes: list[int], seed: int, ask: bool
) -> None:
    """`known` minutes before time 0 were recorded; told beforehand or asked for, it reads the same."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(2.0, 50.0, (KEPT_MIN + sum(pushes), 3)).astype(np.float32)
    rates[rng.random(rates.shape) < 0.02] = np.nan
    rates[: KEPT_MIN - known] = np.nan
    asked: list[int] = []

    def before(minutes: range) -> np.ndarray:
        asked.extend(minutes)
        return rates[minutes.start + KEPT_MIN : minutes.stop + KEPT_MIN].astype(np.float64)

    past = LoadPast(3, before if ask else None)
    if not ask:
        past.extend(rates[:KEPT_MIN].astype(np.float64))
    at = KEPT_MIN
    for n in pushes:
        for row in rates[at : at + n]:
            past.push(row.astype(np.float64))
        at += n
        np.testing.assert_array_equal(past.read(), reference(rates[:at]).astype(np.float64))
        np.testing.assert_array_equal(past.newest(), rates[at - 1])
        assert past.read().shape[1] == len(PAST)
    assert len(asked) < KEPT_MIN / 2
    np.testing.assert_array_equal(past.last(KEPT_MIN), rates[at - KEPT_MIN : at])


def test_a_part_of_the_recorded_past_is_a_part_of_the_whole() -> None:
    demand = Demand.pack(WORLDS, [s.seed for s in WORLDS])
    whole = past_rates(demand, WORLDS)
    assert whole.shape == (KEPT_MIN, 6)
    assert np.isfinite(whole).any()
    assert np.isnan(whole).any()
    for part in (range(-KEPT_MIN, -KEPT_MIN + 7), range(-300, -200), range(-1, 0)):
        np.testing.assert_array_equal(past_rates(demand, WORLDS, part), whole[part.start :][: len(part)])
