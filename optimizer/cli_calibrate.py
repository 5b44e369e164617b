"""`trimtab calibrate`: from measurements to the service model of a scenario."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envs.errors import InputError

if TYPE_CHECKING:
    from envs.calibration import Assumed, Calibrated, Interval
    from envs.history import Series
    from envs.scenario import Scenario

HELP = """What a replica of each of your services can carry, from what was measured, with its interval.

HISTORY is one or more CSV, CSV.gz or Parquet files: a time column, and columns named WORKLOAD:METRIC (wide), or
time, series, value with such names as series (long). A file of one workload may leave WORKLOAD out; its name is the
file's. Metrics:

    served_rps, errors_rps, timeouts_rps   per second, all replicas together (or offered_rps)
    slow_rps                               of the served ones, those over the latency threshold
    replicas, desired_replicas             ready ones; spec.replicas (for the start delay)
    cpu_cores                              all replicas together
    latency_mean_s, latency_p50_s, latency_p95_s

Only minutes in which requests were lost near the highest load, or a latency that bends upward, tell how much a replica
can carry. Where your data have neither, the interval is wide and the message says so.

Example: two weeks of minutes, thresholds and CPU limits from a scenario

    trimtab calibrate history.csv --scenario mine.yaml --yaml service.yaml
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibrate", help=HELP)(calibrate)


def calibrate(
    history: Annotated[list[Path], typer.Argument(metavar="HISTORY...", help="Files of measurements.")],
    scenario: Annotated[
        str, typer.Option(metavar="SCENARIO", help="Thresholds, time-outs, balancing and CPU limits come from it.")
    ] = "",
    threshold: Annotated[
        str, typer.Option(help="Latency over which a request is slow, such as 500ms. Default: four service times.")
    ] = "",
    balancing: Annotated[str, typer.Option(help="random, least_request or pooled, without a scenario.")] = "random",
    max_gap: Annotated[str, typer.Option(help="Longest gap to step over, such as 2h.")] = "1h",
    yaml_file: Annotated[
        Path | None, typer.Option("--yaml", metavar="FILE", help="Write the service fields for a scenario.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    import json

    from envs.calibration import calibrate as estimate
    from envs.history import read_history
    from envs.quantities import parse_duration
    from envs.scenario_writer import check_place, write_new

    if balancing not in ("random", "least_request", "pooled"):
        raise InputError(None, "--balancing", balancing, "use random, least_request or pooled")
    if yaml_file is not None:
        check_place(yaml_file, force=force)
    world = _scenario(scenario)
    given = parse_duration(threshold, field="--threshold") if threshold else None
    found = read_history(history, max_gap_s=parse_duration(max_gap, field="--max-gap"))
    pairs = []
    for series in found.workloads:
        assumed = _assumed(series, world, given, balancing)
        pairs.append((estimate(series, assumed), assumed))
    text = snippet(pairs)
    if yaml_file is not None:
        write_new(yaml_file, text, force=force)
    if as_json:
        typer.echo(json.dumps({"workloads": [document(c, a) for c, a in pairs]}, indent=1))
        return
    _print(pairs)
    typer.echo(f"\nwrote {yaml_file}" if yaml_file is not None else "\n" + text.rstrip())


def _scenario(name: str) -> Scenario | None:
    from envs.scenario_file import load_scenario

    return load_scenario(name) if name else None


def _assumed(series: Series, world: Scenario | None, threshold_s: float | None, balancing: str) -> Assumed:
    from envs.calibration import Assumed, assumed_of

    workloads = {w.name: w for w in world.cluster.workloads} if world else {}
    if series.name not in workloads:
        return Assumed(threshold_s=threshold_s, balancing=balancing)
    known = assumed_of(workloads[series.name])
    return replace(known, threshold_s=threshold_s) if threshold_s is not None else known


def document(c: Calibrated, assumed: Assumed) -> dict[str, Any]:
    """One workload as plain data, the service fields of a scenario with it."""
    plain: dict[str, Any] = asdict(c)
    slots, service = c.slots(assumed)
    return {**plain, "notes": list(c.notes), "service": {"slots": slots, "service_time_s": service}}


def snippet(pairs: list[tuple[Calibrated, Assumed]]) -> str:
    """YAML for a scenario's `workloads`."""
    lines = ["workloads:"]
    for c, assumed in pairs:
        slots, service = c.slots(assumed)
        low, high = c.capacity_rps.low, c.capacity_rps.high
        told = f"capacity {_three(slots / service)} rps a replica, {_three(low)} to {_three(high)}"
        lines.append(f"  - name: {_text(c.name)}")
        lines.append("    service:")
        lines.append(
            f"      slots: {slots}  # {told if c.informed else 'at least: the data never come near saturation'}"
        )
        lines.append(f"      service_time: {1000.0 * service:.4g}ms")
        if c.service_cv is not None:
            lines.append(f"      service_cv: {c.service_cv:.3g}")
        if c.cpu_s_per_request is not None:
            lines.append(f"      cpu_per_request: {1000.0 * c.cpu_s_per_request.mid:.4g}ms")
        if c.start_delay_s is not None and c.start_delay_cv is not None:
            lines.append(f"    start_delay: {c.start_delay_s:.0f}s")
            lines.append(f"    start_delay_cv: {c.start_delay_cv:.2g}")
    return "\n".join(lines) + "\n"


def _text(name: str) -> str:
    import json

    return name if name.replace("-", "").replace(".", "").isalnum() and name[0].isalpha() else json.dumps(name)


def _three(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _range(i: Interval | None, factor: float = 1.0) -> str:
    if i is None:
        return "-"
    low, mid, high = (_three(factor * v) for v in (i.low, i.mid, i.high))
    return f"{mid} ({low}-{high})"


def _print(pairs: list[tuple[Calibrated, Assumed]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("workload", "capacity/replica rps", "service", "CPU ms/request", "start", "saturated", "back-test"):
        table.add_column(title, justify="left" if title in ("workload", "back-test") else "right")
    for c, _ in pairs:
        capacity = _range(c.capacity_rps) if c.informed else f"over {_three(c.capacity_rps.low)}"
        table.add_row(
            c.name,
            capacity,
            "-" if c.service_s is None else f"{1000.0 * c.service_s:.3g} ms",
            _range(c.cpu_s_per_request, 1000.0),
            "-" if c.start_delay_s is None else f"{c.start_delay_s:.0f} s",
            f"{c.saturated_minutes:.0f} min in {c.episodes}",
            _tested(c),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print("(5 %-95 % in brackets; back-test: fitted on the first 70 % of the time, held against the rest)")
    for c, _ in pairs:
        for note in c.notes:
            console.print(f"{c.name}: {note}")


def _tested(c: Calibrated) -> str:
    t = c.back_test
    if t is None:
        return "too short"
    parts = [] if t.cpu_error is None else [f"CPU off by {100.0 * t.cpu_error:.2g} %"]
    if t.bad_measured is not None and t.bad_predicted is not None:
        values = (t.bad_predicted.mid, t.bad_predicted.low, t.bad_predicted.high)
        mid, low, high = (f"{100.0 * v:.2g}" for v in values if math.isfinite(v))
        parts.append(f"bad {mid} % ({low}-{high}), was {100.0 * t.bad_measured:.2g} %")
    return "; ".join(parts) or "-"
