"""The price of a violation follows the burn of the error budget, slowly, within bounds, and comes to rest."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.burn import LEAST, MOST, moved, no_burn, seen

HOUR_S = 3600.0


def run(share_at: object, slo: float, hours: int) -> list[float]:
    """Multipliers of one workload whose bad share is a function of its multiplier."""
    burn, out = no_burn(1), []
    for _ in range(hours):
        bad = 1e5 * float(share_at(burn.multiplier[0]))  # type: ignore[operator]
        burn = moved(seen(burn, np.array([1e5]), np.array([bad]), HOUR_S), np.array([slo]))
        out.append(float(burn.multiplier[0]))
    return out


@settings(max_examples=60, deadline=None)
@given(st.floats(0.2, 1.5), st.floats(-0.8, 0.8), st.sampled_from([0.99, 0.999, 0.9999]))
def test_it_settles_where_the_budget_is_just_spent(slope: float, off: float, slo: float) -> None:
    """A bad share that falls as a power of the price: any slope, any start within what the bounds can correct."""
    reach = slope * np.log10(MOST if off > 0 else LEAST)

    def share(multiplier: float) -> float:
        return (1.0 - slo) * 10.0 ** (np.clip(off, -0.8 * reach, 0.8 * reach) - slope * np.log10(multiplier))

    path = run(share, slo, 24 * 21)
    assert abs(np.log10(share(path[-1]) / (1.0 - slo))) < 0.3
    assert max(path[-48:]) / min(path[-48:]) < 1.6


def test_what_no_price_mends_stays_within_bounds() -> None:
    assert run(lambda m: 0.5, 0.999, 24 * 10)[-1] == MOST
    assert run(lambda m: 0.0, 0.999, 24 * 30)[-1] == 1.0 / LEAST


def test_nothing_moves_before_there_is_evidence_or_near_the_target() -> None:
    burn = moved(seen(no_burn(1), np.array([1e5]), np.array([5e4]), HOUR_S), np.array([0.999]))
    assert burn.multiplier[0] == 1.0
    assert run(lambda m: 0.00105, 0.999, 48)[-1] == 1.0


def test_an_hour_without_measurement_counts_as_nothing() -> None:
    burn = seen(no_burn(2), np.array([10.0, np.nan]), np.array([1.0, np.nan]), HOUR_S)
    assert burn.offered.tolist() == [10.0, 0.0]
