"""Counter-based random numbers inside kernels: splitmix64 streams, one uint64 per (cluster, purpose).

A stream is `state[b, purpose]`; each draw advances it. Equal seeds give equal bytes on every
machine, and one purpose's draws never shift another's.
Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.sim.jit import kernel

# purposes
RNG_TIE, RNG_START, RNG_BOOT, RNG_SCRAPE, RNG_ARRIVAL, RNG_EXPANDER, RNG_FAULT, N_STREAMS = 0, 1, 2, 3, 4, 5, 6, 8

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@kernel
def next_u64(state: Any, b: int, stream: int) -> Any:
    """Advance stream (b, stream) of state (B, N_STREAMS) uint64; the next 64 random bits."""
    state[b, stream] += _GOLDEN
    z = state[b, stream]
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


@kernel
def uniform(state: Any, b: int, stream: int) -> float:
    """Uniform in [0, 1), 53 bits."""
    return float(next_u64(state, b, stream) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def below(state: Any, b: int, stream: int, n: int) -> int:
    """Uniform integer in [0, n)."""
    return int(uniform(state, b, stream) * n)


@kernel
def normal(state: Any, b: int, stream: int) -> float:
    """Standard normal by Box-Muller (one of the pair is thrown away, to keep the stream simple)."""
    u = 1.0 - uniform(state, b, stream)
    v = uniform(state, b, stream)
    return math.sqrt(-2.0 * math.log(u)) * math.cos(6.283185307179586 * v)


@kernel
def lognormal(state: Any, b: int, stream: int, mean: float, cv: float) -> float:
    """Lognormal with this mean and coefficient of variation; the mean itself when cv <= 0."""
    if cv <= 0.0 or mean <= 0.0:
        return mean
    s2 = math.log(1.0 + cv * cv)
    return mean * math.exp(math.sqrt(s2) * normal(state, b, stream) - 0.5 * s2)


def seed_streams(seeds: Any) -> Any:
    """(B,) integer seeds -> (B, N_STREAMS) uint64 states, well separated."""
    out = np.empty((len(seeds), N_STREAMS), np.uint64)
    for i, seed in enumerate(seeds):
        out[i] = np.random.SeedSequence(int(seed)).generate_state(N_STREAMS, np.uint64)
    return out
