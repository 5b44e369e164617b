"""Spot prices over time: a user's CSV, or the history of Google Cloud's lists that ships."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from envs.errors import InputError
from envs.price_tables import DATA_DIR
from envs.quantities import parse_duration, parse_usd_per_h
from envs.spot import PricePoint
from envs.yaml_reader import decode_text, read_bytes

DAY = r"^\d{4}-\d{2}-\d{2}$"
HISTORY = "gcp_spot_history.csv.gz"
COLUMNS = ("at", "type", "usd_per_h")
MAX_POINTS = 200_000


def read_series(path: Path, horizon_s: float) -> list[PricePoint]:
    """Points of a CSV with columns at (from the start: seconds or 36h), type, usd_per_h and perhaps zone.

    Raises InputError that names the file and the line.
    """
    text = decode_text(read_bytes(path), file=path)
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise InputError(path, "spot prices", None, f"is no CSV: {error}") from None
    if len(rows) > MAX_POINTS:
        raise InputError(path, "spot prices", f"{len(rows):,} rows", f"at most {MAX_POINTS:,}")
    header = set(rows[0]) if rows else set()
    if missing := [c for c in COLUMNS if c not in header]:
        raise InputError(path, "header", ", ".join(missing), "is missing; the columns are at, type, usd_per_h, zone")
    return in_order((_point(row, i + 2, path) for i, row in enumerate(rows)), horizon_s)


def _point(row: dict[str, str], line: int, path: Path) -> PricePoint:
    if None in row or any(row[c] is None for c in COLUMNS):
        raise InputError(path, f"line {line}", None, "has not as many cells as the header")
    at_s = parse_duration(row["at"], file=path, field=f"line {line}: at")
    usd = parse_usd_per_h(row["usd_per_h"], file=path, field=f"line {line}: usd_per_h")
    return PricePoint(row["type"].strip(), at_s, usd, (row.get("zone") or "").strip())


def history_points(
    provider: str, region: str, day: date, horizon_s: float, *, at: tuple[Path | None, str]
) -> list[PricePoint]:
    """Google Cloud's spot list prices from `day` on, as seconds from it. Raises InputError for another provider."""
    if provider != "gcp":
        raise InputError(*at, str(day), f"only Google Cloud's history ships; give spot.prices for {provider}")
    with gzip.open(DATA_DIR / HISTORY, "rt", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["region"] == region]
    if not rows:
        raise InputError(*at, str(day), f"has no spot prices of {region}; give spot.prices")
    first = min(row["date"] for row in rows)
    if day.isoformat() < first:
        raise InputError(*at, str(day), f"the history of {region} starts on {first}")
    points = (
        PricePoint(row["type"], (date.fromisoformat(row["date"]) - day).days * 86_400.0, float(row["spot"]))
        for row in rows
    )
    return in_order(points, horizon_s)


def in_order(points: Iterable[PricePoint], horizon_s: float) -> list[PricePoint]:
    """By type and zone, then time; of what lies before the start only the last, and nothing after the end."""
    out: list[PricePoint] = []
    for p in sorted(points, key=lambda p: (p.instance_type, p.zone, p.from_s)):
        if out and p.from_s <= 0 and (out[-1].instance_type, out[-1].zone) == (p.instance_type, p.zone):
            out.pop()
        if p.from_s < horizon_s:
            out.append(p)
    return out
