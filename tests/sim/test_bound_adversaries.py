"""The lower bound against policies that no cluster could run: free choice of fractional replicas, tick by tick.

One service, one kind of node, nodes in fractions, pods that start and stop at once: what the bound grants, these
policies use. They are made to exploit what a tick's model forgets: work left behind, spent budgets, the end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from envs.bound import Served
from envs.bound_tables import Resolution, foresee_load
from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.scenario import GeneratedDemand, NoiseModel, Scenario
from envs.sim.queueing import load_tables
from envs.sim.service import service_tick
from policies.clairvoyant import Clairvoyant
from tests.sim import bound_looseness

TABLES = load_tables()
TICKS, DT = 240, 15.0
BALANCING = {"random": 0, "least_request": 1, "pooled": 2}
USD_PER_REPLICA_S = 0.36 / 3600.0 / 3.0  # three pods fit on a node of $0.36 an hour
SERVICES = {
    "web": ServiceModel(6, 0.09, 0.6, 0.007, 0.6, 10.0, "random"),
    "search": ServiceModel(8, 0.14, 0.8, 0.028, 1.2, 10.0, "least_request"),
    "patient": ServiceModel(4, 0.3, 0.9, 0.05, 4.0, 60.0, "random"),
    "pooled": ServiceModel(4, 0.1, 1.0, 0.05, 1.5, 30.0, "pooled"),
    "single": ServiceModel(1, 0.5, 1.0, 0.5, 2.5, 60.0, "random"),
}
Loads = np.ndarray
Policy = Callable[[ServiceModel, Loads, np.random.Generator], np.ndarray]


def loads(service: ServiceModel, seed: int, busy: float) -> Loads:
    """(TICKS,) requests: a slow wave with noise and one spike, keeping `busy` replicas busy on average."""
    rng = np.random.default_rng([seed, 3])
    wave = 1.0 + 0.6 * np.sin(np.linspace(0.0, 2.0 * np.pi, TICKS) + seed)
    wave[100:108] *= 3.0
    return busy * service.capacity_rps * DT * wave * rng.gamma(40.0, 1.0 / 40.0, TICKS)


def one_tick(service: ServiceModel, load: float, replicas: float, waiting: float) -> tuple[float, ...]:
    s = service
    return service_tick(
        TABLES, load, DT, replicas, float(s.slots), s.service_time_s, s.service_cv, s.threshold_s, s.timeout_s,
        BALANCING[s.balancing], 1.0, waiting,
    )  # fmt: skip


def scenario(service: ServiceModel) -> Scenario:
    machine = InstanceType("box", 4, 16.0, 3.5, 14.0, 30, 0.36)
    pool = NodePool("pool", ("box",), daemon_cpu=0.0, daemon_memory_gib=0.0)
    web = Workload("web", service, cpu_request=1.1, memory_request_gib=0.5, slo_target=0.999)
    cluster = ClusterSpec((web,), (pool,), (machine,))
    quiet = NoiseModel(enabled=False)
    return Scenario("one", cluster, (GeneratedDemand(),), TICKS * DT, DT, 0.0, quiet)


def busy_replicas(service: ServiceModel, load: Loads) -> np.ndarray:
    return load / (service.capacity_rps * DT)


def just_enough(share: float) -> Policy:
    """As few replicas as keep each tick's bad share, if nothing waits."""

    def policy(service: ServiceModel, load: Loads, rng: np.random.Generator) -> np.ndarray:
        low, high = np.zeros(TICKS), busy_replicas(service, load) * 12.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            bad = np.array([one_tick(service, a, r, 0.0)[1] for a, r in zip(load, middle, strict=True)])
            enough = bad <= share * load
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high

    return policy


def alternating(service: ServiceModel, load: Loads, rng: np.random.Generator) -> np.ndarray:
    """Nothing, then twice what both ticks need: the first tick's requests wait for the second."""
    return np.where(np.arange(TICKS) % 2 == 0, 0.0, 2.6) * busy_replicas(service, load)


def hoarding(service: ServiceModel, load: Loads, rng: np.random.Generator) -> np.ndarray:
    """Nothing for three ticks, then a flood of replicas for one."""
    return np.where(np.arange(TICKS) % 4 < 3, 0.02, 9.0) * busy_replicas(service, load)


