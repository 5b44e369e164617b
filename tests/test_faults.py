"""Faults as a user writes them, and when they come: the same for every stack, whatever else a scenario holds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.demand import Demand, rate_quantile
from envs.errors import InputError
from envs.fault_draws import crash_ranks, joined, windows
from envs.fault_models import DEFAULTS, NEEDS, TAKES
from envs.fault_plan import plan_of, steps
from envs.faults import INSTANCE_GONE_S, KINDS, Fault
from envs.scenario import Scenario
from envs.scenario_file import scenario_from_document
from envs.sim.fault_state import OP_API, OP_LOSE_RANK, OP_PRICE, OP_START, OP_TELEMETRY
from envs.yaml_reader import only_mapping, parse_yaml

HOUR, DAY = 3600.0, 86_400.0
FILE = Path(__file__).parent / "faulty.yaml"
WORLD = """
name: faulty
days: 3
noise: {enabled: false}
instance_types:
  - {name: big, vcpu: 8, memory: 32Gi, price: 1, spot_price: 0.3}
workloads:
  - {name: web, demand: {generate: {base_rps: 50, daily_amplitude: 0}}}
  - {name: mail-1, demand: {generate: {base_rps: 5}}}
node_pools:
  - {name: main, instance_types: [big], zones: [a, b], max_nodes: 8}
  - {name: cheap, instance_types: [big], zones: [b], max_nodes: 8, capacity_types: [spot]}
