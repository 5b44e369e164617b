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

from envs.sim.queue_tables import TABLE_FILE, cv_nodes
from envs.sim.queueing import bad_share, erlang_c, load_tables, lognormal_tail, replicas_needed
from tests.reference import make_queue_check as check
from tests.reference import make_queue_tables as maker
from tests.reference import queue_des, queue_runs

TABLES = load_tables()
Case = tuple[int, int, float, float]  # balancing, slots, cv, offered
MISSES = {"small": (0, 0, 0), "large": (0, 0, 0), "replicas": (0, 0, 0)}
Run = tuple[int, Any, Any]  # replicas, bad share at each threshold, its standard error


def stored_runs() -> dict[Case, list[Run]]:
    """Held-out runs by case, replicas ascending."""
    cases: dict[Case, list[Run]] = defaultdict(list)
    with check.CSV_FILE.open(newline="") as file:
        for row in csv.DictReader(file):
            case = (int(row["balancing"]), int(row["slots"]), float(row["cv"]), float(row["offered"]))
            bads, errors = (np.array([float(row[f"{k}_{t}"]) for t in check.THRESHOLDS]) for k in ("bad", "error"))
            cases[case].append((int(row["replicas"]), bads, errors))
    return cases


RUNS = stored_runs()


def from_table(case: Case, replicas: int, theta: float) -> float:
    balancing, slots, cv, offered = case
    return bad_share(TABLES, offered, float(replicas), float(slots), 1.0, cv, theta, balancing)


def compared(balancing: int) -> Any:
    """(simulated, its standard error, from the table) over every stored run and threshold, (K, 3)."""
    return np.array(
        [
            (bad, error, from_table(case, replicas, theta))
            for case, runs in RUNS.items()
            if case[0] == balancing
            for replicas, bads, errors in runs
            for theta, bad, error in zip(check.THRESHOLDS, bads, errors, strict=True)
        ]
    )


def small_misses(both: Any) -> tuple[int, int]:
    """(asked, missed) of shares 1e-4 to 0.1: outside a factor of 1.5 by more than two standard errors."""
    small = both[(both[:, 0] >= 1e-4) & (both[:, 0] <= 0.1)]
    bad, error, found = small.T
    return len(small), int(((found > 1.5 * (bad + 2.0 * error)) | (found < (bad - 2.0 * error) / 1.5)).sum())


def large_misses(both: Any) -> tuple[int, int]:
    """(asked, missed) of shares over 0.1: more than five points and two standard errors off."""
    large = both[both[:, 0] > 0.1]
    return len(large), int((np.abs(large[:, 2] - large[:, 0]) > 0.05 + 2.0 * large[:, 1]).sum())


def replica_misses(balancing: int) -> tuple[int, int]:
    """(asked, missed) of replica counts for each target: over max(1, 3 %) outside what the runs bracket."""
    asked, missed = 0, 0
    for (mode, slots, cv, offered), runs in RUNS.items():
        for target in check.TARGETS if mode == balancing else ():
            for j, theta in enumerate(check.THRESHOLDS):
                allowed = 1.0 - target
                surely = [n for n, bads, errors in runs if bads[j] + 2.0 * errors[j] <= allowed]
                if lognormal_tail(theta, cv) > allowed or not surely:
                    continue
                high = min(surely)
                low = max([n + 1 for n, bads, errors in runs if bads[j] - 2.0 * errors[j] > allowed], default=1)
                found = replicas_needed(TABLES, offered, target, float(slots), 1.0, cv, theta, mode, 4 * high + 10)
                asked += 1
                missed += not low - max(1, 0.03 * low) <= found <= high + max(1, 0.03 * high)
    return asked, missed


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


@pytest.mark.parametrize("balancing", [0, 1, 2])
def test_small_bad_shares_are_within_a_factor_of_the_simulation(balancing: int) -> None:
    asked, missed = small_misses(compared(balancing))
    assert asked > 200
    assert missed <= MISSES["small"][balancing]


@pytest.mark.parametrize("balancing", [0, 1, 2])
def test_large_bad_shares_are_within_five_points_of_the_simulation(balancing: int) -> None:
    asked, missed = large_misses(compared(balancing))
    assert asked > 200
    assert missed <= MISSES["large"][balancing]


@pytest.mark.parametrize("balancing", [0, 1, 2])
def test_replicas_needed_are_within_three_percent_of_the_simulation(balancing: int) -> None:
    asked, missed = replica_misses(balancing)
    assert asked > 20
    assert missed <= MISSES["replicas"][balancing]


@pytest.mark.parametrize(
    ("balancing", "slots", "replicas", "rho"), [(0, 4, 10, 0.8), (1, 2, 10, 0.85), (2, 1, 30, 0.9)]
)
def test_a_live_run_agrees(balancing: int, slots: int, replicas: int, rho: float) -> None:
    """Against the reference with requests and queues, which shares no code with the runs behind the table."""
    offered = rho * slots * replicas
    if balancing == queue_des.RANDOM:
        offered, replicas = offered / replicas, 1
    waits = np.zeros((queue_des.N_BINS + 1, 2))
    queue_des.simulate(
        balancing, replicas, slots, 1.2, np.full(50, offered), 600_000 / offered / 50, 1e18, 1.0, 5,
        np.zeros((50, 6)), waits, 3,
    )  # fmt: skip
    for theta, bad in zip(check.THRESHOLDS, check.bad_of(waits, 1.2), strict=True):
        found = from_table((balancing, slots, 1.2, offered), replicas, theta)
        assert abs(found - bad) <= 0.02 if bad > 0.1 else bad / 1.5 <= found <= bad * 1.5


def test_a_row_of_the_shipped_tables_comes_out_of_its_command_again() -> None:
    """One slot at CV 1: pi, which no neighbour changes, and nearly all of x (the rest is made monotone over slots)."""
    waits = np.zeros((1, len(maker.RUN_U), queue_runs.N_BINS, 2))
    rhos = maker.utilisation(1, maker.RUN_U)
    rhos[:2] = 0.0
    size = maker.ONE_REQUESTS
    queue_runs.one_queue(1, np.array([1.0]), rhos, size, size // 20 + 20, 17, waits)
    log_x, log_pi = maker.row_of(np.repeat(waits, len(maker.RUN_CVS), axis=0), 1, queue_des.POOLED)
    v = int(np.flatnonzero(cv_nodes() == 1.0)[0])
    with np.load(TABLE_FILE) as shipped:
        assert np.abs(shipped["log_push"][0][:, v] - log_pi[:, v]).max() < 1e-5
        off = np.abs(shipped["log_excess"][0][:, 1:, v] - log_x[:, 1:, v])
    assert (off < 0.02).mean() > 0.95


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
