"""Stable-Baselines3's PPO on the simulator, and checkpoints from which a killed run goes on to the same result.

A checkpoint is taken where an episode ends: there the environment is its seed and the number of its episode. Weights,
the optimizer's moments and both random generators are in it. Checkpoints are local files of a training run and are
read without pickle (`weights_only`); they never leave it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from training.config import TrainConfig
from training.sb3_env import AutoscalingVecEnv

Report = Callable[[dict[str, float], int], None]
CHECKPOINT = "checkpoint.pt"


class RowsPPO(PPO):
    """PPO on many rows: they carry no Monitor, so nobody looks through their infos for one at every step."""

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: Any = None) -> None:
        pass


def make_model(config: TrainConfig, env: AutoscalingVecEnv) -> PPO:
    """PPO at the tuned base: its mean action is 0 for any observation."""
    p = config.ppo
    torch.set_num_threads(1)  # two threads are slower on layers of this size
    fall = p.learning_rate - p.learning_rate_end
    model = RowsPPO(
        "MlpPolicy",
        env,
        n_steps=p.steps,
        batch_size=p.batch,
        n_epochs=p.epochs,
        gamma=p.gamma,
        gae_lambda=p.gae_lambda,
        learning_rate=lambda left: p.learning_rate_end + fall * left,
        clip_range=p.clip,
        ent_coef=p.entropy,
        policy_kwargs={"net_arch": list(p.layers), "log_std_init": p.log_std},
        seed=config.seed,
        device="cpu",
    )
    with torch.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.zero_()
    return model


class Watch(BaseCallback):
    """Reports each update, writes a checkpoint where an episode ends, stops when asked to."""

    def __init__(self, env: AutoscalingVecEnv, folder: Path, report: Report, stop: Callable[[], bool]) -> None:
        super().__init__()
        self.env, self.folder, self.report, self.stop = env, folder, report, stop
        self.began, self.first = time.monotonic(), 0
        self._episode = env.episode

    def _on_training_start(self) -> None:
        self.first, self._episode = self.model.num_timesteps, self.env.episode

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """The update before is done: the place where a run can be cut without loss."""
        if self.env.episode != self._episode:
            self._episode = self.env.episode
            save_checkpoint(self.folder / CHECKPOINT, self.model, self.env)
        if self.stop():
            raise KeyboardInterrupt

    def _on_rollout_end(self) -> None:
        rewards = self.model.rollout_buffer.rewards
        actions = self.model.rollout_buffer.actions
        done = self.model.num_timesteps
        seen = {
            "rollout/reward": float(rewards.mean()),
            "rollout/share_action": float(actions[..., 0].mean()),
            "rollout/window_action": float(actions[..., 1].mean()),
            "time/rows_per_s": (done - self.first) / max(time.monotonic() - self.began, 1e-9),
        }
        seen |= {f"episode/{name}": value for name, value in self.env.terms.items()}
        self.report(seen, done)


def save_checkpoint(path: Path, model: PPO, env: AutoscalingVecEnv) -> None:
    """Written beside and moved into place: a kill leaves the one before."""
    kind, keys, *rest = np.random.get_state()
    state = {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "torch": torch.get_rng_state(),
        "numpy": json.dumps([kind, np.asarray(keys).tolist(), *rest]),
        "timesteps": model.num_timesteps,
        "updates": model._n_updates,
        "terms": env.terms,
        "episode": env.episode - 1,  # the one that has just begun: a reset draws it again
    }
    aside = path.with_suffix(".new")
    torch.save(state, aside)
    os.replace(aside, path)


def load_checkpoint(path: Path, model: PPO, env: AutoscalingVecEnv) -> None:
    """The run as it was when that checkpoint was written."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(state["optimizer"])
    model.num_timesteps, model._n_updates = state["timesteps"], state["updates"]
    env.episode, env.terms = state["episode"], state["terms"]
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = json.loads(state["numpy"])
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))


def timesteps(path: Path) -> int:
    """Rows that a checkpoint has behind it."""
    return int(torch.load(path, weights_only=True)["timesteps"])


def learn(
    model: PPO, env: AutoscalingVecEnv, rows: int, folder: Path, report: Report, stop: Callable[[], bool]
) -> None:
    """Train until `rows` in all; KeyboardInterrupt leaves the last checkpoint."""
    left = rows - model.num_timesteps
    if left > 0:
        watch = Watch(env, folder, report, stop)
        model.learn(left, callback=watch, reset_num_timesteps=False)
