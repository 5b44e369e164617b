"""`python -m tests.bench.spot_share`: what a spot share in NodePools-v0 comes to, over three worlds of six hours."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from envs.gym_register import register
from envs.world_draw import Draw


def held(share: float, stack: str, seeds: int = 3) -> tuple[float, float]:
    """(mean share of spot nodes after the first hour, dollars) where no action ever changes."""
    seen, usd = [], 0.0
    action = np.array([-1.0, -0.2, 2.0 * share - 1.0], np.float32)
    for seed in range(seeds):
        env: Any = gymnasium.make(
            "Trimtab/NodePools-v0", draw=Draw(horizon_s=6 * 3600.0, spot=1.0), stacks=(stack,)
        ).unwrapped
        env.reset(seed=seed)
        minutes, cut = [], False
        while not cut:
            observation, _, _, cut, info = env.step(action)
            minutes.append(float(observation[7]))
            usd += info["usd"]
        seen += minutes[60:]
    return float(np.mean(seen)), usd


if __name__ == "__main__":
    register()
    for stack in ("karpenter-rps", "rps-target"):
        for share in (0.0, 0.5, 0.9, 1.0):
            spot, usd = held(share, stack)
            print(f"{stack:15s} share {share:.1f}: {spot:6.1%} spot nodes, ${usd:.2f}")
