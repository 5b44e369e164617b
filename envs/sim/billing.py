"""Node dollars of a tick, and who caused them. The split is exact: its terms add up to the bill.

For node group g: dollars = node-seconds x price / 3600. A node's price is CPU money and memory
money in the ratio of `money.cpu_share`. Workload w pays max(requested, used) of each; what it used
is `used`, what it only reserved is `requested unused`, and what nobody reserved is `idle` (system
reservations and DaemonSets count as idle). Where use above requests overlaps other pods' unused
requests, all shares shrink in proportion so that nothing is charged twice.
"""

from __future__ import annotations

from typing import Any

from envs.sim.flow import IDLE_USD, NODE_S, NODE_USD, UNUSED_USD, USD, USED_USD
from envs.sim.jit import inner


@inner
def bill_tick(s: Any, b: int, row: int, dt: float) -> None:
    """Charge one tick to row `row`."""
    groups = s.groups.price.shape[1]
    for g in range(groups):
        node_s = s.clock.live_nodes[b, g] * dt + s.clock.node_extra_s[b, g]
        if node_s > 0.0:
            _bill_group(s, b, g, row, dt, node_s)


@inner
def _bill_group(s: Any, b: int, g: int, row: int, dt: float, node_s: float) -> None:
    usd = node_s * s.groups.price[b, g] / 3600.0
    cpu_usd = usd * s.money.cpu_share[b, g] * dt / (node_s * s.money.cap_cpu[b, g])  # per core
    mem_usd = usd * (1.0 - s.money.cpu_share[b, g]) * dt / (node_s * s.money.cap_mem_gib[b, g])
    used, paid = 0.0, 0.0
    workloads = s.flow.speed.shape[1]
    for w in range(workloads):
        if s.flow.bound_in_group[b, w, g] > 0:
            u, m = _charge(s, b, w, g, dt, cpu_usd, mem_usd)
            used += u
            paid += m
    scale = usd / paid if paid > usd else 1.0
    for w in range(workloads):
        if s.flow.bound_in_group[b, w, g] > 0:
            s.rows.work[b, row, USD, w] += scale * _charge(s, b, w, g, dt, cpu_usd, mem_usd)[1]
    s.rows.group[b, row, NODE_S, g] += node_s
    s.rows.group[b, row, NODE_USD, g] += usd
    s.rows.group[b, row, USED_USD, g] += used * scale
    s.rows.group[b, row, UNUSED_USD, g] += (paid - used) * scale
    s.rows.group[b, row, IDLE_USD, g] += usd - paid * scale


@inner
def _charge(s: Any, b: int, w: int, g: int, dt: float, cpu_usd: float, mem_usd: float) -> Any:
    """(dollars used, dollars used or reserved) of workload w on group g, before scaling.

    Use is spread over the workload's bound pods evenly.
    """
    bound = s.flow.n_starting[b, w] + s.flow.n_ready[b, w] + s.flow.n_terminating[b, w]
    here = float(s.flow.bound_in_group[b, w, g])
    ready = s.flow.ready_pod_s[b, w] / dt * here / max(bound, 1)
    cpu = s.flow.cpu_per_pod[b, w] * ready
    mem = s.flow.mem_per_pod_gib[b, w] * ready
    used = cpu * cpu_usd + mem * mem_usd
    reserved_cpu = max(cpu, here * s.service.cpu_request[b, w])
    reserved_mem = max(mem, here * s.service.mem_request_gib[b, w])
    return used, reserved_cpu * cpu_usd + reserved_mem * mem_usd
