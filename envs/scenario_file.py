"""Load a scenario from YAML: read, vary, expand, validate, build, cross-check. Every fault is an InputError.

Overrides (`--vary`) change the document before it is validated, so a varied scenario is checked
exactly like a written one. The gallery in `envs/scenarios/` is reached by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from envs.document_path import places, replace, split_path
from envs.errors import InputError
from envs.fault_models import build_faults
from envs.nearest import did_you_mean
from envs.scenario import Scenario, TraceDemand
from envs.scenario_build import (
    DAY_S,
    Place,
    build_cluster,
    build_committed_use,
    build_demand,
    build_intent,
    build_noise,
)
from envs.scenario_checks import check_fit, check_traces
from envs.scenario_expand import Origin, expand_document
from envs.scenario_models import ScenarioDoc
from envs.scenario_references import resolve_stacks, resolve_types, spelled_out
from envs.schema_errors import describe_validation_error, field_path
from envs.spot_models import build_spot
from envs.stack_file import stack_schema
from envs.trace_file import Trace, read_trace_once
from envs.vary import ALIASES, Override, parse_value
from envs.yaml_reader import YamlDocument, read_yaml

GALLERY = Path(__file__).parent / "scenarios"
_ENTRY = re.compile(r"(workloads|node_pools)\[(\d+)\](.*)", re.DOTALL)
_PART = re.compile(r"\[(\d+)\]|\[([^\[\]]*)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class _Source:
    """A document as written, and what was made of it."""

    document: YamlDocument
    full: dict[str, Any]
    origins: Mapping[str, Sequence[Origin]]
    changed: tuple[tuple[tuple[str | int, ...], str], ...]  # places set by --vary, and the --vary text


def gallery() -> list[str]:
    """Names of the scenarios that come with the package."""
    return sorted(path.stem for path in GALLERY.glob("*.yaml"))


def scenario_path(path_or_name: Path | str) -> Path:
    """The file of a gallery name, or the path itself. Raises InputError with the nearest names."""
    path = Path(path_or_name)
    text = str(path_or_name)
    if text in gallery():
        return GALLERY / f"{text}.yaml"
    if path.suffix in (".yaml", ".yml") or "/" in text or _exists(path):
        return path
    mend = did_you_mean(text, gallery(), noun="scenario") + " (or give a path that ends in .yaml)"
    raise InputError(None, "scenario", text, mend)


def load_scenario(
    path_or_name: Path | str,
    *,
    overrides: Sequence[Override] = (),
    stacks: Sequence[str] = (),
) -> Scenario:
    """A checked Scenario from a YAML file or a gallery name.

    overrides: (path, value text) pairs as `envs.vary.expand` gives them, applied in order.
    stacks: names or paths that replace the document's own list of stacks (before the overrides).
    Raises InputError naming the file, the line, the field, the value and the mend.
    """
    path = scenario_path(path_or_name)
    return scenario_from_document(read_yaml(path), path, overrides=overrides, stacks=stacks)


def scenario_from_document(
    document: YamlDocument,
    path: Path,
    *,
    overrides: Sequence[Override] = (),
    stacks: Sequence[str] = (),
) -> Scenario:
    """Likewise from a document that was read already; relative paths start at the path's folder."""
    place = Place(path, path.parent)
    source = _source(document, place, overrides, stacks)
    try:
        return _build(_validated(source, path), place)
    except InputError as error:
        raise _located(error, source) from None


def load_traces(scenario: Scenario) -> dict[TraceDemand, Trace]:
    """Each trace demand's file, read once per file and gap limit. Raises InputError."""
    demands = dict.fromkeys(d for d in scenario.demand if isinstance(d, TraceDemand))
    traces = {}
    for demand in demands:
        trace = read_trace_once(demand.path, max_gap_s=demand.max_gap_s)
        trace.column(demand.column)
        traces[demand] = trace
    return traces


