"""`--json`: one machine-readable document. docs/guides/whatif.md is its description."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from optimizer.whatif import WhatIf

SCHEMA = "trimtab.whatif/1"
_KEYS = ["row", "stack", "variation"]


def document(result: WhatIf) -> str:
    """The result as JSON text: keys sorted, numbers as they are, NaN as null."""
    return json.dumps(_plain(as_dict(result)), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)


def as_dict(result: WhatIf) -> dict[str, Any]:
    """The same as plain data; `rows` in the order of the table."""
    about = result.about
    return {
        "schema": SCHEMA,
        "trimtab_version": about.version,
        "scenario": about.scenario.name,
        "scenario_fingerprint": about.fingerprint,
        "days": about.days,
        "seeds": list(about.seeds),
        "out": str(result.out) if result.out is not None else None,
        "notes": list(about.notes),
        "rows": [_row(result, line) for line in result.table.to_dict("records")],
    }


def _row(result: WhatIf, line: dict[Any, Any]) -> dict[str, Any]:
    index = line["row"]
    parts = {
        "by_namespace": result.by_namespace,
        "by_team": result.by_team,
        "by_pool": result.by_pool,
        "workloads": result.workloads,
        "worst_hours": result.worst_hours,
        "resilience": result.resilience,
    }
    return {
        **{str(key): value for key, value in line.items()},
        **{name: _records(frame, index) for name, frame in parts.items()},
        "unreachable_slos": list(result.about.unreachable_slos.get(index, ())),
        "unschedulable": list(result.about.unschedulable.get(index, ())),
    }


def _records(frame: pd.DataFrame, row: int) -> list[dict[Any, Any]]:
    return frame[frame["row"] == row].drop(columns=_KEYS).to_dict("records")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if hasattr(value, "isoformat"):
        return value.isoformat().replace("+00:00", "Z")
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
