"""Put a bundle in its place: whole or not at all, and never over something that is no bundle."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from envs.errors import InputError
from policies.manifest import BUNDLE_FILES


def check_free(folder: Path, *, force: bool) -> None:
    """Raise InputError unless `folder` is free, or holds a bundle and nothing else and force is given."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not force:
        raise InputError(folder, "folder", None, "exists already; choose another, or overwrite it with --force")
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(folder, "folder", None, "is no folder; choose another place")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in BUNDLE_FILES)
    if foreign:
        raise InputError(folder, "folder", foreign[0], "is not of a bundle and would be lost; choose another folder")


def save_bundle(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> None:
    """All files at once: a new folder beside the place, then a rename. An error leaves the place as it was."""
    check_free(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, data in files.items():
            with (made / name).open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        made.chmod(0o755)
        _swap(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _swap(made: Path, folder: Path) -> None:
    """Put `made` in the place of `folder`; what was there is removed last."""
    if not folder.exists():
        made.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old / folder.name)
    try:
        made.rename(folder)
    except OSError:
        (old / folder.name).rename(folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
