"""Hold the simulator against a recording of a real control plane.

    python -m tests.control_plane.compare REC.jsonl.gz [--json FILE]

Runs the simulator on the recording's own scenario and says how far they are apart: replicas, node-hours and
dollars, bad requests, when they scale, where pods run, and which node the scheduler chooses.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from envs.errors import InputError
from tests.control_plane.bindings import BindingCheck, check_bindings
from tests.control_plane.course import Change, Course
from tests.control_plane.frozen import thawed
from tests.control_plane.recorded import recorded_course
from tests.control_plane.recording import Recording, read_recording
from tests.control_plane.simulated import simulate
from tests.control_plane.speeds import hpa_of

RISE = 0.15  # a load that changes by this share within RISE_S asks for a reaction
RISE_S, QUIET_S = 60.0, 300.0


@dataclass(frozen=True)
class Reactions:
    """Seconds from the start of a load's rise (or fall) to the first scaling that way; NaN: none of both."""

    real_s: float  # mean
    simulated_s: float
    count: int


@dataclass(frozen=True)
class Comparison:
    """How far the simulator is from one recording. Errors are absolute; `relative` is over the real mean."""

    name: str
    minutes: float
    replica_error: float  # mean over ticks and workloads of |spec.replicas - simulated|, pods
    replica_error_relative: float
    ready_error_relative: float
    events: int  # real changes of spec.replicas
    events_simulated: int
    events_within_sync: float  # share of both sides' changes with one of the same direction within a sync period
    event_lag_s: float  # median of |simulated - real| over matched changes
    scale_up: Reactions
    scale_down: Reactions
    node_hours: float
    node_hours_simulated: float
    usd: float
    usd_simulated: float
    bad_ratio: float
    bad_ratio_simulated: float
    same_type: float  # share of bound pod-seconds on the same machine type
    bindings: BindingCheck

    @property
    def node_hours_error(self) -> float:
        return _relative(self.node_hours_simulated, self.node_hours)

    @property
    def usd_error(self) -> float:
        return _relative(self.usd_simulated, self.usd)


def compare(recording: Recording) -> tuple[Comparison, Course, Course]:
    """The comparison, with the real and the simulated course."""
    with thawed(recording.header["scenario"], recording.header["load"]) as scenario:
        workloads = scenario.cluster.workloads
        real = recorded_course(recording, scenario.tick_s, len(workloads))
        model = simulate(recording, scenario)
        hpa = hpa_of(scenario.stacks[0], workloads[0])
        period_s = hpa.sync_period_s if hpa is not None else 15.0
        bindings = check_bindings(recording, scenario)
    matched, lags = match_changes(real.changes, model.changes, period_s + 1.0 * recording.header["speed"])
    load = np.array(recording.header["load"]["columns"])
    comparison = Comparison(
        name=recording.name,
        minutes=float(recording.header["end_s"]) / 60.0,
        replica_error=float(np.abs(real.desired - model.desired).mean()),
        replica_error_relative=_share(np.abs(real.desired - model.desired).sum(), real.desired.sum()),
        ready_error_relative=_share(np.abs(real.ready - model.ready).sum(), real.ready.sum()),
        events=len(real.changes),
        events_simulated=len(model.changes),
        events_within_sync=matched,
        event_lag_s=float(np.median(np.abs(lags))) if lags else float("nan"),
        scale_up=_reactions(real, model, load, up=True),
        scale_down=_reactions(real, model, load, up=False),
        node_hours=float(real.nodes.sum() * scenario.tick_s / 3600.0),
        node_hours_simulated=float(model.nodes.sum() * scenario.tick_s / 3600.0),
        usd=float(real.usd.sum()),
        usd_simulated=float(model.usd.sum()),
        bad_ratio=_share(real.bad.sum(), (real.good + real.bad).sum()),
        bad_ratio_simulated=_share(model.bad.sum(), (model.good + model.bad).sum()),
        same_type=_same_type(real, model),
        bindings=bindings,
    )
    return comparison, real, model


def match_changes(real: list[Change], model: list[Change], within_s: float) -> tuple[float, list[float]]:
    """(share of all changes that have a partner, lags): pairs of one workload and direction, nearest first."""
    pairs = [
        (abs(m.t - r.t), i, j)
        for i, r in enumerate(real)
        for j, m in enumerate(model)
        if r.w == m.w and r.up == m.up and abs(m.t - r.t) <= within_s
    ]
    left, right, lags = set(range(len(real))), set(range(len(model))), []
    for _, i, j in sorted(pairs):
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            lags.append(model[j].t - real[i].t)
    total = len(real) + len(model)
    return (1.0 if total == 0 else 2.0 * len(lags) / total), lags