"""


def world(faults: str = "[]", **overrides: str) -> Scenario:
    text = f"{WORLD}\nfaults: {faults}\n"
    return scenario_from_document(
        only_mapping(parse_yaml(text, file=FILE), file=FILE), FILE, overrides=list(overrides.items())
    )


def test_every_kind_can_be_written_in_a_line() -> None:
    for kind in KINDS:
        needs = {"zone": "a", "factor": 2}
        extra = "".join(f", {name}: {needs[name]}" for name in NEEDS.get(kind, ()))
        (fault,) = world(f"[{{kind: {kind}, at: 1d6h{extra}}}]").faults
        assert (fault.kind, fault.name, fault.at_s) == (kind, kind, 30 * HOUR)
        assert fault.duration_s == DEFAULTS[kind].get("duration", 0.0)


def test_names_are_made_unique_and_patterns_resolved() -> None:
    first, second = world(
        "[{kind: flash-crowd, at: 1h, factor: 3, workloads: [mail-*]}, {kind: flash-crowd, at: 9h, factor: 2}]"
    ).faults
    assert (first.name, second.name) == ("flash-crowd", "flash-crowd-2")
    assert (first.workloads, second.workloads) == (("mail-1",), ())


BAD = [
    ("{kind: meteor, at: 1h}", "kind"),
    ("{kind: zone-loss, at: 1h}", "zone"),
    ("{kind: zone-loss, at: 1h, zone: c}", "the zones are a, b"),
    ("{kind: zone-loss, at: 3d, zone: a}", "not before the scenario's end"),
    ("{kind: zone-loss, zone: a}", "exactly one of at"),
    ("{kind: zone-loss, at: 1h, per_day: 1, zone: a}", "exactly one of at"),
    ("{kind: zone-loss, at: 1h, zone: a, factor: 2}", "does not take it"),
    ("{kind: node-crash, at: 1h, per_day: 2}", "does not take it"),
    ("{kind: node-crash, per_node_hour: 0.1, nodes: 2}", "goes with at"),
    ("{kind: node-crash, at: 1h, pool: mian}", "main"),
    ("{kind: node-crash, at: -1h}", "at"),
    ("{kind: flash-crowd, at: 1h}", "needs it"),
    ("{kind: flash-crowd, at: 1h, factor: -1}", "factor"),
    ("{kind: flash-crowd, at: 1h, factor: .nan}", "factor"),
    ("{kind: flash-crowd, at: 1h, factor: 2, workloads: [wbe]}", "web"),
    ("{kind: pod-crash-loop, at: 1h, share: 0}", "share"),
    ("{kind: price-change, at: 1h, factor: 2, instance_types: [small]}", "big"),
    ("{kind: api-slowness, at: 1h, delay: 2h}", "delay"),
    ("{kind: telemetry-gap, at: 1h, duration: 0}", "duration"),
    ("{kind: telemetry-gap, at: 1h, name: x}, {kind: telemetry-gap, at: 2h, name: x}", "unique"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_bad_faults_are_input_errors_that_name_the_place(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        world(f"[{text}]")
    assert "faults[" in str(caught.value)


def test_vary_reaches_faults_and_the_spot_market() -> None:
    faults = "[{kind: flash-crowd, at: 1h, factor: 3, name: crowd}]"
    assert world(faults, **{"faults.crowd.factor": "7"}).faults[0].factor == 7.0
    assert world(faults, **{"faults.0.at": "2h"}).faults[0].at_s == 2 * HOUR
    assert world(faults, **{"spot.hazard_factor": "10"}).spot.hazard_factor == 10.0


def test_fields_of_kinds_are_fields_of_the_model() -> None:
    from envs.fault_models import FaultDoc

    known = set(FaultDoc.model_fields)
    assert all(set(fields) <= known for fields in TAKES.values())
    assert all(set(fields) <= set(TAKES[kind]) for kind, fields in NEEDS.items())


# when they come

RATE = Fault("api-slowness", "slow", per_day=3.0, duration_s=600.0)
CRASH = Fault("node-crash", "crash", per_node_hour=0.01)


@given(st.integers(0, 50), st.floats(0.1, 20.0))
@settings(max_examples=30, deadline=None)
def test_a_longer_horizon_keeps_what_came_before(seed: int, days: float) -> None:
    short, long = (windows(RATE, seed, x * DAY) for x in (days, days + 5.0))
    assert [s for s, _ in short] == [s for s, _ in long if s < days * DAY]
    few, many = (crash_ranks(CRASH, "main", 8, seed=seed, horizon_s=x * DAY) for x in (days, days + 5.0))
    assert few == [point for point in many if point[0] < days * DAY]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=8))
def test_joined_spans_cover_the_same_seconds_once(pairs: list[tuple[int, int]]) -> None:
    spans = [(float(a), float(a + n)) for a, n in pairs]
    out = joined(spans)
    covered = {k for a, z in spans for k in range(int(a), int(z))}
    assert sorted(covered) == [k for a, z in out for k in range(int(a), int(z))]
    assert all(one[1] < two[0] for one, two in itertools.pairwise(out))


def test_each_node_crashes_at_the_rate_whatever_the_pool_may_hold() -> None:
    """Points that hit one of n nodes: Poisson with mean rate x n x hours, for any n up to the pool's maximum."""
    hours = 4000.0
    for n in (1, 5, 20):
        points = crash_ranks(CRASH, "main", 20, seed=1, horizon_s=hours * HOUR)
        hits = sum(rank < n for _, rank in points)
        mean = 0.01 * n * hours
        assert abs(hits - mean) < 4 * mean**0.5


def test_other_faults_do_not_move_a_fault() -> None:
    alone = world("[{kind: node-crash, per_node_hour: 0.02, name: c}]")
    beside = world("[{kind: zone-loss, per_day: 2, zone: a}, {kind: node-crash, per_node_hour: 0.02, name: c}]")
    crashes = [[o for o in plan_of(s, 4) if o[1] == OP_LOSE_RANK] for s in (alone, beside)]
    assert crashes[0] == crashes[1]
    assert len(crashes[0]) > 3
    assert all(o[4] == INSTANCE_GONE_S == 115.0 for o in crashes[0])


