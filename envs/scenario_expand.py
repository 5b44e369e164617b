"""From the document that a user wrote to the full one: `defaults` merged in, `count` written out.

    defaults:
      workload: {slo: 99.9%, service: {slots: 8}}      # every workload that does not say otherwise
      node_pool: {boot_delay: 2m}
    workloads:
      - name: api-{n:03}                               # api-001 ... api-040
        count: 40
        each: {demand.generate.base_rps: [40, 90, 220]}  # taken in turn: 40, 90, 220, 40, ...

Documents are plain dicts and lists that are never changed in place, so copies share their parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.scenario_models import MAX_WORKLOADS

_NUMBER = re.compile(r"\{n(?::0?([1-9]))?\}")
_SECTIONS = {"workload": "workloads", "node_pool": "node_pools"}
_ONLY_RAW = ("count", "each")
_WHOLE = ("pdb", "hpa")  # objects of their own: an entry's replaces the default's


@dataclass(frozen=True)
class Origin:
    """Which entry of the user's list an expanded entry came from, and what it said itself."""

    index: int
    own: Mapping[str, Any]


def expand_document(
    document: Mapping[str, Any], file: Path | str | None
) -> tuple[dict[str, Any], dict[str, list[Origin]]]:
    """The full document without `defaults`, and per section the origins of its entries.

    Anything with the wrong type is passed on as it is: the models refuse it with a better message.
    """
    full = {key: value for key, value in document.items() if key != "defaults"}
    defaults = _defaults(document.get("defaults", {}), file)
    origins: dict[str, list[Origin]] = {}
    for single, section in _SECTIONS.items():
        entries = full.get(section)
        if not isinstance(entries, list):
            continue
        merged: list[Any] = []
        origins[section] = []
        for index, entry in enumerate(entries):
            for one in _copies(entry, f"{section}[{index}]", file):
                merged.append(merge(defaults.get(single, {}), one) if isinstance(one, dict) else one)
                origins[section].append(Origin(index, one if isinstance(one, dict) else {}))
            if len(merged) > MAX_WORKLOADS:
                raise InputError(file, section, len(merged), f"at most {MAX_WORKLOADS} are simulated; lower count")
        full[section] = merged
    return full, origins


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, mapping by mapping; a trace of its own drops a default generator and vice versa."""
    if "generate" in own:
        base = {key: value for key, value in base.items() if key in ("generate", "scale")}
    elif "trace" in own:
        base = {key: value for key, value in base.items() if key != "generate"}
    merged = dict(base)
    for key, value in own.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict) and key not in _WHOLE:
            merged[key] = merge(under, value)
        else:
            merged[key] = value
    return merged


def set_in(tree: Any, keys: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a document with one place changed; missing mappings on the way are made."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(tree, list) and isinstance(key, int):
        return [set_in(item, rest, value) if i == key else item for i, item in enumerate(tree)]
    base = dict(tree) if isinstance(tree, dict) else {}
    base[str(key)] = set_in(base.get(str(key)), rest, value)
    return base


def _defaults(raw: Any, file: Path | str | None) -> dict[str, dict[str, Any]]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise InputError(file, "defaults", raw, "must hold workload: and node_pool: mappings")
    for key, value in raw.items():
        if key not in _SECTIONS:
            raise InputError(file, f"defaults.{key}", None, did_you_mean(key, _SECTIONS, noun="key"))
        if not isinstance(value, dict):
            raise InputError(file, f"defaults.{key}", value, "must be a mapping of fields")
    return raw


def _copies(entry: Any, where: str, file: Path | str | None) -> Iterator[Any]:
    """The entry itself, or its `count` numbered copies."""
    if not isinstance(entry, dict) or not any(key in entry for key in _ONLY_RAW):
        yield entry
        return
    count, each = entry.get("count", 1), entry.get("each", {})
    template = {key: value for key, value in entry.items() if key not in _ONLY_RAW}
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_WORKLOADS:
        raise InputError(file, f"{where}.count", count, f"must be a whole number from 1 to {MAX_WORKLOADS}")
    if not isinstance(each, dict):
        raise InputError(file, f"{where}.each", each, "must map a field's path to a list of values")
    name = template.get("name")
    if count > 1 and not (isinstance(name, str) and _NUMBER.search(name)):
        raise InputError(file, f"{where}.name", name, "needs {n} (or {n:03}) where count numbers the copies")
    for n in range(count):
        yield _numbered(template, n, each, (where, file))


def _numbered(template: dict[str, Any], n: int, each: Mapping[str, Any], at: tuple[str, Path | str | None]) -> Any:
    where, file = at
    one: Any = dict(template)
    if isinstance(one.get("name"), str):
        one["name"] = _NUMBER.sub(lambda m: str(n + 1).zfill(int(m[1] or 1)), one["name"])
    for path, values in each.items():
        if not isinstance(values, list) or not values:
            raise InputError(file, f"{where}.each.{path}", values, "must be a list of values, taken in turn")
        one = set_in(one, tuple(str(path).split(".")[:10]), values[n % len(values)])
    return one
