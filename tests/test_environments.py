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


def spot_run(share: float, spot: float = 1.0) -> tuple[Any, list[float]]:
    """A NodePools-v0 after two hours under Karpenter, and the shares of spot nodes that it saw."""
    draw = Draw(horizon_s=7200.0, workloads=3, spot=spot)
    env: Any = gymnasium.make("Trimtab/NodePools-v0", draw=draw, stacks=("karpenter-rps",)).unwrapped
    seen, _ = env.reset(seed=5)
    shares, cut = [float(seen[7])], False
    while not cut:
        seen, _, _, cut, _ = env.step(np.array([-1.0, -0.5, 2.0 * share - 1.0], np.float32))
        shares.append(float(seen[7]))
    return env, shares


def test_more_spot_share_is_more_spot_nodes() -> None:
    assert np.mean(spot_run(0.0)[1]) < np.mean(spot_run(0.6)[1]) < np.mean(spot_run(1.0)[1])


def test_a_spot_share_is_the_ceiling_of_the_spot_pool_and_of_no_other() -> None:
    env, _ = spot_run(0.6)
    home, spot = env.cluster.spec.node_pools
    assert (home.capacity_types, spot.capacity_types, spot.weight > home.weight) == (("on-demand",), ("spot",), True)
    now = env.cluster.snapshot().pools
    nodes = float((now.nodes_ready.value + now.nodes_booting.value).sum())
    env.step(np.array([-1.0, -0.5, 0.2], np.float32))
    ceilings = env.cluster.batch.sim.arrays.clock.pool_max[0]
    assert ceilings.tolist() == [home.max_nodes, round(0.6 * nodes)]
    assert spot_run(1.0)[0].cluster.batch.sim.arrays.clock.pool_max[0].tolist() == [home.max_nodes, spot.max_nodes]


def test_where_no_spot_is_sold_its_share_does_nothing() -> None:
    ends = [spot_run(share, spot=0.0)[0].cluster.batch.sim.state_bytes() for share in (0.0, 1.0)]
    assert ends[0] == ends[1]


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
