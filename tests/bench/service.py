"""What a tick of one service costs: 2,560 services of the kinds of `webshop` through 64 ticks, with their backlog."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from envs.sim.jit import kernel
from envs.sim.queue_memory import KNOWN
from envs.sim.queueing import load_tables
from envs.sim.service import known_tick
from envs.sim.view import View

KINDS = np.array(  # slots, service time s, CV, threshold s, balancing; of `webshop`
    [
        (6, 0.09, 0.6, 0.6, 0), (8, 0.14, 0.8, 1.2, 1), (8, 0.04, 0.5, 0.22, 0), (4, 0.05, 0.6, 0.4, 0),
        (6, 0.22, 0.9, 3.0, 0), (12, 0.45, 0.7, 4.0, 0), (4, 0.18, 1.0, 2.5, 0), (4, 0.025, 0.4, 0.12, 0),
        (4, 0.07, 0.8, 0.8, 0), (4, 0.12, 0.3, 0.5, 0),
    ]
)  # fmt: skip
SERVICES, TICKS = 2560, 64


class Services(NamedTuple):
    """What the kernel reads and keeps; behind one View, as in the simulator."""

    tables: Any
    known: Any  # (N, KNOWN)
    backlog: Any  # (N,)
    kind: Any  # (N, 5)
    replicas: Any  # (N,)


@kernel
def play(s: Any, arrivals: Any) -> float:
    """Requests that were bad, over all services and ticks; arrivals (T, N)."""
    bad = 0.0
    for t in range(arrivals.shape[0]):
        for i in range(arrivals.shape[1]):
            k = s.kind[i]
            result = known_tick(
                s.tables, s.known[i], arrivals[t, i], 15.0, s.replicas[i], k[0], k[1], k[2], k[3], 30.0, int(k[4]), 1.0,
                s.backlog[i],
            )  # fmt: skip
            bad += result[1]
            s.backlog[i] = result[4]
    return bad


def nanoseconds(low: float, high: float) -> float:
    """Processor time of one service tick, at utilisations from low to high that move by 3 % a tick; best of five."""
    random = np.random.default_rng(1)
    kind, replicas = KINDS[np.arange(SERVICES) % len(KINDS)], random.integers(2, 25, SERVICES).astype(float)
    load = random.uniform(low, high, SERVICES) * random.normal(1.0, 0.03, (TICKS, SERVICES))
    arrivals = load * replicas * kind[:, 0] / kind[:, 1] * 15.0
    view = View(Services(load_tables(), np.zeros((SERVICES, KNOWN)), np.zeros(SERVICES), kind, replicas))
    play(view, arrivals[:1])
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        play(view, arrivals)
        best = min(best, time.process_time() - began)
    return 1e9 * best / arrivals.size
