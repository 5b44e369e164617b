"""Work on processes gives what it gives in one, tells how it gets on, and ends when asked to."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from envs.executor import InProcess, Interrupted, OnCores, asked_to_stop, pick_executor

LATER = range(3, 90)


def double(task: int, tell: Any, stopped: Any) -> int:
    tell(task)
    if task in LATER:
        time.sleep(0.05)  # time for a process that starts slowly to take its first task
    while task == 99 and not stopped():
        time.sleep(0.01)
    if task == 99:
        tell(-99)
    if task < 0:
        raise ValueError("no such task")
    return 2 * task


def chatter(task: int, tell: Any, stopped: Any) -> None:
    """Says more than a pipe holds, and goes on until it is called off."""
    while not stopped():
        tell("x" * 10_000)
    raise Interrupted


def test_processes_give_what_one_process_gives_and_tell_all_before_they_end():
    with OnCores(2) as cores:
        for executor in (InProcess(), cores, cores):
            told: list[int] = []
            assert sorted(executor.run(double, [1, 2, 3], told.append)) == [(1, 2), (2, 4), (3, 6)]
            assert sorted(told) == [1, 2, 3]


def test_called_off_what_is_in_work_ends_early_and_is_given_back():
    told: list[int] = []
    with OnCores(2) as cores:
        ended = dict(cores.run(double, [99, 1, 2, *LATER], told.append, lambda: {2, 99} <= set(told)))
    assert ended[99] == 198
    assert -99 in told, "its last message came before the end of the run"
    assert len(ended) < 91, "what had not begun did not begin"


def test_an_error_comes_out_after_the_others_were_told_to_end():
    with OnCores(2) as cores, pytest.raises(ValueError, match="no such task"):
        list(cores.run(double, [-1, 99], lambda message: None))


def test_ctrl_c_waits_for_nobody_who_still_talks():
    def heard(message: str) -> None:
        raise KeyboardInterrupt

    with OnCores(2) as cores, pytest.raises(KeyboardInterrupt):
        list(cores.run(chatter, [1, 2], heard))


def test_one_piece_of_work_needs_no_process_of_its_own():
    assert isinstance(pick_executor(8, 1), InProcess)
    assert isinstance(pick_executor(8, 0), InProcess)


def test_the_first_ctrl_c_asks_and_the_second_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        said: list[str] = []
        with asked_to_stop(lambda: said.append("stopping")) as stop:
            assert not stop()
            os.kill(os.getpid(), signal.SIGINT)
            assert stop()
            assert said == ["stopping"]
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
