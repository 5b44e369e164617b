"""A pydantic validation error as one line for the user: file, field path, value, and the mend."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.yaml_reader import KeyPath, YamlDocument

_Model = typing.TypeVar("_Model", bound=BaseModel)
_WANTED = {
    **dict.fromkeys(("model_type", "dict_type", "model_attributes_type"), "a mapping (key: value) is wanted here"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list is wanted here"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    "string_type": "must be text; put it into quotes",
}


def describe_validation_error(
    error: ValidationError,
    file: Path | str | None,
    *,
    model: type[BaseModel] | None = None,
    document: YamlDocument | None = None,
) -> InputError:
    """The most telling of the error's findings as an InputError; the count of the others follows it.

    An unknown key comes first: it is often the cause of a missing one. `model` (what was validated)
    gives the right keys near it; `document` gives line numbers and hides the union tags that
    pydantic puts into the path. A check of a whole mapping names the key by the field of the
    InputError that it raises.
    """
    findings = _telling([dict(finding) for finding in error.errors(include_url=False)])
    finding = findings[0]
    path = _real_path(finding, document)
    value, mend = _value_and_mend(finding, model)
    if len(findings) > 1:
        mend += f" (and {len(findings) - 1} more)"
    where = field_path(path) or "document"
    if document is not None and document.lines:
        where = f"line {document.line_of(path)}: {where}"
    return InputError(file, where, value, mend)


def validate(model: type[_Model], document: YamlDocument) -> _Model:
    """The document's data as a `model`. Raises InputError."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise describe_validation_error(error, document.file, model=model, document=document) from None


def field_path(path: Iterable[str | int]) -> str:
    """("pools", 0, "zones") -> "pools[0].zones"; on one line, however odd the keys."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + repr(part[:60])[1:-1]
    return text


def _telling(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Unknown keys first; without "too short" of a list whose own entries are at fault."""
    kept = [
        one
        for one in findings
        if one["type"] != "too_short"
        or not any(o is not one and o["loc"][: len(one["loc"])] == one["loc"] for o in findings)
    ]
    return sorted(kept, key=lambda one: one["type"] != "extra_forbidden")


def _value_and_mend(finding: dict[str, Any], model: type[BaseModel] | None) -> tuple[object, str]:
    kind, raw, context = finding["type"], finding.get("input"), finding.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InputError):
        return cause.value, cause.mend
    if kind == "extra_forbidden":
        key = str(finding["loc"][-1])
        right = _keys_at(model, finding["loc"][:-1]) if model is not None else []
        return None, did_you_mean(key, right, noun="key") if right else "unknown key; remove it"
    if kind in ("missing", "union_tag_not_found"):
        return None, "is missing; add it"
    if kind == "union_tag_invalid":
        return context["tag"], f"must be {context['expected_tags'].replace(', ', ' or ')}"
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return None, f"has {context['actual_length']} entries; {bound} are wanted"
    value = raw if isinstance(raw, str | int | float | None) else type(raw).__name__
    if kind in _WANTED:
        return value, _WANTED[kind]
    message = str(cause) if cause is not None else finding["msg"].replace("Input should be", "must be")
    return value, " ".join((message[:1].lower() + message[1:]).split())


def _real_path(finding: dict[str, Any], document: YamlDocument | None) -> KeyPath:
    """Where in the data the finding is: without the names of union members, with the key it is about."""
    path: list[str | int] = []
    data = document.data if document is not None else None
    for part in finding["loc"]:
        inside = _has(data, part)
        if inside or document is None:
            path.append(part)
        if inside and data is not None:
            data = data[part]
    return (*path, *_key_about(finding, path))


def _key_about(finding: dict[str, Any], path: list[str | int]) -> list[str]:
    """The key below the finding's location, where that names the mapping only."""
    kind, loc, cause = finding["type"], finding["loc"], finding.get("ctx", {}).get("error")
    if kind == "missing":
        return [] if path[-1:] == [loc[-1]] else [loc[-1]]
    if kind.startswith("union_tag"):
        return [finding["ctx"]["discriminator"].strip("'()")]
    whole = isinstance(finding.get("input"), dict) and isinstance(cause, InputError)
    return [cause.field] if whole and cause.field else []


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the models at `loc` know; of every member where a union leaves it open."""
    here: list[type[BaseModel]] = [model]
    for part in loc:
        below = [m for parent in here for m in _models_below(parent, part)]
        here = below or [m for m in here if _is_named(m, part)] or here
    return sorted({info.alias or name for m in here for name, info in m.model_fields.items()})


def _models_below(parent: type[BaseModel], part: str | int) -> Iterator[type[BaseModel]]:
    for name, info in parent.model_fields.items():
        if part in (name, info.alias):
            yield from _models_in(info.annotation)


def _is_named(model: type[BaseModel], part: str | int) -> bool:
    """Whether pydantic calls this member of a union `part`: by its class, or by its discriminator."""
    literals = (typing.get_args(info.annotation) for info in model.model_fields.values())
    return model.__name__ == part or any(part in values for values in literals)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
