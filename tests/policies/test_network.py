"""Rows in, actions out: bounded, rounded, the same whatever is beside a row; foreign rows are told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.bundle import bundle_from, load_bundle
from policies.manifest import render_manifest
from policies.network import Network
from tests.policies import bundles
from tests.policies.bundles import ACTIONS, FEATURES, write


@pytest.fixture
def network(tmp_path: Path) -> Network:
    folder = write(tmp_path / "b", bundles.model(bundles.weights() * 20.0))
    return Network(load_bundle(folder, features=FEATURES, actions=ACTIONS))


def rows(count: int, seed: int = 1) -> np.ndarray:
    low, high = np.array([f.low for f in FEATURES]), np.array([f.high for f in FEATURES])
    return np.random.default_rng(seed).uniform(low, high, (count, len(FEATURES))).astype(np.float32)


def test_actions_are_those_of_the_formula_in_range_and_rounded(network):
    seen = rows(500)
    action = network.act(seen)
    assert action.dtype == np.float64
    assert action.shape == (500, 2)
    exact = np.tanh(seen.astype(np.float64) @ (bundles.weights() * 20.0))
    assert np.abs(action - exact).max() <= 0.5e-4 + 1e-5
    assert np.abs(action).max() <= 1.0
    assert np.array_equal(action, np.round(action, 4))


def test_actions_beyond_the_range_are_clipped(tmp_path):
    nodes = [bundles.helper.make_node("MatMul", ["observation", "W"], ["action"])]
    folder = write(tmp_path / "b", bundles.model(np.full((3, 2), 9.0, np.float32), nodes=nodes))
    network = Network(load_bundle(folder, features=FEATURES, actions=ACTIONS))
    assert np.array_equal(network.act(np.ones((4, 3), np.float32)), np.ones((4, 2)))
    assert np.array_equal(network.act(-np.ones((4, 3), np.float32)), -np.ones((4, 2)))


def test_a_row_is_judged_alike_alone_and_among_others(network):
    seen = rows(257)
    together = network.act(seen)
    assert np.array_equal(np.concatenate([network.act(seen[i : i + 1]) for i in range(len(seen))]), together)
    assert np.array_equal(network.act(seen[::-1])[::-1], together)


def test_no_rows_give_no_actions(network):
    assert network.act(rows(0)).shape == (0, 2)
    assert network.within(rows(0)).shape == (0,)


def test_an_unknown_number_leaves_everything_as_it_is_and_touches_no_other_row(network):
    seen = rows(4)
    clean = network.act(seen)
    seen[2, 1] = np.nan
    seen[3, 0] = np.inf
    action = network.act(seen)
    assert np.isnan(action[2:]).all()
    assert np.array_equal(action[:2], clean[:2])
    assert not network.within(seen)[2:].any()


def test_rows_like_those_of_training_are_within_and_others_are_not(network):
    """The envelope of `load` is [0, 2]: 2.1 is inside its margin of 10 %, 2.3 is not."""
    inside, edge, beyond = [1.0, -1.0, 0.2], [2.1, -1.0, 0.2], [2.3, -1.0, 0.2]
    seen = np.array([inside, edge, beyond], np.float32)
    assert network.within(seen).tolist() == [True, True, False]
    assert network.outside(seen).round(3).tolist() == [0.0, 0.0, 0.333]


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_another_shape_is_an_error(network, shape):
    with pytest.raises(ValueError, match="needs"):
        network.act(np.zeros(shape, np.float32))


def test_a_deep_network_judges_a_row_alike_in_batches_of_any_size():
    network = deep((64, 64, 64, 2))
    seen = np.random.default_rng(0).normal(0.0, 1.0, (600, 64)).astype(np.float32)
    together = network.act(seen)
    for size in (1, 3, 7, 64, 255):
        parts = [network.act(seen[i : i + size]) for i in range(0, len(seen), size)]
        assert np.abs(np.concatenate(parts) - together).max() <= 1.01e-4  # one step, where a last bit tips the rounding


def deep(widths: tuple[int, ...]) -> Network:
    data = bundles.layers(widths).SerializeToString()
    return Network(bundle_from(render_manifest(bundles.manifest(data, bundles.features(widths[0]))), data, "here"))
