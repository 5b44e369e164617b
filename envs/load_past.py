"""A workload's measured load of the last week, boiled down to the numbers that a policy looks at.

PAST is the data sheet. Lags and peaks tell where the load is going now; the same minutes of yesterday and of last
week tell where it went then. Prometheus answers the same by `offset` and `max_over_time`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.plain import Array

LAGS_MIN = (1, 2, 3, 5, 10, 15, 30, 60, 120)  # requests/s so many minutes ago
PEAKS_MIN = (5, 15, 60, 180)  # the largest of so many last minutes
LEADS_MIN = (0, 5, 10, 20, 40)  # a day or a week ago, and so many minutes later
DAY_MIN, WEEK_MIN = 1440, 7 * 1440
BLUR_MIN = 2  # those are means over so many minutes to either side
KEPT_MIN = WEEK_MIN + BLUR_MIN + 8
PAST = (
    *(f"lag_{m}" for m in LAGS_MIN),
    *(f"peak_{m}" for m in PEAKS_MIN),
    *(f"day_{m}" for m in LEADS_MIN),
    *(f"week_{m}" for m in LEADS_MIN),
)


Before = Callable[[range], Array]  # minutes, 0 being the first that is pushed -> (minutes, n) requests/s
FETCHED = 64  # minutes of the time before that are asked for together


class LoadPast:
    """Minute samples of n workloads in a ring; NaN = not measured."""

    def __init__(self, n: int, before: Before | None = None) -> None:
        """before: tells of the minutes in range(-KEPT_MIN, 0), and is asked when they are first looked at."""
        self._before, self._unread = before, np.full(KEPT_MIN, before is not None)
        self._ring: NDArray[np.float32] = np.empty((KEPT_MIN, n), np.float32)
        if before is None:
            self._ring[:] = np.nan
        self._pushed = 0  # minutes; number m is in row m % KEPT_MIN
        self._peaks = [np.full((max(PEAKS_MIN), n), np.nan, np.float32) for _ in PEAKS_MIN]  # minute m: row m % 180
        self._peaked: int | None = None  # the minute up to which they are known

    def extend(self, rates: Array) -> None:
        """(minutes, n) requests/s, oldest first: of a past that was measured before this began."""
        for row in rates[-KEPT_MIN:]:
            self.push(row)

    def push(self, rates: Array) -> None:
        """(n,) requests/s of the minute that just ended."""
        row = self._pushed % KEPT_MIN
        self._ring[row], self._unread[row] = rates, False
        self._pushed += 1

    def last(self, minutes: int) -> Array:
        """(minutes, n) requests/s of the last so many minutes, oldest first; NaN where nothing was measured."""
        return self._at(np.arange(min(minutes, KEPT_MIN))[::-1]).astype(np.float64)

    def newest(self) -> Array:
        """(n,) requests/s of the minute that was pushed last."""
        return self._at(np.zeros(1, np.int64))[0].astype(np.float64)

    def read(self) -> Array:
        """(n, len(PAST)) requests/s in the order of PAST, as of now; NaN where nothing was measured."""
        single, lags, peaks = self._at(_SINGLE), len(LAGS_MIN), len(PEAKS_MIN)
        same = single[lags:].reshape(*_SAME.shape, -1)
        out = np.empty((len(PAST), single.shape[1]))
        out[:lags] = single[:lags]
        out[lags : lags + peaks] = self._largest()
        out[lags + peaks :] = same.sum(axis=1, dtype=np.float32) / np.float32(same.shape[1])
        return out.T

    def _at(self, ago: NDArray[np.int64]) -> NDArray[np.float32]:
        """(..., n) samples of so many minutes before the newest."""
        if self._before is not None:
            self._fetch(self._pushed - 1 - ago.ravel())
        return self._ring[(self._pushed - 1 - ago) % KEPT_MIN]

    def _fetch(self, minutes: NDArray[np.int64]) -> None:
        """Read those of the time before that nobody looked at yet, and some after them."""
        assert self._before is not None
        for first in np.sort(minutes[self._unread[minutes % KEPT_MIN]]).tolist():
            if self._unread[first % KEPT_MIN]:
                some = range(first, min(first + FETCHED, 0))
                rows = np.array(some) % KEPT_MIN
                self._ring[rows], self._unread[rows] = self._before(some), False

    def _largest(self) -> list[NDArray[np.float32]]:
        """(n,) maxima for each of PEAKS_MIN; each minute's are put together from shorter ones of minutes before."""
        now, span = self._pushed - 1, max(PEAKS_MIN)
        if self._peaked is None or now - self._peaked >= span:
            self._at(np.arange(span))
            self._peaked = now - span
        for minute in range(self._peaked + 1, now + 1):
            shorter, width, size = self._ring, 1, KEPT_MIN
            for longer, peak in zip(self._peaks, PEAKS_MIN, strict=True):
                most = longer[minute % span]
                most[:] = shorter[minute % size]
                for ago in range(width, peak, width):
                    np.fmax(most, shorter[(minute - ago) % size], out=most)
                shorter, width, size = longer, peak, span
        self._peaked = now
        return [longer[now % span] for longer in self._peaks]


_BACK = [back - lead for back in (DAY_MIN, WEEK_MIN) for lead in LEADS_MIN]
_SAME = np.array(_BACK)[:, None] + np.arange(-BLUR_MIN, BLUR_MIN + 1)  # (leads, minutes around)
_SINGLE = np.concatenate([np.array(LAGS_MIN), _SAME.ravel()])  # all minutes that are read as they are
