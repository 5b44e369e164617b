"""Offered load per tick: exact means of piecewise-linear curves, correlated noise, overdispersed arrivals.

Everything is a function of (key, tick): random numbers are hashes of a counter (splitmix64 as in
`envs.sim.random`), so any chunk of ticks gives the same bytes as any other that holds it. The noise is
an AR(1) process fixed at every BLOCK-th tick (`anchors`) and filled in between by its own bridge.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from envs.sim.jit import inner, kernel

BLOCK = 64  # ticks between anchors
HOUR_S = 3600.0
CLUMPED = 16.0  # dispersion from which small counts come in clumps
SURE = 0.9999  # not 1, so that rounding cannot take what the exact test would not
SMALL_COUNTS = 32.0  # below this mean x dispersion counts are drawn exactly, above by a skewed normal

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_DRAWS = np.uint64(4)  # per tick: two for a pair of normals, two uniforms
_AGAIN = np.uint64(0x9FB21C651E98DF25)  # parts the draws of rejected gammas from the ticks'


class Load(NamedTuple):
    """Curves and noise of B clusters x W workloads. A workload's curve is read at max(t, 0) + offset_s."""

    knot_s: Any  # (K,) seconds, rising inside one curve
    knot_value: Any  # (K,) requests/s; units/h when hourly
    first: Any  # (C + 1,) curve c owns knots first[c] : first[c + 1]
    curve: Any  # (B, W)
    scale: Any  # (B, W) 0 = no load
    offset_s: Any  # (B, W)
    hourly: Any  # (B, W) bool: the hour's load comes at its top
    key: Any  # (B, W) uint64
    sigma: Any  # (B, W) of the noise's logarithm; 0 = none
    dispersion: Any  # (B, W) variance / mean of counts; 0 = no counting noise
    counted: Any  # (B, W) bool: whole counts; else the Poisson mean that a count would have been drawn with
    group: Any  # (B, W) which bridge
    bridge: Any  # (G, BLOCK, 3) weight of the last value, of the next anchor, and deviation
    anchors: Any  # (B, W, J) standard normal noise at the start of blocks
    anchor0: int  # block number of anchors[..., 0]


@inner
def _bits(key: Any, tick: int, draw: int) -> Any:
    """64 random bits of one tick's draw."""
    z = key + _GOLDEN * (np.uint64(tick) * _DRAWS + np.uint64(draw))
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


