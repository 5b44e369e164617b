"""What a what-if is given: scenarios by name, file or object, varied; stacks by name, file or object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from envs.errors import InputError
from envs.scenario import Scenario
from envs.stack import Stack
from optimizer.grid import Override


def load_variations(
    scenario: str | Path | Scenario, stacks: Sequence[str | Stack] | None, vary: Sequence[str]
) -> list[tuple[Scenario, tuple[Override, ...]]]:
    """Every variation of the scenario, with the stacks to run on it in `.stacks`.

    A --vary that reaches into stacks changes them, so each variation carries its own.
    """
    if isinstance(scenario, Scenario):
        return [(_with_stacks(scenario, stacks), ())] if not vary else _refuse_vary(vary)
    from envs.scenario_file import load_scenario
    from envs.vary import expand

    named = [_from_here(stack) for stack in stacks or () if isinstance(stack, str)]
    given = [stack for stack in stacks or () if isinstance(stack, Stack)]
    out = []
    for overrides in expand(vary):
        loaded = load_scenario(scenario, overrides=overrides, stacks=named)
        if given:
            loaded = replace(loaded, stacks=((*loaded.stacks, *given) if named else tuple(given)))
        out.append((_with_stacks(loaded, None), tuple(overrides)))
    return out


def _with_stacks(scenario: Scenario, stacks: Sequence[str | Stack] | None) -> Scenario:
    if stacks:
        scenario = replace(scenario, stacks=tuple(_stack(stack) for stack in stacks))
    if not scenario.stacks:
        raise InputError(scenario.source, "stacks", None, "none given; name some with --stacks, such as hpa-default")
    names = [stack.name for stack in scenario.stacks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(scenario.source, "--stacks", twice, "is given twice; name each stack once")
    return scenario


def _from_here(stack: str) -> str:
    """A stack's name, or the path of its file: one that a user types starts where they stand, not at the scenario."""
    from envs.stack_file import stack_path

    if stack.endswith((".yaml", ".yml", ".json")) or "/" in stack:
        return str(Path(stack).absolute())
    try:
        stack_path(stack)
    except InputError as error:
        raise InputError(None, "--stacks", stack, error.mend) from None
    return stack


def _stack(stack: str | Stack) -> Stack:
    if isinstance(stack, Stack):
        return stack
    from envs.stack_file import load_stack

    return load_stack(stack)


def _refuse_vary(vary: Sequence[str]) -> list[tuple[Scenario, tuple[Override, ...]]]:
    raise InputError(None, "vary", vary[0], "needs a scenario's name or file; vary a Scenario object with replace()")
