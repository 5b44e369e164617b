"""Build, start, list and stop control planes.

    python -m tests.control_plane build            # what `make control-plane` calls
    python -m tests.control_plane up [--karpenter] # leaves one running; prints its kubeconfig
    python -m tests.control_plane status
    python -m tests.control_plane down [FOLDER]    # that one, or all that `up` started, and what is dead

`record` and `compare` are modules of their own: python -m tests.control_plane.record --help
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.control_plane.build import build, built, missing_reason
from tests.control_plane.components import Settings
from tests.control_plane.karpenter_types import example_types
from tests.control_plane.plane import ControlPlane, planes, stop_plane


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.control_plane", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs unless they are there")
    up = commands.add_parser("up", help="start one and leave it running")
    up.add_argument("--karpenter", action="store_true", help="with Karpenter and three instance types")
    commands.add_parser("status", help="list those that run")
    down = commands.add_parser("down", help="stop one, or all")
    down.add_argument(
        "folder", nargs="?", type=Path, help="folder that `up` or `status` printed; default all that `up` started"
    )
    options = parser.parse_args()
    return {"build": _build, "up": _up, "status": _status, "down": _down}[options.command](options)


def _build(_options: argparse.Namespace) -> int:
    if built() is None and shutil.which("go") is None:
        print("control-plane: skipped, Go is missing (https://go.dev/dl); the comparisons on recordings need none")
        return 0
    try:
        print(f"control-plane: programs in {build()}")
    except subprocess.CalledProcessError as error:
        print(f"control-plane: the build failed with status {error.returncode}", file=sys.stderr)
        return 1
    return 0


def _up(options: argparse.Namespace) -> int:
    if built() is None:
        print(missing_reason(), file=sys.stderr)
        return 2
    plane = ControlPlane(Settings(karpenter_types=example_types() if options.karpenter else None), detached=True)
    try:
        plane.start()
    except BaseException:
        plane.stop()
        raise
    print(f"{plane.folder}\nexport KUBECONFIG={plane.folder / 'kubeconfig'}")
    return 0


def _status(_options: argparse.Namespace) -> int:
    for folder, state in planes().items():
        status = state.get("status", "unknown") if state["alive"] else "dead; `down` clears it away"
        print(f"{folder}  {status}  port {state.get('ports', {}).get('api', '-')}")
    return 0


def _down(options: argparse.Namespace) -> int:
    for folder, state in planes().items():
        chosen = folder == options.folder if options.folder else state.get("detached") or not state["alive"]
        if chosen:
            stop_plane(folder, state)
            print(f"stopped {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
