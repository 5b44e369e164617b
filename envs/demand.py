"""The load that a scenario offers: f(seed, workload name, tick), the same for every stack.

`Demand.pack` turns B scenarios into curves and noise; `.rates` and `.arrivals` read any chunk of ticks
from them. Below a trace's own step `.arrivals` adds seeded noise (`envs.load_noise.tick_noise`) and
overdispersion, because a straight line between five-minute points flatters whoever forecasts. Items of
queues and batches are counted, with variance `dispersion` x mean; of services only the Poisson mean
behind the count is drawn, as the service model has the Poisson scatter of its requests in it.
docs/design/demand.md has the formulas and the fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.errors import InputError
from envs.fault_draws import windows
from envs.load_curve import F8, Curve, generated_curve, traced_curve
from envs.load_noise import anchor_noise, bridge_weights, key_of, tick_noise
from envs.scenario import GeneratedDemand, NoiseModel, Scenario, TraceDemand
from envs.sim.arrivals import BLOCK, Load, fill_arrivals, fill_rates
from envs.trace_file import Trace, read_trace_once

SHORT_S = 1.0  # a trace may fall short of the horizon by rounding, not by more


@dataclass(frozen=True)
class Crowd:
    """Load times `factor` within [start_s, end_s) for some workloads of cluster b: a flash crowd."""

    b: int
    workloads: tuple[int, ...]
    start_s: float
    end_s: float
    factor: float

    def join(self, rates: F8, tick0: int, tick_s: float) -> None:
        """Multiply rates (B, n, W) of ticks tick0.. by the factor, over the part of a tick that the crowd is there."""
        first = max(math.floor(self.start_s / tick_s), tick0)
        last = min(math.ceil(self.end_s / tick_s), tick0 + rates.shape[1])
        if first >= last:
            return
        start = np.arange(first, last) * tick_s
        share = (np.minimum(start + tick_s, self.end_s) - np.maximum(start, self.start_s)) / tick_s
        boost = 1.0 + (self.factor - 1.0) * share
        rates[self.b, first - tick0 : last - tick0, list(self.workloads)] *= boost


def crowds_of(scenario: Scenario, seed: int, b: int) -> tuple[Crowd, ...]:
    """The flash crowds among a scenario's faults."""
    names = [w.name for w in scenario.cluster.workloads]
    return tuple(
        Crowd(b, tuple(i for i, n in enumerate(names) if not f.workloads or n in f.workloads), start, end, f.factor)
        for f in scenario.faults
        if f.kind == "flash-crowd"
        for start, end in windows(f, seed, scenario.horizon_s)
    )


@dataclass(frozen=True)
class Demand:
    """Load of B clusters x W workloads, packed. Ticks count from time 0; the warm-up has negative ones."""

    load: Load
    tick_s: float
    shape: tuple[int, int]  # (B, W)
    notes: tuple[str, ...]  # bridged holes of the traces in use, one sentence a file
    first_tick: int  # of the warm-up; before it and after last_tick there is no noise to read
    last_tick: int
    crowds: tuple[Crowd, ...] = ()

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
        fill_rates(self.load, tick0, self.tick_s, out)
        for crowd in self.crowds:
            crowd.join(out, tick0, self.tick_s)
        return out

    def arrivals(self, tick0: int, n: int) -> F8:
        """(B, n, W) requests that arrive in each of n ticks, expected numbers for kind service.

        Of queues and batches whole numbers with variance `dispersion` x mean, unless the noise is off. Of a
        service a real number with variance (`dispersion` - 1) x mean: Poisson scatter around it is left to
        `envs.sim.service`, and would bring the variance to `dispersion` x mean.
        Equal bytes however the ticks are cut into calls; cheapest in multiples of 64 from a multiple of 64.
        Raises ValueError outside warm-up and horizon.
        """
        if n and (tick0 < self.first_tick or tick0 + n > self.last_tick):
            raise ValueError(f"ticks {tick0}..{tick0 + n} are outside {self.first_tick}..{self.last_tick}")
        out = self.rates(tick0, n)
        if n:
            fill_arrivals(self.load, tick0, self.tick_s, out)
        return out


