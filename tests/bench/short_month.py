"""`python -m tests.bench.short_month`: processor time of a few days of the frozen month, stack by stack.

For work on the kernels: it takes seconds where the month takes minutes, other programs on the machine disturb it
little, and two versions that print the same digest left the same cluster and bill behind, bit by bit.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from typing import Any

import numpy as np

from envs.demand import Demand
from envs.rollout import case_of
from envs.scenario_file import load_scenario
from envs.sim.cluster_sim import ClusterSim
from envs.stack_file import load_stack

CHUNK = 960  # ticks for which arrivals are made at once
# not the working memory of the kernels, which a quicker one may lay out anew
BOOKS = ("nodes", "pods", "flow", "clock", "money", "rng")
UNCOUNTED = ("pods_version", "changed", "changed_on")  # nor what says whether such a memory still holds


def digest(arrays: Any) -> str:
    """Hash of the cluster and its bill: BOOKS of a simulation's arrays, array by array."""
    found = hashlib.sha256()
    for book in BOOKS:
        part = getattr(arrays, book)
        for name, array in zip(getattr(part, "_fields", range(len(part))), part, strict=True):
            if name not in UNCOUNTED:
                found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def measure(stack: str, days: float) -> tuple[float, str]:
    """CPU seconds of the ticks of the first `days` after warm-up, arrivals made beforehand, and the state's digest."""
    scenario = load_scenario("bench")
    demand = Demand.pack([scenario], [1])
    sim = ClusterSim([case_of(scenario, load_stack(stack), 1, demand)])
    sim.run(demand.arrivals(-sim.warmup_ticks, sim.warmup_ticks), threads=1)
    left, spent_s = round(days * 86400.0 / scenario.tick_s), 0.0
    while left > 0:
        arrivals = demand.arrivals(sim.tick, min(CHUNK, left))
        began = time.process_time()
        sim.run(arrivals, threads=1)
        spent_s += time.process_time() - began
        left -= arrivals.shape[1]
    return spent_s, digest(sim.arrays)


def main() -> None:
    """Measure the stacks one after the other and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.short_month", description=__doc__)
    parser.add_argument("--days", type=float, default=2.0, help="simulated days after warm-up (default: 2)")
    parser.add_argument("--stacks", default="hpa-default,karpenter", help="stacks (default: hpa-default,karpenter)")
    options = parser.parse_args()
    for stack in options.stacks.split(","):
        spent_s, state = measure(stack, options.days)
        print(f"{stack:20s} {spent_s:8.2f} CPU-s  {spent_s / options.days:8.2f} a day  state {state}", flush=True)


if __name__ == "__main__":
    main()
