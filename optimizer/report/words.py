"""What the numbers say, in sentences: the headline and the reasons of the worst hours. Unescaped text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from envs.faults import Fault
from envs.quantities import format_duration
from optimizer.whatif_words import count, dollars, percent
from optimizer.whatif_words import names as whatif_names

REASONS = {
    "saturated": "Saturated",
    "starting": "Pods starting",
    "no_node": "No node",
    "lost": "Node lost",
}


@dataclass(frozen=True)
class Headline:
    """The finding in one sentence, and the sentence that puts it in place."""

    main: str
    rest: str


def label(row: Any) -> str:
    """A row's name: its stack and, if there is one, its variation."""
    return " · ".join(str(part) for part in (row.stack, row.variation) if part)


def headline(table: pd.DataFrame) -> Headline:
    """The cheapest row that meets at least as many SLOs as the first; else the one that meets most.

    Costs are per 30 days, at the rate of the simulated days.
    """
    rows: list[Any] = list(table.itertuples())
    base = rows[0]
    if len(rows) == 1:
        return Headline(_what_it_costs(base) + ".", "")
    as_good = [row for row in rows[1:] if row.slos_met >= base.slos_met and row.cost_usd < base.cost_usd]
    if as_good:
        best = min(as_good, key=lambda row: (row.cost_usd, -row.slos_met))
        cost = dollars(best.usd_per_30_days)
        main = f"{label(best)} costs {cost} a month, {_against(best, base)}, and {_slos(best)}."
        return Headline(main, f"{_what_it_costs(base)}.")
    better = max(rows[1:], key=lambda row: (row.slos_met, -row.cost_usd))
    if better.slos_met > base.slos_met:
        cost = dollars(better.usd_per_30_days)
        rest = f"{label(better)} {_slos(better)}, and costs {cost}, {_against(better, base)}."
        return Headline(_what_it_costs(base) + ".", rest)
    return Headline(_what_it_costs(base) + ".", "None of the others is cheaper without breaking more SLOs.")


def _what_it_costs(row: Any) -> str:
    return f"{label(row)} costs {dollars(row.usd_per_30_days)} a month and {_slos(row)}"


def _slos(row: Any) -> str:
    broken = row.slos - row.slos_met
    if broken == 0:
        return f"meets all {row.slos} SLOs" if row.slos != 1 else "meets its SLO"
    return f"breaks {broken} of {row.slos} SLOs"


def _against(row: Any, base: Any) -> str:
    """ "12.3 % less than hpa-default [95 % interval 11.0 to 13.5]"."""
    share, low, high = row.saving_share, row.saving_low, row.saving_high
    more = share < 0
    low, high = (-high, -low) if more else (low, high)
    text = f"{percent(abs(share))} {'more' if more else 'less'} than {label(base)}"
    interval = f" [95 % interval {100 * low:.1f} to {100 * high:.1f}]".replace("-", "−")
    return text if pd.isna(low) else text + interval


def describe_fault(fault: Fault) -> str:
    """What a fault was and when: "zone us-east-1a, day 3 14:00, 45 min"."""
    when = _when(fault)
    what = {
        "node-crash": f"{_many(fault.nodes, 'node')}{f' of {fault.pool}' if fault.pool else ''}"
        if fault.at_s is not None
        else f"{fault.per_node_hour:g} per node and hour",
        "zone-loss": f"zone {fault.zone}",
        "pod-crash-loop": f"{percent(fault.share, 0)} of the pods of {_those(fault.workloads, 'all workloads')}",
        "slow-image-pulls": f"starts take x{fault.factor:g}, {_those(fault.workloads, 'all workloads')}",
        "api-slowness": f"every write {fault.delay_s:g} s late",
        "telemetry-gap": f"no samples of {_those(fault.workloads, 'all workloads')}",
        "telemetry-delay": f"samples of {_those(fault.workloads, 'all workloads')} {fault.delay_s:g} s late",
        "telemetry-garbage": f"samples x{fault.factor:g} of {_those(fault.workloads, 'all workloads')}",
        "price-change": f"x{fault.factor:g}, {_those((fault.capacity_type or '', *fault.instance_types), 'all nodes')}",
        "flash-crowd": f"load x{fault.factor:g} on {_those(fault.workloads, 'all workloads')}",
    }[fault.kind]
    return f"{what}, {when}"


def _those(names: tuple[str, ...], every: str) -> str:
    given = [name for name in names if name]
    return whatif_names(given, 3) if given else every


def _when(fault: Fault) -> str:
    if fault.per_node_hour > 0:
        return "at random"
    length = "" if not 0 < fault.duration_s < float("inf") else f", {format_duration(fault.duration_s)}"
    if fault.at_s is None:
        return f"{fault.per_day:g} a day{length}"
    day, rest = divmod(int(fault.at_s), 86_400)
    return f"day {day + 1}, {rest // 3600:02d}:{rest % 3600 // 60:02d}{length}"


def main_reason(hour: Any) -> str:
    """Key of REASONS that most of the hour's bad requests fall under."""
    return max(REASONS, key=lambda key: getattr(hour, f"bad_{key}"))


def why(hour: Any) -> str:
    """Why the hour's requests were bad, the main reason first."""
    parts = sorted(((getattr(hour, f"bad_{key}") / hour.bad, key) for key in REASONS), reverse=True)
    said = [_CAUSES[key].format(share=percent(share, 0)) for share, key in parts if share >= 0.05]
    return "; ".join(said)


_CAUSES = {
    "saturated": "{share} because every replica was ready and still too busy",
    "starting": "{share} because new pods were still starting",
    "no_node": "{share} because pods waited for a node",
    "lost": "{share} because they were sent to pods of a node that had died",
}


def what_was_going_on(hour: Any) -> str:
    """Load, capacity and replicas of the workload that lost most, and what happened in the cluster."""
    change = hour.load_rps - hour.load_before_rps
    moved = abs(change) > 0.1 * max(hour.load_before_rps, 1e-9)
    now = _rate(hour.load_rps)
    load = f"went from {_rate(hour.load_before_rps)} to {now}" if moved else f"was {now}"
    text = f"load {load}, capacity averaged {_rate(hour.capacity_rps)}"
    text += f" on {hour.ready:.1f} ready replicas"
    if abs(hour.ready - hour.ready_before) >= 0.5:
        text += f" ({hour.ready_before:.1f} the hour before)"
    events = [
        _event(hour.pods_started, "pod started", "pods started"),
        _event(hour.nodes_added, "node added", "nodes added"),
        _event(hour.nodes_removed, "node removed", "nodes removed"),
    ]
    happened = ", ".join(event for event in events if event)
    return f"{text}. In the cluster: {happened}." if happened else f"{text}."


def _rate(rps: float) -> str:
    return f"{rps:,.0f}/s" if rps >= 10 else f"{rps:,.1f}/s"


def _event(number: float, one: str, many: str) -> str:
    if number < 0.5:
        return ""
    return f"{count(number)} {one if round(number) == 1 else many}"


def setting(scenario: Any, days: float, seeds: int) -> str:
    """What was simulated, in a line."""
    cluster = scenario.cluster
    start = pd.Timestamp(scenario.start_utc)
    parts = [
        f"{days:g} days from {start.day} {start:%B %Y}",
        _many(len(cluster.workloads), "workload"),
        _many(len(cluster.node_pools), "node pool"),
        f"{scenario.provider} {scenario.region}",
    ]
    return " · ".join([*parts, *([f"mean of {seeds} seeds"] if seeds > 1 else [])])


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"
