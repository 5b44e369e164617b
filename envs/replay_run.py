"""Batches of rows for `envs.sim.replay`: pack workloads x settings x beliefs, feed load, take out what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.cluster import ClusterSpec, Workload
from envs.controllers.hpa_pack import HpaDefaults, empty_hpa_sample, empty_hpa_state, pack_hpa, write_hpa
from envs.load_noise import key_of
from envs.matching import hard_taints_tolerated, matches_node_affinity
from envs.sim.pack import BALANCING, initial_replicas
from envs.sim.pack_placement import NodeGroup, node_groups, requests
from envs.sim.queue_memory import KNOWN
from envs.sim.queueing import load_tables
from envs.sim.replay import (
    REPLAY_HISTORY_S,
    ReplaySim,
    ReplaySpent,
    ReplayState,
    ReplayWorkloads,
    replay_rows,
)
from envs.sim.view import View
from envs.stack import HpaSpec

F8 = NDArray[np.float64]
DRAWS = 1024  # delays drawn per workload
METRIC_AGE_S = 30.0  # middle of the 15-45 s that a workload's resource samples lag by
NODE_SHARE = 0.2  # of started pods that wait for a new node: a guess that a measured start delay replaces
LOOK_S = 15.0  # from pending to a node asked for: the Cluster Autoscaler's loop, and its wait for young pods


@dataclass(frozen=True)
class Price:
    """Of the cheapest node that takes the workload's pod, per dominating share of what pods may request."""

    usd_per_core_h: float
    least_usd_per_h: float  # of a pod, by its memory or its place
    boot_delay_s: float

    def pod_usd_per_h(self, w: Workload) -> float:
        return max(w.cpu_request * self.usd_per_core_h, self.least_usd_per_h)


@dataclass(frozen=True)
class Rows:
    """The rows of one workload: settings[r] under beliefs[r], a factor on the capacity of a replica."""

    workload: Workload
    settings: tuple[HpaSpec, ...]
    beliefs: tuple[float, ...]
    price: Price
    first_rps: float = 0.0
    node_share: float = NODE_SHARE


class Spent(NamedTuple):
    """What a stretch of load cost each row, (W, R)."""

    usd: F8
    bad: F8  # requests
    pod_s: F8
    cpu_s: F8
    changes: F8


def takes(g: NodeGroup, w: Workload) -> bool:
    """Whether a pod of the workload fits an empty node of the group: room, taints, and the labels that it asks for."""
    cpu, memory, _, gpu = requests(w)
    cores = g.machine.allocatable_cpu - g.spec.daemon_cpu
    gib = g.machine.allocatable_memory_gib - g.spec.daemon_memory_gib
    fits = cpu <= round(cores * 1000) and memory <= round(gib * 2**30) and gpu <= g.machine.gpu
    fits = fits and matches_node_affinity(g.labels, node_selector=dict(w.node_selector))
    return bool(fits and hard_taints_tolerated(w.tolerations, g.spec.taints))


def cheapest(cluster: ClusterSpec, w: Workload) -> Price:
    """The group whose node takes the pod at the least money. ValueError when none takes it."""
    found: list[tuple[float, Price]] = []
    for g in node_groups(cluster):
        if takes(g, w):
            cores = g.machine.allocatable_cpu - g.spec.daemon_cpu
            gib = g.machine.allocatable_memory_gib - g.spec.daemon_memory_gib
            usd = g.machine.price_usd_per_h
            least = usd * max(w.memory_request_gib / gib, 1.0 / g.machine.max_pods)
            price = Price(usd / cores, least, g.spec.boot_delay_s)
            found.append((price.pod_usd_per_h(w), price))
    if not found:
        raise ValueError(f"no node of the cluster takes a pod of {w.name}")
    return min(found, key=lambda pair: pair[0])[1]


