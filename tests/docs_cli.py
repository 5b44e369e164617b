"""The command-line reference as Markdown, read from the application itself."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import typer

from optimizer.cli import app

HEAD = """\
# Command line

Every command answers `--help`. Exit codes: 0 done; 2 bad input (one line on stderr that names the file, the
field, the value and the mend; nothing is written); 130 interrupted.
This page is written by `python -m tests.docs_fields`.
"""


def cli_page() -> str:
    """All commands with their arguments and options."""
    parts = [HEAD]
    for words, command in commands():
        parts.append(f"## {' '.join(words)}\n\n{_prose(command.help)}")
        rows = [_row(p, _choices(command)) for p in command.params if p.name != "help"]
        if rows:
            parts.append("| argument or option | default | meaning |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of every command that does something, groups left out."""
    yield from _walk(("trimtab",), typer.main.get_command(app))


def _walk(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
    for name, child in (below or {}).items():
        yield from _walk((*words, name), child)


def _prose(text: str) -> str:
    """Help text with its examples, indented or in bold, as code blocks."""
    lines: list[str] = []
    code = False
    for line in inspect.cleandoc(text).splitlines():
        plain = line.strip().replace("\\[", "[").replace("[bold]", "").replace("[/bold]", "")
        example = line.startswith("    ") or plain.startswith("trimtab ")
        if example != code:
            lines += ["```"] if code or not lines or not lines[-1] else ["", "```"]
            code = example
        lines.append(plain)
    text = "\n".join([*lines, "```"] if code else lines)
    return text.replace("\n\n```\n\n", "\n```\n\n")


def _choices(command: Any) -> dict[str, str]:
    """Values of the parameters that take one of a few."""
    hints = typing.get_type_hints(command.callback)
    return {
        name: ", ".join(f"`{value}`" for value in typing.get_args(hint))
        for name, hint in hints.items()
        if typing.get_origin(hint) is typing.Literal
    }


def _row(param: Any, choices: dict[str, str]) -> str:
    argument = param.param_type_name == "argument"
    name = str(param.metavar or param.name.upper()).strip("{}") if argument else _option(param)
    meaning = _cell(param.help or "")
    if param.name in choices:
        meaning += f" One of {choices[param.name]}."
    if getattr(param, "multiple", False):
        meaning += " May be given several times."
    return f"| `{name}` | {_default(param)} | {meaning} |"


def _option(param: Any) -> str:
    if param.is_flag:
        return " / ".join([*param.opts, *param.secondary_opts])
    return f"{param.opts[0]} {param.metavar or 'VALUE'}"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.default in (None, "", False) or callable(param.default):
        return ""
    if param.default is True:
        return f"`{param.opts[0]}`"
    return f"`{param.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
