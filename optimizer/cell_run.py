"""Run one cell in this process: simulate, stream its timeline, fold its hours, put it in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from envs.executor import Interrupted, Stopped
from envs.scenario import Scenario
from envs.steered import as_run
from envs.timeline import ROW_S, Names, Rollout, Timeline
from optimizer.cell_store import CellStore
from optimizer.cell_tables import workload_totals, worst_hours
from optimizer.grid import Cell
from optimizer.hours import HourFold
from optimizer.resilience import TotalFold, extra_runs, resilience
from optimizer.timeline_file import TimelineWriter

Simulate = Callable[..., Rollout]  # envs.rollout.rollout, or a stand-in with its signature
Report = Callable[[tuple[int, float]], None]  # (cell index, simulated days of it that are done)


@dataclass(frozen=True)
class Task:
    """What a worker gets: plain data, so that it travels to a spawned process."""

    index: int
    cell: Cell
    out: Path
    simulate: Simulate | None = None


def default_simulate() -> Simulate:
    from optimizer.replay_control import simulate

    return simulate


def run_cell(task: Task, report: Report, stopped: Stopped) -> None:
    """Simulate the cell and leave it finished on disk; what work of an Executor is.

    report and stopped are called after each simulated day. If called off, it raises Interrupted and nothing of the
    cell stays.
    """
    cell, store = task.cell, CellStore(task.out)
    sink = _CellSink(cell, store.begin(cell), task.index, report, stopped)
    try:
        simulate = task.simulate or default_simulate()
        end = simulate(cell.row.scenario, cell.row.stack, cell.seed, days=cell.days, sink=sink)
        sink.close()
        sink.next_run()
        paired = resilience(
            cell.row.scenario, cell.seed, sink.totals, _runner(cell, simulate, sink),
            horizon_s=cell.horizon_s, row_s=sink.fold.row_s,
        )  # fmt: skip
        store.commit(cell, _tables(sink, end) | {"resilience": paired}, _about(cell, end))
    except BaseException:
        sink.close()
        store.abandon(cell)
        raise


def _runner(cell: Cell, simulate: Simulate, sink: _CellSink) -> Callable[[Scenario], TotalFold]:
    """Runs the cell's stack on another scenario, for its totals only."""

    def run(scenario: Scenario) -> TotalFold:
        fold = TotalFold(sink.names)

        def keep(timeline: Timeline) -> None:
            fold(timeline)
            sink.tell(timeline)

        simulate(scenario, cell.row.stack, cell.seed, days=cell.days, sink=keep)
        sink.next_run()
        return fold

    return run


class _CellSink:
    """Hands each day to the timeline's file and to the hourly fold, and says how far it is.

    A cell with faults or spot nodes runs more than once; each run is its part of the cell's days.
    """

    def __init__(self, cell: Cell, folder: Path, index: int, report: Report, stopped: Stopped) -> None:
        scenario = cell.row.scenario
        self.names = Names.of(as_run(scenario, cell.row.stack))
        types, length = scenario.cluster.instance_types, row_s(scenario.tick_s)
        self.fold = HourFold(self.names, types, length, scenario.committed_use)
        self._file = TimelineWriter(
            folder,
            cell.row.stack.name,
            cell.row.variation,
            cell.seed,
            epoch_s(scenario.start_utc),
            self.names,
        )
        self._file.__enter__()
        self._index, self._report, self._stopped = index, report, stopped
        self.totals = TotalFold(self.names)
        self._runs, self._done = 1 + len(extra_runs(scenario)), 0
        self._days = cell.horizon_s / 86400.0

    def __call__(self, timeline: Timeline) -> None:
        self._file(timeline)
        self.fold(timeline)
        if self._runs > 1:
            self.totals(timeline)
        self.tell(timeline)

    def tell(self, timeline: Timeline) -> None:
        """Report how far the run in work is. Raises Interrupted where it was called off."""
        if self._stopped():
            raise Interrupted
        days = float(timeline.time_s[-1] + self.fold.row_s) / 86400.0
        self._report((self._index, (self._done * self._days + days) / self._runs))

    def next_run(self) -> None:
        self._done += 1

    def close(self) -> None:
        self._file.__exit__()


def row_s(tick_s: float) -> float:
    """Seconds that a row of a Timeline covers: 5 minutes, or the whole number of ticks nearest to it."""
    return max(round(ROW_S / tick_s), 1) * tick_s


def epoch_s(start_utc: str) -> int:
    """Seconds since 1970 of a scenario's start, "2026-01-05T00:00:00Z"."""
    start = datetime.fromisoformat(start_utc)
    return int((start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp())


def _tables(sink: _CellSink, end: Rollout) -> dict[str, pd.DataFrame]:
    fold = sink.fold
    if end.names != sink.names:
        raise RuntimeError("the rollout names its axes otherwise than its scenario does")
    return {
        "workloads": workload_totals(fold),
        "hours": fold.cluster_hours(),
        "pool_hours": fold.pool_hours(),
        "type_hours": fold.type_hours(),
        "workload_hours": fold.workload_hours(),
        "worst_hours": worst_hours(fold),
    }


def _about(cell: Cell, end: Rollout) -> dict[str, Any]:
    """What cell.json says. No wall-clock time: equal inputs give equal bytes."""
    return {
        "stack": cell.row.stack.name,
        "variation": cell.row.variation,
        "scenario": end.scenario,
        "horizon_s": end.horizon_s,
        "ticks": end.ticks,
        "unreachable_slos": list(end.unreachable_slos),
        "unschedulable": list(end.unschedulable),
        "notes": list(end.notes),
    }
