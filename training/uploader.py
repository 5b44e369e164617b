"""Sends a run's spool to the tracking server. `python -m training.uploader RUN` sends what is left of a run.

A training run starts one with --follow: it sends as the spool grows, until the spool has ended and is sent, or the
trainer is gone and the server does not answer.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policies.mlflow_uri import quiet_mlflow, tracking_uri
from training.mlflow_sink import MlflowSink, RefusedError, Sink
from training.secret_words import masked
from training.spool import Record, Sent, Spool

PARENT_TAG = "mlflow.parentRunId"  # MLflow shows a run that has it below its parent
BATCH = 500  # records of metrics in one call, or up to the server's 1,000 points
POLL_S, RETRY_S = 0.25, 0.5
GIVE_UP_S = 15.0  # once the trainer is gone and nothing gets through


def drain(spool: Spool, sink: Sink, uri: str, said: Callable[[str], None] = lambda _: None) -> Sent:
    """Send what the server does not have yet; how far it got. Any error but a refusal passes through.

    After each call the progress is noted, so that at most one call is made twice.
    """
    sent = spool.sent(uri)
    parent = spool.parent()
    parent_id = parent.sent(uri).run_id if parent else None
    for offset, group in _groups(spool.records(sent.offset)):
        run_id = sent.run_id
        try:
            run_id = _send(spool, sink, run_id, group, parent_id)
        except RefusedError as refusal:
            said(f"refused: {group[0]['kind']}: {refusal}")
        sent = Sent(uri, offset, run_id)
        spool.note(sent)
    return sent


def _groups(records: Iterable[tuple[int, Record]]) -> Iterable[tuple[int, list[Record]]]:
    """(offset, records) of one call: points of curves together, everything else alone."""
    held: list[Record] = []
    end = 0
    for offset, record in records:
        if held and (record["kind"] != "metrics" or len(held) == BATCH):
            yield end, held
            held = []
        if record["kind"] == "metrics":
            held.append(record)
        else:
            yield offset, [record]
        end = offset
    if held:
        yield end, held


def _send(
    spool: Spool, sink: Sink, run_id: str | None, group: list[Record], parent_id: str | None = None
) -> str | None:
    """One call. A record before the run exists, or of a run that was refused, is dropped."""
    first: dict[str, Any] = group[0]
    kind = first["kind"]
    if kind == "start":
        under = {PARENT_TAG: parent_id} if parent_id else {}
        return sink.begin({**first, "tags": {**first["tags"], **under}})
    if run_id is None:
        raise RefusedError("the server has no such run")
    if kind == "metrics":
        sink.metrics(run_id, group)
    elif kind == "artifact":
        path = spool.artifacts / first["path"]
        if not path.exists():
            raise RefusedError(f"{first['path']} is gone")
        sink.artifact(run_id, path, first["under"])
    elif kind == "tag":
        sink.tag(run_id, first["name"], first["value"])
    elif kind == "resume":
        sink.resume(run_id)
    elif kind == "end":
        sink.end(run_id, first["status"], first["time_ms"])
    return run_id


def ended(spool: Spool) -> bool:
    """Whether the last record says that the run is over."""
    kind = ""
    for _, record in spool.records():
        kind = record["kind"]
    return kind == "end"


class Uploader:
    """The loop around `drain`: tries again while the server is down, follows a spool that grows."""

    def __init__(self, spool: Spool, uri: str, sink: Callable[[], Sink], *, retry_max_s: float) -> None:
        self.spool, self.uri, self._make, self.retry_max_s = spool, uri, sink, retry_max_s
        self._sink: Sink | None = None

    def once(self) -> bool:
        """Whether the server has everything that is on the spool now. A part of a sweep waits for the sweep."""
        parent = self.spool.parent()
        if parent and parent.sent(self.uri).run_id is None:
            return False
        try:
            self._sink = self._sink or self._make()
            return drain(self.spool, self._sink, self.uri, self.say).offset >= self.spool.size()
        except Exception as error:
            self.say(f"{type(error).__name__}: {error}")
            return False

    def follow(self, trainer_is_there: Callable[[float], bool]) -> bool:
        """Until all is sent and the trainer is gone. trainer_is_there(s): waits up to s seconds, less if it goes."""
        wait, there, gone_at = RETRY_S, True, 0.0
        while True:
            done = self.once()
            wait = POLL_S if done else min(max(2.0 * wait, RETRY_S), self.retry_max_s)
            if not there:
                if done:
                    return self._close()
                if time.monotonic() - gone_at > GIVE_UP_S:
                    return False
                time.sleep(min(wait, 2.0))
                continue
            there = trainer_is_there(wait)
            gone_at = time.monotonic()

    def _close(self) -> bool:
        """A run whose trainer was killed has no end on its spool: say so to the server, not on the spool."""
        sent = self.spool.sent(self.uri)
        if not ended(self.spool) and sent.run_id and self._sink:
            try:
                self._sink.end(sent.run_id, "KILLED", int(time.time() * 1000))
            except Exception as error:
                self.say(f"{type(error).__name__}: {error}")
        return True

    def say(self, text: str) -> None:
        """A line in the run's uploader.log, without secrets."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = " ".join(masked(text).split())[:500]
        with (self.spool.folder / "uploader.log").open("a", encoding="utf-8") as log:
            log.write(f"{stamp} {line}\n")


def stdin_is_open(wait_s: float) -> bool:
    """Whether who started us still is; waits up to wait_s, and returns at once when it goes."""
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    return not ready or bool(os.read(sys.stdin.fileno(), 1))


def main() -> int:
    """Exit code 0: the server has it all."""
    parser = argparse.ArgumentParser(prog="python -m training.uploader", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--follow", action="store_true", help="go on until stdin closes")
    parser.add_argument("--also", type=Path, action="append", default=[], help="an older run with something left")
    parser.add_argument("--retry-max", type=float, default=15.0, help="seconds between two tries, at most")
    options = parser.parse_args()
    uri = tracking_uri()
    quiet_mlflow()
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
    if options.follow:
        os.nice(5)
    spool = Spool(options.run)
    with spool.locked(wait=True):
        uploader = Uploader(spool, masked(uri), lambda: MlflowSink(uri), retry_max_s=options.retry_max)
        if options.also:
            uploader.once()  # an older one may be a part of this one
        for run in options.also:
            _once(run, uri, options.retry_max)
        return 0 if (uploader.follow(stdin_is_open) if options.follow else uploader.once()) else 1


def _once(run: Path, uri: str, retry_max_s: float) -> None:
    """One try at a run that an earlier start left; nothing while another uploader is at it."""
    spool = Spool(run)
    with spool.locked(wait=False) as mine:
        if mine:
            Uploader(spool, masked(uri), lambda: MlflowSink(uri), retry_max_s=retry_max_s).once()


if __name__ == "__main__":
    sys.exit(main())
