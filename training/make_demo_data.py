"""Make the two load files that ship in envs/data/load from the training traces.

    python -m training.make_demo_data --load DIR [--out envs/data/load]

DIR holds NAME.csv.gz with columns timestamp (seconds from start), value, unit, and manifest.csv with
each trace's start_utc. Equal input gives equal bytes. See envs/data/load/NOTICE for the sources.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]

DAY_S = 86_400
BEIJING_S = 8 * 3600  # the KPIs' own clock: their dates begin at 16:00 UTC
# First day of each KPI's two weeks: a Monday, and the window with the fewest missing minutes among those
# whose mean is within 20 % of the whole trace's (the first five belong to one service and share their days).
KPI_MONDAY = {
    "71595dd7": "2017-04-10",
    "7c189dd3": "2017-04-10",
    "8bef9af9": "2017-04-10",
    "8c892e55": "2017-04-10",
    "55f8b8b8": "2017-04-17",
    "40e25005": "2017-07-17",
    "88cf3a77": "2017-05-22",
    "02e99bd4": "2017-06-05",
    "431a8542": "2017-06-05",
    "6a757df4": "2017-06-05",
    "9bd90500": "2017-06-12",
    "ffb82d38": "2017-06-05",
}
TWEETS = ("aapl", "amzn", "crm", "fb", "goog", "ko")
TWEETS_START = "2015-03-16"


def main() -> None:
    """Write aiops2018_demo.csv.gz and nab_demo.csv.gz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--load", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("envs/data/load"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    started = _starts(args.load / "manifest.csv")
    kpis = {f"kpi_{name}": _kpi_window(args.load, name, started) for name in KPI_MONDAY}
    _write(args.out / "aiops2018_demo.csv.gz", 60, kpis)
    tweets = {f"tweets_{name}": _tweet_window(args.load, name, started) for name in TWEETS}
    _write(args.out / "nab_demo.csv.gz", 300, tweets)


def _starts(manifest: Path) -> dict[str, float]:
    """Trace name -> Unix time of its first sample, where the manifest knows it."""
    with manifest.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["start_utc"]]
    return {row["trace"]: datetime.fromisoformat(row["start_utc"]).timestamp() for row in rows}


def _window(path: Path, start_s: float, *, step_s: int, days: int) -> F8:
    """Samples on the grid start_s + k * step_s, (days * DAY_S / step_s,); NaN where none was taken."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1))
    out = np.full(days * DAY_S // step_s, np.nan)
    index = np.floor((table[:, 0] - start_s) / step_s).astype(np.int64)
    inside = (index >= 0) & (index < len(out))
    out[index[inside]] = table[inside, 1]
    return out


def _kpi_window(load: Path, name: str, started: dict[str, float]) -> F8:
    """Fourteen days at 60 s from a Monday 00:00 of the KPI's own clock, scaled to mean 1000 and rounded."""
    trace = f"aiops2018_{name}"
    monday = datetime.fromisoformat(KPI_MONDAY[name]).replace(tzinfo=UTC).timestamp() - BEIJING_S
    values = _window(load / f"{trace}.csv.gz", monday - started[trace], step_s=60, days=14)
    return np.rint(values * (1000.0 / np.nanmean(values)))


def _tweet_window(load: Path, name: str, started: dict[str, float]) -> F8:
    """Thirty days at 300 s: mentions in each five minutes, as they were counted."""
    trace = f"nab_tweets_{name}"
    start = datetime.fromisoformat(TWEETS_START).replace(tzinfo=UTC).timestamp()
    values = _window(load / f"{trace}.csv.gz", start - started[trace], step_s=300, days=30)
    return np.rint(values * 300.0)


def _write(path: Path, step_s: int, columns: dict[str, F8]) -> None:
    """A wide CSV.gz: time_s, one column a series, an empty cell for a missing sample."""
    text = io.StringIO()
    text.write(",".join(["time_s", *columns]) + "\n")
    table = np.column_stack(list(columns.values()))
    for row, values in enumerate(table):
        cells = ["" if np.isnan(value) else str(int(value)) for value in values]
        text.write(",".join([str(row * step_s), *cells]) + "\n")
    packed = gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0)
    path.write_bytes(packed)
    shape = f"{len(table)} rows x {len(columns)} series"
    print(f"{path}: {shape}, {len(packed)} bytes, {np.isnan(table).sum()} missing")


if __name__ == "__main__":
    main()
