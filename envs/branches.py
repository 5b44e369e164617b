"""What every set-point would have cost from here on: a batch of clusters, branched K times on the same future.

Load, start delays and faults do not depend on what a policy does, so the simulator answers for every set-point what
reality answers for one. Branch k is a copy of the whole batch, noise generators included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.plain import Array
from envs.rollout_batch import BAD
from envs.set_point_action import set_points
from envs.sim import flow as f
from envs.sim.cluster_sim import ClusterSim
from envs.workload_batch import WorkloadBatch, write_set_points


class Branches:
    """`copies` branches of a batch. Made once for its worlds; `costs` branches off where the batch stands then."""

    def __init__(self, batch: WorkloadBatch, copies: int) -> None:
        self.batch, self.copies = batch, copies
        self.sim = ClusterSim(batch.sim.cases * copies)
        self.sim.row_ticks = batch.sim.row_ticks

    def costs(self, actions: Array, marks_min: Sequence[int], *, hold_min: int) -> Array:
        """(K, N, marks) mean cost of a minute, from now to each of the marks (rising, minutes).

        actions (K, N, 2): row n of branch k holds actions[k, n] for hold_min, which is one of the marks, and the
        tuned base from there on. The batch itself is not touched.
        """
        self._take_state()
        batch, out, done = self.batch, [], 0
        self._write(actions)
        for mark in marks_min:
            load = batch.demand.arrivals(self.sim.tick, (mark - done) * batch.tick_minute)
            self.sim.run(np.tile(load, (self.copies, 1, 1)), threads=batch.threads)
            done = mark
            out.append(self._minute_cost(mark))
            if mark == hold_min:
                self._write(np.zeros_like(actions))
        return np.stack(out, axis=2)

    def _write(self, actions: Array) -> None:
        """Set-points (K, N, 2) of every row of every branch."""
        batch, (B, W) = self.batch, self.batch.shape
        held = [set_points(a, batch.prices) for a in actions]
        share, window_s = (np.concatenate(parts) for parts in zip(*held, strict=True))
        capacity = np.tile(batch.spec.capacity_rps, self.copies)
        write_set_points(self.sim, (self.copies * B, W), share * capacity, window_s)

    def _minute_cost(self, minutes: int) -> Array:
        """(K, N) mean cost of a minute so far."""
        batch = self.batch
        work = self.sim.arrays.rows.work[:, 0, :, : batch.shape[1]]
        usd = work[:, f.USD].reshape(self.copies, -1)
        bad = sum(work[:, k] for k in BAD).reshape(self.copies, -1)  # type: ignore[union-attr]
        minute = batch.minutes / minutes  # ideal and mean load are of a period
        return np.asarray((usd / batch.ideal_usd + batch.prices * bad / batch.mean_offered) * minute)

    def _take_state(self) -> None:
        """Every array of the batch's simulator as it is now, into each branch; the ledger starts at zero."""
        _copy(self.batch.sim.arrays, self.sim.arrays, self.copies)
        self.sim.tick = self.batch.sim.tick
        self.sim.clear_rows()


def _copy(source: Any, target: Any, copies: int) -> None:
    """Leaf by leaf; arrays without a cluster axis are shared tables and equal."""
    if isinstance(source, np.ndarray):
        if target.shape == source.shape:
            target[...] = source
        else:
            target.reshape(copies, *source.shape)[...] = source
        return
    for a, b in zip(source, target, strict=True):
        _copy(a, b, copies)