def rate_quantile(scenario: Scenario, w: int, q: float, *, during: Sequence[Sequence[float]] | None = None) -> float:
    """Load of workload w that a share q of the horizon's ticks stays at or below, requests/s, without noise.

    during: only the ticks that start within one of these (from_s, to_s). For a batch workload the hours'
    means count, in units/s, not the moments at which they are delivered.
    """
    only = dataclasses.replace(scenario.cluster, workloads=(scenario.cluster.workloads[w],))
    quiet = NoiseModel(enabled=False)
    alone = dataclasses.replace(
        scenario, cluster=only, demand=(scenario.demand[w],), warmup_s=0.0, noise=quiet, faults=()
    )
    demand = Demand.pack([alone], [scenario.seed])
    rates = demand.rates(0, max(1, round(scenario.horizon_s / scenario.tick_s)))[0, :, 0]
    if during is not None:
        at_s = np.arange(len(rates)) * scenario.tick_s
        rates = rates[np.any([(a <= at_s) & (at_s < z) for a, z in during] or [at_s < 0], axis=0)]
    if only.workloads[0].kind == "batch":
        rates = rates[rates > 0] * scenario.tick_s / 3600.0
    return float(np.quantile(rates, q)) if len(rates) else 0.0


def _check_cover(demand: TraceDemand, trace: Trace, horizon_s: float) -> None:
    short = demand.offset_s + horizon_s - trace.duration_s
    needed = f"offset {demand.offset_s:g} s + horizon {horizon_s:g} s"
    if demand.offset_s < 0:
        raise InputError(demand.path, "demand", needed, "start inside the trace: the offset is 0 or more")
    if short > SHORT_S and not demand.repeat:
        mend = f"it lasts {trace.duration_s:g} s: lower days or offset by {short:g} s or set repeat: true"
        raise InputError(demand.path, "demand", needed, mend)


def _mean_of(demand: TraceDemand, trace: Trace) -> float:
    """Mean of the column over the whole trace."""
    mean = float(np.trapezoid(trace.column(demand.column), trace.time_s) / trace.time_s[-1])
    if mean <= 0:
        mend = "a load of zeros cannot be scaled to a mean; take another column"
        raise InputError(demand.path, f"column {demand.column}", 0.0, mend)
    return mean


def _holes(demand: TraceDemand, trace: Trace, horizon_s: float) -> list[float]:
    """Lengths of the bridged holes of the demand's column within the horizon, seconds."""
    name = demand.column or next(iter(trace.columns))
    stop = math.inf if demand.repeat else demand.offset_s + horizon_s
    start = 0.0 if demand.repeat else demand.offset_s
    return [
        gap.length_s
        for gap in trace.gaps
        if gap.column in (None, name) and gap.start_s < stop and gap.start_s + gap.length_s > start
    ]


def _note(path: Path, holes: dict[str | None, list[float]]) -> str:
    """A sentence on one file's bridged holes; column -> their lengths in seconds."""
    lengths = [length for column in holes.values() for length in column]
    worst = max(holes, key=lambda column: max(holes[column]))
    count = "1 hole" if len(lengths) == 1 else f"{len(lengths)} holes"
    total, longest = (f"{length / 60:.4g} min" for length in (sum(lengths), max(lengths)))
    where = f" in {len(holes)} columns" if len(holes) > 1 else ""
    place = f" ({worst})" if worst else ""
    sizes = f"{total} in all, the longest {longest}{place}"
    return f"{path.name}: {count}{where}, {sizes}: bridged by straight lines"


