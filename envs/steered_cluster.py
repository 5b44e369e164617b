"""One simulated cluster, steered by plans through the same two doors as a live one: Snapshot out, Plan in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.action import Plan, Targets
from envs.observation import encode
from envs.rollout_batch import BAD
from envs.scenario import Scenario
from envs.sim import flow as f
from envs.sim.exchange import apply_plan, take_snapshot
from envs.snapshot import Snapshot
from envs.spot_share import spot_ceilings, spot_nodes
from envs.stack import Stack
from envs.workload_batch import WorkloadBatch


class SteeredCluster:
    """A WorkloadBatch of one cluster whose every field can be set, not only the services' set-points."""

    def __init__(self, scenario: Scenario, stack: Stack, price: float, *, period_s: float) -> None:
        self.batch = WorkloadBatch([scenario], [stack], np.full(len(scenario.demand), price), period_s=period_s)
        self.spec = self.batch.scenarios[0].cluster
        self.intent = replace(scenario.intent, violation_price=price)

    @property
    def done(self) -> bool:
        """Whether the horizon is over."""
        return self.batch.done

    def snapshot(self) -> Snapshot:
        """What could be measured now."""
        return replace(take_snapshot(self.batch.sim), past_rps=self.batch.past.read())

    def observe(self) -> NDArray[np.float32]:
        """(W, F) of envs.observation.FEATURES."""
        return encode((self.snapshot(),), self.spec, self.intent)

    def observe_pools(self) -> NDArray[np.float32]:
        """(8,) of all pools together, see NodePoolsEnv."""
        now = self.snapshot()
        p, w, spec = now.pools, now.workloads, self.spec.node_pools[0]
        spot, nodes = spot_nodes(self.spec, p)
        desired = max(float(w.desired.value.sum()), 1.0)
        seen = [
            p.requested_cpu.value.sum() / max(p.allocatable_cpu.value.sum(), 1e-9),
            p.requested_memory_gib.value.sum() / max(p.allocatable_memory_gib.value.sum(), 1e-9),
            p.nodes_booting.value.sum() / max(nodes, 1.0),
            float(w.pending.value.sum()) / desired,
            float(np.mean([x.start_delay_s for x in self.spec.workloads])) / 240.0,
            spec.boot_delay_s / 240.0,
            np.log10(max(self.intent.violation_price, 1.0)) / 4.0,
            spot / max(nodes, 1.0),
        ]
        return np.clip(np.nan_to_num(seen), 0.0, 4.0).astype(np.float32)

    def floor_for(self, pool: int, action: float) -> float:
        """Nodes to keep: those that the requests fill x up to 2; none at -1."""
        now, spec = self.snapshot().pools, self.spec.node_pools[pool]
        each = now.allocatable_cpu.value[pool] / max(now.nodes_ready.value[pool], 1.0)
        filled = now.requested_cpu.value[pool] / max(each, 1e-9)
        return float(np.clip(np.ceil(filled * (1.0 + action)), spec.min_nodes, spec.max_nodes))

    def ceilings_for(self, action: float) -> list[float]:
        """Most nodes of each pool at a spot share of 0 (action -1) to 1."""
        return spot_ceilings(self.spec, self.snapshot().pools, 0.5 * (1.0 + min(max(action, -1.0), 1.0)))

    def step(self, targets: Targets) -> dict[str, Any]:
        """One control period under this plan; the ledger's terms of the whole cluster."""
        apply_plan(self.batch.sim, Plan(targets))
        self.batch.run_period()
        rows = self.batch.sim.arrays.rows
        work = rows.work[0, 0].sum(axis=1)
        usd, offered = float(rows.group[0, 0, f.NODE_USD].sum()), float(work[f.OFFERED])
        bad = float(sum(work[k] for k in BAD))
        ideal = float(self.batch.ideal_usd.sum())
        cost = usd / ideal + self.intent.violation_price * bad / float(self.batch.mean_offered.sum())
        return {"usd": usd, "offered": offered, "bad": bad, "cost": cost}

    def frame(self) -> dict[str, float]:
        """Sums over the cluster, for a picture."""
        W = len(self.spec.workloads)
        frames = [self.batch.frame(i) for i in range(W)]
        usd = float(self.batch.sim.arrays.rows.group[0, 0, f.NODE_USD].sum())
        both = {name: sum(x[name] for x in frames) for name in ("load", "capacity")}
        return both | {"nodes": frames[0]["nodes"], "usd": usd}
