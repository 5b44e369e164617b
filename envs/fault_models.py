"""The YAML shape of `faults`, and from it the frozen Fault: which fields a kind takes, names, references."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from envs.cluster import CapacityType, ClusterSpec
from envs.errors import InputError
from envs.faults import KINDS, Fault, FaultKind
from envs.nearest import did_you_mean
from envs.schema_types import Duration, Share
from envs.workload_models import NAME, Strict, Text

_WHEN = ("at", "per_day", "duration")
_HOUR_S, _MINUTE_S = 3600.0, 60.0
# Per kind: the fields that it takes beside kind and name, and those of them that have to be given.
TAKES: dict[FaultKind, tuple[str, ...]] = {
    "node-crash": ("at", "per_node_hour", "pool", "nodes", "instance_gone"),
    "zone-loss": (*_WHEN, "zone", "instance_gone"),
    "pod-crash-loop": (*_WHEN, "workloads", "share"),
    "slow-image-pulls": (*_WHEN, "workloads", "factor"),
    "api-slowness": (*_WHEN, "delay"),
    "telemetry-gap": (*_WHEN, "workloads"),
    "telemetry-garbage": (*_WHEN, "workloads", "factor"),
    "telemetry-delay": (*_WHEN, "workloads", "delay"),
    "price-change": (*_WHEN, "factor", "pool", "instance_types", "capacity_type"),
    "flash-crowd": (*_WHEN, "workloads", "factor"),
}
NEEDS: dict[FaultKind, tuple[str, ...]] = {
    "zone-loss": ("zone",),
    "telemetry-garbage": ("factor",),
    "price-change": ("factor",),
    "flash-crowd": ("factor",),
}
DEFAULTS: dict[FaultKind, dict[str, Any]] = {
    "node-crash": {"instance_gone": True},
    "zone-loss": {"duration": _HOUR_S, "instance_gone": False},
    "pod-crash-loop": {"duration": 30 * _MINUTE_S, "share": 1.0},
    "slow-image-pulls": {"duration": _HOUR_S, "factor": 4.0},
    "api-slowness": {"duration": 30 * _MINUTE_S, "delay": 5.0},
    "telemetry-gap": {"duration": 15 * _MINUTE_S},
    "telemetry-garbage": {"duration": 15 * _MINUTE_S},
    "telemetry-delay": {"duration": 15 * _MINUTE_S, "delay": 3 * _MINUTE_S},
    "price-change": {"duration": math.inf},
    "flash-crowd": {"duration": 30 * _MINUTE_S},
}


class FaultDoc(Strict):
    """Something that goes wrong. The guide says which fields a kind takes; any other is an error."""

    kind: FaultKind = Field(description="What goes wrong.")
    name: str = Field("", pattern=rf"^$|{NAME}", max_length=63, description="Name in tables; default its kind.")
    at: Duration | None = Field(None, ge=0, description="When, from the scenario's start.")
    per_day: float | None = Field(
        None, gt=0, le=1000, description="In place of at: random occurrences a day (Poisson), the same for all stacks."
    )
    duration: Duration | None = Field(
        None, gt=0, le=3.5e7, description="How long; default 15 min to 1 h by kind, a price change to the end."
    )
    per_node_hour: float | None = Field(
        None, gt=0, le=10, description="node-crash in place of at: crashes per hour of each node (no unit)."
    )
    pool: str | None = Field(None, max_length=253, description="Node pool; default all.")
    nodes: int = Field(1, ge=1, le=10_000, description="node-crash at a time: how many nodes of the pool.")
    zone: Text | None = Field(None, description="zone-loss: the zone.")
    instance_gone: bool | None = Field(
        None,
        description="true: the cloud knows that the instance is gone, pods are replaced after 115 s; false: it only "
        "stopped answering, 350 s. Default true for node-crash, false for zone-loss.",
    )
    workloads: list[Text] = Field(
        default_factory=list, max_length=1000, description="Names or patterns (mail-*); default all."
    )
    share: Share | None = Field(None, gt=0, le=1, description="pod-crash-loop: share of the pods; default all.")
    factor: float | None = Field(
        None, ge=0, le=1000, description="What start delay, telemetry, price or load is multiplied by (no unit)."
    )
    delay: Duration | None = Field(
        None,
        gt=0,
        le=600,
        description="api-slowness: added to each sync, bind and node request, default 5 s; telemetry-delay: to the "
        "age of metrics, default 3 min.",
    )
    instance_types: list[Text] = Field(
        default_factory=list, max_length=200, description="price-change: names or patterns; default all."
    )
    capacity_type: CapacityType | None = Field(None, description="price-change: on-demand or spot; default both.")


def build_faults(
    docs: Sequence[FaultDoc], cluster: ClusterSpec, horizon_s: float, file: Path | None
) -> tuple[Fault, ...]:
    """Frozen faults with unique names and resolved references. Raises InputError."""
    faults: list[Fault] = []
    for i, doc in enumerate(docs):
        where = f"faults[{i}]"
        _check_fields(doc, where, horizon_s, file)
        fault = _fault(doc, where, cluster, file, {f.name for f in faults})
        faults.append(fault)
    return tuple(faults)


def _check_fields(doc: FaultDoc, where: str, horizon_s: float, file: Path | None) -> None:
    given = {name for name in doc.model_fields_set if getattr(doc, name) not in (None, [], "")}
    for name in sorted(given - {"kind", "name", *TAKES[doc.kind]}):
        mend = f"{doc.kind} does not take it; it takes {', '.join(TAKES[doc.kind])}"
        raise InputError(file, f"{where}.{name}", getattr(doc, name), mend)
    for name in NEEDS.get(doc.kind, ()):
        if name not in given:
            raise InputError(file, f"{where}.{name}", None, f"{doc.kind} needs it")
    rate = "per_node_hour" if doc.kind == "node-crash" else "per_day"
    if ("at" in given) == (rate in given):
        mend = f"give exactly one of at (a time, such as 1d6h) and {rate} (a rate)"
        raise InputError(file, f"{where}.at", doc.at, mend)
    if doc.at is not None and doc.at >= horizon_s:
        mend = f"is not before the scenario's end at {horizon_s / 86400:g}d; lower it or raise days"
        raise InputError(file, f"{where}.at", doc.at, mend)
    if doc.kind == "node-crash" and "nodes" in given and "at" not in given:
        raise InputError(file, f"{where}.nodes", doc.nodes, "goes with at; at a rate nodes crash one by one")


def _fault(doc: FaultDoc, where: str, cluster: ClusterSpec, file: Path | None, taken: set[str]) -> Fault:
    def value(name: str) -> Any:
        given = getattr(doc, name)
        return DEFAULTS[doc.kind].get(name) if given is None else given

    types = [t.name for t in cluster.instance_types]
    return Fault(
        kind=doc.kind,
        name=_name(doc, where, file, taken),
        at_s=doc.at,
        per_day=doc.per_day or 0.0,
        duration_s=value("duration") or 0.0,
        workloads=_matching(doc.workloads, [w.name for w in cluster.workloads], f"{where}.workloads", "workload", file),
        pool=_known(doc.pool, [p.name for p in cluster.node_pools], f"{where}.pool", "node pool", file),
        zone=_known(doc.zone, _zones(cluster), f"{where}.zone", "zone", file),
        nodes=doc.nodes,
        per_node_hour=doc.per_node_hour or 0.0,
        instance_gone=bool(value("instance_gone")),
        share=value("share") or 1.0,
        factor=1.0 if value("factor") is None else float(value("factor")),
        delay_s=value("delay") or 0.0,
        instance_types=_matching(doc.instance_types, types, f"{where}.instance_types", "instance type", file),
        capacity_type=doc.capacity_type,
    )


def _zones(cluster: ClusterSpec) -> list[str]:
    return list(dict.fromkeys(zone for pool in cluster.node_pools for zone in pool.zones))


def _name(doc: FaultDoc, where: str, file: Path | None, taken: set[str]) -> str:
    if doc.name:
        if doc.name in taken:
            raise InputError(file, f"{where}.name", doc.name, "is the name of another fault; names are unique")
        return doc.name
    free = (doc.kind if n == 1 else f"{doc.kind}-{n}" for n in range(1, len(taken) + 2))
    return next(name for name in free if name not in taken)


def _known(name: str | None, right: Iterable[str], field: str, noun: str, file: Path | None) -> str | None:
    if name is not None and name not in set(right):
        raise InputError(file, field, name, did_you_mean(name, right, noun=noun))
    return name


def _matching(patterns: Sequence[str], names: list[str], field: str, noun: str, file: Path | None) -> tuple[str, ...]:
    """The names that any pattern fits, in the cluster's order; each pattern has to fit one."""
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise InputError(file, field, pattern, did_you_mean(pattern, names, noun=noun))
    return tuple(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


assert set(TAKES) == set(DEFAULTS) == set(KINDS)
