"""What a workload's measurements say about its service: capacity of a replica, service time, CPU, start delay.

Capacity is a posterior on a grid, flat in its logarithm beforehand, from three kinds of evidence:

- **Saturated minutes** (requests are refused or give up, at a load per replica near the highest seen): what a
  replica serves then *is* its capacity. Their demand is censored, so it plays no part.
- **All other minutes**: a replica has served this much, so capacity is not below it.
- **Latency**, where it is measured: the mean bends upward as load nears capacity, S + Wq with Sakasegawa's
  approximation for c = capacity x S slots (Sakasegawa 1977),
  Wq / S = (1 + cv^2) / 2 x rho^(sqrt(2 (c + 1)) - 1) / (c (1 - rho)); a Laplace likelihood with its scale profiled out
  and as many samples as their autocorrelation leaves.

Where none of these reaches up to capacity the posterior stays as wide as it began, and `informed` is False.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.cluster import Workload
from envs.errors import InputError
from envs.history import Series, cut
from envs.sim.pack import BALANCING
from envs.sim.queueing import load_tables
from envs.sim.replay import serve_series

F8 = NDArray[np.float64]
SATURATED_LOSS = 0.02  # share of requests lost from which a minute may be a saturated one
NEAR_TOP = 0.7  # of the load per replica that is seldom exceeded; loss below it has another cause
REACH = 10.0  # the prior ends at this many times the highest load served
EPISODE_S = 600.0
LEAST_ERROR = 0.05  # of the model itself: no interval is narrower than this to each side
MOST_SAMPLES = 200.0  # latency samples that count: more of them do not make the formula any truer
WAIT_ERROR = 0.02  # what the formula itself is off by, of the latency: a smaller bend tells nothing
THINNED = 3000  # latency samples that are looked at
GRID_POINTS = 600
TICK_S = 15.0
FIT_SHARE = 0.7  # of the time, for the back-test
BLOCK_S = 3600.0
RESAMPLES = 400


@dataclass(frozen=True)
class Interval:
    """5 %, 50 % and 95 % points."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Assumed:
    """What the measurements do not say; from the scenario where there is one."""

    threshold_s: float | None = None  # None: four service times
    timeout_s: float = 10.0
    balancing: str = "random"
    service_cv: float = 0.5  # where latency percentiles do not say
    service_s: float | None = None  # where latency is not measured
    cpu_limit: float = math.inf


@dataclass(frozen=True)
class BackTest:
    """Fitted on the first 70 % of the time, held against the rest.

    bad: share of bad (without slow_rps: of lost) requests, predicted at the capacity's 95, 50 and 5 % points.
    """

    cpu_error: float | None  # mean |predicted / measured - 1|
    bad_measured: float | None
    bad_predicted: Interval | None


@dataclass(frozen=True)
class Calibrated:
    """One workload's estimates. None where its measurements have nothing to say."""

    name: str
    capacity_rps: Interval
    informed: bool  # the data reach capacity; if not, only capacity_rps.low means something
    service_s: float | None
    service_cv: float | None
    cpu_s_per_request: Interval | None
    idle_cpu: float | None  # cores of a replica without load
    start_delay_s: float | None
    start_delay_cv: float | None
    saturated_minutes: float
    episodes: int
    samples: int
    notes: tuple[str, ...]
    back_test: BackTest | None = None

    def slots(self, assumed: Assumed) -> tuple[int, float]:
        """(slots, service time): whole slots with capacity_rps between them. Uninformed: the lower bound."""
        capacity = self.capacity_rps.mid if self.informed else self.capacity_rps.low
        service = self.service_s or assumed.service_s or 0.1
        slots = max(1, round(capacity * service))
        return slots, slots / capacity


def assumed_of(w: Workload) -> Assumed:
    """What a scenario says of the workload."""
    s = w.service
    return Assumed(s.threshold_s, s.timeout_s, s.balancing, s.service_cv, s.service_time_s, w.cpu_limit)


