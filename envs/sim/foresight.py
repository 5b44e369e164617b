"""The cheapest tick of a service: a lower bound over every replica count and every backlog it may meet.

A policy's dollars and bad requests add up over ticks, but its backlog ties the ticks together. A price on
each request that waits cuts the tie: with y waiting before a tick and y' after it,

    sum of cost = sum of [r dt + price bad + wait (y' - y)] + wait (first y - last y),

so the least of the bracket over all r replicas and all y, tick by tick, bounds what any policy pays. At
wait 0 that is the tick at zero backlog, which forgets what it left for the next one; a wait that is a little
dearer than serving a request makes leaving it behind no bargain. Every wait is valid; the caller takes the best.

The least is over continua, so it is taken over boxes of replicas x waiting, each at its most favourable
corners. What that rests on (tests/sim/test_foresight.py): the bad share of those who leave does not fall with
waiting or load and does not rise with replicas, and nobody is served beyond capacity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.sim.jit import allocating_kernel, kernel
from envs.sim.queue_memory import KNOWN
from envs.sim.service import known_tick

WAITING = 64  # nodes of waiting: none, then from FIRST_WAITING of the load on, each STEP_WAITING more
FIRST_WAITING, STEP_WAITING = 1e-3, 1.6
WORST = 0.6  # bad shares above it are not told apart
VOID = -1e15
STEP_BEYOND = 1.3  # replicas beyond the last given node, up to `most`


@kernel
def _fill_leavers(
    tables: Any, known: Any, arrivals: float, scale: float, dt_s: float, replicas: float, slots: float,
    service_s: float, cv: float, threshold_s: float, timeout_s: float, balancing: int, speed: float, bad: Any,
    left: Any,
) -> int:  # fmt: skip
    """Bad share and number of those who leave, at each node of waiting until the share is WORST; how many nodes."""
    waiting = 0.0
    for k in range(WAITING):
        good, lost, _out, served, _rest, _busy = known_tick(
            tables, known, arrivals, dt_s, replicas, slots, service_s, cv, threshold_s, timeout_s, balancing, speed,
            waiting,
        )  # fmt: skip
        left[k] = good + lost
        bad[k] = lost / left[k] if served > 0.0 else 1.0
        if arrivals + waiting == 0.0:
            bad[k] = 0.0
        if bad[k] >= WORST:
            return k + 1
        waiting = scale * FIRST_WAITING if k == 0 else waiting * STEP_WAITING
    return WAITING


@kernel
def _bound_leavers(
    arrivals: float, scale: float, low: float, high: float, room: float, n: int, left: Any, n_before: int,
    before: Any, most: Any, least: Any,
) -> None:  # fmt: skip
    """How many leave in a box of low to high replicas: at most most[k] from node k of waiting to the next, at least
    least[k] from node k on. left, before: at its upper and lower end of replicas, n and n_before nodes known.

    room: requests that one replica keeps waiting before they time out. Of those who leave, the served grow with
    replicas and the timed out shrink as the room for waiting grows, so a box is held by its corners up to what the
    room may move in it; below one replica the room jumps (at none it is what is young enough), so nothing holds.
    """
    end = scale * FIRST_WAITING
    for k in range(n):
        drift = (high - low) * max(room, arrivals + end) if low >= 1.0 else np.inf
        least[k] = max(min(left[k], before[k]) - drift, 0.0) if k < n_before else 0.0
        most[k] = arrivals + end if k + 1 < WAITING else np.inf
        if k + 1 < n and k + 1 < n_before:
            slack = 0.0 if low >= 1.0 and end <= low * room else drift
            most[k] = min(most[k], max(left[k + 1], before[k + 1]) + slack)
        end *= STEP_WAITING


@kernel
def _least_bad(arrivals: float, share: float, carried: float, n: int, bad: Any, most: Any, least: Any) -> float:
    """Least of bad + share (y' - y) = share x arrivals - (share - s) L, with L leaving at bad share s, over a box.

    carried: most that its replicas serve; with s below share all but that share of L were served.
    """
    out = np.inf
    limit = carried / (1.0 - share)
    for k in range(n):
        if bad[k] >= share:
            return min(out, share * arrivals + (bad[k] - share) * least[k])
        out = min(out, share * arrivals - (share - bad[k]) * min(most[k], limit))
    return out


@allocating_kernel
def least_costs(
    tables: Any, loads: Any, scales: Any, replicas: Any, waits: Any, prices: Any, idle_bad: float, top: float,
    dt_s: float, slots: float, service_s: float, cv: float, threshold_s: float, timeout_s: float, balancing: int,
    speed: float, out: Any,
) -> None:  # fmt: skip
    """out (L, Q, E): least of replica-seconds + price x bad + (wait + idle_bad x price) (y' - y) in one tick.

    loads (L,): requests in the tick; what holds for one holds for any larger one. scales (L,): load, or a small
    positive number where it is 0. replicas (N,): nodes from 0 up, in units of the replicas that scales keeps busy;
    beyond the last they go up to `top`. prices (E,): replica-seconds per bad request; waits (Q,): per waiting one.
    idle_bad: share that is bad whatever happens. Where a wait is above WORST of its price, VOID.
    """
    bad, left, before = np.empty(WAITING), np.empty(WAITING), np.empty(WAITING)
    most, least, known = np.empty(WAITING), np.empty(WAITING), np.zeros(KNOWN)
    per_replica = slots * speed / service_s  # requests/s
    for i in range(loads.shape[0]):
        arrivals, scale = loads[i], scales[i]
        out[i] = np.inf
        low, j = 0.0, 1
        n_before = _fill_leavers(
            tables, known, arrivals, scale, dt_s, low, slots, service_s, cv, threshold_s, timeout_s, balancing,
            speed, bad, before,
        )  # fmt: skip
        while low < top:
            high = scale / (per_replica * dt_s) * replicas[j] if j < replicas.shape[0] else low * STEP_BEYOND
            high = min(high, top)
            n = _fill_leavers(
                tables, known, arrivals, scale, dt_s, high, slots, service_s, cv, threshold_s, timeout_s, balancing,
                speed, bad, left,
            )  # fmt: skip
            room, carried = per_replica * timeout_s, high * per_replica * dt_s
            _bound_leavers(arrivals, scale, low, high, room, n, left, n_before, before, most, least)
            for q in range(waits.shape[0]):
                for e in range(prices.shape[0]):
                    share = waits[q] / prices[e] + idle_bad
                    cost = VOID
                    if share <= WORST:
                        cost = low * dt_s + prices[e] * _least_bad(arrivals, share, carried, n, bad, most, least)
                    out[i, q, e] = min(out[i, q, e], cost)
            low, n_before, j = high, n, j + 1
            left, before = before, left
