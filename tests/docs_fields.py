"""Write the reference pages from the code: `python -m tests.docs_fields` (`--check`: only say what is stale).

Fields come from the JSON Schemas that editors get, commands from the application.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from envs import schema_types
from envs.scenario_file import scenario_schema
from envs.stack_file import stack_schema
from tests.docs_cli import cli_page

DOCS = Path(__file__).resolve().parent.parent / "docs"
Schema = dict[str, Any]
QUANTITIES = {
    "Cpu": "CPU",
    "Memory": "memory",
    "Duration": "duration",
    "Share": "share",
    "Percent": "percent",
    "Rate": "rate",
    "UsdPerHour": "price",
    "Usd": "money",
    "Count": "whole number",
}
SIGNS = {"minimum": "≥", "ge": "≥", "exclusiveMinimum": ">", "gt": ">"}
SIGNS |= {"maximum": "≤", "le": "≤", "exclusiveMaximum": "<", "lt": "<"}
UNITS = """\
| kind | a plain number is | as text |
|---|---|---|
| CPU | cores | `"250m"`, `"1.5"` |
| memory | bytes | `"512Mi"`, `"1.5Gi"` |
| duration | seconds | `90s`, `5m`, `1h30m`, `100ms` |
| share | 0 to 1 | `70%` |
| percent | percent | `80%` |
| rate | requests per second | `120rps` |
| price | USD per hour | `$0.19/h` |
"""
SCENARIO = """\
# Scenario fields

Every key of a scenario file; [the guide](../guides/scenario.md) explains how they work together. An unknown
key is an error that names the nearest right one. `trimtab scenario schema --out scenario.schema.json` writes
the same as a JSON Schema, for completion in your editor. This page is written by `python -m tests.docs_fields`.
"""
STACK = """\
# Stack fields

Every key of a stack file; [the guide](../guides/stacks.md) has examples. What is left out has the default of the real
component. The keys of `replicas` are also those of a workload's own `hpa` in a scenario.
This page is written by `python -m tests.docs_fields`.
"""


def scenario_page() -> str:
    """Fields of a scenario file. Defaults of sections are the same fields again, so they are left out."""
    schema = scenario_schema()
    parts = {k: v for k, v in schema["$defs"].items() if not k.endswith("Defaults")}
    return _page(SCENARIO, {"Scenario": schema, **parts})


def stack_page() -> str:
    """Fields of a stack file."""
    schema = stack_schema()
    return _page(STACK, {"Stack": schema, **schema["$defs"]})


PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli_page,
    "reference/scenario.md": scenario_page,
    "reference/stack.md": stack_page,
}


def stale() -> list[str]:
    """Pages that differ from what the code says."""
    return [name for name, page in PAGES.items() if not _same(DOCS / name, page())]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _page(head: str, sections: dict[str, Schema]) -> str:
    ordered = sorted(sections, key=lambda name: _depth(name, sections))
    tables = [_section(name, sections[name]) for name in ordered]
    return "\n".join([head, UNITS, *tables]).rstrip() + "\n"


def _depth(name: str, sections: dict[str, Schema]) -> int:
    """Place of a section: the file itself first, then in the order in which sections are first named."""
    order = [next(iter(sections))]
    for known in order:
        named = json.dumps(sections[known].get("properties", {})).split('"#/$defs/')[1:]
        order += [n for n in dict.fromkeys(text.split('"')[0] for text in named) if n in sections and n not in order]
    return order.index(name) if name in order else len(order)


def _section(name: str, schema: Schema) -> str:
    about = " ".join(schema.get("description", "").split()) if "$defs" not in schema else ""
    rows = [
        f"| `{key}` | {_kind(field)} | {_default(field, key in schema.get('required', ()))} | {_text(field)} |"
        for key, field in schema["properties"].items()
    ]
    table = "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])
    return "\n\n".join(filter(None, [f"## {_title(name)}", about, table])) + "\n"


def _title(name: str) -> str:
    return name.removesuffix("Doc").removesuffix("Model")


def _text(field: Schema) -> str:
    return " ".join(field.get("description", "").split()).replace("|", "\\|")


def _quantity_names() -> dict[str, str]:
    """Examples of a quantity's schema, as text -> what the quantity is called."""
    found = {}
    for name, word in QUANTITIES.items():
        examples = get_args(getattr(schema_types, name))[2].json_schema["examples"]
        found[json.dumps(examples)] = word
    return found


_BY_EXAMPLES = _quantity_names()


def _kind(field: Schema) -> str:
    word = _BY_EXAMPLES.get(json.dumps(field.get("examples")))
    if word:
        return word + _bounds(field)
    if "$ref" in field:
        return _link(field["$ref"])
    if "anyOf" in field or "oneOf" in field:
        options = [o for o in field.get("anyOf", field.get("oneOf", [])) if o.get("type") != "null"]
        return " or ".join(dict.fromkeys(_kind(option) for option in options))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{_plain(v)}`" for v in field.get("enum", [field.get("const")]))
    return _simple(field)


def _simple(field: Schema) -> str:
    kind = field.get("type")
    if kind == "array":
        return f"list of {_kind(field.get('items', {}))}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {_kind(field['additionalProperties'])}"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    return words.get(str(kind), "mapping") + (_bounds(field) if kind in ("integer", "number") else "")


def _bounds(field: Schema) -> str:
    found = [f"{sign} {_plain(field[key])}" for key, sign in SIGNS.items() if key in field]
    return f" ({', '.join(found)})" if found else ""


def _link(ref: str) -> str:
    title = _title(ref.rsplit("/", 1)[1])
    return f"[{title}](#{title.lower()})"


def _default(field: Schema, required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    if value is None or value in ("", {}, []) or isinstance(value, dict) or _long(value):
        return ""
    return f"`{_plain(value)}`"


def _long(value: object) -> bool:
    return len(_plain(value)) > 40


def _plain(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, float | int):
        return value if isinstance(value, str) else json.dumps(value)
    return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"


def main() -> int:
    """Write the pages, or with --check name the stale ones and fail."""
    old = stale()
    for name in old:
        if "--check" in sys.argv[1:]:
            print(f"docs/{name} is stale; run: python -m tests.docs_fields")
            continue
        (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}")
    return 1 if old and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
