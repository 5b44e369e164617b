"""An evaluation's batch of settings decides and pays as each setting alone in a what-if; nobody knows the future."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.faults import Fault
from envs.replay_run import ReplayRun, Rows, cheapest
from envs.scenario import TraceDemand
from envs.stack import HpaBehavior, HpaSpec, Learned, ScalingRules, Stack
from envs.stack_file import load_stack
from envs.world_draw import Draw, draw_scenario, loads_in, shipped_loads
from optimizer import evaluate_learned, learned_stack
from optimizer.evaluate_cases import Case
from optimizer.evaluate_learned import one_batch, run_settings
from optimizer.evaluate_run import JudgedFold
from optimizer.evaluate_sweep import sweep_of
from optimizer.learned_control import LearnedControl
from policies.family import CONSTANTS, MEMBERS, VARIANTS
from policies.replay import losses
from tests.policies.test_parity import Linear

HOURS = 3
OPTIONS = Learned(backfill_s=3600.0, beliefs=(0.9, 1.1))


@pytest.fixture
def case() -> Case:
    scenario = draw_scenario(
        np.random.default_rng(21), shipped_loads(), Draw(horizon_s=86_400.0, workloads=2, generated=0.0)
    )
    scenario = replace(scenario, horizon_s=HOURS * 3600.0)
    return Case("here", "one", "cluster", scenario.seed, scenario, 3600.0)


def settings_of(*prices: float) -> list[Stack]:
    stack = load_stack("rps-target")
    return [replace(stack, learned=replace(OPTIONS, violation_price=price)) for price in prices]


def test_a_batch_of_settings_pays_what_each_pays_alone(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_learned, "bundle_of", lambda stack: None)
    monkeypatch.setattr(evaluate_learned, "prior_of", lambda bundle: lambda prices: np.zeros((len(prices), MEMBERS)))
    monkeypatch.setattr(evaluate_learned, "Network", lambda bundle: Linear())
    stacks = settings_of(20.0, 500.0)
    assert one_batch(case, stacks)
    together = run_settings(case, stacks)
    for stack, (judged, decisions, _) in zip(stacks, together, strict=True):
        control, fold = LearnedControl(case.scenario, stack, case.seed, Linear()), JudgedFold(case)
        learned_stack.rollout_under(control, case.seed, sink=fold)
        alone = fold.run({}).outcome
        assert decisions == HOURS * 60
        assert judged.outcome.node_usd == pytest.approx(alone.node_usd, rel=1e-9)
        np.testing.assert_allclose(judged.outcome.workload_usd, alone.workload_usd, rtol=1e-9)
        np.testing.assert_allclose(judged.outcome.bad, alone.bad, rtol=1e-9, atol=1e-9)
    assert together[0][0].outcome.workload_usd != together[1][0].outcome.workload_usd


def test_stacks_that_differ_in_more_than_the_price_are_no_batch(case: Case) -> None:
    one, two = settings_of(20.0, 500.0)
    assert not one_batch(case, [one, replace(two, learned=replace(OPTIONS, burn=False))])
    assert not one_batch(case, [one, load_stack("rps-target")])


def test_the_sweep_of_the_shipped_stack_is_one_batch(case: Case) -> None:
    """Its own setting among them: nothing but the violation price may differ."""
    assert one_batch(case, [point.stack for point in sweep_of(load_stack("trimtab"))])


def test_a_case_with_broken_telemetry_is_no_batch(case: Case) -> None:
    gap = Fault("telemetry-gap", "gap", at_s=600.0, duration_s=600.0)
    assert not one_batch(replace(case, scenario=replace(case.scenario, faults=(gap,))), settings_of(20.0, 500.0))


def test_a_learned_stacks_replay_learns_nothing_from_what_nobody_measured(case: Case) -> None:
    family = LearnedControl(case.scenario, settings_of(100.0)[0], 5, Linear()).replay
    assert family is not None
    rates = np.random.default_rng(1).uniform(50.0, 400.0, (30, 2))
    family.extend(rates)
    before = losses(family.past, 100.0)
    family.extend(3.0 * rates, np.zeros(rates.shape, np.bool_))
    assert family.past.seconds == 3600.0
    assert losses(family.past, 100.0) == pytest.approx(before, rel=1e-12)
    some = np.ones(rates.shape, np.bool_)
    some[10:20, 0] = False
    family.extend(rates, some)
    after = losses(family.past, 100.0)
    assert not np.allclose(after, before)
    assert np.isfinite(after).all()


def traced(folder: Path, spike: float) -> list[float]:
    """HPA targets of every minute on a day's load that has a spike in its last hour."""
    minutes = np.arange(1600)
    load = 100.0 + 30.0 * np.sin(minutes / 40.0) + np.where(minutes > 1500, spike, 0.0)
    text = "timestamp,value\n" + "".join(f"{60 * i},{v:.4f}\n" for i, v in zip(minutes, load, strict=True))
    (folder / "made_up.csv").write_text(text)
    scenario = draw_scenario(
        np.random.default_rng(2), loads_in(folder), Draw(horizon_s=3600.0, workloads=2, generated=0.0)
    )
    demand = tuple(
        replace(d, mean_rps=None, scale=20.0, offset_s=1440 * 60.0)
        for d in scenario.demand
        if isinstance(d, TraceDemand)
    )
    scenario = replace(scenario, demand=demand, horizon_s=7200.0)
    control, seen = LearnedControl(scenario, settings_of(100.0)[0], 5, Linear()), []
    learned_stack.rollout_under(control, 5, watch=lambda plan: seen.append(plan.targets.hpa_target.tolist()))
    return seen