def with_measured(w: Workload, c: Calibrated) -> Workload:
    """The workload with what was measured in place of what its scenario says. `c` must be informed."""
    slots, service_s = c.slots(assumed_of(w))
    cpu = w.service.cpu_s_per_request if c.cpu_s_per_request is None else c.cpu_s_per_request.mid
    service = dataclasses.replace(w.service, slots=slots, service_time_s=service_s, cpu_s_per_request=cpu)
    if c.service_cv is not None:
        service = dataclasses.replace(service, service_cv=c.service_cv)
    if c.start_delay_s is None or c.start_delay_cv is None:
        return dataclasses.replace(w, service=service)
    return dataclasses.replace(w, service=service, start_delay_s=c.start_delay_s, start_delay_cv=c.start_delay_cv)


@dataclass(frozen=True)
class _Data:
    """Clean samples of one workload, (N,) each."""

    time_s: F8
    x: F8  # served per replica, requests/s
    loss: F8  # share of the offered requests
    replicas: F8
    latency: F8 | None


def calibrate(series: Series, assumed: Assumed | None = None, *, back_test: bool = True) -> Calibrated:
    """Estimate a workload's service. Raises InputError without replicas and served or offered requests.

    Deterministic: resampling is seeded.
    """
    assumed = assumed or Assumed()
    data = _clean(series)
    service, cv = _service_time(series, data, assumed)
    cpu, idle = _cpu(series)
    posterior, saturated, episodes, told = _capacity(data, service, cv, assumed, cpu)
    capacity = _interval(*posterior)
    informed = told and capacity.high / capacity.low <= 2.0
    if not informed:  # only what was served without loss is certain
        calm = data.x[data.loss <= SATURATED_LOSS]
        least = float(np.quantile(calm, 0.995)) if len(calm) else capacity.low
        capacity = dataclasses.replace(capacity, low=min(capacity.low, least))
    delay = _start_delay(series)
    out = Calibrated(
        name=series.name,
        capacity_rps=capacity,
        informed=informed,
        service_s=service if series.metrics.keys() & {"latency_mean_s", "latency_p50_s"} else None,
        service_cv=cv if {"latency_p50_s", "latency_p95_s"} <= series.metrics.keys() else None,
        cpu_s_per_request=cpu,
        idle_cpu=idle,
        start_delay_s=delay[0] if delay else None,
        start_delay_cv=delay[1] if delay else None,
        saturated_minutes=saturated * series.step_s / 60.0,
        episodes=episodes,
        samples=len(data.x),
        notes=_notes(series, data, informed, saturated, capacity),
    )
    if not back_test:
        return out
    return dataclasses.replace(out, back_test=_back_test(series, assumed))


def _clean(series: Series) -> _Data:
    replicas = series.get("replicas")
    if replicas is None:
        mend = "capacity is per replica: add the column of ready replicas"
        raise InputError(series.source, f"workload {series.name}, metric replicas", None, mend)
    offered, served = series.offered_rps, series.served_rps
    kept = series.known & (replicas > 0) & (offered > 0)
    if kept.sum() < 30:
        mend = f"{int(kept.sum())} samples with load and replicas; give at least 30, better two weeks"
        raise InputError(series.source, f"workload {series.name}", None, mend)
    lost = np.clip(series.lost_rps / np.maximum(offered, 1e-12), 0.0, 1.0)
    latency = series.get("latency_mean_s")
    if latency is None:
        latency = series.get("latency_p50_s")
    return _Data(
        series.time_s[kept],
        (served / np.maximum(replicas, 1e-12))[kept],
        lost[kept],
        replicas[kept],
        None if latency is None else latency[kept],
    )


