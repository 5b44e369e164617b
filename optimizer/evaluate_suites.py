"""Suites of traces: which recordings, by checksum. The recordings lie in a folder of the user's (--load-dir).

suite: train-traces    what the shipped tuned stacks and policies may be fitted to
suite: validation      whole sources held out of that, to choose by
suite: dev             to look at between releases; nothing is trained, tuned or chosen on it
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.schema_errors import validate
from envs.schema_types import StrictModel
from envs.suite import suite_names
from envs.yaml_reader import read_yaml
from optimizer.evaluate_traces import Recorded, read_folder

TRACES = Path(__file__).parents[1] / "envs" / "suites" / "traces"


class TraceEntry(StrictModel):
    """One recording."""

    trace: str = Field(min_length=1, max_length=300)
    """Its file's name without ending."""
    source: str = Field(min_length=1, max_length=300)
    """Where it comes from; figures are given per source."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the file as it lies in the folder."""


class TraceSuite(StrictModel):
    """A frozen list of recordings."""

    description: str = Field(default="", max_length=500)
    """One sentence: what it is for."""
    traces: tuple[TraceEntry, ...] = Field(min_length=1, max_length=10_000)
    """What is judged."""


def trace_suite_names() -> list[str]:
    """Those that ship."""
    return sorted(path.stem for path in TRACES.glob("*.yaml"))


def is_trace_suite(name_or_path: str) -> bool:
    """Whether a suite is one of traces: by its name, or by what a file says."""
    if name_or_path in trace_suite_names():
        return True
    path = Path(name_or_path)
    if name_or_path in suite_names() or not path.is_file():
        return False
    data = read_yaml(path).data
    return isinstance(data, dict) and "traces" in data


def load_trace_suite(name_or_path: str) -> TraceSuite:
    """Raises InputError: an unknown name, a wrong key or value."""
    if name_or_path in trace_suite_names():
        return validate(TraceSuite, read_yaml(TRACES / f"{name_or_path}.yaml"))
    if not Path(name_or_path).is_file():
        mend = did_you_mean(name_or_path, trace_suite_names(), noun="suite of traces")
        raise InputError(None, "--suite", name_or_path, mend)
    return validate(TraceSuite, read_yaml(Path(name_or_path)))


def traces_of(suite: TraceSuite, folder: Path) -> tuple[list[Recorded], list[str]]:
    """The suite's recordings in a folder, and a line for each that cannot be judged.

    Raises InputError for a recording that is not there, or that is not the one that the suite means.
    """
    wanted = {entry.trace: entry for entry in suite.traces}
    found, skipped = read_folder(folder, only=frozenset(wanted))
    present = {one.name for one in found} | {line.split(":")[0] for line in skipped}
    missing = [name for name in wanted if name not in present]
    if missing:
        mend = f"{len(missing)} of {len(wanted)} traces of the suite are not there, first {missing[0]}"
        raise InputError(folder, "--load-dir", str(folder), mend)
    for one in found:
        if one.sha256 != wanted[one.name].sha256:
            raise InputError(one.path, "sha256", one.sha256[:12], "is not the file that the suite means; restore it")
    named = [replace(one, source=wanted[one.name].source) for one in found]
    return sorted(named, key=lambda one: (one.source, one.name)), skipped
