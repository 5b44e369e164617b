"""A coarse look at a scenario's load without the simulator: for `scenario show` and sanity checks."""

from __future__ import annotations

import numpy as np

from envs.load_curve import F8, generated_curve
from envs.scenario import Scenario, TraceDemand
from envs.trace_file import Trace

BARS = "▁▂▃▄▅▆▇█"


def load_preview(scenario: Scenario, w: int, traces: dict[TraceDemand, Trace], *, points: int = 2016) -> F8:
    """(points,) requests/s of workload w (batch: units/h) at evenly spaced moments, without noise."""
    demand = scenario.demand[w]
    at = np.linspace(0.0, scenario.horizon_s, points)
    if not isinstance(demand, TraceDemand):
        name = scenario.cluster.workloads[w].name
        curve = generated_curve(
            demand, seed=scenario.seed, name=name, horizon_s=scenario.horizon_s, start_utc=scenario.start_utc
        )
        return np.interp(at, curve.time_s, curve.value)
    trace = traces[demand]
    values = trace.column(demand.column)
    scale = demand.scale
    if demand.mean_rps is not None:
        mean = float(np.trapezoid(values, trace.time_s) / trace.time_s[-1])
        scale *= demand.mean_rps / mean if mean > 0 else 0.0
    at = at + demand.offset_s
    if demand.repeat:
        at %= trace.duration_s
    return np.interp(at, trace.time_s, values) * scale


def sparkline(values: F8, *, width: int = 28) -> str:
    """Means of `width` equal stretches as bars from zero to the highest."""
    if len(values) < width or not np.any(values > 0):
        return BARS[0] * width
    means = np.array([part.mean() for part in np.array_split(values, width)])
    steps = np.minimum((means / means.max() * len(BARS)).astype(int), len(BARS) - 1)
    return "".join(BARS[step] for step in steps)
