"""manifest.json of a bundle: what the network sees and says, what it was trained on, and how it did.

The models are the schema; an unknown key is an error, so that a typing error or a newer file is never half read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, StringConstraints, ValidationError, model_validator

from envs.errors import InputError
from envs.schema_errors import describe_validation_error
from envs.schema_types import StrictModel

SCHEMA_VERSION = 1
MANIFEST_MAX_BYTES = 4 * 2**20
MODEL_FILE, MANIFEST_FILE, FORECASTER_FILE = "policy.onnx", "manifest.json", "forecaster.onnx"
BUNDLE_FILES = frozenset({MODEL_FILE, MANIFEST_FILE, FORECASTER_FILE, "model-card.md"})
INPUT, OUTPUT = "observation", "action"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, StringConstraints(max_length=500)]
Kind = Literal["autoscaling", "node-pools"]


class FeatureLike(Protocol):
    """A column of an observation: `envs.observation.Feature` is one."""

    @property
    def name(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class FeatureRange(StrictModel):
    """One column of the observation."""

    name: Line
    """As in the encoder's table."""
    low: float
    """Least value that the encoder writes."""
    high: float
    """Largest value that the encoder writes."""
    seen_low: float
    """Low quantile in training: the envelope's lower end."""
    seen_high: float
    """High quantile in training: the envelope's upper end."""

    @model_validator(mode="after")
    def _in_order(self) -> FeatureRange:
        if not self.low <= self.seen_low <= self.seen_high <= self.high:
            raise InputError(None, "seen_low", self.seen_low, "low <= seen_low <= seen_high <= high must hold")
        return self


class ObservationSpec(StrictModel):
    """What the network sees: a row of numbers."""

    spec_hash: Sha256
    """Of names and ranges, in order: see `observation_hash`."""
    quantiles: tuple[float, float] = (0.001, 0.999)
    """Quantiles that seen_low and seen_high are."""
    features: Annotated[list[FeatureRange], Field(min_length=1, max_length=4096)]
    """Columns, in order."""

    @model_validator(mode="after")
    def _hash_is_its_own(self) -> ObservationSpec:
        if observation_hash(self.features) != self.spec_hash:
            raise InputError(None, "spec_hash", self.spec_hash, "is not the hash of the features listed; export again")
        return self


class ActionRange(StrictModel):
    """One column of the action."""

    name: Line
    """Set-point that it moves."""
    low: float = -1.0
    """Least value."""
    high: float = 1.0
    """Largest value."""


class TraceUsed(StrictModel):
    """A load curve that the network was trained on; evaluation marks what it knows."""

    source: Line
    """Data set."""
    trace: Line
    """Curve in it."""
    sha256: Sha256
    """Of the file."""


class Table(StrictModel):
    """A table of the run, such as the evaluation."""

    title: Line = ""
    """What it shows, and by which command."""
    columns: list[Line] = Field(default_factory=list)
    """Heads."""
    rows: list[list[str | float | int | bool | None]] = Field(default_factory=list)
    """As many cells as heads."""

    @model_validator(mode="after")
    def _rectangular(self) -> Table:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(
                    None, "rows", len(row), f"a row has as many cells as there are columns, {len(self.columns)}"
                )
        return self


class VariantPrior(StrictModel):
    """Mean log-regret of the family, the network's variants and constants, on the training fleet: the prior of
    replay's choice."""

    prices: Annotated[list[float], Field(min_length=1, max_length=100)]
    """Violation prices, rising."""
    variants: Annotated[list[tuple[float, float]], Field(min_length=1, max_length=1000)]
    """(price that the network is told, scaling of the base share)."""
    constants: Annotated[list[tuple[float, float]], Field(default_factory=list, max_length=1000)]
    """(share of a replica's capacity, scale-down window in s) of set-points held for good."""
    log_regret: list[list[float]]
    """A row a price, a column a variant, then a column a constant."""

    @model_validator(mode="after")
    def _shaped(self) -> VariantPrior:
        columns = len(self.variants) + len(self.constants)
        if len(self.log_regret) != len(self.prices) or any(len(r) != columns for r in self.log_regret):
            mend = "has a row a price, and a column a variant and a constant"
            raise InputError(None, "log_regret", len(self.log_regret), mend)
        if any(a >= b for a, b in zip(self.prices, self.prices[1:], strict=False)) or self.prices[0] <= 0:
            raise InputError(None, "prices", self.prices[0], "rise, and are above 0")
        return self


