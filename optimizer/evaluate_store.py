"""Finished runs on disk, one JSON line each, so that an evaluation that was stopped goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.stack_file import document_of
from optimizer.evaluate_run import Run
from optimizer.evaluate_sweep import Point
from optimizer.grid import simulator_hash, trimtab_version
from optimizer.stack_bundle import bundle_mark
from optimizer.tune_trials import outcome_from

RUNS = "runs.jsonl"
OURS = (RUNS, "report.html", "results.csv", "results.parquet", "results.json")
Key = tuple[str, str, int]  # case, policy, number of the setting (0 = its own)


def about(cases: str, policies: dict[str, Sequence[Point]]) -> dict[str, Any]:
    """What makes two evaluations the same one."""
    marks = {name: mark for name, points in policies.items() if (mark := bundle_mark(points[0].stack))}
    return {
        **({"bundles": marks} if marks else {}),
        "cases": cases,
        "policies": {name: [[p.label, document_of(p.stack)] for p in points] for name, points in policies.items()},
        "version": trimtab_version(),
        "simulator": simulator_hash(),
    }


class RunFile:
    """A line that says what the evaluation is, then a line per run. `known`: what it holds."""

    def __init__(self, path: Path | None, said: dict[str, Any], *, resume: bool = False) -> None:
        self._path, self.known, self.bounds = path, dict[Key, Run](), dict[tuple[str, str], float]()
        if path is None:
            return
        if resume and path.is_file():
            self._read(path, said)
        else:
            path.write_text(json.dumps(said) + "\n", encoding="utf-8")

    def keep(self, key: Key, run: Run) -> None:
        self.known[key] = run
        self._append({"case": key[0], "policy": key[1], "setting": key[2], **asdict(run)})

    def keep_bound(self, case: str, policy: str, usd: float) -> None:
        """The lower bound at the service level of a policy's own setting."""
        self.bounds[case, policy] = usd
        self._append({"case": case, "policy": policy, "bound_usd": usd})

    def _append(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    def _read(self, path: Path, said: dict[str, Any]) -> None:
        """A last line that a kill cut short is dropped. Raises InputError for the runs of another evaluation."""
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        _check(path, whole[0] if whole else "", json.loads(json.dumps(said)))
        if len(whole) < len(lines):
            path.write_text("".join(whole), encoding="utf-8")
        for number, line in enumerate(whole[1:], 2):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise InputError(path, f"line {number}", None, f"is no run ({error}); use --force") from None

    def _take(self, found: dict[str, Any]) -> None:
        if "bound_usd" in found:
            self.bounds[found["case"], found["policy"]] = float(found["bound_usd"])
            return
        key = (found.pop("case"), found.pop("policy"), int(found.pop("setting")))
        self.known[key] = Run(**found | {"outcome": outcome_from(found["outcome"])})


def _check(path: Path, line: str, said: dict[str, Any]) -> None:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(path, "--resume", None, "is no file of runs; use --force to start afresh")
    for key, value in said.items():
        if found.get(key) != value:
            mend = f"cannot go on: {key} differs from what was asked for; give another --out, or --force"
            raise InputError(path, "--resume", None, mend)


def claim_folder(out: Path, *, resume: bool, force: bool) -> None:
    """Make `out` ready. InputError, with nothing written, when it is taken; force clears what we left there."""
    if out.exists() and not out.is_dir():
        raise InputError(None, "--out", str(out), "a file of that name exists; give a folder")
    filled = out.is_dir() and any(out.iterdir())
    if filled and not (resume or force):
        mend = "not empty; add --resume to go on, --force to start afresh, or give another"
        raise InputError(None, "--out", str(out), mend)
    if filled and not all(path.name in OURS for path in out.iterdir()):
        raise InputError(None, "--out", str(out), "holds other things than an evaluation; give another folder")
    if filled and force and not resume:
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(None, "--out", str(out), f"cannot be made ({error.strerror}); give another folder") from error
