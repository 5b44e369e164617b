"""The grid of a what-if: every stack x variation x seed is one cell, with a name and a fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from envs.scenario import Scenario, TraceDemand
from envs.stack import HpaSpec, Stack
from optimizer.stack_bundle import bundle_mark

Override = tuple[str, str]  # (path, text), as `--vary path=text` says it


@dataclass(frozen=True)
class Row:
    """One line of the table: a stack on one variation of the scenario. Its seeds are averaged."""

    index: int
    stack: Stack
    scenario: Scenario
    overrides: tuple[Override, ...] = ()

    @property
    def variation(self) -> str:
        """What differs from the scenario as written: "price=2, pools.web.max_nodes=40"; empty if nothing."""
        return ", ".join(f"{path}={text}" for path, text in self.overrides)

    @property
    def label(self) -> str:
        return f"{self.stack.name} · {self.variation}" if self.overrides else self.stack.name


@dataclass(frozen=True)
class Cell:
    """One rollout: a row and a seed. `days` None runs the scenario's whole horizon."""

    row: Row
    seed: int
    days: float | None = None
    parts: dict[str, str] = field(default_factory=dict)  # fingerprint, part by part

    @property
    def key(self) -> str:
        """Folder name: readable, safe on every file system, and its own for every cell of a grid."""
        variation = hashlib.sha256(self.row.variation.encode()).hexdigest()[:6] if self.row.overrides else "base"
        name = re.sub(r"[^A-Za-z0-9-]+", "-", self.row.stack.name).strip("-")[:40] or "stack"
        clash = hashlib.sha256(self.row.stack.name.encode()).hexdigest()[:4]
        return f"{name}-{clash}-{variation}-seed{self.seed}"

    @property
    def name(self) -> tuple[str, str, int]:
        """What tells the cell from the others of its grid."""
        return self.row.stack.name, self.row.variation, self.seed

    @property
    def horizon_s(self) -> float:
        full = self.row.scenario.horizon_s
        return full if self.days is None else min(full, self.days * 86400.0)


def build_rows(variations: Sequence[tuple[Scenario, tuple[Override, ...]]], *, sensitivity: bool = False) -> list[Row]:
    """Rows in the order of the table: stack by stack, its variations in the order given.

    Each variation carries its own stacks, equally many, in the same order. sensitivity adds, to each
    stack that scales on CPU utilization, what it would have cost and broken had the CPU requests been half
    or twice what they are.
    """
    rows: list[Row] = []
    for position in range(len(variations[0][0].stacks)):
        for scenario, overrides in variations:
            row = Row(0, scenario.stacks[position], scenario, overrides)
            rows += [row, *(_sensitivity_rows(row) if sensitivity and scales_on_cpu(row.stack) else [])]
    return [replace(row, index=index) for index, row in enumerate(rows)]


def scales_on_cpu(stack: Stack) -> bool:
    """True when the CPU request decides how many replicas the stack keeps."""
    hpa = stack.replicas if isinstance(stack.replicas, HpaSpec) else getattr(stack.replicas, "hpa", None)
    return hpa is not None and any(m.name == "cpu" and m.target_type == "Utilization" for m in hpa.metrics)


def _sensitivity_rows(row: Row) -> list[Row]:
    return [
        replace(
            row,
            scenario=with_cpu_requests(row.scenario, factor),
            overrides=(*row.overrides, ("cpu request", text)),
        )
        for factor, text in ((0.5, "0.5x"), (2.0, "2x"))
    ]


def with_cpu_requests(scenario: Scenario, factor: float) -> Scenario:
    """The scenario with every workload's CPU request multiplied; limits stay, and never cut below it."""
    workloads = tuple(
        replace(w, cpu_request=min(w.cpu_request * factor, w.cpu_limit)) for w in scenario.cluster.workloads
    )
    return replace(scenario, cluster=replace(scenario.cluster, workloads=workloads))


def build_cells(rows: Sequence[Row], *, seeds: int, days: float | None) -> list[Cell]:
    """Cells in table order, seeds scenario.seed, +1, ...; each carries its fingerprint."""
    prints: dict[int, str] = {}
    cells = []
    for row in rows:
        if id(row.scenario) not in prints:
            prints[id(row.scenario)] = scenario_fingerprint(row.scenario)
        for k in range(seeds):
            cell = Cell(row, row.scenario.seed + k, days)
            cells.append(replace(cell, parts=_fingerprint_parts(cell, prints[id(row.scenario)])))
    return cells


def _fingerprint_parts(cell: Cell, scenario: str) -> dict[str, str]:
    return {
        "scenario": scenario,
        "stack": _digest(_plain(asdict(cell.row.stack))),
        **bundle_mark(cell.row.stack),
        "days": f"{cell.horizon_s / 86400.0:g}",
        "version": trimtab_version(),
        "simulator": simulator_hash(),
    }


def scenario_fingerprint(scenario: Scenario) -> str:
    """Hex digest of what a scenario says and of the bytes of the traces that it names.

    Where the files lie, the name of the scenario's own file, its stacks and its prose do not count.
    """
    plain = _plain(asdict(replace(scenario, source=None, stacks=(), description="", seed=0)))
    for demand, said in zip(scenario.demand, plain["demand"], strict=True):
        if isinstance(demand, TraceDemand):
            said["path"] = hashlib.sha256(demand.path.read_bytes()).hexdigest()
    return _digest(plain)


def trimtab_version() -> str:
    """The installed version; results of different versions are never mixed."""
    try:
        return version("trimtab")
    except PackageNotFoundError:
        return "0+source"


@lru_cache(maxsize=1)
def simulator_hash() -> str:
    """Digest of the simulator's kernels: a development tree changes them without a new version."""
    from envs.sim.jit import source_hash

    return source_hash()


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Dataclass content as JSON types; floats as their shortest exact text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return repr(value)
    return str(value) if isinstance(value, Path) else value
