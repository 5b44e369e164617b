"""Write a scenario as commented YAML: guesses are marked, nothing is overwritten, writes are atomic."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import InputError

_PLAIN = re.compile(r"[A-Za-z_/$][A-Za-z0-9_./%@$-]*")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(%|ms|s|m|h|d|Mi|Gi|rps|/h)")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


@dataclass(frozen=True)
class Commented:
    """A value with a remark that goes on its line."""

    value: Any
    remark: str


def guess(value: Any, why: str) -> Commented:
    """A value that the user did not give; `# guess` marks it in the file."""
    return Commented(value, f"guess: {why}")


def plain(value: Any) -> Any:
    """The document without its remarks, as a reader would see it."""
    if isinstance(value, Commented):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def render(document: Mapping[str, Any], *, head: Sequence[str] = ()) -> str:
    """YAML text; `head` are comment lines at the top. Small flat mappings and lists stay on one line."""
    lines = [f"# {line}".rstrip() for line in head]
    for key, value in document.items():
        if lines and isinstance(_bare(value), Mapping | list):
            lines.append("")
        lines += _entry(_scalar(key), value, 0)
    return "\n".join(lines) + "\n"


def check_place(path: Path, *, force: bool = False) -> None:
    """Raises InputError when a file cannot go there: it exists (and not force), or its folder does not."""
    try:
        parent_is_folder = path.parent.is_dir()
        taken = os.path.lexists(path)
    except (OSError, ValueError) as error:
        raise InputError(path, "--out", None, f"cannot be written: {error}") from None
    if not parent_is_folder:
        raise InputError(path, "--out", None, f"there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise InputError(path, "--out", None, "is a folder; give a file")
    if taken and not force:
        raise InputError(path, "--out", None, "exists already; choose another name or add --force")


def write_new(path: Path, text: str, *, force: bool = False) -> None:
    """Write a file in one step (temporary file, then rename). Raises InputError when it exists already."""
    check_place(path, force=force)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(path, "--out", None, f"cannot be written: {reason}; give a writable folder") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise InputError(path, "--out", None, f"cannot be written: {error.strerror}; give another place") from None


def _entry(key: str, value: Any, depth: int) -> Iterator[str]:
    """`key: value` and what is under it."""
    pad, remark = "  " * depth, ""
    if isinstance(value, Commented):
        remark, value = _remark(value.remark), value.value
    short = _one_line(value)
    if short is not None:
        yield f"{pad}{key}: {short}{remark}"
    elif isinstance(value, str):
        yield f"{pad}{key}: >-{remark}"
        for line in _wrapped(value):
            yield f"{pad}  {line}"
    elif isinstance(value, Mapping):
        yield f"{pad}{key}:{remark}"
        for name, item in value.items():
            yield from _entry(_scalar(name), item, depth + 1)
    else:
        yield f"{pad}{key}:{remark}"
        for item in value:
            yield from _item(item, depth + 1)


def _item(value: Any, depth: int) -> Iterator[str]:
    """A list's entry: a mapping opens on the line of its dash."""
    pad, remark = "  " * depth, ""
    if isinstance(value, Commented):
        remark, value = _remark(value.remark), value.value
    short = _one_line(value)
    if short is not None or not isinstance(value, Mapping):
        yield f"{pad}- {short if short is not None else _flow(value)}{remark}"
        return
    if remark:
        yield f"{pad}#{remark.split('#', 1)[1]}"
    lines = [line for name, item in value.items() for line in _entry(_scalar(name), item, depth + 1)]
    yield f"{pad}- {lines[0].lstrip()}"
    yield from lines[1:]


def _one_line(value: Any) -> str | None:
    """The value in flow style when it is short and has no remarks inside, else None."""
    if isinstance(value, Mapping | list | tuple):
        if plain(value) != value and plain(value) != list(value):
            return None
        if isinstance(value, Mapping) and len(value) > 4:
            return None
        if any(isinstance(v, Mapping) for v in (value if not isinstance(value, Mapping) else value.values())):
            return None
        text = _flow(value)
        return text if len(text) <= 80 else None
    if isinstance(value, str) and len(value) > 100 and " ".join(value.split()) == value and value.isprintable():
        return None
    return _scalar(value)


def _flow(value: Any) -> str:
    value = _bare(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """One scalar; text is quoted unless every YAML version reads it as that very text."""
    if not isinstance(value, str):
        return json.dumps(value)
    if (_PLAIN.fullmatch(value) and value.lower() not in _WORDS) or _QUANTITY.fullmatch(value):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _remark(text: str) -> str:
    return "  # " + " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Commented) else value


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width=96, break_long_words=False, break_on_hyphens=False)
