"""The load that a scenario offers: f(seed, workload name, tick), the same for every stack.

`Demand.pack` turns B scenarios into curves and noise; `.rates` and `.arrivals` read any chunk of ticks
from them. Below a trace's own step `.arrivals` adds seeded noise (`envs.load_curve.tick_noise`) and
counts with variance `dispersion` x mean, because a straight line between five-minute points flatters
whoever forecasts. docs/design/demand.md has the formulas and the fit.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.errors import InputError
from envs.load_curve import F8, Curve, generated_curve
from envs.load_noise import anchor_noise, bridge_weights, key_of, tick_noise
from envs.scenario import GeneratedDemand, NoiseModel, Scenario, TraceDemand
from envs.sim.arrivals import BLOCK, Load, fill_arrivals, fill_rates
from envs.trace_file import Trace, read_trace

SHORT_S = 1.0  # a trace may fall short of the horizon by rounding, not by more


@dataclass(frozen=True)
class Demand:
    """Load of B clusters x W workloads, packed. Ticks count from time 0; the warm-up has negative ones."""

    load: Load
    tick_s: float
    shape: tuple[int, int]  # (B, W)
    notes: tuple[str, ...]  # bridged holes of the traces in use, one sentence a column
    first_tick: int  # of the warm-up; before it and after last_tick there is no noise to read
    last_tick: int

    @classmethod
    def pack(cls, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> Demand:
        """scenarios[b] with seeds[b] is cluster b. Narrower clusters are padded with workloads without load.

        Raises InputError for a load file that cannot be used (or ends before the horizon), ValueError when
        ticks differ or the lengths do.
        """
        if len(scenarios) != len(seeds) or len({scenario.tick_s for scenario in scenarios}) != 1:
            raise ValueError("give one seed per scenario, and scenarios of one tick length")
        return _Packing(scenarios, seeds).demand()

    def rates(self, tick0: int, n: int) -> F8:
        """(B, n, W) mean offered requests/s (queue: items/s) over each of n ticks, without noise.

        Exact integral of the curve over the tick. A batch workload's curve is in units/h; the hour's
        units come in the tick that holds the top of the hour. Before time 0 the load stays as it is there.
        """
        batch, width = self.shape
        out = np.empty((batch, n, width))
        for b in range(batch):
            fill_rates(self.load, b, tick0, self.tick_s, out[b])
        return out

    def arrivals(self, tick0: int, n: int) -> F8:
        """(B, n, W) requests that arrive in each of n ticks: whole numbers, unless the noise is off.

        Equal bytes however the ticks are cut into calls; cheapest in multiples of 64 from a multiple of 64.
        Raises ValueError outside warm-up and horizon.
        """
        if n and (tick0 < self.first_tick or tick0 + n > self.last_tick):
            raise ValueError(f"ticks {tick0}..{tick0 + n} are outside {self.first_tick}..{self.last_tick}")
        out = self.rates(tick0, n)
        for b in range(self.shape[0] if n else 0):
            fill_arrivals(self.load, b, tick0, self.tick_s, out[b])
        return out


def rate_quantile(scenario: Scenario, w: int, q: float) -> float:
    """Load of workload w that a share q of the horizon's ticks stays at or below, requests/s, without noise.

    For a batch workload the hours' means count, in units/s, not the moments at which they are delivered.
    """
    only = dataclasses.replace(scenario.cluster, workloads=(scenario.cluster.workloads[w],))
    quiet = NoiseModel(enabled=False)
    alone = dataclasses.replace(
        scenario, cluster=only, demand=(scenario.demand[w],), warmup_s=0.0, noise=quiet
    )
    demand = Demand.pack([alone], [scenario.seed])
    rates = demand.rates(0, max(1, round(scenario.horizon_s / scenario.tick_s)))[0, :, 0]
    if only.workloads[0].kind == "batch":
        rates = rates[rates > 0] * scenario.tick_s / 3600.0
    return float(np.quantile(rates, q)) if len(rates) else 0.0


@functools.lru_cache(maxsize=32)
def _read(path: Path, max_gap_s: float, stamp: tuple[int, int]) -> Trace:
    del stamp  # only there so that an edited file is read again
    return read_trace(path, max_gap_s=max_gap_s)


def load_trace(demand: TraceDemand) -> Trace:
    """The trace behind a demand; read once per file and state of the file."""
    try:
        status = demand.path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        stamp = (0, 0)
    return _read(demand.path, demand.max_gap_s, stamp)


def _note_of(demand: TraceDemand, trace: Trace, horizon_s: float) -> str:
    """A sentence on the column's bridged holes within the horizon; empty when there are none."""
    name = demand.column or next(iter(trace.columns))
    lengths = [
        gap.length_s
        for gap in trace.gaps
        if gap.column in (None, name)
        and gap.start_s < demand.offset_s + horizon_s
        and gap.start_s + gap.length_s > demand.offset_s
    ]
    if not lengths:
        return ""
    count = "1 hole" if len(lengths) == 1 else f"{len(lengths)} holes"
    total, longest = (f"{length / 60:.4g} min" for length in (sum(lengths), max(lengths)))
    where = f"{demand.path.name}, column {name}"
    return f"{where}: {count}, {total} in all, the longest {longest}: bridged by straight lines"


