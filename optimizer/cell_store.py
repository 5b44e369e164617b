"""Finished cells on disk: OUT/cells/KEY/, complete or not there at all.

A cell is written in a folder of its own beside its place and renamed at the end, so that a kill at
any moment leaves whole cells only. cell.json carries the fingerprint that `--resume` checks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from envs.errors import InputError
from optimizer.grid import Cell
from optimizer.timeline_file import has_timelines

TABLES = ("workloads", "hours", "pool_hours", "type_hours", "workload_hours", "worst_hours", "resilience")
_MENDS = {
    "scenario": "the scenario, its traces or its prices have changed since",
    "stack": "the stack of that name has changed since",
    "days": "it ran for another number of days",
    "version": "it was made by another version of trimtab",
    "simulator": "the simulator has changed since",
}


@dataclass(frozen=True)
class CellStore:
    """The `cells` folder of one output folder."""

    out: Path

    @property
    def folder(self) -> Path:
        return self.out / "cells"

    def place(self, cell: Cell) -> Path:
        return self.folder / cell.key

    def begin(self, cell: Cell) -> Path:
        """An empty folder to write the cell's files in; what an earlier attempt left there is dropped."""
        partial = self.folder / f".{cell.key}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def commit(self, cell: Cell, tables: dict[str, pd.DataFrame], about: dict[str, Any]) -> None:
        """Write the tables and cell.json, and let the cell appear all at once."""
        partial = self.folder / f".{cell.key}.partial"
        for name in TABLES:
            tables[name].to_parquet(partial / f"{name}.parquet", compression="zstd", index=False)
        said = {"key": cell.key, "seed": cell.seed, "fingerprint": cell.parts} | about
        (partial / "cell.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        shutil.rmtree(self.place(cell), ignore_errors=True)  # one whose timeline somebody removed
        os.replace(partial, self.place(cell))

    def abandon(self, cell: Cell) -> None:
        """Drop what a cell that did not end has written."""
        shutil.rmtree(self.folder / f".{cell.key}.partial", ignore_errors=True)

    def is_finished(self, cell: Cell) -> bool:
        """True when the very cell is there; an InputError when another one stands in its place."""
        path = self.place(cell) / "cell.json"
        if not path.is_file():
            return False
        found = _read_json(path).get("fingerprint", {})
        changed = [part for part, digest in cell.parts.items() if found.get(part) != digest]
        if changed:
            raise InputError(
                path,
                "--resume",
                cell.row.label,
                f"cannot go on: {_MENDS[changed[0]]}; give another --out, or --force to start afresh",
            )
        return has_timelines(self.out, self.place(cell), cell.name)

    def about(self, cell: Cell) -> dict[str, Any]:
        return _read_json(self.place(cell) / "cell.json")

    def read(self, cell: Cell, table: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return pd.read_parquet(self.place(cell) / f"{table}.parquet", columns=list(columns) if columns else None)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(path, "cell", None, f"unreadable ({error}); remove this folder and resume") from error
    return loaded if isinstance(loaded, dict) else {}


def claim_output(out: Path, cells: Sequence[Cell], *, resume: bool, force: bool) -> None:
    """Make `out` ready to be written. InputError, with nothing written, when it may not be.

    resume checks the cells that `out` holds against those to be run. force clears what a former run left
    there, and only that: a folder with other things in it is refused.
    """
    if out.exists() and not out.is_dir():
        raise InputError(None, "--out", str(out), "a file of that name exists; give a folder")
    filled = out.is_dir() and any(out.iterdir())
    if filled and not (resume or force):
        raise InputError(
            None,
            "--out",
            str(out),
            "not empty; add --resume to go on, --force to start afresh, or give another",
        )
    if filled and not _is_ours(out):
        raise InputError(None, "--out", str(out), "holds other things than a what-if; give another folder")
    if resume:
        for cell in cells:
            CellStore(out).is_finished(cell)
    if not os.access(_nearest_existing(out), os.W_OK | os.X_OK):
        raise InputError(None, "--out", str(out), "not writable; give a folder that you may write to")
    if filled and force and not resume:
        _clear(out)
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(None, "--out", str(out), f"cannot be made ({error.strerror}); give another folder") from error


OURS = (
    "cells",
    "results.csv",
    "results.parquet",
    "timeline.parquet",
    "timeline_nodes.parquet",
    "report.html",
    "resilience.csv",
)


def _is_ours(out: Path) -> bool:
    return all(path.name in OURS or path.name.endswith(".partial") for path in out.iterdir())


def _clear(out: Path) -> None:
    for path in list(out.iterdir()):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _nearest_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def free_output(name: str, parent: Path) -> Path:
    """`whatif-NAME` in `parent`, or the first of -2, -3, ... that is not taken."""
    return _numbered(name, parent)[-1]


def latest_output(name: str, parent: Path) -> Path:
    """The newest of the folders that `free_output` gave out; the first name if there is none."""
    candidates = _numbered(name, parent)
    return candidates[-2] if len(candidates) > 1 else candidates[0]


def _numbered(name: str, parent: Path) -> list[Path]:
    """Taken names in order, and the first free one."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "scenario"
    candidates = [parent / f"whatif-{safe}"]
    while candidates[-1].exists() and (not candidates[-1].is_dir() or any(candidates[-1].iterdir())):
        candidates.append(parent / f"whatif-{safe}-{len(candidates) + 1}")
    return candidates