# what the plan says


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(1, 5)), max_size=5))
def test_steps_hold_the_product_of_all_spans_that_are_on(raw: list[tuple[int, int, int]]) -> None:
    spans = [(float(a), float(a + n), float(x)) for a, n, x in raw]
    changes = steps(spans, lambda on: float(np.prod(on)))
    for t in np.arange(0.5, 32.0):
        now = [x for at, x in changes if at <= t]
        assert (now[-1] if now else 1.0) == np.prod([x for a, z, x in spans if a <= t < z])


def test_what_a_window_changes_is_put_back_at_its_end() -> None:
    scenario = world(
        "[{kind: slow-image-pulls, at: 1h, duration: 1h, factor: 3, workloads: [web]},"
        " {kind: api-slowness, at: 1h, duration: 2h, delay: 4s},"
        " {kind: telemetry-gap, at: 1h, duration: 1h, workloads: [web]},"
        " {kind: price-change, at: 1h, duration: 1h, factor: 2, capacity_type: spot}]"
    )
    plan = [o for o in plan_of(scenario, 0) if o[1] in (OP_API, OP_PRICE, OP_START, OP_TELEMETRY)]
    first = {(o[1], o[2]): o[3] for o in plan if o[0] == HOUR}
    last = {(o[1], o[2]): o[3] for o in plan}
    delay = scenario.cluster.workloads[0].start_delay_s
    assert first[OP_START, 0] == 3 * delay
    assert last[OP_START, 0] == delay
    assert first[OP_API, 0] == 4.0
    assert last[OP_API, 0] == 0.0
    assert np.isnan(first[OP_TELEMETRY, 0])
    assert last[OP_TELEMETRY, 0] == 1.0
    assert {k: v for k, v in first.items() if k[0] == OP_PRICE} == {(OP_PRICE, 2): 0.6}
    assert last[OP_PRICE, 2] == 0.3


def test_a_scenario_without_faults_has_nothing_to_carry_out() -> None:
    scenario = world("[]", **{"spot.interruptions": "false"})
    assert plan_of(scenario, 0) == []


# flash crowds are load


def arrivals(scenario: Scenario, tick0: int, n: int) -> Any:
    return Demand.pack([scenario], [5]).arrivals(tick0, n)[0]


def test_a_flash_crowd_multiplies_the_load_within_its_window_and_nowhere_else() -> None:
    crowd = "[{kind: flash-crowd, at: 20m, duration: 10m, factor: 4, workloads: [web]}]"
    calm, busy = (Demand.pack([world(f)], [5]).rates(0, 400)[0] for f in ("[]", crowd))
    inside = slice(80, 120)
    assert busy[inside, 0] == pytest.approx(4.0 * calm[inside, 0], rel=1e-12)
    outside = np.r_[0:80, 120:400]
    assert busy[outside].tobytes() == calm[outside].tobytes()
    assert busy[:, 1].tobytes() == calm[:, 1].tobytes()


def test_a_crowd_within_a_tick_counts_for_its_part_of_it() -> None:
    crowd = "[{kind: flash-crowd, at: 1205s, duration: 5s, factor: 4, workloads: [web]}]"
    calm, busy = (Demand.pack([world(f)], [5]).rates(0, 400)[0, :, 0] for f in ("[]", crowd))
    assert busy[80] == pytest.approx(calm[80] * (1 + 3 * 5 / 15), rel=1e-12)
    assert arrivals(world(crowd), 0, 400)[81:].tobytes() == arrivals(world("[]"), 0, 400)[81:].tobytes()


def test_chunks_do_not_matter_to_a_crowd() -> None:
    scenario = world("[{kind: flash-crowd, per_day: 10, factor: 4}]")
    whole = arrivals(scenario, 0, 2000)
    parts = np.concatenate([arrivals(scenario, a, 250) for a in range(0, 2000, 250)])
    assert whole.tobytes() == parts.tobytes()


def test_fixed_replica_counts_do_not_foresee_a_crowd() -> None:
    crowd = world("[{kind: flash-crowd, at: 0, duration: 3d, factor: 4}]")
    assert rate_quantile(crowd, 0, 0.95) == rate_quantile(world(), 0, 0.95)