def _reactions(real: Course, model: Course, load: np.ndarray, *, up: bool) -> Reactions:
    ours, theirs = [], []
    dt = float(real.time_s[1] - real.time_s[0]) if len(real.time_s) > 1 else 15.0
    for w in range(load.shape[0]):
        for start_s in onsets(load[w], dt, up=up):
            pair = [_first_after(course.changes, w, start_s, up) for course in (real, model)]
            if None not in pair:
                ours.append(pair[0] or 0.0)
                theirs.append(pair[1] or 0.0)
    if not ours:
        return Reactions(float("nan"), float("nan"), 0)
    return Reactions(float(np.mean(ours)), float(np.mean(theirs)), len(ours))


def onsets(load: np.ndarray, dt: float, *, up: bool) -> list[float]:
    """Times at which the load starts to change by RISE within RISE_S; none within QUIET_S of the one before."""
    ahead, out = max(round(RISE_S / dt), 1), []
    for i in range(len(load) - ahead):
        change = load[i + ahead] / max(load[i], 1e-9) - 1.0
        due = change >= RISE if up else change <= -RISE
        if due and (not out or i * dt - out[-1] >= QUIET_S):
            out.append(i * dt)
    return out


def _first_after(changes: list[Change], w: int, start_s: float, up: bool) -> float | None:
    waits = [c.t - start_s for c in changes if c.w == w and c.up == up and 0.0 <= c.t - start_s <= 2 * QUIET_S]
    return min(waits) if waits else None


def _same_type(real: Course, model: Course) -> float:
    shared = sum(min(seconds, model.pod_s.get(key, 0.0)) for key, seconds in real.pod_s.items())
    return _share(shared, max(sum(real.pod_s.values()), sum(model.pod_s.values())))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0


def _relative(model: float, real: float) -> float:
    return abs(model - real) / real if real > 0 else abs(model)


def as_json(comparison: Comparison) -> dict[str, object]:
    """Plain data, the derived errors included."""
    derived = {"node_hours_error": comparison.node_hours_error, "usd_error": comparison.usd_error}
    return {**asdict(comparison), **derived}


def table(c: Comparison) -> str:
    """What a person reads."""
    up, down = c.scale_up, c.scale_down
    hours = f"{c.node_hours:.3f} / {c.node_hours_simulated:.3f} ({c.node_hours_error:.1%} off)"
    rows = [
        ("replicas, mean absolute error", f"{c.replica_error:.3f} pods, {c.replica_error_relative:.2%}"),
        ("ready pods, mean absolute error", f"{c.ready_error_relative:.2%}"),
        ("scale events, real / simulated", f"{c.events} / {c.events_simulated}"),
        ("  of both, within one sync period", f"{c.events_within_sync:.1%}, median {c.event_lag_s:.1f} s apart"),
        ("reaction up, real / simulated", f"{up.real_s:.0f} / {up.simulated_s:.0f} s ({up.count})"),
        ("reaction down, real / simulated", f"{down.real_s:.0f} / {down.simulated_s:.0f} s ({down.count})"),
        ("node-hours, real / simulated", hours),
        ("dollars, real / simulated", f"{c.usd:.4f} / {c.usd_simulated:.4f} ({c.usd_error:.1%} off)"),
        ("bad requests, real / simulated", f"{c.bad_ratio:.3%} / {c.bad_ratio_simulated:.3%}"),
        ("pods on the same machine type", f"{c.same_type:.1%}"),
        ("bindings among our equal best", f"{c.bindings.agreed} of {c.bindings.judged}"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([f"{c.name}, {c.minutes:g} minutes", *(f"  {name:<{width}}  {text}" for name, text in rows)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.control_plane.compare", description=__doc__.split("\n\n")[0])
    parser.add_argument("recording", type=Path, nargs="+", help="what `record` wrote")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    found = []
    try:
        for path in options.recording:
            found.append(compare(read_recording(path))[0])
            print(table(found[-1]))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json is not None:
        figures = [as_json(c) for c in found]
        options.json.write_text(json.dumps(figures[0] if len(figures) == 1 else figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