def _service_time(series: Series, data: _Data, assumed: Assumed) -> tuple[float, float]:
    """(mean, coefficient of variation) of the service alone: latency at the lowest third of the load."""
    calm = (data.x <= np.quantile(data.x, 1.0 / 3.0)) & (data.loss < SATURATED_LOSS)
    cv = assumed.service_cv
    p50, p95 = series.get("latency_p50_s"), series.get("latency_p95_s")
    if p50 is not None and p95 is not None:
        at = np.isin(series.time_s, data.time_s[calm])
        ratio = float(np.median(p95[at] / np.maximum(p50[at], 1e-9))) if at.any() else 1.0
        sigma = math.log(max(ratio, 1.0 + 1e-6)) / 1.6449
        cv = min(math.sqrt(math.expm1(sigma * sigma)), 3.0)
    if data.latency is None or not calm.any():
        return assumed.service_s or 0.1, cv
    level = float(np.median(data.latency[calm]))
    if series.get("latency_mean_s") is None:
        level *= math.sqrt(1.0 + cv * cv)  # mean over median of a lognormal
    return max(level, 1e-6), cv


def _cpu(series: Series) -> tuple[Interval | None, float | None]:
    """CPU-seconds per request with its interval, and cores of an idle replica: a line through cores against load.

    Outliers beyond four robust deviations from a first line are dropped; hours are resampled as blocks.
    """
    cpu, replicas = series.get("cpu_cores"), series.get("replicas")
    if cpu is None or replicas is None:
        return None, None
    kept = series.known & (replicas > 0) & (series.served_rps > 0)
    x, y, hour = (series.served_rps / replicas)[kept], (cpu / replicas)[kept], (series.time_s[kept] // BLOCK_S)
    if len(x) < 30:
        return None, None
    slope, idle = _line(x, y, np.ones(len(x)))
    residual = y - idle - slope * x
    inside = np.abs(residual) <= 4.0 * 1.4826 * np.median(np.abs(residual)) + 1e-12
    block: NDArray[np.int64] = np.unique(hour[inside], return_inverse=True)[1]
    x, y = x[inside], y[inside]
    slope, idle = _line(x, y, np.ones(len(x)))
    rng = np.random.default_rng(1)
    blocks = int(block.max()) + 1
    counts = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), RESAMPLES).astype(np.float64)
    drawn = [_line(x, y, count[block])[0] for count in counts]
    low, high = np.quantile(drawn, [0.05, 0.95])
    return Interval(float(low), slope, float(high)), idle


def _line(x: F8, y: F8, weight: F8) -> tuple[float, float]:
    """Weighted least squares with an intercept that is not negative."""
    total = weight.sum()
    mx, my = (weight * x).sum() / total, (weight * y).sum() / total
    spread = (weight * (x - mx) ** 2).sum()
    slope = float((weight * (x - mx) * (y - my)).sum() / spread) if spread > 1e-12 * mx * mx * total else -1.0
    idle = float(my - slope * mx)
    if slope <= 0.0 or idle < 0.0:
        return float((weight * x * y).sum() / (weight * x * x).sum()), 0.0
    return slope, idle


