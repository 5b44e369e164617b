"""A scenario before it is written: a document with remarks, and the guesses that fill its holes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from envs.cluster import InstanceType
from envs.errors import InputError
from envs.manifest_pods import Sums
from envs.manifest_pools import guessed_pool
from envs.prices import PriceBook
from envs.scenario_file import scenario_from_document
from envs.scenario_writer import Commented, guess, render, write_new
from envs.trace_file import Trace, read_trace
from envs.trace_stats import LoadStats, describe_trace
from envs.yaml_reader import only_mapping, parse_yaml

DAY_S = 86_400.0
SLOTS = 8  # threads of an ordinary web worker
SERVICE_S = 0.1
CAPACITY_RPS = SLOTS / SERVICE_S
BUSY_SHARE = 0.5  # of capacity that a replica is taken to carry on average
MAX_SERIES = 500
DEFAULT_REGIONS = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1"}
_UNSAFE = re.compile(r"[^A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class Draft:
    """`document` may hold `Commented` values; `notes` say what was approximated or left out."""

    document: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    source: str = ""


def write_draft(draft: Draft, out: Path, *, force: bool = False) -> str:
    """Check the draft as the file that it will be, then write it in one step. Returns the text.

    Raises InputError, with nothing written, when the draft is no valid scenario or the file exists.
    """
    text = draft_text(draft)
    try:
        scenario_from_document(only_mapping(parse_yaml(text, file=out), file=out), out)
    except InputError as error:
        if error.file != str(out):
            raise
        made = f"the scenario made from {_one_line(draft.source)}"
        raise InputError(made, error.field, error.value, error.mend) from None
    write_new(out, text, force=force)
    return text


def draft_text(draft: Draft) -> str:
    """The commented YAML."""
    head = [
        f"A Trimtab scenario made from {_one_line(draft.source)}. Values marked `# guess` are not yours yet:",
        "mend them, then run `trimtab scenario check` and `trimtab whatif` on this file.",
    ]
    if draft.notes:
        head += ["", "Read, changed or left out:"] + [f"- {_one_line(note)}" for note in draft.notes]
    return render(draft.document, head=head)


def draft_from_load(
    path: Path, out: Path, *, provider: str = "aws", region: str = "us-east-1", max_gap_s: float = 3600.0
) -> Draft:
    """One workload per series of a load file, sized so that its peak runs at half of capacity."""
    trace = read_trace(path, max_gap_s=max_gap_s)
    stats = describe_trace(trace)
    if len(stats) > MAX_SERIES:
        mend = f"has {len(stats)} series; at most {MAX_SERIES} become workloads, so give a part of them"
        raise InputError(path, "columns", None, mend)
    machines = region_types(provider, region)
    source = os.path.relpath(path.resolve(), out.resolve().parent)
    names = _names(list(stats))
    document: dict[str, Any] = {
        "name": safe_name(path.name.split(".")[0], "load"),
        "provider": provider,
        "region": region,
        "days": _days(trace),
    }
    if trace.start_utc is not None:
        document["start_utc"] = trace.start_utc[:19].removesuffix("Z") + "Z"
    sums = Sums(cpu=0.5, memory=0.5, gpu=0, cpu_limit=None, memory_limit=None)
    document["workloads"] = [_loaded(names[column], column, source, one, max_gap_s) for column, one in stats.items()]
    document["node_pools"] = [guessed_pool("general", {}, [sums], machines)]
    document["stacks"] = ["hpa-default"]
    gaps = [f"{g.column or 'all series'}: {g.length_s:g} s from {g.start_s:g} s on" for g in trace.gaps[:20]]
    notes = [f"A gap is bridged by a straight line: {gap}" for gap in gaps]
    if len(trace.gaps) > 20:
        notes.append(f"and {len(trace.gaps) - 20} more gaps")
    return Draft(document, tuple(notes), path.name)


@lru_cache(maxsize=8)
def region_types(provider: str, region: str) -> tuple[InstanceType, ...]:
    """Every instance type with a price in the region. Raises InputError for an unknown one."""
    return tuple(priced.instance for priced in PriceBook.load(provider).types(region))


def guessed_service(cpu: float | None, memory_gib: float | None) -> dict[str, Any]:
    """A service model whose use at full slots is the request (0.5 cores when there is none)."""
    per_request_s = (0.5 if cpu is None else max(cpu, 0.001)) * SERVICE_S / SLOTS
    service: dict[str, Any] = {
        "slots": guess(SLOTS, "requests that one replica works on at once"),
        "service_time": guess("100ms", "mean time of one request"),
        "service_cv": guess(0.5, "its standard deviation / mean"),
        "cpu_per_request": guess(f"{per_request_s * 1000:.6g}ms", "the CPU request is used at full slots"),
        "threshold": guess("500ms", "a request is good within this"),
    }
    if memory_gib is not None:
        mib = max(memory_gib * 1024, 0.01)
        service["memory_base"] = guess(f"{mib * 0.6:.6g}Mi", "60 % of the memory request")
        service["memory_per_busy_slot"] = guess(f"{mib * 0.3 / SLOTS:.6g}Mi", "30 % of it over all slots")
    return service


def guessed_demand(replicas: int) -> dict[str, Any]:
    """A daily and weekly shape that keeps the replicas half busy on average."""
    rps = round(replicas * CAPACITY_RPS * BUSY_SHARE, 3)
    why = f"{replicas} replicas at {BUSY_SHARE:.0%} of {CAPACITY_RPS:g} requests/s; put your own trace here"
    return {"generate": {"base_rps": guess(rps, why), "daily_amplitude": guess(0.5, "swing over the day")}}


def safe_name(text: str, fallback: str) -> str:
    """A name that a scenario takes: letters, digits and . _ / - after a letter or digit."""
    name = _UNSAFE.sub("-", text).strip("._/-")[:200].rstrip("._/-")
    return name or fallback


def _loaded(name: str, column: str, source: str, stats: LoadStats, max_gap_s: float) -> dict[str, Any]:
    peak_replicas = max(1, math.ceil(stats.p99 / CAPACITY_RPS / BUSY_SHARE))
    most = max(10, 4 * peak_replicas)
    about = f"mean {stats.mean:.4g}, 99 % below {stats.p99:.4g}, peak {stats.max:.4g} requests/s"
    demand: dict[str, Any] = {"trace": source, "column": Commented(column, about)}
    if max_gap_s != 3600.0:
        demand["max_gap"] = max_gap_s
    if most > 20_000:
        scale = 20_000 / most
        demand["scale"] = guess(float(f"{scale:.3g}"), "the file's unit may not be requests/s")
        most = 20_000
    return {
        "name": name,
        "demand": demand,
        "service": guessed_service(None, None),
        "min_replicas": guess(min(2, most), "two, so that one may fail"),
        "max_replicas": guess(most, "four times what the 99th percentile needs"),
        "slo": guess("99.9%", "good / total"),
        "start_delay": guess("30s", "scheduled to Ready"),
    }


def _days(trace: Trace) -> Any:
    """Whole days where there are any; at most two weeks."""
    days = trace.duration_s / DAY_S
    if days > 14:
        return guess(14, f"the trace covers {days:.4g}")
    return math.floor(days) if days >= 1 else float(f"{math.floor(days * 1e6) / 1e6:.6g}")


def _names(columns: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for i, column in enumerate(columns):
        name = safe_name(column, f"load-{i + 1}")
        names[column] = name if name not in names.values() else f"{name[:180]}-{i + 1}"
    return names


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:400]
