"""The service tick: conservation, monotonicity, continuity, and the steady state as its rest point."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.sim.jit import kernel
from envs.sim.queue_memory import KNOWN
from envs.sim.queueing import bad_share, load_tables
from envs.sim.service import known_tick, service_tick
from tests.reference import queue_des

TABLES = load_tables()
SLACK = 1e-9
WORLDS = st.fixed_dictionaries(
    {
        "rho": st.floats(0.0, 1.5) | st.floats(0.9, 1.1) | st.floats(0.0, 20.0),
        "replicas": st.floats(0.01, 500.0) | st.integers(1, 20).map(float),
        "slots": st.sampled_from([1.0, 2.0, 3.0, 8.0, 50.0, 300.0]),
        "cv": st.floats(0.0, 3.5),
        "threshold_s": st.floats(0.01, 5.0),
        "timeout_s": st.floats(0.05, 60.0),
        "balancing": st.integers(0, 2),
        "speed": st.floats(0.1, 1.0),
        "delay": st.just(0.0) | st.floats(0.0, 200.0) | st.floats(0.0, 3.0),
    }
).map(
    lambda w: (
        w
        | {
            "arrivals": w["rho"] * w["replicas"] * w["slots"] * 150.0 * w["speed"],
            "backlog": w["delay"] * w["replicas"] * w["slots"],
        }
    )
)


def tick(world: dict[str, float], **change: float) -> tuple[float, ...]:
    """service_tick with 0.1 s requests and 15 s ticks."""
    w = world | change
    return service_tick(
        TABLES, w["arrivals"], 15.0, w["replicas"], w["slots"], 0.1, w["cv"], w["threshold_s"],
        w["timeout_s"], int(w["balancing"]), w["speed"], w["backlog"],
    )  # fmt: skip


def share(result: tuple[float, ...]) -> float:
    """Bad share of the requests that left; NaN where none did."""
    left = result[0] + result[1]
    return result[1] / left if left > 1e-3 else np.nan


@given(WORLDS)
@settings(max_examples=400, deadline=None)
def test_requests_are_conserved(world: dict[str, float]) -> None:
    good, bad, timed_out, served, backlog, busy = tick(world)
    size = world["arrivals"] + world["backlog"] + 1.0
    assert abs(world["arrivals"] + world["backlog"] - served - timed_out - backlog) <= 1e-12 * size
    assert abs(good + bad - served - timed_out) <= 1e-12 * size
    assert min(good, bad, timed_out, served, backlog, busy) >= -1e-9 * size
    assert busy <= world["replicas"] * world["slots"] * (1.0 + 1e-12)


def test_without_replicas_requests_queue_and_then_time_out() -> None:
    world = {"arrivals": 150.0, "replicas": 0.0, "slots": 4.0, "cv": 1.0, "threshold_s": 0.5,
             "timeout_s": 30.0, "balancing": 0, "speed": 1.0, "backlog": 0.0}  # fmt: skip
    first = tick(world)
    assert first[3] == 0.0
    assert first[4] == pytest.approx(150.0)
    backlog = first[4]
    for _ in range(40):
        backlog = tick(world, backlog=backlog)[4]
    assert backlog == pytest.approx(300.0, rel=0.01)  # 10 requests/s for 30 s


@pytest.mark.parametrize("balancing", [0, 1, 2])
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.9, 0.96])
def test_constant_load_settles_at_the_steady_state(balancing: int, rho: float) -> None:
    load = rho * 10 * 4 / 0.1 * 15
    world = {"arrivals": load, "replicas": 10.0, "slots": 4.0, "cv": 1.0, "threshold_s": 0.4,
             "timeout_s": 1e6, "balancing": balancing, "speed": 1.0, "backlog": 0.0}  # fmt: skip
    result = tick(world)
    for _ in range(400):
        result = tick(world, backlog=result[4])
    steady = bad_share(TABLES, rho * 400, 10.0, 4.0, 0.1, 1.0, 0.4, balancing)
    assert share(result) == pytest.approx(steady, rel=1e-4)


@given(WORLDS, st.floats(1e-6, 2.0))
@settings(max_examples=1500, deadline=None)
def test_more_backlog_never_helps(world: dict[str, float], more: float) -> None:
    before = share(tick(world))
    after = share(tick(world, backlog=world["backlog"] + more * world["replicas"] * world["slots"] * 30.0))
    assert not after < before - SLACK


@given(WORLDS, st.floats(1.0, 2.0) | st.floats(1.0, 1.001))
@settings(max_examples=1500, deadline=None)
def test_more_replicas_never_hurt(world: dict[str, float], factor: float) -> None:
    before, after = share(tick(world)), share(tick(world, replicas=world["replicas"] * factor))
    assert not after > before + SLACK


@given(WORLDS, st.lists(st.tuples(st.floats(0.3, 1.3), st.sampled_from([1.0, 1.0, 1.0, 2.0, 0.5])), max_size=6))
@settings(max_examples=400, deadline=None)
def test_what_a_service_remembers_changes_no_result(world: dict[str, float], ticks: list[tuple[float, float]]) -> None:
    known = np.zeros(KNOWN)
    for load, replicas in [*ticks, (1.0, 1.0)]:
        args = (
            world["arrivals"] * load, 15.0, world["replicas"] * replicas, world["slots"], 0.1, world["cv"],
            world["threshold_s"], world["timeout_s"], int(world["balancing"]), world["speed"], world["backlog"] * load,
        )  # fmt: skip
        assert known_tick(TABLES, known, *args) == service_tick(TABLES, *args)


@given(WORLDS)
@settings(max_examples=800, deadline=None)
def test_a_tick_without_backlog_is_the_least_bad(world: dict[str, float]) -> None:
    assert not share(tick(world, backlog=0.0)) > share(tick(world)) + SLACK


@kernel
def greatest_breach(tables: Any, worlds: Any, in_replicas: bool) -> float:
    """Most by which the bad share moves the wrong way; columns as tick(), last the factor or the added backlog."""
    worst = 0.0
    for i in range(worlds.shape[0]):
        w = worlds[i]
        before = service_tick(tables, w[0], 15.0, w[1], w[2], 0.1, w[3], w[4], w[5], int(w[6]), w[7], w[8])
        more, n = (w[8], w[1] * (1.0 + w[9])) if in_replicas else (w[8] + w[9] * w[1] * w[2], w[1])
        after = service_tick(tables, w[0], 15.0, n, w[2], 0.1, w[3], w[4], w[5], int(w[6]), w[7], more)
        a, b = before[0] + before[1], after[0] + after[1]
        if a > 1e-3 and b > 1e-3:
            breach = before[1] / a - after[1] / b
            worst = max(worst, -breach if in_replicas else breach)
    return worst


@pytest.mark.parametrize("in_replicas", [False, True])
def test_the_bad_share_is_monotone_in_a_hundred_thousand_worlds(in_replicas: bool) -> None:
    random, n = np.random.default_rng(4), 100_000

    def spread(low: float, high: float) -> Any:
        return np.exp(random.uniform(np.log(low), np.log(high), n))

    replicas, slots, speed = spread(0.05, 500.0), random.choice([1.0, 2.0, 3.0, 5.0, 8.0, 50.0, 300.0], n), 1.0
    rho = np.where(random.random(n) < 0.5, random.uniform(0.8, 1.2, n), spread(0.02, 12.0))
    backlog = replicas * slots * spread(0.02, 400.0) * (random.random(n) > 0.2)
    worlds = np.stack(
        [
            rho * replicas * slots * 150.0, replicas, slots, random.uniform(0.0, 3.5, n), spread(0.01, 5.0),
            spread(0.05, 60.0), random.integers(0, 3, n).astype(float), np.full(n, speed), backlog, spread(1e-4, 3.0),
        ],
        axis=1,
    )  # fmt: skip
    assert greatest_breach(TABLES, worlds, in_replicas) <= SLACK


@pytest.mark.parametrize("balancing", [0, 1, 2])
@pytest.mark.parametrize("backlog", [0.0, 20.0, 500.0])
def test_nothing_jumps_where_overload_begins(balancing: int, backlog: float) -> None:
    world = {"arrivals": 0.0, "replicas": 10.0, "slots": 4.0, "cv": 1.0, "threshold_s": 0.4,
             "timeout_s": 10.0, "balancing": balancing, "speed": 1.0, "backlog": backlog}  # fmt: skip
    shares = [share(tick(world, arrivals=6000.0 * (0.9 + 0.0005 * k))) for k in range(400)]
    assert max(abs(b - a) for a, b in pairwise(shares)) < 0.03


def shares_through(pattern: list[float], world: dict[str, float], runs: int) -> tuple[list[float], list[float]]:
    """Bad share per tick through a pattern of utilisations: (simulated, from the kernel)."""
    n, slots = int(world["replicas"]), int(world["slots"])
    rate = np.array(pattern) * n * slots
    ticks = np.zeros((len(pattern), 6))
    for seed in range(runs):
        one = np.zeros((len(pattern), 6))
        waits = np.zeros((queue_des.N_BINS + 1, 2))
        queue_des.simulate(
            int(world["balancing"]), n, slots, world["cv"], rate, 150.0, world["timeout_s"] / 0.1,
            world["threshold_s"] / 0.1, seed, one, waits, 10**9,
        )  # fmt: skip
        ticks += one
    found, backlog = [], 0.0
    for rho in pattern:
        result = tick(world, arrivals=rho * n * slots * 150.0, backlog=backlog)
        backlog = result[4]
        found.append(share(result))
    return list(ticks[:, 1] / (ticks[:, 0] + ticks[:, 1])), found


@pytest.mark.parametrize(("balancing", "replicas", "slots"), [(0, 20, 4), (0, 10, 16), (1, 20, 4), (2, 20, 4)])
@pytest.mark.parametrize("threshold_s", [0.3, 1.0])
def test_overload_and_recovery_follow_the_simulation(
    balancing: int, replicas: int, slots: int, threshold_s: float
) -> None:
    world = {"replicas": replicas, "slots": slots, "cv": 1.0, "threshold_s": threshold_s, "timeout_s": 10.0,
             "balancing": balancing, "speed": 1.0}  # fmt: skip
    ramp = [0.5] * 4 + list(np.linspace(0.5, 1.3, 12)) + [1.3] * 6 + list(np.linspace(1.3, 0.5, 12)) + [0.5] * 10
    simulated, found = shares_through(ramp, world, 8)
    off = np.abs(np.array(simulated) - np.array(found))
    assert off.mean() <= 0.015
    assert (off > 0.05).sum() <= 4  # only ticks in which the delay crosses the threshold
