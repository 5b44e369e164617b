"""The real control plane, live: a short replay, Karpenter's first node, and nothing that outlives its starter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.control_plane.compare import compare
from tests.control_plane.components import Settings
from tests.control_plane.frozen import freeze
from tests.control_plane.karpenter_types import example_types
from tests.control_plane.plane import ROOT, ControlPlane, read_state
from tests.control_plane.record import record, until
from tests.control_plane.recording import Recording

SCENARIOS = Path(__file__).parent / "scenarios"


def test_the_real_hpa_follows_a_step_as_the_simulated_one_does(programs: Path) -> None:
    document, load = freeze(str(SCENARIOS / "smoke.yaml"), stack_name=None, minutes=7.0, warmup_s=120.0, nodes="as-is")
    header, events = record(document, load, speed=5)
    found, real, _ = compare(Recording(header, sorted(events, key=lambda event: event["t"])))
    assert real.desired.max() >= 1.5 * real.desired[0].max(), "the real HPA did not scale up"
    assert real.desired[-1].max() < real.desired.max(), "the real HPA did not scale down"
    assert found.replica_error_relative <= 0.25  # a busy machine delays the real one; the recordings have 5 %
    assert found.bindings.judged > 0
    assert found.bindings.share >= 0.99


def test_karpenter_launches_a_node_for_a_pending_pod(programs: Path) -> None:
    with ControlPlane(Settings(karpenter_types=example_types()), programs=programs) as plane:
        api = plane.api
        node_class = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
        body = {"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass", "metadata": {"name": "default"}}
        api.create("/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses", body)
        spec = {"template": {"spec": {"nodeClassRef": node_class, "requirements": []}}}
        pool = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "default"}, "spec": spec}
        api.create("/apis/karpenter.sh/v1/nodepools", pool)
        container = {"name": "c", "image": "none", "resources": {"requests": {"cpu": "5"}}}
        pod = {"metadata": {"name": "big"}, "spec": {"containers": [container]}}
        api.create("/api/v1/namespaces/default/pods", pod)
        path = "/api/v1/namespaces/default/pods/big"
        until(lambda: api.get(path)["status"].get("phase") == "Running", "the pod's node", 60.0)
        (node,) = api.get("/api/v1/nodes")["items"]
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "m-8x-amd64-linux"


def test_nothing_is_left_when_the_starter_is_killed(programs: Path) -> None:
    script = (
        "import sys, time\n"
        "from tests.control_plane.components import Settings\n"
        "from tests.control_plane.plane import ControlPlane\n"
        "with ControlPlane(Settings()) as plane:\n"
        "    print(plane.folder, flush=True)\n"
        "    time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    folder = Path(starter.stdout.readline().strip())
    state = read_state(folder)
    pids = [*state["pids"].values(), state["pid"]]
    assert len(pids) == 6
    assert all(_alive(pid) for pid in pids)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    _until_gone(pids)
    end = time.monotonic() + 10.0
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not folder.exists()


def test_programs_end_when_their_supervisor_is_killed(plane: ControlPlane) -> None:
    pids = plane.pids()
    os.kill(pids.pop("supervisor"), signal.SIGKILL)
    _until_gone(list(pids.values()))


def _alive(pid: int) -> bool:
    """Running, not only waiting to be reaped."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):  # the second: gone between the opening and the reading
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _until_gone(pids: list[int]) -> None:
    end = time.monotonic() + 15.0
    while any(_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in pids if _alive(pid)]
