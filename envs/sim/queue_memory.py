"""What a service remembers of the queueing tables from one tick to the next.

Where a service stands in the tables depends on its slots, CV, threshold and the slots that share a queue, which
hardly ever change; and from tick to tick the load and the number waiting mostly stay within one cell. So each
service keeps a row of KNOWN numbers: the key that they are for, what follows from it, and the last lines read,
log pi over spare capacity v and log x over w = log(1 + g / m). All are pure functions of their key and of the
cell, so what is remembered changes no result. A row of zeros remembers nothing.
"""

from __future__ import annotations

import math
from typing import Any

from envs.sim.jit import inlined, kernel
from envs.sim.queue_tables import NOBODY, place_of, push_line, push_scale, theta_cell, wait_line
from envs.sim.queueing import lognormal_tail

WIDE, SLOTS, CV, THETA, BALANCING = 0, 1, 2, 3, 4  # the key
TAIL = 5  # P(S > theta)
HALF_S2, TAIL_SCALE = 6, 7  # of the lognormal: half of log(1 + cv^2), 1 / sqrt(2 log(1 + cv^2))
PLACE = 8  # place_of, 10 numbers
WAIT_SCALE, LIMIT = 16, 17  # its last two: g, (1 + cv^2) / 2
V_SCALE = 18  # push_scale
THETA_CELL, THETA_PART = 19, 20
V_LINE, W_LINE = 21, 25  # low end, high end, value at the low end, slope
KNOWN = 29
LEAST_LOG = -100.0  # log x where nobody waits


@inlined
def recall(tables: Any, known: Any, balancing: int, wide: float, slots: float, cv: float, theta: float) -> None:
    """Make `known` (KNOWN,) hold what is known of a queue: wide >= 1 slots share it, slots of each replica."""
    if (
        known[WIDE] == wide
        and known[THETA] == theta
        and known[SLOTS] == slots
        and known[CV] == cv
        and known[BALANCING] == balancing
    ):
        return
    _learn(tables, known, balancing, wide, slots, cv, theta)


@kernel
def _learn(tables: Any, known: Any, balancing: int, wide: float, slots: float, cv: float, theta: float) -> None:
    known[WIDE], known[SLOTS], known[CV], known[THETA], known[BALANCING] = wide, slots, cv, theta, balancing
    known[TAIL] = lognormal_tail(theta, cv)
    s2 = math.log1p(cv * cv)
    known[HALF_S2], known[TAIL_SCALE] = 0.5 * s2, 1.0 / math.sqrt(2.0 * s2) if cv > 1e-6 else 0.0
    place = place_of(tables, balancing, wide, slots, cv)
    known[PLACE], known[PLACE + 1], known[PLACE + 2], known[PLACE + 3] = place[0], place[1], place[2], place[3]
    known[PLACE + 4], known[PLACE + 5], known[PLACE + 6], known[PLACE + 7] = place[4], place[5], place[6], place[7]
    known[WAIT_SCALE], known[LIMIT] = place[8], place[9]
    known[V_SCALE] = push_scale(balancing, wide)
    cell, part = theta_cell(max(theta, 0.0))
    known[THETA_CELL], known[THETA_PART] = cell, part
    known[V_LINE], known[V_LINE + 1], known[W_LINE], known[W_LINE + 1] = 1.0, 0.0, 1.0, 0.0  # none is valid


@inlined
def known_place(known: Any) -> Any:
    """place_of, as remembered."""
    return (
        int(known[PLACE]), int(known[PLACE + 1]), int(known[PLACE + 2]), known[PLACE + 3], known[PLACE + 4],
        known[PLACE + 5], known[PLACE + 6], known[PLACE + 7], known[WAIT_SCALE], known[LIMIT],
    )  # fmt: skip


@inlined
def known_push(flat: Any, known: Any, idle: float) -> float:
    """pi at spare capacity `idle` = 1 - utilisation; flat: log_push."""
    v = min(idle * known[V_SCALE], 1.0)
    if not known[V_LINE] <= v < known[V_LINE + 1]:
        line = push_line(flat, known_place(known), v)
        known[V_LINE], known[V_LINE + 1], known[V_LINE + 2], known[V_LINE + 3] = line[0], line[1], line[2], line[3]
    return known[LIMIT] * math.exp(known[V_LINE + 2] + known[V_LINE + 3] * (v - known[V_LINE]))


@inlined
def known_log_excess(flat: Any, known: Any, m: float) -> float:
    """log x with m requests waiting on average, at the key's threshold; flat: log_excess."""
    if m <= NOBODY:
        return LEAST_LOG
    w = math.log(1.0 + known[WAIT_SCALE] / m)
    if not known[W_LINE] <= w < known[W_LINE + 1]:
        line = wait_line(flat, known_place(known), w, int(known[THETA_CELL]), known[THETA_PART])
        known[W_LINE], known[W_LINE + 1], known[W_LINE + 2], known[W_LINE + 3] = line[0], line[1], line[2], line[3]
    return min(known[W_LINE + 2] + known[W_LINE + 3] * (w - known[W_LINE]), 0.0)
