"""A trained policy becomes a bundle that says what torch says, or nothing is saved."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from envs.errors import InputError
from envs.observation import Feature
from policies.bundle import load_bundle
from policies.network import Network
from training import export
from training.actor import Actor, actor_of
from training.export import Described, export_bundle
from training.provenance import Commit, commit, file_sha256, traces_used

FEATURES = tuple(Feature(f"f{i}", -1.0 - i, 2.0 + i, "") for i in range(5))
ACTIONS = ("share", "window")
LOW, HIGH = (np.array([getattr(f, side) for f in FEATURES], np.float32) for side in ("low", "high"))


def sb3_policy(seed: int = 0, **options: object) -> ActorCriticPolicy:
    torch.manual_seed(seed)
    policy = ActorCriticPolicy(
        gymnasium.spaces.Box(LOW, HIGH),
        gymnasium.spaces.Box(-1.0, 1.0, (len(ACTIONS),)),
        lambda _: 1e-3,
        net_arch={"pi": [16, 16], "vf": [8]},
        **options,
    )
    with torch.no_grad():
        policy.action_net.weight.mul_(300.0)  # so that some actions are clamped
    return policy


def observations(rows: int = 2000) -> np.ndarray:
    return np.random.default_rng(3).uniform(LOW, HIGH, (rows, len(FEATURES))).astype(np.float32)


def described(**changed: object) -> Described:
    made = Described(
        name="tiny", version="1", kind="autoscaling", features=FEATURES, actions=ACTIONS, seen=observations(), seed=7,
        preset="quick", base={"share": 0.7}, created="2026-01-05T00:00:00Z",
    )  # fmt: skip
    return replace(made, **changed)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ActorCriticPolicy, Path]:
    policy, folder = sb3_policy(), tmp_path_factory.mktemp("export") / "bundle"
    export_bundle(actor_of(policy, FEATURES), folder, described())
    return policy, folder


def load(folder: Path, features: Sequence[Feature] = FEATURES) -> Network:
    return Network(load_bundle(folder, features=features, actions=ACTIONS))


def test_the_bundle_says_what_stable_baselines_says(exported):
    """SB3's own `predict`, deterministic, which clips to the action space, on rows in range."""
    policy, folder = exported
    seen = observations()
    wanted, _ = policy.predict(seen, deterministic=True)
    action = load(folder).act(seen)
    assert np.abs(action - wanted).max() <= 0.5e-4 + 1e-5
    assert (np.abs(wanted) == 1.0).any()
    assert (np.abs(wanted) < 1.0).any()


def test_rows_beyond_the_range_are_held_to_it(exported):
    _, folder = exported
    network, far = load(folder), observations(50)
    far[:, 2] = 1e6
    assert np.array_equal(network.act(far), network.act(np.minimum(far, HIGH)))


def test_the_manifest_records_where_it_comes_from(exported):
    _, folder = exported
    manifest = load(folder).bundle.manifest
    assert manifest.git_commit == commit().sha
    assert manifest.model.sha256 == file_sha256(folder / "policy.onnx")
    assert manifest.model.max_difference <= 1e-5
    assert manifest.model.rows_compared == 1000
    assert (manifest.seed, manifest.preset, manifest.base) == (7, "quick", {"share": 0.7})
    for f, low, high in zip(manifest.observation.features, LOW, HIGH, strict=True):
        width = high - low
        assert f.seen_low == pytest.approx(low + 0.001 * width, abs=float(0.01 * width))
        assert f.seen_high == pytest.approx(high - 0.001 * width, abs=float(0.01 * width))


def test_the_file_tells_nothing_of_the_machine_that_made_it(exported):
    _, folder = exported
    data = (folder / "policy.onnx").read_bytes()
    assert not re.search(rb"\.py|/home|/root|/tmp|torch\.nn", data)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["bundle"]
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "policy.onnx"]


def test_the_normaliser_travels_inside(tmp_path):
    mean, std = np.linspace(-1, 1, 5), np.linspace(0.5, 2, 5)
    linear = torch.nn.Linear(5, 2)
    actor = Actor(torch.nn.Identity(), linear, FEATURES, mean=mean, std=std)
    export_bundle(actor, tmp_path / "b", described())
    seen = observations(100)
    w, b = linear.weight.detach().numpy().astype(float), linear.bias.detach().numpy().astype(float)
    wanted = np.clip(((seen - mean) / std) @ w.T + b, -1, 1)
    assert np.abs(load(tmp_path / "b").act(seen) - wanted).max() <= 0.5e-4 + 1e-5


def test_equal_weights_give_equal_bytes(exported):
    _, folder = exported
    assert export.onnx_bytes(actor_of(sb3_policy(), FEATURES), 5) == (folder / "policy.onnx").read_bytes()


def test_a_difference_from_torch_saves_nothing(tmp_path, monkeypatch, exported):
    """The file of another seed's network stands in for an exporter that gets it wrong."""
    _, folder = exported
    monkeypatch.setattr(export, "onnx_bytes", lambda *_: (folder / "policy.onnx").read_bytes())
    with pytest.raises(InputError, match="differs from torch"):
        export_bundle(actor_of(sb3_policy(1), FEATURES), tmp_path / "b", described())
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_nan_save_nothing(tmp_path, monkeypatch, exported):
    policy, folder = sb3_policy(), exported[1]
    with torch.no_grad():
        policy.action_net.bias.fill_(float("nan"))
    monkeypatch.setattr(export, "onnx_bytes", lambda *_: (folder / "policy.onnx").read_bytes())
    with pytest.raises(InputError, match="differs from torch"):
        export_bundle(actor_of(policy, FEATURES), tmp_path / "b", described())
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_a_bundle(tmp_path, monkeypatch, exported):
    policy, folder = exported
    monkeypatch.setattr(export, "onnx_bytes", lambda *_: (folder / "policy.onnx").read_bytes())
    place = tmp_path / "b"
    export_bundle(actor_of(policy, FEATURES), place, described())
    with pytest.raises(InputError, match="exists already"):
        export_bundle(actor_of(policy, FEATURES), place, described(name="other"))
    export_bundle(actor_of(policy, FEATURES), place, described(name="other"), force=True)
    assert load(place).bundle.manifest.name == "other"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


class Wider(BaseFeaturesExtractor):
    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return seen


def test_policies_that_cannot_be_exported_say_so():
    own = sb3_policy(features_extractor_class=Wider, features_extractor_kwargs={"features_dim": 5})
    with pytest.raises(ValueError, match="features extractor"):
        actor_of(own, FEATURES)
    discrete = ActorCriticPolicy(gymnasium.spaces.Box(LOW, HIGH), gymnasium.spaces.Discrete(3), lambda _: 1e-3)
    with pytest.raises(ValueError, match="Box action"):
        actor_of(discrete, FEATURES)


def test_another_repository_around_the_code_is_not_taken_for_it(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "site-packages").mkdir()
    assert commit(tmp_path / "site-packages") == Commit()
    assert commit(tmp_path / "none") == Commit()


def test_traces_are_listed_once_in_order(tmp_path):
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_text(name)
    files = [("nab", tmp_path / "b.csv"), ("nab", tmp_path / "a.csv"), ("nab", tmp_path / "b.csv")]
    assert [t.trace for t in traces_used(files)] == ["a.csv", "b.csv"]
