"""Build the control plane's programs from their Go modules into a cache outside the repository.

The cache folder is named after a hash of the sources, so that an edit builds anew and old programs are
never run by mistake. A cold build takes 8-15 minutes on two cores, one with a warm Go cache seconds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "go"
PROGRAMS = ("controlplane", "kwok", "karpenter")
KUBERNETES = "v1.36.3"
KARPENTER_MODULE = "sigs.k8s.io/karpenter"
_VERSION = "k8s.io/component-base/version"
# Without these the API server calls itself v0.0.0-master, and clients that read the version stumble.
LDFLAGS = " ".join(
    (
        "-s -w",
        f"-X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36",
        f"-X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}",
    )
)
REQUIRE = "TRIMTAB_REQUIRE_CONTROL_PLANE"  # set: a missing control plane fails a test instead of skipping it


def source_hash() -> str:
    """Hex digest over the Go sources, the module files and the flags."""
    digest = hashlib.sha256(LDFLAGS.encode())
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where the programs of these very sources live once they are built."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "trimtab" / f"control-plane-{source_hash()}"


def built() -> Path | None:
    """The folder of the built programs, None where they are not there yet."""
    folder = cache_folder()
    return folder if (folder / "complete").exists() else None


def missing_reason() -> str:
    """Why there is no control plane, in one line for a skipped test."""
    go = "run `make control-plane` (8-15 minutes once)" if shutil.which("go") else "Go is missing"
    return f"the control plane's programs are not built: {go}"


def build() -> Path:
    """Build unless they are there. Raises RuntimeError without Go, CalledProcessError when the build fails."""
    done = built()
    if done is not None:
        return done
    if shutil.which("go") is None:
        raise RuntimeError("Go is missing")
    target = cache_folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="control-plane-", dir=target.parent) as work:
        _compile(Path(work))
        _copy_crds(Path(work) / "crds")
        (Path(work) / "complete").touch()
        if not target.exists():
            shutil.copytree(work, target)
    return target


def _compile(folder: Path) -> None:
    command = [
        "go",
        "build",
        "-mod=readonly",
        "-buildvcs=false",
        f"-ldflags={LDFLAGS}",
        "-o",
        f"{folder}/",
        "./cmd/...",
    ]
    subprocess.run(command, cwd=SOURCES, check=True)


def _copy_crds(folder: Path) -> None:
    """Karpenter's CustomResourceDefinitions come from the module that the program is built from."""
    query = ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", KARPENTER_MODULE]
    module = Path(subprocess.run(query, cwd=SOURCES, check=True, capture_output=True, text=True).stdout.strip())
    folder.mkdir()
    for path in (*module.glob("pkg/apis/crds/*.yaml"), *module.glob("kwok/apis/crds/*.yaml")):
        (folder / path.name).write_bytes(path.read_bytes())
