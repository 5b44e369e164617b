"""What is paid below list price: discounts by type, and a commitment to spend by the hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Discount:
    """A share off the on-demand list price of the types that match. Spot prices have none.

    share: 0-1, so 0.1 is 10 % off. type_glob and provider: shell-style patterns ("m7*", "*").
    """

    share: float
    type_glob: str = "*"
    provider: str = "*"


@dataclass(frozen=True)
class CommittedUse:
    """A promise to spend `commitment_usd_per_h` every hour, used or not, at `discount` off on demand."""

    commitment_usd_per_h: float
    discount: float  # share 0-1 off the on-demand price
    years: int = 1


def discount_share(discounts: Sequence[Discount], *, provider: str, name: str) -> float:
    """The share off list of the first discount that matches; 0 if none does."""
    for discount in discounts:
        if fnmatchcase(provider, discount.provider) and fnmatchcase(name, discount.type_glob):
            return discount.share
    return 0.0


def bill_with_commitment(
    on_demand_usd: NDArray[np.float64],
    commitment_usd_per_h: float,
    discount: float,
    *,
    step_h: float | NDArray[np.float64] = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(bill, used, wasted), each (T,) USD a step, of on-demand spending (T,) USD a step.

    Rule of a savings plan: each step the commitment C = commitment_usd_per_h x step_h is paid, and
    buys usage at the discounted rate, so it covers up to C / (1 - discount) of on-demand spending:
    covered = min(on_demand, C / (1 - discount)); used = covered x (1 - discount); wasted = C - used;
    bill = C + on_demand - covered. Nothing is carried from step to step, so steps should be hours
    (the clouds' own accounting step) or shorter where spending is steady within the hour.
    discount is 0 <= discount < 1. Source: AWS Savings Plans user guide, "how Savings Plans apply".
    """
    import numpy as np

    if not 0 <= discount < 1:
        raise ValueError(f"discount {discount} is outside 0 <= discount < 1")
    committed = commitment_usd_per_h * step_h
    covered = np.minimum(on_demand_usd, committed / (1 - discount))
    used = np.minimum(covered * (1 - discount), committed)
    return committed + on_demand_usd - covered, used, committed - used


def commitment_terms(
    on_demand_usd: NDArray[np.float64], committed: CommittedUse, hours: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """saved, used and wasted (T,) USD of on-demand spending (T,) in steps of `hours`; bill = list - saved + wasted."""
    promise, off = committed.commitment_usd_per_h, committed.discount
    bill, used, wasted = bill_with_commitment(on_demand_usd, promise, off, step_h=hours)
    return {"saved": on_demand_usd + wasted - bill, "used": used, "wasted": wasted}
