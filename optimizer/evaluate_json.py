"""`--json FILE`: one machine-readable document. docs/guides/evaluate.md is its description."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from optimizer.evaluate import Evaluation
from optimizer.evaluate_results import OVERALL, Against, Totals, View
from optimizer.evaluate_statistics import Estimate
from optimizer.stack_bundle import networks

SCHEMA = "trimtab.evaluate/1"


def document(result: Evaluation) -> str:
    """The result as JSON text: keys sorted, numbers as they are, NaN as null."""
    return json.dumps(as_dict(result), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def as_dict(result: Evaluation) -> dict[str, Any]:
    """The same as plain data. The figures of the first kind of case lie on top, those of the other under its name."""
    kinds = list(result.views)
    cases = result.plan.cases
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "trimtab_version": result.version,
        "name": cases.name,
        "digest": cases.digest,
        "seeds": result.seeds,
        "cases": len(cases.cases),
        "judged_days": sum(case.judged_days for case in cases.cases),
        "notes": list(cases.notes),
        "traces": [{"source": s, "trace": t, "sha256": h} for s, t, h in cases.traces],
        "kind": kinds[0],
        "bundles": networks({name: points[0].stack for name, points in result.plan.policies.items()}),
        "trained_on": {policy: sorted(found) for policy, found in result.seen.items()},
        "uses_hindsight": sorted(result.hindsight),
        **_view(result.views[kinds[0]]),
        **{kind: _view(result.views[kind]) for kind in kinds[1:]},
    }
    plain: dict[str, Any] = _plain(head)
    return plain


def _view(view: View) -> dict[str, Any]:
    sources = [name for name in view.policies if name != OVERALL]
    return {
        "traces_judged": view.traces,
        "policies": {p: _totals(t) for p, t in view.policies[OVERALL].items()},
        "pairs": _pairs(view.pairs[OVERALL]),
        "sources": {
            s: {
                "policies": {p: _totals(t) for p, t in view.policies[s].items()},
                "pairs": _pairs(view.pairs[s]),
            }
            for s in sources
        },
    }


def _totals(totals: Totals) -> dict[str, Any]:
    return asdict(totals)


def _pairs(found: dict[tuple[str, str], Against]) -> dict[str, dict[str, Any]]:
    """ours -> theirs -> figures."""
    out: dict[str, dict[str, Any]] = {}
    for (ours, theirs), against in found.items():
        out.setdefault(ours, {})[theirs] = asdict(against)
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return _plain(value.plain())
    if isinstance(value, dict):
        return {f"{key:g}" if isinstance(key, float) else str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
