"""Start a control plane and end it again; for tests, the recorder and the command line."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.control_plane.api import Api
from tests.control_plane.build import build
from tests.control_plane.components import Settings

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "trimtab-plane-"
START_S = 180.0


class ControlPlane:
    """`with ControlPlane(Settings()) as plane:` a running one; several may run side by side."""

    def __init__(self, settings: Settings, *, programs: Path | None = None, detached: bool = False) -> None:
        self.settings, self.detached = settings, detached
        self.programs = programs or build()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.token = secrets.token_hex(16)
        self.api = Api(0, self.token)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ControlPlane:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Blocks until every component works. Raises RuntimeError with the reason otherwise."""
        spec = {
            "programs": str(self.programs),
            "token": self.token,
            "settings": self.settings.to_json(),
            "detached": self.detached,
        }
        (self.folder / "spec.json").write_text(json.dumps(spec))
        (self.folder / "spec.json").chmod(0o600)
        command = [sys.executable, "-m", "tests.control_plane.supervisor", str(self.folder)]
        with (self.folder / "supervisor.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL if self.detached else subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the one that asked; its end closes our standard input
            )
        self.api = Api(self._wait_ready()["ports"]["api"], self.token)

    def _wait_ready(self) -> dict[str, Any]:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            state = read_state(self.folder)
            if state.get("status") == "ready":
                return state
            if state.get("status") == "failed":
                raise RuntimeError(f"the control plane did not start: {state['message']}")
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"the control plane did not start:\n{_read(self.folder / 'supervisor.log')}")
            time.sleep(0.05)
        raise RuntimeError(f"the control plane was not ready after {START_S:.0f} s")

    def pids(self) -> dict[str, int]:
        """Process id of every component, and of the supervisor."""
        state = read_state(self.folder)
        return {**state.get("pids", {}), "supervisor": state.get("pid", 0)}

    def log(self, component: str) -> str:
        """What a component wrote so far."""
        return _read(self.folder / f"{component}.log")

    def stop(self) -> None:
        """Ends every process and removes the folder; harmless when it was done already."""
        with contextlib.suppress(OSError):
            (self.folder / "stop").touch()
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def read_state(folder: Path) -> dict[str, Any]:
    """state.json, {} while there is none."""
    try:
        return json.loads((folder / "state.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def planes() -> dict[Path, dict[str, Any]]:
    """Every control plane of this machine's temporary folder, with its state; `alive` says whether it runs."""
    found = {}
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        state = read_state(folder)
        starting = not state and time.time() - folder.stat().st_mtime < START_S
        found[folder] = {"status": "starting", **state, "alive": starting or _alive(state.get("pid", 0))}
    return found


def stop_plane(folder: Path, state: dict[str, Any]) -> None:
    """End the one in `folder` and wait for it; a dead one is only cleared away."""
    if state["alive"]:
        with contextlib.suppress(OSError):
            (folder / "stop").touch()
        end = time.monotonic() + 15.0
        while folder.exists() and _alive(state.get("pid", 0)) and time.monotonic() < end:
            time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
