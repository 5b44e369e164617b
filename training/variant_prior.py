"""How much each variant of a network costs the training fleet above the best: the prior of replay's choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from envs.cluster import Workload
from envs.demand import Demand
from envs.plain import Array
from envs.replay_run import Rows
from envs.set_point_action import ACTIONS, set_points
from envs.stack import HpaSpec, Stack
from envs.steered import rps_hpa
from envs.steered_replay import MINUTE_S, SteeredReplay
from envs.world_draw import DAY_S, Draw, LoadSource, draw_scenario
from policies import replay as rule
from policies.family import FAMILY
from training.replay_fleet import PRICE

BASE_PRICE = 3000.0  # whose base has the longest window: room for what rows write later
Act = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def variant_regret(
    act: Act, loads: Sequence[LoadSource], prices: Sequence[float], *, workloads: int, days: float, seed: int,
    period_min: int = 1,
) -> list[list[float]]:  # fmt: skip
    """(P, V) mean over services of log(loss / best loss) at each price; the capacity is known exactly."""
    rng = np.random.default_rng([seed, 11])
    draw = Draw(horizon_s=days * DAY_S, workloads=workloads, generated=0.1, spot=0.0)
    scenario = draw_scenario(rng, loads, draw)
    demand = Demand.pack([scenario], [scenario.seed])
    ticks = round(MINUTE_S / scenario.tick_s)
    minutes = demand.arrivals(0, round(days * 1440) * ticks)[0].reshape(-1, ticks, workloads).sum(axis=1) / MINUTE_S
    usd, bad, ideal = _replayed(act, scenario.cluster.workloads, minutes, period_min)
    past = rule.Past(usd, bad, ideal, minutes.sum(axis=0) * MINUTE_S, len(minutes) * MINUTE_S)
    losses = [rule.losses(past, np.full(workloads, price)) for price in prices]
    return [[round(float(x), 5) for x in rule.log_regret(loss).mean(axis=0)] for loss in losses]


def _replayed(act: Act, workloads: Sequence[Workload], minutes: Array, period_min: int) -> tuple[Array, Array, Array]:
    """Dollars and bad requests (W, V, 1) of every variant, and the load's ideal dollars (W,)."""
    share, window = set_points(np.zeros((len(workloads), len(ACTIONS))), np.full(len(workloads), BASE_PRICE))
    stack = Stack("", replicas=HpaSpec())
    rows = [Rows(w, (rps_hpa(stack, w, share[i], window[i]),), (1.0,), PRICE) for i, w in enumerate(workloads)]
    run = SteeredReplay(act, rows, FAMILY, beliefs=(1.0,), tick_s=15.0, every=period_min)
    usd, bad = run.advance(minutes)
    cpu_s = np.array([w.service.cpu_s_per_request for w in workloads])
    return usd, bad, minutes.sum(axis=0) * MINUTE_S * cpu_s * PRICE.usd_per_core_h / 3600.0
