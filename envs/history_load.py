"""A measured load as requests per tick, with the noise below its step that a scenario's trace gets too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.demand import Demand
from envs.load_noise import anchor_noise, bridge_weights, key_of, tick_noise
from envs.scenario import NoiseModel
from envs.sim.arrivals import BLOCK, Load

F8 = NDArray[np.float64]


def demand_of(
    curves: Sequence[tuple[F8, F8]], names: Sequence[str], *, tick_s: float, noise: NoiseModel, seed: int = 0
) -> Demand:
    """One cluster whose workload w has the load curves[w] = (time_s, requests/s), linear between samples.

    Time 0 is the first sample of each curve; the demand ends with the shortest. Noise as `Demand.pack` puts it
    on a trace of that step.
    """
    steps = [float(np.median(np.diff(time))) for time, _ in curves]
    last = min(math.floor((time[-1] - time[0]) / tick_s + 1e-9) for time, _ in curves)
    drawn = [tick_noise(noise, cv=noise.cv, step_s=step, tick_s=tick_s) for step in steps]
    rho = np.array([[r for _, r in drawn]])
    sigma = np.sqrt(np.log1p(np.array([[cv for cv, _ in drawn]]) ** 2))
    distinct, group = np.unique(np.append(rho, 0.0), return_inverse=True)
    shape = (1, len(curves))
    key = np.array([[key_of(seed, name) for name in names]], np.uint64)
    blocks = range(0, last // BLOCK + 2)
    load = Load(
        knot_s=np.concatenate([time - time[0] for time, _ in curves]),
        knot_value=np.concatenate([value for _, value in curves]),
        first=np.cumsum([0, *(len(time) for time, _ in curves)]),
        curve=np.arange(len(curves), dtype=np.int64).reshape(shape),
        scale=np.ones(shape),
        offset_s=np.zeros(shape),
        hourly=np.zeros(shape, np.bool_),
        key=key,
        sigma=sigma,
        dispersion=np.full(shape, noise.dispersion if noise.enabled else 0.0),
        counted=np.zeros(shape, np.bool_),
        group=group[:-1].reshape(shape).astype(np.int64),
        bridge=np.stack([bridge_weights(r, BLOCK) for r in distinct]),
        anchors=anchor_noise(key, rho**BLOCK, blocks) if sigma.any() else np.zeros((*shape, len(blocks))),
        anchor0=0,
    )
    return Demand(load, tick_s, shape, (), 0, last)
