"""The one reader of YAML from users: plain data only, bounded, with line numbers.

Refused, each as an `InputError` that names the file and the line: tags, anchors and aliases (so no
alias bomb and no object construction), duplicate keys, keys that are not plain text, files over
8 MiB, more than a million values, nesting deeper than 50, anything that is not UTF-8 text, and more
than one document where one is wanted.

Scalars follow the YAML 1.2 core schema: only true/false are booleans (`no` is text, so is `on`),
`1:30` and dates are text, `010` is ten. Keys are always text. Numbers too large for a float stay
text, so that the quantity parser can name them.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from envs.errors import InputError

MAX_BYTES = 8 * 2**20
MAX_VALUES = 1_000_000
MAX_DEPTH = 50
KeyPath = tuple[str | int, ...]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class YamlDocument:
    """One document: `data` of dict, list, str, int, float, bool and None; `lines` by path, from 1."""

    data: Any
    file: str
    line: int = 1
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)

    def line_of(self, path: KeyPath) -> int:
        """The line of the value at `path`, or of its nearest known parent."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return self.line


def read_yaml(path: Path | str) -> YamlDocument:
    """The file's only document, which must be a mapping. Raises InputError."""
    return only_mapping(parse_yaml(read_bytes(path), file=path), file=path)


def read_yaml_documents(path: Path | str) -> list[YamlDocument]:
    """Every document of the file (separated by `---`); empty documents are left out."""
    return parse_yaml(read_bytes(path), file=path)


def only_mapping(documents: list[YamlDocument], *, file: Path | str | None) -> YamlDocument:
    """The one document among `documents`, checked to be a mapping."""
    if not documents:
        raise InputError(file, "file", None, "is empty; a YAML mapping (key: value) is wanted")
    if len(documents) > 1:
        second = documents[1].line
        raise InputError(file, f"line {second}", "---", "starts a second document; one is wanted here")
    document = documents[0]
    if not isinstance(document.data, dict):
        kind = "a list" if isinstance(document.data, list) else "a single value"
        raise InputError(file, f"line {document.line}", None, f"is {kind}; a mapping (key: value) is wanted")
    return document


def read_bytes(path: Path | str, *, limit: int = MAX_BYTES) -> bytes:
    """A regular file's bytes, at most `limit` of them. Raises InputError when it is not to be had."""
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(path, "file", None, "is not a regular file")
        if status.st_size > limit:
            mend = f"is {status.st_size:,} bytes; at most {limit:,} are read"
            raise InputError(path, "file", None, mend)
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise InputError(path, "file", None, "does not exist; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(repr(str(path))[1:-1], "file", None, f"cannot be read: {reason}") from None
    if len(data) > limit:
        raise InputError(path, "file", None, f"holds more than {limit:,} bytes")
    return data


def parse_yaml(source: bytes | str, *, file: Path | str | None = None) -> list[YamlDocument]:
    """Every non-empty document in `source`. `file` is for messages only."""
    text = decode_text(source, file=file)
    try:
        return list(_documents(yaml.parse(text, Loader=_LOADER), str(file) if file else ""))
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, file) from None


def decode_text(source: bytes | str, *, file: Path | str | None = None) -> str:
    """UTF-8 text without NULs (a leading byte-order mark is dropped). Raises InputError."""
    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
        text.encode("utf-8")
    except UnicodeError as error:
        where = getattr(error, "start", 0)
        raise InputError(
            file, f"byte {where}", None, "is not UTF-8 text; save it as UTF-8 (is the file binary?)"
        ) from None
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise InputError(file, f"line {line}", None, "holds a NUL character; is the file binary?")
    return text


class _Open:
    """A collection under construction."""

    __slots__ = ("key", "path", "value")

    def __init__(self, value: dict[str, Any] | list[Any], path: KeyPath) -> None:
        self.value = value
        self.path = path
        self.key: str | None = None  # of a mapping: read, its value not yet


def _documents(events: Iterator[yaml.Event], file: str) -> Iterator[YamlDocument]:
    """Build plain data from parser events, without recursion."""
    builder = _Builder(file)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            builder.start()
        elif isinstance(event, yaml.DocumentEndEvent):
            if builder.root is not None:
                yield YamlDocument(builder.root, file, builder.lines.get((), 1), builder.lines)
        elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            builder.take(event)


class _Builder:
    """Takes the events of one document after another; counts values over all of them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values = 0
        self.start()

    def start(self) -> None:
        self.root: Any = None
        self.lines: dict[KeyPath, int] = {}
        self.stack: list[_Open] = []

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
            return
        line = event.start_mark.line + 1
        self._refuse_unsafe(event, line)
        if isinstance(event, yaml.ScalarEvent):
            self._add_scalar(event, line)
        else:
            self._open({} if isinstance(event, yaml.MappingStartEvent) else [], line)

    def _refuse_unsafe(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self._error(line, f"*{event.anchor}", "aliases are not allowed; write the value out")
        if getattr(event, "anchor", None) is not None:
            raise self._error(line, f"&{event.anchor}", "anchors are not allowed; write the value out")
        if getattr(event, "tag", None) is not None:
            raise self._error(line, event.tag, "tags are not allowed; remove it")
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._error(line, None, f"holds more than {MAX_VALUES:,} values")

    def _add_scalar(self, event: Any, line: int) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            if event.value in top.value:
                raise self._error(line, event.value, "this key is given twice; remove one")
            top.key = event.value
            self.lines[(*top.path, event.value)] = line
            return
        plain = bool(event.implicit[0])
        self._place(self._resolve(event.value, line) if plain else event.value, line)

    def _open(self, value: dict[str, Any] | list[Any], line: int) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self._error(line, None, f"is nested deeper than {MAX_DEPTH} levels")
        path = self._place(value, line)
        self.stack.append(_Open(value, path))

    def _place(self, value: Any, line: int) -> KeyPath:
        """Put a value where it belongs and return its path."""
        if not self.stack:
            self.root = value
            self.lines[()] = line
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            path: KeyPath = (*top.path, len(top.value))
            top.value.append(value)
            self.lines[path] = line
            return path
        if top.key is None:
            raise self._error(line, None, "a mapping's key must be plain text")
        path = (*top.path, top.key)
        top.value[top.key] = value
        top.key = None
        return path

    def _resolve(self, text: str, line: int) -> Any:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            if len(text) > 60:
                raise self._error(line, text, "a whole number of over 60 digits")
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        special = _SPECIAL.fullmatch(text)
        if special:
            return float((special[1] or "") + (special[2] or "nan"))
        if _FLOAT.fullmatch(text):
            number = float(text)
            return text if number in (float("inf"), float("-inf")) else number
        return text

    def _error(self, line: int, value: object, mend: str) -> InputError:
        return InputError(self.file or None, f"line {line}", value, mend)


def _syntax_error(error: yaml.YAMLError, text: str, file: Path | str | None) -> InputError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    where, hint = "file", ""
    if mark is not None:
        where = f"line {mark.line + 1}, column {mark.column + 1}"
        line = text.splitlines()[mark.line : mark.line + 1]
        if line and "\t" in line[0][: len(line[0]) - len(line[0].lstrip())]:
            hint = "; indent with spaces, not with tabs"
        elif "mapping values" in problem:
            hint = '; put text that holds ": " into quotes'
    return InputError(file, where, None, f"is not valid YAML: {' '.join(str(problem).split())}{hint}")
