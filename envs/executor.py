"""Where independent pieces of work run: here one after the other, or in processes of their own. A seam for clusters.

A piece of work is a function at the top of a module and a task; both travel to a spawned process by pickle. It tells
how it gets on, and asks now and then whether it should end early. Kernels come from the on-disk cache, so a spawned
process is ready in a second or two.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol, Self

_POLL_S = 0.2  # how often the parent looks for messages and for an end
NOT_BEGUN = -1
_LATEST_S = 60.0  # for a message that was told before its work ended

Tell = Callable[[Any], None]
Stopped = Callable[[], bool]
Work = Callable[[Any, Tell, Stopped], Any]


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """What a piece of work may raise once it is asked to end."""


def never() -> bool:
    """A `Stopped` of work that nobody calls off."""
    return False


class Executor(Protocol):
    """Runs work(task, tell, stopped) once for every task and yields (task, what it gives back) as each ends.

    told gets, in the caller's process, whatever a piece of work tells. Once stopped() is true here it is true there
    too, and what has not begun does not begin. What work raises comes out, and so does Ctrl-C, after the others were
    told to end; then the executor is spent. Use it as a context manager: its processes stay for several runs.
    """

    def run(
        self, work: Work, tasks: Sequence[Any], told: Tell, stopped: Stopped = never
    ) -> Iterator[tuple[Any, Any]]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class InProcess:
    """One after the other, here. Ctrl-C and errors come out as they are."""

    def run(self, work: Work, tasks: Sequence[Any], told: Tell, stopped: Stopped = never) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            if stopped():
                return
            yield task, work(task, told, stopped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class OnCores:
    """Up to `workers` at once, each in a spawned process that ignores Ctrl-C and ends with its parent."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._messages, self._stop = context.Queue(), context.Event()
        self._pool = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start, initargs=(self._messages, self._stop)
        )

    def run(self, work: Work, tasks: Sequence[Any], told: Tell, stopped: Stopped = never) -> Iterator[tuple[Any, Any]]:
        waiting: dict[Future[Any], Any] = {}
        due = 0  # messages that are still on their way
        try:
            waiting = {self._pool.submit(_work, work, task): task for task in tasks}
            while waiting:
                done, _ = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                due -= self._pass_on(told)
                for future in done:
                    task = waiting.pop(future)
                    result, sent = future.result()
                    if sent != NOT_BEGUN:
                        due += sent
                        yield task, result
                if stopped() and not self._stop.is_set():
                    self._stop.set()
                    waiting = {future: task for future, task in waiting.items() if not future.cancel()}
            while due > 0:
                told(self._messages.get(timeout=_LATEST_S))
                due -= 1
        except BaseException:
            self._stop.set()
            for future in waiting:
                future.cancel()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _pass_on(self, told: Tell) -> int:
        """How many messages there were."""
        count = 0
        while True:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                return count
            told(message)
            count += 1


def pick_executor(workers: int | None, tasks: int) -> Executor:
    """`workers` processes, by default one a core, and no more than tasks; one alone needs no process of its own."""
    count = min(workers or available_cores(), tasks)
    return OnCores(count) if count > 1 else InProcess()


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def asked_to_stop(say: Callable[[], None] = lambda: None) -> Iterator[Stopped]:
    """Whether Ctrl-C was pressed; say() is called then. Pressed twice, it interrupts at once."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


_MESSAGES: Any = None  # set once in each worker, by its initializer
_STOP: Any = None
_PARENT = 0


def _start(messages: Any, stop: Any) -> None:
    global _MESSAGES, _STOP, _PARENT
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    messages.cancel_join_thread()  # a worker that is called off waits for nobody to hear its last words
    _MESSAGES, _STOP, _PARENT = messages, stop, os.getppid()


def _work(work: Work, task: Any) -> tuple[Any, int]:
    """What the work gives, and how many messages it told; NOT_BEGUN where it was called off before."""
    sent = 0

    def tell(message: Any) -> None:
        nonlocal sent
        sent += 1
        _MESSAGES.put(message)

    if _stopped():  # the pool hands tasks out ahead
        return None, NOT_BEGUN
    result = work(task, tell, _stopped)
    return result, sent


def _stopped() -> bool:
    """Called off, or the parent was killed."""
    return _STOP.is_set() or os.getppid() != _PARENT
