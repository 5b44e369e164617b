"""From a trained network to a bundle: exported, compared with torch on 1,000 rows, checked by the loader, then saved.

Nothing is at its place before all of this has passed.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import InputError
from policies.bundle import Bundle, bundle_from, check_fits, open_session
from policies.bundle_writer import check_free, save_bundle
from policies.forecast import FORECAST, INPUTS
from policies.manifest import (
    FORECASTER_FILE,
    INPUT,
    MODEL_FILE,
    OUTPUT,
    ActionRange,
    FeatureLike,
    FeatureRange,
    ForecasterPart,
    Kind,
    Manifest,
    ModelFile,
    ObservationSpec,
    Table,
    TraceUsed,
    VariantPrior,
    observation_hash,
    render_manifest,
)
from training.provenance import commit, trimtab_version, utc_now

OPSET = 20
ROWS_COMPARED = 1000
DIFFERENCE_MAX = 1e-5
QUANTILES = (0.001, 0.999)


@dataclass(frozen=True)
class Described:
    """What a manifest says beyond the network. seen: (N, F) observations of training, for the envelope."""

    name: str
    version: str
    kind: Kind
    features: Sequence[FeatureLike]
    actions: Sequence[str]
    seen: NDArray[Any]
    seed: int
    preset: str
    base: Mapping[str, float] = field(default_factory=dict)
    data: Sequence[TraceUsed] = ()
    evaluation: Table = field(default_factory=Table)
    mlflow_run_id: str | None = None
    stages: Table = field(default_factory=Table)
    prior: VariantPrior | None = None
    created: str = ""  # UTC; "" = now
    forecaster: MadeForecaster | None = None


@dataclass(frozen=True)
class MadeForecaster:
    """forecaster.onnx with its part of the manifest."""

    model: bytes
    part: ForecasterPart


def export_bundle(actor: Any, folder: Path, described: Described, *, force: bool = False) -> Bundle:
    """Write the bundle of a `training.actor.Actor` (or any module (N, F) -> (N, A)) into `folder`; the bundle, loaded.

    Raises InputError where the folder is taken (without force), ONNX and torch differ by more than 1e-5 in any
    action, or the loader refuses the result. On an error the place is as it was.
    """
    check_free(folder, force=force)
    model = onnx_bytes(actor, len(described.features))
    difference = largest_difference(actor, model, described.features, described.seed)
    if not difference <= DIFFERENCE_MAX:
        raise InputError(
            folder, "policy.onnx", difference, f"differs from torch by more than {DIFFERENCE_MAX:g}; nothing was saved"
        )
    manifest = render_manifest(manifest_of(described, model, difference))
    extra = described.forecaster.model if described.forecaster else None
    bundle = bundle_from(manifest, model, str(folder), extra)
    check_fits(bundle, features=described.features, actions=described.actions)
    save_bundle(folder, bundle.files, force=force)
    return bundle


def onnx_bytes(actor: Any, features: int) -> bytes:
    """The module as one ONNX file with any number of rows; equal weights give equal bytes.

    Names of files and lines of the exporting machine, which the exporter notes at every node, are removed.
    """
    import torch

    module = copy.deepcopy(actor).cpu().eval()
    with _quiet():
        program = torch.onnx.export(
            module,
            (torch.zeros(4, features),),
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            verbose=False,
        )
    proto = program.model_proto
    _forget_origins(proto)
    return bytes(proto.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks of libraries that are not there and are not needed, and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _forget_origins(proto: Any) -> None:
    """Leave the numbers and operators, without stack traces and notes."""
    proto.ClearField("metadata_props")
    proto.ClearField("doc_string")
    graph = proto.graph
    parts = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in parts:
        for name in ("metadata_props", "doc_string"):
            if name in part.DESCRIPTOR.fields_by_name:
                part.ClearField(name)
    graph.ClearField("value_info")


def largest_difference(actor: Any, model: bytes, features: Sequence[FeatureLike], seed: int) -> float:
    """max |ONNX - torch| over 1,000 random rows, half in the features' ranges, half a little beyond them."""
    import torch

    low, high = (np.array([getattr(f, side) for f in features]) for side in ("low", "high"))
    rng = np.random.default_rng(seed)
    unit = rng.uniform(0.0, 1.0, (ROWS_COMPARED, len(low)))
    unit[ROWS_COMPARED // 2 :] = 1.2 * unit[ROWS_COMPARED // 2 :] - 0.1
    rows = (low + unit * (high - low)).astype(np.float32)
    with torch.no_grad():
        wanted = copy.deepcopy(actor).cpu().eval()(torch.as_tensor(rows)).numpy()
    answer = open_session(model).run([OUTPUT], {INPUT: rows})[0]
    if answer.shape != wanted.shape:
        return float("inf")
    return float(np.abs(answer.astype(np.float64) - wanted).max())


def envelope(described: Described) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(F,) low and (F,) high quantile of the finite observations seen, inside the features' ranges."""
    seen = np.asarray(described.seen, np.float64)
    if seen.ndim != 2 or seen.shape[1] != len(described.features) or not len(seen):
        raise ValueError(f"seen has shape {seen.shape}, wanted (rows, {len(described.features)})")
    low, high = np.nanquantile(np.where(np.isfinite(seen), seen, np.nan), QUANTILES, axis=0)
    edges = [np.array([getattr(f, side) for f in described.features]) for side in ("low", "high")]
    return np.clip(low, *edges), np.clip(high, *edges)


def manifest_of(described: Described, model: bytes, difference: float) -> Manifest:
    """The manifest of these bytes, with the commit and version of the running code."""
    origin = commit()
    ranges = [
        FeatureRange(name=f.name, low=f.low, high=f.high, seen_low=float(a), seen_high=float(b))
        for f, a, b in zip(described.features, *envelope(described), strict=True)
    ]
    return Manifest(
        name=described.name,
        version=described.version,
        kind=described.kind,
        created=described.created or utc_now(),
        trimtab=trimtab_version(),
        git_commit=origin.sha,
        git_dirty=origin.dirty,
        mlflow_run_id=described.mlflow_run_id,
        seed=described.seed,
        preset=described.preset,
        observation=ObservationSpec(spec_hash=observation_hash(ranges), quantiles=QUANTILES, features=ranges),
        action=[ActionRange(name=name) for name in described.actions],
        base=dict(described.base),
        data=list(described.data),
        evaluation=described.evaluation,
        stages=described.stages,
        prior=described.prior,
        forecaster=described.forecaster.part if described.forecaster else None,
        model=model_file(MODEL_FILE, model, difference),
    )


def model_file(name: str, model: bytes, difference: float) -> ModelFile:
    """What the manifest says of one of the bundle's networks."""
    return ModelFile(
        file=name,
        sha256=hashlib.sha256(model).hexdigest(),
        bytes=len(model),
        opset=OPSET,
        max_difference=difference,
        rows_compared=ROWS_COMPARED,
    )


def made_forecaster(net: Any, losses: Table, seed: int) -> MadeForecaster:
    """A trained forecaster as ONNX, compared with torch. Raises InputError where they differ by more than 1e-5."""
    model = onnx_bytes(net, len(INPUTS))
    difference = largest_difference(net, model, INPUTS, seed)
    if not difference <= DIFFERENCE_MAX:
        raise InputError(None, FORECASTER_FILE, difference, f"differs from torch by more than {DIFFERENCE_MAX:g}")
    spec_hash = observation_hash((*INPUTS, *FORECAST))
    file = model_file(FORECASTER_FILE, model, difference)
    return MadeForecaster(model, ForecasterPart(spec_hash=spec_hash, losses=losses, model=file))
