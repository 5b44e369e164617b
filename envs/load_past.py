"""A workload's measured load of the last week, boiled down to the numbers that a policy looks at.

PAST is the data sheet. Lags and peaks tell where the load is going now; the same minutes of yesterday and of last
week tell where it went then. Prometheus answers the same by `offset` and `max_over_time`.
"""

from __future__ import annotations

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


class LoadPast:
    """Minute samples of n workloads in a ring; NaN = not measured."""

    def __init__(self, n: int) -> None:
        self._ring: NDArray[np.float32] = np.full((KEPT_MIN, n), np.nan, np.float32)
        self._next = 0  # where the coming minute goes

    def extend(self, rates: Array) -> None:
        """(minutes, n) requests/s, oldest first: of a past that was measured before this began."""
        for row in rates[-KEPT_MIN:]:
            self.push(row)

    def push(self, rates: Array) -> None:
        """(n,) requests/s of the minute that just ended."""
        self._ring[self._next] = rates
        self._next = (self._next + 1) % KEPT_MIN

    def last(self, minutes: int) -> Array:
        """(minutes, n) requests/s of the last so many minutes, oldest first; NaN where nothing was measured."""
        back = np.arange(min(minutes, KEPT_MIN))[::-1]
        return self._ring[(self._next - 1 - back) % KEPT_MIN].astype(np.float64)

    def newest(self) -> Array:
        """(n,) requests/s of the minute that was pushed last."""
        return self._ago(0).astype(np.float64)

    def read(self) -> Array:
        """(n, len(PAST)) requests/s in the order of PAST, as of now; NaN where nothing was measured."""
        lags, recent, same = (self._ring[(self._next - 1 - ago) % KEPT_MIN] for ago in (_LAGS, _RECENT, _SAME))
        peaks = [np.fmax.reduce(recent[:minutes]) for minutes in PEAKS_MIN]
        means = same.sum(axis=1, dtype=np.float32) / np.float32(same.shape[1])
        return np.concatenate([lags, peaks, means]).T.astype(np.float64)

    def _ago(self, minutes: int) -> NDArray[np.float32]:
        """0 minutes ago is the newest sample."""
        return self._ring[(self._next - 1 - minutes) % KEPT_MIN]


_LAGS, _RECENT = np.array(LAGS_MIN), np.arange(max(PEAKS_MIN))
_BACK = [back - lead for back in (DAY_MIN, WEEK_MIN) for lead in LEADS_MIN]
_SAME = np.array(_BACK)[:, None] + np.arange(-BLUR_MIN, BLUR_MIN + 1)  # (leads, minutes around)
