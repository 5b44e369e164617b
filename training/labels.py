"""Hindsight labels: what each of fifteen set-points would have cost from a state on, and a network fitted to that.

Load is exogenous, so `envs.branches` answers for every set-point on the same future: full information, where PPO gets
one reward for one action. In between, services follow set-points drawn at random around the tuned base and held for a
while, so that states are seen which other policies would be in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.branches import Branches
from envs.executor import Stopped, never
from envs.plain import Array
from envs.set_point_action import ACTIONS
from envs.vec_env import DrawnRows

SHARES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # actions on the share: half to twice the base's
WINDOWS = (-1.0, 0.0, 1.0)
POINTS = np.array(list(product(SHARES, WINDOWS)))  # (K, 2)
BASE = len(POINTS) // 2  # the tuned base itself
WANDER, AT_BASE = 0.35, 0.3  # of the set-points that states are seen under: sigma, and share of rows left at the base
REDRAWN = 1.0 / 30.0  # a row draws another one about every half hour
Report = Callable[[int, int], None]  # (episodes that are there, of them simulated just now)


@dataclass(frozen=True, eq=False)
class Labels:
    """n states; cost[i, k, m]: mean cost of a minute of holding POINTS[k] up to mark m, over the row's usual cost."""

    observation: NDArray[np.float32]  # (n, F)
    cost: NDArray[np.float32]  # (n, K, marks)
    world: NDArray[np.int64]  # (n,) cluster that the state is of: states of one cluster are alike

    @staticmethod
    def joined(parts: Sequence[Labels]) -> Labels:
        """All of them; worlds are numbered on."""
        first = np.cumsum([0, *(part.world.max() + 1 for part in parts)])
        world = [part.world + at for part, at in zip(parts, first, strict=False)]
        return Labels(
            np.concatenate([p.observation for p in parts]),
            np.concatenate([p.cost for p in parts]),
            np.concatenate(world),
        )


def label_episode(
    core: DrawnRows, marks_min: Sequence[int], *, hold_min: int, every_min: int, seed: int, stop: Stopped = never
) -> Labels:
    """One episode of new worlds, branched every so many minutes while the longest mark still fits.

    Raises KeyboardInterrupt after stop().
    """
    core.next_worlds()
    rng = np.random.default_rng([seed, core.episode, 23])
    batch, rows = core.batch, core.rows
    branches = Branches(batch, len(POINTS))
    held, seen, cost = _wandering(rng, rows), [], []
    minutes = batch.total // batch.tick_minute
    for minute in range(0, minutes - max(marks_min), batch.minutes):
        if minute % every_min == 0:
            if stop():
                raise KeyboardInterrupt
            seen.append(core.observe())
            cost.append(_branched(rng, branches, marks_min, hold_min))
        again = rng.random(rows) < REDRAWN * batch.minutes
        held[again] = _wandering(rng, rows)[again]
        batch.step(held)
    usual = np.mean([c[:, BASE, -1] for c in cost], axis=0)[:, None, None]
    world = np.tile(np.repeat(np.arange(batch.shape[0]), batch.shape[1]), len(seen))
    return Labels(np.concatenate(seen), np.concatenate([(c / usual).astype(np.float32) for c in cost]), world)


def _wandering(rng: np.random.Generator, rows: int) -> Array:
    """(N, 2) set-points to see states under."""
    drawn = np.clip(rng.normal(0.0, WANDER, (rows, len(ACTIONS))), -1.0, 1.0)
    return np.where(rng.random((rows, 1)) < AT_BASE, 0.0, drawn)


def _branched(rng: np.random.Generator, branches: Branches, marks_min: Sequence[int], hold_min: int) -> Array:
    """(N, K, marks). Every row holds every point in one of the branches, each row in an order of its own: what its
    neighbours on the same nodes do averages out."""
    rows = len(branches.batch.workloads)
    order = rng.permuted(np.tile(np.arange(len(POINTS)), (rows, 1)), axis=1).T  # (K, N) point that a branch's row holds
    cost = branches.costs(POINTS[order], marks_min, hold_min=hold_min)
    out = np.empty_like(cost)
    np.put_along_axis(out, order[:, :, None], cost, axis=0)
    return out.transpose(1, 0, 2)


def gather(
    core: DrawnRows, folder: Path, *, episodes: int, marks_min: Sequence[int], hold_min: int, every_min: int,
    report: Report, stop: Stopped,
) -> Labels:  # fmt: skip
    """The labels of so many episodes, a file each: what is there already is not simulated again.

    Raises KeyboardInterrupt after stop(), with the episodes so far on disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, simulated = [], 0
    for episode in range(episodes):
        if stop():
            raise KeyboardInterrupt
        path = folder / f"{episode:04d}.npz"
        if not path.exists():
            core.episode = episode
            made = label_episode(core, marks_min, hold_min=hold_min, every_min=every_min, seed=core.seed, stop=stop)
            aside = path.with_suffix(".new.npz")
            np.savez(aside, observation=made.observation, cost=made.cost, world=made.world)
            os.replace(aside, path)
            simulated += 1
        with np.load(path, allow_pickle=False) as kept:
            parts.append(Labels(kept["observation"], kept["cost"], kept["world"]))
        report(episode + 1, simulated)
    return Labels.joined(parts)
