"""The slow outer loop: each workload's violation price follows the burn of its error budget.

A Lagrange multiplier, learned online. Every `every_s` a workload that spends its budget faster than it may gets a
dearer violation, one that spends less a cheaper one, so that the SLO is met with no more than needed:

    log multiplier += gain x clip(log10(burn), -1, 1)      burn = bad share / allowed share

over what was seen with a half-life of HALF_LIFE_S; gain is UP where the budget burns too fast and DOWN where it is
left over, for a broken promise is worse than a dollar. Deterministic, and bounded to [1 / LEAST, MOST]. No update
before FEWEST requests and SOONEST_S of measurement; a burn within DEAD of 1 changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.plain import Array

HALF_LIFE_S = 86_400.0
UP, DOWN = 0.25, 0.05  # an hour: a burn of 10 makes the price tenfold in nine hours
MOST, LEAST = 30.0, 4.0
DEAD = 0.15  # decades
FEWEST = 1000.0
SOONEST_S = 3 * 3600.0
LEAST_SHARE = 1e-9


@dataclass(frozen=True, eq=False)
class Burn:
    """Per workload (W,): faded sums of requests and of bad ones, and the multiplier in force."""

    offered: Array
    bad: Array
    multiplier: Array
    seen_s: float = 0.0


def no_burn(workloads: int) -> Burn:
    """Nothing measured yet."""
    return Burn(np.zeros(workloads), np.zeros(workloads), np.ones(workloads))


def seen(burn: Burn, offered: Array, bad: Array, seconds: float) -> Burn:
    """The sums with one more stretch behind them; NaN counts as nothing measured."""
    fade = 0.5 ** (seconds / HALF_LIFE_S)
    known = np.isfinite(offered) & np.isfinite(bad)
    more = [np.where(known, x, 0.0) for x in (offered, bad)]
    return Burn(burn.offered * fade + more[0], burn.bad * fade + more[1], burn.multiplier, burn.seen_s + seconds)


def moved(burn: Burn, slo_target: Array) -> Burn:
    """The multipliers after one hourly step."""
    share = burn.bad / np.maximum(burn.offered, 1e-9)
    decades = np.log10(np.maximum(share, LEAST_SHARE) / np.maximum(1.0 - slo_target, LEAST_SHARE))
    ready = (burn.offered >= FEWEST) & (burn.seen_s >= SOONEST_S) & (np.abs(decades) > DEAD)
    gain = np.where(decades > 0.0, UP, DOWN)
    step = np.where(ready, gain * np.clip(decades, -1.0, 1.0), 0.0)
    multiplier = np.clip(burn.multiplier * np.exp(step), 1.0 / LEAST, MOST)
    return Burn(burn.offered, burn.bad, multiplier, burn.seen_s)
