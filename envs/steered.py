"""A scenario whose services all scale on requests per second, at explicit targets that a policy may move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.cluster import ClusterSpec, Workload
from envs.intent import violation_price
from envs.node_set_points import node_base, sets_pools
from envs.plain import Array
from envs.recorded_past import past_day, roughness, usual_rates
from envs.scenario import Scenario
from envs.set_point_action import ACTIONS, set_points
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, Karpenter, Learned, ScalingRules, Stack


def steerable(w: Workload) -> bool:
    """Whether requests per second scale it: queues and batches keep what the stack gives them."""
    return w.kind == "service"


def rps_hpa(stack: Stack, w: Workload, share: float, window_s: float) -> HpaSpec:
    """The stack's HPA for this workload, on requests per second at this share of a replica's capacity."""
    target = HpaMetric("External", "requests_per_second", "AverageValue", share * w.service.capacity_rps)
    rules = HpaBehavior(scale_down=ScalingRules(stabilization_s=int(window_s)))
    return replace(stack.hpa_of(w), metrics=(target,), behavior=rules)


def prices_of(scenario: Scenario, base: float | None = None) -> Array:
    """(W,) violation price of each workload; base: in place of the intent's."""
    given = scenario.intent.violation_price if base is None else base
    return np.asarray(violation_price(given, [w.slo_target for w in scenario.cluster.workloads]), np.float64)


def steered(scenario: Scenario, stack: Stack, prices: Array) -> tuple[ClusterSpec, Stack]:
    """The cluster with each service's HPA written out at its tuned base, and the stack that runs it.

    prices (W,): violation price of each workload. What is not a service keeps its scaler. Where the stack says so, its
    node pools are narrowed too.
    """
    share, window = set_points(np.zeros((len(prices), len(ACTIONS))), prices)
    workloads = tuple(
        replace(w, hpa=rps_hpa(stack, w, share[i], window[i])) if steerable(w) else w
        for i, w in enumerate(scenario.cluster.workloads)
    )
    cluster = replace(scenario.cluster, workloads=workloads)
    stack = replace(stack, use_workload_hpa=True, per_workload=(), learned=stack.learned or Learned())
    if sets_pools(stack) and isinstance(stack.nodes, Karpenter):
        day = past_day(scenario)
        cluster, nodes = node_base(cluster, stack.nodes, prices, usual_pods(scenario, share, day), roughness(day))
        stack = replace(stack, nodes=nodes)
    return cluster, stack


def as_run(scenario: Scenario, stack: Stack) -> ClusterSpec:
    """The cluster that a rollout of this stack has: its node groups are those of the pools as they are set."""
    if stack.learned is None or not sets_pools(stack):
        return scenario.cluster
    return steered(scenario, stack, prices_of(scenario, stack.learned.violation_price))[0]


def usual_pods(scenario: Scenario, share: Array, day: Array) -> Array:
    """(W,) pods that the load of the day before (1440, W) asks for at this share of a replica's capacity (W,), one
    minimum at least.

    Of what is not a service only the minimum is known.
    """
    cluster, rates = scenario.cluster, usual_rates(scenario, day)
    needed = [
        rate / (full * w.service.capacity_rps) if steerable(w) else 0.0
        for w, rate, full in zip(cluster.workloads, rates, share, strict=True)
    ]
    return np.maximum(needed, [max(w.min_replicas, 1) for w in cluster.workloads])
