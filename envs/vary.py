"""`--vary path=v1,v2`: variations of a scenario, as sets of overrides of its document.

    --vary traffic_scale=1,1.5,2
    --vary 'workloads.*.start_delay=15s,60s'
    --vary 'node_pools.web.instance_types=[m7i.xlarge],[c7i.xlarge; m7i.large]'

Values are YAML (80 is a number, 80% and 30s are text that the field reads). Commas separate
values, except within brackets, braces and quotes; inside brackets `;` and `,` both separate.
Several --vary make a full grid, the last one varying fastest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from envs.errors import InputError
from envs.yaml_reader import parse_yaml

Override = tuple[str, str]
MAX_VALUES = 1000
MAX_VARIATIONS = 100_000
ALIASES = {
    "start_delay": "workloads.*.start_delay",
    "slo": "workloads.*.slo",
    "cpu_request_factor": "workloads.*.cpu_request_factor",
    "boot_delay": "node_pools.*.boot_delay",
    "max_nodes": "node_pools.*.max_nodes",
    "instance_types_of_all_pools": "node_pools.*.instance_types",
    "discount": "prices.discount",
    "hpa_target": "stacks.*.replicas.metrics.0.target",
}


def expand(varies: Sequence[str]) -> list[tuple[Override, ...]]:
    """The full grid of `path=v1,v2` texts: one tuple of (path, value text) per variation.

    No --vary gives one empty variation. Raises InputError for a text without a path or a value,
    a path that is given twice, and a grid of more than 100,000.
    """
    axes: list[list[Override]] = []
    for text in varies:
        path, values = parse_vary(text)
        if any(axis[0][0] == path for axis in axes):
            raise InputError("--vary", path, None, "is given twice; put all values into one: path=v1,v2")
        axes.append([(path, value) for value in values])
    size = 1
    for axis in axes:
        size *= len(axis)
    if size > MAX_VARIATIONS:
        raise InputError("--vary", "grid", size, f"is too large; at most {MAX_VARIATIONS:,} variations")
    return [tuple(choice) for choice in itertools.product(*axes)]


def parse_vary(text: str) -> tuple[str, list[str]]:
    """`path=v1,v2` as the full path (aliases resolved) and its value texts."""
    path, parts = parse_axis(text, "--vary", "traffic_scale=1,2")
    return ALIASES.get(path, path), parts


def parse_axis(text: str, flag: str, example: str) -> tuple[str, list[str]]:
    """`path=v1,v2` of a command-line flag as the path and its value texts. Raises InputError."""
    path, equals, values = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise InputError(flag, "value", text, f"write path=v1,v2, such as {example}")
    parts = [part.strip() for part in split_values(values)]
    if not all(parts) or len(parts) > MAX_VALUES:
        raise InputError(flag, path, values, 'has an empty value; write path=v1,v2 ("" for empty text)')
    for part in parts:
        parse_value(path, part, flag)
    return path, parts


def split_values(text: str) -> list[str]:
    """Split at commas outside brackets, braces and quotes."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and not parts[-1].strip(" [{;,:"):
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and depth <= 0:
            parts.append("")
            continue
        parts[-1] += char
    return parts


def parse_value(path: str, text: str, flag: str = "--vary") -> Any:
    """One value text as YAML data; `[a; b]` is the list `[a, b]`."""
    if text.startswith("["):
        text = text.replace(";", ",")
    try:
        documents = parse_yaml(text)
    except InputError as error:
        raise InputError(flag, path, text, f"{error.mend} (quote it if it is text)") from None
    return documents[0].data if len(documents) == 1 else None