def _capacity(
    data: _Data, service: float, cv: float, assumed: Assumed, cpu: Interval | None
) -> tuple[tuple[F8, F8], int, int, bool]:
    """((grid, posterior weights), saturated samples, episodes, whether anything but the lower bound spoke)."""
    top = float(np.quantile(data.x, 0.995))
    full = (data.loss > SATURATED_LOSS) & (data.x >= NEAR_TOP * np.quantile(data.x, 0.98))
    free = data.x[~full & (data.loss <= SATURATED_LOSS)]
    floor = float(np.quantile(free, 0.995)) if len(free) else 0.5 * top
    grid = np.geomspace(0.5 * floor, REACH * max(top, floor), GRID_POINTS)
    log_grid = np.log(grid)
    like = _log_normal_tail((log_grid - math.log(floor)) / 0.03)
    episodes, told = 0, False
    if full.any():
        episodes = 1 + int((np.diff(data.time_s[full]) > EPISODE_S).sum())
        level = np.log(data.x[full])
        centre = float(np.quantile(level, 0.75))  # a minute that is saturated in part serves less
        sd = max(1.4826 * float(np.median(np.abs(level - centre))), 0.02)
        like += -0.5 * ((log_grid - centre) / (sd / math.sqrt(episodes) + 0.02)) ** 2
        told = True
    if data.latency is not None and (~full).sum() >= 30:
        bend = _latency_likelihood(data, ~full, grid, service, cv, assumed)
        like += bend
        told = told or float(bend[-1]) < float(bend.max()) - 3.0
    if math.isfinite(assumed.cpu_limit) and cpu is not None and cpu.mid > 0:
        like += _log_normal_tail((math.log(assumed.cpu_limit / cpu.mid) - log_grid) / 0.05)
        told = True
    weight = np.exp(like - like.max())
    return (grid, weight / weight.sum()), int(full.sum()), episodes, told


def _latency_likelihood(data: _Data, kept: NDArray[np.bool_], grid: F8, service: float, cv: float, a: Assumed) -> F8:
    """(G,) profile log-likelihood of capacity from the bend of the mean latency."""
    assert data.latency is not None
    thin = slice(None, None, max(1, math.ceil(int(kept.sum()) / THINNED)))
    x, latency = data.x[kept][thin], np.maximum(data.latency[kept][thin], 1e-9)
    share = np.ones(len(x)) if a.balancing == "random" else data.replicas[kept][thin]
    out = np.empty(len(grid))
    noise = np.log(latency / np.median(latency))
    rho1 = float(np.clip(np.corrcoef(noise[:-1], noise[1:])[0, 1], 0.0, 0.99)) if noise.std() > 0 else 0.0
    samples = min(max(len(x) * (1.0 - rho1) / (1.0 + rho1), 5.0), MOST_SAMPLES)
    for i, capacity in enumerate(grid):
        rho = np.minimum(x / capacity, 0.995)
        c = np.maximum(capacity * service * share, 1.0)
        wait = 0.5 * (1.0 + cv * cv) * rho ** (np.sqrt(2.0 * (c + 1.0)) - 1.0) / (c * (1.0 - rho))
        residual = np.log(latency) - np.log1p(wait)
        residual -= np.median(residual)  # the level is S itself
        out[i] = -samples * math.log(math.hypot(float(np.abs(residual).mean()), WAIT_ERROR))
    return out


def _log_normal_tail(z: F8) -> F8:
    """log P(Z < z) of a standard normal, without scipy; by its asymptote far out."""
    out = np.empty(len(z))
    for i, value in enumerate(z):
        v = float(value)
        inside = 0.5 * math.erfc(-v / math.sqrt(2.0))
        out[i] = math.log(inside) if inside > 1e-300 else -0.5 * v * v - math.log(-v * math.sqrt(2.0 * math.pi))
    return out


def _interval(grid: F8, weight: F8) -> Interval:
    cumulated = np.cumsum(weight)
    low, mid, high = (float(np.interp(q, cumulated, grid)) for q in (0.05, 0.5, 0.95))
    return Interval(min(low, mid * (1.0 - LEAST_ERROR)), mid, max(high, mid * (1.0 + LEAST_ERROR)))


def _start_delay(series: Series) -> tuple[float, float] | None:
    """(mean, cv) of the time from a raised spec.replicas until as many are ready; None under five rises.

    A rise counts when desired_replicas does not fall before it is met. Known to half a step of the file.
    """
    desired, ready = series.get("desired_replicas"), series.get("replicas")
    if desired is None or ready is None:
        return None
    waits = []
    for i in np.flatnonzero(np.diff(desired) > 0) + 1:
        if not series.known[i] or ready[i - 1] < desired[i - 1]:
            continue
        later = np.flatnonzero(ready[i:] >= desired[i])
        fell = np.flatnonzero(desired[i:] < desired[i])
        if len(later) and (not len(fell) or later[0] <= fell[0]):
            waits.append(float(series.time_s[i + later[0]] - series.time_s[i]) + 0.5 * series.step_s)
    if len(waits) < 5:
        return None
    mean = float(np.mean(waits))
    return mean, min(float(np.std(waits)) / max(mean, 1e-9), 2.0)


