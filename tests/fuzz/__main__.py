"""`python -m tests.fuzz --n 20000 [--seed S] [--only scenario] [--keep DIR]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.campaign import run


def main() -> int:
    """Exit code 1 when anything but an InputError came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--n", type=int, default=20_000, help="number of mutated inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="one target, such as scenario or trace")
    parser.add_argument("--keep", type=Path, help="folder for inputs that broke something")
    given = parser.parse_args()
    result = run(given.n, seed=given.seed, only=given.only, keep=given.keep)
    for what in result.broken[:20]:
        print(what, file=sys.stderr)
    for name in sorted({*result.read, *result.refused}):
        print(f"{name:10} read {result.read.get(name, 0):6}  refused {result.refused.get(name, 0):6}")
    print(
        f"{result.total} inputs in {result.wall_s:.1f} s ({result.cpu_s:.1f} s of CPU), "
        f"slowest {result.slowest_s:.2f} s, {len(result.broken)} unhandled"
    )
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
