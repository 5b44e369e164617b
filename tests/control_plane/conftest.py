"""The control plane as a pytest fixture. It is skipped where its programs are not built, unless that is forbidden."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_plane.build import REQUIRE, built, missing_reason
from tests.control_plane.components import Settings
from tests.control_plane.plane import ControlPlane


@pytest.fixture(scope="session")
def programs() -> Path:
    """Folder of the built programs."""
    folder = built()
    if folder is None:
        (pytest.fail if os.environ.get(REQUIRE) else pytest.skip)(missing_reason())
    return folder


@pytest.fixture
def plane(programs: Path) -> Iterator[ControlPlane]:
    """A control plane of its own, without Karpenter."""
    with ControlPlane(Settings(), programs=programs) as running:
        yield running
