"""A bundle is put in its place whole or not at all, and never over something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.errors import InputError
from policies.bundle_writer import save_bundle

OLD, NEW = {"manifest.json": b"old", "policy.onnx": b"old"}, {"manifest.json": b"new"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_is_saved_and_replaced_whole(tmp_path):
    save_bundle(tmp_path / "deep" / "b", OLD)
    assert content(tmp_path / "deep" / "b") == OLD
    with pytest.raises(InputError, match="exists already"):
        save_bundle(tmp_path / "deep" / "b", NEW)
    save_bundle(tmp_path / "deep" / "b", NEW, force=True)
    assert content(tmp_path / "deep" / "b") == NEW
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["b"]


def test_force_never_removes_what_is_no_bundle(tmp_path):
    place = tmp_path / "home"
    save_bundle(place, OLD)
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.txt.*would be lost"):
        save_bundle(place, NEW, force=True)
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(place)
    for name in ("file", "link"):
        with pytest.raises(InputError, match="is no folder"):
            save_bundle(tmp_path / name, NEW, force=True)
    assert (place / "thesis.txt").read_text() == "years of work"


def test_an_error_leaves_the_old_bundle_and_no_traces(tmp_path, monkeypatch):
    place = tmp_path / "b"
    save_bundle(place, OLD)
    real = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == place and not (self / "policy.onnx").exists():
            raise OSError("disk full")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk full"):
        save_bundle(place, NEW, force=True)
    assert content(place) == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
