"""What faults do to a cluster: books still agree, and each kind does what its section in the docs says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from envs.demand import Demand
from envs.faults import INSTANCE_GONE_S, MONITOR_GRACE_S, TOLERATION_S, Fault
from envs.rollout import case_of, names_of
from envs.scenario import Scenario
from envs.scenario_file import scenario_from_document
from envs.sim.cluster_sim import ClusterSim
from envs.sim.rows import timeline_of
from envs.sim.state import NODE_FREE, NODE_LOST, NODE_READY, POD_READY
from envs.stack import Stack, StaticNodes
from envs.timeline import Timeline
from envs.yaml_reader import only_mapping, parse_yaml
from tests.sim.recount import check_books
from tests.sim.world_strategy import World, random_world

FILE = Path(__file__)
TICK_S = 15.0
# 3 nodes, one a zone; 4 slots of 100 ms: 40 requests/s a replica; 6 replicas carry 120/s at 50 %
WORLD = """
name: faulty
days: 0.125
tick: 15s
warmup: 10m
noise: {enabled: false}
instance_types:
  - {name: big, vcpu: 4, memory: 32Gi, price: 1, spot_price: 0.25}
workloads:
  - name: web
    demand: {generate: {base_rps: 120, daily_amplitude: 0, weekly_amplitude: 0, noise_cv: 0}}
    service: {slots: 4, service_time: 100ms, cpu_per_request: 25ms, threshold: 1s}
    start_delay: 20s
    start_delay_cv: 0
    min_replicas: 6
    max_replicas: 12
    initial_replicas: 6
    spread: [{topology_key: topology.kubernetes.io/zone, max_skew: 1, hard: false}]
node_pools:
  - name: main
    instance_types: [big]
    zones: [a, b, c]
    min_nodes: 3
    max_nodes: 9
    initial_nodes: 3
    boot_delay: 60s
    boot_delay_cv: 0
    daemon_cpu: 100m
