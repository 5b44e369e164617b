"""The HPAs of one simulated cluster while plans rewrite them: what is in force, as numbers and as objects.

A plan comes every minute and mostly moves a target and a window, so these are written straight into the arrays for all
workloads at once. What changes an HPA's shape (its first `behavior`, a capacity_share given up) goes
through the object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.action import WORKLOAD_FIELDS, Targets, hpa_after, rows_of, targets_of
from envs.controllers.hpa_pack import (
    GIB,
    MICRO,
    UTILIZATION,
    HpaArrays,
    HpaDefaults,
    kind_of,
    wakes,
    windows_of,
    write_hpa,
)
from envs.plain import Array
from envs.stack import HpaSpec

TARGET, TOLERANCE_UP, TOLERANCE_DOWN, WAIT_UP, WAIT_DOWN, LEAST, MOST = range(7)  # rows of envs.action.WORKLOAD_FIELDS
WRITTEN = ("target", "tolerance_up", "tolerance_down", "window_up_us", "window_down_us", "min_replicas", "max_replicas")
SHAPING = slice(TOLERANCE_UP, WAIT_DOWN + 1)  # fields that need `behavior`


class HpasInForce:
    """HPAs of W workloads, in their order."""

    def __init__(self, specs: Sequence[HpaSpec]) -> None:
        W = len(specs)
        self._specs = list(specs)
        self._since = np.full((len(WORKLOAD_FIELDS), W), np.nan)  # written straight since the object was made
        self.values = np.zeros((5, W))  # TARGET to WAIT_DOWN as a snapshot shows them
        self._unit, self._least = np.ones(W), np.ones(W)
        self._shared, self._shaped = np.zeros(W, np.bool_), np.zeros(W, np.bool_)
        for w, spec in enumerate(specs):
            self._note(w, spec)

    def apply(self, arrays: HpaArrays, b: int, targets: Targets, defaults: HpaDefaults) -> None:
        """Write a plan's fields into cluster b's HPAs. Raises InputError where a window has no room."""
        rows = rows_of(targets, "workload")
        given = ~np.isnan(rows)
        straight = ~self._shared & (self._shaped | ~given[SHAPING].any(axis=0))
        with np.errstate(invalid="ignore"):
            straight &= ~(rows[[WAIT_UP, WAIT_DOWN]] * MICRO > arrays.room_us[0]).any(axis=0)
        self._write(arrays, b, rows, given & straight)
        if not straight.all():
            for w in np.flatnonzero(given[: MOST + 1].any(axis=0) & ~straight):
                self._rewrite(arrays, b, int(w), targets, defaults)

    def _write(self, arrays: HpaArrays, b: int, rows: Array, given: NDArray[np.bool_]) -> None:
        """Equal to `write_hpa` of the objects after the plan (tests/sim/test_hpas_in_force.py)."""
        W, spec = rows.shape[1], arrays.spec[b]
        for row in np.flatnonzero(given[: MOST + 1].any(axis=1)).tolist():
            value = np.trunc(rows[row]) if row >= WAIT_UP else rows[row]
            if row <= WAIT_DOWN:
                np.copyto(self.values[row], value, where=given[row])
            to = arrays.metric["target"][b, :W, 0] if row == TARGET else spec[WRITTEN[row]][:W]
            np.copyto(to, self._in_force(row, value), where=given[row], casting="unsafe")
        np.copyto(self._since, rows, where=given)

    def _in_force(self, row: int, value: Array) -> Array:
        """A field's values as the arrays hold them."""
        if row == TARGET:
            return np.maximum(np.rint(value * self._unit), 1.0)
        if row in (WAIT_UP, WAIT_DOWN):
            return np.rint(value * MICRO)
        return np.maximum(value, self._least) if row == LEAST else value

    def _rewrite(self, arrays: HpaArrays, b: int, w: int, targets: Targets, defaults: HpaDefaults) -> None:
        before = targets_of({"workload": self._since.copy(), "pool": np.zeros((5, 0))})
        spec = hpa_after(hpa_after(self._specs[w], before, w), targets, w)
        write_hpa(arrays, b, w, spec, defaults)
        self._since[:, w] = np.nan
        self._note(w, spec)

    def _note(self, w: int, spec: HpaSpec) -> None:
        self._specs[w] = spec
        self.values[:, w] = fields_of(spec)
        metric = spec.metrics[0]
        memory = 1000.0 * GIB if metric.name == "memory" else 1000.0
        self._unit[w] = 1.0 if kind_of(metric) == UTILIZATION else memory
        self._least[w] = 0.0 if spec.scale_to_zero and wakes(spec) else 1.0
        self._shared[w], self._shaped[w] = metric.capacity_share is not None, spec.behavior is not None


def fields_of(spec: HpaSpec) -> tuple[float, float, float, float, float]:
    """(target of the first metric, tolerance up, down, stabilization up s, down s) in force."""
    behavior = spec.behavior
    up = behavior.scale_up if behavior else None
    down = behavior.scale_down if behavior else None
    return (
        spec.metrics[0].target,
        up.tolerance if up and up.tolerance is not None else spec.tolerance,
        down.tolerance if down and down.tolerance is not None else spec.tolerance,
        *windows_of(spec),
    )
