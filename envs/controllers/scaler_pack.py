"""What stands above a workload's HPA, as arrays: KEDA's ScaledObject, a forecast, a schedule.

Axes: B clusters, W workloads, T triggers, S seasons, H bins of history, E bins of the error histogram. Each
such workload has a loop of its own period and phase (`envs.sim.scaling` runs it). Workloads without one
cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.controllers.hpa_pack import SIGNALS
from envs.cron_windows import windows
from envs.stack import ForecastSpec, KedaSpec, KedaTrigger, ReplicaScaler, ScheduleSpec

NO_LOOP, LOOP_KEDA, LOOP_FORECAST, LOOP_SCHEDULE = 0, 1, 2, 3
ABSENT = -1
FALLBACKS = {"static": 0, "currentReplicas": 1, "currentReplicasIfHigher": 2, "currentReplicasIfLower": 3}
SCHEDULE_PERIOD_S = 60.0  # cron's resolution
BIN_S = 300.0  # of the forecast's history
DAY_BINS, WEEK_BINS = 288, 2016
SEASONS = 3  # as now, as yesterday, as a week ago
ERROR_BINS, ERROR_STEP = 256, 0.02  # of log(measured / forecast), centred on 0

SCALED_OBJECT = np.dtype(
    [
        ("n_triggers", np.int32),
        ("min_replicas", np.int32),
        ("idle_replicas", np.int32),  # ABSENT = not set
        ("fallback_replicas", np.int32),  # ABSENT = no fallback
        ("fallback_failures", np.int32),
        ("fallback_behavior", np.int8),
        ("cooldown_s", np.float64),
        ("initial_cooldown_s", np.float64),
        ("created_s", np.float64),
        ("last_active_s", np.float64),  # -inf = never; the one field that changes
    ],
    align=True,
)
TRIGGER = np.dtype(
    [
        ("signal", np.int8),  # SIGNAL_* of the HPA; the HPA's metric of the same index asks for replicas
        ("wakes", np.int8),  # 0 = cpu and memory, which never count as active
        ("table", np.int32),  # of the timetable that a cron trigger follows; ABSENT = none
        ("activation", np.float64),
        ("failures", np.int32),  # in a row; changes
    ],
    align=True,
)
FORECAST = np.dtype(
    [
        ("lead_bins", np.int32),
        ("quantile", np.float64),
        ("capacity", np.float64),  # requests/s that a replica should carry
        ("bin", np.int64),  # number of the open bin; ABSENT before the first sample. This and below change
        ("closed", np.int64),  # bins closed so far
        ("peak", np.float64),  # highest sample of the open bin; ABSENT = none
    ],
    align=True,
)
SCORE = np.dtype([("n", np.float64), ("error", np.float64)], align=True)
Records = NDArray[np.void]


class Timetables(NamedTuple):
    """Step functions of time, shared by all clusters; table i has steps first[i] .. first[i + 1] - 1."""

    first: NDArray[np.int64]
    from_s: NDArray[np.float64]
    value: NDArray[np.float64]


class Scalers(NamedTuple):
    """Loops above the HPAs: their configuration and memory."""

    kind: NDArray[np.int8]  # (B, W) NO_LOOP ...
    n_loops: NDArray[np.int32]  # (B,)
    loops: NDArray[np.int32]  # (B, W) workloads that have one
    period_s: NDArray[np.float64]  # (B, W)
    next_s: NDArray[np.float64]  # (B, W) time of the next round
    own_min: NDArray[np.int32]  # (B, W) minReplicas without forecast or schedule
    keda: Records  # (B, W) SCALED_OBJECT
    trigger: Records  # (B, W, T) TRIGGER
    table: NDArray[np.int32]  # (B, W) of a schedule's floor
    times: Timetables
    forecast: Records  # (B, W) FORECAST
    history: NDArray[np.float64]  # (B, W, H) highest requests/s of each bin; ABSENT = not known
    errors: NDArray[np.float64]  # (B, W, S, E) weights
    score: Records  # (B, W, S) SCORE


@dataclass(frozen=True)
class ScalerCase:
    """What one cluster tells: per workload its scaler, capacity, lead and schedule floors."""

    scalers: Sequence[ReplicaScaler | None]  # None, HpaSpec and StaticReplicas have no loop
    min_replicas: Sequence[int]
    capacity_rps: Sequence[float]
    lead_s: Sequence[float]  # start delay + boot delay
    floors: Sequence[Sequence[int]]  # per workload, of each window of its schedule
    batch: Sequence[bool]  # kind batch: its load is not forecast
    start_utc: str
    span_s: tuple[float, float]  # first and last second simulated
    seed: int


class _Timetables:
    """Collects step functions while a batch is packed; equal ones are kept once."""

    def __init__(self) -> None:
        self.known: dict[tuple[tuple[float, float], ...], int] = {}

    def add(self, steps: tuple[tuple[float, float], ...]) -> int:
        return self.known.setdefault(steps, len(self.known))

    def arrays(self) -> Timetables:
        lengths = [len(steps) for steps in self.known] or [1]
        flat = np.array([step for steps in self.known for step in steps] or [(-math.inf, 0.0)])
        return Timetables(np.cumsum([0, *lengths]), np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1]))


def steps_of(spans: Sequence[tuple[tuple[tuple[float, ...], ...], float]]) -> tuple[tuple[float, float], ...]:
    """(windows, value) pairs as (from_s, value) steps: the largest value of the open windows, else 0."""
    edges = sorted({-math.inf, *(edge for opened, _ in spans for span in opened for edge in span)} - {math.inf})
    steps: list[tuple[float, float]] = []
    for at in edges:
        open_now = [value for opened, value in spans if any(a <= at < z for a, z in opened)]
        value = float(max(open_now, default=0.0))
        if not steps or steps[-1][1] != value:
            steps.append((at, value))
    return tuple(steps)


def pack_scalers(cases: Sequence[ScalerCase], own_min: NDArray[np.int32]) -> Scalers:
    """Arrays of a batch. own_min (B, W): minReplicas of the packed HPAs; rows may have more workloads than a case."""
    B, W = own_min.shape
    every = [scaler for case in cases for scaler in case.scalers]
    T = max([1, *(len(s.triggers) for s in every if isinstance(s, KedaSpec))])
    bins = most_bins(cases)
    tables = _Timetables()
    out = Scalers(
        kind=np.zeros((B, W), np.int8),
        n_loops=np.zeros(B, np.int32),
        loops=np.zeros((B, W), np.int32),
        period_s=np.ones((B, W)),
        next_s=np.full((B, W), np.inf),
        own_min=own_min.copy(),
        keda=np.zeros((B, W), SCALED_OBJECT),
        trigger=np.zeros((B, W, T), TRIGGER),
        table=np.full((B, W), ABSENT, np.int32),
        times=tables.arrays(),
        forecast=np.zeros((B, W), FORECAST),
        history=np.full((B, W, bins), float(ABSENT)),
        errors=np.zeros((B, W, SEASONS, ERROR_BINS if bins > 1 else 1)),
        score=np.zeros((B, W, SEASONS), SCORE),
    )
    for b, case in enumerate(cases):
        phase = np.asarray(np.random.default_rng([case.seed, 104]).random(W))
        for w, scaler in enumerate(case.scalers):
            _write(out, (b, w), case, scaler, float(phase[w]), tables)
    return out._replace(times=tables.arrays())


def most_bins(cases: Sequence[ScalerCase]) -> int:
    """Length of the history ring: a week and the longest lead; 1 where nobody forecasts."""
    leads = [
        lead_bins(scaler, case.lead_s[w])
        for case in cases
        for w, scaler in enumerate(case.scalers)
        if isinstance(scaler, ForecastSpec)
    ]
    return WEEK_BINS + max(leads) + 16 if leads else 1


def lead_bins(spec: ForecastSpec, lead_s: float) -> int:
    """Bins that a decision has to look ahead: the lead and the wait for the next round."""
    return math.ceil(((lead_s if spec.lead_s is None else spec.lead_s) + spec.period_s) / BIN_S)


def _write(
    out: Scalers, at: tuple[int, int], case: ScalerCase, scaler: ReplicaScaler | None, phase: float, tables: _Timetables
) -> None:
    b, w = at
    if isinstance(scaler, KedaSpec):
        kind, period = LOOP_KEDA, scaler.polling_interval_s
        _write_keda(out, at, case, scaler, tables)
    elif isinstance(scaler, ForecastSpec) and not case.batch[w]:
        kind, period = LOOP_FORECAST, scaler.period_s
        capacity = case.capacity_rps[w] * scaler.utilization
        lead = lead_bins(scaler, case.lead_s[w])
        out.forecast[at] = (lead, scaler.quantile, capacity, ABSENT, 0, ABSENT)
    elif isinstance(scaler, ScheduleSpec):
        kind, period, phase = LOOP_SCHEDULE, SCHEDULE_PERIOD_S, 0.0
        out.table[at] = tables.add(_floor_steps(scaler, case, w))
    else:
        return
    out.kind[at], out.period_s[at] = kind, period
    first = case.span_s[0] + phase * period
    out.next_s[at] = math.ceil(case.span_s[0] / period) * period if kind == LOOP_SCHEDULE else first
    out.loops[b, out.n_loops[b]] = w
    out.n_loops[b] += 1


def _floor_steps(spec: ScheduleSpec, case: ScalerCase, w: int) -> tuple[tuple[float, float], ...]:
    spans = [
        (windows(window.start, window.end, window.timezone, case.start_utc, case.span_s), float(floor))
        for window, floor in zip(spec.windows, case.floors[w], strict=True)
    ]
    return steps_of(spans)


def _write_keda(out: Scalers, at: tuple[int, int], case: ScalerCase, spec: KedaSpec, tables: _Timetables) -> None:
    fallback = spec.fallback
    low = case.min_replicas[at[1]] if spec.min_replicas is None else spec.min_replicas
    out.keda[at] = (
        len(spec.triggers),
        low,
        ABSENT if spec.idle_replicas is None else spec.idle_replicas,
        ABSENT if fallback is None else fallback.replicas,
        0 if fallback is None else fallback.failure_threshold,
        0 if fallback is None else FALLBACKS[fallback.behavior],
        spec.cooldown_s,
        spec.initial_cooldown_s,
        case.span_s[0],
        -math.inf,
    )
    for t, trigger in enumerate(spec.triggers):
        table = tables.add(_cron_steps(trigger, case)) if trigger.type == "cron" else ABSENT
        wakes = trigger.type not in ("cpu", "memory")
        out.trigger[(*at, t)] = (SIGNALS[trigger.metric.name], wakes, table, trigger.activation, 0)


def _cron_steps(trigger: KedaTrigger, case: ScalerCase) -> tuple[tuple[float, float], ...]:
    opened = windows(str(trigger.start), str(trigger.end), trigger.timezone, case.start_utc, case.span_s)
    return steps_of([(opened, float(trigger.desired_replicas or 0))])


def loop_events(scalers: Scalers, tick_s: float) -> int:
    """Most rounds of all loops of one cluster in one tick."""
    rounds = np.where(scalers.kind != NO_LOOP, np.ceil(tick_s / scalers.period_s) + 1, 0)
    return int(rounds.sum(axis=1).max(initial=0))
