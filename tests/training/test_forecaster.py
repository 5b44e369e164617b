"""The quantile forecaster: what it learns from, what it is held against, and how it travels in a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="training needs the extra `train`")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import InputError
from envs.load_past import KEPT_MIN, PAST, LoadPast
from envs.observation import AUTOSCALING, FEATURE
from envs.set_point_action import ACTIONS
from envs.world_draw import shipped_loads
from policies.bundle import open_session, read_bundle
from policies.forecast import FORECAST, INPUTS, QUANTILES, SEEN, Forecaster, leads_min
from policies.manifest import Table
from policies.network import Network
from policies.specs import load
from training.act import FEATURES, act_of
from training.export import Described, export_bundle, made_forecaster
from training.forecast_data import Samples, _at, gather_samples
from training.forecaster import (
    QuantileNet,
    fit_forecaster,
    judge_forecaster,
    pinball,
    with_errors,
    yesterday,
)


def observations(n: int, seed: int = 0) -> np.ndarray:
    low, high = (np.array([getattr(f, end) for f in FEATURES]) for end in ("low", "high"))
    return np.random.default_rng(seed).uniform(low, high, (n, len(low))).astype(np.float32)


def test_a_sample_shows_what_was_and_asks_for_what_came() -> None:
    """Load that changes only after the minute changes the answer, never the question."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(1.0, 9.0, (60, 4))
    past = LoadPast(4)
    past.extend(rates[:31])
    leads = np.array([[1, 2, 3, 4], [3, 4, 5, 6]])
    given, came = _at(rates, 30, leads, past.read())
    later = rates.copy()
    later[31:] *= 2.0
    again, doubled = _at(later, 30, leads, past.read())
    np.testing.assert_array_equal(given, again)
    np.testing.assert_allclose(came[:4], np.log2(rates[[31, 32, 33, 34], range(4)] / rates[30]), rtol=1e-5)
    np.testing.assert_allclose(doubled, np.clip(came + 1.0, -3.0, 3.0), atol=1e-5)
    np.testing.assert_allclose(given[:, -1], np.log2(leads.ravel()), rtol=1e-6)
    assert np.isnan(past.read()[:, PAST.index("week_0")]).all()
    assert KEPT_MIN > 60


def test_leads_are_the_start_delay_and_a_node_more() -> None:
    np.testing.assert_allclose(leads_min(np.array([30.0, 3600.0])), [[1.0, 15.0], [2.75, 15.0]])


@given(st.lists(st.floats(-3, 3), min_size=40, max_size=60), st.sampled_from(QUANTILES))
@settings(max_examples=25, deadline=None)
def test_pinball_is_least_at_the_quantile(values: list[float], q: float) -> None:
    came = np.array(values)
    slow = [q * (c - 0.4) if c >= 0.4 else (1.0 - q) * (0.4 - c) for c in values]
    np.testing.assert_allclose(pinball(0.4, came, q), slow, atol=1e-12)
    least = min(float(pinball(x, came, q).mean()) for x in np.linspace(-3.0, 3.0, 301))
    at = float(pinball(np.quantile(came, q, method="inverted_cdf"), came, q).mean())
    assert at <= least + 1e-9


def test_quantiles_rise_whatever_the_weights() -> None:
    net = QuantileNet((16,))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.0, 2.0)
        said = net(torch.randn(500, len(INPUTS)) * 10.0).numpy()
    assert (np.diff(said, axis=1) >= 0.0).all()


