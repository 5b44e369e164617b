"""A bundle: the folder that holds one learned policy, `policy.onnx` + `manifest.json`; loading it is the only gate.

Everything is read once, checked in memory and then used from memory, so that what was checked is what runs. Nothing
in a bundle is executed but the operators listed here. Every refusal is an InputError: file, field, value, mend.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import InputError
from policies.manifest import (
    FORECASTER_FILE,
    INPUT,
    MANIFEST_FILE,
    MANIFEST_MAX_BYTES,
    MODEL_FILE,
    OUTPUT,
    FeatureLike,
    Manifest,
    ModelFile,
    observation_hash,
    parse_manifest,
)
from policies.onnx_reader import OnnxFacts, read_facts

MODEL_MAX_BYTES = 16 * 2**20
OPSETS = range(17, 24)
OWN_DOMAINS = frozenset({"", "ai.onnx"})
# Dense layers, activations, normalisation: nothing that loops, branches, draws numbers, reads files or grows tensors.
OPERATORS = frozenset({
    "Abs", "Add", "Cast", "Clip", "Concat", "Constant", "Div", "Elu", "Erf", "Exp", "Flatten", "Gather", "Gelu",
    "Gemm", "HardSigmoid", "HardSwish", "Identity", "LayerNormalization", "LeakyRelu", "Log", "MatMul", "Max",
    "Min", "Mish", "Mul", "Neg", "Pow", "PRelu", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Selu", "Sigmoid",
    "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A checked bundle. source: where it came from, for messages. model, text, forecaster: the bytes of its files."""

    source: str
    manifest: Manifest
    model: bytes
    text: bytes
    forecaster: bytes | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """Byte for byte as they were read."""
        optional = {} if self.forecaster is None else {FORECASTER_FILE: self.forecaster}
        return {MODEL_FILE: self.model, MANIFEST_FILE: self.text, **optional}

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.manifest.observation.features)

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.manifest.action)


def load_bundle(path: Path | str, *, features: Sequence[FeatureLike], actions: Sequence[str]) -> Bundle:
    """The bundle in folder `path`, for an encoder of these columns and a decoder of these actions.

    Raises InputError where anything is missing, damaged, foreign, or made for another encoder or decoder.
    """
    bundle = read_bundle(path)
    check_fits(bundle, features=features, actions=actions)
    return bundle


def read_bundle(path: Path | str) -> Bundle:
    """Like `load_bundle`, for whatever encoder it was made for: to show, store and compare, not to act."""
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            folder, "bundle", None, f"no such folder; a bundle is one with {MANIFEST_FILE} and {MODEL_FILE}"
        )
    manifest = read_inside(folder, MANIFEST_FILE, MANIFEST_MAX_BYTES)
    model = read_inside(folder, MODEL_FILE, MODEL_MAX_BYTES)
    return bundle_from(manifest, model, str(folder), forecaster_inside(folder))


def bundle_from(manifest: bytes, model: bytes, source: str, forecaster: bytes | None = None) -> Bundle:
    """The bundle in these bytes, fully checked but for `check_fits`. Raises InputError."""
    parsed = parse_manifest(manifest, f"{source}/{MANIFEST_FILE}")
    part, file = parsed.forecaster, f"{source}/{FORECASTER_FILE}"
    if (part is None) != (forecaster is None):
        mend = "is missing; export the bundle again" if part else "is not in the manifest; remove it"
        raise InputError(file, "file", None, mend)
    _check_model(parsed.model, MODEL_FILE, model, source)
    bundle = Bundle(source, parsed, model, manifest, forecaster)
    ranges = parsed.observation.features
    corners = [[f.low for f in ranges], [f.high for f in ranges], [f.seen_low for f in ranges]]
    _check_session(model, corners, len(bundle.actions), f"{source}/{MODEL_FILE}")
    if part and forecaster is not None:
        _check_forecaster(part.model, part.spec_hash, forecaster, source)
    return bundle


