"""How loose the lower bound is where the cheapest plan is known: every plan of a small world is played.

`python -m tests.sim.bound_looseness` prints the table of docs/design/bound.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.bound import Served
from envs.bound_tables import Resolution, foresee_load
from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.sim.jit import kernel
from envs.sim.queueing import load_tables
from envs.sim.service import service_tick
from policies.clairvoyant import Clairvoyant

TICKS, DT, PODS_PER_NODE, NODE_USD_PER_H = 6, 15.0, 3, 0.36
BALANCING = {"random": 0, "least_request": 1, "pooled": 2}
BUDGETS = (0.2, 0.05, 0.01, 0.002)
SERVICES = {
    "web": ServiceModel(6, 0.09, 0.6, 0.007, 0.9, 10.0, "random"),
    "search": ServiceModel(8, 0.14, 0.8, 0.028, 2.0, 10.0, "least_request"),
    "patient": ServiceModel(4, 0.3, 0.6, 0.05, 4.0, 60.0, "random"),
}


class Cheapest(NamedTuple):
    """The cheapest of all integer plans within a budget. steps: replicas come in that many parts."""

    replica_usd: float  # nodes in fractions
    node_usd: float  # whole nodes: its own cheapest plan
    served: Served  # of the first
    served_on_nodes: Served  # of the second


@kernel
def play_all(
    tables: Any, load: Any, most: int, steps: int, slots: float, service_s: float, cv: float, threshold_s: float,
    timeout_s: float, balancing: int, budgets: Any, per_node: int, cost: Any, good: Any, bad: Any,
) -> None:  # fmt: skip
    """Play every sequence of 0..most replicas (in units of 1 / steps) over load's ticks.

    cost, good, bad (2, budgets): of the cheapest by replicas, and by whole nodes, with bad + waiting at the end <=
    budget x load.
    """
    ticks, choices = load.shape[0], most + 1
    total = load.sum()
    cost[:] = np.inf
    for plan in range(choices**ticks):
        rest, replicas, nodes, ok, lost, waiting = plan, 0.0, 0.0, 0.0, 0.0, 0.0
        for t in range(ticks):
            r = (rest % choices) / steps
            rest //= choices
            replicas += r
            nodes += np.ceil(r / per_node)
            result = service_tick(
                tables, load[t], DT, r, slots, service_s, cv, threshold_s, timeout_s, balancing, 1.0, waiting
            )
            ok, lost, waiting = ok + result[0], lost + result[1], result[4]
        for k in range(budgets.shape[0]):
            if lost + waiting <= budgets[k] * total:
                for i in range(2):
                    paid = replicas / per_node if i == 0 else nodes
                    if paid < cost[i, k] - 1e-9:
                        cost[i, k], good[i, k], bad[i, k] = paid, ok, lost


def load_of(service: ServiceModel, seed: int, busy: float) -> np.ndarray:
    """(TICKS,) requests that keep `busy` replicas busy on average."""
    shape = np.random.default_rng([seed, 5]).uniform(0.4, 1.6, TICKS)
    return busy * service.capacity_rps * DT * shape / shape.mean()


def cheapest_plans(service: ServiceModel, load: np.ndarray, most: int, steps: int) -> list[Cheapest]:
    """One for each of BUDGETS."""
    shape = (2, len(BUDGETS))
    cost, good, bad = np.empty(shape), np.zeros(shape), np.zeros(shape)
    s = service
    play_all(
        load_tables(), load, most, steps, float(s.slots), s.service_time_s, s.service_cv, s.threshold_s, s.timeout_s,
        BALANCING[s.balancing], np.array(BUDGETS), PODS_PER_NODE, cost, good, bad,
    )  # fmt: skip
    usd = cost * NODE_USD_PER_H * DT / 3600.0
    offered = np.array([load.sum()])
    return [
        Cheapest(usd[0, k], usd[1, k], *(Served(offered, good[i, k : k + 1], bad[i, k : k + 1]) for i in range(2)))
        for k in range(len(BUDGETS))
    ]


def bounds_of(service: ServiceModel, load: np.ndarray) -> Clairvoyant:
    machine = InstanceType("box", 4, 16.0, 3.5, 14.0, 30, NODE_USD_PER_H)
    pool = NodePool("pool", ("box",), daemon_cpu=0.0, daemon_memory_gib=0.0)
    web = Workload("web", service, cpu_request=1.1, memory_request_gib=0.5)  # three to a node
    cluster, quiet = ClusterSpec((web,), (pool,), (machine,)), NoiseModel(enabled=False)
    scenario = Scenario("small", cluster, (GeneratedDemand(),), TICKS * DT, DT, 0.0, quiet)
    fine = Resolution(blocks=1, block_s=1.0)
    known = foresee_load(scenario, lambda t, n: load[t : t + n, None], first_tick=0, ticks=TICKS, fine=fine)
    return Clairvoyant(known, np.array([0.99]))


def gaps(name: str, seed: int, busy: float, most: int, steps: int) -> list[tuple[float, float]]:
    """(cheapest over bound - 1) with nodes in fractions and with whole nodes, for each of BUDGETS."""
    service = SERVICES[name]
    load = load_of(service, seed, busy)
    bounds = bounds_of(service, load)
    return [
        (p.replica_usd / bounds.at(p.served).usd - 1.0, p.node_usd / bounds.at(p.served_on_nodes).usd - 1.0)
        for p in cheapest_plans(service, load, most, steps)
    ]


def main() -> None:
    print("service   busy  replicas in   budget:" + "".join(f"{b:>18.1%}" for b in BUDGETS))
    for name in SERVICES:
        for busy, most, steps in ((3.0, 9, 1), (3.0, 12, 2), (0.8, 11, 4)):
            found = np.array([gaps(name, seed, busy, most, steps) for seed in range(3)]).mean(axis=0)
            cells = "".join(f"{100 * a:9.1f} {100 * b:6.0f} %" for a, b in found)
            print(f"{name:9s} {busy:4.1f}  {1 / steps:11.2f}          {cells}", flush=True)
    print(
        "first: nodes in fractions; second: whole nodes; mean of 3 loads, % that the cheapest plan is above its bound"
    )


if __name__ == "__main__":
    main()