@inner
def _uniform(key: Any, tick: int, draw: int) -> float:
    """Uniform in [0, 1)."""
    return float(_bits(key, tick, draw) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@inner
def _value(time: Any, value: Any, k: int, t: float) -> float:
    """The line through knots k and k + 1 at t."""
    return value[k] + (value[k + 1] - value[k]) * ((t - time[k]) / (time[k + 1] - time[k]))


@inner
def _segment(time: Any, lo: int, hi: int, t: float) -> int:
    """Largest k in [lo, hi - 1] with time[k] <= t; lo when t is before all."""
    while hi - lo > 1:
        middle = (lo + hi) // 2
        if time[middle] <= t:
            lo = middle
        else:
            hi = middle
    return lo


@inner
def _mean(time: Any, value: Any, lo: int, hi: int, k: int, a: float, b: float) -> float:
    """Mean over [a, b] of the curve with knots lo..hi-1, from segment k at a on; its value when a == b."""
    if a >= time[hi - 1]:
        return value[hi - 1]
    if b <= time[lo]:
        return value[lo]
    if a == b:
        return _value(time, value, k, a)
    total = 0.0
    left = a
    if a < time[lo]:
        total = (time[lo] - a) * value[lo]
        left = time[lo]
    while left < b:
        if k + 1 >= hi:
            total += (b - left) * value[hi - 1]
            break
        right = min(b, time[k + 1])
        total += (right - left) * 0.5 * (_value(time, value, k, left) + _value(time, value, k, right))
        left = right
        k += 1
    return total / (b - a)


@kernel
def fill_rates(load: Load, tick0: int, tick_s: float, out: Any) -> None:
    """out (B, n, W): mean offered requests/s in each tick from tick0 on, without noise.

    Tiles of BLOCK ticks keep the rows that are written in the cache.
    """
    for b in range(out.shape[0]):
        for tile in range(0, out.shape[1], BLOCK):
            stop = min(tile + BLOCK, out.shape[1])
            for w in range(out.shape[2]):
                _fill_rates_of(load, b, w, tick0, tick_s, tile, stop, out[b])


@inner
def _fill_rates_of(load: Load, b: int, w: int, tick0: int, tick_s: float, first: int, last: int, out: Any) -> None:
    c = load.curve[b, w]
    lo, hi = load.first[c], load.first[c + 1]
    time, value, hourly = load.knot_s, load.knot_value, load.hourly[b, w]
    scale, offset = load.scale[b, w], load.offset_s[b, w]
    k = _segment(time, lo, hi, max((tick0 + first) * tick_s, 0.0) + offset)
    for i in range(first, last):
        start = (tick0 + i) * tick_s
        stop = (tick0 + i + 1) * tick_s
        unit = scale
        if hourly:
            hour = math.ceil(start / HOUR_S) * HOUR_S
            if hour >= stop:
                out[i, w] = 0.0
                continue
            start = hour
            stop = hour + HOUR_S
            unit = scale / tick_s
        from_s = max(start, 0.0) + offset
        till_s = max(stop, 0.0) + offset
        while k + 1 < hi and time[k + 1] <= from_s:
            k += 1
        out[i, w] = unit * _mean(time, value, lo, hi, k, from_s, till_s)


@inner
def _count(mean: float, dispersion: float, z: float, u: float) -> float:
    """Requests with this mean and variance dispersion x mean: Poisson, or negative binomial above 1.

    Below SMALL_COUNTS x dispersion by inversion of u, else mean + deviation x (z + skew (z^2 - 1) / 6),
    rounded (Cornish-Fisher; skewness of a negative binomial is (2 D - 1) / sqrt(D mean)). A dispersion
    above CLUMPED would make the inversion long: there requests come in clumps of D, a Poisson number of
    them, which has the same mean and variance. Below 1 small counts are Poisson.
    """
    if mean <= 0.0:
        return 0.0
    if mean >= SMALL_COUNTS * dispersion:
        deviation = math.sqrt(dispersion * mean)
        skew = (2.0 * dispersion - 1.0) / deviation
        return max(np.rint(mean + deviation * (z + skew * (z * z - 1.0) / 6.0)), 0.0)
    clump = 1.0
    if dispersion > CLUMPED:
        clump = dispersion
        mean /= clump
        dispersion = 1.0
    over = dispersion - 1.0
    if over < 1e-6:
        p, ratio, add = math.exp(-mean), mean, 0.0
    else:
        p = math.exp(-mean / over * math.log(dispersion))
        ratio, add = mean / dispersion, over / dispersion
    total = p
    k = 0.0
    while u > total and (p > 1e-17 or k < mean):
        p *= (ratio + add * k) / (k + 1.0)
        total += p
        k += 1.0
    return np.rint(k * clump)


@inner
def _mixed_mean(mean: float, dispersion: float, key: Any, tick: int, z: float, u: float) -> float:
    """The Poisson mean behind a negative binomial count: gamma with this mean, variance (dispersion - 1) x mean.

    Method: Marsaglia, Tsang 2000, "A simple method for generating gamma variables". z (normal) and u
    (uniform) serve the first try, which is accepted in 95 of 100 ticks or more.
    """
    over = dispersion - 1.0
    if over < 1e-6 or mean <= 0.0:
        return max(mean, 0.0)
    shape = mean / over
    scale = over
    if shape < 1.0:
        scale *= math.exp(math.log(1.0 - _uniform(key, tick, 3)) / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    attempt = 0
    while True:
        v = 1.0 + c * z
        v = v * v * v
        if v > 0.0 and u < SURE - 0.0331 * (z * z) * (z * z):  # their squeeze: what it takes, the test below does
            return scale * d * v
        if v > 0.0 and math.log(u) < 0.5 * z * z + d - d * v + d * math.log(v):
            return scale * d * v
        fresh = _bits(key ^ _AGAIN, tick, attempt)
        z = math.sqrt(-2.0 * math.log(1.0 - _uniform(fresh, 0, 0)))
        z *= math.cos(6.283185307179586 * _uniform(fresh, 0, 1))
        u = _uniform(fresh, 0, 2)
        attempt += 1


@kernel
def fill_arrivals(load: Load, tick0: int, tick_s: float, out: Any) -> None:
    """out (B, n, W): in, the rates of `fill_rates`; out, the requests that arrive in each tick."""
    for b in range(out.shape[0]):
        _fill_arrivals_of(load, b, tick0, tick_s, out[b])


@inner
def _fill_arrivals_of(load: Load, b: int, tick0: int, tick_s: float, out: Any) -> None:
    n = out.shape[0]
    for block in range(math.floor(tick0 / BLOCK), math.floor((tick0 + n - 1) / BLOCK) + 1):
        first_tick = block * BLOCK
        last = min(first_tick + BLOCK, tick0 + n) - first_tick
        skip = max(tick0 - first_tick, 0)
        for w in range(out.shape[1]):
            sigma, dispersion = load.sigma[b, w], load.dispersion[b, w]
            key, bridge = load.key[b, w], load.bridge[load.group[b, w]]
            x = load.anchors[b, w, block - load.anchor0]
            end = load.anchors[b, w, block - load.anchor0 + 1]
            for j in range(last if sigma > 0.0 or dispersion > 0.0 else 0):
                tick = first_tick + j
                radius = math.sqrt(-2.0 * math.log(1.0 - _uniform(key, tick, 0)))
                angle = 6.283185307179586 * _uniform(key, tick, 1)
                if j >= skip:
                    i = tick - tick0
                    mean = out[i, w] * tick_s
                    if sigma > 0.0:
                        mean *= math.exp(sigma * x - 0.5 * sigma * sigma)
                    if dispersion > 0.0:
                        z, u = radius * math.sin(angle), _uniform(key, tick, 2)
                        if load.counted[b, w]:
                            mean = _count(mean, dispersion, z, u)
                        else:
                            mean = _mixed_mean(mean, dispersion, key, tick, z, u)
                    out[i, w] = mean
                x = bridge[j, 0] * x + bridge[j, 1] * end + bridge[j, 2] * radius * math.cos(angle)
            if sigma <= 0.0 and dispersion <= 0.0:
                for j in range(skip, last):
                    out[first_tick + j - tick0, w] *= tick_s
