"""The spot market of a scenario: how often nodes are taken back, together with which others, at what price.

docs/design/spot-and-faults.md has the sources and worked numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from envs.cluster import InstanceType

MONTH_H = 730.0
# Share of instances reclaimed in a month that stands for a bucket of the AWS Spot Advisor: its middle, and
# for the open one what makes it as wide as the others.
BUCKETS = {"<5%": 0.025, "5-10%": 0.075, "10-15%": 0.125, "15-20%": 0.175, ">20%": 0.225}
UNKNOWN_PER_MONTH = 0.075  # a type or provider without a figure: the second bucket, where most AWS types are


@dataclass(frozen=True)
class PricePoint:
    """From from_s on a type costs usd_per_h on the spot market, in a zone or ("") in all."""

    instance_type: str
    from_s: float
    usd_per_h: float
    zone: str = ""


@dataclass(frozen=True)
class SpotMarket:
    """Interruptions, stock-outs and prices. Only spot nodes feel it."""

    interruptions: bool = True
    per_month: tuple[tuple[str, float], ...] = ()  # type -> share reclaimed in a month, instead of the advisor's
    hazard_factor: float = 1.0  # multiplies every hazard
    together: float = 0.5  # share of interruptions that come in shocks to a (type, zone)
    shock_share: float = 0.5  # of the nodes of a (type, zone) that a shock takes
    shock_spread_s: float = 300.0  # over which it takes them
    stockout_s: float = 1800.0  # mean time without capacity after a shock
    notice_s: float = 120.0
    rebalance_lead_s: float = 300.0  # a rebalance recommendation comes so long before the notice
    series: tuple[PricePoint, ...] = ()  # by type and zone, then time; before the first: the type's price

    def hazard_per_h(self, machine: InstanceType) -> float:
        """Interruptions per hour of a node: -ln(1 - share reclaimed in a month) / 730."""
        share = dict(self.per_month).get(machine.name, machine.interrupted_per_month)
        share = UNKNOWN_PER_MONTH if share is None else share
        return self.hazard_factor * -math.log1p(-share) / MONTH_H


def bucket_share(bucket: str) -> float | None:
    """The share that a bucket of the advisor stands for; None where there is none."""
    return BUCKETS.get(bucket)
