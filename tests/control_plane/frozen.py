"""A scenario made whole: one document and one load table that need no other file, for inside a recording.

Both sides, the replay and the simulation that is held against it, read the frozen scenario and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from envs.cluster import InstanceType
from envs.demand import Demand
from envs.errors import InputError
from envs.scenario import Scenario
from envs.scenario_expand import expand_document
from envs.scenario_file import load_scenario, scenario_path
from envs.stack import ClusterAutoscaler, HpaSpec, Stack, StaticNodes, StaticReplicas
from envs.stack_file import document_of, load_stack, stack_names
from envs.yaml_reader import read_yaml

Json = dict[str, Any]
LOAD_FILE = "load.csv"
DAY_S = 86_400.0
LEAST_MINUTES = 5.0  # the shortest horizon of a scenario


def freeze(name: str, *, stack_name: str | None, minutes: float, warmup_s: float, nodes: str) -> tuple[Json, Json]:
    """(scenario document, load) of `minutes` of a scenario file or gallery name under one stack.

    nodes: "as-is", "fixed" or "karpenter": the last two replace the stack's node autoscaler, and as it is, the
    Cluster Autoscaler is replaced by Karpenter, as no real one can run here. Raises InputError for what cannot be
    played.
    """
    scenario = load_scenario(name)
    stack = load_stack(stack_name) if stack_name is not None else scenario.stacks[0]
    if minutes < LEAST_MINUTES:
        raise InputError(scenario.source, "--minutes", minutes, f"must be at least {LEAST_MINUTES:g}")
    stack = dataclasses.replace(stack, nodes=_nodes_of(stack, nodes))
    _check(scenario, stack)
    ticks = round(minutes * 60.0 / scenario.tick_s)
    if ticks * scenario.tick_s > scenario.horizon_s + 1e-6:
        mend = f"is longer than the scenario's {scenario.horizon_s / 60:g} minutes"
        raise InputError(scenario.source, "--minutes", minutes, mend)
    path = scenario_path(name)
    document, _ = expand_document(read_yaml(path).data, path)
    warm = round(warmup_s / scenario.tick_s) * scenario.tick_s
    document = {
        **{key: value for key, value in document.items() if key not in ("prices", "traffic_scale")},
        "days": ticks * scenario.tick_s / DAY_S,
        "warmup": warm,
        "noise": {"enabled": False},
        "instance_types": [_machine(m) for m in scenario.cluster.instance_types],
        "workloads": [_with_load(w, i) for i, w in enumerate(document["workloads"])],
        "stacks": [document_of(stack)],
    }
    return document, _load(scenario, ticks)


@contextmanager
def thawed(document: Json, load: Json) -> Iterator[Scenario]:
    """The Scenario of a frozen document; its load file exists within the context."""
    with TemporaryDirectory(prefix="trimtab-scenario-") as folder:
        rows = zip(*load["columns"], strict=True)
        lines = [",".join(["time_s", *(f"w{i}" for i in range(len(load["columns"])))])]
        lines += [f"{i * load['step_s']:g}," + ",".join(f"{v:g}" for v in row) for i, row in enumerate(rows)]
        (Path(folder) / LOAD_FILE).write_text("\n".join(lines) + "\n")
        path = Path(folder) / "scenario.yaml"
        path.write_text(json.dumps(document, indent=1))
        yield load_scenario(path)


def uses_karpenter(stack: Stack) -> bool:
    return not isinstance(stack.nodes, ClusterAutoscaler | StaticNodes)


def _nodes_of(stack: Stack, nodes: str) -> Any:
    if nodes == "fixed":
        return StaticNodes()
    replaced = nodes == "karpenter" and not uses_karpenter(stack)
    if replaced or isinstance(stack.nodes, ClusterAutoscaler):
        return load_stack("karpenter").nodes if "karpenter" in stack_names() else StaticNodes()
    return stack.nodes


def _check(scenario: Scenario, stack: Stack) -> None:
    if not isinstance(stack.replicas, HpaSpec | StaticReplicas):
        mend = "only the HPA and fixed replicas can be played"
        raise InputError(scenario.source, f"stack {stack.name}", "replicas", mend)
    for w in scenario.cluster.workloads:
        if w.kind == "batch":
            raise InputError(scenario.source, f"workload {w.name}", "batch", "only services and queues can be played")


def _machine(m: InstanceType) -> Json:
    return {
        "name": m.name,
        "vcpu": m.vcpu,
        "memory": f"{m.memory_gib:.9g}Gi",
        "price": m.price_usd_per_h,
        **({} if m.spot_price_usd_per_h is None else {"spot_price": m.spot_price_usd_per_h}),
        "allocatable_cpu": m.allocatable_cpu,
        "allocatable_memory": f"{m.allocatable_memory_gib:.9g}Gi",
        "max_pods": m.max_pods,
        "gpu": m.gpu,
        "arch": m.arch,
    }


def _with_load(workload: Json, index: int) -> Json:
    demand = {"trace": LOAD_FILE, "column": f"w{index}", "max_gap": 3600}
    return {**workload, "demand": demand}


def _load(scenario: Scenario, ticks: int) -> Json:
    """Requests/s at the edges of ticks: the mean of the two ticks that meet there, noise included."""
    dt = scenario.tick_s
    short = dataclasses.replace(scenario, warmup_s=0.0, horizon_s=ticks * dt)
    arrivals = Demand.pack([short], [scenario.seed]).arrivals(0, ticks)[0] / dt  # (ticks, W)
    edges = np.concatenate([arrivals[:1], 0.5 * (arrivals[1:] + arrivals[:-1]), arrivals[-1:]])
    return {"step_s": dt, "columns": [[float(f"{x:.6g}") for x in column] for column in edges.T]}
