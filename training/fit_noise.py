"""Fit the noise that a straight line between coarse points leaves out, on one-minute traces.

    python -m training.fit_noise --load DIR [--pattern 'aiops2018_*.csv.gz'] [--replay]

DIR holds CSV.gz files with columns timestamp (seconds), value, unit at one sample a minute. Per trace and
for lines between points of 5, 15, 30 and 60 minutes: minutes are compared with the line through the centres
of the means around them, relative to the local level; the covariance of five such residuals is taken
robustly in each of four level classes; all of them together are laid against `envs.scenario.NoiseModel`,

    covariance = A (D / m I + cv^2 G(tau)) A',

where A takes the minutes to the residuals, m is the level (requests a minute), D the dispersion and G the
covariance of one-minute means of an Ornstein-Uhlenbeck process. D has a meaning only where the values are
whole counts; elsewhere the term just takes up what grows as 1 / level. Prints the table of
docs/design/demand.md. --replay prints a second table: each trace of counts is thinned to means of five
minutes, played through `envs.demand.Demand` at ticks of one minute with the default NoiseModel, and what the
line misses of the played minutes is set beside what it missed of the real ones.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.cluster import ClusterSpec, Workload
from envs.demand import Demand
from envs.load_noise import averaged_share
from envs.scenario import NoiseModel, Scenario, TraceDemand

F8 = NDArray[np.float64]

MINUTE_S = 60.0
BINS = (5, 15, 30, 60)  # minutes between the points of the line
POINTS = 5  # residuals looked at in each bin
CLASSES = 4  # of level, by quantile
MAX_MISSING = 0.1  # share of a block's minutes that may be bridged
TAUS_S = tuple(float(tau) for tau in np.geomspace(10.0, 14_400.0, 80))


@dataclass(frozen=True)
class NoiseFit:
    """One trace's parameters and what the straight line missed of it."""

    trace: str
    blocks: int  # complete quarters of an hour
    whole: bool  # the values are counts
    cv: float
    tau_s: float
    dispersion: float  # NaN unless `whole`
    missed_sd: float  # robust deviation of a minute from the line, share of the level
    missed_p99: float  # one minute in a hundred is further above the line than this, share of the level
    error: float  # of the fitted covariances, root mean square, share of their diagonal


