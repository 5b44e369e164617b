"""A scenario's faults as a list of timed operations that the tick carries out, and the state they need.

Everything is drawn here, before the first tick, from the seed and from names: what a stack does changes
neither when a fault comes nor how. A factor or delay in force over a window becomes one operation at each of its edges,
with the product (of delays: the sum) of all windows that hold between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from envs.fault_draws import crash_choices, crash_ranks, windows
from envs.faults import Fault
from envs.scenario import Scenario
from envs.sim.pack_placement import NodeGroup, node_groups
from envs.sim.state import F8, I1, I4

# Operations: what `target` and `value` are. A window's end is one more operation that puts things back.
OP_PRICE = 0  # group, USD/h
OP_START = 1  # workload, mean start delay in s
OP_API = 2  # -, delay in s
OP_TELEMETRY = 3  # workload, factor; NaN = no samples
OP_BLOCK = 4  # group, 1: no new nodes, 0: again
OP_LOSE_GROUP = 5  # group, s until its nodes' objects are gone
OP_LOSE_CHOICE = 6  # pool, place among its nodes in [0, 1); until = s until the object is gone
OP_LOSE_RANK = 7  # pool, rank among its nodes; until likewise
OP_CRASH_LOOP = 8  # workload, share of its pods; until = end of the window
HEALS_NOT, HEALS_AT_ONCE, HEALS_ALWAYS = 0, 1, 2  # the last also what it lost while it was closed
Operation = tuple[float, int, int, float, float]  # time, op, target, value, until
Span = tuple[float, float, float]  # start, end, value


class Faults(NamedTuple):
    """The plan and what it has done so far. E operations, the last one at infinity."""

    time_s: F8  # (B, E) rising
    op: I1  # (B, E)
    target: I4  # (B, E)
    value: F8  # (B, E)
    until: F8  # (B, E)
    next: I4  # (B,) first operation that is still to come
    telemetry: F8  # (B, W) what samples are multiplied by; NaN = there are none
    crash_share: F8  # (B, W) share of new pods that loop until crash_until_s
    crash_until_s: F8  # (B, W)
    blocked: I1  # (B, G) 1: the provider has no nodes of this group
    lost_s: F8  # (B, N) when a lost node died
    gone_s: F8  # (B, N) when its object goes
    n_lost: I4  # (B,)
    heals: I1  # (B,) HEALS_*: whether node groups replace nodes that they lost
    owed: I1  # (B, N) 1: the group replaces this lost node
    missing: I4  # (B, G) replacements that wait for the group to be open again
    dead_pod_s: F8  # (B, W) pod-seconds of this tick in which requests went to pods that were dead
    any_dead: I1  # (B,)


def pack_faults(
    scenarios: Sequence[Scenario], seeds: Sequence[int], heals: Sequence[int], W: int, G: int, N: int
) -> Faults:
    """Plans of a batch, side by side."""
    plans = [plan_of(s, seed) for s, seed in zip(scenarios, seeds, strict=True)]
    B, E = len(plans), max(map(len, plans)) + 1
    columns = [np.full((B, E), fill) for fill in (math.inf, 0.0, 0.0, 0.0, 0.0)]
    for b, plan in enumerate(plans):
        for i, operation in enumerate(plan):
            for column, number in zip(columns, operation, strict=True):
                column[b, i] = number
    time_s, op, target, value, until = columns
    return Faults(
        time_s=time_s,
        op=op.astype(np.int8),
        target=target.astype(np.int32),
        value=value,
        until=until,
        next=np.zeros(B, np.int32),
        telemetry=np.ones((B, W)),
        crash_share=np.zeros((B, W)),
        crash_until_s=np.full((B, W), -math.inf),
        blocked=np.zeros((B, G), np.int8),
        lost_s=np.full((B, N), -math.inf),
        gone_s=np.full((B, N), math.inf),
        n_lost=np.zeros(B, np.int32),
        heals=np.array(heals, np.int8),
        owed=np.zeros((B, N), np.int8),
        missing=np.zeros((B, G), np.int32),
        dead_pod_s=np.zeros((B, W)),
        any_dead=np.zeros(B, np.int8),
    )


def plan_of(scenario: Scenario, seed: int) -> list[Operation]:
    """All operations of one cluster by time; of equal times in the order of their kinds, then targets."""
    return sorted([*_factors(scenario, seed), *_losses(scenario, seed)], key=lambda o: (o[0], o[1], o[2]))


def _spans(scenario: Scenario, seed: int, kind: str) -> list[tuple[Fault, list[tuple[float, float]]]]:
    return [(f, windows(f, seed, scenario.horizon_s)) for f in scenario.faults if f.kind == kind]


def _factors(scenario: Scenario, seed: int) -> Iterable[Operation]:
    """Prices, start delays, API delay and telemetry: piecewise constant over time."""
    groups, workloads = node_groups(scenario.cluster), scenario.cluster.workloads
    changes = _spans(scenario, seed, "price-change")
    for g, group in enumerate(groups):
        spans = [(*w, f.factor) for f, found in changes if _priced(f, group) for w in found]
        yield from ((t, OP_PRICE, g, group_price(group) * x, 0.0) for t, x in steps(spans, math.prod))
    for w, workload in enumerate(workloads):
        pulls = _of_workload(_spans(scenario, seed, "slow-image-pulls"), workload.name, lambda f: f.factor)
        yield from ((t, OP_START, w, workload.start_delay_s * x, 0.0) for t, x in steps(pulls, math.prod))
        bad = _of_workload(_spans(scenario, seed, "telemetry-garbage"), workload.name, lambda f: f.factor)
        bad += _of_workload(_spans(scenario, seed, "telemetry-gap"), workload.name, lambda f: math.nan)
        yield from ((t, OP_TELEMETRY, w, x, 0.0) for t, x in steps(bad, math.prod))
    slow = [(*w, f.delay_s) for f, found in _spans(scenario, seed, "api-slowness") for w in found]
    yield from ((t, OP_API, 0, x, 0.0) for t, x in steps(slow, sum))


def group_price(group: NodeGroup) -> float:
    """USD/h of a node of this group while nothing has changed it."""
    return group.machine.price_usd_per_h


def steps(spans: list[Span], combine: Callable[[list[float]], float]) -> list[tuple[float, float]]:
    """(time, value from then on) of overlapping spans; `combine` of those that hold, of none at the end."""
    edges = sorted({edge for start, end, _ in spans for edge in (start, end) if math.isfinite(edge)})
    return [(t, float(combine([x for start, end, x in spans if start <= t < end]))) for t in edges]


def _of_workload(
    found: list[tuple[Fault, list[tuple[float, float]]]], name: str, value: Callable[[Fault], float]
) -> list[Span]:
    return [(*w, value(f)) for f, spans in found if not f.workloads or name in f.workloads for w in spans]


def _priced(fault: Fault, group: NodeGroup) -> bool:
    return (
        fault.pool in (None, group.spec.name)
        and (not fault.instance_types or group.machine.name in fault.instance_types)
        and fault.capacity_type in (None, group.labels["karpenter.sh/capacity-type"])
    )


def _losses(scenario: Scenario, seed: int) -> Iterable[Operation]:
    """Nodes that die, zones that are closed, pods that crash."""
    cluster = scenario.cluster
    groups = node_groups(cluster)
    outages = _spans(scenario, seed, "zone-loss")
    for g, group in enumerate(groups):
        mine = [(f, w) for f, found in outages if f.zone == group.zone for w in found]
        yield from ((t, OP_BLOCK, g, x, 0.0) for t, x in steps([(*w, 1.0) for _, w in mine], lambda on: min(sum(on), 1.0)))
        yield from ((w[0], OP_LOSE_GROUP, g, f.gone_after_s, 0.0) for f, w in mine)
    for fault in scenario.faults:
        if fault.kind == "node-crash":
            yield from _crashes(fault, scenario, seed)
        elif fault.kind == "pod-crash-loop":
            for w, workload in enumerate(cluster.workloads):
                if not fault.workloads or workload.name in fault.workloads:
                    spans = windows(fault, seed, scenario.horizon_s)
                    yield from ((start, OP_CRASH_LOOP, w, fault.share, end) for start, end in spans)


def _crashes(fault: Fault, scenario: Scenario, seed: int) -> Iterable[Operation]:
    for index, pool in enumerate(scenario.cluster.node_pools):
        if fault.pool not in (None, pool.name):
            continue
        if fault.at_s is not None:
            choices = crash_choices(fault, pool.name, seed=seed)
            yield from ((fault.at_s, OP_LOSE_CHOICE, index, u, fault.gone_after_s) for u in choices)
        else:
            points = crash_ranks(fault, pool.name, pool.max_nodes, seed=seed, horizon_s=scenario.horizon_s)
            yield from ((t, OP_LOSE_RANK, index, float(rank), fault.gone_after_s) for t, rank in points)

