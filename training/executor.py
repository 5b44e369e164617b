"""Where independent pieces of work run: here one after the other, or in processes of their own. A seam for clusters.

A piece of work is a function of this package and a task that can be pickled. It tells how it gets on, and asks now
and then whether it should end early.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, Protocol

_POLL_S = 0.2  # how often the parent looks for messages and for an end

Tell = Callable[[Any], None]
Stopped = Callable[[], bool]
Work = Callable[[Any, Tell, Stopped], Any]


class Executor(Protocol):
    """Runs work(task, tell, stopped) once for every task, in any order, and yields what each gives back.

    told gets, in the caller's process, whatever a piece of work tells. Once stopped() is true here it is true there
    too, and what has not begun does not begin. What work raises comes out, after the others were told to end.
    """

    def run(self, work: Work, tasks: Sequence[Any], told: Tell, stopped: Stopped) -> Iterator[Any]: ...


class InProcess:
    """One after the other, here."""

    def run(self, work: Work, tasks: Sequence[Any], told: Tell, stopped: Stopped) -> Iterator[Any]:
        for task in tasks:
            if stopped():
                return
            yield work(task, told, stopped)


class OnCores:
    """Up to `workers` at once, each in a spawned process that ignores Ctrl-C and ends with its parent."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, work: Work, tasks: Sequence[Any], told: Tell, stopped: Stopped) -> Iterator[Any]:
        context = multiprocessing.get_context("spawn")
        messages, stop = context.Queue(), context.Event()
        pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_start, initargs=(messages, stop))
        try:
            waiting: set[Future[Any]] = {pool.submit(_work, work, task) for task in tasks}
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                _drain(messages, told)
                yield from (future.result() for future in done)
                if stopped() and not stop.is_set():
                    stop.set()
                    waiting = {future for future in waiting if not future.cancel()}
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            _drain(messages, told)


def pick_executor(workers: int | None, tasks: int) -> Executor:
    """`workers` processes, by default one a core, and no more than tasks; one alone needs no process of its own."""
    count = min(workers or available_cores(), tasks)
    return OnCores(count) if count > 1 else InProcess()


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _drain(messages: Any, told: Tell) -> None:
    while True:
        try:
            told(messages.get_nowait())
        except queue.Empty:
            return


_MESSAGES: Any = None  # set once in each worker, by its initializer
_STOP: Any = None
_PARENT = 0


def _start(messages: Any, stop: Any) -> None:
    global _MESSAGES, _STOP, _PARENT
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _MESSAGES, _STOP, _PARENT = messages, stop, os.getppid()


def _work(work: Work, task: Any) -> Any:
    return work(task, _MESSAGES.put, _stopped)


def _stopped() -> bool:
    """Called off, or the parent was killed."""
    return _STOP.is_set() or os.getppid() != _PARENT
