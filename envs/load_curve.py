"""Every load as a curve: knots joined by straight lines, held constant before the first and after the last.

A trace already is one. A generated shape is sampled every 15 minutes (a cosine day is then off by at most
(2 pi 900 / 86400)^2 / 8 = 0.05 % of its amplitude) plus the corners of its bursts and flash crowds, so
that one exact integral over a tick serves both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from envs.load_noise import key_of
from envs.scenario import GeneratedDemand
from envs.trace_file import Trace

F8 = NDArray[np.float64]

KNOT_S = 900.0
CORNER_S = 60.0  # how fast the clock change takes hold
DAY_S = 86_400.0
WEEKEND_RAMP_S = 7200.0


@dataclass(frozen=True)
class Curve:
    """Requests/s (batch: units/h) over seconds of the scenario's own clock or of the trace's."""

    time_s: F8  # (K,) rising
    value: F8  # (K,) >= 0
    step_s: float  # below this the curve knows nothing; inf for a generated shape


def traced_curve(trace: Trace, column: str | None, *, copies: int = 1) -> Curve:
    """A trace's column, `copies` times in a row, each one step after the last sample before it."""
    value = trace.column(column)
    if copies == 1:
        return Curve(trace.time_s, value, trace.step_s)
    starts = trace.duration_s * np.arange(copies)
    return Curve((starts[:, None] + trace.time_s).ravel(), np.tile(value, copies), trace.step_s)


def generated_curve(shape: GeneratedDemand, *, seed: int, name: str, horizon_s: float, start_utc: str) -> Curve:
    """base x daily x weekly x (1 + trend) + bursts + flash crowds over [0, horizon_s].

    daily = 1 + a cos(2 pi (local hour - peak_hour) / 24); weekly = 1 on weekdays and 1 - b at the
    weekend, with two hours in between; a burst or flash crowd adds base x (factor - 1) x window(t).
    Bursts come as a Poisson process keyed by (seed, name, day): the same for every stack and horizon.
    """
    base = np.arange(0.0, horizon_s + KNOT_S, KNOT_S)
    windows = _windows(shape, seed=seed, name=name, horizon_s=horizon_s)
    corners = [window[0] for window in windows]
    if shape.dst_shift_at_s is not None:
        corners.append(shape.dst_shift_at_s + np.array([0.0, CORNER_S]))
    time = np.unique(np.concatenate([base, *corners]))
    time = time[time >= 0]
    value = shape.base_rps * _shape(shape, time, start_utc)
    for corner, height in windows:
        value = value + np.interp(time, corner, height, left=0.0, right=0.0)
    return Curve(time, np.maximum(value, 0.0), math.inf)


def _shape(shape: GeneratedDemand, time: F8, start_utc: str) -> F8:
    shifted = np.zeros_like(time)
    if shape.dst_shift_at_s is not None:
        shifted = np.clip((time - shape.dst_shift_at_s) / CORNER_S, 0.0, 1.0) * 3600.0
    start = datetime.fromisoformat(start_utc)
    monday = start.weekday() * DAY_S + start.hour * 3600.0 + start.minute * 60.0 + start.second
    local = time + shifted + monday + shape.utc_offset_h * 3600.0
    phase = 2.0 * math.pi * (local / 3600.0 - shape.peak_hour) / 24.0
    daily = 1.0 + shape.daily_amplitude * np.cos(phase)
    into_week = local % (7 * DAY_S)
    friday = np.clip((into_week - 5 * DAY_S) / WEEKEND_RAMP_S + 0.5, 0.0, 1.0)
    sunday = np.clip((7 * DAY_S - into_week) / WEEKEND_RAMP_S + 0.5, 0.0, 1.0)
    early_monday = np.clip(0.5 - into_week / WEEKEND_RAMP_S, 0.0, 1.0)
    weekly = 1.0 - shape.weekly_amplitude * np.maximum(np.minimum(friday, sunday), early_monday)
    return np.maximum(daily * weekly * (1.0 + shape.trend_per_day * time / DAY_S), 0.0)


def _windows(shape: GeneratedDemand, *, seed: int, name: str, horizon_s: float) -> list[tuple[F8, F8]]:
    """Corners (time, added requests/s) of every burst (a trapezoid) and flash crowd (a shark's fin)."""
    burst = (shape.burst_factor - 1.0) * shape.base_rps * np.array([0.0, 1.0, 1.0, 0.0])
    flash = (shape.flash_factor - 1.0) * shape.base_rps * np.array([0.0, 1.0, 0.0])
    starts = _burst_starts(shape, seed=seed, name=name, horizon_s=horizon_s)
    out = [(at + shape.burst_s * np.array([0.0, 0.1, 0.9, 1.0]), burst) for at in starts]
    out += [(at + shape.flash_s * np.array([0.0, 0.1, 1.0]), flash) for at in shape.flash_at_s]
    return out


def _burst_starts(shape: GeneratedDemand, *, seed: int, name: str, horizon_s: float) -> list[float]:
    if shape.burst_per_day <= 0:
        return []
    starts: list[float] = []
    for day in range(math.ceil(horizon_s / DAY_S)):
        rng = np.random.Generator(np.random.Philox(key=key_of(seed, name, "burst", str(day))))
        starts.extend(np.sort(DAY_S * (day + rng.random(rng.poisson(shape.burst_per_day)))))
    return starts
