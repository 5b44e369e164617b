"""The simulator as a Stable-Baselines3 VecEnv: one row per service, no subprocesses.

Reward of a row = what the tuned base pays on the very same load in that minute, less what the policy pays, over a
scale of its violation price: (cost of base - cost) / scale. The base runs beside in clusters of its own, so bursts
that nobody can serve cancel out, and a policy that answers 0 earns 0. Rows' prices span three decades, and so would
their rewards: `reward_scale` brings them to one size, which changes no row's best policy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from envs.observation import AUTOSCALING
from envs.plain import Array
from envs.set_point_action import ACTIONS
from envs.spaces import action_box, box_of
from envs.vec_env import DrawnRows
from policies.forecast import FORECAST, Forecaster

CLIP = 50.0  # in scales: a burst still costs more than a ripple, and no single one sets the gradient


def reward_scale(price: Array) -> Array:
    """Of one minute's cost difference at this violation price, about: violations count more the dearer they are."""
    return np.asarray((np.maximum(price, 3.0) / 30.0) ** 0.8)


class AutoscalingVecEnv(VecEnv):
    """Rows = clusters x workloads, with the tuned base beside them. Worlds are drawn anew at each reset."""

    def __init__(self, core: DrawnRows, forecaster: Forecaster | None = None) -> None:
        """forecaster: its columns are added to each observation."""
        space = box_of(AUTOSCALING)
        if forecaster:
            low, high = (np.array([getattr(f, end) for f in FORECAST], np.float32) for end in ("low", "high"))
            space = Box(np.append(space.low, low), np.append(space.high, high), dtype=np.float32)
        super().__init__(core.rows, space, action_box(len(ACTIONS)))
        self._extend = forecaster.extend if forecaster else lambda seen: seen
        self.core = core
        self._blank: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._actions: NDArray[Any] = np.zeros((self.num_envs, len(ACTIONS)))
        self.terms: dict[str, float] = {}  # mean cost of the last whole episode, the policy's and the base's

    @property
    def episode(self) -> int:
        """Draws so far: with the seed, it says where the environment is at the start of an episode."""
        return self.core.episode

    @episode.setter
    def episode(self, value: int) -> None:
        self.core.episode = value

    def reset(self) -> NDArray[np.float32]:
        """Next worlds."""
        seen = self.core.next_worlds()
        self.scale = reward_scale(self.core.prices)
        self._sums, self._steps = np.zeros((2, self.num_envs)), 0
        return self._extend(seen)

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> Any:
        """(observations, rewards, dones, infos) of one control period."""
        mine, base = self.core.step(self._actions)
        assert base is not None
        self._sums += np.stack([mine.cost, base.cost])
        self._steps += 1
        rewards = np.clip((base.cost - mine.cost) / self.scale, -CLIP, CLIP).astype(np.float32)
        seen = self._extend(self.core.observe())
        if not self.core.batch.done:
            return seen, rewards, np.zeros(self.num_envs, bool), self._blank
        infos = [{"terminal_observation": seen[i], "TimeLimit.truncated": True} for i in range(self.num_envs)]
        mean = self._sums.mean(axis=1) / self._steps
        self.terms = {"cost": float(mean[0]), "base_cost": float(mean[1])}
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
