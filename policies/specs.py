"""What this version's encoder writes and its decoder reads, per kind of policy; and bundles from disk, held to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envs.errors import InputError
from policies.bundle import Bundle, check_fits, read_bundle
from policies.manifest import FeatureLike


def spec_of(kind: str) -> tuple[Sequence[FeatureLike], Sequence[str]]:
    """(features, actions) of this version. Raises InputError for a kind that it cannot run."""
    if kind != "autoscaling":
        raise InputError(None, "kind", kind, "this Trimtab runs policies of kind autoscaling only")
    from envs.observation import AUTOSCALING, FEATURE
    from envs.set_point_action import ACTIONS

    return [FEATURE[name] for name in AUTOSCALING], ACTIONS


def load(folder: Path) -> Bundle:
    """The bundle in a folder, as each use checks it. Raises InputError."""
    bundle = read_bundle(folder)
    features, actions = spec_of(bundle.manifest.kind)
    check_fits(bundle, features=features, actions=actions)
    return bundle
