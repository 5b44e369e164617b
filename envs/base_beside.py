"""The tuned base on the worlds of a batch, in clusters of its own: what a policy is paid for being better than.

Nothing that the policy does reaches it. So it begins as a copy of the batch, reads the same load, and runs as far ahead
as load has been made: some sixty periods at once, cluster by cluster, where a policy has to be asked after each.
The bytes are those of a batch that is stepped with action 0.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from envs.sim.cluster_sim import ClusterSim
from envs.sim.flow import empty_rows
from envs.sim.view import View
from envs.workload_batch import Terms, WorkloadBatch, write_set_points

PAGE = 4096  # bytes
LARGE = 1 << 20  # from so many bytes on an array is copied page by page


class BaseBeside:
    """Made where the batch is at time 0; `next_terms` after each of its steps."""

    def __init__(self, batch: WorkloadBatch) -> None:
        row_ticks = batch.tick_minute * batch.minutes
        self.batch, self.sim = batch, _copied(batch.sim, batch.load.block_ticks // row_ticks)
        self.sim.row_ticks = row_ticks
        write_set_points(self.sim, batch.shape, batch.share * batch.spec.capacity_rps, batch.window_s)
        self._period = 0

    def next_terms(self) -> Terms:
        """What the batch's last period cost here."""
        first, work = self._period * self.sim.row_ticks, self.sim.arrays.rows.work
        if first >= self.sim.tick:
            self.sim.clear_rows()
            self.sim.run(self.batch.load.rest(first), threads=self.batch.threads)
        self._period += 1
        return self.batch.terms(work[:, (self._period - 1) % work.shape[1]])


def _copied(sim: ClusterSim, rows: int) -> ClusterSim:
    """The same clusters with state of their own, and so many rows of the ledger."""
    other, flow = copy(sim), sim.arrays.flow
    B, W, G = flow.bound_in_group.shape
    other.arrays = type(sim.arrays)(
        **{name: part if name == "tables" else _own(part) for name, part in sim.arrays._asdict().items()}
    )._replace(rows=empty_rows(B, rows, W, G))
    other.view = View(other.arrays, like=sim.view)
    return other


def _own(node: Any) -> Any:
    """Leaf by leaf. Pages that nobody wrote to yet stay untouched: the first touch costs more than the copy."""
    if not isinstance(node, np.ndarray):
        return type(node)(*(_own(child) for child in node))
    whole = node.nbytes // PAGE * PAGE
    if whole < LARGE:
        return node.copy()
    out = np.zeros(node.shape, node.dtype)  # not zeros_like, which writes to all of it
    old, new = (a.reshape(-1).view(np.uint8) for a in (node, out))
    pages = old[:whole].reshape(-1, PAGE)
    written = pages.view(np.bool_).any(axis=1)
    new[:whole].reshape(-1, PAGE)[written] = pages[written]
    new[whole:] = old[whole:]
    return out
