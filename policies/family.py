"""What replay chooses from, for each workload: variants of the network, and constants.

A variant is the same network told one violation price, on the tuned base of that price with its share scaled by a
factor. A constant is a set-point held for good: where load is noise, there is nothing to foresee, and a network that
tries costs more than it saves. What each would have cost is known from the workload's own past, since load does not
depend on what we do, and it does not depend on what the workload's violations really cost: only the choice does. So
one replay serves every price. The choice is `policies.replay`'s: least log loss over the best, plus the prior of the
training fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from envs.plain import Array, read_only
from envs.set_point_action import Steer
from envs.setpoints import SHARES

PRICES = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)  # that the network is told
SCALINGS = (0.8, 0.9, 1.0, 1.12, 1.25)  # of the base share
VARIANTS = tuple(product(PRICES, SCALINGS))
CONSTANTS = tuple(product(SHARES[::2], (60.0, 300.0, 1800.0)))  # (share, scale-down window in s)
MEMBERS = len(VARIANTS) + len(CONSTANTS)


def _family() -> Steer:
    told, scaling = np.array(VARIANTS).T
    share, window = np.array(CONSTANTS).T
    network, held = np.full(len(VARIANTS), np.nan), np.ones(len(CONSTANTS))
    columns = [told, 100.0 * held], [scaling, held], [network, share], [network, window]
    return Steer(*(read_only(np.concatenate(c)) for c in columns))


FAMILY = _family()  # (MEMBERS,) each: the variants, then the constants


def members(chosen: NDArray[np.int64]) -> Steer:
    """Those with these indices into the family."""
    return Steer(*(column[chosen] for column in FAMILY))


def prior_at(prices: Array, nodes: Sequence[float], regret: Sequence[Sequence[float]]) -> Array:
    """(W, MEMBERS) mean log-regret of the family on the training fleet at each workload's price.

    regret (P, MEMBERS) at the prices `nodes`; linear in the price's logarithm, held at the ends.
    """
    table, at = np.array(regret, np.float64), np.log(np.maximum(prices, 1e-9))
    return np.stack([np.interp(at, np.log(nodes), table[:, v]) for v in range(table.shape[1])], axis=1)
