"""A seeded campaign: so many mutated inputs, each either read or refused with an InputError, none slowly."""

from __future__ import annotations

import random
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from envs.errors import InputError
from tests.fuzz.targets import Target, targets

SLOW_S = 5.0  # no input of 64 KiB may take longer


@dataclass
class Result:
    """Counts by target, and what broke."""

    read: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.read.values()) + sum(self.refused.values()) + len(self.broken)


def run(n: int, *, seed: int = 0, only: str = "", keep: Path | None = None) -> Result:
    """Try n inputs. `keep`: a folder for the inputs that broke something."""
    result = Result()
    start, cpu = time.perf_counter(), time.process_time()
    chosen = [target for target in targets() if only in ("", target.name)]
    whole = sum(target.share for target in chosen)
    with tempfile.TemporaryDirectory() as folder:
        for target in chosen:
            for i in range(round(n * target.share / whole)):
                _try(target, i, seed, (Path(folder), keep), result)
    result.wall_s, result.cpu_s = time.perf_counter() - start, time.process_time() - cpu
    return result


def _try(target: Target, i: int, seed: int, folders: tuple[Path, Path | None], result: Result) -> None:
    data = target.mutate(i, random.Random(f"{seed}/{target.name}/{i}"))
    start = time.perf_counter()
    try:
        target.load(data, folders[0])
        result.read[target.name] = result.read.get(target.name, 0) + 1
    except InputError as error:
        result.refused[target.name] = result.refused.get(target.name, 0) + 1
        if "\n" in str(error) or not error.mend:
            _report(f"{target.name} {i}: message is not one line with a mend: {error!r}", data, folders[1], result)
    except Exception:
        _report(f"{target.name} {i}:\n{traceback.format_exc()}", data, folders[1], result)
    took = time.perf_counter() - start
    result.slowest_s = max(result.slowest_s, took)
    if took > SLOW_S:
        _report(f"{target.name} {i}: took {took:.1f} s", data, folders[1], result)


def _report(what: str, data: bytes, keep: Path | None, result: Result) -> None:
    result.broken.append(what)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{len(result.broken):04}.bin").write_bytes(data)
