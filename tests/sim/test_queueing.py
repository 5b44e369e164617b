"""The steady state: Erlang C, the table against stored and live discrete-event runs, replicas needed."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal, getcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.sim.queueing import bad_share, erlang_c, load_tables, lognormal_tail, replicas_needed
from tests.reference import make_queue_check as check

TABLES = load_tables()
Case = tuple[int, int, float, float]  # balancing, slots, cv, offered


def stored_runs() -> dict[Case, list[tuple[int, list[float]]]]:
    """Held-out runs by case: (replicas, bad share at each threshold), replicas ascending."""
    cases: dict[Case, list[tuple[int, list[float]]]] = defaultdict(list)
    with check.CSV_FILE.open(newline="") as file:
        for row in csv.DictReader(file):
            case = (int(row["balancing"]), int(row["slots"]), float(row["cv"]), float(row["offered"]))
            cases[case].append((int(row["replicas"]), [float(row[f"bad_{t}"]) for t in check.THRESHOLDS]))
    return {case: sorted(runs) for case, runs in cases.items()}


RUNS = stored_runs()


def from_table(case: Case, replicas: int, theta: float) -> float:
    balancing, slots, cv, offered = case
    return bad_share(TABLES, offered, float(replicas), float(slots), 1.0, cv, theta, balancing)


def pairs() -> Any:
    """(simulated, from the table) over every stored run and threshold, (K, 2)."""
    return np.array(
        [
            (bad, from_table(case, replicas, theta))
            for case, runs in RUNS.items()
            for replicas, bads in runs
            for theta, bad in zip(check.THRESHOLDS, bads, strict=True)
        ]
    )


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.5), (2, 0.9), (10, 0.3), (50, 0.95), (500, 0.97), (2000, 0.99)])
def test_erlang_c_is_the_closed_form(servers: int, rho: float) -> None:
    getcontext().prec = 60
    offered = Decimal(str(rho)) * servers
    term, below = Decimal(1), Decimal(0)
    for k in range(servers):
        below += term
        term = term * offered / (k + 1)
    last = term / (1 - Decimal(str(rho)))
    assert erlang_c(servers, float(offered)) == pytest.approx(float(last / (below + last)), abs=1e-9)


def test_erlang_c_under_overload_is_certain() -> None:
    assert erlang_c(4, 4.0) == 1.0


def test_small_bad_shares_are_within_a_factor_of_the_simulation() -> None:
    both = pairs()
    small = both[(both[:, 0] >= 1e-4) & (both[:, 0] <= 0.1)]
    off = np.abs(np.log(small[:, 1] / small[:, 0])) > np.log(1.5)
    assert len(small) > 1000
    assert off.mean() <= 0.025


def test_large_bad_shares_are_within_five_points_of_the_simulation() -> None:
    both = pairs()
    large = both[both[:, 0] > 0.1]
    assert (np.abs(large[:, 1] - large[:, 0]) > 0.05).mean() <= 0.01


@pytest.mark.parametrize("target", check.TARGETS)
def test_replicas_needed_are_within_three_percent_of_the_simulation(target: float) -> None:
    asked, missed = 0, 0
    for (balancing, slots, cv, offered), runs in RUNS.items():
        for j, theta in enumerate(check.THRESHOLDS):
            held = [bads[j] <= 1.0 - target for _, bads in runs]
            if not held[-1]:
                continue
            i = len(held) - 1
            while i > 0 and held[i - 1]:
                i -= 1
            high, low = runs[i][0], runs[i - 1][0] + 1 if i else 1
            found = replicas_needed(TABLES, offered, target, float(slots), 1.0, cv, theta, balancing, 4 * high + 10)
            asked += 1
            missed += not low - max(1, 0.03 * low) <= found <= high + max(1, 0.03 * high)
    assert asked > 20
    assert missed <= 0.03 * asked


@pytest.mark.parametrize(
    ("balancing", "slots", "replicas", "rho"), [(0, 4, 10, 0.8), (1, 2, 10, 0.85), (2, 1, 30, 0.9)]
)
def test_a_live_run_agrees(balancing: int, slots: int, replicas: int, rho: float) -> None:
    bads = check.run(balancing, slots, replicas, 1.2, rho * slots * replicas, 400_000)
    for theta, bad in zip(check.THRESHOLDS, bads, strict=True):
        found = from_table((balancing, slots, 1.2, rho * slots * replicas), replicas, theta)
        assert abs(found - bad) <= 0.02 if bad > 0.1 else bad / 1.5 <= found <= bad * 1.5


def test_an_slo_below_the_services_own_quantile_is_reported() -> None:
    assert float(lognormal_tail(1.2, 1.0)) > 0.01
    for balancing in range(3):
        assert replicas_needed(TABLES, 100.0, 0.99, 4.0, 0.1, 1.0, 0.12, balancing, 100_000) == -1


def test_replicas_needed_is_the_least_count() -> None:
    need = replicas_needed(TABLES, 500.0, 0.999, 4.0, 0.1, 0.8, 1.2, 1, 1000)
    assert bad_share(TABLES, 500.0, float(need), 4.0, 0.1, 0.8, 1.2, 1) <= 0.001
    assert bad_share(TABLES, 500.0, need - 1.0, 4.0, 0.1, 0.8, 1.2, 1) > 0.001


@given(
    st.integers(0, 2), st.sampled_from([1.0, 2.0, 5.0, 16.0, 100.0]), st.floats(0.0, 3.2),
    st.floats(0.1, 40.0), st.floats(0.5, 3000.0), st.floats(1.0, 500.0), st.floats(1.0, 1.5),
)  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_more_replicas_or_time_or_less_load_never_hurt(
    balancing: int, slots: float, cv: float, theta: float, load: float, replicas: float, factor: float
) -> None:
    here = bad_share(TABLES, load, replicas, slots, 1.0, cv, theta, balancing)
    assert 0.0 <= here <= 1.0
    assert bad_share(TABLES, load, replicas * factor, slots, 1.0, cv, theta, balancing) <= here + 1e-6
    assert bad_share(TABLES, load, replicas, slots, 1.0, cv, theta * factor, balancing) <= here + 1e-6
    assert bad_share(TABLES, load / factor, replicas, slots, 1.0, cv, theta, balancing) <= here + 1e-6
