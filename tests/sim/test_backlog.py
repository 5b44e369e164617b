"""Queues and batches against a slow reference that moves small parcels of work one by one."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from envs.sim.backlog import META, batch_tick, cohorts_needed, queue_tick

DT = 15.0


def slow_queue(
    arrivals: list[float], rates: list[float], limit_s: float, parts: int = 600
) -> list[tuple[float, float]]:
    """(served, bad) per tick: each tick in `parts` steps, each step's arrivals one parcel."""
    queue: deque[list[float]] = deque()
    out = []
    for k, (items, rate) in enumerate(zip(arrivals, rates, strict=True)):
        served = bad = 0.0
        for j in range(parts):
            now = (k + (j + 0.5) / parts) * DT
            queue.append([now, items / parts])
            room = rate * DT / parts
            while queue and room > 1e-15:
                take = min(room, queue[0][1])
                bad += take if now - queue[0][0] > limit_s else 0.0
                served, room = served + take, room - take
                queue[0][1] -= take
                if queue[0][1] <= 1e-15:
                    queue.popleft()
        out.append((served, bad))
    return out


@pytest.mark.parametrize("limit_s", [5.0, 20.0, 60.0, 200.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_queue_serves_and_ages_like_the_slow_reference(limit_s: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    workers = [float(v) for v in np.repeat(rng.choice([0.0, 2.0, 4.0, 6.0], 12), 5)]
    arrivals = [float(v) for v in rng.gamma(2.0, 25.0, 60)]
    service_s = 1.0
    length = cohorts_needed(limit_s + service_s, DT)
    ring, meta, backlog = np.zeros((1, 1, length)), np.zeros((1, 1, META)), 0.0
    expected = slow_queue(arrivals, [n / service_s for n in workers], limit_s)
    for items, n, (served, bad) in zip(arrivals, workers, expected, strict=True):
        result = queue_tick(ring, meta, 0, 0, length, items, DT, n, 1.0, service_s, limit_s + service_s, 1.0)
        assert result[3] == pytest.approx(served, abs=0.5)
        assert result[1] == pytest.approx(bad, abs=0.03 * max(items, n * DT) + 0.5)
        assert items + backlog == pytest.approx(result[3] + result[4], abs=1e-6)
        assert result[0] + result[1] == pytest.approx(result[3], abs=1e-9)
        backlog = result[4]


def test_a_queue_with_enough_workers_is_never_late() -> None:
    ring, meta = np.zeros((1, 1, 6)), np.zeros((1, 1, META))
    for _ in range(20):
        good, bad, _, served, backlog, busy = queue_tick(ring, meta, 0, 0, 6, 30.0, DT, 4.0, 1.0, 1.0, 60.0, 1.0)
        assert (good, bad, served, backlog) == (30.0, 0.0, 30.0, 0.0)
        assert busy == pytest.approx(2.0)


def run_batches(workers: float, deadline_s: float) -> tuple[float, float]:
    """(served, bad) of one hour's 2,400 items of 1 s, ten ticks a minute apart, over three hours."""
    length = cohorts_needed(deadline_s, 3600.0)
    ring, meta = np.zeros((1, 1, length)), np.zeros((1, 1, META))
    served = bad = 0.0
    for k in range(720):
        items = 10.0 if 0 < k <= 240 else 0.0  # what comes in the tick of the release is part of it
        out = batch_tick(ring, meta, 0, 0, length, items, k * DT, DT, workers, 1.0, 1.0, deadline_s, 1.0)
        served, bad = served + out[3], bad + out[1]
    return served, bad


def test_a_batch_is_late_by_what_is_done_after_the_deadline() -> None:
    assert run_batches(4.0, 601.0) == pytest.approx((2400.0, 0.0))
    assert run_batches(2.0, 601.0) == pytest.approx((2400.0, 1200.0))  # 2 a second for 600 s are in time
    assert run_batches(1.0, 3601.0) == pytest.approx((2400.0, 0.0))