def test_a_planted_spike_changes_nothing_before_it(tmp_path: Path) -> None:
    for name in ("calm", "spike"):
        (tmp_path / name).mkdir()
    calm, spike = traced(tmp_path / "calm", 0.0), traced(tmp_path / "spike", 900.0)
    at = 1500 - 1440
    assert calm[:at] == spike[:at]
    assert calm[at + 5 :] != spike[at + 5 :]


def test_a_constant_of_the_family_costs_what_the_kernels_say_of_it_alone(case: Case) -> None:
    """No network in the way: the rows of a constant are those of a replay at this set-point."""
    control = LearnedControl(case.scenario, settings_of(100.0)[0], 5, Linear())
    assert control.replay is not None
    rates = np.random.default_rng(1).uniform(50.0, 400.0, (90, 2))
    usd, bad = control.replay.run.advance(rates)
    rows = []
    for w in control.scenario.cluster.workloads:
        assert isinstance(w.hpa, HpaSpec)
        roomy = replace(w.hpa, behavior=HpaBehavior(scale_down=ScalingRules(stabilization_s=1800)))
        price = cheapest(control.scenario.cluster, w)
        first = float(rates[0, len(rows)])
        rows.append(Rows(w, (roomy,) * 2 * len(CONSTANTS), OPTIONS.beliefs * len(CONSTANTS), price, first))
    alone = ReplayRun(rows, tick_s=case.scenario.tick_s, seed=5)
    alone.steer(*(np.tile(np.repeat(column, 2), (2, 1)) for column in np.array(CONSTANTS).T))
    spent = alone.advance(np.repeat(rates * case.scenario.tick_s, 4, axis=0))
    held = slice(len(VARIANTS), MEMBERS)
    np.testing.assert_allclose(usd[:, held].reshape(spent.usd.shape), spent.usd, rtol=1e-9)
    np.testing.assert_allclose(bad[:, held].reshape(spent.bad.shape), spent.bad, rtol=1e-9, atol=1e-12)


def test_a_service_that_replay_holds_stays_at_its_constant_whatever_the_network_says(case: Case) -> None:
    wanted = len(VARIANTS) + 7
    prior = np.full((2, MEMBERS), 1e6)
    prior[0, wanted] = prior[1, 3] = 0.0
    control = LearnedControl(case.scenario, settings_of(100.0)[0], 5, Linear(), prior=lambda prices: prior)
    asked: list[tuple[float, ...]] = []
    learned_stack.rollout_under(
        control, case.seed,
        watch=lambda plan: asked.append((*plan.targets.hpa_target, *plan.targets.hpa_stabilization_down_s)),
    )  # fmt: skip
    share, window_s = CONSTANTS[7]
    full = control.scenario.cluster.workloads[0].service.capacity_rps
    held, moved = np.array(asked)[:, [0, 2]], np.array(asked)[:, 1]
    assert held == pytest.approx(np.broadcast_to([share * full, window_s], held.shape))
    assert np.ptp(moved) > 0.0
    assert control.memory.policy["share"] == [share, None]
