"""Each stage against the one before: labels by branching, fits, replay on validation, what is kept, and resuming."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from envs.branches import Branches
from envs.errors import InputError
from envs.stack_file import load_stack
from envs.vec_env import DrawnRows
from envs.workload_batch import WorkloadBatch
from envs.world_draw import Draw, draw_scenario, shipped_loads

pytest.importorskip("stable_baselines3", reason="training needs the extra `train`")

import torch

from policies.specs import load
from training.actor import Actor
from training.config import TrainConfig, load_config
from training.judge_bundle import judge_bundle
from training.label_fit import METHODS, fit, hats, surface
from training.labels import BASE, POINTS, SHARES, WINDOWS, Labels, _branched, gather
from training.stage_plan import label_rows
from training.stage_replay import Constants, replayed
from training.stages import Cost, StageTable
from training.train import run
from training.validation import HeldOut, idle

TINY = {
    "name": "tiny",
    "stages": ["base", "forecast", "replay", "labels", "ppo", "family"],
    "worlds": {"clusters": 2, "workloads": 3, "episode": "1h"},
    "forecast": {"services": 12, "days": 0.5, "every": "10m", "tries": [[8], [16]]},
    "labels": {
        "clusters": 2, "episodes": 2, "every": "20m", "hold": "5m",
        "tries": [{"horizon": "10m"}, {"horizon": "10m", "method": "regress"}, {"horizon": "20m", "method": "clone"}],
    },
    "ppo": {
        "rows": 6 * 120, "steps": 20, "batch": 60, "epochs": 1, "layers": [8],
        "tries": [{}, {"seed": 1, "log_std": -1.5, "start": "base"}],
    },
    "check": {
        "clusters": 2, "episode": "1h", "prior_workloads": 3, "prior_days": 0.05, "prior_prices": [30, 300],
        "replay_days": 0.1, "replay_beliefs": [1.0],
    },
}  # fmt: skip
DRAW = Draw(horizon_s=3600.0, workloads=3)


def a_batch(clusters: int = 2) -> WorkloadBatch:
    rng = np.random.default_rng(4)
    worlds = [draw_scenario(rng, shipped_loads(), DRAW) for _ in range(clusters)]
    stacks = [load_stack("rps-target"), load_stack("karpenter-rps")][:clusters]
    return WorkloadBatch(worlds, stacks, np.geomspace(10.0, 3000.0, 3 * clusters))


def test_a_branch_pays_what_the_batch_pays_when_it_does_the_same() -> None:
    batch, rng = a_batch(), np.random.default_rng(1)
    for _ in range(7):
        batch.step(rng.uniform(-1.0, 1.0, (6, 2)))
    before = batch.sim.state_bytes()
    actions = rng.uniform(-1.0, 1.0, (4, 6, 2))
    branches = Branches(batch, len(actions))
    cost = branches.costs(actions, (10, 25), hold_min=10)
    assert batch.sim.state_bytes() == before
    np.testing.assert_array_equal(branches.costs(actions, (10, 25), hold_min=10), cost)
    paid = [batch.step(actions[2] if minute < 10 else np.zeros((6, 2))).cost for minute in range(25)]
    np.testing.assert_allclose(cost[2, :, 0], np.mean(paid[:10], axis=0), rtol=1e-12)
    np.testing.assert_allclose(cost[2, :, 1], np.mean(paid, axis=0), rtol=1e-12)
    assert len(np.unique(cost[:, 0, 1])) > 1


def test_each_row_gets_the_cost_of_each_point_whatever_branch_it_held_it_in() -> None:
    def costs(actions: Any, marks: Any, *, hold_min: int) -> Any:
        return (10.0 * np.arange(5)[None, :] + actions[:, :, 0] + 0.1 * actions[:, :, 1])[:, :, None]

    fake: Any = SimpleNamespace(batch=SimpleNamespace(workloads=range(5)), costs=costs)
    out = _branched(np.random.default_rng(0), fake, (1,), 1)
    np.testing.assert_allclose(out[:, :, 0], 10.0 * np.arange(5)[:, None] + POINTS[:, 0] + 0.1 * POINTS[:, 1])


def test_labels_on_disk_are_not_simulated_again_and_are_the_same(tmp_path: Path) -> None:
    def core() -> DrawnRows:
        return DrawnRows(shipped_loads(), [load_stack("rps-target")], clusters=2, draw=DRAW, seed=3)

    given: Any = {"marks_min": (5, 15), "hold_min": 5, "every_min": 20, "stop": lambda: False}
    told: list[tuple[int, int]] = []

    def note(*counts: int) -> None:
        told.append((counts[0], counts[1]))

    whole = gather(core(), tmp_path / "whole", episodes=2, report=note, **given)
    first = gather(core(), tmp_path / "cut", episodes=1, report=note, **given)
    later = core()
    again = gather(later, tmp_path / "cut", episodes=2, report=note, **given)
    assert told == [(1, 1), (2, 2), (1, 1), (1, 0), (2, 1)]
    assert later.episode == 2
    assert len(first.cost) < len(again.cost)
    for a, b in zip(vars(whole).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.cost.shape == (2 * 3 * 6, len(POINTS), 2)
    assert len(np.unique(whole.world)) == 4
    usual = whole.cost[:18, BASE, -1].reshape(3, 6).mean(axis=0)
    np.testing.assert_allclose(usual, 1.0, rtol=1e-5)


def test_the_surface_goes_through_its_points_and_is_linear_between() -> None:
    rng = np.random.default_rng(2)
    cost = torch.as_tensor(rng.normal(size=(len(POINTS), len(POINTS))))
    points = torch.as_tensor(POINTS)
    np.testing.assert_allclose(surface(cost, points), np.diag(cost), rtol=1e-6)
    x = torch.as_tensor(rng.uniform(-1.5, 1.5, 200))
    for nodes in (SHARES, WINDOWS):
        weights = hats(x, nodes)
        np.testing.assert_allclose(weights.sum(dim=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(weights @ torch.as_tensor(nodes, dtype=weights.dtype), x.clip(-1.0, 1.0), atol=1e-6)


def an_actor(features: int) -> Actor:
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 2)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    ranges: Any = [SimpleNamespace(low=-3.0, high=3.0)] * features
    return Actor(torch.nn.Sequential(torch.nn.Linear(features, 16), torch.nn.Tanh()), head, ranges)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_finds_what_the_state_asks_for(method: str) -> None:
    """The best share follows the first feature; noise of the future is as large as the difference."""
    rng = np.random.default_rng(5)
    seen = rng.normal(size=(4000, 3)).astype(np.float32)
    best = np.tanh(seen[:, :1])
    cost = (POINTS[:, 0] - best) ** 2 + 0.3 * rng.normal(size=(4000, len(POINTS))) * (np.arange(15) != BASE)
    labels = Labels(seen, cost.astype(np.float32)[:, :, None], np.arange(4000) // 40)
    actor = an_actor(3)
    gain = fit(actor, labels, 0, method, seed=0)
    least = -float((best**2).mean())
    assert gain < (0.4 if method == "clone" else 0.75) * least
    other = an_actor(3)
    assert fit(other, labels, 0, method, seed=0) == gain
    assert all(torch.equal(a, b) for a, b in zip(actor.parameters(), other.parameters(), strict=True))


def test_a_fit_to_noise_stays_at_the_base() -> None:
    rng = np.random.default_rng(6)
    seen = rng.normal(size=(1000, 3)).astype(np.float32)
    cost = (1.0 + np.abs(POINTS).sum(axis=1) + rng.normal(size=(1000, 15))).astype(np.float32)[:, :, None]
    actor = an_actor(3)
    assert fit(actor, Labels(seen, cost, np.arange(1000) // 10), 0, "expected", seed=0) <= 0.0
    assert float(actor(torch.as_tensor(seen)).detach().abs().mean()) < 0.2


def held_out() -> HeldOut:
    return HeldOut(shipped_loads(), [load_stack("rps-target")], DRAW, clusters=12, seed=1)


def test_only_what_is_better_beyond_its_interval_is_kept(tmp_path: Path) -> None:
    held, rng = held_out(), np.random.default_rng(0)
    base = np.exp(rng.normal(size=36))
    seen = np.zeros((0, 2), np.float32)
    table = StageTable(held, tmp_path, 0)
    noise = {name: base * np.exp(0.2 * rng.normal(size=36)) for name in ("n1", "n2")}
    good = {"good": base * np.exp(0.2 * rng.normal(size=36) - 0.2)}
    for name, mean in {"base": base, **noise, **good}.items():
        table.cost(name, lambda mean=mean: Cost(mean, seen))  # type: ignore[misc]
    assert table.judge("labels", ["n1", "n2"], "base") is None
    assert table.judge("ppo", ["n1", "good"], "base") == "good"
    assert [r.kept for r in table.rows] == [False, False, False, True]
    assert table.best("ppo") == "good"
    alone, among = (held.against(good["good"], base, np.random.default_rng(3), tried=n) for n in (1, 10))
    assert among[1] < alone[1] < alone[0] < alone[2] < among[2]
    table.write(tmp_path / "stages.csv")
    rows = list(csv.DictReader((tmp_path / "stages.csv").open()))
    assert [(r["stage"], r["variant"], r["kept"]) for r in rows][-1] == ("ppo", "good", "True")


def test_what_was_rolled_out_once_is_read_from_disk(tmp_path: Path) -> None:
    held = held_out()
    made = Cost(np.ones(36), np.zeros((1, 2), np.float32))
    StageTable(held, tmp_path, 0).cost("base", lambda: made)
    again = StageTable(held, tmp_path, 0).cost("base", lambda: pytest.fail("rolled out again"))
    np.testing.assert_array_equal(again.mean, made.mean)


class OneOf:
    """Two candidates of which the second costs less on the past; notes the load that it was shown."""

    def __init__(self, batch: WorkloadBatch) -> None:
        self.prior, self.shown = np.zeros((len(batch.workloads), 2)), []  # type: ignore[var-annotated]
        self.chosen: list[int] = []

    def advance(self, rates: Any) -> Any:
        self.shown.append(rates)
        spent = np.tile(np.array([2.0, 1.0])[None, :, None], (rates.shape[1], 1, 1))
        return spent, np.zeros_like(spent)

    def step(self, batch: WorkloadBatch, chosen: Any) -> Any:
        self.chosen += chosen.tolist()
        return batch.step(np.zeros((len(chosen), 2)))


def test_replay_is_shown_what_was_measured_by_then_and_no_more() -> None:
    batch = a_batch()
    began = batch.past.last(120)
    candidates = OneOf(batch)
    cost = replayed(batch, candidates, days=2 / 24)
    shown = np.concatenate(candidates.shown)
    assert [len(x) for x in candidates.shown] == [60, 60, 60]
    np.testing.assert_array_equal(shown[:120], np.where(np.isfinite(began), began, 0.0))
    np.testing.assert_allclose(shown[120:], batch.past.last(60))
    fitting = np.isfinite(began).all(axis=0)
    assert fitting.any()
    assert set(np.array(candidates.chosen).reshape(-1, 6)[:, fitting].ravel()) == {1}
    base, total = a_batch(), 0.0
    while not base.done:
        total = total + base.step(idle(np.zeros((6, 1), np.float32))).cost
    np.testing.assert_array_equal(cost, total / 60)


def test_constants_hold_what_replay_chose() -> None:
    batch = a_batch()
    constants = Constants(batch, (1.0,))
    constants.step(batch, np.arange(6) * 12)
    from envs.setpoints import GRID

    np.testing.assert_array_equal(np.stack([batch.share, batch.window_s], axis=1), [GRID[i * 12] for i in range(6)])


def cut(config: TrainConfig, place: Path, *, rows: float = np.inf, said: str = "nothing") -> None:
    """Run it until so many rows are done, or until it says so."""
    done, lines = [0], [""]
    with pytest.raises(KeyboardInterrupt):
        run(
            config, place, resume=True, report=lambda _, now: done.append(now), say=lines.append,
            stop=lambda: max(done) >= rows or lines[-1].startswith(said),
        )  # fmt: skip


def test_a_killed_run_of_all_stages_goes_on_to_the_same_table_and_bundle(tmp_path: Path) -> None:
    config = TrainConfig.model_validate(TINY)
    whole = run(config, tmp_path / "whole")
    labels, validation = label_rows(config), tmp_path / "cut" / "validation"
    for rows in (labels // 2, labels + 4 * 120, labels + 6 * 120 + 4 * 120):  # labels, first try of PPO, second
        cut(config, tmp_path / "cut", rows=rows)
    assert (validation / "ppo.npz").exists()
    cut(config, tmp_path / "cut", said="validation: ppo-s1")
    assert not list(validation.glob("ppo-s1*")), "it ended within the roll-out"
    resumed = run(config, tmp_path / "cut", resume=True)
    for name in ("stages.csv", "stages.json", "bundle/policy.onnx", "bundle/forecaster.onnx"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    curves = [(tmp_path / name / "curve.csv").read_text() for name in ("whole", "cut")]
    kept = [[line for line in curve.splitlines() if "time/" not in line] for curve in curves]
    assert kept[0] == kept[1]
    manifest = json.loads((resumed.bundle / "manifest.json").read_text())
    stages = [row[:2] for row in manifest["stages"]["rows"]]
    names = ["expected-10m", "regress-10m", "clone-20m"]
    assert stages[:8] == [
        ["forecast", "8"],
        ["forecast", "16"],
        ["replay", "replay"],
        *(["labels", n] for n in names),
        ["ppo", "ppo"],
        ["ppo", "ppo-s1-std-1.5-base"],
    ]
    assert manifest["forecaster"] is not None
    assert len(manifest["observation"]["features"]) == 46
    assert stages[8:] == [["family", "family"]] * 2
    assert whole.network in {*names, "ppo", "ppo-s1-std-1.5-base"}


def test_a_bundle_is_judged_as_its_run_judged_it(tmp_path: Path) -> None:
    config = TrainConfig.model_validate({**TINY, "stages": ["base", "replay", "ppo", "family"]})
    one = config.model_copy(update={"ppo": config.ppo.model_copy(update={"tries": config.ppo.tries[:1]})})
    made = run(one, tmp_path / "run")
    table = judge_bundle(load(made.bundle), one, tmp_path / "judged")
    rows = list(csv.DictReader((tmp_path / "run" / "stages.csv").open()))
    told = {(r["stage"], r["against"]): (float(r["cost"]), float(r["log_ratio"])) for r in rows}
    for row in table.rows:
        stage, against = (x.replace("network", "ppo") for x in (row.stage, row.against))
        assert (row.cost, row.log_ratio) == pytest.approx(told[stage, against], abs=2e-4), row
    assert len(table.rows) == len(rows) == 4


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("stages: [base, replay]", "make no network"),
        ("stages: [base, lables]", "stages"),
        ("labels: {tries: [{method: guess}]}", "method"),
        ("labels: {trys: []}", "trys"),
        ("labels: {hold: 40m}", "hold"),
        ("ppo: {tries: [{}, {}]}", "the same"),
        ("{stages: [labels], worlds: {episode: 1h}, labels: {tries: [{horizon: 2h}]}}", "longer"),
    ],
)
def test_a_bad_configuration_of_stages_names_the_field(tmp_path: Path, text: str, names: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=names):
        load_config(file)
