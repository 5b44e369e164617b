"""Tracking a training run with MLflow, without ever waiting for it.

    with Tracker(folder, "trimtab", params) as t:
        t.metrics({"loss": 0.3, "rows_per_s": 61_000}, step)

Everything goes to the spool in `folder` (see `training.spool`), in microseconds. A process of its own, at low priority,
sends it to the server and tries again while that is down; what is left at the end is sent at the next start.

The server is MLFLOW_TRACKING_URI, or `mlflow.db` with `mlruns/` in the current folder.
"""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from policies.manifest import TraceUsed
from policies.mlflow_uri import tracking_uri
from training.provenance import commit, trimtab_version
from training.secret_words import flat
from training.spool import Spool, last_steps, line_of, pending, values_out

NAME = re.compile(r"[^\w./ -]")
FLUSH_S = 60.0


class Tracker:
    """One run's tracking: a context manager. Opening a folder that has a spool goes on with the same run.

    A step that a metric has on the spool already is not written again, so that a run resumed from a checkpoint has each
    step once.
    """

    def __init__(
        self,
        folder: Path,
        experiment: str,
        params: Mapping[str, Any],
        *,
        name: str = "",
        data: Sequence[TraceUsed] = (),
        parent: Path | None = None,
        flush_s: float = FLUSH_S,
        retry_max_s: float = 15.0,
    ) -> None:
        """data: what is trained on, recorded with checksums. parent: folder of the sweep that this run is a part of.
        flush_s: how long the end waits for the server.
        """
        self.folder, self.experiment, self.params = folder, experiment, flat(params)
        self.name, self.data, self.parent = name or folder.name, data, parent
        self.flush_s, self.retry_max_s = flush_s, retry_max_s
        self._spool = Spool(folder)
        self._stream: IO[bytes] | None = None
        self._uploader: subprocess.Popen[bytes] | None = None
        self._last: dict[str, int] = {}
        self._kept = 0

    def __enter__(self) -> Tracker:
        self._last = last_steps(self._spool)
        self._stream = self._spool.open()
        self._kept = len(list(self._spool.artifacts.iterdir()))
        self._write(self._first() if self._stream.tell() == 0 else {"kind": "resume"})
        self._uploader = _start(self.folder, self.retry_max_s)
        if self.data and self._kept == 0:
            self.table("data", [row.model_dump() for row in self.data])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Note how it ended, and wait for the server to have it all, at most flush_s."""
        failed = "KILLED" if kind in (KeyboardInterrupt, SystemExit) else "FAILED"
        self._write({"kind": "end", "status": failed if kind else "FINISHED"})
        if self._stream:
            self._stream.close()
        if self._uploader and not _finish(self._uploader, self.flush_s):
            sys.stderr.write(
                f"trimtab: the tracking server does not have all of this run yet; the next start of a run in "
                f"{self.folder.parent} sends what is left, or: python -m training.uploader {self.folder}\n"
            )

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run; None until a server was reached."""
        return self._spool.run_id()

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a curve."""
        self.metrics({name: value}, step)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """A point of several curves. NaN and infinity are allowed."""
        fresh = {NAME.sub("_", name): value for name, value in values.items()}
        fresh = {name: value for name, value in fresh.items() if step > self._last.get(name, step - 1)}
        if fresh:
            self._last |= dict.fromkeys(fresh, step)
            self._write({"kind": "metrics", "step": step, "values": values_out(fresh)})

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows as tables/NAME.csv; columns are the keys in order of appearance."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._kept += 1
        place = self._spool.artifacts / f"{self._kept:06d}" / f"{NAME.sub('_', name).replace('/', '_')}.csv"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.getvalue(), encoding="utf-8")
        self._write({"kind": "artifact", "path": str(place.relative_to(self._spool.artifacts)), "under": "tables"})

    def artifact(self, path: Path, under: str = "") -> None:
        """A file or folder as it is now, below `under` in the run's artifacts. Raises FileNotFoundError."""
        self._kept += 1
        self._write({"kind": "artifact", "path": self._spool.keep(Path(path), self._kept), "under": under})

    def tag(self, name: str, value: str) -> None:
        """A note on the run, such as which stage was kept."""
        self._write({"kind": "tag", "name": name, "value": flat({name: value})[name]})

    def _first(self) -> dict[str, Any]:
        origin = commit()
        tags = {"trimtab.version": trimtab_version(), "trimtab.git_dirty": str(origin.dirty).lower()}
        if origin.sha:
            tags["mlflow.source.git.commit"] = origin.sha
        part = {"parent": os.path.relpath(self.parent, self.folder)} if self.parent else {}
        return {
            "kind": "start", "spool": uuid.uuid4().hex, "experiment": self.experiment, "name": self.name,
            "params": self.params, "tags": tags, **part,
        }  # fmt: skip

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._stream is None:
            raise RuntimeError("the tracker is not open; use it in a with statement")
        self._stream.write(line_of({**record, "time_ms": int(time.time() * 1000)}))
        self._stream.flush()  # out of this process: a kill loses nothing, a power cut may


def _start(run: Path, retry_max_s: float) -> subprocess.Popen[bytes]:
    """The uploader: the end of its stdin tells it that this process is gone. In its own session, so Ctrl-C is for us.

    -P: a folder named "training" where the user stands is not taken for ours.
    """
    left = [path for path in [*pending(run.parent), *pending(run)] if path.resolve() != run.resolve()]
    words = [sys.executable, "-P", "-m", "training.uploader", str(run), "--follow", "--retry-max", str(retry_max_s)]
    return subprocess.Popen(
        [*words, *(f"--also={path}" for path in left)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking_uri(), "MLFLOW_DISABLE_TELEMETRY": "true"},
    )


def _finish(uploader: subprocess.Popen[bytes], within_s: float) -> bool:
    """Whether it sent everything in time."""
    if uploader.stdin:
        uploader.stdin.close()
    try:
        return uploader.wait(within_s) == 0
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        uploader.terminate()
        uploader.wait()
        return False
