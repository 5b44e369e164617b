"""Work on processes gives what it gives in one, tells how it gets on, and ends when asked to."""

from __future__ import annotations

import time
from typing import Any

import pytest

from training.executor import InProcess, OnCores, pick_executor


def double(task: int, tell: Any, stopped: Any) -> int:
    tell(task)
    while task == 99 and not stopped():
        time.sleep(0.01)
    if task < 0:
        raise ValueError("no such task")
    return 2 * task


def test_processes_give_what_one_process_gives_tell_it_and_end_when_asked_to():
    for executor in (InProcess(), OnCores(2)):
        told: list[int] = []
        assert sorted(executor.run(double, [1, 2, 3], told.append, lambda: False)) == [2, 4, 6]
        assert sorted(told) == [1, 2, 3]
    told = []
    assert 198 in list(OnCores(2).run(double, [99, 1, 2], told.append, lambda: 2 in told))
    with pytest.raises(ValueError, match="no such task"):
        list(OnCores(2).run(double, [-1, 99], told.append, lambda: False))
    assert isinstance(pick_executor(8, 1), InProcess)
