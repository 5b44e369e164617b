"""Which bundle a stack's policy comes from: loaded once per process, and marked in results by its checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from envs.stack import Stack

if TYPE_CHECKING:
    from policies.bundle import Bundle

PRETRAINED = "pretrained"
SHIPPED = Path(__file__).resolve().parents[1] / "policies" / "pretrained"


def bundle_path(name: str) -> Path:
    """Folder of a bundle; `pretrained` is the one that comes with Trimtab."""
    return SHIPPED if name == PRETRAINED else Path(name).expanduser()


@lru_cache(maxsize=8)
def _loaded(path: Path) -> Bundle:
    from policies.specs import load

    return load(path)


def bundle_of(stack: Stack) -> Bundle:
    """The stack's bundle. Raises InputError where it is missing, damaged or made for another encoder."""
    assert stack.learned is not None
    return _loaded(bundle_path(stack.learned.bundle).resolve())


def bundle_mark(stack: Stack) -> dict[str, str]:
    """What a result must remember of the stack's bundle: the manifest's checksum, which holds the network's.

    Empty without a bundle. A folder whose content changed is another policy, whatever its name.
    """
    if stack.learned is None:
        return {}
    return {"bundle": hashlib.sha256(bundle_of(stack).text).hexdigest()}


def networks(stacks: Mapping[str, Stack]) -> dict[str, str]:
    """SHA-256 of the network of each policy that has one."""
    return {name: bundle_of(s).manifest.networks_sha256 for name, s in stacks.items() if s.learned is not None}
