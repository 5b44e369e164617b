"""The simulator as a Stable-Baselines3 VecEnv: one row per service, no subprocesses.

Reward of a row = what the tuned base pays on the very same load in that minute, less what the policy pays, over a
scale of its violation price: (cost of base - cost) / scale. The base runs beside in clusters of its own, so bursts
that nobody can serve cancel out, and a policy that answers 0 earns 0. Rows' prices span three decades, and so would
their rewards: `reward_scale` brings them to one size, which changes no row's best policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from envs.observation import AUTOSCALING, FEATURE, encode_rows
from envs.plain import Array
from envs.set_point_action import ACTIONS
from envs.stack import Stack
from envs.workload_batch import WorkloadBatch
from envs.world_draw import Draw, LoadSource, draw_scenario, log_uniform

CLIP = 50.0  # in scales: a burst still costs more than a ripple, and no single one sets the gradient


def reward_scale(price: Array) -> Array:
    """Of one minute's cost difference at this violation price, about: violations count more the dearer they are."""
    return np.asarray((np.maximum(price, 3.0) / 30.0) ** 0.8)


def observation_space() -> spaces.Box:
    """Ranges of the data sheet in envs.observation."""
    low, high = (np.array([getattr(FEATURE[name], end) for name in AUTOSCALING], np.float32) for end in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


class AutoscalingVecEnv(VecEnv):
    """Rows = clusters x workloads. Worlds are drawn anew at each reset; all rows end together, by truncation.

    episode: number of resets so far; with the seed it decides every world, so an environment can be rebuilt
    as it was at the start of any episode.
    """

    def __init__(
        self,
        loads: Sequence[LoadSource],
        stacks: Sequence[Stack],
        *,
        clusters: int = 60,
        draw: Draw = Draw(),  # noqa: B008
        prices: tuple[float, float] = (10.0, 3000.0),
        seed: int = 0,
        period_s: float = 60.0,
        threads: int = 1,
    ) -> None:
        action = spaces.Box(-1.0, 1.0, (len(ACTIONS),), np.float32)
        super().__init__(clusters * draw.workloads, observation_space(), action)
        self.loads, self.stacks, self.draw, self.price_range = loads, stacks, draw, prices
        self.clusters, self.seed_, self.period_s, self.threads = clusters, seed, period_s, threads
        self.episode = 0
        self._blank: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._actions: NDArray[Any] = np.zeros((self.num_envs, len(ACTIONS)))
        self.terms: dict[str, float] = {}

    def reset(self) -> NDArray[np.float32]:
        """Next worlds."""
        rng = np.random.default_rng([self.seed_, self.episode])
        self.episode += 1
        worlds = [draw_scenario(rng, self.loads, self.draw, f"drawn-{b}") for b in range(self.clusters)]
        stacks = [self.stacks[int(rng.integers(len(self.stacks)))] for _ in worlds]
        prices = np.array([log_uniform(rng, *self.price_range) for _ in range(self.num_envs)])
        make: Callable[[], WorkloadBatch] = lambda: WorkloadBatch(  # noqa: E731
            worlds, stacks, prices, period_s=self.period_s, threads=self.threads
        )
        self.batch, self.base = make(), make()
        self.scale = reward_scale(prices)
        self._sums = np.zeros((2, self.num_envs))
        return self._observe()

    def _observe(self) -> NDArray[np.float32]:
        return encode_rows(self.batch.signals(), self.batch.spec)

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> Any:
        """(observations, rewards, dones, infos) of one control period."""
        idle = np.zeros((self.num_envs, len(ACTIONS)))
        mine, base = self.batch.step(self._actions), self.base.step(idle)
        self._sums += np.stack([mine.cost, base.cost])
        rewards = np.clip((base.cost - mine.cost) / self.scale, -CLIP, CLIP).astype(np.float32)
        seen, done = self._observe(), self.batch.done
        if not done:
            return seen, rewards, np.zeros(self.num_envs, bool), self._blank
        infos = [{"terminal_observation": seen[i], "TimeLimit.truncated": True} for i in range(self.num_envs)]
        steps = max(self.batch.total // (self.batch.tick_minute * self.batch.minutes), 1)
        self.terms = {"cost": float(self._sums[0].mean()) / steps, "base_cost": float(self._sums[1].mean()) / steps}
        return self.reset(), rewards, np.ones(self.num_envs, bool), infos

    def close(self) -> None:
        """Nothing to release."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same value for every row."""
        return [getattr(self, attr_name, None)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set on the whole environment."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call once, for all rows."""
        return [getattr(self, method_name)(*method_args, **method_kwargs)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never."""
        return [False] * len(list(self._get_indices(indices)))
