"""Stacks by name or from YAML.

    load_stack("hpa-cpu-50")      # one of those that ship in envs/stacks/, or tuned/ there
    load_stack("ours.yaml")       # a user's own

`stack_schema()` is the JSON Schema of a stack file, for editors.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from envs.cluster import NodeBudget
from envs.errors import InputError
from envs.hpa_models import HpaModel
from envs.nearest import did_you_mean
from envs.scaler_models import KedaModel
from envs.schema_errors import describe_validation_error, validate
from envs.stack import (
    ClusterAutoscaler,
    ForecastSpec,
    HpaSpec,
    Karpenter,
    KedaSpec,
    Learned,
    ReplicaScaler,
    ScheduleSpec,
    Stack,
    StaticNodes,
    StaticReplicas,
)
from envs.stack_models import StackModel
from envs.yaml_reader import YamlDocument, read_yaml

_Model = TypeVar("_Model", StackModel, HpaModel, KedaModel)
STACKS = Path(__file__).parent / "stacks"
TUNED = STACKS / "tuned"
KINDS: dict[type, str] = {
    HpaSpec: "hpa",
    StaticReplicas: "static",
    KedaSpec: "keda",
    ForecastSpec: "forecast",
    ScheduleSpec: "schedule",
}


def stack_names() -> list[str]:
    """The stacks that ship with the package."""
    return sorted(path.stem for folder in (STACKS, TUNED) for path in folder.glob("*.yaml"))


def tuned_names() -> list[str]:
    """Those among them that `trimtab tune` made on the training suite."""
    return sorted(path.stem for path in TUNED.glob("*.yaml"))


def load_stack(name_or_path: Path | str, *, folder: Path | None = None) -> Stack:
    """A shipped stack by name, or the one in a YAML file.

    A relative path starts at `folder` where that is given. Raises InputError: an unknown name (with
    the nearest right ones), a file that cannot be read, an unknown key, a wrong value.
    """
    path = stack_path(name_or_path, folder=folder)
    stack = validate(StackModel, read_yaml(path)).build(_stem(path))
    if stack.learned is None or stack.learned.bundle == Learned().bundle:
        return stack
    bundle = (path.parent / Path(stack.learned.bundle).expanduser()).absolute()  # a relative one lies beside the file
    return replace(stack, learned=replace(stack.learned, bundle=str(bundle)))


def stack_path(name_or_path: Path | str, *, folder: Path | None = None) -> Path:
    """The file that a name or path stands for. Raises InputError for an unknown name."""
    text = str(name_or_path)
    if text in stack_names():
        return (TUNED if text in tuned_names() else STACKS) / f"{text}.yaml"
    if text.endswith((".yaml", ".yml", ".json")) or "/" in text:
        return folder / text if folder is not None else Path(text)
    mend = did_you_mean(text, stack_names(), noun="stack") + " (or give a path that ends in .yaml)"
    raise InputError(None, "stack", text, mend)


def stack_document(name_or_path: Path | str, *, folder: Path | None = None) -> dict[str, Any]:
    """The stack spelled out in full, every default included, as plain YAML data (checked)."""
    return document_of(load_stack(name_or_path, folder=folder))


def stack_from_document(
    data: object, *, file: Path | str | None = None, where: str = "stack", name: str = "custom"
) -> Stack:
    """A stack from plain YAML data; errors name `file` and fields below `where`."""
    return _validated(StackModel, data, file, where).build(name)


def hpa_from_document(data: object, *, file: Path | str | None = None, where: str = "hpa") -> HpaSpec | KedaSpec:
    """A workload's own HPA or ScaledObject from plain YAML data, as `replicas` in a stack file has it."""
    if isinstance(data, dict) and data.get("kind") == "keda":
        return _validated(KedaModel, data, file, where).build()
    return _validated(HpaModel, data, file, where).build()


