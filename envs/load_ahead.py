"""Arrivals of a batch of clusters, made some minutes ahead and read by every simulator of these clusters."""

from __future__ import annotations

import numpy as np

from envs.demand import Demand
from envs.plain import Array

AHEAD = 256  # ticks made at once, or a period if that is longer


class LoadAhead:
    """Blocks of whole periods from time 0 on; the warm-up is a block of its own."""

    def __init__(self, demand: Demand, period_ticks: int) -> None:
        self._demand, self.block_ticks = demand, -(-AHEAD // period_ticks) * period_ticks
        self._block, self._first = np.zeros((demand.shape[0], 0, demand.shape[1])), demand.first_tick

    def read(self, tick: int, n: int) -> Array:
        """(B, n, W) requests of n ticks, none of which crosses from one block to the next."""
        at = tick - self._first
        if not 0 <= at < self._block.shape[1]:
            room = self.block_ticks - tick % self.block_ticks if tick >= 0 else max(-tick, n)
            self._first, at = tick, 0
            self._block = self._demand.arrivals(tick, min(room, self._demand.last_tick - tick))
        return np.ascontiguousarray(self._block[:, at : at + n])

    def rest(self, tick: int) -> Array:
        """(B, n, W) from a tick of the block that was read last to the end of it."""
        return self.read(tick, self._first + self._block.shape[1] - tick)
