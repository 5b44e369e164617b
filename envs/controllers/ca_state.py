"""The Cluster Autoscaler's configuration, memory and working arrays.

`CaConfig` holds the flags of each cluster's stack, `CaState` what the controller remembers between
loops plus all scratch that a loop needs, so that a loop allocates nothing.
Flags and defaults: cluster-autoscaler as of 2026-08.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.cluster import HOSTNAME_KEY, ZONE_KEY
from envs.controllers.ca_deletion import Cropped, Unneeded, empty_cropped, empty_unneeded
from envs.controllers.ca_eligibility import DrainFlags
from envs.controllers.ca_estimator import Pending, empty_pending
from envs.controllers.ca_expanders import EXPANDERS, Options, empty_options, priority_tiers
from envs.controllers.ca_limits import (
    ALLOCATABLE_RATIO,
    FREE_RATIO,
    MEMORY_RATIO,
    Q_CORES,
    Q_MEM,
    Q_NODES,
    UNLIMITED,
    Quotas,
    per_node_amounts,
    templates_similar,
)
from envs.controllers.ca_snapshot import Journal, Search, empty_journal, empty_search
from envs.controllers.disruption import PDB_NONE
from envs.controllers.placement import fit_scratch
from envs.sim.state import BOOL, F8, I1, I4, Classes, Groups, Nodes, Pods, Topology
from envs.stack import ClusterAutoscaler

GIB = 1 << 30
IGNORED_LABELS = frozenset(
    {
        HOSTNAME_KEY,
        ZONE_KEY,
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/fluentd-ds-ready",
        "kops.k8s.io/instancegroup",
    }
)
POOL_LABELS = frozenset({"karpenter.sh/nodepool", "eks.amazonaws.com/nodegroup"})


class CaConfig(NamedTuple):
    """Flags per cluster, (B,) unless said otherwise."""

    expander: I1  # index into EXPANDERS
    new_pod_delay_s: F8  # a loop in which the oldest pod is younger waits
    scale_down: BOOL
    utilization_limit: F8
    unneeded_s: F8
    unready_s: F8
    delay_after_add_s: F8
    delay_after_delete_s: F8
    delay_after_failure_s: F8
    parallelism: I4
    drain_parallelism: I4
    max_nodes_per_scaleup: I4
    max_provision_s: F8
    initial_backoff_s: F8
    max_backoff_s: F8
    max_nodes_total: I4  # 0 = none
    balance: BOOL
    capped: BOOL  # the estimator stops at the groups' and the cluster's node limits
    shortcut: BOOL  # the estimator's arithmetic shortcut (off by default)
    atomic: BOOL  # (B, G) all-or-nothing groups
    similar: BOOL  # (B, G, G) groups that may be balanced
    quotas: Quotas


class CaState(NamedTuple):
    """Memory across loops, then scratch of one loop."""

    unneeded_since_s: F8  # (B, N) NaN = needed
    unremovable_until_s: F8  # (B, N) found unremovable in simulation: not looked at before
    born_s: F8  # (B, N) creation time of the node that the two above are about
    backoff_until_s: F8  # (B, G)
    backoff_s: F8  # (B, G) length of the last one
    last_add_s: F8  # (B,)
    last_delete_s: F8  # (B,)
    last_failure_s: F8  # (B,) written by whoever carries out the deletions
    last_loop_s: F8  # (B,) NaN = none yet
    min_interval_s: F8  # (B,) shortest time between two loops so far
    budget_start: I4  # (B, W + 1) disruption budgets of class w: budget_item[start:start + 1]
    budget_item: I4  # (B, M)
    budget_left: I4  # (B, Q) disruptions left in this loop
    budget_count: I4  # (B, Q)
    budgets_known: I1  # (B,) budget_left is filled for this loop
    sizes: I4  # (B, G) target sizes: booting, ready and draining
    deleting: I4  # (B, G)
    n_nodes: I4  # (B,)
    valid: BOOL  # (B, G) groups considered in this scale-up
    members: I4  # (B, G)
    new_sizes: I4  # (B, G)
    phase: I1  # (B, N) true phases, restored at the end of the loop
    candidates: I4  # (B, N) nodes eligible for removal, in order
    rank: I1  # (B, N) their rank: empty, unneeded already, others
    move_w: I4  # (B, P) pods that leave the node at hand
    move_p: I4  # (B, P)
    move_counted: BOOL  # (B, P)
    verdict: I1  # (B, P) what the drain rules say of pod p
    lost: I4  # (B, P) unschedulable pods, by priority
    failed: I4  # (B, W) loop in which the class found no place
    options: Options
    pending: Pending
    journal: Journal
    search: Search
    unneeded: Unneeded
    crop: Cropped


class CaOutput(NamedTuple):
    """What one loop decided."""

    add: I4  # (B, G) new nodes per group
    remove: I4  # (B, N) node slots to remove
    needs_drain: BOOL  # (B, N) of remove[i]: pods have to be evicted first
    n_remove: I4  # (B,)


def drain_flags(stack: ClusterAutoscaler) -> DrainFlags:
    """The stack's switches for pods that keep their node alive."""
    return DrainFlags(
        system_pods=stack.skip_nodes_with_system_pods, local_storage=stack.skip_nodes_with_local_storage
    )