def main() -> None:
    """Print a row per trace, then medians and quartiles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--load", type=Path, required=True)
    parser.add_argument("--pattern", default="aiops2018_*.csv.gz")
    parser.add_argument("--replay", action="store_true")
    args = parser.parse_args()
    fits = [fit_trace(path) for path in sorted(args.load.glob(args.pattern))]
    print("| trace | blocks | counts | cv | tau_s | dispersion | missed sd | missed p99 | fit error |")
    print("|---|---|---|---|---|---|---|---|---|")
    for fit in fits:
        print(_row(fit))
    for label, q in (("quartile 1", 0.25), ("**median**", 0.5), ("quartile 3", 0.75)):
        print(f"| {label} | | | " + " | ".join(_quantiles(fits, q)) + " | |")
    if args.replay:
        print("\n| trace | missed sd, real | played | line alone | missed p99, real | played |")
        print("|---|---|---|---|---|---|")
        for fit in fits:
            if fit.whole:
                print(_replay_row(fit, read_minutes(args.load / f"{fit.trace}.csv.gz")))


def fit_trace(path: Path) -> NoiseFit:
    """Read one trace and fit it; only quarters of an hour without a missing or zero minute count."""
    minutes = read_minutes(path)
    known = minutes[~np.isnan(minutes)]
    return fit_minutes(path.name.split(".")[0], minutes, whole=bool(np.all(known == np.rint(known))))


def read_minutes(path: Path) -> F8:
    """One value a minute from the first sample on; NaN where none was taken."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1))
    minutes = np.full(int(table[-1, 0] // MINUTE_S) + 1, np.nan)
    minutes[(table[:, 0] // MINUTE_S).astype(np.int64)] = table[:, 1]
    return minutes


def missed_by_the_line(minutes: F8) -> F8:
    """Residuals from the line between five-minute means, share of the level, all in one row."""
    blocks = _blocks(minutes, BINS[0])
    return (blocks @ residual_operator(BINS[0]).T / blocks.mean(axis=1)[:, None]).ravel()


def replayed(minutes: F8, noise: NoiseModel) -> F8:
    """Requests a minute that Demand plays from the series' five-minute means."""
    known = minutes > 0
    filled = np.interp(np.arange(len(minutes)), np.flatnonzero(known), minutes[known])
    means = filled[: len(filled) // BINS[0] * BINS[0]].reshape(-1, BINS[0]).mean(axis=1) / MINUTE_S
    step_s = BINS[0] * MINUTE_S
    rows = "\n".join(f"{i * step_s},{value!r}" for i, value in enumerate(means.tolist()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "means.csv"
        path.write_text(f"time,load\n{rows}\n")
        cluster = ClusterSpec((Workload("replayed"),), (), ())
        horizon_s = (len(means) - 1) * step_s
        world = Scenario("replay", cluster, (TraceDemand(path),), horizon_s, tick_s=MINUTE_S, noise=noise)
        return Demand.pack([world], [0]).arrivals(0, int(horizon_s / MINUTE_S))[0, :, 0]


def fit_minutes(name: str, minutes: F8, *, whole: bool) -> NoiseFit:
    """Fit one series of one-minute values (NaN = missing; a zero minute counts as an outage)."""
    classes = [piece for width in BINS for piece in _classes(_blocks(minutes, width), residual_operator(width))]
    error, tau_s, cv2, white = min(_solve(classes, tau) for tau in TAUS_S)
    blocks = _blocks(minutes, BINS[0])
    missed = missed_by_the_line(minutes)
    return NoiseFit(
        trace=name,
        blocks=len(blocks),
        whole=whole,
        cv=math.sqrt(cv2),
        tau_s=tau_s if cv2 > 0 else math.nan,
        dispersion=white if whole else math.nan,
        missed_sd=robust_sd(missed),
        missed_p99=float(np.quantile(missed, 0.99)),
        error=error,
    )


def _blocks(minutes: F8, width: int) -> F8:
    """(N, 3 width): runs of three bins, few minutes missing (none for the shortest), those bridged."""
    known = minutes > 0
    at = np.arange(len(minutes))
    filled = np.interp(at, at[known], minutes[known])
    n = len(minutes) // width
    rows = np.arange(n - 2)[:, None] * width + np.arange(3 * width)
    missing = 1.0 - known[rows].mean(axis=1)
    return filled[rows[missing <= (0.0 if width == BINS[0] else MAX_MISSING)]]


def residual_operator(width: int) -> F8:
    """(POINTS, 3 width): minutes of three bins -> POINTS minutes of the middle bin less the line.

    The line joins the bins' means, which stand at their centres.
    """
    out = np.zeros((POINTS, 3 * width))
    for row, i in enumerate(np.linspace(0, width - 1, POINTS).round().astype(int)):
        offset = i - (width - 1) / 2
        share = abs(offset) / width
        other = 0 if offset < 0 else 2 * width
        out[row, width : 2 * width] -= (1.0 - share) / width
        out[row, other : other + width] -= share / width
        out[row, width + i] += 1.0
    return out


def minute_covariance(tau_s: float, n: int) -> F8:
    """(n, n) covariance of n successive one-minute means of a unit Ornstein-Uhlenbeck process."""
    x = MINUTE_S / tau_s
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    apart = (-math.expm1(-x) / x) ** 2 * np.exp(-x * (np.maximum(lag, 1) - 1))
    return np.where(lag == 0, averaged_share(x), apart)


def robust_sd(values: F8) -> float:
    """1.4826 x the median absolute deviation: the standard deviation of a normal, blind to outliers."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def robust_covariance(values: F8) -> F8:
    """(k, k) of values (N, k): (sd(u + v)^2 - sd(u - v)^2) / 4 with the robust sd.

    Source: Gnanadesikan, Kettenring 1972, "Robust estimates, residuals, and outlier detection".
    """
    k = values.shape[1]
    out = np.empty((k, k))
    for i in range(k):
        for j in range(i + 1):
            u, v = values[:, i], values[:, j]
            out[i, j] = out[j, i] = (robust_sd(u + v) ** 2 - robust_sd(u - v) ** 2) / 4.0
    return out


@dataclass(frozen=True)
class _Class:
    """Blocks of one bin width and one class of level."""

    covariance: F8  # (POINTS, POINTS) of residuals, share of level squared
    level: float  # harmonic mean
    operator: F8


def _classes(blocks: F8, operator: F8) -> list[_Class]:
    level = blocks.mean(axis=1)
    residuals = blocks @ operator.T / level[:, None]
    groups = np.array_split(np.argsort(level, kind="stable"), CLASSES)
    return [
        _Class(robust_covariance(residuals[rows]), float(1.0 / np.mean(1.0 / level[rows])), operator) for rows in groups
    ]


def _solve(classes: list[_Class], tau_s: float) -> tuple[float, float, float, float]:
    """(error, tau_s, cv^2, D): least squares over both, neither negative, each class weighted by its size."""
    slow_of = {c.operator.shape[1]: minute_covariance(tau_s, c.operator.shape[1]) for c in classes}
    target: list[F8] = []
    slow: list[F8] = []
    white: list[F8] = []
    for c in classes:
        size = float(np.trace(c.covariance)) / POINTS
        target.append((c.covariance / size).ravel())
        slow.append((c.operator @ slow_of[c.operator.shape[1]] @ c.operator.T / size).ravel())
        white.append((c.operator @ c.operator.T / c.level / size).ravel())
    aim = np.concatenate(target)
    design = np.column_stack([np.concatenate(slow), np.concatenate(white)])
    candidates: list[F8] = [np.asarray(np.linalg.lstsq(design, aim, rcond=None)[0], np.float64)]
    for only in (0, 1):
        column = design[:, only]
        alone = np.zeros(2)
        alone[only] = max(float(column @ aim) / float(column @ column), 0.0)
        candidates.append(alone)
    scored = [(float(np.sqrt(np.mean((design @ c - aim) ** 2))), c) for c in candidates if (c >= 0).all()]
    error, best = min(scored, key=lambda pair: pair[0])
    return error, tau_s, float(best[0]), float(best[1])


def _row(fit: NoiseFit) -> str:
    dispersion = f"{fit.dispersion:.2f}" if fit.whole else "-"
    fitted = f"{fit.cv:.4f} | {fit.tau_s:.0f} | {dispersion}"
    missed = f"{100 * fit.missed_sd:.2f} % | {100 * fit.missed_p99:.1f} %"
    counts = "yes" if fit.whole else "no"
    return f"| {fit.trace} | {fit.blocks} | {counts} | {fitted} | {missed} | {fit.error:.3f} |"


def _replay_row(fit: NoiseFit, minutes: F8) -> str:
    played = missed_by_the_line(replayed(minutes, NoiseModel()))
    line = missed_by_the_line(replayed(minutes, NoiseModel(enabled=False)))
    sds = " | ".join(f"{100 * sd:.2f} %" for sd in (fit.missed_sd, robust_sd(played), robust_sd(line)))
    p99s = f"{100 * fit.missed_p99:.1f} % | {100 * float(np.quantile(played, 0.99)):.1f} %"
    return f"| {fit.trace} | {sds} | {p99s} |"


def _quantiles(fits: list[NoiseFit], q: float) -> list[str]:
    def of(field: str) -> float:
        return float(np.nanquantile([getattr(fit, field) for fit in fits], q))

    missed = [f"{100 * of('missed_sd'):.2f} %", f"{100 * of('missed_p99'):.1f} %"]
    return [f"{of('cv'):.4f}", f"{of('tau_s'):.0f}", f"{of('dispersion'):.2f}", *missed]


if __name__ == "__main__":
    main()
