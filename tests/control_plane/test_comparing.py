"""The parts of recording and comparing that need no control plane."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import InputError
from envs.scenario_file import load_scenario
from envs.stack_file import stack_names
from tests.control_plane.bindings import check_bindings
from tests.control_plane.compare import match_changes, onsets
from tests.control_plane.course import Change, add_span, as_steps
from tests.control_plane.frozen import freeze, thawed
from tests.control_plane.objects import autoscaler, deployment
from tests.control_plane.recorded import recorded_course, sync_times
from tests.control_plane.recording import Recording, read_recording, write_recording
from tests.control_plane.speeds import check_speed, flags_of
from tests.control_plane.stages import READY_DELAY, READY_JITTER

SCENARIOS = Path(__file__).parent / "scenarios"
FROZEN: dict[str, Any] = {"stack_name": None, "minutes": 10.0, "warmup_s": 60.0, "nodes": "as-is"}


def test_a_frozen_scenario_needs_no_other_file_and_has_the_same_load() -> None:
    path = str(SCENARIOS / "hpa-rps-trace.yaml")
    document, load = freeze(path, **FROZEN)
    original = load_scenario(path)
    with thawed(document, load) as scenario:
        assert scenario.horizon_s == 600.0
        assert scenario.warmup_s == 60.0
        assert [m.price_usd_per_h for m in scenario.cluster.instance_types] == [
            m.price_usd_per_h for m in original.cluster.instance_types
        ]
        assert [w.name for w in scenario.cluster.workloads] == [w.name for w in original.cluster.workloads]
        assert scenario.stacks[0].replicas == original.stacks[0].replicas
    again, same = freeze(path, **FROZEN)
    assert (again, same) == (document, load)
    assert all(len(column) == 41 for column in load["columns"])


def test_karpenter_stands_in_for_the_cluster_autoscaler() -> None:
    document, _ = freeze("webshop", **FROZEN)
    assert document["stacks"][0]["nodes"]["kind"] == ("karpenter" if "karpenter" in stack_names() else "static")
    document, _ = freeze("webshop", **{**FROZEN, "nodes": "fixed"})
    assert document["stacks"][0]["nodes"]["kind"] == "static"


def test_what_cannot_be_played_is_refused_with_the_mend() -> None:
    with pytest.raises(InputError, match="at least 5"):
        freeze("webshop", **{**FROZEN, "minutes": 4.0})
    with pytest.raises(InputError, match="longer than the scenario"):
        freeze(str(SCENARIOS / "smoke.yaml"), **{**FROZEN, "minutes": 600.0})
    with pytest.raises(InputError, match="services and queues"):
        freeze("queues-and-batch", **{**FROZEN, "nodes": "fixed"})


@pytest.mark.parametrize(
    ("speed", "field"), [(2, "sync_period_s"), (4, "sync_period_s"), (6, "from 1 to 5"), (0, "from 1")]
)
def test_a_speed_that_breaks_a_period_is_refused(speed: int, field: str) -> None:
    scenario = load_scenario(SCENARIOS / "hpa-behavior.yaml")
    with pytest.raises(InputError, match=field):
        check_speed(scenario, scenario.stacks[0], speed, karpenter=False)


def test_speed_five_divides_every_period() -> None:
    scenario = load_scenario(SCENARIOS / "hpa-behavior.yaml")
    stack = scenario.stacks[0]
    check_speed(scenario, stack, 5, karpenter=False)
    flags = flags_of(scenario, stack, 5)
    assert (flags.sync_period_s, flags.downscale_stabilization_s, flags.cpu_initialization_s) == (3.0, 60.0, 60.0)
    hpa = autoscaler(0, scenario.cluster.workloads[0], stack, 5)
    assert hpa is not None
    assert hpa["spec"]["behavior"]["scaleUp"]["policies"] == [{"type": "Pods", "value": 3, "periodSeconds": 12}]
    assert hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 12
    with pytest.raises(InputError, match="Karpenter"):
        check_speed(scenario, stack, 5, karpenter=True)


def test_a_start_delay_is_played_with_its_mean_and_deviation() -> None:
    scenario = load_scenario("toy")
    (workload,) = scenario.cluster.workloads
    notes = deployment(0, workload, 1, 1, {})["spec"]["template"]["metadata"]["annotations"]
    low, high = (float(notes[key].removesuffix("ms")) / 1000 for key in (READY_DELAY, READY_JITTER))
    assert (low + high) / 2 == pytest.approx(workload.start_delay_s, abs=1e-3)
    assert (high - low) / np.sqrt(12) == pytest.approx(workload.start_delay_s * workload.start_delay_cv, abs=1e-3)


def test_changes_pair_with_the_nearest_of_their_direction() -> None:
    real = [Change(100, 0, 2, 4), Change(200, 0, 4, 3), Change(300, 1, 1, 2)]
    model = [Change(104, 0, 2, 4), Change(112, 0, 2, 4), Change(190, 0, 3, 5), Change(290, 1, 1, 2)]
    share, lags = match_changes(real, model, 15.0)
    assert sorted(lags) == [-10, 4]
    assert share == pytest.approx(4 / 7)
    assert match_changes([], [], 15.0) == (1.0, [])


def test_onsets_are_where_the_load_starts_to_move() -> None:
    load = np.concatenate([np.full(20, 100.0), np.full(20, 200.0), np.full(20, 100.0)])
    assert onsets(load, 15.0, up=True) == [16 * 15.0]
    assert onsets(load, 15.0, up=False) == [36 * 15.0]


def test_spans_and_steps_fall_on_their_ticks() -> None:
    row = np.zeros(4)
    assert add_span(row, 15.0, -5.0, 22.5) == 22.5
    assert list(row) == [1.0, 0.5, 0.0, 0.0]
    assert list(as_steps([(15.0, 3), (40.0, 5)], 4, 15.0, 1)) == [3, 3, 5, 5]


def test_looks_of_the_hpa_controller_are_found() -> None:
    events = [{"t": 4.0 + 15.02 * i, "k": "sync", "w": 0, "m": m, "v": 1} for i in range(50) for m in ("cpu", "rps")]
    first, second = sync_times(Recording({}, events), 2, 15.0)
    assert first == [4.0 + 15.02 * i for i in range(50)]
    assert second == []


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"no gzip", gzip.compress(b"{}\n"), gzip.compress(b'{"format": 99}\n')):
        (tmp_path / "rec").write_bytes(content)
        with pytest.raises(InputError):
            read_recording(tmp_path / "rec")


def small_recording(node_of_second: int) -> Recording:
    """Two nodes, two pods of the smoke scenario: the second goes to `node_of_second`."""
    document, load = freeze(str(SCENARIOS / "smoke.yaml"), **FROZEN)
    events: list[dict[str, Any]] = []
    for n, zone in ((1, "zone-a"), (2, "zone-b")):
        machine = {"pool": "general", "type": "m.2xlarge", "zone": zone, "capacity": "on-demand", "price": 0.4}
        events.append({"t": -60, "k": "machine", "n": n, **machine})
        events += [{"t": -60, "k": "node", "n": n, "s": s, "rv": n} for s in ("joined", "ready", "open")]
    for p, n in ((1, 1), (2, node_of_second)):
        pod = {"t": -50 + p, "k": "pod", "p": p}
        events.append({**pod, "w": 0, "s": "created", "name": f"w0-{p}", "rv": 10 * p})
        events.append({**pod, "s": "bound", "n": n, "rv": 10 * p + 1})
        events.append({**pod, "t": 30.0, "s": "ready", "rv": 10 * p + 2})
    events += [{"t": -50, "k": "replicas", "w": 0, "n": 2}, {"t": 40, "k": "replicas", "w": 0, "n": 5}]
    return Recording({"end_s": 600.0, "speed": 1, "scenario": document, "load": load}, events)


def test_the_emptier_node_is_the_best_choice_and_the_fuller_one_is_not() -> None:
    for node, agreed in ((2, 2), (1, 1)):
        recording = small_recording(node)
        with thawed(recording.header["scenario"], recording.header["load"]) as scenario:
            found = check_bindings(recording, scenario)
        assert (found.judged, found.agreed, found.unfit) == (2, agreed, 0)


def test_a_recording_becomes_a_course(tmp_path: Path) -> None:
    recording = small_recording(2)
    header = {**recording.header, "format": 1}
    write_recording(tmp_path / "rec.jsonl.gz", header, recording.events)
    read = read_recording(tmp_path / "rec.jsonl.gz")
    assert read.header == header
    course = recorded_course(read, 15.0, 1)
    assert course.nodes.mean() == pytest.approx(2.0)
    assert course.usd.sum() == pytest.approx(2 * 0.4 * 600 / 3600)
    assert list(course.ready[:4, 0]) == [0.0, 0.0, 2.0, 2.0]
    assert course.changes == [Change(40, 0, 2, 5)]
    assert course.pod_s == {(0, "m.2xlarge"): pytest.approx(1200.0)}
