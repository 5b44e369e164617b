"""The network of a bundle, run on rows of observations: no clock, no randomness, equal rows give equal actions.

Rows are the encoder's; a bundle's forecaster makes the columns that its network reads beyond them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.bundle import Bundle, open_session
from policies.forecast import FORECAST, Forecaster
from policies.manifest import INPUT, OUTPUT

DECIMALS = 4  # of an action: coarser than the last bits in which matrix products of other shapes differ
MARGIN = 0.10  # of a feature's width in training, added at both ends of its envelope
LEAST_WIDTH = 0.10  # of a feature's whole range: what hardly moved in training is not judged more finely
OUTSIDE_MAX = 0.10  # share of features that may lie outside before a row is not trusted
LEAST_ROWS = 2  # one row alone takes another product routine (matrix by vector), with other last bits


def _at_least(limit: NDArray[np.float64]) -> NDArray[np.float32]:
    """The least float32 that is not below: rows are float32, and compared with this they fall on the same side."""
    near = limit.astype(np.float32)
    return np.where(near < limit, np.nextafter(near, np.float32(np.inf)), near)


class Network:
    """`act` and `within` of one bundle. Keeps its session; not for use from several threads at once."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.bundle = bundle
        self._session = open_session(bundle.model, threads)
        self._forecaster = Forecaster(open_session(bundle.forecaster, threads)) if bundle.forecaster else None
        made = len(FORECAST) if self._forecaster else 0  # columns that are not the encoder's
        ranges = bundle.manifest.observation.features[: len(bundle.features) - made]
        low, high = (np.array([getattr(f, name) for f in ranges]) for name in ("seen_low", "seen_high"))
        whole = np.array([f.high - f.low for f in ranges])
        slack = MARGIN * np.maximum(high - low, LEAST_WIDTH * whole)
        self._low, self._high = _at_least(low - slack), -_at_least(-high - slack)  # (F,)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, F) float32 -> (N, A) float64 in [-1, 1], rounded to 1e-4.

        A row that is not finite answers NaN, which leaves every field as it is. Raises ValueError on another shape.
        """
        rows = self._rows(observation)
        finite, clean = np.isfinite(rows), rows
        broken = () if finite.all() else np.flatnonzero(~finite.all(axis=1))
        if len(broken):
            clean = rows.copy()
            clean[broken] = 0.0
        if self._forecaster:
            clean = self._forecaster.extend(clean)
        padded = np.ascontiguousarray(clean)
        if len(rows) < LEAST_ROWS:
            padded = np.zeros((LEAST_ROWS, clean.shape[1]), np.float32)
            padded[: len(rows)] = clean
        raw = self._session.run([OUTPUT], {INPUT: padded})[0][: len(rows)]
        held = np.minimum(np.maximum(raw.astype(np.float64), -1.0), 1.0)
        action = np.round(held, DECIMALS) + 0.0  # no -0.0
        if len(broken):
            action[broken] = np.nan
        return np.asarray(action)

    def outside(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, F) -> (N,) share of features outside their envelope, margin included; unknown numbers are outside."""
        rows = self._rows(observation)
        inside = (rows >= self._low) & (rows <= self._high)
        count = inside.astype(np.float32) @ np.ones(inside.shape[1], np.float32)  # exact, and quicker than to count
        return np.asarray(1.0 - count.astype(np.float64) / inside.shape[1])

    def within(self, observation: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(N, F) -> (N,) whether training saw rows like this: at most OUTSIDE_MAX of the features are outside."""
        finite, near = np.isfinite(self._rows(observation)), self.outside(observation) <= OUTSIDE_MAX
        return np.asarray(near if finite.all() else near & finite.all(axis=1))

    def _rows(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = np.asarray(observation, np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self._low):
            raise ValueError(f"observation has shape {rows.shape}, the network needs (rows, {len(self._low)})")
        return rows
