"""Replay of measured load under a family of policies, a minute at a time: the workload kernels and a network.

Members of the family are variants of the network, or constants. Rows are (workload, member, belief about the capacity
of a replica). Each minute the network sees each row as it would have stood under that member, answers, and the row
goes on: members differ by what they would have done, not by what they would have known. State stays between calls, so
a longer past costs only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from envs.load_past import LoadPast
from envs.observation import AUTOSCALING, LOAD_PART, REPLICA_PART, RowSignals, RowSpec, encode_rows, row_spec
from envs.plain import Array
from envs.replay_run import ReplayRun, Rows
from envs.set_point_action import LONGEST_S, Steer, base_set_points, moved
from envs.stack import HpaBehavior, HpaSpec, ScalingRules

MINUTE_S = 60.0
Act = Callable[[NDArray[np.float32]], NDArray[np.float64]]
# Where the encoder's parts go: rows of one workload share its load, and what is left does not change while it runs.
LOAD_AT, REPLICAS_AT = (np.array([AUTOSCALING.index(name) for name in part]) for part in (LOAD_PART, REPLICA_PART))
FIXED = tuple(name for name in AUTOSCALING if name not in (*LOAD_PART, *REPLICA_PART))
FIXED_AT = [AUTOSCALING.index(name) for name in FIXED]


class SteeredReplay:
    """rows: one per workload, on requests per second. family: its V members, the same for every workload. every:
    minutes between two answers of the network.
    """

    def __init__(
        self, act: Act, rows: Sequence[Rows], family: Steer, *,
        beliefs: Sequence[float], tick_s: float, seed: int = 0, every: int = 1,
    ) -> None:  # fmt: skip
        self._act, self._every, self._tick_s, self._seed = act, every, tick_s, seed
        W, V, B = len(rows), len(family.told), len(beliefs)
        self.shape = (W, V, B)
        spread = tuple(np.tile(beliefs, V).tolist())
        self._cases = [replace(r, settings=(_roomy(r.settings[0]),) * (V * B), beliefs=spread) for r in rows]
        self._run: ReplayRun | None = None
        self._spec = row_spec([r.workload for r in rows for _ in range(V * B)])
        self._workloads = row_spec([r.workload for r in rows])
        told, self._scaling, share, window = (np.tile(np.repeat(column, B), W) for column in family)
        self._base, self._moves = base_set_points(told), np.isnan(share)
        self._share = np.where(self._moves, self._base[0] * self._scaling, share)
        self._window_s = np.where(self._moves, self._base[1], window)
        self._fixed = encode_rows(_unseen(len(told), violation_price=told), self._spec, FIXED).T
        self._past = LoadPast(W)
        self._minute, self._bad, self._offered = 0, np.zeros(W * V * B), np.zeros(W)
        self._live = np.ones((W, V), np.bool_)
        self.keep(self._live)

    def keep(self, live: NDArray[np.bool_]) -> None:
        """Run only these members (W, V) from now on; what was dropped does not come back."""
        self._live = self._live & live
        if self._run is not None:
            self._run.live[...] = np.repeat(self._live, self.shape[2], axis=1)
        self._rows = np.flatnonzero(np.repeat(self._live.ravel(), self.shape[2]) & self._moves)
        self._spec_of_rows = RowSpec(*(column[self._rows] for column in self._spec))
        self._base_of_rows = self._base[0][self._rows], self._base[1][self._rows]
        self._scaling_of_rows = self._scaling[self._rows]
        self._workload = self._rows // (self.shape[1] * self.shape[2])
        self._observed = np.empty((len(AUTOSCALING), len(self._rows)), np.float32)
        self._observed[FIXED_AT] = self._fixed[:, self._rows]

    def advance(self, rates: Array) -> tuple[Array, Array]:
        """(minutes, W) measured requests/s, oldest first: (dollars, bad requests), each (W, V, B)."""
        usd, bad = np.zeros(self.shape), np.zeros(self.shape)
        for row in rates:
            minute = self._advance(row)
            usd += minute[0]
            bad += minute[1]
        return usd, bad

    def _advance(self, rates: Array) -> tuple[Array, Array]:
        if self._run is None:
            cases = [replace(c, first_rps=float(rps)) for c, rps in zip(self._cases, rates, strict=True)]
            self._run = ReplayRun(cases, tick_s=self._tick_s, seed=self._seed)
            self.keep(self._live)
        elif self._minute % self._every == 0 and len(self._rows):
            share, window_s = moved(self._base_of_rows, self._act(self._encode()), self._scaling_of_rows)
            self._share[self._rows], self._window_s[self._rows] = share, window_s
        W = self.shape[0]
        self._run.steer(self._share.reshape(W, -1), self._window_s.reshape(W, -1))
        ticks = max(round(MINUTE_S / self._tick_s), 1)
        spent = self._run.advance(np.repeat(rates[None] * self._tick_s, ticks, axis=0))
        self._minute += 1
        self._past.push(rates)
        self._bad, self._offered = spent.bad.ravel(), rates * MINUTE_S
        return spent.usd.reshape(self.shape), spent.bad.reshape(self.shape)

    def _encode(self) -> NDArray[np.float32]:
        """(rows, len(AUTOSCALING)), as `encode_rows` of whole rows; each load is encoded once."""
        load = _unseen(self.shape[0], offered_rps=self._offered / MINUTE_S, past_rps=self._past.read())
        of_load = encode_rows(load, self._workloads, LOAD_PART).T
        self._observed[LOAD_AT] = np.take(of_load, self._workload, axis=1, mode="clip")  # "raise" copies once more
        self._observed[REPLICAS_AT] = encode_rows(self._replicas(), self._spec_of_rows, REPLICA_PART).T
        return self._observed.T

    def _replicas(self) -> RowSignals:
        assert self._run is not None
        rows = self._rows
        replicas, ready, starting = (np.asarray(x.ravel()[rows], np.float64) for x in self._run.counts)
        offered = self._offered[self._workload]
        share = np.minimum(self._bad[rows] / np.maximum(offered, 1e-9), 1.0)
        return _unseen(
            len(rows),
            offered_rps=offered / MINUTE_S,
            ready=ready,
            desired=replicas,
            starting=starting,
            pending=np.zeros(len(rows)),
            error_share=np.where(offered > 0.0, share, np.nan),
            hpa_target=self._share[rows] * self._spec_of_rows.capacity_rps,
            window_down_s=self._window_s[rows],
        )


def _unseen(n: int, **seen: Array) -> RowSignals:
    """Rows of which only this was measured."""
    nothing = np.full(n, np.nan)
    return RowSignals(**{name: seen.get(name, nothing) for name in RowSignals._fields})


def _roomy(spec: HpaSpec) -> HpaSpec:
    """The HPA with the longest window: memory is laid out for what a step may write later."""
    return replace(spec, behavior=HpaBehavior(scale_down=ScalingRules(stabilization_s=int(LONGEST_S))))
