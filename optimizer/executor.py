"""Where cells run: in this process, or on all cores in spawned ones. A seam for clusters of machines.

Kernels come from the on-disk cache, so a spawned process is ready in a second or two. Workers
ignore Ctrl-C: the parent hears it, tells them through an event, and they stop after the simulated
day that they are at, leaving nothing half done.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, Protocol

from optimizer.cell_run import Interrupted, Report, Task, run_cell

_POLL_S = 0.2  # how often the parent looks for progress and for Ctrl-C


class Executor(Protocol):
    """Runs every task once, in any order, and yields the index of each as it ends."""

    def run(self, tasks: Sequence[Task], report: Report) -> Iterator[int]: ...


class InProcess:
    """One after the other, here. Ctrl-C and errors come out as they are."""

    def run(self, tasks: Sequence[Task], report: Report) -> Iterator[int]:
        for task in tasks:
            yield run_cell(task, report)


class OnCores:
    """Up to `jobs` cells at once, each in a spawned process."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def run(self, tasks: Sequence[Task], report: Report) -> Iterator[int]:
        context = multiprocessing.get_context("spawn")
        days, stop = context.Queue(), context.Event()
        pool = ProcessPoolExecutor(self._jobs, mp_context=context, initializer=_start, initargs=(days, stop))
        try:
            waiting: set[Future[int]] = {pool.submit(_work, task) for task in tasks}
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                _drain(days, report)
                yield from sorted(future.result() for future in done)
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            _drain(days, report)


def pick_executor(jobs: int | None, tasks: int) -> Executor:
    """All usable cores, and no more processes than cells; one alone needs no process of its own."""
    count = min(jobs or available_cores(), tasks)
    return OnCores(count) if count > 1 else InProcess()


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _drain(days: Any, report: Report) -> None:
    while True:
        try:
            index, done = days.get_nowait()
        except queue.Empty:
            return
        report(index, done)


_DAYS: Any = None  # set once in each worker, by its initializer
_STOP: Any = None
_PARENT = 0


def _start(days: Any, stop: Any) -> None:
    global _DAYS, _STOP, _PARENT
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _DAYS, _STOP, _PARENT = days, stop, os.getppid()


def _work(task: Task) -> int:
    return run_cell(task, _tell)


def _tell(index: int, done: float) -> None:
    if _STOP.is_set() or os.getppid() != _PARENT:  # called off, or the parent was killed
        raise Interrupted
    _DAYS.put((index, done))
