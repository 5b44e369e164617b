"""Gymnasium environments on the simulator.

    import gymnasium, envs.gym_register
    env = gymnasium.make("Trimtab/Autoscaling-v0")

All three draw a world at each reset (envs.world_draw), step one control period at a time, end by truncation and never
by termination, and name the ledger's terms in `info`. Same seed, same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.action import FIELDS, POOL_FIELDS, decode, nothing, raw_of, raw_size
from envs.action import stretch as stretched
from envs.canvas import Film
from envs.observation import AUTOSCALING, FEATURES, encode_rows
from envs.set_point_action import ACTIONS
from envs.spaces import action_box, box_of
from envs.spot_share import parted
from envs.stack import Stack
from envs.stack_file import load_stack
from envs.steered_cluster import SteeredCluster
from envs.vec_env import PRICES, STACKS
from envs.workload_batch import WorkloadBatch
from envs.world_draw import Draw, LoadSource, draw_scenario, log_uniform, shipped_loads

MODES = ["rgb_array", "human"]
Box = NDArray[np.float32]


class _Drawn(gymnasium.Env[Box, Box]):
    """What the environments share: how a world is drawn, and the film of what happened."""

    def __init__(
        self,
        *,
        loads: Sequence[LoadSource] | None = None,
        draw: Draw | None = None,
        stacks: Sequence[str] = STACKS,
        prices: tuple[float, float] = PRICES,
        period_s: float = 60.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *MODES):
            raise ValueError(f"render_mode {render_mode!r}: use one of {', '.join(MODES)}")
        self.loads = shipped_loads() if loads is None else tuple(loads)
        self.draw = draw or Draw()
        self.stacks = [load_stack(name) for name in stacks]
        self.price_range, self.period_s, self.render_mode = prices, period_s, render_mode
        self.film = Film()

    def _world(self) -> tuple[Any, Stack, float]:
        """(scenario, stack, violation price) from the environment's own generator."""
        rng = self.np_random
        scenario = draw_scenario(rng, self.loads, self.draw)
        stack = self.stacks[int(rng.integers(len(self.stacks)))]
        return scenario, stack, log_uniform(rng, *self.price_range)

    def render(self) -> Any:
        """(H, W, 3) picture of the episode so far: load, capacity, nodes, cost; on the terminal for `human`."""
        return self.film.picture() if self.render_mode == "rgb_array" else self.film.show()


class AutoscalingEnv(_Drawn):
    """One service of a cluster; the others follow the tuned base. The vector environment has a row for each.

    Observation: Box, the features of envs.observation.AUTOSCALING in that order; index, meaning and range of each are
    in envs.observation.FEATURES. Action: Box(-1, 1, 2): [0] log of the HPA target (load of a replica) against the
    tuned base, [1] log of the scale-down window; 0 is the base (envs.set_point_action). Reward: minus the cost of the
    period: node dollars by max(request, usage) / ideal + violation price x bad share. `info`: usd, offered, bad, cost.
    """

    metadata = {"render_modes": MODES, "render_fps": 10}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.observation_space = box_of(AUTOSCALING)
        self.action_space = action_box(len(ACTIONS))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Box, dict[str, Any]]:
        """A new world, and a service of it."""
        super().reset(seed=seed)
        scenario, stack, price = self._world()
        W = len(scenario.cluster.workloads)
        self.row = int(self.np_random.integers(W))
        self.batch = WorkloadBatch([scenario], [stack], np.full(W, price), period_s=self.period_s)
        self.film = Film()
        return self._observe(), {"workload": self.row, "violation_price": price}

    def _observe(self) -> Box:
        return encode_rows(*self.batch.row(self.row))[0]

    def step(self, action: Box) -> tuple[Box, float, bool, bool, dict[str, Any]]:
        """One control period."""
        raw = np.zeros((len(self.batch.workloads), len(ACTIONS)))
        raw[self.row] = action
        terms = self.batch.step(raw)
        info = {name: float(getattr(terms, name)[self.row]) for name in ("usd", "offered", "bad", "cost")}
        if self.render_mode is not None:
            self.film.add(self.batch.frame(self.row) | {"usd": info["usd"]})
        return self._observe(), -info["cost"], False, self.batch.done, info


