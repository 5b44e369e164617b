"""The lower bound's tables of a scenario and seed: its load, block by block, put before the service kernel.

Loads are binned downward (a bin's load is its lower edge), which can only make a policy's life cheaper. The load
is read block by block, so that a month never sits in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.bound import F8, PRICES, WAITS, Foresight, Machines, ServiceTable, WorkTable
from envs.cluster import Workload
from envs.demand import Demand
from envs.fault_plan import plan_of
from envs.scenario import Scenario
from envs.sim.backlog import BATCH_PERIOD_S
from envs.sim.fault_state import OP_PRICE
from envs.sim.foresight import least_costs
from envs.sim.pack import BALANCING
from envs.sim.pack_placement import pack_placement
from envs.sim.queueing import load_tables, lognormal_tail

BIN = math.log(1.01)  # width of a bin of load
LEAST_LOAD = 1e-3  # below this share of what one replica serves in a tick, a load counts as none
NO_LOAD = 1e-6  # replicas, the scale on which a tick without load is looked at
MOST_REPLICAS = 20_000.0  # what a scenario's max_replicas may be at most
# Replicas that are looked at, in units of those that the load keeps busy: dense where SLOs are met.
REPLICAS = np.concatenate(
    [
        [0.0, 0.25, 0.5, 0.7, 0.8, 0.88],
        np.exp(np.arange(-math.log(1.05), math.log(1 / 0.15), 0.0125)),
        np.exp(np.arange(math.log(1 / 0.15), math.log(50), 0.1)),
    ]
)
DEADLY = ("node-crash", "zone-loss", "pod-crash-loop")
DFF = (1, 2, 3, 4)

Load = Callable[[int, int], F8]
Bins = dict[int, NDArray[np.int64]]  # bin of load -> ticks in each block; bin NONE: no load
NONE = -(1 << 40)


@dataclass(frozen=True)
class Resolution:
    """How fine the tables are: blocks of time at most, none shorter than block_s, rows of load in all at most."""

    blocks: int = 64
    block_s: float = 3600.0
    rows: int = 20_000


FINE = Resolution()


def nodes_may_be_lost(scenario: Scenario) -> bool:
    """Whether nodes or containers may die of themselves: crashes, outages, spot interruptions."""
    spot = scenario.spot.interruptions and any("spot" in pool.capacity_types for pool in scenario.cluster.node_pools)
    return bool(spot or any(fault.kind in DEADLY for fault in scenario.faults))


def foresee(scenario: Scenario, seed: int, *, days: float | None = None, threads: int = 1) -> Foresight:
    """Everything that the bound needs; the horizon as `envs.rollout.rollout` has it."""
    horizon_s = min(scenario.horizon_s, days * 86400.0) if days else scenario.horizon_s
    demand = Demand.pack([scenario], [seed])
    return foresee_load(
        scenario, lambda tick, n: demand.arrivals(tick, n)[0], first_tick=demand.first_tick,
        ticks=max(round(horizon_s / scenario.tick_s), 1), seed=seed, threads=threads,
    )  # fmt: skip


def foresee_load(
    scenario: Scenario, load: Load, *, first_tick: int, ticks: int, seed: int = 0, fine: Resolution = FINE,
    threads: int = 1,
) -> Foresight:  # fmt: skip
    """The same for any load: `load(tick, n)` gives (n, W) requests in n ticks, first_tick <= tick < ticks."""
    block_s = max(fine.block_s, ticks * scenario.tick_s / fine.blocks)
    edges = np.unique(np.append(np.arange(0, ticks, math.ceil(block_s / scenario.tick_s - 1e-9)), ticks))
    workloads, lengths = scenario.cluster.workloads, np.diff(edges) * scenario.tick_s
    reader = _LoadReader(scenario, load, edges, first_tick)
    kernel = _Kernel(scenario.tick_s, fine.rows)
    kernel.compute([(w, reader.bins[i]) for i, w in enumerate(workloads) if w.kind == "service"], threads)
    if nodes_may_be_lost(scenario):
        kernel.let_requests_be_lost()
    tables: list[ServiceTable | WorkTable] = [
        kernel.table(w, reader.bins[i], len(lengths))
        if w.kind == "service"
        else _work_table(w, reader.items[i], lengths, scenario.tick_s)
        for i, w in enumerate(workloads)
    ]
    machines, promise = machines_of(scenario, seed, edges * scenario.tick_s), scenario.committed_use
    promised = (promise.commitment_usd_per_h / 3600.0, promise.discount) if promise else (0.0, 0.0)
    return Foresight(tuple(tables), machines, lengths, reader.offered, promised)


class _LoadReader:
    """One pass over the load: bins of services, items of queues and batches, requests in all."""

    def __init__(self, scenario: Scenario, load: Load, edges: NDArray[np.int64], first_tick: int) -> None:
        workloads = scenario.cluster.workloads
        blocks = len(edges) - 1
        self.bins: list[Bins] = [{} for _ in workloads]
        self.items = np.zeros((len(workloads), blocks))
        least = [LEAST_LOAD * scenario.tick_s / unit_s(w) for w in workloads]
        for t in range(blocks):
            arrivals = load(int(edges[t]), int(edges[t + 1] - edges[t]))
            self.items[:, t] = arrivals.sum(axis=0)[: len(workloads)]
            for i, w in enumerate(workloads):
                if w.kind == "service":
                    self._count(i, t, blocks, arrivals[:, i], least[i])
        self.offered = self.items.sum(axis=1)
        if first_tick < 0:
            self._add_earlier(scenario, load, first_tick)

    def _count(self, i: int, t: int, blocks: int, load: F8, least: float) -> None:
        some = load[load >= least]
        bins = self.bins[i]
        if some.size < load.size:
            bins.setdefault(NONE, np.zeros(blocks, np.int64))[t] = load.size - some.size
        if some.size:
            place = np.floor(np.log(some) / BIN).astype(np.int64)
            first = int(place.min())
            for k, count in enumerate(np.bincount(place - first)):
                if count:
                    bins.setdefault(first + k, np.zeros(blocks, np.int64))[t] = count

    def _add_earlier(self, scenario: Scenario, load: Load, first_tick: int) -> None:
        """Items from before time 0 may still be done in time within the horizon: they count as the first block's."""
        for i, w in enumerate(scenario.cluster.workloads):
            if w.kind != "service":
                since = max(-math.ceil(_window_s(w, scenario.tick_s) / scenario.tick_s), first_tick)
                self.items[i, 0] += load(since, -since)[:, i].sum()


