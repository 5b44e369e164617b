"""Seeded noise below a trace's own step: how much of it, and its values at block starts.

docs/design/demand.md has the fit behind the defaults and worked numbers.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from envs.scenario import NoiseModel

F8 = NDArray[np.float64]
U8 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_ANCHORS = np.uint64(0xD1B54A32D192ED03)  # parts the anchors' stream from the ticks'


def key_of(seed: int, *names: str) -> int:
    """64 bits that depend on the seed and the names only; the key of a random stream."""
    text = "\0".join((str(seed), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def averaged_share(window_over_tau: float) -> float:
    """Variance of an Ornstein-Uhlenbeck process's mean over a window, as a share of its own: V(x).

    V(x) = 2 (x - 1 + exp(-x)) / x^2 for a window of x correlation times; V(0) = 1, V(inf) = 0.
    """
    x = window_over_tau
    if math.isinf(x):
        return 0.0
    if x < 1e-3:
        return 1.0 - x / 3.0 + x * x / 12.0
    return 2.0 * (x - 1.0 + math.exp(-x)) / (x * x)


def tick_noise(noise: NoiseModel, *, cv: float, step_s: float, tick_s: float) -> tuple[float, float]:
    """(coefficient of variation, lag-one correlation) of the tick noise to put on a curve of this step.

    A trace's points are means over `step_s`: they already hold the noise's slow part, V(step/tau) of
    its variance, and a tick averages the fastest part away, leaving V(tick/tau). What is missing is the
    difference; none when the step is no longer than the tick. The correlation time shrinks to
    tau (1 - V(step/tau)), which keeps the roughness between neighbouring ticks (variance / time) as it was.
    docs/design/demand.md has worked numbers.
    """
    if not noise.enabled or cv <= 0.0 or noise.tau_s <= 0.0 or step_s <= tick_s:
        return 0.0, 0.0
    kept = averaged_share(step_s / noise.tau_s)
    variance = cv * cv * (averaged_share(tick_s / noise.tau_s) - kept)
    if variance <= 0.0:
        return 0.0, 0.0
    return math.sqrt(variance), math.exp(-tick_s / (noise.tau_s * (1.0 - kept)))


def bridge_weights(rho: float, ticks: int) -> F8:
    """(ticks, 3) weights that lead an AR(1) process of lag-one correlation rho from one anchor to the next.

    The conditional law given the end, with n steps to go and r = rho^2:
    x' = rho (1 - r^(n-1)) / (1 - r^n) x + rho^(n-1) (1 - r) / (1 - r^n) end
         + sqrt((1 - r) (1 - r^(n-1)) / (1 - r^n)) z.
    """
    n = ticks - np.arange(ticks, dtype=np.float64)
    root = min(max(rho, 1e-12), 1.0 - 1e-12)
    r = root * root
    whole, rest = -np.expm1(n * math.log(r)), -np.expm1((n - 1) * math.log(r))
    end = root ** (n - 1) * (1.0 - r) / whole
    return np.column_stack([root * rest / whole, end, np.sqrt((1.0 - r) * rest / whole)])


def anchor_noise(key: U8, rho: F8, blocks: range) -> F8:
    """(..., len(blocks)) standard normal AR(1) values, one per block; rho (...) is from block to block.

    The chain starts at block 0 and runs both ways, so a longer range leaves the shared part as it is.
    """
    numbers = np.arange(min(blocks.start, 0), max(blocks.stop, 1))
    zero = -int(numbers[0])
    out = _normal(key[..., None], numbers)
    fresh = np.sqrt(1.0 - rho * rho)
    for i in range(zero + 1, len(numbers)):
        out[..., i] = rho * out[..., i - 1] + fresh * out[..., i]
    for i in range(zero - 1, -1, -1):
        out[..., i] = rho * out[..., i + 1] + fresh * out[..., i]
    return np.ascontiguousarray(out[..., zero + blocks.start : zero + blocks.stop])


def _normal(key: U8, numbers: NDArray[np.int64]) -> F8:
    """One standard normal per key and number (of either sign), by Box-Muller."""
    counter = 2 * numbers.astype(np.uint64)
    u, v = (_uniform(key ^ _ANCHORS, counter + np.uint64(i)) for i in (0, 1))
    return np.asarray(np.sqrt(-2.0 * np.log(1.0 - u)) * np.cos(2.0 * math.pi * v))


def _uniform(key: U8, counter: U8) -> F8:
    z = key + _GOLDEN * counter
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 9007199254740992.0
