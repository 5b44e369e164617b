"""Results remember which network they are of: a bundle that was exchanged under the same name is another policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.errors import InputError
from envs.scenario_file import load_scenario
from envs.stack import Learned, Stack
from envs.stack_file import load_stack
from optimizer import stack_bundle
from optimizer.evaluate_store import about
from optimizer.evaluate_sweep import Point
from optimizer.grid import Row, build_cells
from optimizer.stack_bundle import bundle_mark, networks
from policies import specs
from policies.specs import spec_of
from tests.policies import bundles


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack whose bundle lies in tmp_path/b and is of this version's spec."""
    monkeypatch.setattr(specs, "spec_of", lambda kind: (bundles.FEATURES, bundles.ACTIONS))
    stack_bundle._loaded.cache_clear()
    bundles.write(tmp_path / "b")
    return Stack("mine", learned=Learned(bundle=str(tmp_path / "b")))


def exchange(tmp_path: Path, **changed: object) -> None:
    bundles.write(tmp_path / "b", bundles.model(bundles.weights(9)), **changed)
    stack_bundle._loaded.cache_clear()


def test_a_cell_of_another_network_is_another_cell(learned, tmp_path):
    toy = load_scenario("toy")
    plain, before = build_cells([Row(0, load_stack("hpa-default"), toy), Row(1, learned, toy)], seeds=1, days=None)
    exchange(tmp_path)
    (after,) = build_cells([Row(0, learned, toy)], seeds=1, days=None)
    assert "bundle" not in plain.parts
    assert {part for part in after.parts if after.parts[part] != before.parts[part]} == {"bundle"}


def test_so_is_one_whose_prior_differs_though_its_network_is_the_same(learned, tmp_path):
    before, name = bundle_mark(learned), networks({"mine": learned})
    bundles.write(tmp_path / "b", base={"share": 0.6})
    stack_bundle._loaded.cache_clear()
    assert bundle_mark(learned) != before
    assert networks({"mine": learned}) == name


def test_an_evaluation_is_resumed_with_the_same_networks_only(learned, tmp_path):
    stacks = {"mine": learned, "hpa-default": load_stack("hpa-default")}
    policies = {name: [Point("own", stack)] for name, stack in stacks.items()}
    before = about("digest", policies)
    assert list(before["bundles"]) == ["mine"]
    exchange(tmp_path)
    assert about("digest", policies) != before
    assert "bundles" not in about("digest", {"hpa-default": policies["hpa-default"]})


def test_a_missing_bundle_is_told_before_anything_runs(tmp_path):
    row = Row(0, Stack("x", learned=Learned(bundle=str(tmp_path / "none"))), load_scenario("toy"))
    with pytest.raises(InputError, match="no such folder"):
        build_cells([row], seeds=1, days=None)


def test_this_versions_spec_is_the_encoders_and_the_decoders():
    from envs.observation import AUTOSCALING
    from envs.set_point_action import ACTIONS
    from training.train import FEATURES

    features, actions = spec_of("autoscaling")
    assert [f.name for f in features] == list(AUTOSCALING)
    assert tuple(features) == FEATURES
    assert tuple(actions) == ACTIONS
    with pytest.raises(InputError, match="autoscaling only"):
        spec_of("node-pools")
