"""The file format of a recording: gzipped JSON lines, a header and then events in the order of their time.

Header: format, versions, scenario (a whole document), load (columns of requests/s), speed, start_s, end_s, whether
the first pods were ready or pending at start_s, and what the replayer chose (metric ages). Events, all with `t` in
scenario seconds and `k`:

    pod       p number, s created (w, name) | bound (n) | ready | deleted | gone, rv
    machine   n number, pool, type, zone, capacity, price USD/h
    node      n, s asked | joined | ready | open | not open | disrupted | deleted | left | claim deleted | gone, rv
    replicas  w, n: the Deployment's spec.replicas
    hpa       w, current, desired, conditions
    sync      w, m metric, v value: the HPA controller asked for it (-1: unknown)
    tick      j, ready pod-seconds, good, bad (W,)
    event     Karpenter's: reason, about, message
    tried     p: kube-scheduler took this pod up (from its log, in its order)

`rv` is etcd's revision, which orders pods and nodes among each other where times are equal.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import InputError

FORMAT = 1
Json = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """A whole one, read."""

    header: Json
    events: list[Json]
    path: Path | None = None

    @property
    def name(self) -> str:
        return str(self.header["scenario"]["name"])

    @property
    def span_s(self) -> tuple[float, float]:
        """The part that is judged: from scenario time 0 to the end."""
        return 0.0, float(self.header["end_s"])

    def of(self, kind: str) -> Iterator[Json]:
        """Events of one kind, in order."""
        return (event for event in self.events if event["k"] == kind)


def write_recording(path: Path, header: Json, events: Iterable[Json]) -> None:
    """Equal content gives equal bytes."""
    lines = [header, *sorted(events, key=lambda event: event["t"])]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def read_recording(path: Path) -> Recording:
    """Raises InputError for a file that is no recording of this format."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            lines = [json.loads(line) for line in stream]
    except (OSError, EOFError, ValueError) as error:
        raise InputError(path, "recording", None, f"cannot be read: {error}") from None
    if not lines or not isinstance(lines[0], dict) or lines[0].get("format") != FORMAT:
        raise InputError(path, "format", None, f"is no recording of format {FORMAT}; record it again")
    return Recording(lines[0], lines[1:], path)
