"""Which settings of a stack are worth tuning, and within which bounds: one table per kind of controller.

A setting is a path into the stack's document, so what tuning writes passes through the same checks as
what a user writes. Positions are in [0, 1]; `value` and `place` translate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from envs.scenario_expand import set_in
from envs.stack import Stack
from envs.stack_file import document_of, stack_from_document

Document = Mapping[str, Any]
_TENTH = [{"type": "Percent", "value": 10, "period_s": 60}]
_FOURFOLD = [{"type": "Percent", "value": 300, "period_s": 15}, {"type": "Pods", "value": 10, "period_s": 15}]
GENTLE_DOWN = {"scale_down": {"select": "Max", "policies": _TENTH}}
FAST_UP = {"scale_up": {"select": "Max", "policies": _FOURFOLD}}


@dataclass(frozen=True)
class Setting:
    """One tunable field. path: dots, numbers are indices. step: values are whole multiples of it."""

    path: str
    scale: Literal["linear", "log", "choice"]
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    choices: tuple[Any, ...] = ()

    def value(self, position: float) -> Any:
        """What a position in [0, 1] stands for."""
        if self.scale == "choice":
            return self.choices[min(int(position * len(self.choices)), len(self.choices) - 1)]
        if self.scale == "log":
            raw = self.low * (self.high / self.low) ** position
        else:
            raw = self.low + (self.high - self.low) * position
        rounded = min(max(round(raw / self.step) * self.step, self.low), self.high)
        return round(rounded, 9)

    def place(self, value: Any) -> float:
        """The position of a value (the nearest one, the middle for a choice that is not offered)."""
        if self.scale == "choice":
            found = [i for i, choice in enumerate(self.choices) if choice == value]
            return (found[0] + 0.5) / len(self.choices) if found else 0.5
        if not isinstance(value, int | float):
            return 0.5
        near = min(max(float(value), self.low), self.high)
        if self.scale == "log":
            return math.log(near / self.low) / math.log(self.high / self.low)
        return (near - self.low) / (self.high - self.low)


def settings_of(stack: Stack) -> tuple[Setting, ...]:
    """Every tunable setting of this stack, in a fixed order."""
    document = document_of(stack)
    replicas, nodes = document["replicas"], document["nodes"]
    found = [*_REPLICAS[replicas["kind"]](replicas)]
    found += _NODES.get(nodes["kind"], ())
    found.append(Setting("scheduler.fit_strategy", "choice", choices=("LeastAllocated", "MostAllocated")))
    return tuple(found)


def read_settings(stack: Stack, settings: Sequence[Setting]) -> dict[str, Any]:
    """What the stack says now; None where it says nothing."""
    document = document_of(stack)
    return {setting.path: _get(document, setting.path.split(".")) for setting in settings}


def with_settings(stack: Stack, values: Mapping[str, Any], *, name: str | None = None) -> Stack:
    """The stack with these values at their paths. They then hold for every workload; those of nodes for every pool."""
    document: Any = {**document_of(stack), "use_workload_hpa": False}
    if document["nodes"]["kind"] == "karpenter" and any(path.startswith("nodes.") for path in values):
        document = set_in(document, ("nodes", "use_pool_settings"), False)
    for path, value in values.items():
        keys = tuple(int(part) if part.isdecimal() else part for part in path.split("."))
        document = set_in(document, keys, value)
    return stack_from_document(document, where=f"stack {stack.name}", name=name or stack.name)


def _get(document: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if isinstance(document, list):
            document = document[int(key)]
        else:
            document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _metric(path: str, metric: Document) -> Setting:
    """The target of one HPA metric, around what it is now where it has a unit of its own."""
    if "capacity_share" in metric:
        return Setting(f"{path}.capacity_share", "linear", 0.3, 0.95)
    if metric["target_type"] == "Utilization":
        return Setting(f"{path}.target", "linear", 30.0, 95.0, 1.0)
    return _around(f"{path}.target", metric["target"])


def _around(path: str, now: Any) -> Setting:
    """A third to three times the present number."""
    number = float(now)
    return Setting(path, "log", number / 3.0, number * 3.0, max(number / 1000.0, 1e-6))


def _hpa(replicas: Document, path: str = "replicas") -> list[Setting]:
    targets = [_metric(f"{path}.metrics.{i}", metric) for i, metric in enumerate(replicas["metrics"])]
    return [
        *targets,
        Setting(f"{path}.tolerance", "linear", 0.0, 0.2),
        Setting(f"{path}.downscale_stabilization_s", "log", 60.0, 1800.0, 15.0),
        Setting(f"{path}.behavior", "choice", choices=(None, GENTLE_DOWN, FAST_UP, {**GENTLE_DOWN, **FAST_UP})),
    ]


def _keda(replicas: Document) -> list[Setting]:
    found = []
    for i, trigger in enumerate(replicas["triggers"]):
        path = f"replicas.triggers.{i}"
        if "drain_s" in trigger:
            found.append(Setting(f"{path}.drain_s", "log", 3.0, 120.0, 1.0))
        elif trigger["type"] != "cron":
            found.append(_metric(path, trigger | {"target": trigger.get("threshold", 80.0)}))
    found = [Setting(s.path.replace(".target", ".threshold"), s.scale, s.low, s.high, s.step) for s in found]
    down = tuple({"scale_down": {"stabilization_s": float(s), "select": "Max"}} for s in (60, 120, 300, 600, 1200))
    found.append(Setting("replicas.behavior", "choice", choices=(None, *down, FAST_UP)))
    found.append(Setting("replicas.polling_interval_s", "choice", choices=(10.0, 15.0, 30.0, 60.0)))
    if 0 in (replicas.get("min_replicas"), replicas.get("idle_replicas")):
        found.append(Setting("replicas.cooldown_s", "log", 60.0, 3600.0, 15.0))
    return found


def _forecast(replicas: Document) -> list[Setting]:
    return [
        Setting("replicas.quantile", "linear", 0.3, 0.99),
        Setting("replicas.utilization", "linear", 0.4, 0.95),
        *_hpa(replicas["hpa"], "replicas.hpa"),
    ]


def _schedule(replicas: Document) -> list[Setting]:
    windows = [
        Setting(f"replicas.windows.{i}.load_quantile", "linear", 0.05, 0.99)
        if "load_quantile" in window
        else Setting(f"replicas.windows.{i}.min_replicas", "log", 1.0, max(3.0 * window["min_replicas"], 3.0), 1.0)
        for i, window in enumerate(replicas["windows"])
    ]
    return [*windows, Setting("replicas.utilization", "linear", 0.4, 0.95), *_hpa(replicas["hpa"], "replicas.hpa")]


def _static(replicas: Document) -> list[Setting]:
    return [
        Setting("replicas.quantile", "linear", 0.9, 1.0, 0.001),
        Setting("replicas.utilization", "linear", 0.4, 0.98),
        Setting("replicas.headroom", "linear", 1.0, 1.3),
    ]


def _budget(share: str) -> dict[str, Any]:
    """A disruption budget of Karpenter, as a document spells it."""
    return {"nodes": share, "reasons": []}


_REPLICAS = {"hpa": _hpa, "keda": _keda, "forecast": _forecast, "schedule": _schedule, "static": _static}
_NODES: dict[str, tuple[Setting, ...]] = {
    "karpenter": (
        Setting("nodes.consolidation_policy", "choice", choices=("WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced")),
        Setting("nodes.consolidate_after_s", "choice", choices=(0.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)),
        Setting("nodes.budgets", "choice", choices=tuple([_budget(n)] for n in ("5%", "10%", "25%", "50%", "100%"))),
    ),
    "cluster-autoscaler": (
        Setting("nodes.expander", "choice", choices=("least-waste", "price", "least-nodes", "most-pods")),
        Setting("nodes.scale_down_utilization_threshold", "linear", 0.3, 0.9),
        Setting("nodes.scale_down_unneeded_s", "log", 60.0, 1800.0, 15.0),
        Setting("nodes.scale_down_delay_after_add_s", "log", 60.0, 1200.0, 15.0),
    ),
}