class _Packing:
    """Collects curves (shared where equal) and per-workload numbers while a batch is packed."""

    def __init__(self, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> None:
        self.scenarios, self.seeds = scenarios, seeds
        self.tick_s = scenarios[0].tick_s
        self.first_tick = -max(math.ceil(s.warmup_s / s.tick_s) for s in scenarios)
        self.last_tick = max(math.ceil(s.horizon_s / s.tick_s) for s in scenarios)
        self.curves: list[Curve] = []
        self.known: dict[object, int] = {}
        self.means: dict[object, float] = {}  # of the traces that are scaled to one
        self.holes: dict[Path, dict[str | None, list[float]]] = {}
        shape = (len(scenarios), max(len(s.cluster.workloads) for s in scenarios))
        self.curve = np.zeros(shape, np.int64)
        self.scale, self.offset_s = np.zeros(shape), np.zeros(shape)
        self.sigma, self.rho, self.dispersion = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.hourly, self.counted = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self.key = np.zeros(shape, np.uint64)

    def demand(self) -> Demand:
        for b, (scenario, seed) in enumerate(zip(self.scenarios, self.seeds, strict=True)):
            if len(scenario.demand) != len(scenario.cluster.workloads):
                raise ValueError(f"{scenario.name}: give one demand per workload")
            for w in range(len(scenario.demand)):
                self._add(b, w, scenario, seed)
        notes = tuple(_note(path, holes) for path, holes in self.holes.items())
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
            counted=self.counted,
            group=group[:-1].reshape(self.rho.shape).astype(np.int64),
            bridge=np.stack([bridge_weights(r, BLOCK) for r in rho]),
            anchors=anchors,
            anchor0=blocks.start,
        )
        crowds = [crowds_of(s, seed, b) for b, (s, seed) in enumerate(zip(self.scenarios, self.seeds, strict=True))]
        every = tuple(crowd for some in crowds for crowd in some)
        return Demand(load, self.tick_s, self.curve.shape, notes, self.first_tick, self.last_tick, every)

    def _add(self, b: int, w: int, scenario: Scenario, seed: int) -> None:
        workload, demand, noise = scenario.cluster.workloads[w], scenario.demand[w], scenario.noise
        if isinstance(demand, TraceDemand):
            self.curve[b, w], self.scale[b, w], self.offset_s[b, w] = self._traced(demand, scenario)
            cv = noise.cv
        else:
            self.curve[b, w], self.scale[b, w] = self._generated(demand, scenario, seed, workload.name), 1.0
            cv = demand.noise_cv
        step_s = self.curves[self.curve[b, w]].step_s
        tick_cv, self.rho[b, w] = tick_noise(noise, cv=cv, step_s=step_s, tick_s=scenario.tick_s)
        self.sigma[b, w] = math.sqrt(math.log1p(tick_cv * tick_cv))
        self.dispersion[b, w] = noise.dispersion if noise.enabled else 0.0
        self.hourly[b, w] = workload.kind == "batch"
        self.counted[b, w] = workload.kind != "service"
        self.key[b, w] = key_of(seed, workload.name)

    def _traced(self, demand: TraceDemand, scenario: Scenario) -> tuple[int, float, float]:
        """Curve number, scale and offset_s; a repeated trace is laid out as often as the horizon needs."""
        trace = read_trace_once(demand.path, max_gap_s=demand.max_gap_s)
        _check_cover(demand, trace, scenario.horizon_s)
        holes = _holes(demand, trace, scenario.horizon_s)
        if holes:
            self.holes.setdefault(demand.path, {})[demand.column] = holes
        offset_s = demand.offset_s % trace.duration_s if demand.repeat else demand.offset_s
        copies = 1 + math.ceil(scenario.horizon_s / trace.duration_s) if demand.repeat else 1
        key = (demand.path, demand.column, demand.max_gap_s, copies)
        number = self._curve(key, lambda: traced_curve(trace, demand.column, copies=copies))
        return number, self._scale(demand, trace, key), offset_s

    def _scale(self, demand: TraceDemand, trace: Trace, curve: object) -> float:
        """Factor on the trace's values; `mean_rps` is the mean over the whole trace."""
        if demand.mean_rps is None:
            return demand.scale
        if curve not in self.means:
            self.means[curve] = _mean_of(demand, trace)
        return demand.scale * demand.mean_rps / self.means[curve]

    def _generated(self, demand: GeneratedDemand, scenario: Scenario, seed: int, name: str) -> int:
        place = (seed, name) if demand.burst_per_day > 0 else (0, "")
        horizon = max(s.horizon_s for s in self.scenarios)
        return self._curve(
            (demand, scenario.start_utc, place),
            lambda: generated_curve(demand, seed=seed, name=name, horizon_s=horizon, start_utc=scenario.start_utc),
        )

    def _curve(self, key: object, make: Callable[[], Curve]) -> int:
        if key not in self.known:
            self.known[key] = len(self.curves)
            self.curves.append(make())
        return self.known[key]
