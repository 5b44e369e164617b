"""Batches of clusters as one environment: N rows, one per service, in one process of compiled code.

`DrawnRows` is the core; `AutoscalingVectorEnv` is Gymnasium's VectorEnv on it, `training.sb3_env` the VecEnv of
Stable-Baselines3. All rows end together, by truncation, and go on in new worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.base_beside import BaseBeside
from envs.observation import AUTOSCALING
from envs.plain import Array
from envs.set_point_action import ACTIONS
from envs.spaces import action_box, box_of
from envs.stack import Stack
from envs.stack_file import load_stack
from envs.workload_batch import Terms, WorkloadBatch
from envs.world_draw import Draw, LoadSource, draw_scenario, log_uniform, shipped_loads

STACKS = ("rps-target", "karpenter-rps")
PRICES = (10.0, 3000.0)


class DrawnRows:
    """Worlds drawn anew at each `next_worlds`; the seed and the number of the draw decide everything.

    twin: the tuned base runs beside on the same load, in clusters of its own, and `base` holds what it paid.
    """

    def __init__(
        self, loads: Sequence[LoadSource], stacks: Sequence[Stack], *, clusters: int, draw: Draw,
        prices: tuple[float, float] = PRICES, seed: int = 0, period_s: float = 60.0, threads: int = 1,
        twin: bool = False,
    ) -> None:  # fmt: skip
        self.loads, self.stacks, self.draw, self.price_range = tuple(loads), tuple(stacks), draw, prices
        self.clusters, self.seed, self.period_s, self.threads, self.twin = clusters, seed, period_s, threads, twin
        self.rows = clusters * draw.workloads
        self.episode = 0  # draws so far

    def next_worlds(self) -> NDArray[np.float32]:
        """(N, F) first observation of the next episode."""
        rng = np.random.default_rng([self.seed, self.episode])
        self.episode += 1
        worlds = [draw_scenario(rng, self.loads, self.draw, f"drawn-{b}") for b in range(self.clusters)]
        stacks = [self.stacks[int(rng.integers(len(self.stacks)))] for _ in worlds]
        self.prices = np.array([log_uniform(rng, *self.price_range) for _ in range(self.rows)])
        self.batch = WorkloadBatch(worlds, stacks, self.prices, period_s=self.period_s, threads=self.threads)
        self._beside = BaseBeside(self.batch) if self.twin else None
        return self.observe()

    def observe(self) -> NDArray[np.float32]:
        """(N, F) of envs.observation.AUTOSCALING."""
        return self.batch.observe()

    def step(self, actions: Array) -> tuple[Terms, Terms | None]:
        """(ledger terms of one period, those of the base)."""
        return self.batch.step(actions), self._beside.next_terms() if self._beside else None


class AutoscalingVectorEnv(VectorEnv[Any, Any, Any]):
    """Gymnasium's vector environment; same data sheet as Trimtab/Autoscaling-v0, autoreset in the same step.

    Ledger terms of the last period are arrays on the environment (`terms`); `infos` hold the last observation of an
    episode when one ends, as `final_obs`.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self, clusters: int = 60, *, loads: Sequence[LoadSource] | None = None, draw: Draw | None = None,
        stacks: Sequence[str] = STACKS, prices: tuple[float, float] = PRICES, period_s: float = 60.0,
        threads: int = 1, seed: int = 0,
    ) -> None:  # fmt: skip
        made = [load_stack(name) for name in stacks]
        self.core = DrawnRows(
            shipped_loads() if loads is None else loads, made, clusters=clusters, draw=draw or Draw(), prices=prices,
            seed=seed, period_s=period_s, threads=threads,
        )  # fmt: skip
        self.num_envs = self.core.rows
        self.single_observation_space, self.single_action_space = box_of(AUTOSCALING), action_box(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.terms: Terms | None = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """New worlds; with a seed the first ones of that seed."""
        if seed is not None:
            self.core.seed, self.core.episode = int(np.ravel(seed)[0]), 0
        return self.core.next_worlds(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One control period of all rows."""
        self.terms, _ = self.core.step(actions)
        rewards, never = -self.terms.cost, np.zeros(self.num_envs, bool)
        seen = self.core.observe()
        if not self.core.batch.done:
            return seen, rewards, never, never.copy(), {}
        infos = {"final_obs": seen, "_final_obs": np.ones(self.num_envs, bool)}
        return self.core.next_worlds(), rewards, never, np.ones(self.num_envs, bool), infos