"""


def world(faults: str, **changes: str) -> Scenario:
    text = WORLD
    for old, new in changes.items():
        text = text.replace({"types": "zones: [a, b, c]", "low": "min_nodes: 3"}[old], new)
    document = only_mapping(parse_yaml(f"{text}\nfaults: [{faults}]\n", file=FILE), file=FILE)
    return scenario_from_document(document, FILE)


@dataclass
class Run:
    """A cluster, tick by tick."""

    sim: ClusterSim
    demand: Demand
    scenario: Scenario

    def until(self, seconds: float) -> Run:
        """Go on to this time, in whole ticks."""
        ticks = round(seconds / TICK_S) - self.sim.tick
        self.sim.run(self.demand.arrivals(self.sim.tick, ticks))
        return self

    def rows(self) -> Timeline:
        return timeline_of(self.sim, names_of(self.scenario), 0, self.sim.tick)

    def ready(self) -> int:
        return int(self.sim.arrays.flow.n_ready[0, 0])

    def nodes(self, phase: int) -> int:
        return int(np.count_nonzero(self.sim.arrays.nodes.phase[0] == phase))


def start(scenario: Scenario, stack: Stack | None = None, seed: int = 0) -> Run:
    demand = Demand.pack([scenario], [seed])
    sim = ClusterSim([case_of(scenario, stack or scenario.stacks[0], seed, demand)], rows=64)
    return Run(sim, demand, scenario).until(0.0)


def finished(faults: str, stack: Stack | None = None) -> Timeline:
    return start(world(faults), stack).until(2 * 3600.0).rows()


# nothing changes where nothing is changed


@pytest.mark.parametrize(
    "nothing",
    [
        "{kind: price-change, at: 10m, factor: 1}",
        "{kind: slow-image-pulls, at: 10m, factor: 1}",
        "{kind: telemetry-garbage, at: 10m, factor: 1}",
        "{kind: flash-crowd, at: 10m, factor: 1}",
    ],
)
def test_a_fault_that_changes_nothing_leaves_every_byte(nothing: str) -> None:
    calm, same = finished(""), finished(nothing)
    for name, values in vars(calm).items():
        assert values.tobytes() == getattr(same, name).tobytes(), name


# nodes die


def test_a_crashed_node_takes_its_pods_at_once_and_is_replaced_when_the_cloud_says_so() -> None:
    run = start(world("{kind: node-crash, at: 600s}"))
    before = run.until(600.0).ready()
    assert before == 6
    run.until(615.0)
    assert run.ready() == 4
    assert run.nodes(NODE_LOST) == 1
    check_books(run.sim)
    run.until(600.0 + INSTANCE_GONE_S - 10.0)
    assert (run.ready(), run.nodes(NODE_LOST)) == (4, 1)
    run.until(600.0 + INSTANCE_GONE_S + 5.0)
    assert run.nodes(NODE_LOST) == 0
    check_books(run.sim)
    run.until(600.0 + INSTANCE_GONE_S + 60.0 + 20.0 + 30.0)  # its group boots another; pods start on it or elsewhere
    assert run.ready() == 6
    assert run.nodes(NODE_READY) == 3


def test_requests_go_to_dead_pods_until_the_node_is_not_ready() -> None:
    """2 of 6 replicas die: a third of 120/s for 50 s."""
    line = finished("{kind: node-crash, at: 600s}")
    assert line.bad_lost.sum() == pytest.approx(120.0 * 50.0 / 3.0, rel=1e-3)
    assert line.nodes_lost.sum() == 1
    assert np.flatnonzero(line.bad_lost[:, 0]).tolist() == [2]
    assert MONITOR_GRACE_S == 50.0


def test_a_node_that_only_stopped_answering_is_replaced_after_its_toleration() -> None:
    run = start(world("{kind: node-crash, at: 600s, instance_gone: false}"))
    run.until(600.0 + MONITOR_GRACE_S + TOLERATION_S - 15.0)
    assert (run.ready(), run.nodes(NODE_LOST)) == (4, 1)
    run.until(600.0 + MONITOR_GRACE_S + TOLERATION_S + 15.0)
    assert run.nodes(NODE_LOST) == 0


def test_several_nodes_may_crash_at_once_and_no_more_than_there_are() -> None:
    run = start(world("{kind: node-crash, at: 600s, nodes: 8}")).until(615.0)
    assert run.nodes(NODE_LOST) == 3
    assert run.ready() == 0
    check_books(run.sim)
    run.until(1200.0)
    assert run.ready() == 6
    check_books(run.sim)


def test_a_lost_zone_has_no_nodes_until_it_is_back() -> None:
    scenario = world("{kind: zone-loss, zone: b, at: 600s, duration: 40m}")
    run = start(scenario).until(600.0)
    zone = np.array([g.endswith("/b") for g in names_of(scenario).groups])
    for t in np.arange(615.0, 3000.0, 45.0):
        run.until(float(t))
        nodes = run.sim.arrays.nodes
        there = np.flatnonzero((nodes.phase[0] != NODE_FREE) & (nodes.phase[0] != NODE_LOST))
        assert not zone[nodes.group[0, there]].any()
    assert run.ready() == 6, "the others took over"
    check_books(run.sim)


def test_static_pools_get_their_nodes_back_with_the_zone() -> None:
    scenario = world("{kind: zone-loss, zone: b, at: 600s, duration: 20m}")
    run = start(scenario, Stack("fixed", nodes=StaticNodes())).until(1700.0)
    assert run.nodes(NODE_READY) == 2
    run.until(1800.0 + 60.0 + 30.0)
    assert run.nodes(NODE_READY) == 3


# pods, images, API


def test_crash_looping_pods_come_back_at_the_first_restart_after_the_fault() -> None:
    """Crashed at 600 s: restarts at 610, 630, 670, 750, 910 s; the fault ends at 800 s, so ready at 930 s."""
    run = start(world("{kind: pod-crash-loop, at: 600s, duration: 200s, share: 50%}"))
    assert run.until(615.0).ready() == 3
    assert run.until(915.0).ready() == 3
    check_books(run.sim)
    assert run.until(945.0).ready() >= 6


def test_no_pod_becomes_ready_while_all_crash() -> None:
    run = start(world("{kind: pod-crash-loop, at: 600s, duration: 10m}, {kind: flash-crowd, at: 600s, factor: 3}"))
    run.until(600.0)
    for t in np.arange(615.0, 1200.0, 30.0):
        assert run.until(float(t)).ready() == 0


def test_slow_pulls_delay_new_pods_by_the_factor() -> None:
    """A crash at 600 s; its pods are bound again at 715 s or when the new node is there, and start for 80 s."""
    run = start(world("{kind: node-crash, at: 600s}, {kind: slow-image-pulls, at: 500s, factor: 4}"))
    run.until(715.0 + 60.0 + 15.0)
    pods = run.sim.arrays.pods
    young = np.flatnonzero((pods.workload[0] == 0) & (pods.bound_s[0] > 700.0))
    assert len(young) == 2
    assert pods.ready_s[0, young] - pods.bound_s[0, young] == pytest.approx(80.0)


def test_a_slow_api_delays_syncs_binds_and_nodes() -> None:
    crowd = "{kind: flash-crowd, at: 600s, factor: 2.5}"
    quick = start(world(crowd))
    slow = start(world(f"{crowd}, {{kind: api-slowness, at: 550s, duration: 1h, delay: 12s}}"))
    for run in (quick, slow):
        run.until(1500.0)
    first = [run.sim.arrays.pods.created_s[0][run.sim.arrays.pods.created_s[0] > 600.0].min() for run in (quick, slow)]
    assert first[1] - first[0] == pytest.approx(12.0, abs=1e-6)
    pods = slow.sim.arrays.pods
    young = np.flatnonzero((pods.phase[0] == POD_READY) & (pods.bound_s[0] > 600.0))
    assert len(young) > 0
    assert pods.ready_s[0, young] - pods.bound_s[0, young] == pytest.approx(32.0)


# what controllers see


def test_nothing_scales_while_telemetry_is_missing_and_it_does_afterwards() -> None:
    crowd = "{kind: flash-crowd, at: 900s, duration: 1h, factor: 2}"
    run = start(world(f"{crowd}, {{kind: telemetry-gap, at: 850s, duration: 15m}}")).until(1740.0)
    assert run.sim.arrays.flow.spec_replicas[0, 0] == 6
    assert run.until(2100.0).sim.arrays.flow.spec_replicas[0, 0] > 6
    assert start(world(crowd)).until(1740.0).sim.arrays.flow.spec_replicas[0, 0] > 6


def test_garbage_is_believed() -> None:
    run = start(world("{kind: telemetry-garbage, at: 600s, duration: 30m, factor: 5}")).until(1200.0)
    assert run.sim.arrays.flow.spec_replicas[0, 0] == 12


def test_a_snapshot_shows_a_gap_as_unknown_and_garbage_as_it_is() -> None:
    from envs.sim.exchange import take_snapshot

    gap = start(world("{kind: telemetry-gap, at: 600s, duration: 10m}")).until(900.0)
    seen = take_snapshot(gap.sim).workloads
    assert np.isnan(seen.offered_rps.value[0])
    assert np.isnan(seen.cpu_per_pod.value[0])
    wrong = start(world("{kind: telemetry-garbage, at: 600s, factor: 0.5}")).until(900.0)
    assert take_snapshot(wrong.sim).workloads.offered_rps.value[0] == pytest.approx(60.0, rel=0.05)


# money


def test_a_price_change_is_billed_from_its_time_on() -> None:
    """3 nodes at $1/h: 40 minutes at list, 80 minutes at 1.5 times it."""
    line = finished("{kind: price-change, at: 40m, factor: 1.5}")
    assert line.node_usd.sum() == pytest.approx(3 * (2 / 3 + 4 / 3 * 1.5), rel=1e-9)
    parts = line.used_usd.sum() + line.requested_unused_usd.sum() + line.idle_usd.sum()
    assert parts == pytest.approx(line.node_usd.sum(), rel=1e-12)


# spot

SPOT = "zones: [a, b, c]\n    capacity_types: [spot]"


def spot_world(text: str = "") -> Scenario:
    scenario = world("", types=SPOT)
    return replace(scenario, spot=replace(scenario.spot, hazard_factor=3000.0, together=0.0, **eval_free(text)))


def eval_free(text: str) -> dict[str, float]:
    return {k: float(v) for k, _, v in (part.partition("=") for part in text.split())}


def notices(run: Run, seconds: float) -> tuple[Run, Timeline]:
    run.until(seconds)
    return run, run.rows()


@pytest.mark.parametrize("handling", ["drain", "rebalance", "ignore"])
def test_interrupted_nodes_are_drained_by_a_stack_that_listens_and_die_under_one_that_does_not(handling: str) -> None:
    stack = Stack("x", spot_notice=handling)  # type: ignore[arg-type]
    run, line = notices(start(spot_world(), stack, seed=2), 10_000.0)
    assert line.interruptions.sum() >= 3
    check_books(run.sim)
    if handling == "ignore":
        assert line.nodes_lost.sum() == line.interruptions.sum() > 0
        assert line.bad_lost.sum() > 0
    else:
        assert line.nodes_lost.sum() == 0
        assert line.bad_lost.sum() == 0


def test_without_interruptions_spot_is_only_cheaper() -> None:
    calm = replace(spot_world(), spot=replace(spot_world().spot, interruptions=False))
    line = start(calm).until(7200.0).rows()
    assert line.interruptions.sum() == 0
    assert line.node_usd.sum() == pytest.approx(finished("").node_usd.sum() * 0.25)


# everything at once, in random worlds

FAULTS = (
    Fault("node-crash", "crash", per_node_hour=2.0),
    Fault("node-crash", "two", at_s=300.0, nodes=2, instance_gone=False),
    Fault("zone-loss", "zone", at_s=400.0, duration_s=300.0, zone="zone-b", instance_gone=False),
    Fault("pod-crash-loop", "loop", at_s=500.0, duration_s=120.0, share=0.5),
    Fault("slow-image-pulls", "pulls", per_day=300.0, duration_s=60.0, factor=3.0),
    Fault("api-slowness", "api", per_day=300.0, duration_s=60.0, delay_s=7.0),
    Fault("telemetry-gap", "gap", per_day=300.0, duration_s=60.0),
    Fault("telemetry-garbage", "garbage", per_day=300.0, duration_s=60.0, factor=3.0),
    Fault("telemetry-delay", "late", per_day=300.0, duration_s=120.0, delay_s=90.0),
    Fault("price-change", "price", at_s=200.0, duration_s=float("inf"), factor=2.0),
)


def faulty(seed: int) -> World:
    base = random_world(seed)
    rng = np.random.default_rng([seed, 8])
    chosen = tuple(f for f in FAULTS if rng.random() < 0.6)
    return replace(base, case=replace(base.case, scenario=replace(base.scenario, faults=chosen)))


@pytest.mark.parametrize("seed", range(300, 330))
def test_books_agree_and_nothing_gets_lost_whatever_fails(seed: int) -> None:
    w = faulty(seed)
    ticks, chunk = len(w.arrivals), max(5, len(w.arrivals) // 12)
    sim = ClusterSim([w.case], rows=int(np.ceil(ticks * w.scenario.tick_s / 300.0)) + 2)
    for first in range(0, ticks, chunk):
        sim.run(np.ascontiguousarray(w.arrivals[None, first : first + chunk]))
        check_books(sim)
    line = timeline_of(sim, names_of(w.scenario), 0, sim.tick)
    out = line.good.sum(axis=0) + line.bad.sum(axis=0) + sim.arrays.flow.backlog[0]
    assert out == pytest.approx(w.arrivals.sum(axis=0), rel=1e-9, abs=1e-6)
    assert line.workload_usd.sum() + line.idle_usd.sum() == pytest.approx(line.node_usd.sum(), rel=1e-9)
    assert np.all(line.bad_lost >= 0.0)


@pytest.mark.parametrize("seed", range(300, 306))
def test_faults_do_not_depend_on_how_ticks_are_cut_and_equal_seeds_give_equal_bytes(seed: int) -> None:
    w = faulty(seed)
    sims = [ClusterSim([w.case], rows=400) for _ in range(2)]
    sims[0].run(np.ascontiguousarray(w.arrivals[None]))
    cut = len(w.arrivals) // 3
    sims[1].run(np.ascontiguousarray(w.arrivals[None, :cut]))
    sims[1].run(np.ascontiguousarray(w.arrivals[None, cut:]))
    assert sims[0].state_bytes() == sims[1].state_bytes()
