"""Write docs/fidelity.md: every recording in the repository against the simulator, as one table and plots.

python -m tests.control_plane.fidelity [--json FILE]     # what `make fidelity` calls
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.control_plane.compare import Comparison, as_json, compare
from tests.control_plane.course import Course
from tests.control_plane.plots import panels, svg
from tests.control_plane.recorded import node_lives
from tests.control_plane.recording import Recording, read_recording

RECORDINGS = Path(__file__).parent / "recordings"
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, IMAGES = DOCS / "fidelity.md", DOCS / "images" / "fidelity"


@dataclass(frozen=True)
class Bars:
    """What each comparison should stay within."""

    replicas: float = 0.05  # mean absolute error over the real mean
    events: float = 0.90  # share of scale events with a partner within one sync period
    money: float = 0.10  # node-hours and dollars
    bindings: float = 0.99

    def missed(self, c: Comparison) -> dict[str, str]:
        """Bar -> how far it is missed, in words; empty when all are kept. Under four events say nothing."""
        few = c.events + c.events_simulated < 4
        checks = {
            "replicas": (c.replica_error_relative <= self.replicas, f"replicas {c.replica_error_relative:.1%} off"),
            "events": (
                few or c.events_within_sync >= self.events,
                f"{c.events_within_sync:.0%} of scale events within one sync period",
            ),
            "node-hours": (c.node_hours_error <= self.money, f"node-hours {c.node_hours_error:.1%} off"),
            "dollars": (c.usd_error <= self.money, f"dollars {c.usd_error:.1%} off"),
            "bindings": (
                c.bindings.share >= self.bindings,
                f"{c.bindings.share:.1%} of bindings among the equal best",
            ),
        }
        return {bar: words for bar, (kept, words) in checks.items() if not kept}


@dataclass(frozen=True)
class Entry:
    """One recording, compared."""

    recording: Recording
    found: Comparison
    real: Course
    model: Course


def recordings(name: str = "*") -> list[Path]:
    """Those that ship, by name (a pattern)."""
    return sorted(RECORDINGS.glob(f"{name}.jsonl.gz"))


def entry(path: Path) -> Entry:
    recording = read_recording(path)
    return Entry(recording, *compare(recording))


def table(entries: list[Entry]) -> list[str]:
    """One row a recording."""
    rows = [
        "| recording | minutes | replicas off | events | within a sync | node-hours off | dollars off "
        "| bad, real / simulated | same type | bindings |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for e in entries:
        c = e.found
        rows.append(
            f"| [{c.name}](#{c.name}) | {c.minutes:.0f} "
            f"| {_percent(c.replica_error_relative)} | {c.events} / {c.events_simulated} "
            f"| {c.events_within_sync:.0%} | {_percent(c.node_hours_error)} | {_percent(c.usd_error)} "
            f"| {c.bad_ratio:.2%} / {c.bad_ratio_simulated:.2%} | {c.same_type:.0%} "
            f"| {c.bindings.agreed} / {c.bindings.judged} |"
        )
    return rows


def section(e: Entry) -> list[str]:
    """Heading, description, what missed its bar, plot."""
    scenario, c = e.recording.header["scenario"], e.found
    speed = e.recording.header["speed"]
    pace = "in real time" if speed == 1 else f"with the HPA's constants divided by {speed}"
    missed = Bars().missed(c)
    lines = ["", f"### {c.name}", "", f"{scenario.get('description', '').strip()} Recorded {pace}."]
    if not np.isnan(c.event_lag_s):
        lines += ["", f"Matched scale events are {c.event_lag_s:.1f} s apart (median). Reactions: {_reactions(c)}."]
    if any(e.recording.of("event")):
        lines += ["", _nodes(c, len(node_lives(e.recording)))]
    if missed:
        lines += ["", f"**Misses its bar**: {'; '.join(missed.values())}."]
    return [*lines, "", f"![{c.name}: real and simulated](images/fidelity/{c.name}.svg)"]


def page(entries: list[Entry]) -> str:
    missed = {e.found.name: Bars().missed(e.found) for e in entries}
    short = [f"- {name}: {'; '.join(words.values())}" for name, words in missed.items() if words]
    total = sum(e.found.bindings.judged for e in entries)
    agreed = sum(e.found.bindings.agreed for e in entries)
    kept = len(entries) - len(short)
    shown = [
        *table(entries),
        "",
        "## Where it falls short",
        "",
        *(short or ["In none of these."]),
        "",
        "## Each recording",
    ]
    return "\n".join(
        [
            INTRO.rstrip(),
            "",
            f"{kept} of {len(entries)} recordings keep every bar; the scheduler's choice is among our equal best in",
            f"{agreed} of {total} bindings.",
            "",
            *shown,
            *(line for e in entries for line in section(e)),
            "",
        ]
    )


def picture(e: Entry) -> str:
    """The recording's plot."""
    names = [str(w["name"]) for w in e.recording.header["scenario"]["workloads"]]
    load = np.array(e.recording.header["load"]["columns"])
    moving = float(e.real.nodes.max() - e.real.nodes.min()) > 0.5
    return svg(e.found.name, e.real.time_s, panels(e.real, e.model, names, load, nodes=moving))


