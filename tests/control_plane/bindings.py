"""Is the node that the real scheduler chose among those that ours holds to be equally best?

The recorded pods and nodes are replayed in the order of etcd's revisions into the simulator's own books, and at each
binding its scheduling kernels score every node as it stood. Only the choice is judged, so an error does
not carry on to the next one: the pod then goes where it really went.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from envs.controllers.placement import bind, count_pod, reserve
from envs.controllers.scheduler import find_feasible, order_nodes, score_feasible
from envs.demand import Demand
from envs.rollout import case_of
from envs.scenario import Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.jit import kernel
from envs.sim.pack_placement import node_groups
from envs.sim.state import NODE_DRAINING, NODE_FREE, NODE_READY
from tests.control_plane.recorded import NodeLife, node_lives
from tests.control_plane.recording import Recording
from tests.control_plane.shadow import group_key

UNFIT, WORSE, BEST = 0, 1, 2


@kernel
def judge(s: Any, w: int, n: int) -> int:
    """What choosing slot n for a pod of class w is in cluster 0."""
    order_nodes(s.topology, s.nodes, 0, s.scheduler)
    found = find_feasible(s.classes, s.topology, s.groups, s.nodes, s.profile, 0, w, s.scheduler)
    if found > 1:
        score_feasible(s.classes, s.topology, s.groups, s.nodes, s.profile, 0, w, s.scheduler)
    chosen, best = -1, -1
    for i in range(found):
        score = s.scheduler.score[0, i] if found > 1 else 0
        best = max(best, score)
        if s.scheduler.feasible[0, i] == n:
            chosen = score
    if chosen < 0:
        return UNFIT
    return BEST if chosen == best else WORSE


@kernel
def put_pod(s: Any, w: int, n: int) -> None:
    bind(s.classes, s.topology, s.nodes, 0, w, n)


@kernel
def announce_end(s: Any, w: int, n: int) -> None:
    count_pod(s.topology, s.nodes, 0, w, n, -1)


@kernel
def take_pod(s: Any, w: int, n: int) -> None:
    reserve(s.classes, s.nodes, 0, w, n, -1)


@dataclass(frozen=True)
class BindingCheck:
    """agreed: the real node is among our equal best. The rest of judged: it fits but scores less, or does not fit."""

    judged: int
    agreed: int
    worse: int
    unfit: int

    @property
    def share(self) -> float:
        return self.agreed / self.judged if self.judged else 1.0


class _Books:
    """The simulator's arrays, following a recording."""

    def __init__(self, recording: Recording, scenario: Scenario) -> None:
        demand = Demand.pack([scenario], [scenario.seed])
        self.sim = ClusterSim([case_of(scenario, scenario.stacks[0], scenario.seed, demand)])
        nodes = self.sim.arrays.nodes
        nodes.group[0], nodes.phase[0], nodes.hi[0], nodes.n_free[0] = -1, NODE_FREE, 0, 0
        self.lives: dict[int, NodeLife] = node_lives(recording)
        groups = node_groups(scenario.cluster)
        self.groups = {group_key(g.labels): i for i, g in enumerate(groups)}
        self.slots: dict[int, int] = {}
        self.pods: dict[int, tuple[int, int]] = {}  # pod -> workload, slot (-1 while unbound)
        self.ended: set[int] = set()
        self.counts = [0, 0, 0]

    def node(self, event: dict[str, Any]) -> None:
        """Joined nodes are domains; open ones take pods."""
        nodes, stage, number = self.sim.arrays.nodes, event["s"], event["n"]
        if stage == "joined":
            life = self.lives[number]
            slot = self._slot()
            group = self.groups[life.pool, life.type, life.zone, life.capacity]
            self.slots[number] = slot
            nodes.group[0, slot], nodes.phase[0, slot] = group, NODE_DRAINING
            nodes.used[0, slot] = self.sim.arrays.groups.daemon[0, group]
            nodes.score_used[0, slot] = self.sim.arrays.groups.daemon[0, group, :2]
            nodes.n_pods[0, slot] = 0
            nodes.pods_of[0, :, slot] = 0
        elif number in self.slots and stage in ("open", "not open"):
            nodes.phase[0, self.slots[number]] = NODE_READY if stage == "open" else NODE_DRAINING
        elif number in self.slots and stage == "left":
            nodes.phase[0, self.slots[number]] = NODE_FREE

    def _slot(self) -> int:
        """A slot that no node ever had: pods may be reported gone after their node."""
        nodes = self.sim.arrays.nodes
        nodes.hi[0] += 1
        if nodes.hi[0] > nodes.group.shape[1]:
            raise RuntimeError("the recording has more nodes in its life than the simulator has slots")
        return int(nodes.hi[0]) - 1

    def pod(self, event: dict[str, Any]) -> None:
        view, number, stage = self.sim.view, event["p"], event["s"]
        if stage == "created":
            self.pods[number] = (event["w"], -1)
            return
        w, slot = self.pods[number]
        if stage == "bound":
            self._bound(number, w, self.slots.get(event["n"], -1), judged=event["t"])
        elif stage == "deleted" and slot >= 0:
            self.ended.add(number)
            announce_end(view, w, slot)
        elif stage == "gone" and slot >= 0:
            if number not in self.ended:
                announce_end(view, w, slot)
            take_pod(view, w, slot)

    def _bound(self, number: int, w: int, slot: int, *, judged: float) -> None:
        if slot < 0:
            self.counts[UNFIT] += 1
            return
        self.sim.arrays.scheduler.order_key[0, 0] = -2  # look at the slots afresh
        self.counts[judge(self.sim.view, w, slot)] += 1
        put_pod(self.sim.view, w, slot)
        self.pods[number] = (w, slot)


def check_bindings(recording: Recording, scenario: Scenario) -> BindingCheck:
    """Every binding of the recording, the warm-up's included."""
    books = _Books(recording, scenario)
    for event in in_order(recording):
        books.node(event) if event["k"] == "node" else books.pod(event)
    return BindingCheck(sum(books.counts), books.counts[BEST], books.counts[WORSE], books.counts[UNFIT])


def in_order(recording: Recording) -> Iterator[dict[str, Any]]:
    """Pod and node events by revision; bindings that follow each other directly as the scheduler decided them.

    The scheduler decides one pod at a time and writes bindings from threads, so revisions of a burst may be
    out of order; its log has the order in which it took pods up.
    """
    events = sorted((e for e in recording.events if e["k"] in ("pod", "node")), key=lambda e: (e["rv"], e["t"]))
    last = {p: i for tried in recording.of("tried") for i, p in enumerate(tried["p"])}
    burst: list[dict[str, Any]] = []
    for event in events:
        if event["k"] == "pod" and event["s"] == "bound":
            burst.append(event)
            continue
        if event["k"] == "pod" and event["s"] in ("ready", "created"):
            yield event  # neither changes what a choice depends on
            continue
        yield from sorted(burst, key=lambda e: last.get(e["p"], -1))
        burst = []
        yield event
    yield from sorted(burst, key=lambda e: last.get(e["p"], -1))
