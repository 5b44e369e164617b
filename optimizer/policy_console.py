"""What `trimtab policy` prints: bundles and versions for people, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from policies.bundle import Bundle

if TYPE_CHECKING:
    from optimizer.gates import Gate
    from optimizer.registry import Version

GATE = "trimtab.gate."


def print_versions(versions: Sequence[Version], console: Console) -> None:
    """A line a version."""
    table = Table(box=None, pad_edge=False)
    for head in ("version", "is", "kind", "registered", "sha256", "gates"):
        table.add_column(head, overflow="fold")
    for version in versions:
        table.add_row(
            version.ref,
            " ".join(version.aliases),
            version.tags.get("trimtab.kind", ""),
            datetime.fromtimestamp(version.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
            version.tags.get("trimtab.sha256", "")[:12],
            _gates(version),
        )
    console.print(table)


def _gates(version: Version) -> str:
    """ "5 of 6 passed, forced": what the tags remember of the promotion."""
    said = [text for tag, text in version.tags.items() if tag.startswith(GATE)]
    passed = sum(text.startswith("passed") for text in said)
    forced = ", forced" if "trimtab.forced" in version.tags else ""
    return f"{passed} of {len(said)} passed{forced}" if said else ""


def print_bundle(bundle: Bundle, console: Console, version: Version | None = None) -> None:
    """What a manifest says, in the order in which one asks."""
    m = bundle.manifest
    rows: list[tuple[str, str]] = [("policy", f"{m.name} {m.version} ({m.kind})")]
    if version:
        rows += [("version", f"{version.ref} {' '.join(version.aliases)}".strip())]
    changed = ", files changed since" if m.git_dirty else ""
    rows += [
        ("made", f"{m.created} by Trimtab {m.trimtab}, commit {(m.git_commit or 'unknown')[:12]}{changed}"),
        ("trained", f"preset {m.preset or '(own)'}, seed {m.seed}, MLflow run {m.mlflow_run_id or 'none'}"),
        ("on", _data(bundle)),
        ("sees", f"{len(bundle.features)} numbers a row, observation {m.observation.spec_hash[:12]}"),
        ("says", ", ".join(bundle.actions)),
        ("network", f"{m.model.bytes:,} bytes, opset {m.model.opset}, sha256 {m.model.sha256[:12]}"),
        ("export", f"differs from torch by at most {m.model.max_difference:.1e} on {m.model.rows_compared:,} rows"),
    ]
    if version:
        rows += [(f"gate {tag.removeprefix(GATE)}", text) for tag, text in sorted(version.tags.items()) if GATE in tag]
        rows += [("forced", version.tags["trimtab.forced"])] if "trimtab.forced" in version.tags else []
    for name, text in rows:
        console.print(Text(f"{name:14s} ", style="bold") + Text(text), soft_wrap=True)
    _print_table(bundle, console)


def _data(bundle: Bundle) -> str:
    """ "nab 3, aiops2018 8 traces"."""
    counts: dict[str, int] = {}
    for trace in bundle.manifest.data:
        counts[trace.source] = counts.get(trace.source, 0) + 1
    return ", ".join(f"{source} ({count} traces)" for source, count in sorted(counts.items())) or "not stated"


def _print_table(bundle: Bundle, console: Console) -> None:
    made = bundle.manifest.evaluation
    if not made.rows:
        return
    table = Table(title=made.title or "evaluation", title_justify="left", box=None, pad_edge=False)
    for head in made.columns:
        table.add_column(head)
    for row in made.rows:
        table.add_row(*("—" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print()
    console.print(table)


def print_gates(gates: Sequence[Gate], console: Console) -> None:
    """A line a gate."""
    for gate in gates:
        mark = Text("passed ", style="green") if gate.passed else Text("failed ", style="bold red")
        console.print(mark + Text(f"{gate.name:10s} {gate.said}"), soft_wrap=True)


def version_dict(version: Version, bundle: Bundle | None = None) -> dict[str, Any]:
    """As JSON."""
    made: dict[str, Any] = {
        "name": version.name, "version": version.number, "aliases": list(version.aliases), "tags": version.tags,
        "created_ms": version.created_ms, "run_id": version.run_id,
    }  # fmt: skip
    if bundle:
        made["manifest"] = bundle.manifest.model_dump(mode="json")
    return made
