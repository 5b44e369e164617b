"""Compile every kernel that a what-if needs, once, with progress: `trimtab setup`."""

from __future__ import annotations

import sys
import time

from numba.core import event

from envs.sim.jit import cache_dir

KERNELS = 240  # how many there are, about: only the progress bar's length depends on it


class _Progress(event.Listener):  # type: ignore[misc]
    """Counts finished compilations; rewrites one line on a terminal, prints a few lines elsewhere."""

    def __init__(self) -> None:
        self.done = 0
        self.began = time.monotonic()

    def on_start(self, event: object) -> None:
        """Nothing to show yet."""

    def on_end(self, event: object) -> None:
        self.done += 1
        total = max(KERNELS, self.done)
        if sys.stderr.isatty():
            bar = "#" * (30 * self.done // total)
            line = f"\rcompiling kernels [{bar:<30}] {self.done} done, {time.monotonic() - self.began:.0f} s "
            print(line, end="", file=sys.stderr, flush=True)
        elif self.done % 40 == 0:
            print(f"compiling kernels: {self.done} of about {total}", file=sys.stderr, flush=True)


def compile_kernels() -> float:
    """Compile into the cache (a no-op of a second when it is there already); seconds taken."""
    progress = _Progress()
    began = time.monotonic()
    event.register("numba:compile", progress)
    try:
        _exercise()
    finally:
        event.unregister("numba:compile", progress)
    seconds = time.monotonic() - began
    end = "\n" if sys.stderr.isatty() and progress.done else ""
    print(f"{end}kernels ready in {seconds:.0f} s ({progress.done} compiled), cached in {cache_dir()}", file=sys.stderr)
    return seconds


def _exercise() -> None:
    """Run the toy scenario for a few minutes: every kernel is reached at compile time, whatever happens in it."""
    from envs.rollout import rollout
    from envs.scenario_file import load_scenario
    from envs.stack_file import load_stack

    rollout(load_scenario("toy"), load_stack("hpa-default"), 0, days=0.01)
