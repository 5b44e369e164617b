"""The YAML shape of a scenario's spot market, and from it the frozen SpotMarket with its price series."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

from pydantic import Field

from envs.cluster import ClusterSpec
from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.schema_types import Duration, Share
from envs.spot import PricePoint, SpotMarket
from envs.spot_series import DAY, history_points, read_series
from envs.workload_models import Strict, Text

_SPOT = SpotMarket()


class SpotDoc(Strict):
    """The spot market: how often nodes are taken back, and at what price. Only pools that buy spot feel it."""

    interruptions: bool = Field(_SPOT.interruptions, description="false: no node is ever taken back.")
    per_month: dict[str, Share] = Field(
        default_factory=dict,
        max_length=500,
        description="Share of nodes that is taken back in a month, by type or pattern (*: all others); default the "
        "AWS Spot Advisor's bucket, 7.5 % where there is none.",
    )
    hazard_factor: float = Field(
        _SPOT.hazard_factor, ge=0, le=10_000, description="Multiplies every hazard: 10 is a bad month (no unit)."
    )
    together: Share = Field(
        _SPOT.together, ge=0, le=1, description="Share of interruptions that come in shocks to a type in a zone."
    )
    shock_share: Share = Field(
        _SPOT.shock_share, gt=0, le=1, description="Share of the nodes of a type in a zone that a shock takes."
    )
    stockout: Duration = Field(
        _SPOT.stockout_s, ge=0, le=2_592_000, description="Mean time after a shock without new nodes of that kind."
    )
    notice: Duration = Field(_SPOT.notice_s, ge=0, le=3600, description="From the notice to the end of the node.")
    rebalance_lead: Duration = Field(
        _SPOT.rebalance_lead_s, ge=0, le=3600, description="Rebalance recommendations come so long before the notice."
    )
    prices: Text | None = Field(
        None, description="CSV of spot prices over time, relative to this file: at, type, usd_per_h and perhaps zone."
    )
    price_history: str | None = Field(
        None,
        pattern=DAY,
        description="Google Cloud: the day of its price history (2023-05-08 to 2025-06-05) that the start stands for.",
    )


def build_spot(
    doc: SpotDoc, cluster: ClusterSpec, *, provider: str, region: str, horizon_s: float, at: tuple[Path | None, Path]
) -> SpotMarket:
    """The frozen market; at = (the scenario's file, the folder that relative paths start at). Raises InputError."""
    file, folder = at
    types = [t.name for t in cluster.instance_types]
    points: Iterable[PricePoint] = ()
    if doc.prices is not None and doc.price_history is not None:
        raise InputError(file, "spot.prices", doc.prices, "give one of prices and price_history, not both")
    if doc.prices is not None:
        points = read_series(folder / doc.prices, horizon_s)
    elif doc.price_history is not None:
        points = history_points(
            provider, region, _day(doc.price_history, file), horizon_s, at=(file, "spot.price_history")
        )
    return SpotMarket(
        interruptions=doc.interruptions,
        per_month=_per_month(doc, types, file),
        hazard_factor=doc.hazard_factor,
        together=doc.together,
        shock_share=doc.shock_share,
        stockout_s=doc.stockout,
        notice_s=doc.notice,
        rebalance_lead_s=doc.rebalance_lead,
        series=tuple(p for p in points if p.instance_type in types),
    )


def _per_month(doc: SpotDoc, types: list[str], file: Path | None) -> tuple[tuple[str, float], ...]:
    """The share of each type that a pattern fits; the first pattern that does counts."""
    out: dict[str, float] = {}
    for pattern, share in doc.per_month.items():
        field = f"spot.per_month[{pattern}]"
        if share >= 1.0:
            raise InputError(file, field, share, "a share under 1: 50% of the nodes in a month, say")
        found = [name for name in types if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise InputError(file, field, None, did_you_mean(pattern, types, noun="instance type"))
        for name in found:
            out.setdefault(name, share)
    return tuple(out.items())


def _day(text: str, file: Path | None) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InputError(file, "spot.price_history", text, "is no day; write it as 2024-06-01") from None