def document_of(stack: Stack) -> dict[str, Any]:
    """Plain YAML data that `stack_from_document` reads back as an equal stack."""
    nodes = _plain(asdict(stack.nodes))
    nodes["kind"] = "static" if isinstance(stack.nodes, StaticNodes) else "cluster-autoscaler"
    if isinstance(stack.nodes, Karpenter):
        nodes |= _karpenter_fields(stack.nodes)
    if isinstance(stack.nodes, ClusterAutoscaler):
        nodes["priorities"] = [{"value": v, "patterns": list(p)} for v, p in stack.nodes.priorities]
    replay = {} if stack.replay is None else {"replay": _plain(asdict(stack.replay))}
    learned = {} if stack.learned is None else {"learned": _plain(asdict(stack.learned))}
    scheduler = _plain(asdict(stack.scheduler))
    scheduler["fit_resources"] = dict(stack.scheduler.fit_resources)
    scheduler["fit_shape"] = [{"utilization": u, "score": s} for u, s in stack.scheduler.fit_shape]
    return {
        **{"name": stack.name, "description": stack.description},
        **{"replicas": scaler_document(stack.replicas), "nodes": nodes, "scheduler": scheduler},
        "use_workload_hpa": stack.use_workload_hpa,
        "spot_notice": stack.spot_notice,
        "per_workload": {name: scaler_document(scaler) for name, scaler in stack.per_workload},
        **replay,
        **learned,
    }


def scaler_document(scaler: ReplicaScaler) -> dict[str, Any]:
    """Plain YAML data of what scales replicas."""
    document: dict[str, Any] = _plain(asdict(scaler))
    document["kind"] = KINDS[type(scaler)]
    for metric in [*document.get("metrics", ()), *document.get("hpa", {}).get("metrics", ())]:
        _write_target(metric)
    for trigger in document.get("triggers", ()):
        _write_trigger(trigger)
    return document


def _karpenter_fields(karpenter: Karpenter) -> dict[str, Any]:
    """What plain data does not say by itself: the kind, Never, and budgets as they are written."""
    fields: dict[str, Any] = {"kind": "karpenter", "budgets": [_budget(b) for b in karpenter.budgets]}
    for key in ("consolidate_after_s", "expire_after_s"):
        if math.isinf(getattr(karpenter, key)):
            fields[key] = "Never"
    return fields


def _budget(budget: NodeBudget) -> dict[str, Any]:
    nodes = f"{budget.nodes * 100:.10g}%" if budget.is_share else round(budget.nodes)
    given: dict[str, Any] = {"nodes": nodes, "reasons": list(budget.reasons)}
    return given | ({"schedule": budget.schedule, "duration": budget.duration_s} if budget.schedule else {})


def stack_schema() -> dict[str, Any]:
    """JSON Schema of a stack file: every field with its type, default and one sentence."""
    return StackModel.model_json_schema()


def _validated(model: type[_Model], data: object, file: Path | str | None, where: str) -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        document = YamlDocument(data, str(file or ""))
        found = describe_validation_error(error, file, model=model, document=document)
        field = f"{where}.{found.field}" if found.field != "document" else where
        raise InputError(file, field, found.value, found.mend) from None


def _write_target(metric: dict[str, Any]) -> None:
    """A target as a user would have to write it: memory in bytes, none beside a capacity share."""
    if "capacity_share" in metric:
        del metric["target"]
    elif metric["name"] == "memory" and metric["target_type"] == "AverageValue":
        metric["target"] = repr(metric["target"] * 2**30).removesuffix(".0")


def _write_trigger(trigger: dict[str, Any]) -> None:
    """Likewise a trigger's threshold; a cron trigger has no target type."""
    if trigger["type"] == "cron":
        del trigger["target_type"]
    elif trigger["type"] == "memory" and trigger["target_type"] == "AverageValue":
        trigger["threshold"] = repr(trigger["threshold"] * 2**30).removesuffix(".0")


def _plain(data: Any) -> Any:
    """Lists for tuples, and nothing for None and infinity: both mean "not set"."""
    if isinstance(data, dict):
        return {k: _plain(v) for k, v in data.items() if v is not None and v != math.inf}
    return [_plain(item) for item in data] if isinstance(data, tuple | list) else data


def _stem(path: Path) -> str:
    """A name that a table and a folder can take, from the file's own."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem.lower())
    return kept.lstrip("._-")[:63] or "custom"
