"""The learned autoscaler: a network moves each workload's set-points around the tuned base.

The network is told a violation price and answers for any; so one network is a family. A variant of it is (price that
it is told, scaling of the base share), chosen per workload by whoever holds the memory: replay does, from what each
member of `policies.family` would have cost on the workload's own past; a member may be a constant, and the network is
then not heard. Where nobody has chosen, it is told what the intent says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.action import only, raw_of
from envs.cluster import ClusterSpec, once_per_spec
from envs.intent import violation_price
from envs.observation import AUTOSCALING
from envs.plain import Array
from envs.set_point_action import Steer, base_set_points, steered_points
from policies.policy import PolicyMemory, Sight

PRICE_COLUMN = AUTOSCALING.index("violation_price")


class Actor(Protocol):
    """What a bundle's network does; see policies.network.Network."""

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, len(AUTOSCALING)) -> (N, len(ACTIONS)) in [-1, 1]."""
        ...

    def within(self, observation: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(N,) whether training saw rows like this."""
        ...


def answer(actor: Actor, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The network's action; 0, the tuned base, for rows outside what it was trained on."""
    return trusted_answer(actor, observation)[0]


def trusted_answer(actor: Actor, observation: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`answer`, and (N,) which rows were like training."""
    trusted = actor.within(observation)
    return np.where(trusted[:, None], actor.act(observation), 0.0), trusted


def with_price(observation: NDArray[np.float32], price: Array) -> NDArray[np.float32]:
    """The rows as if the intent asked for this violation price (N,)."""
    out = observation.copy()
    out[:, PRICE_COLUMN] = price_seen(price)
    return out


def price_seen(price: Array) -> Array:
    """A violation price (N,) as the encoder shows it."""
    return np.clip(np.log10(np.maximum(price, 1.0)) / 2.0, 0.0, 2.0)


@dataclass(frozen=True)
class LearnedSetPoints:
    """Memory, an entry a workload: told (null: the intent's own price), scaling, share and window_s (null: the network
    moves them), and outside: whether the last decision fell back to the tuned base because the observation was unlike
    training. Workloads that do not scale on requests per second by an HPA of their own are left alone.
    """

    actor: Actor
    name: str = "trimtab"
    reads: tuple[str, ...] = AUTOSCALING

    def start(self, spec: ClusterSpec) -> PolicyMemory:
        """Before anything is known: the network at the intent's own price."""
        W = len(spec.workloads)
        none = {name: [None] * W for name in ("told", "share", "window_s")}
        return {**none, "scaling": [1.0] * W, "outside": [False] * W}

    def act(self, sight: Sight, memory: PolicyMemory) -> tuple[NDArray[Any], PolicyMemory]:
        """Raw action for envs.action.decode."""
        known = _services(sight.spec)
        own = violation_price(sight.intent.violation_price, known.slo_target)
        at = _stance(*(tuple(memory[name]) for name in Steer._fields), tuple(own.tolist()))
        seen = sight.observation.copy()
        seen[:, PRICE_COLUMN] = at.price
        action, trusted = trusted_answer(self.actor, seen)
        share, window = steered_points(action, at.steer, at.base)
        targets = only(
            sight.spec,
            hpa_target=np.where(known.mine, share * known.capacity_rps, np.nan),
            hpa_stabilization_down_s=np.where(known.mine, window, np.nan),
        )
        return raw_of(targets, sight.spec), {**memory, "outside": (~trusted & at.moves).tolist()}


def told(memory: PolicyMemory, who: Sequence[int], steer: Steer) -> PolicyMemory:
    """The memory with workloads `who` steered so from now on."""
    out: dict[str, Any] = {name: list(values) for name, values in memory.items()}
    for name, column in zip(Steer._fields, steer, strict=True):
        for i, value in zip(who, column.tolist(), strict=True):
            out[name][i] = None if np.isnan(value) else value
    return out


class _Stance(NamedTuple):
    """What the memory says of W workloads, (W,) each: it changes once an hour, and is asked for every minute."""

    steer: Steer  # nothing left open in `told`
    base: tuple[Array, Array]
    price: Array  # as the encoder shows it
    moves: NDArray[np.bool_]  # whether the network is heard


Known = tuple[float | None, ...]


@lru_cache(maxsize=64)
def _stance(told: Known, scaling: Known, share: Known, window_s: Known, own: tuple[float, ...]) -> _Stance:
    """own: the intent's violation price for each, told where nobody chose another."""
    steer = Steer(*(np.array(column, np.float64) for column in (told, scaling, share, window_s)))  # None becomes NaN
    steer = steer._replace(told=np.where(np.isnan(steer.told), own, steer.told))
    return _Stance(steer, base_set_points(steer.told), price_seen(steer.told), np.isnan(steer.share))


class _Services(NamedTuple):
    """What the specification says, (W,) each."""

    slo_target: Array
    capacity_rps: Array
    mine: NDArray[np.bool_]  # whether set-points are moved


@once_per_spec
def _services(spec: ClusterSpec) -> _Services:
    return _Services(
        np.array([w.slo_target for w in spec.workloads]),
        np.array([w.service.capacity_rps for w in spec.workloads]),
        np.array([scales_on_rps(w) for w in spec.workloads], np.bool_),
    )


def scales_on_rps(workload: Any) -> bool:
    """Whether the workload's own HPA follows requests per second."""
    metrics: Any = getattr(workload.hpa, "metrics", ())
    return bool(metrics) and metrics[0].name == "requests_per_second"