def labels_match(
    a: Mapping[str, str], b: Mapping[str, str], ignored: frozenset[str] | set[str] = IGNORED_LABELS
) -> bool:
    """Whether two node templates carry the same labels, ignored ones aside."""
    return {k: v for k, v in a.items() if k not in ignored} == {
        k: v for k, v in b.items() if k not in ignored
    }


def pack_autoscaler(
    stacks: Sequence[ClusterAutoscaler],
    groups: Groups,
    *,
    group_names: Sequence[Sequence[str]] = (),
    group_labels: Sequence[Sequence[Mapping[str, str]]] = (),
    pool_max: NDArray[np.int32] | None = None,
) -> CaConfig:
    """Flags of a batch of stacks; also writes groups.priority_tier from the stacks' priorities.

    group_names[b][g], for expander priority. group_labels[b][g], for similar groups (without them
    groups of one pool are alike). pool_max (B, L): nodes of pool l over all its groups.
    """

    def flag(name: str, dtype: Any = np.float64) -> Any:
        return np.array([getattr(s, name) for s in stacks]).astype(dtype)

    for b, stack in enumerate(stacks):
        if group_names:
            groups.priority_tier[b] = priority_tiers(group_names[b], dict(stack.priorities))
    size = len(stacks)
    return CaConfig(
        expander=np.array([EXPANDERS.index(s.expander) for s in stacks], np.int8),
        new_pod_delay_s=flag("new_pod_delay_s"),
        scale_down=flag("scale_down_enabled", np.bool_),
        utilization_limit=flag("scale_down_utilization_threshold"),
        unneeded_s=flag("scale_down_unneeded_s"),
        unready_s=flag("scale_down_unready_s"),
        delay_after_add_s=flag("scale_down_delay_after_add_s"),
        delay_after_delete_s=flag("scale_down_delay_after_delete_s"),
        delay_after_failure_s=flag("scale_down_delay_after_failure_s"),
        parallelism=flag("max_scale_down_parallelism", np.int32),
        drain_parallelism=flag("max_drain_parallelism", np.int32),
        max_nodes_per_scaleup=flag("max_nodes_per_scaleup", np.int32),
        max_provision_s=flag("max_node_provision_s"),
        initial_backoff_s=flag("initial_backoff_s"),
        max_backoff_s=flag("max_backoff_s"),
        max_nodes_total=flag("max_nodes_total", np.int32),
        balance=flag("balance_similar_node_groups", np.bool_),
        capped=np.ones(size, np.bool_),
        shortcut=np.zeros(size, np.bool_),
        atomic=np.zeros(groups.price.shape, np.bool_),
        similar=_similar(groups, group_labels),
        quotas=_quotas(stacks, groups, pool_max),
    )


def _similar(groups: Groups, labels: Sequence[Sequence[Mapping[str, str]]]) -> BOOL:
    """(B, G, G) pairs of groups that balancing treats as one set; pool names do not tell them apart."""
    size, n = groups.price.shape
    ratios = np.array([MEMORY_RATIO, ALLOCATABLE_RATIO, FREE_RATIO])
    out = np.zeros((size, n, n), np.bool_)
    for b in range(size):
        for g in range(n):
            for h in range(g + 1, n):
                if labels and max(g, h) >= len(labels[b]):
                    continue
                alike = groups.pool[b, g] == groups.pool[b, h]
                if labels:
                    alike = labels_match(labels[b][g], labels[b][h], IGNORED_LABELS | POOL_LABELS)
                if alike and templates_similar(groups.cap, groups.alloc, groups.daemon, b, g, h, ratios):
                    out[b, g, h] = out[b, h, g] = True
    return out


