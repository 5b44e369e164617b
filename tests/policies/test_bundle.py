"""A good bundle loads and runs; a bad one is refused with the file, the field and the mend, one by one."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from envs.errors import InputError
from envs.observation import FEATURES as CLUSTER_FEATURES
from policies.bundle import bundle_from, load_bundle, open_session, read_bundle
from policies.manifest import observation_hash
from policies.onnx_reader import read_facts
from tests.policies import bundles
from tests.policies.bundles import ACTIONS, FEATURES, model, write


def load(folder: Path) -> Any:
    return load_bundle(folder, features=FEATURES, actions=ACTIONS)


def refused(folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        load(folder)
    assert caught.value.mend
    assert str(folder) in caught.value.file
    return caught.value


def edit(folder: Path, change: Any) -> Path:
    """The bundle with its manifest's JSON changed in place."""
    path = folder / "manifest.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    return folder


def test_a_good_bundle_loads(tmp_path):
    bundle = load(write(tmp_path / "b"))
    assert bundle.features == ("load", "trend", "known")
    assert bundle.actions == ACTIONS
    assert bundle.model == (tmp_path / "b" / "policy.onnx").read_bytes()


def test_loading_needs_neither_torch_nor_onnx(tmp_path):
    write(tmp_path / "b")
    code = (
        "import sys; from policies.bundle import read_bundle; from policies.network import Network; "
        f"Network(read_bundle({str(tmp_path / 'b')!r})); "
        "print([m for m in ('torch', 'onnx', 'mlflow', 'pandas', 'numba', 'envs.sim') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["policy.onnx", "manifest.json"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = write(tmp_path / "b")
    (folder / name).unlink()
    assert refused(folder).file.endswith(name)


def test_a_missing_folder_is_named(tmp_path):
    assert refused(tmp_path / "none").field == "bundle"


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"a": 1, "a": 2}', '{"seed": NaN}', "[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path, text):
    folder = write(tmp_path / "b")
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    assert refused(folder).field == "document"


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_an_unknown_schema_is_refused(tmp_path, version):
    folder = edit(write(tmp_path / "b"), lambda plain: plain.update(schema_version=version))
    assert refused(folder).field == "schema_version"


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("surprise", 1, "surprise"),
        ("name", "../evil", "name"),
        ("name", "a/b", "name"),
        ("kind", "nodes", "kind"),
        ("created", "yesterday", "created"),
        ("git_commit", "HEAD", "git_commit"),
        ("base", {"share": "much"}, "base.share"),
        ("evaluation", {"columns": ["a"], "rows": [[1, 2]]}, "evaluation.rows"),
    ],
)
def test_a_bad_field_is_named(tmp_path, field, value, named):
    folder = edit(write(tmp_path / "b"), lambda plain: plain.update({field: value}))
    assert refused(folder).field == named


def test_an_envelope_outside_the_feature_is_refused(tmp_path):
    folder = edit(write(tmp_path / "b"), lambda plain: plain["observation"]["features"][0].update(seen_high=9.0))
    assert "seen_low" in refused(folder).field


@pytest.mark.parametrize("field", [("model", "sha256", "0" * 64), ("model", "bytes", 5)])
def test_a_model_that_is_not_the_manifests_is_refused(tmp_path, field):
    part, key, value = field
    folder = edit(write(tmp_path / "b"), lambda plain: plain[part].update({key: value}))
    assert refused(folder).field == "sha256"


