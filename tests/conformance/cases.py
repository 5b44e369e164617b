"""One recorded case of an upstream component, and what an adapter says about it.

An adapter is `Case -> Result`: it builds the inputs of a simulator kernel from `case.input`, calls
that kernel (never a twin), and compares with `case.expected`. A rule outside the simulator's
model is `left_out(reason)`; an exception counts as failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

REL_TOL = 1e-9


@dataclass(frozen=True)
class Case:
    """topic: file or `topic` field. input and expected: as in the vectors; `record` is the whole line."""

    topic: str
    id: str
    source: str
    description: str
    input: Any
    expected: Any
    record: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """detail: why it failed or was left out; empty when passed."""

    status: Literal["passed", "failed", "left_out"]
    detail: str = ""


Adapter = Callable[[Case], Result]


def passed() -> Result:
    return Result("passed")


def failed(detail: str) -> Result:
    return Result("failed", detail)


def left_out(reason: str) -> Result:
    return Result("left_out", reason)


def same(want: Any, got: Any, rel: float = REL_TOL) -> bool:
    """Deep equality; numbers within relative tolerance `rel`, tuples as good as lists."""
    if isinstance(want, dict):
        return isinstance(got, dict) and want.keys() == got.keys() and all(same(want[k], got[k], rel) for k in want)
    if isinstance(want, list | tuple):
        if not isinstance(got, list | tuple) or len(want) != len(got):
            return False
        return all(same(a, b, rel) for a, b in zip(want, got, strict=True))
    if isinstance(want, bool) or want is None or isinstance(want, str):
        return bool(want == got)
    if isinstance(got, str) or got is None:
        return False
    return math.isclose(want, got, rel_tol=rel, abs_tol=1e-12)


def verdict(want: Any, got: Any) -> Result:
    """Passed when the same, else failed with both sides."""
    return passed() if same(want, got) else failed(f"expected {want!r}, got {got!r}")
