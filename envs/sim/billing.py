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
    _price_groups(s, b, dt)
    for w in range(s.flow.speed.shape[1]):
        _charge(s, b, w, dt)
    _book_groups(s, b, row)
    for w in range(s.flow.speed.shape[1]):
        _book_workload(s, b, w, row, dt)


@inner
def _price_groups(s: Any, b: int, dt: float) -> None:
    """Node-seconds, dollars, and what a core and a GiB of group g cost for this tick; nothing charged yet."""
    bill = s.scratch
    for g in range(s.groups.price.shape[1]):
        node_s = s.clock.live_nodes[b, g] * dt + s.clock.node_extra_s[b, g]
        usd = node_s * s.groups.price[b, g] / 3600.0
        bill.node_s[b, g] = node_s
        bill.node_usd[b, g] = usd
        bill.core_usd[b, g], bill.gib_usd[b, g] = 0.0, 0.0
        if node_s > 0.0:
            bill.core_usd[b, g] = usd * s.money.cpu_share[b, g] * dt / (node_s * s.money.cap_cpu[b, g])
            bill.gib_usd[b, g] = usd * (1.0 - s.money.cpu_share[b, g]) * dt / (node_s * s.money.cap_mem_gib[b, g])
        bill.used_usd[b, g], bill.paid_usd[b, g] = 0.0, 0.0


@inner
def per_bound_pod(s: Any, b: int, w: int, dt: float) -> Any:
    """(cores used, GiB used, cores paid, GiB paid) by each bound pod of workload w; use is spread over them evenly."""
    bound = s.flow.n_starting[b, w] + s.flow.n_ready[b, w] + s.flow.n_terminating[b, w]
    ready = s.flow.ready_pod_s[b, w] / dt / max(bound, 1)
    cpu, mem = s.flow.cpu_per_pod[b, w] * ready, s.flow.mem_per_pod_gib[b, w] * ready
    return cpu, mem, max(cpu, s.service.cpu_request[b, w]), max(mem, s.service.mem_request_gib[b, w])


@inner
def _charge(s: Any, b: int, w: int, dt: float) -> None:
    """Add what workload w used, and what it used or reserved, to the groups that its pods are on."""
    cpu, mem, paid_cpu, paid_mem = per_bound_pod(s, b, w, dt)
    bill, here = s.scratch, s.flow.bound_in_group[b, w]
    core, gib, used, paid = bill.core_usd[b], bill.gib_usd[b], bill.used_usd[b], bill.paid_usd[b]
    for g in range(here.shape[0]):  # no branch: where none of its pods are, zero is added
        pods = float(here[g])
        used[g] += pods * (cpu * core[g] + mem * gib[g])
        paid[g] += pods * (paid_cpu * core[g] + paid_mem * gib[g])


@inner
def _book_groups(s: Any, b: int, row: int) -> None:
    """The groups' rows; core_usd and gib_usd shrink where more was charged than the nodes cost."""
    bill = s.scratch
    for g in range(s.groups.price.shape[1]):
        if bill.node_s[b, g] <= 0.0:
            continue
        usd, paid = bill.node_usd[b, g], bill.paid_usd[b, g]
        scale = usd / paid if paid > usd else 1.0
        bill.core_usd[b, g] *= scale
        bill.gib_usd[b, g] *= scale
        s.rows.group[b, row, NODE_S, g] += bill.node_s[b, g]
        s.rows.group[b, row, NODE_USD, g] += usd
        s.rows.group[b, row, USED_USD, g] += bill.used_usd[b, g] * scale
        s.rows.group[b, row, UNUSED_USD, g] += (paid - bill.used_usd[b, g]) * scale
        s.rows.group[b, row, IDLE_USD, g] += usd - paid * scale


@inner
def _book_workload(s: Any, b: int, w: int, row: int, dt: float) -> None:
    """Workload w's own dollars over all groups."""
    _, _, paid_cpu, paid_mem = per_bound_pod(s, b, w, dt)
    bill, here, usd = s.scratch, s.flow.bound_in_group[b, w], 0.0
    core, gib = bill.core_usd[b], bill.gib_usd[b]
    for g in range(here.shape[0]):
        usd += float(here[g]) * (paid_cpu * core[g] + paid_mem * gib[g])
    s.rows.work[b, row, USD, w] += usd
