"""What `trimtab scenario` prints: the gallery, one scenario in readable tables, the OK line of a check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs.cluster import InstanceType, NodePool, Workload
from envs.load_preview import load_preview, sparkline
from envs.min_values import unmet_min_values
from envs.quantities import (
    format_cpu,
    format_duration,
    format_memory,
    format_percent,
    format_usd_per_h,
)
from envs.scenario import Scenario, TraceDemand
from envs.scenario_checks import unreachable_slos
from envs.scenario_expand import expand_document
from envs.scenario_file import gallery, scenario_path
from envs.trace_file import Trace
from envs.vary import Override
from envs.yaml_reader import read_yaml

DAY_S = 86_400.0
Traces = dict[TraceDemand, Trace]


def print_wide(table: Table) -> None:
    """Print a table; without a terminal to fit into, at a width that cuts nothing."""
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def gallery_table() -> Table:
    """Name, size and first sentence of each scenario in the gallery."""
    table = Table("name", "days", "workloads", "what it is", box=None, pad_edge=False, header_style="bold")
    for name in gallery():
        document = read_yaml(scenario_path(name))
        full, _ = expand_document(document.data, document.file)
        about = " ".join(str(full.get("description", "")).split()).split(". ")[0].rstrip(".")
        table.add_row(name, f"{full.get('days', 0):g}", str(len(full["workloads"])), Text(about))
    return table


def print_scenario(scenario: Scenario, traces: Traces, *, limit: int) -> None:
    """The whole scenario on the terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    cluster = scenario.cluster
    console.print(Text(scenario.name, style="bold"), Text(" ".join(scenario.description.split())))
    console.print(
        f"{_count(scenario.horizon_s / DAY_S, 'day')} from {scenario.start_utc}, "
        f"tick {format_duration(scenario.tick_s)}, "
        f"{scenario.provider} {scenario.region}; {_count(len(cluster.workloads), 'workload')}, "
        f"{_count(len(cluster.node_pools), 'node pool')}; "
        f"stacks: {', '.join(s.name for s in scenario.stacks) or 'none'}",
        highlight=False,
    )
    console.print()
    console.print(_workloads(scenario, traces, limit))
    console.print()
    console.print(_pools(cluster.node_pools, {t.name: t for t in cluster.instance_types}))
    for line in _remarks(scenario, traces):
        console.print(Text(f"! {line}", style="yellow"))


def check_line(scenario: Scenario, traces: Traces, overrides: Sequence[Override] = ()) -> str:
    """`OK` and what was found, on one line."""
    cluster = scenario.cluster
    types = _count(len(cluster.instance_types), "instance type")
    found = [
        _count(len(cluster.workloads), "workload"),
        f"{_count(len(cluster.node_pools), 'node pool')} with {types}",
        _count(scenario.horizon_s / DAY_S, "day"),
        _count(len(scenario.stacks), "stack"),
        *_remarks(scenario, traces),
    ]
    varied = "".join(f" {path}={text}" for path, text in overrides)
    return f"OK {scenario.source}{varied}: " + "; ".join(found)


def _workloads(scenario: Scenario, traces: Traces, limit: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("workload", "namespace", "team", "kind"):
        table.add_column(name)
    for name in ("CPU", "memory", "replicas", "SLO", "within", "mean/s", "peak/s"):
        table.add_column(name, justify="right")
    table.add_column("load")
    shown = scenario.cluster.workloads[:limit]
    for w, workload in enumerate(shown):
        load = load_preview(scenario, w, traces)
        unit = "/h" if workload.kind == "batch" else ""
        numbers = [_number(float(value)) + unit for value in (load.mean(), load.max())]
        table.add_row(*_cells(workload), *numbers, sparkline(load))
    if len(scenario.cluster.workloads) > limit:
        table.add_row(f"... and {len(scenario.cluster.workloads) - limit} more (--limit)")
    return table


def _cells(w: Workload) -> list[str]:
    within = {"service": w.service.threshold_s, "queue": w.backlog_age_slo_s, "batch": w.deadline_s}[w.kind]
    return [
        w.name,
        w.namespace,
        w.team,
        w.kind,
        format_cpu(w.cpu_request),
        format_memory(w.memory_request_gib),
        f"{w.min_replicas}-{w.max_replicas}",
        format_percent(w.slo_target),
        format_duration(within),
    ]


def _pools(pools: Sequence[NodePool], types: dict[str, InstanceType]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("node pool", "instance type"):
        table.add_column(name)
    for name in ("CPU", "memory", "for pods", "pods", "price", "nodes", "zones"):
        table.add_column(name, justify="right")
    for pool in pools:
        for i, name in enumerate(pool.instance_types):
            t = types[name]
            first = [f"{pool.min_nodes}-{pool.max_nodes}", str(len(pool.zones))] if i == 0 else ["", ""]
            room = f"{format_cpu(t.allocatable_cpu)}, {format_memory(t.allocatable_memory_gib)}"
            size = [format_cpu(t.vcpu), format_memory(t.memory_gib), room, str(t.max_pods)]
            table.add_row(pool.name if i == 0 else "", name, *size, format_usd_per_h(t.price_usd_per_h), *first)
    return table


def _remarks(scenario: Scenario, traces: Traces) -> list[str]:
    """Gaps that were bridged, values still marked as guesses, SLOs and minValues that nothing can meet."""
    remarks = []
    gaps = Counter({trace.source.name: len(trace.gaps) for trace in traces.values() if trace.gaps})
    for name, count in gaps.items():
        remarks.append(f"{_count(count, 'gap')} in {name} bridged by a straight line")
    if scenario.source is not None and scenario.source.is_file():
        lines = scenario.source.read_text(encoding="utf-8", errors="replace").splitlines()
        guesses = sum("# guess" in line and not line.lstrip().startswith("#") for line in lines)
        if guesses:
            remarks.append(f"{_count(guesses, 'value')} marked # guess")
    return remarks + unreachable_slos(scenario.cluster) + unmet_min_values(scenario.cluster)


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}" + ("" if number == 1 else "s")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == np.floor(value) else f"{value:.3g}"
