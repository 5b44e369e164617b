"""The recordings in the repository: the simulator stays within its bars, or misses only what the docs name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control_plane.fidelity import PAGE, Bars, Entry, entry, picture, recordings
from tests.control_plane.recorded import node_lives, pod_lives
from tests.control_plane.recording import read_recording

# Bars that are missed today; docs/fidelity.md has the figures. A mend takes its entry away.
KNOWN: dict[str, set[str]] = {}


@pytest.fixture(scope="module", params=recordings(), ids=lambda path: path.name.split(".")[0])
def compared(request: pytest.FixtureRequest) -> Entry:
    return entry(request.param)


def test_recordings_are_there_and_small() -> None:
    assert len(recordings()) >= 11
    assert all(path.stat().st_size < 200 * 1024 for path in recordings())


def test_the_simulator_is_close_to_the_real_control_plane(compared: Entry) -> None:
    missed = Bars().missed(compared.found)
    assert set(missed) == KNOWN.get(compared.found.name, set()), missed


def test_the_real_scheduler_chooses_among_our_equal_best(compared: Entry) -> None:
    assert compared.found.bindings.judged > 0
    assert compared.found.bindings.share >= 0.99


def test_the_page_has_every_recording(compared: Entry) -> None:
    text = PAGE.read_text()
    assert f"### {compared.found.name}\n" in text
    assert f"images/fidelity/{compared.found.name}.svg" in text
    assert (PAGE.parent / "images" / "fidelity" / f"{compared.found.name}.svg").exists()


def test_the_plot_shows_both_lines(compared: Entry) -> None:
    drawing = picture(compared)
    assert drawing.startswith("<svg ")
    assert len(drawing) < 100_000
    assert Path(compared.recording.path or "").exists()


@pytest.mark.parametrize("path", recordings("karpenter-*"), ids=lambda path: path.name.split(".")[0])
def test_a_karpenter_recording_is_whole(path: Path) -> None:
    recording = read_recording(path)
    nodes, pods = node_lives(recording), pod_lives(recording)
    assert recording.header["end_s"] >= 20 * 60
    assert recording.header["speed"] == 1
    assert all(node.price > 0 and node.start < node.end for node in nodes.values())
    assert all(pod.node in nodes for pod in pods.values() if pod.bound < pod.gone)
