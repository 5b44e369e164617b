"""A training run starts at the tuned base, goes on after a kill to the same bundle, and says what it did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from envs.errors import InputError
from envs.observation import AUTOSCALING, FEATURE
from envs.set_point_action import ACTIONS
from envs.world_draw import shipped_loads

pytest.importorskip("stable_baselines3", reason="training needs the extra `train`")

from policies.bundle import load_bundle
from policies.network import Network
from training.act import act_of
from training.actor import actor_of
from training.config import TrainConfig, load_config
from training.ppo import CHECKPOINT, make_model
from training.stage_run import make_env
from training.train import run, split

TINY = {
    "name": "tiny",
    "worlds": {"clusters": 2, "workloads": 3, "episode": "1h"},
    "ppo": {"rows": 6 * 120, "steps": 20, "batch": 60, "epochs": 2, "layers": [8]},
    "check": {"clusters": 2, "episode": "1h", "prior_workloads": 3, "prior_days": 0.05, "prior_prices": [30, 300]},
}
FEATURES = tuple(FEATURE[name] for name in AUTOSCALING)


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return TrainConfig.model_validate(TINY)


def test_it_starts_at_the_tuned_base_and_the_base_earns_nothing(config: TrainConfig) -> None:
    env = make_env(config, shipped_loads())
    act = act_of(actor_of(make_model(config, env).policy, FEATURES))
    seen = env.reset()
    for _ in range(5):
        action = act(seen)
        assert not action.any()
        seen, rewards, _, _ = env.step(action)
        assert not rewards.any()


def test_rows_end_together_by_truncation_in_new_worlds(config: TrainConfig) -> None:
    env = make_env(config, shipped_loads())
    env.reset()
    before = env.core.batch.scenarios
    for i in range(60):
        seen, _, dones, infos = env.step(np.zeros((6, 2)))
        assert dones.all() == (i == 59)
    assert all(info["TimeLimit.truncated"] and info["terminal_observation"].shape == seen[0].shape for info in infos)
    assert env.core.batch.scenarios != before


def test_a_killed_run_goes_on_to_the_same_bundle(config: TrainConfig, tmp_path: Path) -> None:
    whole = run(config, tmp_path / "whole")
    updates: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "cut", report=lambda _, rows: updates.append(rows), stop=lambda: len(updates) >= 4)
    assert (tmp_path / "cut" / CHECKPOINT).exists()
    resumed = run(config, tmp_path / "cut", resume=True)
    assert (resumed.bundle / "policy.onnx").read_bytes() == (whole.bundle / "policy.onnx").read_bytes()
    curves = [(tmp_path / name / "curve.csv").read_text() for name in ("whole", "cut")]
    kept = [[line for line in curve.splitlines() if "time/" not in line] for curve in curves]
    assert kept[0] == kept[1]
    manifests = [json.loads((x.bundle / "manifest.json").read_text()) for x in (whole, resumed)]
    for manifest in manifests:
        manifest.pop("created")
    assert manifests[0] == manifests[1]


def test_the_bundle_runs_without_torch_and_answers_as_the_policy_did(config: TrainConfig, tmp_path: Path) -> None:
    made = run(config, tmp_path / "run")
    bundle = load_bundle(made.bundle, features=FEATURES, actions=ACTIONS)
    prior = bundle.manifest.prior
    assert prior is not None
    assert prior.prices == [30.0, 300.0]
    assert min(min(row) for row in prior.log_regret) >= 0.0
    assert {t.source for t in bundle.manifest.data} <= {"aiops2018", "nab"}
    rows = made.judged.seen[:50]
    assert np.isfinite(Network(bundle).act(rows)).all()
    assert Network(bundle).within(rows).mean() > 0.9


def test_held_out_series_are_whole_and_the_same_each_time() -> None:
    train, held = split(shipped_loads(), 0.2)
    assert len(held) == 4
    assert not {(s.path, s.column) for s in train} & {(s.path, s.column) for s in held}
    assert split(shipped_loads()[::-1], 0.2) == (train, held)


def test_load_that_is_too_short_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Never quietly trained on made-up load instead."""
    lines = ["time_s,a,b", *(f"{60 * i},5,6" for i in range(90))]
    (tmp_path / "load").mkdir()
    (tmp_path / "load" / "x.csv").write_text("\n".join(lines) + "\n")
    worlds = {**TINY["worlds"], "load_dir": str(tmp_path / "load"), "episode": "2h"}  # type: ignore[dict-item]
    with pytest.raises(InputError, match="longer than 2 h"):
        run(TrainConfig.model_validate({**TINY, "worlds": worlds}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_run_is_left_alone(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="--resume"):
        run(config, tmp_path)
    with pytest.raises(InputError, match="another configuration"):
        run(config, tmp_path, resume=True)
    assert (tmp_path / "config.json").read_text() == "{}"


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_presets_are_valid(preset: str) -> None:
    assert load_config(preset).ppo.rows >= 1_000_000


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ppo: {rowz: 5}", "rowz"),
        ("ppo: {gamma: 1.5}", "gamma"),
        ("worlds: {period: 90}", "whole minutes"),
        ("worlds: {price_low: 5000}", "price_low"),
        ("- 1", "mapping"),
    ],
)
def test_a_bad_configuration_names_the_field(tmp_path: Path, text: str, names: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=names):
        load_config(file)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="quick"):
        load_config("quik")
