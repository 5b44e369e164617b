"""Where a policy comes from: commit, checksums, version, hour. What makes a result one that can be made again."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from policies.manifest import TraceUsed

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Commit:
    """sha: 40 hex digits, None outside a checkout of Trimtab. dirty: tracked files differ from it."""

    sha: str | None = None
    dirty: bool = False


def commit(root: Path = ROOT) -> Commit:
    """Of the checkout that this code runs from, never of another repository that happens to surround it."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != root.resolve():
        return Commit()
    return Commit(_git(root, "rev-parse", "HEAD") or None, bool(_git(root, "status", "--porcelain", "-uno")))


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def file_sha256(path: Path) -> str:
    """Of a file's bytes, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def traces_used(files: Iterable[tuple[str, Path]]) -> list[TraceUsed]:
    """(source, file) pairs as the manifest lists them, sorted; a file that occurs twice is listed once."""
    rows = {
        (source, path.name): TraceUsed(source=source, trace=path.name, sha256=file_sha256(path))
        for source, path in files
    }
    return [rows[key] for key in sorted(rows)]


def trimtab_version() -> str:
    """Of the installed package; "unknown" from a bare folder."""
    try:
        return version("trimtab")
    except PackageNotFoundError:
        return "unknown"


def utc_now() -> str:
    """As the manifest writes time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
