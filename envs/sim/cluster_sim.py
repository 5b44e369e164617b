"""A batch of simulated clusters: pack, run ticks, take rows and snapshots out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.hpas_in_force import HpasInForce
from envs.sim.pack import Case, hpa_defaults, hpa_specs, initial_replicas, pack
from envs.sim.pack_placement import node_groups, split_evenly
from envs.sim.tick import place_initial, run_ticks
from envs.sim.view import View
from envs.timeline import ROW_S

PARTS = 3  # of a batch for each thread: clusters differ in what they cost


class ClusterSim:
    """B clusters in lock step. All state is in `arrays` (envs.sim.world.Sim), with B leading.

    rows: how many 5-minute rows to keep; a row is overwritten (after `clear_rows`) once the ring is full.
    """

    def __init__(self, cases: Sequence[Case], *, rows: int = 1) -> None:
        if len({(case.scenario.tick_s, case.scenario.warmup_s) for case in cases}) != 1:
            raise ValueError("clusters of a batch share one tick length and one warm-up")
        self.cases = tuple(cases)
        self.tick_s = cases[0].scenario.tick_s
        self.row_ticks = max(round(ROW_S / self.tick_s), 1)
        self.warmup_ticks = int(np.ceil(cases[0].scenario.warmup_s / self.tick_s))
        self.arrays = pack(self.cases, rows=rows, warmup_ticks=self.warmup_ticks)
        self.view = View(self.arrays)
        width = self.arrays.flow.n_ready.shape[1]
        sizes = [len(case.scenario.cluster.workloads) for case in self.cases]
        self.hpas = [HpasInForce(s[:n]) for s, n in zip(hpa_specs(self.cases, width), sizes, strict=True)]
        self.hpa_defaults = hpa_defaults(self.cases, width)
        self.tick = -self.warmup_ticks
        self._helpers: ThreadPoolExecutor | None = None
        for b, case in enumerate(self.cases):
            self._populate(b, case)

    @property
    def batch(self) -> int:
        return len(self.cases)

    def _populate(self, b: int, case: Case) -> None:
        """Initial nodes of the home type of each pool, over its zones; replicas as the load asks."""
        groups = node_groups(case.scenario.cluster)
        for index, pool in enumerate(case.scenario.cluster.node_pools):
            counts = split_evenly(max(pool.initial_nodes, pool.min_nodes), len(pool.zones))
            for g, group in enumerate(groups):
                if group.pool == index and group.home:
                    count = counts[pool.zones.index(group.zone)]
                    place_initial(self.view, b, g, count, self.tick * self.tick_s)
        for i, w in enumerate(case.scenario.cluster.workloads):
            fixed = int(self.arrays.static_replicas[b, i])
            replicas = fixed if fixed >= 0 else initial_replicas(w, float(case.first_rps[i]))
            self.arrays.flow.spec_replicas[b, i] = replicas
        if len(case.scenario.cluster.workloads) < self.arrays.static_replicas.shape[1]:
            self.arrays.static_replicas[b, len(case.scenario.cluster.workloads) :] = 0

    def run(self, arrivals: NDArray[np.float64], *, threads: int = 1) -> None:
        """Advance by arrivals.shape[1] ticks; arrivals (B, n, W) requests per tick.

        Clusters are independent, so any number of threads gives the same bytes.
        """
        if min(threads, self.batch) == 1:
            run_ticks(self.view, arrivals, 0, self.batch, self.tick, self.row_ticks)
        else:
            self._share_out(arrivals, min(threads, self.batch))
        self.tick += arrivals.shape[1]
        if int(self.arrays.clock.overflow.sum()) > 0:
            raise RuntimeError("the simulator ran out of pod or node slots: a bug, since maxima bound both")

    def _share_out(self, arrivals: NDArray[np.float64], threads: int) -> None:
        """Run on this thread and threads - 1 kept ones; each takes the next few clusters when it is done with some."""
        if self._helpers is None:
            self._helpers = ThreadPoolExecutor(threads - 1)
        edges = np.linspace(0, self.batch, min(threads * PARTS, self.batch) + 1).astype(int).tolist()
        parts = iter(list(pairwise(edges)))  # whoever asks gets the next: one at a time, under the GIL

        def work() -> None:
            for first, last in parts:
                run_ticks(self.view, arrivals, first, last, self.tick, self.row_ticks)

        others = [self._helpers.submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            other.result()

    def clear_rows(self) -> None:
        """Zero the accumulators before the next chunk."""
        for array in self.arrays.rows:
            array[...] = 0.0

    def state_bytes(self) -> bytes:
        """Every array, concatenated: equal bytes mean equal states."""
        return b"".join(np.ascontiguousarray(a).tobytes() for a in _leaves(self.arrays))


def _leaves(node: Any) -> list[NDArray[Any]]:
    if isinstance(node, np.ndarray):
        return [node]
    return [leaf for child in node for leaf in _leaves(child)]
