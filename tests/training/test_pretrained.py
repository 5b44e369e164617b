"""The policy that ships is the one its card describes, and better than the base it starts from."""

from __future__ import annotations

import pytest

pytest.importorskip("stable_baselines3", reason="training needs the extra `train`")

from envs.stack_file import load_stack
from optimizer.stack_bundle import bundle_of, bundle_path
from policies.family import CONSTANTS, VARIANTS
from policies.specs import load
from training.model_card import CARD, FOLDER, card, shipped_table


def test_the_stacks_run_the_bundle_that_ships() -> None:
    shipped = load(FOLDER)
    for name in ("trimtab", "trimtab-cluster-autoscaler"):
        assert bundle_of(load_stack(name)).manifest == shipped.manifest
    assert bundle_path("pretrained") == FOLDER
    assert shipped.manifest.prior is not None
    assert (tuple(shipped.manifest.prior.variants), tuple(shipped.manifest.prior.constants)) == (VARIANTS, CONSTANTS)


def test_its_card_is_what_it_does_now() -> None:
    """Costs agree to the card's own digits but the last: other processors round a matrix product otherwise."""
    bundle = load(FOLDER)
    judged = shipped_table(bundle)
    written = (FOLDER / CARD).read_text(encoding="utf-8").splitlines()
    fresh = card(bundle, judged).splitlines()
    assert len(written) == len(fresh)
    for a, b in zip(written, fresh, strict=True):
        if a != b:
            pairs = [(x.strip(), y.strip()) for x, y in zip(a.split("|"), b.split("|"), strict=True) if x.strip()]
            assert all(float(x) == pytest.approx(float(y), rel=0.02, abs=0.01) for x, y in pairs), (a, b)
    assert judged.better
