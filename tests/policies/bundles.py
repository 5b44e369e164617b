"""Small bundles for tests, built node by node with `onnx`; each part can be made wrong."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from envs.observation import Feature
from policies.manifest import (
    ActionRange,
    FeatureRange,
    Manifest,
    ModelFile,
    ObservationSpec,
    observation_hash,
    render_manifest,
)

FEATURES = (Feature("load", 0.0, 4.0, ""), Feature("trend", -2.0, 2.0, ""), Feature("known", 0.0, 1.0, ""))
ACTIONS = ("safety", "hold")


def weights(seed: int = 0, rows: int = len(FEATURES), columns: int = len(ACTIONS)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.3, (rows, columns)).astype(np.float32)


def model(
    matrix: np.ndarray | None = None,
    *,
    nodes: list[Any] | None = None,
    extra: list[Any] | None = None,
    names: tuple[str, str] = ("observation", "action"),
    kinds: tuple[int, int] = (TensorProto.FLOAT, TensorProto.FLOAT),
    batch: Any = "rows",
    opsets: list[tuple[str, int]] | None = None,
) -> onnx.ModelProto:
    """action = tanh(observation x W): the smallest policy."""
    matrix = weights() if matrix is None else matrix
    nodes = nodes or [
        helper.make_node("MatMul", [names[0], "W"], ["h"]),
        helper.make_node("Tanh", ["h"], [names[1]]),
    ]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(names[0], kinds[0], [batch, matrix.shape[0]])],
        [helper.make_tensor_value_info(names[1], kinds[1], [batch, matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "W"), *(extra or [])],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets or [("", 18)]]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def layers(widths: tuple[int, ...]) -> onnx.ModelProto:
    """tanh(... tanh(observation x W0 + b0) ...): widths from the observation's to the action's."""
    nodes, extra, last = [], [], "observation"
    for i, (rows, columns) in enumerate(pairwise(widths)):
        name, out = f"W{i or ''}", "action" if i == len(widths) - 2 else f"h{i}"
        extra.append(numpy_helper.from_array(np.full(columns, 0.01, np.float32), f"b{i}"))
        if i:
            extra.append(numpy_helper.from_array(weights(i, rows, columns), name))
        nodes.append(helper.make_node("Gemm", [last, name, f"b{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Tanh", [f"m{i}"], [out]))
        last = out
    made = model(weights(0, *widths[:2]), nodes=nodes, extra=extra)
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = widths[-1]
    return made


def features(count: int) -> tuple[Feature, ...]:
    return tuple(Feature(f"f{i}", -4.0, 4.0, "") for i in range(count))


def manifest(data: bytes, seen: tuple[Feature, ...] = FEATURES, /, **changed: Any) -> Manifest:
    ranges = [
        FeatureRange(name=f.name, low=f.low, high=f.high, seen_low=f.low, seen_high=(f.low + f.high) / 2.0)
        for f in seen
    ]
    fields: dict[str, Any] = {
        "name": "tiny", "version": "1", "kind": "autoscaling", "created": "2026-01-05T00:00:00Z", "trimtab": "0",
        "seed": 7, "preset": "quick", "base": {"share": 0.7},
        "observation": ObservationSpec(spec_hash=observation_hash(ranges), features=ranges),
        "action": [ActionRange(name=name) for name in ACTIONS],
        "model": ModelFile(
            sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), opset=18, max_difference=0.0, rows_compared=0
        ),
    }  # fmt: skip
    return Manifest(**(fields | changed))


def write(folder: Path, made: onnx.ModelProto | bytes | None = None, **changed: Any) -> Path:
    """A bundle in `folder`; its manifest fits the model's bytes unless `changed` says otherwise."""
    data = made if isinstance(made, bytes) else (made or model()).SerializeToString()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.onnx").write_bytes(data)
    (folder / "manifest.json").write_bytes(render_manifest(manifest(data, **changed)))
    return folder
