"""What a policy must have passed before it becomes champion. Each gate is a function: evidence in, verdict out.

The evidence is a bundle and the document of `trimtab evaluate --json`, in which the candidate and the champion met the
same traces. Relative differences below 0 mean that the candidate is cheaper at the same share of bad requests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import InputError
from policies import specs
from policies.bundle import Bundle

SOURCE_WORSE_MAX = 0.02  # of one source, at equal SLO
SCHEMA = "trimtab.evaluate/1"


@dataclass(frozen=True)
class Gate:
    """One verdict: said is a clause with the figures."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True)
class Evaluation:
    """A document of `trimtab evaluate --json`. candidate, champion: names that policies have in it."""

    document: Mapping[str, Any]
    file: str
    candidate: str
    champion: str

    def pairs(self, source: str | None = None) -> Mapping[str, Any]:
        """Figures of the candidate against the champion, overall or on one source."""
        part = self.document if source is None else self.document["sources"][source]
        found: Mapping[str, Any] = part["pairs"][self.candidate][self.champion]
        return found


def load_evaluation(path: Path, candidate: str, champion: str) -> Evaluation:
    """Raises InputError where the file is no such document or does not compare the two."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, "document", None, f"cannot be read as JSON ({error})") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InputError(path, "schema", None, f"must be {SCHEMA}: a file of trimtab evaluate --json")
    policies = document.get("policies")
    names = sorted(policies) if isinstance(policies, dict) else []
    for option, name in (("--candidate", candidate), ("--champion", champion)):
        if name not in names:
            raise InputError(path, option, name, f"is not in this evaluation; it has {', '.join(names) or 'nothing'}")
    evaluation = Evaluation(document, str(path), candidate, champion)
    try:
        _figure(evaluation.pairs())
        for source in document["sources"]:
            _figure(evaluation.pairs(source))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(path, "pairs", None, f"does not compare {candidate} with {champion}; evaluate both") from None
    return evaluation


def _figure(pairs: Mapping[str, Any]) -> tuple[float, float, float]:
    """(value, low, high) of the cost at equal SLO, NaN where the evaluation could not tell."""
    found = pairs["equal_slo"]
    numbers = [math.nan if found[key] is None else float(found[key]) for key in ("value", "low", "high")]
    return numbers[0], numbers[1], numbers[2]


def better(evaluation: Evaluation) -> Gate:
    """Cheaper than the champion at equal SLO: the whole 95 % interval is below 0."""
    value, low, high = _figure(evaluation.pairs())
    said = f"{_percent(value)} [{_percent(low)}, {_percent(high)}] against {evaluation.champion} at equal SLO"
    return Gate("better", high < 0.0, said if math.isfinite(high) else f"{said}: too little to tell")


def no_source_worse(evaluation: Evaluation) -> Gate:
    """On no single source dearer than the champion by more than 2 %; a source that cannot be told counts as worse."""
    values = {source: _figure(evaluation.pairs(source))[0] for source in evaluation.document["sources"]}
    worse = {s: v for s, v in values.items() if not v <= SOURCE_WORSE_MAX}
    if worse:
        return Gate("sources", False, ", ".join(f"{s}: {_percent(v)}" for s, v in sorted(worse.items())))
    if not values:
        return Gate("sources", False, "the evaluation has no sources")
    dearest = max(values, key=lambda s: values[s])
    return Gate("sources", True, f"worst of {len(values)}: {dearest} {_percent(values[dearest])}")


def unseen(bundle: Bundle, evaluation: Evaluation) -> Gate:
    """No trace of the evaluation is one that the candidate was trained on, by checksum.

    An evaluation of scenarios lists no traces; then none of its sources may be one that it was trained on.
    """
    trained = {trace.sha256: trace.trace for trace in bundle.manifest.data}
    judged = [str(trace.get("sha256")) for trace in evaluation.document.get("traces", [])]
    sources = evaluation.document.get("trained_on", {}).get(evaluation.candidate)
    if not judged:
        said = "are not stated" if sources is None else f"that it was trained on: {', '.join(sources) or 'none'}"
        return Gate("unseen", sources == [], f"no traces listed; sources {said}")
    known = sorted({trained[sha] for sha in judged if sha in trained})
    said = f"trained on {len(known)} of them: {', '.join(known[:3])}" if known else "none of them was trained on"
    beside = f" (but on others of {', '.join(sources)})" if sources and not known else ""
    return Gate("unseen", not known, f"{len(judged)} traces judged, {said}{beside}")


def identity(bundle: Bundle, evaluation: Evaluation) -> Gate:
    """The evaluation says that its candidate ran this very network."""
    stated = evaluation.document.get("bundles", {}).get(evaluation.candidate)
    if stated is None:
        return Gate("identity", False, f"the evaluation does not say which network {evaluation.candidate} ran")
    own = bundle.manifest.networks_sha256
    return Gate("identity", stated == own, f"evaluated {str(stated)[:12]}, promoting {own[:12]}")


def parity(bundle: Bundle) -> Gate:
    """This version's encoder, decoder and variants are those of the bundle."""
    try:
        specs.check(bundle)
    except InputError as error:
        return Gate("parity", False, str(error))
    shown = bundle.manifest.observation.spec_hash[:12]
    return Gate("parity", True, f"observation {shown}, actions {', '.join(bundle.actions)}")


def exported_well(bundle: Bundle) -> Gate:
    """The loader took it, and its networks were compared with those that were trained."""
    part = bundle.manifest.forecaster
    models = [bundle.manifest.model, *([part.model] if part else [])]
    rows, difference = min(m.rows_compared for m in models), max(m.max_difference for m in models)
    said = f"{rows} rows compared, largest difference {difference:.1e}"
    return Gate("bundle", rows >= 1000 and difference <= 1e-5, said)


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %" if math.isfinite(value) else "unknown"
