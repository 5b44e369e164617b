"""One encoder, one decoder: the vector environment, the Gym environment and `decide` plan the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from envs.action import Plan
from envs.cluster_env import AutoscalingEnv
from envs.observation import AUTOSCALING, encode_rows
from envs.rollout import rollout
from envs.scenario import Scenario
from envs.snapshot import Snapshot
from envs.stack import Learned
from envs.stack_file import load_stack
from envs.steered import prices_of
from envs.workload_batch import WorkloadBatch
from envs.world_draw import Draw, draw_scenario, shipped_loads
from optimizer.learned_control import LearnedControl

MINUTES = 45
DRAW = Draw(horizon_s=MINUTES * 60.0, workloads=3, generated=0.3)


class Linear:
    """A network of one layer with fixed random weights."""

    def __init__(self) -> None:
        self.weights = np.random.default_rng(5).normal(0.0, 0.25, (len(AUTOSCALING), 2))

    def act(self, observation: np.ndarray) -> np.ndarray:
        return np.round(np.tanh(observation.astype(np.float64) @ self.weights), 4)

    def within(self, observation: np.ndarray) -> np.ndarray:
        return np.ones(len(observation), bool)


class Recorder:
    """Keeps the set-points of every plan."""

    def __init__(self, control: LearnedControl) -> None:
        self.control, self.period_s = control, control.period_s
        self.plans: list[np.ndarray] = []

    def __call__(self, time_s: float, rates: np.ndarray, look: Callable[[], Snapshot]) -> Plan | None:
        plan = self.control(time_s, rates, look)
        assert plan is not None
        assert not plan.hold, plan.why
        milli = np.maximum(np.rint(plan.targets.hpa_target * 1000.0), 1.0)
        self.plans.append(np.stack([milli, plan.targets.hpa_stabilization_down_s]))
        return plan


@pytest.fixture(scope="module", params=["rps-target", "karpenter-rps"])
def world(request: pytest.FixtureRequest) -> tuple[Scenario, str]:
    rng = np.random.default_rng(11)
    return replace(draw_scenario(rng, shipped_loads(), DRAW), horizon_s=MINUTES * 60.0), request.param


def by_decide(scenario: Scenario, stack: str) -> list[np.ndarray]:
    learned = replace(load_stack(stack), learned=Learned(replay=False, burn=False))
    recorder = Recorder(LearnedControl(scenario, learned, scenario.seed, Linear()))
    rollout(recorder.control.scenario, recorder.control.stack, scenario.seed, decide=recorder)
    return recorder.plans


def by_batch(scenario: Scenario, stack: str, *, beside: int) -> list[np.ndarray]:
    """The same world as cluster 0 of a batch, other worlds beside it."""
    rng = np.random.default_rng(12)
    others = [replace(draw_scenario(rng, shipped_loads(), DRAW), horizon_s=scenario.horizon_s) for _ in range(beside)]
    prices = np.concatenate([prices_of(s) for s in (scenario, *others)])
    batch = WorkloadBatch([scenario, *others], [load_stack(stack)] * (1 + beside), prices)
    actor, W, out = Linear(), len(scenario.demand), []
    for _ in range(MINUTES):
        batch.step(actor.act(encode_rows(batch.signals(), batch.spec)))
        milli = np.maximum(np.rint(batch.share * batch.spec.capacity_rps * 1000.0), 1.0)
        out.append(np.stack([milli, batch.window_s])[:, :W])
    return out


def test_decide_and_the_vector_environment_plan_the_same(world: tuple[Scenario, str]) -> None:
    one = by_decide(*world)
    many = by_batch(*world, beside=2)
    assert len(one) == len(many) == MINUTES
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(np.unique(np.stack(one)[:, 0], axis=0)) > MINUTES // 2


def test_the_gym_environment_is_a_row_of_the_vector_environment() -> None:
    env = AutoscalingEnv(draw=DRAW)
    seen, _ = env.reset(seed=4)
    scenario, stack = env.batch.scenarios[0], env.batch.stacks[0]
    batch = WorkloadBatch([scenario], [stack], env.batch.prices)
    actor = Linear()
    for _ in range(MINUTES):
        rows = encode_rows(batch.signals(), batch.spec)
        np.testing.assert_array_equal(rows[env.row], seen)
        action = actor.act(rows[env.row : env.row + 1])[0].astype(np.float32)
        everyone = np.zeros((len(batch.workloads), 2))
        everyone[env.row] = action
        terms = batch.step(everyone)
        seen, reward, ended, cut, info = env.step(action)
        assert reward == -terms.cost[env.row] == -info["cost"]
        assert not ended
    assert cut


def test_a_batch_is_the_same_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(3)
    worlds = [replace(draw_scenario(rng, shipped_loads(), DRAW), horizon_s=1200.0) for _ in range(3)]
    stacks, prices = [load_stack("rps-target")] * 3, np.full(9, 100.0)
    costs = []
    for threads in (1, 3):
        batch = WorkloadBatch(worlds, stacks, prices, threads=threads)
        costs.append([batch.step(np.full((9, 2), 0.1)).cost for _ in range(20)])
    np.testing.assert_array_equal(*costs)
