"""The Gymnasium environments keep Gymnasium's own contract, repeat themselves by seed, and can be looked at."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.gym_register import ENVIRONMENTS, register
from envs.observation import AUTOSCALING
from envs.vec_env import AutoscalingVectorEnv
from envs.world_draw import Draw

register()
DRAW = Draw(horizon_s=3600.0, workloads=3)


def make(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(f"Trimtab/{name}-v0", draw=DRAW, **options)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_gymnasiums_own_checker_finds_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(render_modes|spec).*")
        check_env(make(name).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_equal_seeds_give_equal_episodes_that_end_by_truncation(name: str) -> None:
    episodes = []
    for _ in range(2):
        env = make(name)
        seen, _ = env.reset(seed=9)
        rng, out, cut = np.random.default_rng(1), [seen.tobytes()], False
        while not cut:
            action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)  # type: ignore[arg-type]
            seen, reward, ended, cut, info = env.step(action)
            assert not ended
            assert env.observation_space.contains(seen)
            assert set(info) >= {"usd", "offered", "bad", "cost"}
            assert reward == -info["cost"]
            out += [seen.tobytes(), np.float64(reward).tobytes()]
        assert len(out) == 1 + 2 * 60
        episodes.append(b"".join(out))
    assert episodes[0] == episodes[1]


def test_the_picture_shows_what_happened() -> None:
    env = make("Autoscaling", render_mode="rgb_array")
    env.reset(seed=2)
    blank = env.render()
    for _ in range(30):
        env.step(np.zeros(2, np.float32))
    picture: Any = env.render()
    assert picture.shape == (400, 640, 3)
    assert picture.dtype == np.uint8
    assert (picture != blank).any()


def test_the_terminal_shows_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    env = make("Cluster", render_mode="human")
    env.reset(seed=2)
    env.step(np.zeros(env.action_space.shape, np.float32))  # type: ignore[arg-type]
    env.render()
    assert "nodes" in capsys.readouterr().out


def test_the_vector_environment_goes_on_in_new_worlds_when_its_rows_end() -> None:
    env = AutoscalingVectorEnv(2, draw=DRAW)
    seen, _ = env.reset(seed=7)
    assert seen.shape == env.observation_space.shape == (6, len(AUTOSCALING))
    for i in range(60):
        seen, rewards, ended, cut, infos = env.step(np.zeros(env.action_space.shape, np.float32))
        assert not ended.any()
        assert cut.all() == (i == 59)
        assert env.terms is not None
        np.testing.assert_array_equal(rewards, -env.terms.cost)
    assert infos["final_obs"].shape == seen.shape
    assert (infos["final_obs"] != seen).any()


def test_stable_baselines3s_own_checker_finds_nothing() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="needs the extra `train`")
    for name in ENVIRONMENTS:
        checker.check_env(make(name).unwrapped, warn=False)
