"""Each gate passes what it should and stops what it should, at its stated threshold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from envs.errors import InputError
from optimizer import gates
from optimizer.gates import load_evaluation
from policies import specs
from policies.bundle import Bundle, bundle_from
from policies.family import CONSTANTS, MEMBERS, VARIANTS
from policies.manifest import ForecasterPart, ModelFile, TraceUsed, VariantPrior, render_manifest
from tests.policies import bundles

SHA = "a" * 64


def bundle(**changed: Any) -> Bundle:
    data = bundles.model().SerializeToString()
    return bundle_from(render_manifest(bundles.manifest(data, **changed)), data, "here")


def figure(value: float | None, half: float = 0.01) -> dict[str, Any]:
    return {"equal_slo": {"value": value, "low": None, "high": None} if value is None else {
        "value": value, "low": value - half, "high": value + half}}  # fmt: skip


def document(overall: float | None = -0.05, sources: dict[str, float | None] | None = None) -> dict[str, Any]:
    """An evaluation of "new" against "old", as `trimtab evaluate --json` writes it."""
    figures = {"nab": -0.05, "aiops": -0.01} if sources is None else sources
    return {
        "schema": "trimtab.evaluate/1",
        "policies": {"new": {}, "old": {}},
        "traces": [{"source": "nab", "trace": "elb", "sha256": SHA}],
        "pairs": {"new": {"old": figure(overall)}},
        "sources": {s: {"pairs": {"new": {"old": figure(v)}}} for s, v in figures.items()},
        "bundles": {"new": bundle().manifest.model.sha256},
    }


def judged(folder: Path, *arguments: Any, **changed: Any) -> gates.Evaluation:
    file = folder / "evaluation.json"
    file.write_text(json.dumps(document(*arguments) | changed))
    return load_evaluation(file, "new", "old")


@pytest.mark.parametrize(("value", "passed"), [(-0.05, True), (-0.011, True), (-0.009, False), (0.05, False)])
def test_better_needs_the_whole_interval_below_zero(tmp_path, value, passed):
    gate = gates.better(judged(tmp_path, value))
    assert gate.passed is passed
    assert f"{100 * value:+.1f} % [" in gate.said


def test_better_does_not_pass_what_cannot_be_told(tmp_path):
    assert gates.better(judged(tmp_path, None)) == gates.Gate(
        "better", False, "unknown [unknown, unknown] against old at equal SLO: too little to tell"
    )


@pytest.mark.parametrize(
    ("sources", "passed"),
    [
        ({"a": -0.3, "b": 0.02}, True),
        ({"a": -0.3, "b": 0.0201}, False),
        ({"a": -0.3, "b": None}, False),
        ({}, False),
    ],
)
def test_one_source_that_is_two_percent_dearer_is_enough(tmp_path, sources, passed):
    gate = gates.no_source_worse(judged(tmp_path, -0.2, sources))
    assert gate.passed is passed
    assert "b" in gate.said or not sources


def test_a_trace_of_training_may_not_judge(tmp_path):
    evaluation = judged(tmp_path)
    trained = bundle(data=[TraceUsed(source="x", trace="renamed", sha256=SHA)])
    assert not gates.unseen(trained, evaluation).passed
    assert "renamed" in gates.unseen(trained, evaluation).said
    other = bundle(data=[TraceUsed(source="nab", trace="elb", sha256="b" * 64)])
    assert gates.unseen(other, evaluation).passed


@pytest.mark.parametrize(("stated", "passed"), [({"new": []}, True), ({"new": ["nab"]}, False), ({}, False)])
def test_without_traces_the_sources_decide_and_silence_does_not_pass(tmp_path, stated, passed):
    assert gates.unseen(bundle(), judged(tmp_path, traces=[], trained_on=stated)).passed is passed


def test_the_evaluation_must_have_run_this_very_network(tmp_path):
    assert gates.identity(bundle(), judged(tmp_path)).passed
    assert not gates.identity(bundle(), judged(tmp_path, bundles={"new": "c" * 64})).passed
    assert not gates.identity(bundle(), judged(tmp_path, bundles={})).passed


def test_another_forecaster_is_another_policy():
    alone = bundle().manifest
    parts = [
        ForecasterPart.model_construct(model=alone.model.model_copy(update={"sha256": sha * 64})) for sha in ("a", "b")
    ]
    told = [alone, *(alone.model_copy(update={"forecaster": part}) for part in parts)]
    assert len({m.networks_sha256 for m in told}) == 3
    assert alone.networks_sha256 == alone.model.sha256


def test_parity_is_with_this_versions_encoder_decoder_and_variants(monkeypatch):
    def passes(features: Any, actions: Any, **changed: Any) -> bool:
        monkeypatch.setattr(specs, "spec_of", lambda kind: (features, actions))
        return gates.parity(bundle(**changed)).passed

    assert passes(bundles.FEATURES, bundles.ACTIONS)
    assert not passes(bundles.FEATURES[:2], bundles.ACTIONS)
    assert not passes(bundles.FEATURES, ("share", "window"))
    zeros = [0.0] * MEMBERS
    assert passes(bundles.FEATURES, bundles.ACTIONS, prior=prior(list(VARIANTS), zeros))
    assert not passes(bundles.FEATURES, bundles.ACTIONS, prior=prior(list(VARIANTS)[::-1], zeros))
    assert not passes(bundles.FEATURES, bundles.ACTIONS, prior=prior([(1.0, 1.0)], [0.0] * (1 + len(CONSTANTS))))
    assert not passes(bundles.FEATURES, bundles.ACTIONS, prior=prior(list(VARIANTS), zeros[: len(VARIANTS)], []))


def prior(
    variants: list[tuple[float, float]], regret: list[float], constants: Sequence[tuple[float, float]] = CONSTANTS
) -> VariantPrior:
    return VariantPrior(prices=[30.0], variants=variants, constants=list(constants), log_regret=[regret])


def test_an_export_that_was_never_compared_does_not_pass():
    sha = bundle().manifest.model
    good = ModelFile(**sha.model_dump() | {"rows_compared": 1000, "max_difference": 1e-6})
    assert not gates.exported_well(bundle()).passed
    assert gates.exported_well(bundle(model=good)).passed
    assert not gates.exported_well(bundle(model=good.model_copy(update={"max_difference": 1e-4}))).passed
    poor = good.model_copy(update={"file": "forecaster.onnx", "rows_compared": 10})
    part = ForecasterPart(spec_hash="0" * 64, model=poor)
    manifest = bundle(model=good).manifest.model_copy(update={"forecaster": part})
    assert not gates.exported_well(dataclasses.replace(bundle(model=good), manifest=manifest)).passed


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "document"),
        ("[]", "schema"),
        (json.dumps(document() | {"schema": "trimtab.whatif/1"}), "schema"),
        (json.dumps(document() | {"policies": {"new": {}}}), "--champion"),
        (json.dumps(document() | {"policies": {"old": {}}}), "--candidate"),
        (json.dumps(document() | {"pairs": {}}), "pairs"),
        (json.dumps(document() | {"sources": {"nab": {}}}), "pairs"),
        (json.dumps(document() | {"pairs": {"new": {"old": {"equal_slo": "cheap"}}}}), "pairs"),
    ],
)
def test_a_file_that_does_not_compare_the_two_is_refused(tmp_path, text, field):
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(InputError) as caught:
        load_evaluation(tmp_path / "e.json", "new", "old")
    assert caught.value.field == field