def _quotas(
    stacks: Sequence[ClusterAutoscaler], groups: Groups, pool_max: NDArray[np.int32] | None
) -> Quotas:
    """Quota 0: cores and memory of the whole cluster; then one of nodes for each pool."""
    size, n = groups.price.shape
    pools = 0 if pool_max is None else pool_max.shape[1]
    resources = max(groups.cap.shape[2], Q_NODES + 1)
    limit = np.full((size, 1 + pools, resources), UNLIMITED, np.int64)
    covers = np.zeros((size, 1 + pools, n), np.bool_)
    covers[:, 0] = True
    for b, stack in enumerate(stacks):
        if np.isfinite(stack.max_cores_total):
            limit[b, 0, Q_CORES] = int(stack.max_cores_total)
        if np.isfinite(stack.max_memory_total_gib):
            limit[b, 0, Q_MEM] = int(stack.max_memory_total_gib * GIB)
        for i in range(pools):
            assert pool_max is not None
            limit[b, 1 + i, Q_NODES] = pool_max[b, i]
            covers[b, 1 + i] = groups.pool[b] == i
    return Quotas(limit=limit, covers=covers, per_node=per_node_amounts(groups.cap), left=limit.copy())


def _budgets(classes: Classes) -> tuple[I4, I4]:
    """Each workload with a budget has one of its own: (start (B, W + 1), item (B, W))."""
    has = classes.pdb_kind != PDB_NONE
    size, w = has.shape
    start = np.zeros((size, w + 1), np.int32)
    start[:, 1:] = np.cumsum(has, axis=1)
    item = np.zeros((size, w), np.int32)
    for b in range(size):
        own = np.flatnonzero(has[b])
        item[b, : len(own)] = own
    return start, item


def empty_ca_state(classes: Classes, topology: Topology, groups: Groups, nodes: Nodes, pods: Pods) -> CaState:
    """A controller that has just started: no cooldown, nothing unneeded, nothing in back-off."""
    size, w = classes.priority.shape
    g, n, p = groups.price.shape[1], nodes.group.shape[1], pods.workload.shape[1]
    resources = nodes.used.shape[2]
    start, item = _budgets(classes)
    journal = empty_journal(size, n, p, resources)
    per_pod = np.zeros((size, 2 * p), np.int32)
    return CaState(
        unneeded_since_s=np.full((size, n), np.nan),
        unremovable_until_s=np.full((size, n), -np.inf),
        born_s=np.full((size, n), np.nan),
        backoff_until_s=np.full((size, g), -np.inf),
        backoff_s=np.zeros((size, g)),
        last_add_s=np.full(size, -np.inf),
        last_delete_s=np.full(size, -np.inf),
        last_failure_s=np.full(size, -np.inf),
        last_loop_s=np.full(size, np.nan),
        min_interval_s=np.full(size, np.inf),
        budget_start=start,
        budget_item=item,
        budget_left=np.zeros((size, w), np.int32),
        budget_count=np.zeros((size, w), np.int32),
        budgets_known=np.zeros(size, np.int8),
        sizes=np.zeros((size, g), np.int32),
        deleting=np.zeros((size, g), np.int32),
        n_nodes=np.zeros(size, np.int32),
        valid=np.zeros((size, g), np.bool_),
        members=np.zeros((size, g), np.int32),
        new_sizes=np.zeros((size, g), np.int32),
        phase=np.zeros((size, n), np.int8),
        candidates=np.zeros((size, n), np.int32),
        rank=np.zeros((size, n), np.int8),
        move_w=per_pod.copy(),
        move_p=per_pod.copy(),
        move_counted=np.zeros(per_pod.shape, np.bool_),
        verdict=np.zeros((size, p), np.int8),
        lost=per_pod.copy(),
        failed=np.full((size, w), -1, np.int32),
        options=empty_options(size, g),
        pending=empty_pending(size, w, g, journal.slot.shape[1]),
        journal=journal,
        search=empty_search(size, n, p, fit_scratch(classes, topology)),
        unneeded=empty_unneeded(size, n),
        crop=empty_cropped(size, g, n),
    )


def empty_ca_output(groups: Groups, nodes: Nodes) -> CaOutput:
    """Nothing decided."""
    size, n = nodes.group.shape
    return CaOutput(
        add=np.zeros(groups.price.shape, np.int32),
        remove=np.zeros((size, n), np.int32),
        needs_drain=np.zeros((size, n), np.bool_),
        n_remove=np.zeros(size, np.int32),
    )
