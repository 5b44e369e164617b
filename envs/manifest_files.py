"""Find and read Kubernetes manifests in a folder: YAML and JSON, several documents a file, Lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.yaml_reader import YamlDocument, parse_yaml, read_bytes

MAX_FILES = 5_000
MAX_TOTAL_BYTES = 128 * 2**20
MAX_OBJECTS = 20_000
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Body:
    """A mapping inside a manifest, with where it is, so that every misfit is named."""

    value: dict[str, Any]
    file: str
    where: str  # "Deployment shop/web: spec.template"

    def child(self, key: str) -> Body:
        """The mapping under `key`; an empty one when it is missing."""
        value = self.value.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.error(key, value, "must be a mapping")
        return Body(value, self.file, self._at(key))

    def at(self, *keys: str) -> Body:
        """The mapping under several keys."""
        body = self
        for key in keys:
            body = body.child(key)
        return body

    def children(self, key: str) -> list[Body]:
        """The mappings of the list under `key`; none when it is missing."""
        items = self._list(key)
        for item in items:
            if not isinstance(item, dict):
                raise self.error(key, item, "must be a list of mappings")
        return [Body(item, self.file, f"{self._at(key)}[{i}]") for i, item in enumerate(items)]

    def words(self, key: str) -> list[str]:
        """The plain values of the list under `key`, as text."""
        items = self._list(key)
        for item in items:
            if isinstance(item, dict | list) or item is None:
                raise self.error(key, item, "must be a list of plain values")
        return [str(item) for item in items]

    def text(self, key: str, default: str = "") -> str:
        """The plain value under `key`, as text (true and 1 too)."""
        value = self.value.get(key)
        if isinstance(value, dict | list):
            raise self.error(key, value, "must be a plain value")
        if isinstance(value, bool):
            return "true" if value else "false"
        return default if value is None else str(value)

    def texts(self, key: str) -> dict[str, str]:
        """The mapping of text to text under `key` (labels)."""
        body = self.child(key)
        return {str(name): body.text(name) for name in body.value}

    def whole(self, key: str, default: int) -> int:
        """The whole number under `key`."""
        value = self.value.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**31:
            raise self.error(key, value, "must be a whole number")
        return value

    def quantity(self, key: str, parse: Callable[..., float]) -> float | None:
        """The quantity under `key` in inside units; None when it is missing."""
        value = self.value.get(key)
        return None if value is None else parse(value, file=self.file, field=self._at(key))

    def error(self, key: str, value: object, mend: str) -> InputError:
        """An InputError about the field `key`."""
        shown = type(value).__name__ if isinstance(value, dict | list) else value
        return InputError(self.file, self._at(key), shown, mend)

    def _list(self, key: str) -> list[Any]:
        value = self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(key, value, "must be a list")
        return value

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if not self.where.endswith(":") else f"{self.where} {key}"


@dataclass(frozen=True)
class Manifest:
    """One Kubernetes object."""

    kind: str
    api_version: str
    namespace: str
    name: str
    body: Body = field(repr=False)

    @property
    def spec(self) -> Body:
        return self.body.child("spec")

    @property
    def labels(self) -> dict[str, str]:
        return self.body.child("metadata").texts("labels")

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def read_manifests(folder: Path) -> list[Manifest]:
    """Every object in the folder's .yaml, .yml and .json files, in the order of their paths.

    Links are not followed. Raises InputError on bad YAML, unrendered templates and absurd sizes.
    """
    if not _is_folder(folder):
        mend = "is not a folder; give the folder that holds your manifests"
        raise InputError(folder, "--from-manifests", None, mend)
    found: list[Manifest] = []
    total = 0
    for path in _files(folder):
        data = read_bytes(path)
        total += len(data)
        if total > MAX_TOTAL_BYTES:
            raise InputError(folder, "folder", None, f"holds over {MAX_TOTAL_BYTES:,} bytes of manifests")
        found += parse_manifests(data, path)
        if len(found) > MAX_OBJECTS:
            raise InputError(folder, "folder", None, f"holds over {MAX_OBJECTS:,} objects; give a part of it")
    return found


def parse_manifests(source: bytes | str, file: Path | str) -> list[Manifest]:
    """The objects of one file; Lists are opened. Raises InputError."""
    marker = "{{" if isinstance(source, str) else b"{{"
    try:
        documents = parse_yaml(source, file=file)
    except InputError as error:
        if marker in source:  # type: ignore[operator]
            mend = f"{error.mend}; is this a template? render it first (helm template, kustomize build)"
            raise InputError(file, error.field, error.value, mend) from None
        raise
    found: list[Manifest] = []
    for document in documents:
        found += _objects(document.data, document, 0)
    return found


def _objects(data: Any, document: YamlDocument, depth: int) -> Iterator[Manifest]:
    at = f"line {document.line}"
    if not isinstance(data, dict):
        raise InputError(document.file, at, None, "is no Kubernetes object; it must be a mapping with kind:")
    kind = data.get("kind")
    if not isinstance(kind, str) or not kind:
        raise InputError(document.file, f"{at}: kind", kind, "is missing; every Kubernetes object has one")
    if kind.endswith("List") and isinstance(data.get("items"), list) and depth < 3:
        for item in data["items"]:
            yield from _objects(item, document, depth + 1)
        return
    bare = Body(data, document.file, f"{kind}:")
    metadata = bare.child("metadata")
    name = metadata.text("name") or metadata.text("generateName") or "unnamed"
    namespace = metadata.text("namespace", "default") or "default"
    body = Body(data, document.file, f"{kind} {namespace[:80]}/{name[:80]}:")
    yield Manifest(kind, bare.text("apiVersion"), namespace, name, body)


def _files(folder: Path) -> list[Path]:
    paths: list[Path] = []
    for root, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if name.lower().endswith(_SUFFIXES) and not path.is_symlink() and not name.startswith("."):
                paths.append(path)
        if len(paths) > MAX_FILES:
            raise InputError(folder, "folder", None, f"holds over {MAX_FILES:,} manifest files; give a part of it")
    if not paths:
        raise InputError(folder, "folder", None, "holds no .yaml, .yml or .json file")
    return paths


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