def made_up(n: int, seed: int) -> Samples:
    """Load that does what it did yesterday, with noise: the more of it, the higher lag_1."""
    rng = np.random.default_rng(seed)
    given = rng.uniform(-1.0, 1.0, (n, len(INPUTS))).astype(np.float32)
    given[:, -1] = np.log2(5.0)
    spread = 0.03 + 0.5 * (1.0 + given[:, SEEN.index("lag_1")])
    came = given[:, SEEN.index("day_5")] + spread * rng.standard_normal(n)
    return Samples(given, came.astype(np.float32), np.arange(n) % 2, np.arange(n) // 50)


def test_yesterday_is_a_naive_forecast_with_the_quantiles_of_its_errors() -> None:
    train, test = made_up(4000, 0), made_up(4000, 1)
    np.testing.assert_allclose(yesterday(test), test.given[:, SEEN.index("day_5")], rtol=1e-6)
    half = dataclasses.replace(test, given=test.given.copy())
    half.given[:, -1] = np.log2(2.5)
    np.testing.assert_allclose(yesterday(half), 0.5 * test.given[:, SEEN.index("day_5")], rtol=1e-5)
    covered = (test.came[:, None] <= with_errors(yesterday, train, test)).mean(axis=0)
    np.testing.assert_allclose(covered, QUANTILES, atol=0.02)


def test_a_fit_beats_both_naive_forecasts_where_there_is_something_to_learn() -> None:
    train, test = made_up(12_000, 0), made_up(4000, 1)
    net = fit_forecaster(train, (32,), seed=0)
    judged = judge_forecaster(net, train, test, seed=0)
    assert judged.naive == "yesterday"
    assert judged.better
    covered = [row[-1] for row in judged.table.rows]
    np.testing.assert_allclose(covered, [*QUANTILES, *QUANTILES], atol=0.05)
    again = fit_forecaster(train, (32,), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_a_fit_to_noise_is_not_kept() -> None:
    def noise(seed: int) -> Samples:
        made, rng = made_up(3000, seed), np.random.default_rng(seed + 9)
        return dataclasses.replace(made, came=(0.3 * rng.standard_normal(3000)).astype(np.float32))

    net = fit_forecaster(noise(0), (16,), seed=0)
    assert not judge_forecaster(net, noise(0), noise(1), seed=0).better


def test_samples_are_of_drawn_services_on_both_leads() -> None:
    made = gather_samples(shipped_loads(), services=6, days=0.1, every_min=10, seed=3)
    assert made.given.shape == (2 * 6 * 13, len(INPUTS))
    assert np.isfinite(made.given).all()
    assert np.isfinite(made.came).all()
    assert sorted(set(made.service)) == list(range(6))
    again = gather_samples(shipped_loads(), services=6, days=0.1, every_min=10, seed=3)
    np.testing.assert_array_equal(made.given, again.given)
    at = (made.service == 2) & (made.kind == 0)
    assert at.sum() == 13
    assert len(set(made.given[at, -1])) == 1


def a_net() -> QuantileNet:
    torch.manual_seed(1)
    return QuantileNet((12,))


def an_actor(columns: int) -> Any:
    torch.manual_seed(2)
    return torch.nn.Sequential(torch.nn.Linear(columns, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2), torch.nn.Tanh())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle with a forecaster."""
    forecaster = made_forecaster(a_net(), Table(), 0)
    seen = Forecaster(open_session(forecaster.model)).extend(observations(400))
    described = Described(
        name="tiny", version="1", kind="autoscaling", features=(*FEATURES, *FORECAST), actions=ACTIONS, seen=seen,
        seed=0, preset="", forecaster=forecaster,
    )  # fmt: skip
    export_bundle(an_actor(len(FEATURES) + len(FORECAST)), tmp_path / "b", described)
    return tmp_path / "b"


def test_a_bundle_with_a_forecaster_takes_the_encoders_columns_and_answers_as_torch_does(folder: Path) -> None:
    bundle = load(folder)
    assert sorted(bundle.files) == ["forecaster.onnx", "manifest.json", "policy.onnx"]
    network, rows = Network(bundle), observations(300, 7)
    assert bundle.forecaster is not None
    forecaster = Forecaster(open_session(bundle.forecaster))
    extended = forecaster.extend(rows)
    assert extended.shape == (300, len(AUTOSCALING) + 6)
    np.testing.assert_array_equal(extended[:, :40], rows)
    assert (np.diff(extended[:, 40:43], axis=1) >= 0.0).all()
    wanted = act_of(an_actor(46), forecaster.extend)(rows)
    np.testing.assert_allclose(network.act(rows), wanted, atol=1.01e-4)
    np.testing.assert_array_equal(network.act(rows)[:5], network.act(rows[:5]))
    np.testing.assert_array_equal(network.act(rows)[:1], network.act(rows[:1]))
    assert network.within(rows).mean() > 0.9


def test_it_is_refused_when_damaged_missing_or_unknown_to_the_manifest(folder: Path, tmp_path: Path) -> None:
    data = (folder / "forecaster.onnx").read_bytes()
    (folder / "forecaster.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match=r"forecaster\.onnx.*sha256"):
        read_bundle(folder)
    (folder / "forecaster.onnx").unlink()
    with pytest.raises(InputError, match="missing"):
        read_bundle(folder)
    described = Described(
        name="tiny", version="1", kind="autoscaling", features=FEATURES, actions=ACTIONS, seen=observations(200),
        seed=0, preset="",
    )  # fmt: skip
    plain = tmp_path / "plain"
    export_bundle(an_actor(len(FEATURES)), plain, described)
    assert load(plain).features == AUTOSCALING
    (plain / "forecaster.onnx").write_bytes(data)
    with pytest.raises(InputError, match="not in the manifest"):
        read_bundle(plain)


def test_another_versions_forecaster_is_refused(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    bundle = read_bundle(folder)
    assert bundle.manifest.forecaster is not None
    known = bundle.manifest.forecaster.spec_hash
    (folder / "manifest.json").write_text(text.replace(known, "0" * 64))
    with pytest.raises(InputError, match=r"forecaster\.spec_hash"):
        read_bundle(folder)
    assert all(f.name in FEATURE for f in INPUTS[:-1])