def sacrificing(service: ServiceModel, load: Loads, rng: np.random.Generator) -> np.ndarray:
    """The dearest ticks are given up, so that the budget goes where it saves most."""
    kept = just_enough(1e-4)(service, load, rng)
    kept[np.argsort(-load)[:6]] = 0.0
    return kept


def leaving_early(service: ServiceModel, load: Loads, rng: np.random.Generator) -> np.ndarray:
    """Just enough until the last minutes, which nobody will judge."""
    kept = just_enough(1e-3)(service, load, rng)
    kept[-4:] = 0.0
    return kept


def lagging(service: ServiceModel, load: Loads, rng: np.random.Generator) -> np.ndarray:
    """Capacity for the fluid and no more, half a tick late."""
    return 1.02 * busy_replicas(service, 0.5 * (load + np.roll(load, 1)))


def random_plan(service: ServiceModel, load: Loads, rng: np.random.Generator) -> np.ndarray:
    return busy_replicas(service, load) * np.exp(rng.normal(0.3, rng.uniform(0.02, 0.8), TICKS))


POLICIES: dict[str, Policy] = {
    **{f"just enough for {share:g}": just_enough(share) for share in (1e-1, 1e-2, 1e-3, 3e-4)},
    **{p.__name__: p for p in (alternating, hoarding, sacrificing, leaving_early, lagging, random_plan)},
}


def played(service: ServiceModel, load: Loads, replicas: np.ndarray) -> tuple[float, Served]:
    """(USD, service level) of a plan."""
    good = bad = waiting = 0.0
    for a, r in zip(load, replicas, strict=True):
        result = one_tick(service, a, max(r, 0.0), waiting)
        good, bad, waiting = good + result[0], bad + result[1], result[4]
    one = np.ones(1)
    return float(replicas.sum()) * DT * USD_PER_REPLICA_S, Served(load.sum() * one, good * one, bad * one)


def clairvoyant(service: ServiceModel, load: Loads, slo: float = 0.999) -> Clairvoyant:
    known = foresee_load(
        scenario(service), lambda t, n: load[t : t + n, None], first_tick=0, ticks=TICKS,
        fine=Resolution(blocks=1, block_s=1.0, rows=200),
    )  # fmt: skip
    return Clairvoyant(known, np.array([slo]))


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("busy", [0.3, 4.0, 60.0])
def test_no_plan_is_below_the_bound(name: str, busy: float) -> None:
    service = SERVICES[name]
    load = loads(service, seed=len(name), busy=busy)
    foresight = clairvoyant(service, load)
    for policy in POLICIES.values():
        for seed in range(20 if policy is random_plan else 1):
            usd, served = played(service, load, policy(service, load, np.random.default_rng(seed)))
            assert foresight.at(served).usd <= usd * (1.0 + 1e-9)


@pytest.mark.parametrize("name", ["web", "search", "pooled"])
@pytest.mark.parametrize("share", [1e-2, 1e-3])
def test_the_bound_is_close_to_a_plan_that_spends_its_budget_well(name: str, share: float) -> None:
    """The optimum lies between the two."""
    service = SERVICES[name]
    load = loads(service, seed=1, busy=20.0)
    foresight, gaps = clairvoyant(service, load), []
    least = just_enough(share)(service, load, np.random.default_rng(0))
    for spare in (1.0, 1.02, 1.04, 1.08):  # what is just enough with nothing waiting may let a queue build up
        usd, served = played(service, load, spare * least)
        gaps.append(usd / foresight.at(served).usd - 1.0)
    assert min(gaps) < 0.08


@pytest.mark.parametrize("name", ["web", "search", "patient"])
@pytest.mark.parametrize(("busy", "most", "steps"), [(3.0, 7, 1), (0.8, 7, 2)])
def test_no_plan_of_all_there_are_is_below_the_bound(name: str, busy: float, most: int, steps: int) -> None:
    """Every plan of six ticks is played; the cheapest within each budget is above its bound, and not far."""
    found = np.array(bound_looseness.gaps(name, 1, busy, most, steps))
    assert found.min() >= -1e-9
    assert found[np.isfinite(found[:, 0]), 0].min() < 0.35
