"""The cheapest tick: no replicas and no backlog, however chosen, make a tick cheaper than its table says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.bound import PRICES, WAITS
from envs.bound_tables import BIN, MOST_REPLICAS, NO_LOAD, REPLICAS
from envs.sim.foresight import least_costs
from envs.sim.jit import kernel
from envs.sim.queueing import load_tables, lognormal_tail
from envs.sim.service import service_tick

TABLES = load_tables()
SERVICES = st.fixed_dictionaries(
    {
        "slots": st.sampled_from([1.0, 2.0, 6.0, 16.0, 50.0]),
        "service_s": st.sampled_from([0.02, 0.1, 0.5, 3.0]),
        "cv": st.sampled_from([0.3, 0.6, 1.0, 2.0]),
        "theta": st.floats(1.3, 12.0),
        "timeout_s": st.sampled_from([2.0, 10.0, 60.0]),
        "balancing": st.integers(0, 2),
        "speed": st.sampled_from([1.0, 1.0, 0.6]),
        "dt_s": st.sampled_from([5.0, 15.0, 60.0]),
        "busy": st.sampled_from([0.0, 0.2, 1.0, 3.0, 30.0, 300.0]),  # replicas that the load keeps busy
    }
)


def load_of(s: dict[str, Any]) -> float:
    return float(s["busy"] * s["dt_s"] * s["slots"] * s["speed"] / s["service_s"])


def idle_of(s: dict[str, Any]) -> float:
    return float(lognormal_tail(s["theta"] * s["speed"], s["cv"]))


def table_of(s: dict[str, Any]) -> Any:
    """(Q, E) of one service and load."""
    out = np.empty((1, len(WAITS), len(PRICES)))
    load, unit = load_of(s), s["service_s"] / (s["slots"] * s["speed"])
    scale = load or NO_LOAD * s["dt_s"] / unit
    least_costs(
        TABLES, np.array([load]), np.array([scale]), REPLICAS, WAITS * unit, PRICES * unit, idle_of(s), MOST_REPLICAS,
        s["dt_s"], s["slots"], s["service_s"], s["cv"], s["theta"] * s["service_s"], s["timeout_s"],
        int(s["balancing"]), s["speed"], out,
    )  # fmt: skip
    return out[0]


@kernel
def worst_gap(
    tables: Any, loads: Any, replicas: Any, waiting: Any, least: Any, waits: Any, prices: Any, idle: float, dt_s: float,
    slots: float, service_s: float, cv: float, threshold_s: float, timeout_s: float, balancing: int, speed: float,
) -> float:  # fmt: skip
    """Least of (what a tick costs - what its table says) / (1 + what it costs), over the points and all prices."""
    worst = np.inf
    for i in range(replicas.shape[0]):
        _good, bad, _out, _served, rest, _busy = service_tick(
            tables, loads[i], dt_s, replicas[i], slots, service_s, cv, threshold_s, timeout_s, balancing, speed,
            waiting[i],
        )  # fmt: skip
        for q in range(waits.shape[0]):
            for e in range(prices.shape[0]):
                cost = replicas[i] * dt_s + prices[e] * bad
                cost += (waits[q] + idle * prices[e]) * (rest - waiting[i])
                worst = min(worst, (cost - least[q, e]) / (abs(cost) + replicas[i] * dt_s + 1e-3))
    return worst


@given(SERVICES, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_no_replicas_and_no_backlog_make_a_tick_cheaper_than_its_table(service: dict[str, Any], seed: int) -> None:
    rng, n, s = np.random.default_rng(seed), 3000, service
    load, unit = load_of(s), s["service_s"] / (s["slots"] * s["speed"])
    busy = max(s["busy"], 0.01)
    replicas = busy * np.exp(rng.uniform(-3.0, 4.0, n)) * (rng.random(n) > 0.05)
    replicas[: n // 2] = busy * np.exp(rng.uniform(-0.2, 1.0, n // 2))  # where SLOs are met
    waiting = busy * s["dt_s"] / unit * np.exp(rng.uniform(-9.0, 3.0, n)) * (rng.random(n) > 0.3)
    loads = load * np.exp(rng.uniform(0.0, BIN, n)) if load else np.zeros(n)
    gap = worst_gap(
        TABLES, loads, replicas, waiting, table_of(s), WAITS * unit, PRICES * unit, idle_of(s), s["dt_s"], s["slots"],
        s["service_s"], s["cv"], s["theta"] * s["service_s"], s["timeout_s"], int(s["balancing"]), s["speed"],
    )  # fmt: skip
    assert gap >= -1e-9


@pytest.mark.parametrize("balancing", [0, 1, 2])
@pytest.mark.parametrize(("slots", "busy", "theta"), [(6.0, 20.0, 6.0), (16.0, 3.0, 8.0), (4.0, 0.7, 8.0)])
def test_a_table_is_close_to_the_cheapest_tick_without_backlog(
    balancing: int, slots: float, busy: float, theta: float
) -> None:
    s = {"slots": slots, "service_s": 0.1, "cv": 0.6, "theta": theta, "timeout_s": 10.0, "balancing": balancing,
         "speed": 1.0, "dt_s": 15.0, "busy": busy}  # fmt: skip
    least, unit, idle, load = table_of(s), 0.1 / slots, idle_of(s), load_of(s)
    replicas = busy * np.exp(np.linspace(-1.0, 2.0, 1500))
    bad = np.array(
        [
            service_tick(TABLES, load, 15.0, r, slots, 0.1, 0.6, theta * 0.1, 10.0, balancing, 1.0, 0.0)[1]
            for r in replicas
        ]
    )
    for e in range(4, 18, 3):  # 8 to 6,000 times what a request costs
        spent = replicas * 15.0 + PRICES[e] * unit * (bad - idle * load)
        at = int(np.argmin(spent))
        found = least[:, e].max() - PRICES[e] * unit * (bad[at])
        assert 0.88 * replicas[at] * 15.0 <= found <= replicas[at] * 15.0


def test_a_dearer_bad_request_and_a_larger_load_never_cost_less() -> None:
    s = {"slots": 8.0, "service_s": 0.1, "cv": 0.7, "theta": 5.0, "timeout_s": 10.0, "balancing": 0, "speed": 1.0,
         "dt_s": 15.0, "busy": 4.0}  # fmt: skip
    smaller, larger = table_of(s)[0], table_of(s | {"busy": 4.4})[0]
    assert np.all(np.diff(smaller) >= -1e-9)
    assert np.all(larger >= smaller - 1e-9)