def unit_s(w: Workload) -> float:
    """Replica-seconds that one request takes at least: service time over the slots that the CPU limit allows."""
    return w.service.service_time_s / (w.service.slots * _speed(w))


def _speed(w: Workload) -> float:
    """CPU that a replica may have over what it burns with every slot busy (envs.sim.load.set_speeds), at most 1."""
    full = w.service.slots / w.service.service_time_s * w.service.cpu_s_per_request
    return min(w.cpu_limit / max(full, 1e-12), 1.0)


def _window_s(w: Workload, tick_s: float) -> float:
    """Longest time from an item's arrival to its end, if it is to be good."""
    if w.kind == "queue":
        return w.backlog_age_slo_s + tick_s
    return BATCH_PERIOD_S + w.deadline_s + tick_s


def _work_table(w: Workload, items: F8, block_s: F8, tick_s: float) -> WorkTable:
    return WorkTable(unit_s(w), items, math.ceil(_window_s(w, tick_s) / float(block_s[0])))


class _Kernel:
    """Least costs by (service, bin of load), each asked of the kernel once, whichever workload and block needs it."""

    def __init__(self, tick_s: float, most_rows: int) -> None:
        self.tick_s, self.most_rows = tick_s, most_rows
        self.tables = load_tables()
        self.known: dict[tuple[float, ...], dict[int, F8]] = {}
        self.width = 1

    def compute(self, wanted: Sequence[tuple[Workload, Bins]], threads: int) -> None:
        bins: dict[tuple[float, ...], set[int]] = {}
        for w, loads in wanted:
            bins.setdefault(_key(w), {NONE}).update(loads)
        while sum(len({self._wide(k) for k in found}) for found in bins.values()) > self.most_rows:
            self.width *= 2
        jobs = [
            (key, sorted({self._wide(k) for k in found})[j : j + 16])
            for key, found in bins.items()
            for j in range(0, len({self._wide(k) for k in found}), 16)
        ]
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            for (key, places), rows in zip(jobs, pool.map(lambda job: self._rows(*job), jobs), strict=True):
                self.known.setdefault(key, {}).update(zip(places, rows, strict=True))

    def let_requests_be_lost(self) -> None:
        """A tick may lose part of its load to pods that died: they are bad, and the rest is a smaller load."""
        for key, found in self.known.items():
            places = sorted(found)
            loads = np.array([_load(place) for place in places])
            rows = np.stack([found[place] for place in places])
            price = PRICES * key[1] / (key[0] * key[-1])
            for i in range(1, len(places)):
                lost = loads[i] - loads[1 : i + 1]  # at least, from a load that is in row 0, 1, ... i - 1
                found[places[i]] = np.minimum(rows[i], (rows[:i] + lost[:, None, None] * price).min(axis=0))

    def _wide(self, place: int) -> int:
        return place if place == NONE else place // self.width * self.width

    def _rows(self, key: tuple[float, ...], places: Sequence[int]) -> F8:
        slots, service_s, cv, threshold_s, timeout_s, balancing, speed = key
        unit = service_s / (slots * speed)
        loads = np.array([_load(place) for place in places])
        scales = np.where(loads > 0.0, loads, NO_LOAD * self.tick_s / unit)
        out = np.empty((len(places), len(WAITS), len(PRICES)))
        # what the simulator makes of a CPU limit: fewer slots first, slower ones below one slot
        effective, pace = max(slots * speed, 1.0), min(slots * speed, 1.0)
        least_costs(
            self.tables, loads, scales, REPLICAS, WAITS * unit, PRICES * unit, idle_bad(key), MOST_REPLICAS,
            self.tick_s, effective, service_s, cv, threshold_s, timeout_s, int(balancing), pace, out,
        )  # fmt: skip
        return out

    def table(self, w: Workload, bins: Bins, blocks: int) -> ServiceTable:
        key = _key(w)
        least = np.zeros((blocks, len(WAITS), len(PRICES)))
        for place, ticks in bins.items():
            row = self.known[key][self._wide(place)]
            found = np.flatnonzero(ticks)
            least[found] += ticks[found, None, None] * row
        return ServiceTable(unit_s(w), idle_bad(key), least)


