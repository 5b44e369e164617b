"""The one process that owns a control plane: starts every component, and ends all of them with itself.

    python -m tests.control_plane.supervisor FOLDER

FOLDER holds spec.json (programs, token, settings, detached); state.json there says how far it is. It stops when
a file `stop` appears in FOLDER, on SIGTERM, when a component dies, or (unless detached) when its standard input
is closed, which is what happens to whoever started it, however it dies. Then it removes FOLDER. If it is
killed itself, the Go programs notice within half a second (go/internal/parent) and exit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from tests.control_plane import components
from tests.control_plane.api import Api, ApiError
from tests.control_plane.components import Component, Settings

READY_S = 90.0


class StopError(Exception):
    """Asked to end."""


class Supervisor:
    """Components of one folder, in the order they were started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = json.loads((folder / "spec.json").read_text())
        self.programs, self.token = Path(spec["programs"]), spec["token"]
        self.settings, self.detached = Settings.from_json(spec["settings"]), spec["detached"]
        self.ports = components.free_ports()
        self.api = Api(self.ports["api"], self.token)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        """Start, then watch until something ends it; the folder is gone afterwards."""
        try:
            self._report("starting")
            self._start_all()
            self._report("ready")
            while True:
                self._check()
                time.sleep(0.2)
        except StopError:
            pass
        except Exception as error:  # whatever it is, whoever waits must hear of it
            self._report("failed", f"{type(error).__name__}: {error}")
            self._kill()
            self._linger()
        finally:
            self._kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start_all(self) -> None:
        keys = [str(self.programs / "controlplane"), "keys", str(self.folder)]
        subprocess.run(keys, check=True, timeout=60)
        components.write_files(self.folder, self.ports, self.token, self.settings)
        self._start(components.etcd(self.programs, self.folder, self.ports))
        self._start(components.api_server(self.programs, self.folder, self.ports, self.settings))
        self._until(lambda: bool(self.api.get("/readyz")), "kube-apiserver")
        if self.settings.karpenter_types is not None:
            self._create_crds()
        for part in components.controllers(self.programs, self.folder, self.ports, self.settings):
            self._start(part)
        self._prove_controllers()

    def _start(self, part: Component) -> None:
        """A child in this process's group, its output in NAME.log."""
        env = {**os.environ, **part.env, "CONTROL_PLANE_PARENT": str(os.getpid())}
        with (self.folder / f"{part.name}.log").open("ab") as log:
            self.running[part.name] = subprocess.Popen(
                part.command, env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _check(self) -> None:
        if (self.folder / "stop").exists():
            raise StopError
        for name, process in self.running.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with status {process.returncode}:\n{self._tail(name)}")

    def _until(self, done: Any, what: str) -> None:
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            self._check()
            with contextlib.suppress(OSError, ApiError):
                if done():
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{what} was not ready after {READY_S:.0f} s:\n{self._tail(what)}")

    def _create_crds(self) -> None:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for file in sorted((self.programs / "crds").glob("*.yaml")):
            crd = yaml.safe_load(file.read_text())
            self.api.create(path, crd)
            self._until(lambda name=crd["metadata"]["name"]: self._established(f"{path}/{name}"), "kube-apiserver")

    def _established(self, path: str) -> bool:
        conditions = self.api.get(path).get("status", {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    def _prove_controllers(self) -> None:
        """A Deployment gets a pod, and the scheduler says that no node takes it: both of them work."""
        labels = {"app": "probe"}
        container = {"name": "c", "image": "none"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "nodeSelector": {"probe": "none"}}}
        body = {"metadata": {"name": "probe"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}
        path = "/apis/apps/v1/namespaces/default/deployments"
        self._until(lambda: bool(self.api.create(path, body)), "kube-apiserver")
        self._until(self._probe_judged, "kube-controller-manager")
        self._until(lambda: _healthy(self.ports["kwok"], "/healthz"), "kwok")
        if self.settings.karpenter_types is not None:
            self._until(lambda: _healthy(self.ports["karpenter_health"], "/readyz"), "karpenter")
        self.api.delete(f"{path}/probe?propagationPolicy=Foreground")
        self._until(lambda: not self.api.get("/api/v1/namespaces/default/pods")["items"], "kube-controller-manager")

    def _probe_judged(self) -> bool:
        pods = self.api.get("/api/v1/namespaces/default/pods")["items"]
        return any(pod.get("status", {}).get("conditions") for pod in pods)

    def _report(self, status: str, message: str = "") -> None:
        pids = {name: process.pid for name, process in self.running.items()}
        state = {
            **{"status": status, "message": message, "pid": os.getpid(), "detached": self.detached},
            **{"ports": self.ports, "pids": pids},
        }
        temporary = self.folder / "state.tmp"
        temporary.write_text(json.dumps(state))
        temporary.replace(self.folder / "state.json")

    def _tail(self, name: str) -> str:
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def _linger(self) -> None:
        """Leave the message where it can be read for a moment."""
        end = time.monotonic() + 5.0
        with contextlib.suppress(StopError):
            while time.monotonic() < end and not (self.folder / "stop").exists():
                time.sleep(0.1)

    def _kill(self) -> None:
        """Nothing here is worth a graceful end: the data is thrown away."""
        for process in reversed(self.running.values()):
            if process.poll() is None:
                process.kill()
        for process in self.running.values():
            process.wait()


def _healthy(port: int, path: str) -> bool:
    """Whether that port of localhost answers 200. Raises OSError while nobody listens."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return bool(answer.status == 200)


def _stop_on_signal(_number: int, _frame: FrameType | None) -> None:
    raise StopError


def _stop_with_parent() -> None:
    """Whoever started us holds the other end of standard input until it dies."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop_on_signal)
    supervisor = Supervisor(Path(sys.argv[1]))
    if not supervisor.detached:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    supervisor.run()


if __name__ == "__main__":
    main()
