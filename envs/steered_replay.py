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

from envs.load_past import PAST, LoadPast
from envs.observation import AUTOSCALING, LOAD_PART, REPLICA_PART, RowSignals, RowSpec, encode_rows, row_spec, stretches
from envs.plain import Array
from envs.replay_run import ReplayRun, Rows
from envs.set_point_action import LONGEST_S, Steer, base_set_points, moved
from envs.stack import HpaBehavior, HpaSpec, ScalingRules

MINUTE_S = 60.0
Act = Callable[[NDArray[np.float32]], NDArray[np.float64]]
# Where the encoder's parts go: rows of one workload share its load, and what is left does not change while it runs.
FIXED = tuple(name for name in AUTOSCALING if name not in (*LOAD_PART, *REPLICA_PART))
LOAD_AT, REPLICA_AT, FIXED_AT = stretches(LOAD_PART), stretches(REPLICA_PART), stretches(FIXED)


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
        self._fixed = encode_rows(_unseen(len(told), violation_price=told), self._spec, FIXED)
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
        self._observed = np.empty((len(self._rows), len(AUTOSCALING)), np.float32)
        for to, of in FIXED_AT:
            self._observed[:, to] = self._fixed[self._rows, of]

    def advance(self, rates: Array) -> tuple[Array, Array]:
        """(minutes, W) measured requests/s, oldest first: (dollars, bad requests), each (W, V, B)."""
        usd, bad = np.zeros(self.shape), np.zeros(self.shape)
        for row, load in zip(rates, self._loads(rates), strict=True):
            minute = self._advance(row, load)
            usd += minute[0]
            bad += minute[1]
        return usd, bad

    def _loads(self, rates: Array) -> NDArray[np.float32]:
        """(minutes, W, len(LOAD_PART)): what is encoded of the load that was measured before each minute."""
        past = np.empty((len(rates), self.shape[0], len(PAST)))
        for minute, row in zip(past, rates, strict=True):
            minute[:] = self._past.read()
            self._past.push(row)
        before = np.concatenate([self._offered[None] / MINUTE_S, rates * MINUTE_S / MINUTE_S])[: len(rates)]
        seen = _unseen(before.size, offered_rps=before.ravel(), past_rps=past.reshape(-1, len(PAST)))
        spec = RowSpec(*(np.tile(column, len(rates)) for column in self._workloads))
        return encode_rows(seen, spec, LOAD_PART).reshape(len(rates), self.shape[0], -1)

    def _advance(self, rates: Array, load: NDArray[np.float32]) -> tuple[Array, Array]:
        if self._run is None:
            cases = [replace(c, first_rps=float(rps)) for c, rps in zip(self._cases, rates, strict=True)]
            self._run = ReplayRun(cases, tick_s=self._tick_s, seed=self._seed)
            self.keep(self._live)
        elif self._minute % self._every == 0 and len(self._rows):
            share, window_s = moved(self._base_of_rows, self._act(self._encode(load)), self._scaling_of_rows)
            self._share[self._rows], self._window_s[self._rows] = share, window_s
        W = self.shape[0]
        self._run.steer(self._share.reshape(W, -1), self._window_s.reshape(W, -1))
        ticks = max(round(MINUTE_S / self._tick_s), 1)
        spent = self._run.advance(np.repeat(rates[None] * self._tick_s, ticks, axis=0))
        self._minute += 1
        self._bad, self._offered = spent.bad.ravel(), rates * MINUTE_S
        return spent.usd.reshape(self.shape), spent.bad.reshape(self.shape)

    def _encode(self, load: NDArray[np.float32]) -> NDArray[np.float32]:
        """(rows, len(AUTOSCALING)), as `encode_rows` of whole rows; load: a minute of `_loads`."""
        replicas = encode_rows(self._replicas(), self._spec_of_rows, REPLICA_PART)
        for part, places in ((load[self._workload], LOAD_AT), (replicas, REPLICA_AT)):
            for to, of in places:
                self._observed[:, to] = part[:, of]
        return self._observed

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
