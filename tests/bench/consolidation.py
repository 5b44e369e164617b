"""A cluster of many full nodes in which a consolidation pass has to try each one."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.cluster import ClusterSpec, InstanceType, NodePool, ServiceModel, Workload
from envs.controllers import karpenter_search, karpenter_survey
from envs.scenario import GeneratedDemand, Scenario
from envs.sim.cluster_sim import ClusterSim
from envs.sim.jit import kernel
from envs.sim.pack import Case
from envs.stack import Karpenter, Stack, StaticReplicas

CLASSES = 200
_find, _survey = karpenter_search.find_command, karpenter_survey.survey


@kernel
def one_pass(s: Any) -> int:
    """Survey, emptiness, multi-node, single-node, as one disruption loop has it: candidates, -1 = one could go."""
    s.clock.changes[0] += 1  # something has happened since the pass before: look again
    count = _survey(s, 0, 1e6)
    return -1 if _find(s, 0, count, 1e6) else count


def full_cluster(nodes: int) -> ClusterSim:
    """`nodes` full nodes of one type with 12 pods each, of 200 classes, and cheaper types to move to: none can go."""
    rng = np.random.default_rng(1)
    machines = tuple(
        InstanceType(f"m{i}", 4 * i, 16.0 * i, 4.0 * i - 0.1, 16.0 * i - 1.0, 110, 0.05 * 4 * i) for i in (4, 3, 2, 1)
    )
    pool = NodePool(
        "pool",
        tuple(m.name for m in machines),
        ("a", "b", "c"),
        initial_nodes=nodes,
        max_nodes=nodes + 100,
        daemon_cpu=0.1,
    )
    count = nodes * 12 // CLASSES
    loads = tuple(
        Workload(
            f"w{i}",
            ServiceModel(),
            cpu_request=1.3,
            memory_request_gib=float(rng.choice([1.0, 2.0, 4.0])),
            max_replicas=count,
            min_replicas=count,
        )
        for i in range(CLASSES)
    )
    scenario = Scenario(
        "full", ClusterSpec(loads, (pool,), machines), (GeneratedDemand(),) * CLASSES, 3600.0, 15.0, 0.0
    )
    quiet = Karpenter(consolidate_after_s=float("inf"))
    case = Case(scenario, Stack("k", replicas=StaticReplicas(), nodes=quiet), 1, np.ones(CLASSES), [count] * CLASSES)
    sim = ClusterSim([case])
    sim.run(np.zeros((1, 12, CLASSES)))
    sim.arrays.kp.after_s[:] = 0.0  # from now on every node is looked at
    return sim
