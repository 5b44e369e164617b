"""`run`: what a scenario would have cost under every stack, and which SLOs each would have broken."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.errors import InputError
from envs.scenario import Scenario
from envs.stack import Stack
from optimizer.grid import Cell, Row, build_cells, build_rows, trimtab_version

if TYPE_CHECKING:
    import pandas as pd

    from optimizer.bound import Ahead
    from optimizer.cell_run import Simulate
    from optimizer.cell_store import CellStore

Progress = Callable[["Step"], None]


@dataclass(frozen=True)
class Step:
    """How far a run is. days: simulated days of all cells together, those found on disk left out.

    bounds: lower bounds to work out once all cells are there, one per variation and seed.
    """

    cells_done: int
    cells: int
    days_done: float
    days: float
    bounds_done: int = 0
    bounds: int = 0


@dataclass(frozen=True)
class About:
    """The exact inputs, and what there is to say about the run beside its numbers."""

    scenario: Scenario
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    days: float
    version: str
    fingerprint: str
    notes: tuple[str, ...]
    unreachable_slos: dict[int, tuple[str, ...]]  # row -> workloads that no replica count can serve well enough
    unschedulable: dict[int, tuple[str, ...]]  # row -> workloads with pods that no node group can hold


@dataclass(frozen=True)
class WhatIf:
    """Everything as pandas DataFrames; docs/guides/whatif.md describes each column.

    Each frame has `row`, `stack` and `variation` in front. table: one line per row of the grid, averaged
    over seeds. by_namespace, by_team, by_pool: its cost taken apart; each adds up to the row's cost.
    workloads: SLO and cost of each workload. worst_hours: ten per row. hourly: the cluster hour by
    hour, every seed. pool_hours, type_hours: every seed; workload_hours: the first seed, the
    workloads worth drawing. resilience: what each fault cost each row beyond a run without it
    (`optimizer.resilience`); empty without faults and spot nodes. `out` is None when nothing was kept on disk.
    """

    table: pd.DataFrame
    by_namespace: pd.DataFrame
    by_team: pd.DataFrame
    by_pool: pd.DataFrame
    workloads: pd.DataFrame
    worst_hours: pd.DataFrame
    hourly: pd.DataFrame
    pool_hours: pd.DataFrame
    type_hours: pd.DataFrame
    workload_hours: pd.DataFrame
    resilience: pd.DataFrame
    about: About
    out: Path | None


def run(
    scenario: str | Path | Scenario,
    *,
    stacks: Sequence[str | Stack] | None = None,
    vary: Sequence[str] = (),
    days: float | None = None,
    seeds: int = 1,
    out: str | Path | None = None,
    jobs: int | None = None,
    resume: bool = False,
    force: bool = False,
    sensitivity: bool = False,
    bound: bool = False,
    progress: Progress | None = None,
    simulate: Simulate | None = None,
) -> WhatIf:
    """Run every stack x variation x seed and compare.

    scenario: name of the gallery, a YAML file, or a Scenario. stacks: names, files or Stacks; None takes
    the scenario's own. vary: "path=v1,v2" each; several make every combination. days: None runs the
    whole horizon. seeds: this many, from the scenario's own upward. out: folder for results and
    finished cells; None keeps nothing. jobs: processes; None takes every core, and any number gives
    identical bytes. resume: go on with the cells that `out` holds. force: start afresh in an `out` that a
    former run filled. sensitivity: rows at 0.5x and 2x CPU requests for stacks that scale on CPU. bound: add
    to the table what perfect foresight would have paid for the same service (docs/design/bound.md).

    More than one job spawns processes: a script calls this under `if __name__ == "__main__"`.
    Raises InputError on bad input (nothing is written) and KeyboardInterrupt on Ctrl-C (finished cells stay).
    """
    rows = plan(scenario, stacks=stacks, vary=vary, sensitivity=sensitivity)
    _check_counts(rows[0].scenario, days=days, seeds=seeds, jobs=jobs)
    cells = build_cells(rows, seeds=seeds, days=days)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="trimtab-") as folder:
            place = Path(folder)
            return _run_in(place, cells, jobs=jobs, progress=progress, simulate=simulate, keep=False, bound=bound)
    from optimizer.cell_store import claim_output

    place = Path(out)
    claim_output(place, cells, resume=resume, force=force)
    return _run_in(place, cells, jobs=jobs, progress=progress, simulate=simulate, keep=True, bound=bound)


def plan(
    scenario: str | Path | Scenario,
    *,
    stacks: Sequence[str | Stack] | None = None,
    vary: Sequence[str] = (),
    sensitivity: bool = False,
) -> list[Row]:
    """The rows of a what-if, first row first. Reads every file it needs; writes nothing."""
    from optimizer.inputs import load_variations

    return build_rows(load_variations(scenario, stacks, vary), sensitivity=sensitivity)


def _check_counts(scenario: Scenario, *, days: float | None, seeds: int, jobs: int | None) -> None:
    if days is not None and not 0 < days < float("inf"):
        raise InputError(None, "--days", days, "give a number of days above 0")
    if seeds < 1:
        raise InputError(None, "--seeds", seeds, "give at least 1")
    if jobs is not None and jobs < 1:
        raise InputError(None, "--jobs", jobs, "give at least 1, or leave it out for every core")
    if scenario.horizon_s <= 0:
        raise InputError(scenario.source, "horizon", scenario.horizon_s, "give a horizon above 0")


def _run_in(
    out: Path,
    cells: Sequence[Cell],
    *,
    jobs: int | None,
    progress: Progress | None,
    simulate: Simulate | None,
    keep: bool,
    bound: bool,
) -> WhatIf:
    from envs.executor import pick_executor
    from optimizer.cell_run import Task, run_cell
    from optimizer.cell_store import CellStore
    from optimizer.timeline_file import NODES_FILE, WORKLOADS_FILE, join_timelines

    store = CellStore(out)
    tasks = [Task(i, cell, out, simulate) for i, cell in enumerate(cells) if not store.is_finished(cell)]
    tasks.sort(
        key=lambda task: task.cell.row.stack.learned is None and task.cell.row.stack.replay is None
    )  # long first
    watch = _Watch(cells, tasks, progress)
    if simulate is None and len(tasks) > 1:
        _compile_once()
    ahead = _ahead(cells) if bound else None
    with pick_executor(jobs, len(tasks)) as executor:
        for task, _ in executor.run(run_cell, tasks, watch.day):
            watch.finished(task.index)
    result = assemble(store, cells, out if keep else None)
    if ahead is not None:
        result = _with_bounds(result, store, ahead, watch)
    if keep:
        for name in (WORKLOADS_FILE, NODES_FILE):
            join_timelines(out, {cell.name: store.place(cell) for cell in cells}, name)
        result.table.to_csv(out / "results.csv", index=False, lineterminator="\n")
        result.table.to_parquet(out / "results.parquet", index=False)
        if len(result.resilience):
            result.resilience.to_csv(out / "resilience.csv", index=False, lineterminator="\n")
    return result


def _ahead(cells: Sequence[Cell]) -> Ahead:
    from optimizer.bound import Ahead

    return Ahead(cells)


def _with_bounds(result: WhatIf, store: CellStore, ahead: Ahead, watch: _Watch) -> WhatIf:
    from optimizer.bound import add_bounds, bounds_of, without_broken

    bounds, defects = without_broken(bounds_of(store, ahead, tell=watch.bound), result.hourly)
    about = replace(result.about, notes=(*result.about.notes, *defects))
    return replace(result, table=add_bounds(result.table, bounds), about=about)


def _compile_once() -> None:
    """On the very first run compile the kernels here, so that not every worker does it for itself."""
    from envs.sim.jit import cache_dir

    if not cache_dir().exists():
        from envs.sim.warmup import compile_kernels

        compile_kernels()


class _Watch:
    """Turns days told by workers into steps for the caller."""

    def __init__(self, cells: Sequence[Cell], tasks: Sequence[Any], progress: Progress | None) -> None:
        self._length = {task.index: task.cell.horizon_s / 86400.0 for task in tasks}
        self._days = dict.fromkeys(self._length, 0.0)
        self._found = len(cells) - len(tasks)
        self._done = 0
        self._cells = len(cells)
        self._progress = progress
        self._bounds = (0, 0)
        self._tell()

    def day(self, told: tuple[int, float]) -> None:
        """(cell index, simulated days of it that are done)."""
        index, done = told
        self._days[index] = max(self._days[index], min(done, self._length[index]))
        self._tell()

    def finished(self, index: int) -> None:
        self._done += 1
        self.day((index, self._length[index]))

    def bound(self, done: int, count: int) -> None:
        self._bounds = (done, count)
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            days, total = sum(self._days.values()), sum(self._length.values())
            self._progress(Step(self._found + self._done, self._cells, days, total, *self._bounds))


def assemble(store: CellStore, cells: Sequence[Cell], out: Path | None) -> WhatIf:
    """Put the frames together from finished cells, in the order of the grid."""
    from optimizer import results
    from optimizer.resilience import resilience_table

    rows = tuple({cell.row.index: cell.row for cell in cells}.values())
    first = [next(c for c in cells if c.row.index == row.index) for row in rows]
    hourly = results.stacked(store, cells, "hours")
    pool_hours = results.stacked(store, cells, "pool_hours")
    workloads = results.workload_table(results.stacked(store, cells, "workloads"))
    table = results.summary_table(rows, hourly, workloads)
    return WhatIf(
        table=table,
        by_namespace=results.cost_by("namespace", workloads, table),
        by_team=results.cost_by("team", workloads, table),
        by_pool=results.cost_by_pool(pool_hours, table),
        workloads=workloads,
        worst_hours=results.worst_hours_table(results.stacked(store, cells, "worst_hours")),
        hourly=hourly,
        pool_hours=pool_hours,
        type_hours=results.stacked(store, cells, "type_hours"),
        workload_hours=results.workload_hours(store, first, results.detail_workloads(workloads)),
        resilience=resilience_table(results.stacked(store, cells, "resilience")),
        about=_about(store, cells, rows),
        out=out,
    )


def _about(store: CellStore, cells: Sequence[Cell], rows: tuple[Row, ...]) -> About:
    said = {id(cell): store.about(cell) for cell in cells}
    notes = dict.fromkeys(note for cell in cells for note in said[id(cell)]["notes"])

    def by_row(key: str) -> dict[int, tuple[str, ...]]:
        found: dict[int, dict[str, None]] = {row.index: {} for row in rows}
        for cell in cells:
            found[cell.row.index] |= dict.fromkeys(said[id(cell)][key])
        return {index: tuple(names) for index, names in found.items() if names}

    return About(
        scenario=rows[0].scenario,
        rows=rows,
        seeds=tuple(dict.fromkeys(cell.seed for cell in cells)),
        days=cells[0].horizon_s / 86400.0,
        version=trimtab_version(),
        fingerprint=cells[0].parts["scenario"],
        notes=tuple(notes),
        unreachable_slos=by_row("unreachable_slos"),
        unschedulable=by_row("unschedulable"),
    )


__all__ = ["About", "Step", "WhatIf", "plan", "run"]
