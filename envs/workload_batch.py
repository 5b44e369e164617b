"""Whole batches of simulated clusters, stepped one control period at a time: what every environment is made of.

A row is a service of some cluster: N = B x W. Rows share their cluster's nodes, scheduler and node autoscaler. A step
writes each row's set-points into its HPA, simulates one period in compiled code, and gives back the ledger's terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.demand import Demand
from envs.load_ahead import LoadAhead
from envs.load_past import LoadPast
from envs.observation import RowEncoder, RowSignals, RowSpec, row_spec
from envs.plain import Array
from envs.recorded_past import past_rates
from envs.replay_run import cheapest
from envs.rollout import case_at
from envs.rollout_batch import BAD
from envs.scenario import Scenario
from envs.set_point_action import base_set_points, moved
from envs.sim import flow as f
from envs.sim.cluster_sim import ClusterSim
from envs.sim.measure import measure_clusters
from envs.stack import Stack
from envs.steered import steered

MINUTE_S = 60.0


@dataclass(frozen=True)
class Terms:
    """Ledger terms of one period, (N,) each, in the order of the rows."""

    usd: Array  # node dollars by max(request, usage)
    offered: Array  # requests
    bad: Array
    cost: Array  # usd / ideal + violation price x bad share, both over the mean load of the row


class WorkloadBatch:
    """scenarios[b] under stacks[b]; all of equal width, tick and warm-up, services only.

    prices (N,): each row's violation price, an input of the policy. Equal arguments give equal bytes, whatever
    the number of threads.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        stacks: Sequence[Stack],
        prices: Array,
        *,
        period_s: float = MINUTE_S,
        threads: int = 1,
    ) -> None:
        self.threads, self.prices = threads, prices
        self.shape = (len(scenarios), len(scenarios[0].cluster.workloads))
        both = [
            steered(s, stack, prices.reshape(self.shape)[b])
            for b, (s, stack) in enumerate(zip(scenarios, stacks, strict=True))
        ]
        self.scenarios = [replace(s, cluster=cluster) for s, (cluster, _) in zip(scenarios, both, strict=True)]
        self.stacks = [stack for _, stack in both]
        self.minutes = max(round(period_s / MINUTE_S), 1)
        self.workloads = [w for s in self.scenarios for w in s.cluster.workloads]
        self.spec = row_spec(self.workloads)
        self._encode = RowEncoder(self.spec, prices)
        self._start()

    def _start(self) -> None:
        seeds = [s.seed for s in self.scenarios]
        self.demand = Demand.pack(self.scenarios, seeds)
        first = replace(self.demand, crowds=()).rates(0, 1)[:, 0]
        both = zip(self.scenarios, self.stacks, first, strict=True)
        self.sim = ClusterSim([case_at(s, stack, s.seed, rps) for s, stack, rps in both])
        self.sim.row_ticks = 1 << 40  # one row gathers the whole period
        self.tick_minute = round(MINUTE_S / self.sim.tick_s)
        self.total = round(self.scenarios[0].horizon_s / self.sim.tick_s)
        self.load = LoadAhead(self.demand, self.tick_minute * self.minutes)
        N = len(self.workloads)
        self.past = LoadPast(N, lambda minutes: past_rates(self.demand, self.scenarios, minutes))
        self._seen = np.full((self.shape[0], 5, self.sim.arrays.flow.n_ready.shape[1]), np.nan)
        self.base = base_set_points(self.prices)
        self.share, self.window_s = moved(self.base, np.zeros((N, 2)))
        self._scale()
        if self.sim.tick < 0:
            self.sim.run(self.load.read(self.sim.tick, -self.sim.tick), threads=self.threads)
        self._measure()

    def _scale(self) -> None:
        """What cost is measured in: each row's own mean load of a period, and the dollars of its CPU time."""
        step = max(self.total // 288, 1)
        rates = np.concatenate([self.demand.rates(t, 1) for t in range(0, self.total, step)], axis=1)
        period_s = self.minutes * MINUTE_S
        self.mean_offered = np.maximum(rates.mean(axis=1).ravel() * period_s, 1e-9)
        usd_s = [cheapest(s.cluster, w).usd_per_core_h for s in self.scenarios for w in s.cluster.workloads]
        cpu_s = np.array([w.service.cpu_s_per_request for w in self.workloads])
        self.ideal_usd = self.mean_offered * cpu_s * np.array(usd_s) / 3600.0

    @property
    def done(self) -> bool:
        """Whether the horizon is over."""
        return self.sim.tick >= self.total

    def signals(self) -> RowSignals:
        """What was measured of every row just now."""
        flow = self.sim.arrays.flow
        W = self.shape[1]
        seen = self._seen[:, :, :W]
        return RowSignals(
            offered_rps=seen[:, 2].ravel(),
            past_rps=self.past.read(),
            ready=_rows(flow.n_ready, W),
            desired=_rows(flow.spec_replicas, W),
            starting=_rows(flow.n_starting, W),
            pending=_rows(flow.n_pending, W),
            error_share=seen[:, 3].ravel(),
            hpa_target=self.share * self.spec.capacity_rps,
            window_down_s=self.window_s,
            violation_price=self.prices,
        )

    def observe(self) -> NDArray[np.float32]:
        """(N, len(AUTOSCALING)) of that, as a policy sees it."""
        return self._encode(self.signals())

    def step(self, action: Array) -> Terms:
        """Set-points for the next period around each row's own base, and what it cost. action (N, 2): see
        envs.set_point_action.
        """
        return self.hold(*moved(self.base, action))

    def hold(self, share: Array, window_s: Array) -> Terms:
        """The same at explicit set-points (N,): share of a replica's capacity, scale-down window."""
        self.share, self.window_s = share, window_s
        write_set_points(self.sim, self.shape, share * self.spec.capacity_rps, window_s)
        self.run_period()
        return self.terms(self.sim.arrays.rows.work[:, 0])

    def run_period(self) -> None:
        """Simulate one control period; its ledger is in row 0 of the simulator."""
        self.sim.clear_rows()
        for _ in range(self.minutes):
            if not self.done:
                self.sim.run(self.load.read(self.sim.tick, self.tick_minute), threads=self.threads)
                self._measure()
                self.past.push(self._seen[:, 2, : self.shape[1]].ravel())

    def row(self, i: int) -> tuple[RowSignals, RowSpec]:
        """One row's signals and specification, as arrays of one."""
        seen = self.signals()
        return RowSignals(*(x[i : i + 1] for x in seen)), RowSpec(*(x[i : i + 1] for x in self.spec))

    def frame(self, i: int) -> dict[str, float]:
        """Load, capacity and the cluster's nodes in the last period, for a picture."""
        b, w = divmod(i, self.shape[1])
        work = self.sim.arrays.rows.work[b, 0]
        seconds = self.minutes * MINUTE_S
        ready = float(work[f.READY_S, w]) / seconds
        return {
            "load": float(work[f.OFFERED, w]) / seconds,
            "capacity": ready * float(self.spec.capacity_rps[i]),
            "nodes": float(self.sim.arrays.clock.live_nodes[b].sum()),
        }

    def _measure(self) -> None:
        measure_clusters(self.sim.view, self.sim.tick * self.sim.tick_s, self.sim.tick, self._seen)

    def terms(self, work: Array) -> Terms:
        """Of a period whose ledger is work (B, fields, >= W)."""
        work = work[:, :, : self.shape[1]]
        usd = work[:, f.USD].ravel()
        bad = sum(work[:, k] for k in BAD).ravel()  # type: ignore[union-attr]
        cost = usd / self.ideal_usd + self.prices * bad / self.mean_offered
        return Terms(usd, work[:, f.OFFERED].ravel(), bad, cost)


def write_set_points(sim: ClusterSim, shape: tuple[int, int], target_rps: Array, window_s: Array) -> None:
    """As `envs.sim.exchange.apply_plan` would, for all rows at once: targets are held in milli-requests/s."""
    W, hpa = shape[1], sim.arrays.hpa
    hpa.metric["target"][:, :W, 0] = np.maximum(np.rint(target_rps * 1000.0), 1.0).reshape(shape)
    hpa.spec["window_down_us"][:, :W] = np.rint(window_s * 1e6).reshape(shape)


def _rows(values: Any, width: int) -> Array:
    return np.asarray(values[:, :width].ravel(), np.float64)