class _Packing:
    """Collects curves (shared where equal) and per-workload numbers while a batch is packed."""

    def __init__(self, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> None:
        self.scenarios, self.seeds = scenarios, seeds
        self.tick_s = scenarios[0].tick_s
        self.first_tick = -max(math.ceil(s.warmup_s / s.tick_s) for s in scenarios)
        self.last_tick = max(math.ceil(s.horizon_s / s.tick_s) for s in scenarios)
        self.curves: list[Curve] = []
        self.known: dict[object, int] = {}
        self.notes: dict[str, None] = {}  # ordered, each once
        shape = (len(scenarios), max(len(s.cluster.workloads) for s in scenarios))
        self.curve = np.zeros(shape, np.int64)
        self.scale, self.offset_s = np.zeros(shape), np.zeros(shape)
        self.sigma, self.rho, self.dispersion = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.hourly = np.zeros(shape, np.bool_)
        self.key = np.zeros(shape, np.uint64)

    def demand(self) -> Demand:
        for b, (scenario, seed) in enumerate(zip(self.scenarios, self.seeds, strict=True)):
            if len(scenario.demand) != len(scenario.cluster.workloads):
                raise ValueError(f"{scenario.name}: give one demand per workload")
            for w in range(len(scenario.demand)):
                self._add(b, w, scenario, seed)
        rho, group = np.unique(np.append(self.rho, 0.0), return_inverse=True)
        blocks = range(self.first_tick // BLOCK, self.last_tick // BLOCK + 2)
        if self.sigma.any():
            anchors = anchor_noise(self.key, self.rho**BLOCK, blocks)
        else:
            anchors = np.zeros((*self.key.shape, len(blocks)))
        load = Load(
            knot_s=np.concatenate([c.time_s for c in self.curves] or [np.zeros(1)]),
            knot_value=np.concatenate([c.value for c in self.curves] or [np.zeros(1)]),
            first=np.cumsum([0, *(len(c.time_s) for c in self.curves)] if self.curves else [0, 1]),
            curve=self.curve,
            scale=self.scale,
            offset_s=self.offset_s,
            hourly=self.hourly,
            key=self.key,
            sigma=self.sigma,
            dispersion=self.dispersion,
            group=group[:-1].reshape(self.rho.shape).astype(np.int64),
            bridge=np.stack([bridge_weights(r, BLOCK) for r in rho]),
            anchors=anchors,
            anchor0=blocks.start,
        )
        return Demand(load, self.tick_s, self.curve.shape, tuple(self.notes), self.first_tick, self.last_tick)

    def _add(self, b: int, w: int, scenario: Scenario, seed: int) -> None:
        workload, demand, noise = scenario.cluster.workloads[w], scenario.demand[w], scenario.noise
        if isinstance(demand, TraceDemand):
            self.curve[b, w], self.scale[b, w] = self._traced(demand, scenario)
            self.offset_s[b, w] = demand.offset_s
            cv = noise.cv
        else:
            self.curve[b, w], self.scale[b, w] = self._generated(demand, scenario, seed, workload.name), 1.0
            cv = demand.noise_cv
        step_s = self.curves[self.curve[b, w]].step_s
        tick_cv, self.rho[b, w] = tick_noise(noise, cv=cv, step_s=step_s, tick_s=scenario.tick_s)
        self.sigma[b, w] = math.sqrt(math.log1p(tick_cv * tick_cv))
        self.dispersion[b, w] = noise.dispersion if noise.enabled else 0.0
        self.hourly[b, w] = workload.kind == "batch"
        self.key[b, w] = key_of(seed, workload.name)

    def _traced(self, demand: TraceDemand, scenario: Scenario) -> tuple[int, float]:
        """Curve number and scale."""
        trace = load_trace(demand)
        values = trace.column(demand.column)
        short = demand.offset_s + scenario.horizon_s - trace.duration_s
        if short > SHORT_S or demand.offset_s < 0:
            mend = f"the trace lasts {trace.duration_s:g} s; shorten horizon or offset_s by {short:g} s"
            if demand.offset_s < 0:
                mend = "start inside the trace: offset_s is 0 or more"
            needed = f"offset_s {demand.offset_s:g} + horizon {scenario.horizon_s:g} s"
            raise InputError(demand.path, "demand", needed, mend)
        scale = demand.scale
        if demand.mean_rps is not None:
            mean = float(np.trapezoid(values, trace.time_s) / trace.time_s[-1])
            if mean <= 0:
                raise InputError(
                    demand.path, f"column {demand.column}", 0.0, "a load of zeros has no mean to scale"
                )
            scale *= demand.mean_rps / mean
        note = _note_of(demand, trace, scenario.horizon_s)
        if note:
            self.notes[note] = None
        key = (demand.path, demand.column, demand.max_gap_s)
        return self._curve(key, lambda: Curve(trace.time_s, values, trace.step_s)), scale

    def _generated(self, demand: GeneratedDemand, scenario: Scenario, seed: int, name: str) -> int:
        place = (seed, name) if demand.burst_per_day > 0 else (0, "")
        horizon = max(s.horizon_s for s in self.scenarios)
        return self._curve(
            (demand, scenario.start_utc, place),
            lambda: generated_curve(
                demand, seed=seed, name=name, horizon_s=horizon, start_utc=scenario.start_utc
            ),
        )

    def _curve(self, key: object, make: Callable[[], Curve]) -> int:
        if key not in self.known:
            self.known[key] = len(self.curves)
            self.curves.append(make())
        return self.known[key]