INTRO = """\
# Fidelity

How far the simulated world is from a real Kubernetes control plane on the same load. etcd, kube-apiserver,
kube-controller-manager (the real HPA) and kube-scheduler 1.36.3, kwok nodes and the real Karpenter 1.14.1 with
its KWOK provider were run on each scenario below, fed with metrics that the simulator's own service and measurement
model made from the pods that were really Ready; what they did was recorded. The simulator then runs the
recording's scenario.

This page is written by

```
make fidelity
```

One recording alone, and a new one (on a machine with Go, after `make control-plane`):

```
python -m tests.control_plane.compare tests/control_plane/recordings/hpa-cpu-steps.jsonl.gz
python -m tests.control_plane.record SCENARIO.yaml --minutes 20 --out REC.jsonl.gz
```

[The control plane in the tests](design/control-plane.md) says how it works and what it cannot show.

Bars: replicas within 5 % mean absolute error, scale events within one sync period of each other, node-hours and
dollars within 10 %, the scheduler's choice among our equal best in at least 99 % of bindings. *Events* are
changes of `spec.replicas`, real / simulated; *within a sync* is the share of both that has a partner of the same
direction within one sync period; *same type* is the share of pod time on the same machine type.
"""


def _nodes(c: Comparison, launched: int) -> str:
    """What Karpenter bought; its launches include the warm-up's."""
    real, model = (
        f"{hours:.3f} node-hours and ${usd:.4f}"
        for hours, usd in ((c.node_hours, c.usd), (c.node_hours_simulated, c.usd_simulated))
    )
    return f"The real Karpenter launched {launched} nodes, warm-up included: {real}; simulated {model}."


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _reactions(c: Comparison) -> str:
    parts = []
    for word, r in (("up", c.scale_up), ("down", c.scale_down)):
        if r.count:
            parts.append(f"{word} after {r.real_s:.0f} s real, {r.simulated_s:.0f} s simulated ({r.count})")
    return ", ".join(parts) or "none asked for"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.control_plane.fidelity", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    entries = []
    for path in recordings():
        entries.append(entry(path))
        print(
            f"{path.name}: {'; '.join(Bars().missed(entries[-1].found).values()) or 'keeps every bar'}", file=sys.stderr
        )
    IMAGES.mkdir(parents=True, exist_ok=True)
    for e in entries:
        (IMAGES / f"{e.found.name}.svg").write_text(picture(e))
    PAGE.write_text(page(entries))
    if options.json is not None:
        options.json.write_text(json.dumps([as_json(e.found) for e in entries], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