def scenario_schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, for editors: `defaults`, `count` and `each` included."""
    schema = ScenarioDoc.model_json_schema()
    parts = schema["$defs"]
    _spell_out_stacks(schema, parts)
    for single, model in (("workload", "WorkloadDoc"), ("node_pool", "NodePoolDoc")):
        partial = {**parts[model], "title": f"Defaults of {single}s"}
        partial.pop("required", None)
        parts[f"{model}Defaults"] = partial
        parts[model] = {**parts[model], "required": ["name"]}
        parts[model]["properties"] = {**parts[model]["properties"], **_REPEATED}
    schema["properties"]["defaults"] = {
        "type": "object",
        "description": "Fields of every workload and node pool that does not set them itself.",
        "additionalProperties": False,
        "properties": {
            "workload": {"$ref": "#/$defs/WorkloadDocDefaults"},
            "node_pool": {"$ref": "#/$defs/NodePoolDocDefaults"},
        },
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Trimtab scenario"}


def _spell_out_stacks(schema: dict[str, Any], parts: dict[str, Any]) -> None:
    """Put the schema of a stack file where a scenario may hold a stack or an HPA."""
    stack = stack_schema()
    parts |= stack.pop("$defs", {})
    parts["StackModel"] = stack
    schema["properties"]["stacks"]["items"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/StackModel"}]}
    hpa = parts["WorkloadDoc"]["properties"]["hpa"]
    hpa["anyOf"] = [{"$ref": "#/$defs/HpaModel"}, {"$ref": "#/$defs/KedaModel"}, {"type": "null"}]


_REPEATED = {
    "count": {
        "type": "integer",
        "minimum": 1,
        "default": 1,
        "description": "Write this many copies; {n} in name counts them.",
    },
    "each": {
        "type": "object",
        "additionalProperties": {"type": "array", "minItems": 1},
        "description": "Path of a field: values that the copies take in turn.",
    },
}


def _source(document: YamlDocument, place: Place, overrides: Sequence[Override], stacks: Sequence[str]) -> _Source:
    raw: dict[str, Any] = dict(document.data)
    if stacks:
        raw["stacks"] = list(stacks)
    early = [o for o in overrides if split_path(o[0])[0] == "defaults"]
    for path, text in early:
        raw = replace(raw, [split_path(path)], parse_value(path, text))
    full, origins = expand_document(raw, place.file)
    changed = []
    for given, text in overrides:
        if (given, text) in early:
            continue
        path = ALIASES.get(given, given)
        if split_path(path)[0] == "stacks" and len(split_path(path)) > 1:
            stacks_now = full.get("stacks", ScenarioDoc.model_fields["stacks"].default)
            full["stacks"] = spelled_out(stacks_now, place)
        where = places(full, path, ScenarioDoc)
        full = replace(full, where, parse_value(path, text))
        changed += [(keys, f"--vary {path}={text}") for keys in where]
    return _Source(document, full, origins, tuple(changed))


def _validated(source: _Source, path: Path) -> ScenarioDoc:
    try:
        return ScenarioDoc.model_validate(source.full)
    except ValidationError as error:
        bare = YamlDocument(source.full, str(path))
        found = describe_validation_error(error, path, model=ScenarioDoc, document=bare)
        value = _as_written(source.full, _keys(found.field), found.value)
        raise InputError(path, found.field, value, found.mend) from None


def _as_written(document: Any, keys: tuple[str | int, ...], value: object) -> object:
    """The value as the user wrote it ("2m"), where the message has it as it was parsed (120.0)."""
    for key in keys:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return value
    return document if isinstance(document, str) and isinstance(value, int | float) else value


def _build(doc: ScenarioDoc, place: Place) -> Scenario:
    cluster = build_cluster(doc, resolve_types(doc, place), place)
    check_fit(cluster, place.file)
    scenario = Scenario(
        name=doc.name,
        cluster=cluster,
        demand=build_demand(doc, place),
        horizon_s=doc.days * DAY_S,
        tick_s=doc.tick,
        warmup_s=doc.warmup,
        noise=build_noise(doc.noise),
        intent=build_intent(doc.intent),
        faults=build_faults(doc.faults, cluster, doc.days * DAY_S, place.file),
        spot=build_spot(
            doc.spot,
            cluster,
            provider=doc.provider,
            region=doc.region,
            horizon_s=doc.days * DAY_S,
            at=(place.file, place.folder),
        ),
        committed_use=build_committed_use(doc.prices),
        stacks=resolve_stacks(doc, place),
        provider=doc.provider,
        region=doc.region,
        start_utc=doc.start_utc,
        seed=doc.seed,
        description=doc.description.strip(),
        source=place.file,
    )
    check_traces(scenario, {d: t.duration_s for d, t in load_traces(scenario).items()})
    return scenario


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or a NUL in it
        return False


def _located(error: InputError, source: _Source) -> InputError:
    """The error in terms of what the user wrote: the line, or the --vary that caused it."""
    if error.file != source.document.file or error.field.startswith("line "):
        return error
    for changed, text in source.changed:
        if _overlap(field_path(changed), error.field):
            return InputError(text, error.field, error.value, error.mend)
    raw, label = _raw_keys(error.field, source)
    if not source.document.lines:
        return InputError(error.file, label, error.value, error.mend)
    line = source.document.line_of(raw)
    return InputError(error.file, f"line {line}: {label}", error.value, error.mend)


def _overlap(one: str, other: str) -> bool:
    """Whether one of two field paths leads to the other."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and long[len(short) : len(short) + 1] in ("", ".", "[")


def _raw_keys(field: str, source: _Source) -> tuple[tuple[str | int, ...], str]:
    match = _ENTRY.fullmatch(field)
    origins = source.origins.get(match[1], ()) if match else ()
    if match is None or int(match[2]) >= len(origins):
        return _keys(field), field
    section, index, rest = match[1], int(match[2]), _keys(match[3])
    origin = origins[index]
    if rest and rest[0] not in origin.own and rest[0] in source.full[section][index]:
        keys = ("defaults", section.removesuffix("s"), *rest)
        return keys, field_path(keys)
    copies = sum(o.index == origin.index for o in origins)
    label = f"{section}[{origin.index}]" + (f' "{origin.own.get("name")}"' if copies > 1 else "")
    return (section, origin.index, *rest), label + match[3]


def _keys(field: str) -> tuple[str | int, ...]:
    return tuple(int(m[1]) if m[1] is not None else m[2] or m[3] for m in _PART.finditer(field))