def _check_forecaster(stated: ModelFile, spec_hash: str, model: bytes, source: str) -> None:
    """Under the same rules as the policy, and made to read and say what this version's would."""
    from policies.forecast import FORECAST, INPUTS, QUANTILES

    wanted = observation_hash((*INPUTS, *FORECAST))
    if spec_hash != wanted:
        raise InputError(
            f"{source}/{MANIFEST_FILE}", "forecaster.spec_hash", spec_hash[:12],
            f"this Trimtab's forecasters read and say {wanted[:12]}; train again, or use the Trimtab that made it",
        )  # fmt: skip
    _check_model(stated, FORECASTER_FILE, model, source)
    corners = [[f.low for f in INPUTS], [f.high for f in INPUTS], [0.0 for _ in INPUTS]]
    _check_session(model, corners, len(QUANTILES), f"{source}/{FORECASTER_FILE}")


def forecaster_inside(folder: Path) -> bytes | None:
    """The folder's forecaster.onnx, if it has one."""
    there = (folder / FORECASTER_FILE).exists() or (folder / FORECASTER_FILE).is_symlink()
    return read_inside(folder, FORECASTER_FILE, MODEL_MAX_BYTES) if there else None


def check_fits(bundle: Bundle, *, features: Sequence[FeatureLike], actions: Sequence[str]) -> None:
    """Raise InputError unless this version's encoder and decoder are those that the network was trained with."""
    file = f"{bundle.source}/{MANIFEST_FILE}"
    wanted = observation_hash(features)
    if bundle.manifest.observation.spec_hash != wanted:
        raise InputError(
            file, "observation.spec_hash", bundle.manifest.observation.spec_hash[:12],
            f"this Trimtab encodes observations of {wanted[:12]}: {_difference(bundle, features)}; "
            "train again, or use the Trimtab that made it",
        )  # fmt: skip
    if bundle.actions != tuple(actions):
        raise InputError(
            file, "action", ", ".join(bundle.actions), f"this Trimtab decodes {', '.join(actions)}; train again"
        )


def _difference(bundle: Bundle, features: Sequence[FeatureLike]) -> str:
    """The first column that differs, in words."""
    theirs = bundle.manifest.observation.features
    for a, b in zip(theirs, features, strict=False):
        if (a.name, a.low, a.high) != (b.name, float(b.low), float(b.high)):
            return f"{a.name} [{a.low:g}, {a.high:g}] there, {b.name} [{b.low:g}, {b.high:g}] here"
    return f"{len(theirs)} columns there, {len(features)} here"


def read_inside(folder: Path, name: str, most: int) -> bytes:
    """A regular file of the folder, at most `most` bytes. A link may point inside (as ConfigMaps do), not out of it."""
    path = folder / name
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise InputError(path, "file", None, "is missing; export the bundle again") from None
    if not real.is_relative_to(folder.resolve()):
        raise InputError(path, "file", str(real), "links to a place outside the bundle; copy the file itself")
    if not real.is_file():
        raise InputError(path, "file", None, "is not a regular file; copy the file itself")
    try:
        with real.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise InputError(path, "file", None, f"cannot be read ({error.strerror})") from None
    if len(data) > most:
        raise InputError(path, "size", real.stat().st_size, f"is more than {most:,} bytes; no policy is that large")
    return data


def _check_model(stated: ModelFile, name: str, model: bytes, source: str) -> None:
    """Size, checksum and graph of one of the bundle's networks."""
    manifest, file = f"{source}/{MANIFEST_FILE}", f"{source}/{name}"
    if stated.file != name:
        raise InputError(manifest, "model.file", stated.file, f"must be {name}, beside the manifest")
    if len(model) > MODEL_MAX_BYTES:
        raise InputError(file, "size", len(model), f"is more than {MODEL_MAX_BYTES:,} bytes")
    real = hashlib.sha256(model).hexdigest()
    if stated.sha256 != real or stated.bytes != len(model):
        raise InputError(
            file, "sha256", real[:12],
            f"the manifest says {stated.sha256[:12]}, {stated.bytes} bytes: damaged or exchanged; fetch it again",
        )  # fmt: skip
    try:
        facts = read_facts(model)
    except ValueError as error:
        raise InputError(file, "protobuf", None, f"is no ONNX model ({error}); export the bundle again") from None
    for field, value, mend in _faults(stated, facts):
        raise InputError(file, field, value, mend)


