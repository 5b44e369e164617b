"""What the documentation says exists: links, commands, options, modules, files; and the reference pages are fresh."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from optimizer.cli import app
from tests.docs_fields import stale

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PLACEHOLDER = re.compile(r"\[--|\.\.\.|…")
FOLDERS = ("envs", "policies", "training", "optimizer", "tests", "docs", "notebooks")

each_text = pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def snippets(path: Path) -> list[str]:
    """Lines of code blocks, without the prompt, and inline code."""
    blocks = [body for kind, body in FENCE.findall(path.read_text(encoding="utf-8")) if kind in ("", "console")]
    lines = [line.removeprefix("$ ").strip() for body in blocks for line in body.splitlines()]
    return lines + INLINE.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """Fragments of a page's headings, as the site and GitHub write them."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()).strip() for head in heads]
    return {re.sub(r"\s+", "-", head) for head in plain}


@each_text
def test_links_resolve(path: Path) -> None:
    for link in LINK.findall(INLINE.sub("", prose(path))):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, fragment = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link}: no such file"
        if fragment:
            assert fragment in anchors(target), f"{link}: no such heading"
        inside = DOCS in path.parents
        assert not inside or DOCS in target.parents, f"{link}: leaves docs/, so the site cannot follow it"


def test_every_page_is_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(leaves(nav)) == [str(page.relative_to(DOCS)) for page in PAGES]


def leaves(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, dict) else node
    return [leaf for child in children for leaf in leaves(child)]


@each_text
def test_make_targets_exist(path: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for text in snippets(path):
        if re.match(r"make [a-z]+\b", text):
            assert text.split()[1] in targets, text


def test_the_readme_shows_every_make_target_that_it_lists() -> None:
    said = set(re.findall(r"^\| `make (\w+)`", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert said == {"demo", "test", "check", "bench", "docs"}


def commands(path: Path) -> list[list[str]]:
    """Words of each `trimtab ...` that is no sketch."""
    found = [text for text in snippets(path) if text.startswith("trimtab ") and not PLACEHOLDER.search(text)]
    return [shlex.split(text, comments=True)[1:] for text in found]


@each_text
def test_commands_parse(path: Path) -> None:
    root = typer.main.get_command(app)
    for words in commands(path):
        command, rest = root, list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
        assert command is not root or rest[0].startswith("--"), f"trimtab {' '.join(words)}: no such command"
        known = {name for param in command.params for name in [*param.opts, *param.secondary_opts]} | {"--help"}
        for word in rest:
            if word.startswith("--"):
                assert word.split("=")[0] in known, f"trimtab {' '.join(words)}: no option {word}"


@each_text
def test_complete_examples_are_accepted(path: Path) -> None:
    """Those with a scenario or a file parse to the last word; stacks they name exist."""
    root = typer.main.get_command(app)
    stacks = {stack.stem for stack in (ROOT / "envs" / "stacks").glob("*.yaml")}
    for words in commands(path):
        if words[0] != "whatif" or len(words) < 2:
            continue
        context = root.commands["whatif"].make_context("whatif", words[1:])  # type: ignore[attr-defined]
        named = {name for name in context.params["stacks"].split(",") if name and not name.endswith(".yaml")}
        assert named <= stacks, f"no such stack: {named - stacks}"


def test_the_readme_quotes_the_conformance_table() -> None:
    rows = re.findall(r"^\| (\w+?)_\w+ \| (\d+) \| (\d+) \|", (DOCS / "conformance.md").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in ("hpa", "ks", "ca", "karpenter"):
        passed = sum(int(row[1]) for row in rows if row[0] == kind)
        judged = sum(int(row[2]) for row in rows if row[0] == kind)
        assert f"{passed:,} of {judged:,}" in readme, kind


@each_text
def test_modules_exist(path: Path) -> None:
    for text in snippets(path):
        for name in re.findall(r"\bpython -m ([\w.]+)", text):
            assert importlib.util.find_spec(name), f"python -m {name}"


@each_text
def test_named_files_exist(path: Path) -> None:
    for text in INLINE.findall(prose(path)):
        if re.fullmatch(rf"({'|'.join(FOLDERS)})/[a-z0-9_./-]+", text):
            assert (ROOT / text).exists(), text


def test_reference_pages_are_fresh() -> None:
    assert stale() == [], "run: python -m tests.docs_fields"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_code_without_output(path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            imports = [n for n in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(n, ast.ImportFrom)]
            assert all(importlib.util.find_spec(str(node.module)) for node in imports)
