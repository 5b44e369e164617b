"""How much each variant of a network costs the training fleet above the best: the prior of replay's choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

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
from policies.family import told_prices, variant_scalings
from training.replay_fleet import PRICE

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
    return [_regret_at(act, scenario.cluster.workloads, minutes, price, period_min) for price in prices]


def _regret_at(act: Act, workloads: Sequence[Workload], minutes: Array, price: float, period_min: int) -> list[float]:
    prices = np.full(len(workloads), price)
    share, window = set_points(np.zeros((len(prices), len(ACTIONS))), prices)
    stack = Stack("", replicas=HpaSpec())
    rows = [Rows(replace(w), (rps_hpa(stack, w, share[i], window[i]),), (1.0,), PRICE) for i, w in enumerate(workloads)]
    run = SteeredReplay(
        act, rows, told_prices(prices), variant_scalings(), beliefs=(1.0,), tick_s=15.0, every=period_min
    )
    usd, bad = run.advance(minutes)
    offered = minutes.sum(axis=0) * MINUTE_S
    ideal = offered * np.array([w.service.cpu_s_per_request for w in workloads]) * PRICE.usd_per_core_h / 3600.0
    loss = rule.losses(rule.Past(usd, bad, ideal, offered, len(minutes) * MINUTE_S), prices)
    return [round(float(x), 5) for x in rule.log_regret(loss).mean(axis=0)]
