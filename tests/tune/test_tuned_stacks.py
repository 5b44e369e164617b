"""The tuned stacks that ship: made by the command in their head, on the training suite as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.stack import Stack
from envs.stack_file import load_stack, stack_names, stack_path, tuned_names
from envs.suite import load_suite

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "stacks.md"


def test_the_main_incumbents_ship_tuned() -> None:
    main = ("hpa", "rps", "keda", "forecast", "business-hours", "static")
    assert {f"{name}-tuned" for name in main} <= set(tuned_names())


@pytest.mark.parametrize("name", tuned_names())
def test_a_tuned_stack_says_how_it_was_made_and_is_not_stale(name: str) -> None:
    head = [line for line in stack_path(name).read_text().splitlines() if line.startswith("#")]
    words = " ".join(head).split()
    base = words[words.index("--stack") + 1]
    assert base in set(stack_names()) - set(tuned_names())
    assert words[words.index("--scenarios") + 1] == "train"
    assert f"(digest {load_suite('train').digest})" in " ".join(head), "tune it again: the suite has changed"
    assert "SLOs missed" in " ".join(head)


@pytest.mark.parametrize("name", tuned_names())
def test_a_tuned_stack_is_its_base_with_other_settings(name: str) -> None:
    words = stack_path(name).read_text().split()
    tuned, base = load_stack(name), load_stack(words[words.index("--stack") + 1])
    assert isinstance(tuned, Stack)
    assert tuned.name == name
    assert type(tuned.replicas) is type(base.replicas)
    assert type(tuned.nodes) is type(base.nodes)
    assert not tuned.use_workload_hpa
    assert tuned.replicas != base.replicas
    assert f"`{name}`" in GUIDE.read_text(), "the guide lists it"
