"""What a stack was tuned or trained on, so that nobody is scored on its own homework without the table saying so.

A stack file that `trimtab tune` wrote names its suite in its head; a bundle names its traces in manifest.json; both
may say `trained_on:`. What says nothing was not fitted to data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.scenario import TraceDemand
from envs.stack_file import stack_path
from envs.suite import Suite, load_suite, suite_names
from optimizer.evaluate_cases import Cases

_HEAD = re.compile(r"^#.*\bSuite (\S+) \(digest ([0-9a-f]+)\)")
# Load files that ship, under the source names that manifests of the full recordings use.
SHIPPED = {"aiops2018_demo.csv.gz": "AIOps 2018 KPI (NetMan)", "nab_demo.csv.gz": "NAB realTweets"}
_KEYS = ("trained_on", "sources", "data", "traces")


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
    for manifest in _manifests(path, lines):
        found |= named_in(manifest)
    return frozenset(text.lower() for text in found)


def seen(trained: frozenset[str], cases: Cases) -> frozenset[str]:
    """Sources among the cases that a stack has seen: by the source's name, or by a trace's checksum."""
    by_sum = {source for source, _, sha in cases.traces if sha in trained}
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


def _manifests(path: Path, lines: Iterable[str]) -> list[Path]:
    """manifest.json of the bundles that a stack file names (`bundle: folder`), relative to it or to the package."""
    package = Path(__file__).parents[1]
    names = [
        m.group(1) for line in lines if (m := re.match(r"^\s*(?:bundle|policy):\s*[\"']?([^\"'#]+?)[\"']?\s*$", line))
    ]
    roots = (path.parent, package, package / "policies" / "pretrained", package / "policies")
    found = [root / name / "manifest.json" for name in names for root in roots]
    return [one for one in found if one.is_file()]


def _of_suite(name: str) -> set[str]:
    """Sources of a shipped suite's load, and the names of its scenarios."""
    if name not in suite_names():
        return {name}
    return sources_of(load_suite(name)) | {entry.scenario.name for entry in load_suite(name).entries}


def sources_of(suite: Suite) -> set[str]:
    paths = {d.path.name for e in suite.entries for d in e.scenario.demand if isinstance(d, TraceDemand)}
    return {SHIPPED.get(name, name) for name in paths}
