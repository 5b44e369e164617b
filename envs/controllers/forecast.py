"""Predictive scaling: what the load may be once a replica that is asked for now is ready.

The shape of AWS predictive scaling, Google's predictive autoscaling and Crane's EffectiveHPA: the forecast sets
a floor, the reactive HPA runs under it, so the larger of the two holds. Everything comes from the samples
handed to `observe`; nothing else is looked at.

Load is kept as the highest sample of each 5-minute bin. With y the bins, o the last closed one, l(o) the mean of
the 6 known bins up to o, S a day or a week of bins, three forecasts of bin t are kept:

    f0 = y(o),      fS = y(t - S) x clip(l(o) / l(o - S), 1/2, 2)

Each closed bin scores all three at the horizon in use: r = log((y + e) / (f + e)), e = 2 % of a replica's load. The one
with the least mean |r| (half-life a day) speaks, its value times exp(q), q the quantile of its own r (half-life a
week, read from a histogram of step 0.02).
"""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.scaler_pack import ABSENT, BIN_S, DAY_BINS, ERROR_BINS, ERROR_STEP, SEASONS, WEEK_BINS
from envs.sim.jit import inner, kernel

LEVEL_BINS = 6
LEAST_SCORES = 12  # an hour of scores before a forecast may speak
MOST_CHANGE = 2.0
SMALL = 0.02  # share of a replica's load that is added to both sides of a ratio
DAY_DECAY = 0.5 ** (1.0 / DAY_BINS)
WEEK_DECAY = 0.5 ** (1.0 / WEEK_BINS)
NO_FLOOR = 0


@inner
def known(history: Any, b: int, w: int, newest: int, at: int) -> float:
    """Bin `at` of the ring whose newest closed bin is `newest`; ABSENT when not held or not known."""
    size = history.shape[2]
    if at > newest or at <= newest - size:
        return float(ABSENT)
    return history[b, w, at % size]


@inner
def level(history: Any, b: int, w: int, newest: int, at: int) -> float:
    """Mean of the known bins among the LEVEL_BINS up to `at`; ABSENT when none is."""
    total, n = 0.0, 0
    for back in range(LEVEL_BINS):
        value = known(history, b, w, newest, at - back)
        if value >= 0.0:
            total += value
            n += 1
    return total / n if n > 0 else float(ABSENT)


@inner
def seasonal(history: Any, b: int, w: int, newest: int, origin: int, target: int, season: int) -> float:
    """Forecast of bin `target` made when bin `origin` had just closed; ABSENT when the season is not held."""
    if season == 0:
        return known(history, b, w, newest, origin)
    back = DAY_BINS if season == 1 else WEEK_BINS
    then = known(history, b, w, newest, target - back)
    now_level, then_level = level(history, b, w, newest, origin), level(history, b, w, newest, origin - back)
    if then < 0.0 or now_level < 0.0 or then_level < 0.0:
        return float(ABSENT)
    ratio = now_level / then_level if then_level > 0.0 else 1.0
    return then * min(max(ratio, 1.0 / MOST_CHANGE), MOST_CHANGE)


@inner
def close_bin(scalers: Any, b: int, w: int, number: int, value: float) -> None:
    """Put bin `number` into the ring and score the forecasts that were made for it."""
    spec, history = scalers.forecast[b, w], scalers.history
    history[b, w, number % history.shape[2]] = value
    spec.closed += 1
    if value < 0.0:
        return
    small = SMALL * spec.capacity
    origin = number - spec.lead_bins - 1
    for season in range(SEASONS):
        forecast = seasonal(history, b, w, number, origin, number, season)
        if forecast < 0.0:
            continue
        error = math.log((value + small) / (forecast + small))
        place = math.floor(error / ERROR_STEP) + ERROR_BINS // 2
        for e in range(ERROR_BINS):
            scalers.errors[b, w, season, e] *= WEEK_DECAY
        scalers.errors[b, w, season, min(max(place, 0), ERROR_BINS - 1)] += 1.0
        score = scalers.score[b, w, season]
        score.n = score.n * DAY_DECAY + 1.0
        score.error = score.error * DAY_DECAY + abs(error)


@inner
def error_quantile(scalers: Any, b: int, w: int, season: int, quantile: float) -> float:
    """Upper edge of the histogram's bin that holds the quantile of log(measured / forecast)."""
    total = 0.0
    for e in range(ERROR_BINS):
        total += scalers.errors[b, w, season, e]
    reached = 0.0
    for e in range(ERROR_BINS):
        reached += scalers.errors[b, w, season, e]
        if reached >= quantile * total:
            return (e + 1 - ERROR_BINS // 2) * ERROR_STEP
    return ERROR_BINS // 2 * ERROR_STEP


@kernel
def observe(scalers: Any, b: int, w: int, at_s: float, rate: float) -> None:
    """A sample: `rate` requests/s measured at at_s, below 0 = unknown. Bins that it leaves behind are closed."""
    spec = scalers.forecast[b, w]
    number = math.floor(at_s / BIN_S)
    if spec.closed == 0 and spec.peak < 0.0 and rate < 0.0:
        return
    if spec.closed == 0 and spec.peak < 0.0:
        spec.bin = number
    while spec.bin < number:
        close_bin(scalers, b, w, spec.bin, spec.peak)
        spec.bin += 1
        spec.peak = float(ABSENT)
    spec.peak = max(spec.peak, rate)


@inner
def best_season(scalers: Any, b: int, w: int) -> int:
    """The season with the least mean error; ABSENT before any has been scored for an hour."""
    best, least = ABSENT, math.inf
    for season in range(SEASONS):
        score = scalers.score[b, w, season]
        if score.n >= LEAST_SCORES and score.error / score.n < least:
            best, least = season, score.error / score.n
    return best


@kernel
def forecast_load(scalers: Any, b: int, w: int) -> float:
    """Requests/s to be ready for: the highest of the open bin and those within the lead; ABSENT = no forecast."""
    spec = scalers.forecast[b, w]
    season = best_season(scalers, b, w)
    if season < 0:
        return float(ABSENT)
    origin = spec.bin - 1
    highest = float(ABSENT)
    for ahead in range(spec.lead_bins + 1):
        highest = max(highest, seasonal(scalers.history, b, w, origin, origin, spec.bin + ahead, season))
    return highest * math.exp(error_quantile(scalers, b, w, season, spec.quantile)) if highest >= 0.0 else highest


@kernel
def forecast_floor(scalers: Any, b: int, w: int, most: int) -> int:
    """minReplicas for the forecast load, at least the HPA's own, at most maxReplicas."""
    load = forecast_load(scalers, b, w)
    need = NO_FLOOR if load < 0.0 else math.ceil(min(load / scalers.forecast[b, w].capacity, 1e9) - 1e-9)
    return min(max(need, scalers.own_min[b, w]), most)