class ModelFile(StrictModel):
    """policy.onnx."""

    file: Line = MODEL_FILE
    """Its name; no other is allowed."""
    sha256: Sha256
    """Of its bytes."""
    bytes: Annotated[int, Field(ge=1)]
    """Its size."""
    opset: int
    """Version of ONNX's operators."""
    max_difference: Annotated[float, Field(ge=0)]
    """Largest |ONNX - torch| over the rows compared before it was saved."""
    rows_compared: Annotated[int, Field(ge=0)]
    """Random observations in that comparison."""


class ForecasterPart(StrictModel):
    """forecaster.onnx: it makes the observation's last columns from the ones before."""

    spec_hash: Sha256
    """Of what it reads and what it says: names and ranges, in order."""
    losses: Table = Field(default_factory=Table)
    """Pinball losses on held-out series, beside those of naive forecasts."""
    model: ModelFile
    """The network."""


class Manifest(StrictModel):
    """A bundle's manifest."""

    schema_version: Literal[1] = 1
    """Of this file's layout."""
    name: Name
    """Of the policy."""
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    """Of the policy."""
    kind: Kind
    """What a row is: a workload (autoscaling) or a node pool."""
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    """UTC."""
    trimtab: Line
    """Version that made it."""
    git_commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit that trained it; null outside a checkout."""
    git_dirty: bool = False
    """Whether files differed from that commit."""
    mlflow_run_id: Line | None = None
    """Run with its curves; null without one."""
    seed: int
    """Of the training."""
    preset: Line
    """Configuration that it was trained with."""
    observation: ObservationSpec
    """What it sees."""
    action: Annotated[list[ActionRange], Field(min_length=1, max_length=256)]
    """What it says."""
    base: dict[str, float] = Field(default_factory=dict)
    """Set-points of the base controller that it corrects and falls back to, each in its own unit."""
    data: list[TraceUsed] = Field(default_factory=list)
    """What it was trained on."""
    evaluation: Table = Field(default_factory=Table)
    """How it did on validation."""
    stages: Table = Field(default_factory=Table)
    """Every stage of its training against the one before, kept or not; empty in bundles that older versions made."""
    prior: VariantPrior | None = None
    """What replay starts from; null: from nothing."""
    forecaster: ForecasterPart | None = None
    """What makes the observation's last columns; null: the encoder makes all of them."""
    model: ModelFile
    """The network."""

    @property
    def networks_sha256(self) -> str:
        """What tells this policy from another: the network's checksum, with the forecaster's where there is one."""
        if self.forecaster is None:
            return self.model.sha256
        both = f"{self.model.sha256} {self.forecaster.model.sha256}"
        return hashlib.sha256(both.encode()).hexdigest()


def observation_hash(features: Iterable[FeatureLike]) -> str:
    """SHA-256 of the columns' names and ranges, in order: a policy for another encoder is not for this one."""
    rows = [[f.name, float(f.low), float(f.high)] for f in features]
    return hashlib.sha256(json.dumps(["observation", 1, rows], separators=(",", ":")).encode()).hexdigest()


def parse_manifest(data: bytes, file: str) -> Manifest:
    """The manifest in these bytes. Raises InputError on anything else."""
    plain = _json(data, file)
    if not isinstance(plain, dict):
        raise InputError(file, "document", type(plain).__name__, "must be a JSON object")
    version = plain.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(
            file, "schema_version", version, f"this Trimtab reads {SCHEMA_VERSION}; export again, or update Trimtab"
        )
    try:
        return Manifest.model_validate(plain)
    except ValidationError as error:
        raise describe_validation_error(error, file, model=Manifest) from None


def _json(data: bytes, file: str) -> Any:
    try:
        return json.loads(data, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise InputError(file, "document", None, f"is not valid JSON ({error}); export again") from None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number in JSON")


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def render_manifest(manifest: Manifest) -> bytes:
    """The file's bytes: sorted by field, one feature a line would be longer than it is worth."""
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, allow_nan=False) + "\n").encode()
