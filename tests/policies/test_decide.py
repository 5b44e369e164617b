"""The decision path is pure, stays inside its guards, and holds when anything goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.action import FIELDS, Targets, bounds, raw_size
from envs.cluster import ClusterSpec
from envs.guardrails import PIPELINE, Facts, Limits, Verdict, in_force, step_of
from envs.intent import Intent
from envs.plain import equal, to_plain
from envs.snapshot import History, Snapshot, signal
from policies.constant import ConstantSetPoints
from policies.decide import Decision, Guards, Memory, decide, first_memory
from policies.policy import PolicyMemory, Sight
from tests.snapshots import random_history, random_snapshot, random_spec

SEEDS = st.integers(0, 2**32 - 1)
INTENT = Intent()


@dataclass(frozen=True)
class Restless:
    """Asks for anything at all; counts its decisions."""

    name: str = "restless"
    reads: tuple[str, ...] = ()

    def start(self, spec: ClusterSpec) -> PolicyMemory:
        return {"calls": 0}

    def act(self, sight: Sight, memory: PolicyMemory) -> tuple[np.ndarray, PolicyMemory]:
        rng = np.random.default_rng(sight.key)
        raw = rng.normal(0.0, 2.0, raw_size(sight.spec))
        raw[rng.random(raw.size) < 0.1] = np.nan
        return raw, {"calls": memory["calls"] + 1}


@dataclass(frozen=True)
class Broken:
    error: Exception | None = None
    name: str = "broken"
    reads: tuple[str, ...] = ()

    def start(self, spec: ClusterSpec) -> PolicyMemory:
        return {}

    def act(self, sight: Sight, memory: PolicyMemory) -> tuple[np.ndarray, PolicyMemory]:
        if self.error:
            raise self.error
        return np.zeros(3), memory


def run(seed: int, policy: Any = None, odd: float = 0.1, **kwargs: Any) -> tuple[Decision, Memory, Any]:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    history = random_history(rng, spec, odd)
    policy = policy or Restless()
    memory = first_memory(policy, spec)
    decision, after = decide(policy, memory, history, spec, INTENT, history[-1].time_s + 5.0, seed, **kwargs)
    return decision, after, (spec, history)


def is_nothing(targets: Targets) -> bool:
    return all(np.isnan(getattr(targets, f.name)).all() for f in FIELDS) and not any(targets.requirements)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_equal_inputs_give_equal_outputs_and_stay_untouched(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    history, policy = random_history(rng, spec), Restless()
    memory = first_memory(policy, spec)
    before = to_plain((history, memory))
    one = decide(policy, memory, history, spec, INTENT, 400.0, 7)
    two = decide(policy, memory, history, spec, INTENT, 400.0, 7)
    assert to_plain((history, memory)) == before
    assert equal(one[0], two[0])
    assert equal(one[1], two[1])


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_decision_recomputed_from_its_json_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    history, policy = random_history(rng, spec), Restless()
    memory = first_memory(policy, spec)
    text = json.dumps([[s.to_dict() for s in history], memory.to_dict()], allow_nan=False)
    plain_history, plain_memory = json.loads(text)
    again = tuple(Snapshot.from_dict(s) for s in plain_history)
    assert all(equal(a, b) for a, b in zip(history, again, strict=True))
    one = decide(policy, memory, history, spec, INTENT, 400.0, 7)
    two = decide(policy, Memory.from_dict(plain_memory), again, spec, INTENT, 400.0, 7)
    assert json.dumps(to_plain(one), allow_nan=False) == json.dumps(to_plain(two), allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_plan_never_leaves_its_bounds_or_its_step(seed: int) -> None:
    decision, _, (spec, history) = run(seed)
    for field in FIELDS:
        low, high = bounds(field, spec)
        value = getattr(decision.plan.targets, field.name)
        known = np.isfinite(value)
        assert ((value >= low) & (value <= high))[known].all(), field.name
        assert not (field.whole and (value != np.rint(value))[known].any()), field.name
        old = np.clip(in_force(history[-1], field), low, high)
        least, most = step_of(field, old, Limits())
        assert ((value >= least - 1e-9) & (value <= most + 1e-9))[known].all(), field.name


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_plan_never_puts_a_minimum_above_its_maximum(seed: int) -> None:
    decision, _, (_, history) = run(seed, odd=0.0)
    t, w, p = decision.plan.targets, history[-1].workloads, history[-1].pools
    pairs = (
        (t.hpa_min_replicas, w.hpa_min_replicas, t.hpa_max_replicas, w.hpa_max_replicas),
        (t.min_nodes, p.min_nodes, t.max_nodes, p.max_nodes),
    )
    for low, low_now, high, high_now in pairs:
        in_order = low_now.value <= high_now.value
        after_low = np.where(np.isnan(low), low_now.value, low)
        after_high = np.where(np.isnan(high), high_now.value, high)
        assert (after_low <= after_high)[in_order].all()


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, len(PIPELINE)))
def test_any_guard_that_raises_means_hold(seed: int, position: int) -> None:
    def raises(targets: Targets, facts: Facts) -> tuple[Targets, Verdict]:
        raise ZeroDivisionError("a fault")

    pipeline = (*PIPELINE[:position], ("faulty", raises), *PIPELINE[position:])
    decision, memory, _ = run(seed, guards=Guards(pipeline=pipeline))
    assert decision.plan.hold
    assert "faulty: ZeroDivisionError: a fault" in decision.plan.why
    assert is_nothing(decision.plan.targets)
    assert (memory.workload_changed_s == -np.inf).all()


@pytest.mark.parametrize("policy", [Broken(), Broken(ValueError("no")), Broken(KeyError("x"))])
def test_a_policy_that_fails_means_hold(policy: Broken) -> None:
    decision, _, _ = run(1, policy)
    assert decision.plan.hold
    assert is_nothing(decision.plan.targets)
    assert decision.verdicts[0].name == "policy"


def test_no_history_or_a_foreign_one_means_hold() -> None:
    spec = random_spec(np.random.default_rng(0))
    policy = Restless()
    memory = first_memory(policy, spec)
    other = ClusterSpec((replace(spec.workloads[0], name="other"),), spec.node_pools, spec.instance_types)
    foreign: History = (random_snapshot(np.random.default_rng(1), other, 0.0),)
    for history in ((), foreign):
        decision, after = decide(policy, memory, history, spec, INTENT, 0.0, 1)
        assert decision.plan.hold
        assert equal(after, memory)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_stale_telemetry_means_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    history, policy = random_history(rng, spec), Restless()
    late_s = history[-1].time_s + 121.0
    decision, _ = decide(policy, first_memory(policy, spec), history, spec, INTENT, late_s, 3)
    assert is_nothing(decision.plan.targets)
    assert decision.verdicts[0] == replace(decision.verdicts[0], name="freshness", clipped=True)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_after_a_change_nothing_takes_capacity_away_until_the_cooldown_is_over(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    history, policy = (random_snapshot(rng, spec, 60.0, 0.0),), Restless()
    memory = first_memory(policy, spec)
    hot = Memory(np.zeros_like(memory.workload_changed_s), np.zeros_like(memory.pool_changed_s), memory.policy)
    decision, _ = decide(policy, hot, history, spec, INTENT, 60.0, seed)
    for field in FIELDS:
        value, old = getattr(decision.plan.targets, field.name), in_force(history[-1], field)
        assert not (field.capacity * (value - old) < 0.0).any(), field.name


def calm(spec: ClusterSpec, target: float) -> Snapshot:
    """Everything known; the HPA targets at one value."""
    base = random_snapshot(np.random.default_rng(5), spec, 0.0, 0.0)
    n = len(spec.workloads)
    return replace(base, workloads=replace(base.workloads, hpa_target=signal(np.full(n, target))))


def test_worked_numbers_of_the_design_note() -> None:
    """From 80 % toward 50 %: 50 at once, as it adds capacity; from 40 % toward 60 %: 50, then 60."""
    spec = random_spec(np.random.default_rng(2))
    spec = replace(spec, workloads=tuple(replace(w, hpa=None) for w in spec.workloads))
    policy = ConstantSetPoints(share=0.5)
    decision, memory = decide(policy, first_memory(policy, spec), (calm(spec, 80.0),), spec, INTENT, 0.0, 0)
    assert decision.plan.targets.hpa_target == pytest.approx(50.0)
    assert (memory.workload_changed_s == 0.0).all()

    policy = ConstantSetPoints(share=0.6)
    decision, memory = decide(policy, first_memory(policy, spec), (calm(spec, 40.0),), spec, INTENT, 0.0, 0)
    assert decision.plan.targets.hpa_target == pytest.approx(50.0)
    again = replace(calm(spec, 50.0), time_s=60.0)
    decision, memory = decide(policy, memory, (again,), spec, INTENT, 60.0, 0)
    assert np.isnan(decision.plan.targets.hpa_target).all()
    assert [v.name for v in decision.verdicts if v.clipped] == ["cooldown"]
    later = replace(calm(spec, 50.0), time_s=300.0)
    decision, memory = decide(policy, memory, (later,), spec, INTENT, 300.0, 0)
    assert decision.plan.targets.hpa_target == pytest.approx(60.0)


def test_an_empty_pipeline_passes_the_proposal_through() -> None:
    decision, _, _ = run(3, guards=Guards(pipeline=()))
    assert decision.verdicts == ()
    assert equal(decision.plan.targets, decision.proposal.targets)


def test_the_decision_path_loads_no_simulator_and_no_heavy_library() -> None:
    heavy = ("numba", "pandas", "torch", "pyarrow", "gymnasium", "envs.sim", "envs.controllers")
    code = f"import policies.decide, sys; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
