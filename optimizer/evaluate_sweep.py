"""The frontier of a stack: its one dial turned over eight settings, cheap and risky to dear and safe.

A stack's dial is what its users turn: the HPA's CPU target, the share of a replica's capacity, a forecast's quantile
and utilization together, the violation price of a stack that learns. One table, DIALS, says which for each family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.errors import InputError
from envs.stack import Stack
from envs.stack_file import document_of
from envs.tunable import with_settings

SETTINGS = 8
MOST = 200
SHARES, PERCENT = (0.92, 0.35), (92.0, 35.0)  # of capacity or of the CPU request, from the cheapest to the safest
OWN = "own"  # label of the stack as it is, always the first point
Document = Mapping[str, Any]
Dial = Callable[[Document, float], dict[str, Any]]  # (document, position 0 = cheapest ... 1 = safest) -> values


@dataclass(frozen=True)
class Point:
    """One stack of a sweep. label: its own setting, or the dial's value as text."""

    label: str
    stack: Stack


def sweep_of(stack: Stack, settings: int = SETTINGS) -> list[Point]:
    """The stack as it is, then `settings` positions of its dial; alone where it has none.

    Raises InputError for fewer settings than two, other than none, and for more than MOST.
    """
    if settings == 0:
        return [Point(OWN, stack)]
    if not 2 <= settings <= MOST:
        mend = f"give 0 for no frontier, or 2 to {MOST} settings; fewer than 8 make a coarse one"
        raise InputError(None, "--sweep", settings, mend)
    document = document_of(stack)
    dial = dial_of(document)
    if dial is None:
        return [Point(OWN, stack)]
    points = [Point(OWN, stack)]
    for position in np.linspace(0.0, 1.0, settings):
        values = dial(document, float(position))
        label = ", ".join(f"{path.split('.')[-1]} {_shown(value)}" for path, value in values.items())
        points.append(Point(label, with_settings(stack, values, name=stack.name)))
    return points


def dial_of(document: Document) -> Dial | None:
    """What is turned; None for a stack without a dial."""
    for section, path in PRICED.items():
        if document.get(section) is not None:
            return lambda _document, p: {path: _log(3.0, 10_000.0, p)}
    return DIALS.get(document["replicas"]["kind"])


def _round(value: float) -> float:
    """Three digits that count."""
    return float(f"{value:.3g}")


def _log(low: float, high: float, position: float) -> float:
    return _round(low * (high / low) ** position)


def _line(low: float, high: float, position: float) -> float:
    return _round(low + (high - low) * position)


def _metric(path: str, metric: Document, position: float, threshold: str = "target") -> dict[str, Any]:
    """One metric's target: a share of capacity, percent, or a third to three times what it is."""
    if metric.get("capacity_share") is not None:
        return {f"{path}.capacity_share": _log(*SHARES, position)}
    if metric["target_type"] == "Utilization":
        return {f"{path}.{threshold}": _log(*PERCENT, position)}
    return {f"{path}.{threshold}": _round(_log(3.0, 1.0 / 3.0, position) * float(metric[threshold]))}


def _hpa(document: Document, position: float, path: str = "replicas") -> dict[str, Any]:
    metrics = document["replicas"]["metrics"] if path == "replicas" else document["replicas"]["hpa"]["metrics"]
    return {k: v for i, m in enumerate(metrics) for k, v in _metric(f"{path}.metrics.{i}", m, position).items()}


def _keda(document: Document, position: float) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for i, trigger in enumerate(document["replicas"]["triggers"]):
        path = f"replicas.triggers.{i}"
        if trigger.get("drain_s") is not None:
            values[f"{path}.drain_s"] = _log(120.0, 3.0, position)
        elif trigger["type"] != "cron":
            values |= _metric(path, {"threshold": 80.0} | dict(trigger), position, "threshold")
    return values


def _forecast(document: Document, position: float) -> dict[str, Any]:
    own = {
        "replicas.quantile": _line(0.3, 0.99, position),
        "replicas.utilization": _log(*SHARES, position),
    }
    return own | _hpa(document, position, "replicas.hpa")


def _schedule(document: Document, position: float) -> dict[str, Any]:
    return {"replicas.utilization": _log(*SHARES, position)} | _hpa(document, position, "replicas.hpa")


def _static(_document: Document, position: float) -> dict[str, Any]:
    return {"replicas.utilization": _log(*SHARES, position)}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


PRICED = {"replay": "replay.violation_price", "learned": "learned.violation_price"}  # section -> its dial
DIALS: dict[str, Dial] = {"hpa": _hpa, "keda": _keda, "forecast": _forecast, "schedule": _schedule, "static": _static}
