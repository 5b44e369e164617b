"""`replay:` in a stack: it learns from what was measured by then, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.action import Plan
from envs.errors import InputError
from envs.plausible import impossible
from envs.rollout import rollout
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from envs.snapshot import Snapshot
from envs.stack import Stack
from envs.stack_file import document_of, load_stack, stack_from_document
from envs.timeline import Timeline
from optimizer.measured_past import backfill
from optimizer.replay_control import ReplayControl, simulate

SCENARIO = """\
name: pair
days: 0.25
tick: 30s
warmup: 10m
instance_types:
  - {name: own.node, vcpu: 16, memory: 64Gi, price: $0.80/h}
workloads:
  - name: cart
    demand: {trace: load.csv, column: cart, offset: 6h}
    service: {slots: 4, service_time: 50ms, service_cv: 0.6, cpu_per_request: 9ms, threshold: 400ms}
    max_replicas: 40
  - name: search
    demand: {trace: load.csv, column: search, offset: 6h}
    service: {slots: 8, service_time: 140ms, service_cv: 0.8, cpu_per_request: 28ms, threshold: 1200ms}
    max_replicas: 40
node_pools:
  - {name: nodes, instance_types: [own.node], max_nodes: 20, initial_nodes: 4}
"""
SPIKE_S = 4 * 3600.0  # into the horizon


def load_file(folder: Path, *, spike: float) -> None:
    """Six hours of past, six of horizon, a minute each; the same up to the spike."""
    t = np.arange(12 * 60 + 1)
    wave = 1.0 + 0.4 * np.sin(2 * np.pi * t / 300.0) + 0.3 * np.random.default_rng(3).random(len(t))
    crowd = np.where(t * 60.0 > 6 * 3600.0 + SPIKE_S, spike, 1.0)
    lines = ["time_s,cart,search"]
    lines += [f"{60 * i},{500 * w * c:.5g},{250 * w * c:.5g}" for i, w, c in zip(t, wave, crowd, strict=True)]
    (folder / "load.csv").write_text("\n".join(lines) + "\n")


class Recorder:
    """Passes questions on and keeps the answers."""

    def __init__(self, control: ReplayControl) -> None:
        self.control, self.period_s = control, control.period_s
        self.plans: list[tuple[float, np.ndarray]] = []

    def __call__(self, time_s: float, rates: np.ndarray, look: Callable[[], Snapshot]) -> Plan | None:
        plan = self.control(time_s, rates, look)
        assert plan is not None
        fields = np.stack([plan.targets.hpa_target, plan.targets.hpa_stabilization_down_s])
        self.plans.append((time_s, fields))
        return plan


def run(folder: Path, spike: float, stack: Stack) -> tuple[Recorder, Timeline]:
    load_file(folder, spike=spike)
    scenario = load_scenario(folder / "pair.yaml")
    recorder, parts = Recorder(ReplayControl(scenario, stack, 1)), []
    rollout(scenario, stack, 1, sink=parts.append, decide=recorder)
    return recorder, Timeline.concat(parts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pair.yaml").write_text(SCENARIO)
    return tmp_path


@pytest.fixture
def often() -> Stack:
    stack = load_stack("replay")
    assert stack.replay is not None
    return replace(stack, replay=replace(stack.replay, every_s=1800.0))


def test_a_spike_in_the_future_changes_no_decision_before_it(folder: Path, often: Stack) -> None:
    calm, calm_rows = run(folder, 1.0, often)
    (folder / "crowd").mkdir()
    (folder / "crowd" / "pair.yaml").write_text(SCENARIO)
    crowd, crowd_rows = run(folder / "crowd", 3.0, often)
    assert [t for t, _ in calm.plans] == [1800.0 * k for k in range(12)]
    for (t, a), (_, b) in zip(calm.plans, crowd.plans, strict=True):
        if t <= SPIKE_S:
            assert a.tobytes() == b.tobytes()
    assert any(a.tobytes() != b.tobytes() for (_, a), (_, b) in zip(calm.plans, crowd.plans, strict=True))
    before = calm_rows.time_s < SPIKE_S
    assert calm_rows.desired[before].tobytes() == crowd_rows.desired[before].tobytes()
    assert crowd_rows.desired[-1].sum() > calm_rows.desired[-1].sum()


def test_time_zero_knows_the_trace_before_the_horizon_and_not_a_tick_more(folder: Path, often: Stack) -> None:
    load_file(folder, spike=1.0)
    scenario: Scenario = load_scenario(folder / "pair.yaml")
    parts = backfill(scenario, 7 * 86_400.0)
    assert sum(len(part) for part in parts) * scenario.tick_s == 6 * 3600.0
    assert sum(len(part) for part in backfill(scenario, 2.5 * 3600.0)) * scenario.tick_s == 2 * 3600.0
    rates = np.concatenate(parts) / scenario.tick_s
    assert rates[:120].mean(axis=0) == pytest.approx([500 * 1.2, 250 * 1.2], rel=0.35)
    control = ReplayControl(scenario, often, 1)
    plan = control(0.0, np.zeros((0, 2)), lambda: pytest.fail("replay looks at no snapshot"))
    assert plan is not None
    assert control.past.seconds == 6 * 3600.0
    assert np.isfinite(plan.targets.hpa_target).all()
    assert np.isnan(plan.targets.hpa_min_replicas).all()  # set-points only


def test_a_minute_that_was_not_measured_is_not_a_minute_without_load(folder: Path, often: Stack) -> None:
    load_file(folder, spike=1.0)
    control = ReplayControl(load_scenario(folder / "pair.yaml"), often, 1)
    seen = control._known(np.array([[5.0, 7.0], [np.nan, 8.0], [np.nan, np.nan]]))
    assert seen.tolist() == [[5.0, 7.0], [5.0, 8.0], [5.0, 8.0]]
    assert control._known(np.array([[np.nan, 9.0]])).tolist() == [[5.0, 9.0]]


def broken(folder: Path, fault: str, stack: Stack) -> tuple[Recorder, Timeline]:
    """A run whose telemetry of `cart` is broken from 1 h to 2 h."""
    inside = folder / (fault or "sound").split(",")[0].strip("{").replace(" ", "").replace(":", "")
    inside.mkdir()
    when = ", at: 1h, duration: 1h, workloads: [cart]}"
    (inside / "pair.yaml").write_text(SCENARIO + (f"faults:\n  - {fault}{when}\n" if fault else ""))
    return run(inside, 1.0, stack)


def test_replay_does_not_learn_from_minutes_that_nobody_measured(folder: Path, often: Stack) -> None:
    sound, _ = broken(folder, "", often)
    gap, _ = broken(folder, "{kind: telemetry-gap", often)
    learnt, missed = sound.control.past, gap.control.past
    assert missed.seconds == learnt.seconds
    assert missed.offered[1] == pytest.approx(learnt.offered[1], rel=1e-12), "search was measured all along"
    share = missed.offered[0] / learnt.offered[0]
    assert share == pytest.approx(11 / 12, abs=0.02), "an hour of twelve adds nothing, in requests and in dollars alike"
    dollars = missed.usd[0, 0] / learnt.usd[0, 0]
    assert dollars == pytest.approx(np.full(len(dollars), share), abs=0.03)


def test_replay_does_not_learn_from_garbage_that_cannot_be(folder: Path, often: Stack) -> None:
    """Twenty times the load, and hardly a bad request: no such load was served. It counts as not measured."""
    gap, _ = broken(folder, "{kind: telemetry-gap", often)
    wrong, rows = broken(folder, "{kind: telemetry-garbage, factor: 20", often)
    assert rows.desired[(rows.time_s > 4000.0) & (rows.time_s < 7000.0), 0].max() == 40, "the HPA believes it"
    assert [p.tobytes() for _, p in wrong.plans] == [p.tobytes() for _, p in gap.plans]
    assert wrong.control.past.offered == pytest.approx(gap.control.past.offered, rel=1e-12)


def test_a_crowd_that_is_real_is_learnt_from() -> None:
    """Ten times what the replicas carry is believed once requests are bad, as they are bound to be."""
    ready, capacity = np.array([4.0, 4.0, 0.0]), np.array([100.0, 100.0, 100.0])
    rates, bad = np.array([4000.0, 4000.0, 4000.0]), np.array([0.9, 0.0, 0.0])
    assert impossible(rates, bad, ready, capacity).tolist() == [False, True, False]
    assert not impossible(np.array([590.0, np.nan, 5.0]), np.zeros(3), ready, capacity).any()


def test_replay_in_a_what_if_is_reproducible_and_never_forgotten(folder: Path, often: Stack) -> None:
    load_file(folder, spike=1.5)
    scenario = load_scenario(folder / "pair.yaml")
    rows: list[list[Timeline]] = [[], []]
    for sink in rows:
        simulate(scenario, often, 4, days=0.1, sink=sink.append)
    assert rows[0][0].workload_usd.tobytes() == rows[1][0].workload_usd.tobytes()
    with pytest.raises(ValueError, match="steered while it runs"):
        rollout(scenario, often, 4, days=0.01)


def test_a_stack_file_takes_replay_and_refuses_it_without_an_hpa() -> None:
    stack = stack_from_document({"replay": {"every_s": "30m", "beliefs": [0.9, 1.1]}})
    assert stack.replay is not None
    assert (stack.replay.every_s, stack.replay.beliefs, stack.replay.halving) == (1800.0, (0.9, 1.1), True)
    assert stack_from_document(document_of(stack)) == stack
    assert stack_from_document({}).replay is None
    with pytest.raises(InputError, match="replicas of kind hpa"):
        stack_from_document({"replicas": {"kind": "static"}, "replay": {}})
    with pytest.raises(InputError, match=r"between 0\.1 and 10"):
        stack_from_document({"replay": {"beliefs": [1.0, 40.0]}})