def _faults(stated: ModelFile, facts: OnnxFacts) -> list[tuple[str, object, str]]:
    """(field, value, mend) of everything that a policy's graph must not have."""
    foreign = sorted((facts.domains | {domain for domain, _ in facts.opsets}) - OWN_DOMAINS)
    operators = sorted(facts.operators - OPERATORS)
    own = [version for domain, version in facts.opsets if domain in OWN_DOMAINS]
    opset = own[0] if len(own) == 1 else own
    found = [
        (facts.graphs != 1, "graph", facts.graphs, "must have exactly one graph"),
        (facts.external, "external_data", None, "keeps weights in another file; export with external_data=False"),
        (bool(foreign), "domain", ", ".join(foreign), "uses operators from outside ONNX; only its own are run"),
        (facts.functions, "functions", None, "defines operators of its own; export it inlined"),
        (facts.nested, "graph", None, "has a graph inside an operator (If, Loop, Scan); a policy needs none"),
        (facts.training, "training_info", None, "carries training graphs; export for inference"),
        (facts.sparse, "sparse_tensor", None, "has sparse tensors; export dense ones"),
        (opset not in OPSETS, "opset", opset, f"must be one of {OPSETS[0]}-{OPSETS[-1]}; export again with such a one"),
        (stated.opset != opset, "opset", opset, f"the manifest says {stated.opset}; export again"),
        (bool(operators), "operator", ", ".join(operators), "is not among those that a policy may use"),
    ]
    return [(field, value, mend) for bad, field, value, mend in found if bad]


def open_session(model: bytes, threads: int = 1) -> Any:
    """An onnxruntime session on these bytes: CPU only, `threads` threads, no profile, no files."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _check_session(model: bytes, corners: list[list[float]], answers: int, file: str) -> None:
    """Open it once: names, types and shapes, and finite numbers at the corners of what it reads."""
    try:
        session = open_session(model)
        inputs, outputs = ([(p.name, p.type, list(p.shape)) for p in s] for s in _ports(session))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(file, "model", None, f"onnxruntime refuses it ({reason}); export the bundle again") from None
    _check_port(file, "input", INPUT, inputs, len(corners[0]))
    _check_port(file, "output", OUTPUT, outputs, answers)
    try:
        answer = session.run([OUTPUT], {INPUT: np.array(corners, np.float32)})[0]
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(file, "model", None, f"fails on {len(corners)} rows ({reason}); export it again") from None
    if answer.shape != (len(corners), answers) or not np.isfinite(answer).all():
        raise InputError(file, "weights", None, "does not answer with finite numbers, a row each; train again")


def _ports(session: Any) -> tuple[Any, Any]:
    return session.get_inputs(), session.get_outputs()


def _check_port(file: str, side: str, name: str, ports: list[tuple[str, str, list[Any]]], width: int) -> None:
    if [port[0] for port in ports] != [name]:
        names = ", ".join(port[0] for port in ports)
        raise InputError(file, side, names, f"must be one tensor named {name}; export the bundle again")
    _, kind, shape = ports[0]
    if kind != "tensor(float)":
        raise InputError(file, f"{side}.dtype", kind, "must be float32; export the bundle again")
    if len(shape) != 2 or isinstance(shape[0], int) or shape[1] != width:
        raise InputError(file, f"{side}.shape", shape, f"must be [any number of rows, {width}]; export it again")
