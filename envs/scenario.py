"""Scenario = ClusterSpec + demand + prices + horizon. Frozen; the YAML edge is `envs.scenario_file`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from envs.cluster import ClusterSpec
from envs.discounts import CommittedUse
from envs.faults import Fault
from envs.intent import Intent
from envs.spot import SpotMarket
from envs.stack import Stack


@dataclass(frozen=True)
class TraceDemand:
    """Load read from a file. Multiplied by `scale`; shifted by `offset_s` into the trace."""

    path: Path
    column: str | None = None  # wide format: the column; long format: the value of the series column
    scale: float = 1.0
    mean_rps: float | None = None  # rescale so that the trace's mean is this
    offset_s: float = 0.0
    max_gap_s: float = 3600.0  # longer gaps are refused; shorter are interpolated and reported
    repeat: bool = False  # start over at the trace's end when the horizon is longer


@dataclass(frozen=True)
class GeneratedDemand:
    """A shape: base x daily x weekly x (1 + trend) x noise + bursts + flash crowds. See envs.demand."""

    base_rps: float = 100.0
    daily_amplitude: float = 0.5  # 0-1, share of base
    weekly_amplitude: float = 0.2
    peak_hour: float = 14.0
    trend_per_day: float = 0.0
    noise_cv: float = 0.05
    burst_per_day: float = 0.0
    burst_factor: float = 2.0
    burst_s: float = 600.0
    flash_at_s: tuple[float, ...] = ()
    flash_factor: float = 5.0
    flash_s: float = 1800.0
    dst_shift_at_s: float | None = None  # from here on the daily shape comes one hour earlier
    utc_offset_h: float = 0.0


@dataclass(frozen=True)
class NoiseModel:
    """Seeded variation below a trace's own step, the same for all stacks.

    Multiplicative lognormal AR(1) with `cv` and correlation time `tau_s`, on top of linear
    interpolation, and arrivals with variance `dispersion` x mean (1 = Poisson). The defaults are
    fitted on the one-minute training traces (docs/design/demand.md).
    """

    cv: float = 0.041
    tau_s: float = 1000.0
    dispersion: float = 2.0
    enabled: bool = True


@dataclass(frozen=True)
class Scenario:
    """Everything a what-if needs but the stack and the seed. demand[w] belongs to workloads[w]."""

    name: str
    cluster: ClusterSpec
    demand: tuple[TraceDemand | GeneratedDemand, ...]
    horizon_s: float
    tick_s: float = 15.0
    warmup_s: float = 3600.0  # simulated before time 0, at the load of time 0; not billed or judged
    noise: NoiseModel = field(default_factory=NoiseModel)
    intent: Intent = field(default_factory=Intent)
    faults: tuple[Fault, ...] = ()
    spot: SpotMarket = field(default_factory=SpotMarket)
    committed_use: CommittedUse | None = None  # on the bill only: no autoscaler knows of it
    stacks: tuple[Stack, ...] = ()  # run when the user names none
    provider: str = "aws"
    region: str = "us-east-1"
    start_utc: str = "2026-01-05T00:00:00Z"
    seed: int = 0
    description: str = ""
    source: Path | None = None  # the YAML it came from