class ReplayRun:
    """Rows of W workloads in lock step. `live` (W, R) says which are run; the others stand still.

    first_tick: number of the first tick that will be fed. Same inputs and seed give equal bytes, on any
    number of threads and however the load is cut into calls.
    """

    def __init__(self, cases: Sequence[Rows], *, tick_s: float, first_tick: int = 0, seed: int = 0) -> None:
        if len({len(c.settings) for c in cases}) != 1:
            raise ValueError("give every workload as many rows")
        self.cases, self.tick_s, self.tick = tuple(cases), tick_s, first_tick
        self._pad = int(np.ceil(REPLAY_HISTORY_S / tick_s)) + 3
        self._before = np.zeros((len(cases), 0))
        self._defaults = _hpa_defaults(cases)
        self._capacity = np.array([[c.workload.service.capacity_rps] for c in cases])
        spent = np.zeros((len(ReplaySpent._fields), len(cases), len(cases[0].settings)))
        self._sim = _pack(cases, self._defaults, tick_s, seed, self._pad, ReplaySpent(*spent))
        self._spent = spent
        self._view = View(self._sim)
        self.live = self._sim.live

    @property
    def replicas(self) -> NDArray[np.int32]:
        """(W, R) spec.replicas now."""
        return self._sim.state.replicas

    def advance(self, arrivals: F8, *, threads: int = 1) -> Spent:
        """Feed (n, W) requests per tick; what these ticks cost."""
        columns = np.ascontiguousarray(np.concatenate([self._before, arrivals.T], axis=1))
        self._spent[...] = 0.0
        pad, tick, W = self._before.shape[1], self.tick, len(self.cases)

        def stretch(first: int, last: int) -> None:
            replay_rows(self._view, columns, pad, first, last, tick, self.tick_s)

        if min(threads, W) == 1:
            stretch(0, W)
        else:
            edges = np.linspace(0, W, min(threads, W) + 1).astype(int).tolist()
            with ThreadPoolExecutor(len(edges) - 1) as pool:
                list(pool.map(stretch, edges[:-1], edges[1:]))
        self.tick += len(arrivals)
        self._before = columns[:, -self._pad :]
        return Spent(*self._spent.copy())

    def steer(self, share: F8, window_s: F8) -> None:
        """Set-points (W, R) of every row, on requests per second: as a share of the capacity that is estimated."""
        self._sim.hpa.metric["target"][:, :, 0] = np.maximum(np.rint(share * self._capacity * 1000.0), 1.0)
        self._sim.hpa.spec["window_down_us"] = np.rint(window_s * 1e6)

    @property
    def counts(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """(W, R) replicas asked for, ready, starting."""
        state = self._sim.state
        return state.replicas, state.ready, state.starting

    def rewrite(self, w: int, r: int, spec: HpaSpec) -> None:
        """Change the HPA of one row; its history stays. Longer windows than any row began with are refused."""
        write_hpa(self._sim.hpa, w, r, spec, self._defaults)


def _hpa_defaults(cases: Sequence[Rows]) -> HpaDefaults:
    shape = (len(cases), len(cases[0].settings))

    def spread(values: list[Any], kind: Any) -> Any:
        return np.broadcast_to(np.array(values, kind)[:, None], shape)

    wl = [c.workload for c in cases]
    own = [requests(w) for w in wl]
    return HpaDefaults(
        spread([w.service.capacity_rps for w in wl], np.float64),
        spread([o[0] for o in own], np.int64),
        spread([o[1] for o in own], np.int64),
        spread([w.min_replicas for w in wl], np.int32),
        spread([w.max_replicas for w in wl], np.int32),
    )


def _pack(
    cases: Sequence[Rows], defaults: HpaDefaults, tick_s: float, seed: int, history: int, spent: ReplaySpent
) -> ReplaySim:
    hpa = pack_hpa([c.settings for c in cases], **defaults._asdict())
    W, R, M = hpa.metric.shape
    delays = np.stack([draw_delays(c, seed) for c in cases])
    slots = min(int(np.ceil(delays.max() / tick_s)) + 2, int(np.ceil(7200.0 / tick_s)))
    return ReplaySim(
        workloads=_workloads(cases, delays, seed),
        state=_first_state(cases, slots, history),
        spent=spent,
        live=np.ones((W, R), np.bool_),
        tables=load_tables(),
        known=np.zeros((W, R, KNOWN)),
        hpa=hpa,
        hpa_state=empty_hpa_state(hpa),
        hpa_sample=empty_hpa_sample(W, R, M),
    )


def draw_delays(case: Rows, seed: int) -> F8:
    """(DRAWS,) creation to Ready: a lognormal start, and for `node_share` of pods the wait for a node before it."""
    w = case.workload
    rng = np.random.default_rng([key_of(seed, w.name, "start"), 104])
    s2 = np.log1p(w.start_delay_cv**2)
    start = w.start_delay_s * np.exp(np.sqrt(s2) * rng.standard_normal(DRAWS) - 0.5 * s2)
    waits = rng.random(DRAWS) < case.node_share
    node = (LOOK_S + case.price.boot_delay_s) * np.exp(0.2 * rng.standard_normal(DRAWS) - 0.02)
    return np.asarray(start + np.where(waits, node, 0.0))


def _workloads(cases: Sequence[Rows], delays: F8, seed: int) -> ReplayWorkloads:
    wl, sv = [c.workload for c in cases], [c.workload.service for c in cases]
    believed = np.array([[c.workload.service.slots * f for f in c.beliefs] for c in cases])
    service = np.array([s.service_time_s for s in sv])
    cpu_s = np.array([s.cpu_s_per_request for s in sv])
    full = believed / service[:, None] * cpu_s[:, None]  # cores with every slot busy
    fed = believed * np.minimum(np.array([w.cpu_limit for w in wl])[:, None] / np.maximum(full, 1e-12), 1.0)
    phases = [np.random.default_rng([key_of(seed, w.name, "sync"), 105]).random() for w in wl]
    period = np.array([c.settings[0].sync_period_s for c in cases])

    def column(values: list[float]) -> F8:
        return np.array(values, np.float64)

    return ReplayWorkloads(
        slots=np.maximum(fed, 1.0),
        speed=np.minimum(fed, 1.0),
        service_s=service,
        cv=column([s.service_cv for s in sv]),
        cpu_s=cpu_s,
        threshold_s=column([s.threshold_s for s in sv]),
        timeout_s=column([s.timeout_s for s in sv]),
        balancing=np.array([BALANCING[s.balancing] for s in sv], np.int8),
        cpu_request=column([w.cpu_request for w in wl]),
        usd_per_core_h=column([c.price.usd_per_core_h for c in cases]),
        least_usd_per_h=column([c.price.least_usd_per_h for c in cases]),
        grace_s=column([w.grace_s for w in wl]),
        start_mean_s=column([w.start_delay_s for w in wl]),
        metric_age_s=np.full(len(cases), METRIC_AGE_S),
        phase_s=np.array(phases) * period,
        delay_s=np.ascontiguousarray(delays),
    )


def power_of_two(least: int) -> int:
    """The first one that is not below `least` >= 1."""
    return 1 << (least - 1).bit_length()


def _first_state(cases: Sequence[Rows], slots: int, history: int) -> ReplayState:
    """Every row starts with what the first load needs, all ready."""
    shape = (len(cases), len(cases[0].settings))
    slots, history = power_of_two(slots), power_of_two(history)
    replicas = np.array([initial_replicas(c.workload, c.first_rps) for c in cases], np.int32)
    spread = np.repeat(replicas[:, None], shape[1], axis=1)
    return ReplayState(
        replicas=spread.copy(),
        ready=spread.copy(),
        starting=np.zeros(shape, np.int32),
        backlog=np.zeros(shape),
        due=np.zeros((*shape, slots), np.int32),
        due_s=np.zeros((*shape, slots)),
        fresh=np.zeros((*shape, history), np.int32),
        fresh_s=np.zeros((*shape, history)),
        cum_cpu_s=np.zeros((*shape, history)),
        cum_ready_s=np.zeros((*shape, history)),
    )
