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
    pydantic puts into the path.
    """
    findings = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    finding = findings[0]
    path = _real_path(finding["loc"], document)
    value, mend = _value_and_mend(dict(finding), model)
    if len(findings) > 1:
        mend += f" (and {len(findings) - 1} more)"
    where = field_path(path) or _cause_field(dict(finding)) or "document"
    if document is not None and document.lines:
        where = f"line {document.line_of(path)}: {where}"
    return InputError(file, where, value, mend)


def validate(model: type[_Model], document: YamlDocument) -> _Model:
    """The document's data as a `model`. Raises InputError."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise describe_validation_error(error, document.file, model=model, document=document) from None


_Model = typing.TypeVar("_Model", bound=BaseModel)


def field_path(path: Iterable[str | int]) -> str:
    """("pools", 0, "zones") -> "pools[0].zones"; on one line, however odd the keys."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + repr(part[:60])[1:-1]
    return text


def _cause_field(finding: dict[str, Any]) -> str:
    """The field that a check of the whole mapping names itself."""
    cause = finding.get("ctx", {}).get("error")
    return cause.field if isinstance(cause, InputError) else ""


def _value_and_mend(finding: dict[str, Any], model: type[BaseModel] | None) -> tuple[object, str]:
    kind, raw = finding["type"], finding.get("input")
    cause = finding.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause.value, cause.mend
    if kind == "extra_forbidden":
        key = str(finding["loc"][-1])
        right = _keys_at(model, finding["loc"][:-1]) if model is not None else []
        return None, did_you_mean(key, right, noun="key") if right else "unknown key; remove it"
    if kind == "missing":
        return None, "is missing; add it"
    value = raw if isinstance(raw, str | int | float | None) else type(raw).__name__
    if kind == "literal_error":
        return value, f"must be {finding['ctx']['expected']}"
    message = str(cause) if cause is not None else finding["msg"]
    return value, " ".join((message[:1].lower() + message[1:]).split())


def _real_path(loc: tuple[int | str, ...], document: YamlDocument | None) -> KeyPath:
    """The location without the parts that are not in the data (names of union members)."""
    if document is None:
        return loc
    path: list[str | int] = []
    data = document.data
    for i, part in enumerate(loc):
        inside = _has(data, part)
        if inside:
            data = data[part]
        if inside or i == len(loc) - 1:
            path.append(part)
    return tuple(path)


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