def _load(place: int) -> float:
    """Requests in a tick, at least, of a bin."""
    return 0.0 if place == NONE else math.exp(place * BIN)


def _key(w: Workload) -> tuple[float, ...]:
    s = w.service
    return (
        float(s.slots), s.service_time_s, s.service_cv, s.threshold_s, s.timeout_s,
        float(BALANCING[s.balancing]), _speed(w),
    )  # fmt: skip


def idle_bad(key: tuple[float, ...]) -> float:
    """Share of requests that are slow on an idle replica."""
    slots, service_s, cv, threshold_s, _timeout_s, _balancing, speed = key
    return float(lognormal_tail(threshold_s / (service_s / min(slots * speed, 1.0)), cv))


def machines_of(scenario: Scenario, seed: int, edges_s: F8) -> Machines:
    """Kinds of node with their prices, and what a pod takes of each. Zones that are alike are one kind.

    A pool's minimum counts only where nodes do not die of themselves.
    """
    classes, _topology, groups = pack_placement([scenario.cluster])
    req, room, spot = classes.req[0], groups.alloc[0] - groups.daemon[0], groups.spot[0]
    fits = classes.fits_group[0] & (req[:, None, :] <= room[None, :, :]).all(axis=2)
    price = price_floors(scenario, seed, groups.price[0], edges_s)
    floor = groups.min_nodes[0].astype(float) * (not nodes_may_be_lost(scenario))
    kinds: dict[bytes, list[int]] = {}
    for g in range(room.shape[0]):
        kinds.setdefault(room[g].tobytes() + fits[:, g].tobytes() + spot[g].tobytes(), []).append(g)
    first = [members[0] for members in kinds.values()]
    return Machines(
        price=np.array([price[members].min(axis=0) for members in kinds.values()]),
        floor=np.array([floor[members].sum() for members in kinds.values()]),
        share=np.stack([_shares(req, room[g]) for g in first], axis=1),
        allowed=fits[:, first],
        on_demand=~spot[first],
    )


def price_floors(scenario: Scenario, seed: int, usd_per_h: F8, edges_s: F8) -> F8:
    """(G, T) USD a second of each node group, the least within each block of time and two ticks around it."""
    out = np.repeat(usd_per_h[:, None], len(edges_s) - 1, axis=1)
    changes: dict[int, list[tuple[float, float]]] = {}
    for at_s, kind, group, value, _ in plan_of(scenario, seed):
        if kind == OP_PRICE:
            changes.setdefault(int(group), []).append((at_s, value))
    slack = 2.0 * scenario.tick_s
    for g, found in changes.items():
        times = np.array([-np.inf, *(t for t, _ in found), np.inf])
        values = np.array([usd_per_h[g], *(v for _, v in found)])
        for t in range(len(edges_s) - 1):
            held = (times[:-1] <= edges_s[t + 1] + slack) & (times[1:] >= edges_s[t] - slack)
            out[g, t] = values[held].min()
    return out / 3600.0


def _shares(req: NDArray[np.int64], room: NDArray[np.int64]) -> F8:
    """(W, R) of a node that pods take: CPU, memory, pods, GPU, and CPU and memory again as whole pods see them.

    Pods do not melt: of pods of 0.6 of a node one fits, not 1.67. A function u with sum u(x) <= 1 wherever
    sum x <= 1 turns that into more resources: u_k(x) = x where (k + 1) x is whole, else floor((k + 1) x) / k
    (Fekete and Schepers 2001, dual feasible functions for bin packing).
    """
    columns = [req[:, r] / room[r] if room[r] > 0 else np.zeros(len(req)) for r in range(req.shape[1])]
    for r in (0, 1):
        for k in DFF:
            if room[r] > 0:
                parts, rest = np.divmod((k + 1) * req[:, r], room[r])
                columns.append(np.where(rest == 0, req[:, r] / room[r], parts / k))
            else:
                columns.append(np.zeros(len(req)))
    return np.stack(columns, axis=1)
