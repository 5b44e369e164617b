"""A scenario's faults and its spot market as a list of timed operations that the simulator carries out.

Everything is drawn here, before the first tick, from the seed and from names: what a stack does changes
neither when a fault comes nor how. A factor or delay in force over a window becomes one operation at each of its edges,
with the product (of delays: the sum) of all windows that hold between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from envs.fault_draws import crash_choices, crash_ranks, windows
from envs.faults import Fault
from envs.scenario import Scenario
from envs.sim import fault_state as op
from envs.sim.fault_state import Operation
from envs.sim.pack_placement import NodeGroup, node_groups
from envs.spot_draws import shock_notices, shocks, single_notices

Span = tuple[float, float, float]  # start, end, value


def plan_of(scenario: Scenario, seed: int) -> list[Operation]:
    """All operations of one cluster by time; of equal times in the order of their kinds, then targets."""
    return sorted(
        [*_factors(scenario, seed), *_losses(scenario, seed), *_reclaims(scenario, seed)],
        key=lambda o: (o[0], o[1], o[2]),
    )


def _longest(delays: list[float]) -> float:
    return max(delays, default=0.0)


def _spans(scenario: Scenario, seed: int, kind: str) -> list[tuple[Fault, list[tuple[float, float]]]]:
    return [(f, windows(f, seed, scenario.horizon_s)) for f in scenario.faults if f.kind == kind]


def _factors(scenario: Scenario, seed: int) -> Iterable[Operation]:
    """Prices, start delays, API delay and telemetry: piecewise constant over time."""
    groups, workloads = node_groups(scenario.cluster), scenario.cluster.workloads
    changes = _spans(scenario, seed, "price-change")
    for g, group in enumerate(groups):
        spans = [(*w, f.factor) for f, found in changes if _priced(f, group) for w in found]
        if group.capacity_type == "spot":
            spans += price_spans(scenario, group)
        yield from ((t, op.OP_PRICE, g, group.price_usd_per_h * x, 0.0) for t, x in steps(spans, math.prod))
    for w, workload in enumerate(workloads):
        pulls = _of_workload(_spans(scenario, seed, "slow-image-pulls"), workload.name, lambda f: f.factor)
        yield from ((t, op.OP_START, w, workload.start_delay_s * x, 0.0) for t, x in steps(pulls, math.prod))
        bad = _of_workload(_spans(scenario, seed, "telemetry-garbage"), workload.name, lambda f: f.factor)
        bad += _of_workload(_spans(scenario, seed, "telemetry-gap"), workload.name, lambda f: math.nan)
        yield from ((t, op.OP_TELEMETRY, w, x, 0.0) for t, x in steps(bad, math.prod))
        late = _of_workload(_spans(scenario, seed, "telemetry-delay"), workload.name, lambda f: f.delay_s)
        yield from ((t, op.OP_LAG, w, x, 0.0) for t, x in steps(late, _longest))
    slow = [(*w, f.delay_s) for f, found in _spans(scenario, seed, "api-slowness") for w in found]
    yield from ((t, op.OP_API, 0, x, 0.0) for t, x in steps(slow, sum))


def price_spans(scenario: Scenario, group: NodeGroup) -> list[Span]:
    """The spot market's price over time as factors on the group's price."""
    found = [p for p in scenario.spot.series if p.instance_type == group.machine.name and p.zone in ("", group.zone)]
    found = [p for p in found if p.zone] or found
    ends = [p.from_s for p in found[1:]] + [scenario.horizon_s]
    price = group.price_usd_per_h
    if not found:
        return []
    return [(p.from_s, end, p.usd_per_h / price) for p, end in zip(found, ends, strict=True) if price > 0]


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
        and fault.capacity_type in (None, group.capacity_type)
    )


def _losses(scenario: Scenario, seed: int) -> Iterable[Operation]:
    """Nodes that die, zones that are closed, pods that crash."""
    cluster = scenario.cluster
    groups = node_groups(cluster)
    outages = _spans(scenario, seed, "zone-loss")
    for g, group in enumerate(groups):
        mine = [(f, w) for f, found in outages if f.zone == group.zone for w in found]
        shut = [w for _, w in mine] + stockouts(scenario, group, seed)
        yield from (
            (t, op.OP_BLOCK, g, x, 0.0) for t, x in steps([(*w, 1.0) for w in shut], lambda on: min(sum(on), 1.0))
        )
        yield from ((w[0], op.OP_LOSE_GROUP, g, f.gone_after_s, 0.0) for f, w in mine)
    for fault in scenario.faults:
        if fault.kind == "node-crash":
            yield from _crashes(fault, scenario, seed)
        elif fault.kind == "pod-crash-loop":
            for w, workload in enumerate(cluster.workloads):
                if not fault.workloads or workload.name in fault.workloads:
                    spans = windows(fault, seed, scenario.horizon_s)
                    yield from ((start, op.OP_CRASH_LOOP, w, fault.share, end) for start, end in spans)


def _reclaims(scenario: Scenario, seed: int) -> Iterable[Operation]:
    """Spot interruptions, and the recommendations that come before them."""
    spot = scenario.spot
    for g, group in enumerate(node_groups(scenario.cluster)):
        for t, rank in interruptions(scenario, group, seed):
            lead_s = min(spot.rebalance_lead_s, t)
            yield (t - lead_s, op.OP_RECOMMEND, g, float(rank), spot.notice_s + lead_s)
            yield (t, op.OP_INTERRUPT, g, float(rank), spot.notice_s)


def stockouts(scenario: Scenario, group: NodeGroup, seed: int) -> list[tuple[float, float]]:
    """Spans in which the spot market has no machine of the group."""
    if group.capacity_type != "spot" or not scenario.spot.interruptions:
        return []
    key = f"{group.machine.name}/{group.zone}"
    return [(s.at_s, s.until_s) for s in shocks(scenario.spot, group.machine, key, seed, scenario.horizon_s)]


def interruptions(scenario: Scenario, group: NodeGroup, seed: int) -> list[tuple[float, int]]:
    """(time, rank) of the notices that nodes of a spot group get."""
    if group.capacity_type != "spot" or not scenario.spot.interruptions:
        return []
    key = f"{group.machine.name}/{group.zone}"
    most, horizon_s = group.spec.max_nodes, scenario.horizon_s
    shared = shocks(scenario.spot, group.machine, key, seed, horizon_s)
    alone = single_notices(scenario.spot, group.machine, group.name, most, seed=seed, horizon_s=horizon_s)
    return sorted([*alone, *shock_notices(scenario.spot, shared, group.name, most, seed=seed, horizon_s=horizon_s)])


def _crashes(fault: Fault, scenario: Scenario, seed: int) -> Iterable[Operation]:
    for index, pool in enumerate(scenario.cluster.node_pools):
        if fault.pool not in (None, pool.name):
            continue
        if fault.at_s is not None:
            choices = crash_choices(fault, pool.name, seed=seed)
            yield from ((fault.at_s, op.OP_LOSE_CHOICE, index, u, fault.gone_after_s) for u in choices)
        else:
            points = crash_ranks(fault, pool.name, pool.max_nodes, seed=seed, horizon_s=scenario.horizon_s)
            yield from ((t, op.OP_LOSE_RANK, index, float(rank), fault.gone_after_s) for t, rank in points)
