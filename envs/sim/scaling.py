"""Loops above the HPAs, each at its own period and phase: KEDA's polls, forecasts, schedules."""

from __future__ import annotations

import math
from typing import Any

from envs.controllers.forecast import forecast_floor, observe
from envs.controllers.hpa_pack import SIGNAL_RPS
from envs.controllers.keda import is_active, keda_poll
from envs.controllers.scaler_pack import LOOP_FORECAST, LOOP_KEDA
from envs.controllers.schedule import scheduled_floor
from envs.sim.jit import inner
from envs.sim.measure import RATE_AGE_S, distorted, external_value, shown_s
from envs.sim.replicas import set_replicas


@inner
def run_loop(s: Any, b: int, w: int, now_s: float, tick: int, row: int, tick_end_s: float) -> None:
    """One round of the loop of workload w."""
    kind = s.scalers.kind[b, w]
    if kind == LOOP_KEDA:
        _poll(s, b, w, now_s, tick, row, tick_end_s)
        return
    most = s.hpa.spec[b, w].max_replicas
    if kind == LOOP_FORECAST:
        at_s = shown_s(s, b, w, now_s)
        rps = distorted(external_value(s, b, w, SIGNAL_RPS, at_s, tick), s.faults.telemetry[b, w])
        observe(s.scalers, b, w, at_s - RATE_AGE_S, rps)
        floor = forecast_floor(s.scalers, b, w, most)
    else:
        floor = scheduled_floor(s.scalers.times, s.scalers.table[b, w], s.scalers.own_min[b, w], most, now_s)
    s.hpa.spec[b, w].min_replicas = floor  # the HPA's next sync obeys it


@inner
def _poll(s: Any, b: int, w: int, now_s: float, tick: int, row: int, tick_end_s: float) -> None:
    active, failed = False, False
    for t in range(s.scalers.keda[b, w].n_triggers):
        trigger = s.scalers.trigger[b, w, t]
        value = -1.0
        if trigger.wakes and trigger.table < 0:
            value = external_value(s, b, w, trigger.signal, shown_s(s, b, w, now_s), tick)
            value = distorted(value, s.faults.telemetry[b, w])
            if value >= 0.0 and trigger.signal != SIGNAL_RPS:  # items are whole: a fluid's last drop wakes nobody
                value = math.floor(value + 0.5)
        state = is_active(trigger, s.scalers.times, value, now_s)
        active = active or state > 0
        failed = failed or state < 0
    have = s.flow.spec_replicas[b, w]
    want = keda_poll(s.scalers.keda, b, w, now_s, have, active, failed)
    set_replicas(s, b, w, want, now_s, row, tick_end_s)