def _notes(series: Series, data: _Data, informed: bool, saturated: int, capacity: Interval) -> tuple[str, ...]:
    out = []
    if not informed:
        out.append(
            f"the data never come near saturation: a replica served {capacity.low:.4g}/s without loss, so its capacity "
            "is at least about that; how much more is not in the data. Measure at a higher load per replica (a load "
            "test, or fewer replicas for an hour)"
        )
    other = int((data.loss > SATURATED_LOSS).sum()) - saturated
    if other > 0:
        out.append(f"{other} samples with errors at a low load per replica: another cause than load, left out")
    if not series.metrics.keys() & {"errors_rps", "timeouts_rps"}:
        out.append("no errors_rps or timeouts_rps: offered is taken as served, saturation shows in latency only")
    holes = int((~series.known).sum())
    if holes:
        out.append(f"{holes} samples were missing and are left out")
    return tuple(out)


def _back_test(series: Series, assumed: Assumed) -> BackTest | None:
    """Fit on the first part, predict the rest; None when a part is too short."""
    edge = series.time_s[0] + FIT_SHARE * (series.time_s[-1] - series.time_s[0])
    try:
        fitted = calibrate(cut(series, -math.inf, edge), assumed, back_test=False)
        rest = cut(series, edge, math.inf)
        _clean(rest)
    except InputError:
        return None
    return BackTest(_cpu_error(rest, fitted), *_bad_shares(rest, fitted, assumed))


def _cpu_error(rest: Series, fitted: Calibrated) -> float | None:
    cpu, replicas = rest.get("cpu_cores"), rest.get("replicas")
    if cpu is None or replicas is None or fitted.cpu_s_per_request is None:
        return None
    kept = rest.known & (cpu > 0)
    predicted = fitted.cpu_s_per_request.mid * rest.served_rps + (fitted.idle_cpu or 0.0) * replicas
    return float(np.abs(predicted[kept] / cpu[kept] - 1.0).mean()) if kept.any() else None


def _bad_shares(rest: Series, fitted: Calibrated, assumed: Assumed) -> tuple[float | None, Interval | None]:
    """(measured, predicted) share of bad requests, through the simulator's own service tick."""
    measured, replicas = rest.bad_rps, rest.get("replicas")
    if measured is None or replicas is None:
        return None, None
    offered = rest.offered_rps
    parts = max(1, round(rest.step_s / TICK_S))
    dt = rest.step_s / parts
    arrivals = np.repeat(offered * dt, parts)
    held = np.repeat(replicas, parts)
    service = fitted.service_s or assumed.service_s or 0.1
    cv = fitted.service_cv if fitted.service_cv is not None else assumed.service_cv
    threshold = assumed.threshold_s or 4.0 * service
    column = 0 if "slow_rps" in rest.metrics else 1
    shares = []
    for capacity in (fitted.capacity_rps.high, fitted.capacity_rps.mid, fitted.capacity_rps.low):
        out = np.empty((len(arrivals), 4))
        given = (max(capacity * service, 1.0), service, cv, threshold, assumed.timeout_s)
        serve_series(load_tables(), arrivals, held, dt, (*given, float(BALANCING[assumed.balancing])), out)
        known = np.repeat(rest.known, parts)
        shares.append(float(out[known, column].sum() / max(arrivals[known].sum(), 1e-12)))
    total = float(measured[rest.known].sum() / max(offered[rest.known].sum(), 1e-12))
    return total, Interval(*shares)
