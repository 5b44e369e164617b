"""Observations are finite, bounded, relative and the same in any order of the workloads."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.cluster import ClusterSpec, NodePool, Workload
from envs.intent import Intent
from envs.load_past import PAST
from envs.observation import FEATURES, RowEncoder, RowSignals, RowSpec, encode, encode_rows
from envs.snapshot import PoolSignals, Signal, Snapshot, WorkloadSignals, signal, unknown
from tests.snapshots import TYPE, random_history, random_spec

SEEDS = st.integers(0, 2**32 - 1)
COLUMN = {f.name: i for i, f in enumerate(FEATURES)}
SPEC = ClusterSpec((Workload("web", slo_target=0.999, cpu_request=0.5),), (NodePool("pool", ("m.large",)),), (TYPE,))


@settings(max_examples=300)
@given(SEEDS)
def test_any_history_encodes_finite_and_within_the_stated_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    seen = encode(random_history(rng, spec, odd=0.4), spec, Intent(budget_usd_per_h=float(rng.choice([0, 5, np.inf]))))
    assert seen.shape == (len(spec.workloads), len(FEATURES))
    assert seen.dtype == np.float32
    low, high = np.array([f.low for f in FEATURES]), np.array([f.high for f in FEATURES])
    assert ((seen >= low) & (seen <= high)).all()


def turned(group: WorkloadSignals) -> WorkloadSignals:
    return WorkloadSignals(
        **{
            f.name: Signal(getattr(group, f.name).value[::-1], getattr(group, f.name).age_s[::-1])
            for f in fields(group)
        }
    )


@given(SEEDS)
def test_the_order_of_workloads_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    history = random_history(rng, spec)
    back = replace(spec, workloads=spec.workloads[::-1])
    mirrored = tuple(replace(s, workload_names=s.workload_names[::-1], workloads=turned(s.workloads)) for s in history)
    np.testing.assert_allclose(
        encode(mirrored, back, Intent()), encode(history, spec, Intent())[::-1], rtol=1e-6, atol=1e-6
    )


def snapshot(time_s: float = 0.0, **values: float) -> Snapshot:
    """Only the named signals are known."""
    workloads = {f.name: signal([values[f.name]]) if f.name in values else unknown(1) for f in fields(WorkloadSignals)}
    pools = {f.name: signal([values[f.name]]) if f.name in values else unknown(1) for f in fields(PoolSignals)}
    return Snapshot(time_s, ("web",), ("pool",), WorkloadSignals(**workloads), PoolSignals(**pools))


def test_worked_numbers() -> None:
    """80 requests/s fill one replica: 160 on 4 ready of 5 desired is load 0.5."""
    now = snapshot(offered_rps=160.0, ready=4.0, desired=5.0, error_share=0.01, hpa_target=60.0, cpu_per_pod=0.25)
    past = np.full((1, len(PAST)), np.nan)
    past[0, PAST.index("lag_1")], past[0, PAST.index("day_0")], past[0, PAST.index("day_10")] = 80.0, 320.0, 640.0
    row = encode((replace(now, past_rps=past),), SPEC, Intent())[0]
    assert row[COLUMN["load"]] == pytest.approx(0.5)
    assert row[COLUMN["cpu"]] == pytest.approx(0.5)
    assert row[COLUMN["lag_1"]] == pytest.approx(1.0)
    assert row[COLUMN["day_0"]] == pytest.approx(-1.0)
    assert row[COLUMN["day_10"]] == pytest.approx(1.0)
    assert (row[COLUMN["knows_day"]], row[COLUMN["knows_week"]]) == (1.0, 0.0)
    assert row[COLUMN["ready"]] == pytest.approx(0.8)
    assert row[COLUMN["errors"]] == pytest.approx(1.0, abs=1e-4)
    assert row[COLUMN["target"]] == pytest.approx(0.6)
    assert row[COLUMN["strictness"]] == pytest.approx(0.6)


def test_twice_the_traffic_on_twice_the_replicas_looks_the_same_but_for_the_step_size() -> None:
    spec = replace(SPEC, workloads=(replace(SPEC.workloads[0], min_replicas=0, max_replicas=100),))
    twice = replace(SPEC, workloads=(replace(SPEC.workloads[0], min_replicas=0, max_replicas=200),))
    one = encode((snapshot(offered_rps=160.0, ready=4.0, desired=5.0, pending=1.0),), spec, Intent())
    two = encode((snapshot(offered_rps=320.0, ready=8.0, desired=10.0, pending=2.0),), twice, Intent())
    differs = {FEATURES[i].name for i in np.flatnonzero(np.abs(one - two)[0] > 1e-6)}
    assert differs == {"one_replica", "need"}


@given(SEEDS)
def test_what_a_policy_reads_are_columns_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    history, names = random_history(rng, spec), [f.name for f in FEATURES]
    some = tuple(rng.choice(names, int(rng.integers(0, len(names))), replace=False).tolist())
    whole = encode(history, spec, Intent())
    assert encode(history, spec, Intent(), some).tobytes() == whole[:, [names.index(n) for n in some]].tobytes()


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one snapshot"):
        encode((), SPEC, Intent())


def test_the_data_sheet_names_each_column_once() -> None:
    assert len(COLUMN) == len(FEATURES)


def random_rows(rng: np.random.Generator, n: int) -> tuple[RowSignals, RowSpec]:
    """Some of it unknown, zero or huge."""

    def column() -> np.ndarray:
        x = rng.lognormal(0.0, 4.0, n)
        return np.where(rng.random(n) < 0.2, rng.choice([0.0, np.nan, 1.0, 1e12], n), x)

    seen = RowSignals(*(column() for _ in RowSignals._fields))
    past = np.stack([column() for _ in PAST], axis=1)
    price = rng.lognormal(3.0, 2.0, n)
    spec = RowSpec(*(rng.lognormal(0.0, 2.0, n) for _ in RowSpec._fields))._replace(slo_target=rng.uniform(0.9, 1.0, n))
    return seen._replace(past_rps=past, violation_price=price), spec


@given(SEEDS)
def test_an_encoder_that_remembers_its_rows_gives_the_same_bytes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, spec = random_rows(rng, int(rng.integers(1, 20)))
    encoder = RowEncoder(spec, first.violation_price)
    for seen in (first, random_rows(rng, len(spec.slots))[0]._replace(violation_price=first.violation_price), first):
        assert encoder(seen).tobytes() == encode_rows(seen, spec).tobytes()