def test_one_flipped_bit_is_seen(tmp_path):
    folder = write(tmp_path / "b")
    data = bytearray((folder / "policy.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "policy.onnx").write_bytes(data)
    assert refused(folder).field == "sha256"


def test_a_model_of_more_than_16_mib_is_refused_before_it_is_read_whole(tmp_path):
    folder = write(tmp_path / "b")
    with (folder / "policy.onnx").open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse: takes no disk
    assert refused(folder).field == "size"


def external(path: str) -> onnx.ModelProto:
    """A model whose matrix is in another file."""
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": path, "offset": "0", "length": "24"}.items():
        tensor.external_data.add(key=key, value=value)
    return made


@pytest.mark.parametrize("path", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_external_data_is_refused(tmp_path, path):
    assert refused(write(tmp_path / "b", external(path))).field == "external_data"


@pytest.mark.parametrize("path", ["weights.bin", "../weights.bin"])
def test_the_runtime_alone_refuses_external_data_too(tmp_path, monkeypatch, path):
    """The second lock: models are opened from bytes, and from bytes onnxruntime opens no other file."""
    monkeypatch.chdir(tmp_path)
    Path("weights.bin").write_bytes(bytes(24))
    with pytest.raises(Exception, match=r"(?i)external|model_path"):
        open_session(external(path).SerializeToString())


def hidden_external() -> onnx.ModelProto:
    """The same in an operator's attribute."""
    tensor = external("weights.bin").graph.initializer[0]
    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor),
        helper.make_node("MatMul", ["observation", "c"], ["action"]),
    ]
    return model(nodes=nodes)


def branch() -> onnx.ModelProto:
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["observation", "W"], ["inner"])],
        "then",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    return model(nodes=[helper.make_node("If", ["yes"], ["action"], then_branch=inner, else_branch=inner)], extra=[yes])


def function() -> onnx.ModelProto:
    made = model()
    made.functions.add(name="F", domain="")
    return made


def sparse() -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.add(dims=[1])
    return made


def training() -> onnx.ModelProto:
    made = model()
    made.training_info.add()
    return made


def custom(domain: str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["observation", "W"], ["h"]),
        helper.make_node("Tanh", ["h"], ["action"], domain=domain),
    ]
    return model(nodes=nodes, opsets=[("", 18), (domain, 1)])


def unusual(operator: str) -> onnx.ModelProto:
    return model(
        nodes=[
            helper.make_node("MatMul", ["observation", "W"], ["h"]),
            helper.make_node(operator, ["h"], ["action"]),
        ]
    )


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (hidden_external(), "external_data"),
        (branch(), "graph"),
        (function(), "functions"),
        (sparse(), "sparse_tensor"),
        (training(), "training_info"),
        (custom("com.microsoft"), "domain"),
        (custom("evil"), "domain"),
        (unusual("RandomNormalLike"), "operator"),
        (unusual("NonZero"), "operator"),
        (model(opsets=[("", 99)]), "opset"),
        (model(opsets=[("", 9)]), "opset"),
        (model(opsets=[("", 19)]), "opset"),  # the manifest says 18
        (model(opsets=[("", 18), ("ai.onnx", 18)]), "opset"),
        (model(opsets=[("evil", 1)]), "domain"),
        (onnx.ModelProto(ir_version=10), "graph"),
        (b"no protobuf at all", "protobuf"),
        (model().SerializeToString()[:-3], "protobuf"),
        (model(names=("obs", "action")), "input"),
        (model(names=("observation", "act")), "output"),
        (model(kinds=(TensorProto.DOUBLE, TensorProto.DOUBLE)), "model"),  # a float matrix times doubles
        (model(batch=1), "input.shape"),
        (model(bundles.weights(rows=4)), "input.shape"),
        (model(bundles.weights(columns=3)), "output.shape"),
        (model(np.full((3, 2), np.nan, np.float32)), "weights"),
        (unusual("Softmaxx"), "operator"),
    ],
)  # fmt: skip
def test_a_model_that_is_no_plain_small_network_is_refused(tmp_path, made, field):
    assert refused(write(tmp_path / "b", made)).field == field


def test_doubles_are_refused(tmp_path):
    nodes = [
        helper.make_node("Cast", ["observation"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "W"], ["action"]),
    ]
    made = model(nodes=nodes, kinds=(TensorProto.DOUBLE, TensorProto.FLOAT))
    assert refused(write(tmp_path / "b", made)).field == "input.dtype"