class ClusterEnv(_Drawn):
    """One whole cluster, everything in one action: the environment for planners and single-agent methods.

    Observation: Box, features of envs.observation.FEATURES for workload 0, then 1 ... Action: Box(-1, 1): the raw
    vector of envs.action (workload fields of workload 0, 1 ..., then the fields of each pool); 0 is the middle of a
    field's range. Reward: minus (node dollars / ideal + violation price x bad share), both over the whole cluster.
    """

    metadata = {"render_modes": MODES, "render_fps": 10}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        W = self.draw.workloads
        self.observation_space = box_of([f.name for f in FEATURES], W)
        size = W * sum(f.of == "workload" for f in FIELDS) + len(POOL_FIELDS)
        self.action_space = action_box(size)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Box, dict[str, Any]]:
        """A new world."""
        super().reset(seed=seed)
        self.cluster = SteeredCluster(*self._world(), period_s=self.period_s)
        assert raw_size(self.cluster.spec) == self.action_space.shape[0]  # type: ignore[index]
        self.film = Film()
        return self._observe(), {"violation_price": self.cluster.intent.violation_price}

    def _observe(self) -> Box:
        return self.cluster.observe().ravel()

    def step(self, action: Box) -> tuple[Box, float, bool, bool, dict[str, Any]]:
        """One control period."""
        info = self.cluster.step(decode(action, self.cluster.spec, "cluster-env").targets)
        if self.render_mode is not None:
            self.film.add(self.cluster.frame())
        return self._observe(), -info["cost"], False, self.cluster.done, info


class NodePoolsEnv(_Drawn):
    """The nodes of a cluster whose services follow the tuned base: a pool on demand, its sister on the spot market.

    Observation: Box, eight shares, of both pools together: requested of allocatable CPU, of memory, nodes booting,
    pending pods, the mean workload's start delay in minutes / 4, boot delay / 4 min, log10 of the violation price / 4,
    spot nodes of all nodes. Action: Box(-1, 1, 3): [0] headroom: the floor of nodes on demand, as a share of those
    that the requests there fill; -1 is no floor; [1] patience: consolidateAfter, 0 to an hour (Karpenter); [2] spot
    share: the ceiling of the spot pool, as a share of the nodes that there are; -1 is no new spot node, 1 no ceiling
    (envs.spot_share). Every world sells spot, unless `draw` says otherwise; where none is sold, [2] does nothing.
    Reward as Cluster-v0.
    """

    metadata = {"render_modes": MODES, "render_fps": 10}  # noqa: RUF012

    def __init__(self, *, draw: Draw | None = None, **options: Any) -> None:
        super().__init__(draw=draw or Draw(spot=1.0), **options)
        self.observation_space = spaces.Box(0.0, 4.0, (8,), np.float32)
        self.action_space = action_box(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Box, dict[str, Any]]:
        """A new world."""
        super().reset(seed=seed)
        scenario, stack, price = self._world()
        scenario = replace(scenario, cluster=parted(scenario.cluster))
        self.cluster = SteeredCluster(scenario, stack, price, period_s=self.period_s)
        self.film = Film()
        return self.cluster.observe_pools(), {"violation_price": self.cluster.intent.violation_price}

    def step(self, action: Box) -> tuple[Box, float, bool, bool, dict[str, Any]]:
        """One control period."""
        spec = self.cluster.spec
        after = next(f for f in FIELDS if f.name == "consolidate_after_s")
        floor = np.full(len(spec.node_pools), np.nan)
        floor[0] = self.cluster.floor_for(0, float(action[0]))
        targets = replace(
            nothing(spec),
            min_nodes=floor,
            max_nodes=np.array(self.cluster.ceilings_for(float(action[2]))),
            consolidate_after_s=stretched(after, action[1:2], spec),
        )
        info = self.cluster.step(decode(raw_of(targets, spec), spec, "node-pools-env").targets)
        if self.render_mode is not None:
            self.film.add(self.cluster.frame())
        return self.cluster.observe_pools(), -info["cost"], False, self.cluster.done, info
