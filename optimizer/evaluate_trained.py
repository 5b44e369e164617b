"""What a stack was tuned or trained on, so that nobody is scored on its own homework without the table saying so.

A stack file that `trimtab tune` wrote names its suite in its head; a bundle names its traces under `data` in
manifest.json. What says nothing was not fitted to data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.scenario import TraceDemand
from envs.stack_file import load_stack, stack_path
from envs.suite import Suite, load_suite, suite_names
from optimizer.evaluate_cases import Cases, source_of

_HEAD = re.compile(r"^#.*\bSuite (\S+) \(digest ([0-9a-f]+)\)")
_KEYS = ("trained_on", "data")


def trained_on(name_or_path: str | Path) -> frozenset[str]:
    """Sources and checksums (SHA-256) that went into a stack; lower case. Empty where nothing says so."""
    try:
        path = stack_path(name_or_path)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (InputError, OSError, UnicodeDecodeError):
        return frozenset()
    found: set[str] = set()
    for line in lines[:40]:
        head = _HEAD.match(line)
        if head:
            found |= _of_suite(head.group(1))
    manifest = _bundle_manifest(name_or_path)
    if manifest is not None:
        found |= named_in(manifest)
    return frozenset(text.lower() for text in found)


def seen(trained: frozenset[str], cases: Cases) -> frozenset[str]:
    """Sources among the cases that a stack has seen: by the source's name, a trace's name, or its checksum."""
    by_sum = {source for source, name, sha in cases.traces if sha in trained or name.lower() in trained}
    return frozenset({s for s in cases.sources if s.lower() in trained} | by_sum)


def named_in(manifest: Path) -> set[str]:
    """Names and checksums under the keys that say what a bundle was trained on."""
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return {text for key in _KEYS if isinstance(document, dict) for text in _texts(document.get(key))}


def _texts(value: Any) -> Iterable[str]:
    """Every text in nested JSON, keys of objects too (checksums by trace, or traces by checksum)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _bundle_manifest(name_or_path: str | Path) -> Path | None:
    """manifest.json of the bundle that a stack's network comes from; None for a stack without one."""
    stack = load_stack(name_or_path)
    if stack.learned is None:
        return None
    from optimizer.learned_stack import bundle_path

    return bundle_path(stack.learned.bundle) / "manifest.json"


def _of_suite(name: str) -> set[str]:
    """Sources of a shipped suite's load, and the names of its scenarios."""
    if name not in suite_names():
        return {name}
    return sources_of(load_suite(name)) | {entry.scenario.name for entry in load_suite(name).entries}


def sources_of(suite: Suite) -> set[str]:
    """Of the recorded load in it."""
    return {source_of(d.path) for e in suite.entries for d in e.scenario.demand if isinstance(d, TraceDemand)}
