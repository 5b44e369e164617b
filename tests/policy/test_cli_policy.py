"""`trimtab policy` against a real MLflow registry in a folder: register, promote through gates, roll back, take out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from envs.errors import InputError
from optimizer.cli import app
from policies import specs
from policies.forecast import FORECAST, INPUTS, QUANTILES
from policies.manifest import ForecasterPart, ModelFile, TraceUsed, observation_hash, render_manifest
from tests.policies import bundles
from tests.policy.test_gates import document

Policy = Callable[..., str]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """MLflow's tables, made once: they take seconds."""
    folder = tmp_path_factory.mktemp("empty")
    code = f"from mlflow import MlflowClient; MlflowClient('sqlite:///{folder}/mlflow.db').search_experiments()"
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=quiet, cwd=folder)
    return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: bytes) -> Policy:
    """Runs `trimtab policy ...` in an empty folder, where the test's small bundles are of this version's spec."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(specs, "spec_of", lambda kind: (bundles.FEATURES, bundles.ACTIONS))
    (tmp_path / "mlflow.db").write_bytes(empty_database)

    def run(*words: object) -> str:
        done = CliRunner().invoke(app, ["policy", *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def make(folder: Path, seed: int = 0, **changed: Any) -> Path:
    """A bundle whose export was compared."""
    made = bundles.model(bundles.weights(seed))
    data = made.SerializeToString()
    model = bundles.manifest(data).model.model_dump() | {"rows_compared": 1000, "max_difference": 1e-7}
    return bundles.write(folder, data, model=ModelFile(**model), **changed)


def evaluation(folder: Path, bundle: Path, overall: float = -0.05) -> Path:
    sha = json.loads((bundle / "manifest.json").read_text())["model"]["sha256"]
    file = folder / "evaluation.json"
    file.write_text(json.dumps(document(overall) | {"bundles": {"new": sha}}))
    return file


def test_a_forecaster_travels_with_its_bundle(policy, tmp_path):
    """Its checksum is in the manifest, whose own is in the registry."""
    said = bundles.model(bundles.weights(3, len(INPUTS), len(QUANTILES))).SerializeToString()
    file = bundles.manifest(said).model.model_dump() | {"file": "forecaster.onnx"}
    part = ForecasterPart(spec_hash=observation_hash((*INPUTS, *FORECAST)), model=ModelFile(**file))
    columns = (*bundles.FEATURES, *FORECAST)
    data = bundles.model(bundles.weights(4, len(columns))).SerializeToString()
    folder = tmp_path / "with"
    folder.mkdir()
    files = {
        "policy.onnx": data,
        "forecaster.onnx": said,
        "manifest.json": render_manifest(bundles.manifest(data, columns, forecaster=part)),
    }
    for name, text in files.items():
        (folder / name).write_bytes(text)
    policy("import", folder)
    policy("export", "tiny/1", "--out", tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == files


def test_a_bundle_goes_in_is_promoted_and_comes_out_byte_for_byte(policy, tmp_path):
    first, second = make(tmp_path / "one", 1), make(tmp_path / "two", 2)
    assert "tiny/1 is registered, and is the challenger" in policy("import", first)
    assert "tiny/1 is the champion" in policy("promote", "tiny")
    policy("import", second)
    judged = ("--evaluation", evaluation(tmp_path, second), "--candidate", "new", "--champion", "old")
    said = policy("promote", "tiny", *judged)
    assert "tiny/2 is the champion instead of tiny/1." in said
    assert said.count("passed ") == 6
    policy("export", "tiny", "--out", tmp_path / "out")
    for name in ("policy.onnx", "manifest.json"):
        assert (tmp_path / "out" / name).read_bytes() == (second / name).read_bytes()
    rows = {(v["number"] if "number" in v else v["version"]): v for v in json.loads(policy("list", "--json"))}
    assert {number: row["aliases"] for number, row in rows.items()} == {1: [], 2: ["champion"]}
    assert rows[2]["tags"]["trimtab.gate.better"].startswith("passed: -5.0 %")
    assert "OK" in policy("verify", tmp_path / "out")


def test_a_failed_gate_stops_a_promotion_unless_it_is_forced_and_the_reason_is_kept(policy, tmp_path):
    policy("import", make(tmp_path / "one", 1))
    policy("promote", "tiny")
    second = make(tmp_path / "two", 2)
    policy("import", second)
    judged = ("--evaluation", str(evaluation(tmp_path, second, 0.05)), "--candidate", "new", "--champion", "old")
    with pytest.raises(InputError, match="failed better"):
        policy("promote", "tiny", *judged)
    with pytest.raises(InputError, match="failed better"):
        policy("promote", "tiny")  # no evaluation at all
    assert "champion" in json.loads(policy("show", "tiny/1", "--json"))["aliases"]
    assert "forced" in policy("promote", "tiny", *judged, "--force", "drill of 5 January")
    shown = json.loads(policy("show", "tiny@champion", "--json"))
    assert shown["version"] == 2
    assert shown["tags"]["trimtab.forced"] == "drill of 5 January"
    assert shown["tags"]["trimtab.gate.better"].startswith("failed: +5.0 %")
    assert "drill of 5 January" in policy("show", "tiny")


def test_rollback_goes_back_one_champion_at_a_time(policy, tmp_path):
    for number in (1, 2, 3):
        policy("import", make(tmp_path / str(number), number))
        policy("promote", "tiny", "--force", "test")
    assert policy("rollback", "tiny") == "tiny/2 is the champion again, tiny/3 no longer.\n"
    assert policy("rollback", "tiny") == "tiny/1 is the champion again, tiny/2 no longer.\n"
    with pytest.raises(InputError, match="replaced no champion"):
        policy("rollback", "tiny")
    policy("promote", "tiny/3", "--force", "again")
    assert policy("rollback", "tiny") == "tiny/1 is the champion again, tiny/3 no longer.\n"


def test_bytes_that_are_not_what_was_registered_are_never_used(policy, tmp_path):
    """Somebody exchanges both files in the store: consistent with each other, but not with the registry."""
    policy("import", make(tmp_path / "one", 1))
    (stored,) = (tmp_path / "mlruns").rglob("policy.onnx")
    make(stored.parent, 2)
    for words in (("show", "tiny"), ("export", "tiny", "--out", "out"), ("promote", "tiny", "--force", "hurry")):
        with pytest.raises(InputError, match="not what was registered"):
            policy(*words)
    assert not (tmp_path / "out").exists()


def test_a_bundle_for_another_encoder_is_not_registered(policy, tmp_path, monkeypatch):
    monkeypatch.setattr(specs, "spec_of", lambda kind: (bundles.FEATURES[:2], bundles.ACTIONS))
    with pytest.raises(InputError, match="3 columns there, 2 here"):
        policy("import", make(tmp_path / "one"))
    assert "There are no policies yet" in policy("list")


def test_training_data_in_the_evaluation_stops_a_promotion(policy, tmp_path):
    policy("import", make(tmp_path / "one", 1))
    policy("promote", "tiny")
    second = make(tmp_path / "two", 2, data=[TraceUsed(source="nab", trace="elb", sha256="a" * 64)])
    policy("import", second)
    with pytest.raises(InputError, match="failed unseen;"):
        policy(
            "promote", "tiny", "--evaluation", evaluation(tmp_path, second), "--candidate", "new", "--champion", "old"
        )


def test_mistakes_are_told_in_a_line(policy, tmp_path):
    policy("import", make(tmp_path / "one"))
    for words, said in [
        ("show tyni", "the names are tiny"),
        ("show tiny/9", "there are tiny/1 @challenger"),
        ("show tiny@champion", "there is no such version"),
        ("show a.b", "must be NAME"),
        ("rollback tiny", "has no champion"),
        ("export tiny --out one", "exists already"),
        ("import none", "no such folder"),
        ("import one --name No_Name", "lower-case"),
    ]:
        with pytest.raises(InputError, match=said):
            policy(*words.split())


def test_a_server_that_is_down_is_told_in_a_line_without_its_password(policy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI says which") as caught:
        policy("list")
    assert "hunter2" not in str(caught.value)


def test_other_models_of_the_same_mlflow_are_left_out(policy, tmp_path):
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").create_registered_model("fraud-detector")
    policy("import", make(tmp_path / "one"))
    assert "fraud" not in policy("list")


def test_verify_loads_no_mlflow(tmp_path):
    make(tmp_path / "one")
    code = (
        "import sys; from policies import specs; from optimizer.cli import app; from typer.testing import "
        "CliRunner; from tests.policies import bundles; import optimizer.cli_policy\n"
        "specs.spec_of = lambda kind: (bundles.FEATURES, bundles.ACTIONS)\n"
        f"done = CliRunner().invoke(app, ['policy', 'verify', {str(tmp_path / 'one')!r}])\n"
        "print(done.exit_code, [m for m in ('mlflow', 'torch', 'pandas') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "0 []"
