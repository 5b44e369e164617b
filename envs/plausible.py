"""Which measured rates cannot be: more good answers than the replicas that stood there could give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.plain import Array

MARGIN = 1.5  # on the capacity of a replica, which nobody knows to the percent
FEW_BAD = 0.05  # share of bad requests above which replicas may well be asked for more than they can do
LOOK_BACK_MIN = 15  # a rate is of replicas that stood there in one of so many last minutes


def impossible(rates: Array, bad_share: Array, most_ready: Array, capacity_rps: Array) -> NDArray[np.bool_]:
    """(W,) whether a rate is garbage: far more than all replicas can serve, and yet hardly a request was bad.

    most_ready: most replicas of the last LOOK_BACK_MIN minutes; none: not judged. Rates that are too low cannot be
    told from a calm hour.
    """
    judged = (most_ready > 0) & (bad_share < FEW_BAD)
    return np.asarray(judged & (rates > MARGIN * most_ready * capacity_rps))
