"""What this version's encoder writes and its decoder reads, per kind of policy; and bundles from disk, held to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envs.errors import InputError
from policies.bundle import Bundle, check_fits, read_bundle
from policies.family import CONSTANTS, MEMBERS, VARIANTS
from policies.manifest import MANIFEST_FILE, FeatureLike


def spec_of(kind: str) -> tuple[Sequence[FeatureLike], Sequence[str]]:
    """(features, actions) of this version. Raises InputError for a kind that it cannot run."""
    if kind != "autoscaling":
        raise InputError(None, "kind", kind, "this Trimtab runs policies of kind autoscaling only")
    from envs.observation import AUTOSCALING, FEATURE
    from envs.set_point_action import ACTIONS

    return [FEATURE[name] for name in AUTOSCALING], ACTIONS


def check(bundle: Bundle) -> None:
    """Raise InputError unless this version can run it: observation, actions, and the variants that its prior is of."""
    features, actions = spec_of(bundle.manifest.kind)
    if bundle.forecaster is not None:
        from policies.forecast import FORECAST

        features = [*features, *FORECAST]
    check_fits(bundle, features=features, actions=actions)
    prior = bundle.manifest.prior
    if prior is not None and (tuple(prior.variants), tuple(prior.constants)) != (VARIANTS, CONSTANTS):
        mend = f"this Trimtab chooses among {MEMBERS} variants and constants of other values; train again"
        found = len(prior.variants) + len(prior.constants)
        raise InputError(f"{bundle.source}/{MANIFEST_FILE}", "prior", found, mend)


def load(folder: Path) -> Bundle:
    """The bundle in a folder, as each use checks it. Raises InputError."""
    bundle = read_bundle(folder)
    check(bundle)
    return bundle
