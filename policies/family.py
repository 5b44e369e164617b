"""Which variant of the network, for which workload: the family that replay chooses from.

A variant is the same network told one violation price, on the tuned base of that price with its share scaled by a
factor. What each would have cost is known from the workload's own past, since load does not depend on what we do, and
it does not depend on what the workload's violations really cost: only the choice does. So one replay serves every
price. The choice is `policies.replay`'s: least log loss over the best, plus the prior of the training fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from envs.plain import Array

PRICES = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)  # that the network is told
SCALINGS = (0.8, 0.9, 1.0, 1.12, 1.25)  # of the base share
VARIANTS = tuple(product(PRICES, SCALINGS))


def told_prices(workloads: int) -> Array:
    """(W, V) what each variant is told."""
    return np.tile(np.array([price for price, _ in VARIANTS]), (workloads, 1))


def variant_scalings() -> Array:
    """(V,)"""
    return np.array([scaling for _, scaling in VARIANTS])


def prior_at(prices: Array, nodes: Sequence[float], regret: Sequence[Sequence[float]]) -> Array:
    """(W, V) mean log-regret of the variants on the training fleet at each workload's price.

    regret (P, V) at the prices `nodes`; linear in the price's logarithm, held at the ends.
    """
    table, at = np.array(regret, np.float64), np.log(np.maximum(prices, 1e-9))
    return np.stack([np.interp(at, np.log(nodes), table[:, v]) for v in range(table.shape[1])], axis=1)
