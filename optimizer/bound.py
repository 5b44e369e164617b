"""What perfect foresight would have paid, beside what each row of a what-if did.

Two service levels: the row's own (as many good and bad requests of each workload and seed as it had), and the
objectives of the scenario. The first is never above the row's cost; envs.bound_tables and policies.clairvoyant
say how, docs/design/bound.md what is left out.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from envs.bound import Served, defect, is_broken
from envs.scenario import Scenario
from optimizer.grid import Cell

if TYPE_CHECKING:
    from optimizer.cell_store import CellStore
    from policies.clairvoyant import Clairvoyant

COLUMNS = ("bound_usd", "above_bound", "bound_at_slo_usd")


Known = tuple["Clairvoyant", np.ndarray]


class Ahead:
    """What bounds stand on, worked out in a thread of its own while the cells run: it needs no cell.

    Demand and machines are read once per variation and seed, whatever the number of stacks.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        groups: dict[tuple[int, int], list[Cell]] = {}
        for cell in cells:
            groups.setdefault((id(cell.row.scenario), cell.seed), []).append(cell)
        self.groups = list(groups.values())
        self._found: queue.SimpleQueue[Known | BaseException] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            for members in self.groups:
                self._found.put(clairvoyant_of(members[0].row.scenario, members[0].seed, members[0].days))
        except BaseException as error:  # for `next` to raise
            self._found.put(error)

    def next(self) -> Known:
        """Of the next group, in order; waits for it. Raises what went wrong there."""
        found = self._found.get()
        if isinstance(found, BaseException):
            raise found
        return found


def bounds_of(store: CellStore, ahead: Ahead, *, tell: Callable[[int, int], None]) -> pd.DataFrame:
    """One line per cell: row, seed, usd at the cell's own service level and usd_at_slo (NaN: nothing meets an SLO).

    tell(done, all) counts variations and seeds.
    """
    lines = []
    for done, members in enumerate(ahead.groups):
        tell(done, len(ahead.groups))
        lines += _lines(store, members, *ahead.next())
    tell(len(ahead.groups), len(ahead.groups))
    return pd.DataFrame(lines).sort_values(["row", "seed"], kind="stable").reset_index(drop=True)


def _lines(store: CellStore, cells: Sequence[Cell], known: Clairvoyant, offered: np.ndarray) -> list[dict[str, float]]:
    scenario = cells[0].row.scenario
    slo = np.array([w.slo_target for w in scenario.cluster.workloads])
    at_slo = known.at(Served(offered, slo * offered, (1.0 - slo) * offered)).usd
    if store.about(cells[0])["unreachable_slos"]:
        at_slo = float("nan")  # no money is enough
    return [
        {
            "row": cell.row.index,
            "seed": cell.seed,
            "usd": known.at(served_of(store.read(cell, "workloads"))).usd,
            "usd_at_slo": at_slo,
        }
        for cell in cells
    ]


def clairvoyant_of(scenario: Scenario, seed: int, days: float | None) -> tuple[Clairvoyant, np.ndarray]:
    """(bounds at any service level, requests offered to each workload)."""
    from envs.bound_tables import foresee
    from policies.clairvoyant import Clairvoyant

    known = foresee(scenario, seed, days=days, threads=os.cpu_count() or 1)
    slo = np.array([w.slo_target for w in scenario.cluster.workloads])
    return Clairvoyant(known, slo), known.offered


def served_of(workloads: pd.DataFrame) -> Served:
    """The service level that a cell attained; its table has one line per workload, in the cluster's order."""
    columns = [workloads[name].to_numpy(float) for name in ("offered", "good", "bad")]
    return Served(*columns)


def without_broken(bounds: pd.DataFrame, hourly: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """(bounds with NaN in place of those that are above what their own cell paid, a line for each of these).

    hourly: of every cell, with its row, stack, variation, seed and usd. A bound above a bill is said, never shown as a
    negative distance or averaged away.
    """
    paid = hourly.groupby(["row", "seed"])["usd"].sum().to_dict()
    names = hourly.drop_duplicates("row").set_index("row")[["stack", "variation"]].astype(str).agg(" ".join, axis=1)
    usd, lines = bounds["usd"].copy(), []
    for row, seed, least in bounds[["row", "seed", "usd"]].to_numpy(float).tolist():
        bill = float(paid[int(row), int(seed)])
        if is_broken(least, bill):
            lines.append(defect(f"{str(names[int(row)]).strip()}, seed {int(seed)}", least, bill))
            usd[bounds["row"] == row] = np.nan
    return bounds.assign(usd=usd), tuple(lines)


def add_bounds(table: pd.DataFrame, bounds: pd.DataFrame) -> pd.DataFrame:
    """The summary table with COLUMNS: means over seeds, and by what share the row's cost is above the first."""
    means = bounds.groupby("row")[["usd", "usd_at_slo"]].mean()
    usd = table["row"].map(means["usd"])
    above = (table["cost_usd"] / usd - 1.0).where(usd > 0.0)
    return table.assign(bound_usd=usd, above_bound=above, bound_at_slo_usd=table["row"].map(means["usd_at_slo"]))
