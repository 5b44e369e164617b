"""Paths into a scenario document: `workloads.checkout.service.slots`, `workloads[*].start_delay`.

A path is names separated by dots. After a list comes a selector: an index from 0, an entry's name,
a pattern such as `api-*`, or `*` for all; after a free mapping (labels, price overrides) any key.
Brackets hold a name with dots in it: `prices.overrides[m7i.large]`.
"""

from __future__ import annotations

import fnmatch
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from envs.errors import InputError
from envs.nearest import did_you_mean, nearest_names
from envs.scenario_expand import set_in

_PART = re.compile(r"\[([^\[\]]*)\]|([^.\[\]]+)")
MAX_PARTS = 20
Keys = tuple[str | int, ...]


def split_path(path: str) -> tuple[str, ...]:
    """The parts of a path. Raises InputError for empty and broken ones."""
    parts = [match[1] if match[1] is not None else match[2] for match in _PART.finditer(path)]
    rebuilt = _PART.sub("", path).strip(".")
    if not parts or rebuilt or ".." in path or path.startswith(".") or len(parts) > MAX_PARTS:
        raise InputError("--vary", path or "path", None, "write a path as in workloads.checkout.start_delay")
    return tuple(part.strip().strip("'\"") for part in parts)


def schema_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every path that the model knows, with `*` where a list is, leaves and branches alike."""
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path
        for below, many in _models_in(info.annotation):
            yield from schema_paths(below, f"{path}.*." if many else f"{path}.")


def places(document: Any, path: str, model: type[BaseModel]) -> list[Keys]:
    """The exact places that a path means in a document; at least one. Raises InputError.

    Names of fields are checked against the model, entries of lists against the document.
    """
    found: list[Keys] = []
    _walk(document, split_path(path), (), model, path, found)
    if not found:
        raise InputError("--vary", path, None, "leads to nothing in this scenario; add it to the file first")
    return found


def replace(document: Any, where: list[Keys], value: Any) -> Any:
    """A copy of the document with `value` at each of the places."""
    for keys in where:
        document = set_in(document, keys, value)
    return document


def _walk(
    here: Any, parts: tuple[str, ...], at: Keys, model: type[BaseModel] | None, path: str, found: list[Keys]
) -> None:
    if not parts:
        found.append(at)
        return
    part, rest = parts[0], parts[1:]
    if isinstance(here, list):
        for index in _select(here, part, path, at):
            _walk(here[index], rest, (*at, index), model, path, found)
        return
    if here is not None and not isinstance(here, dict):
        mend = f"goes on after {_shown(at)}, which is a plain value; end it there"
        raise InputError("--vary", path, None, mend)
    below: type[BaseModel] | None = None
    if model is not None:
        if part not in model.model_fields:
            raise InputError("--vary", path, None, _wrong_name(part, path, model, at))
        below = _below(model, part)
    value = here.get(part) if isinstance(here, dict) else None
    if rest and value is None and not _can_be_made(model, part, rest[0]):
        return  # nothing of that kind here; another entry of the list may have it
    _walk(value, rest, (*at, part), below, path, found)


def _select(entries: list[Any], part: str, path: str, at: Keys) -> list[int]:
    names = {i: str(e["name"] if isinstance(e, dict) and "name" in e else i) for i, e in enumerate(entries)}
    exact = [i for i, name in names.items() if name == part]
    if exact:
        return exact
    if part.isdecimal() and len(part) < 9 and int(part) < len(entries):
        return [int(part)]
    chosen = [i for i, name in names.items() if fnmatch.fnmatchcase(name, part)] if set("*?") & set(part) else []
    if not chosen:
        mend = did_you_mean(part, names.values(), noun=f"entry of {_shown(at)}", plural="entries")
        raise InputError("--vary", path, None, mend + " (or * for all)")
    return chosen


def _wrong_name(part: str, path: str, model: type[BaseModel], at: Keys) -> str:
    near = nearest_names(part, model.model_fields) if at else []
    if near:
        mine = ".".join("*" if isinstance(key, int) else str(key) for key in at)
        near = [f"{mine}.{name}" for name in near]
    elsewhere = suggestions(path)
    if not near or (elsewhere and elsewhere[0].endswith(f".{part}")):
        near = list(dict.fromkeys(elsewhere + near))[:3]
    if near:
        return f'no field "{part}"; did you mean ' + " or ".join(f'"{n}"' for n in near) + "?"
    return did_you_mean(part, model.model_fields, noun=f"field of {_shown(at)}", plural="fields")


def suggestions(path: str) -> list[str]:
    """Known paths anywhere in the schema whose last name is like that of the path."""
    from envs.scenario_models import ScenarioDoc

    known = list(dict.fromkeys(schema_paths(ScenarioDoc)))
    last = split_path(path)[-1]
    by_last: dict[str, list[str]] = {}
    for candidate in known:
        by_last.setdefault(candidate.rsplit(".", 1)[-1], []).append(candidate)
    close = [p for name in nearest_names(last, by_last) for p in by_last[name]]
    return (close or nearest_names(path, known))[:3]


def _below(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    for below, _ in _models_in(model.model_fields[name].annotation):
        return below
    return None


def _can_be_made(model: type[BaseModel] | None, name: str, below: str) -> bool:
    """Whether what is missing may be made on the way: a mapping, unless missing has a meaning of its own."""
    if model is None:  # inside a stack or an HPA: no lists
        return not (below.isdecimal() or below == "*")
    annotation = model.model_fields[name].annotation
    if typing.get_origin(annotation) is dict:
        return True
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models_in(annotation: Any, many: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
    many = many or typing.get_origin(annotation) is list
    for argument in typing.get_args(annotation):
        yield from _models_in(argument, many)


def _shown(at: Mapping[str, Any] | Keys) -> str:
    return ".".join(map(str, at)) or "the scenario"