def test_a_second_graph_hides_nothing(tmp_path):
    """Protobuf merges a field that occurs twice; so what the second one holds is judged as well."""
    both = external("weights.bin").SerializeToString() + model().SerializeToString()
    assert refused(write(tmp_path / "b", both)).field == "graph"


def test_an_observation_of_another_version_is_refused_and_the_column_is_named(tmp_path):
    folder = write(tmp_path / "b")
    wider = (FEATURES[0]._replace(high=5.0), *FEATURES[1:])
    with pytest.raises(InputError, match=r"load \[0, 4\] there, load \[0, 5\] here"):
        load_bundle(folder, features=wider, actions=ACTIONS)
    with pytest.raises(InputError, match="3 columns there, 2 here"):
        load_bundle(folder, features=FEATURES[:2], actions=ACTIONS)
    with pytest.raises(InputError, match="decodes hold, safety"):
        load_bundle(folder, features=FEATURES, actions=ACTIONS[::-1])
    assert read_bundle(folder).features == ("load", "trend", "known")


def test_a_hash_that_is_not_of_its_own_columns_is_refused(tmp_path):
    lie = observation_hash(CLUSTER_FEATURES)
    folder = edit(write(tmp_path / "b"), lambda plain: plain["observation"].update(spec_hash=lie))
    assert refused(folder).field == "observation.spec_hash"


@pytest.mark.parametrize("name", ["../policy.onnx", "/etc/passwd", "other.onnx"])
def test_the_manifest_cannot_name_another_file(tmp_path, name):
    folder = edit(write(tmp_path / "b"), lambda plain: plain["model"].update(file=name))
    assert refused(folder).field == "model.file"


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(tmp_path):
    folder = write(tmp_path / "b")
    (folder / "..data").mkdir()  # as Kubernetes mounts a ConfigMap
    (folder / "policy.onnx").rename(folder / "..data" / "policy.onnx")
    (folder / "policy.onnx").symlink_to("..data/policy.onnx")
    assert load(folder).actions == ACTIONS
    (folder / "..data" / "policy.onnx").rename(tmp_path / "policy.onnx")
    (folder / "policy.onnx").unlink()
    (folder / "policy.onnx").symlink_to(tmp_path / "policy.onnx")
    assert "outside" in refused(folder).mend


def test_neither_a_loop_of_links_nor_a_pipe_nor_a_folder_hangs(tmp_path):
    folder = write(tmp_path / "b")
    place = folder / "policy.onnx"
    place.unlink()
    place.symlink_to("policy.onnx")
    assert refused(folder).field == "file"
    place.unlink()
    os.mkfifo(place)
    assert "regular" in refused(folder).mend
    place.unlink()
    place.mkdir()
    assert "regular" in refused(folder).mend


def test_the_reader_of_bytes_agrees_with_onnx():
    facts = read_facts(model(opsets=[("", 18), ("ai.onnx.ml", 3)]).SerializeToString())
    assert facts.opsets == [("", 18), ("ai.onnx.ml", 3)]
    assert facts.operators == {"MatMul", "Tanh"}
    assert (facts.graphs, facts.external, facts.nested) == (1, False, False)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), flips=st.integers(1, 8))
def test_damaged_bytes_raise_an_input_error_and_nothing_else(seed, flips):
    """With a manifest that fits the damaged bytes, so that the checksum does not hide the other checks."""
    rng = random.Random(seed)
    data = bytearray(model().SerializeToString())
    for _ in range(flips):
        data[rng.randrange(len(data))] = rng.randrange(256)
    made = bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
    if not made:
        return
    plain = json.loads(bundles.render_manifest(bundles.manifest(made)))
    assert plain["model"]["sha256"] == hashlib.sha256(made).hexdigest()
    try:
        bundle_from(json.dumps(plain).encode(), made, "here")
    except InputError as error:
        assert error.mend  # noqa: PT017
