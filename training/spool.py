"""The spool: what a run has to tell a tracking server, as JSON lines in the run's folder, sent or not.

`RUN/tracking/spool.jsonl` is only ever appended to, `artifacts/` holds copies of the files as they were, `sent.json`
says how far a server has it. A trainer writes the first two, one uploader at a time (a lock) the third; neither waits
for the other, and both may be killed at any moment.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from envs.plain import number_in, number_out

Record = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """How far server `uri` has the spool: `offset` bytes of it. run_id: the server's name for the run."""

    uri: str
    offset: int = 0
    run_id: str | None = None


class Spool:
    """The files of one run's tracking."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "tracking"
        self.lines = self.folder / "spool.jsonl"
        self.artifacts = self.folder / "artifacts"
        self._sent = self.folder / "sent.json"
        self._lock = self.folder / "lock"

    def open(self) -> IO[bytes]:
        """To append to. What a killed trainer left of a half-written line is cut off."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        stream = self.lines.open("a+b")
        stream.seek(0)
        whole = stream.read().rfind(b"\n") + 1
        stream.truncate(whole)
        stream.seek(whole)
        return stream

    def records(self, offset: int = 0) -> Iterator[tuple[int, Record]]:
        """(offset behind it, record) of each whole line from `offset` on."""
        if not self.lines.exists():
            return
        with self.lines.open("rb") as stream:
            stream.seek(offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield offset, json.loads(line)

    def keep(self, path: Path, number: int) -> str:
        """Copy a file or folder; its name below artifacts/. Raises FileNotFoundError."""
        place = self.artifacts / f"{number:06d}" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, place, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, place)
        return str(place.relative_to(self.artifacts))

    def sent(self, uri: str) -> Sent:
        """What this server has; another server starts at nothing."""
        try:
            plain = json.loads(self._sent.read_text(encoding="utf-8"))
            found = Sent(str(plain["uri"]), int(plain["offset"]), plain["run_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return Sent(uri)
        return found if found.uri == uri else Sent(uri)

    def note(self, sent: Sent) -> None:
        """Remember it, whole or not at all."""
        made = self._sent.with_suffix(".new")
        made.write_text(json.dumps(vars(sent)), encoding="utf-8")
        made.replace(self._sent)

    def run_id(self) -> str | None:
        """The run's name on the server that was reached last."""
        try:
            found: str | None = json.loads(self._sent.read_text(encoding="utf-8"))["run_id"]
            return found
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def parent(self) -> Spool | None:
        """The spool of the run that this one is a part of, which goes first; None without one, or if it is gone."""
        _, first = next(self.records(), (0, {}))
        if not first.get("parent"):
            return None
        found = Spool(self.folder.parent / first["parent"])
        return found if found.lines.exists() else None

    def size(self) -> int:
        return self.lines.stat().st_size if self.lines.exists() else 0

    @contextmanager
    def locked(self, *, wait: bool) -> Iterator[bool]:
        """Whether this process is now the one uploader of the spool."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError:
                yield False
                return
            yield True  # closing the file gives the lock back


def line_of(record: Mapping[str, Any]) -> bytes:
    """One line of the spool. ValueError for numbers that are not finite: see `values_out`."""
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def values_out(values: Mapping[str, float]) -> dict[str, Any]:
    """Metrics as JSON can hold them."""
    return {name: number_out(float(value)) for name, value in values.items()}


def values_in(plain: Mapping[str, Any]) -> dict[str, float]:
    """The metrics back."""
    return {name: number_in(value) for name, value in plain.items()}


def last_steps(spool: Spool) -> dict[str, int]:
    """Per metric the last step on the spool: a resumed run tells each step once."""
    found: dict[str, int] = {}
    for _, record in spool.records():
        if record["kind"] == "metrics":
            found |= {name: max(record["step"], found.get(name, record["step"])) for name in record["values"]}
    return found


def pending(runs: Path) -> list[Path]:
    """Runs below a folder whose spool no server has whole, oldest first."""
    found = []
    for lines in sorted(runs.glob("*/tracking/spool.jsonl"), key=os.path.getmtime):
        spool = Spool(lines.parent.parent)
        try:
            offset = json.loads((spool.folder / "sent.json").read_text(encoding="utf-8"))["offset"]
        except (OSError, ValueError, KeyError, TypeError):
            offset = 0
        if offset < spool.size():
            found.append(lines.parent.parent)
    return found
