"""The Cluster Autoscaler's configuration, memory and working arrays.

`CaConfig` holds the flags of each cluster's stack, `CaState` what the controller remembers between
loops plus all scratch that a loop needs, so that a loop allocates nothing.
Flags and defaults: cluster-autoscaler as of 2026-08.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.cluster import HOSTNAME_KEY, ZONE_KEY
from envs.controllers.ca_deletion import Cropped, Unneeded, empty_cropped, empty_unneeded
from envs.controllers.ca_eligibility import DrainFlags
from envs.controllers.ca_expanders import EXPANDERS, priority_tiers
from envs.controllers.ca_layout import (
    B_ITEM,
    B_START,
    BACKOFF_UNTIL,
    BALANCE,
    CAPPED,
    DELAY_ADD_S,
    DELAY_DELETE_S,
    DELAY_FAILURE_S,
    DRAIN_PARALLELISM,
    EXPANDER,
    FLAGS,
    GROUP_PLANES,
    INITIAL_BACKOFF_S,
    LAST_LOOP,
    MAX_BACKOFF_S,
    MAX_NODES_TOTAL,
    MAX_PER_SCALEUP,
    MAX_PROVISION_S,
    MIN_INTERVAL,
    NEW_POD_DELAY_S,
    PARALLELISM,
    SCALE_DOWN,
    UNNEEDED_S,
    UNREADY_S,
    UNREMOVABLE_UNTIL,
    UTILIZATION_LIMIT,
    Fork,
    Options,
    Pending,
    empty_fork,
    empty_options,
    empty_pending,
)
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
from envs.controllers.disruption import PDB_NONE
from envs.controllers.placement import fit_scratch
from envs.sim.state import BOOL, F8, I4, I8, Classes, Groups, Nodes, Pods, Topology
from envs.stack import ClusterAutoscaler

GIB = 1 << 30
FLAG_NAMES = {
    NEW_POD_DELAY_S: "new_pod_delay_s",
    SCALE_DOWN: "scale_down_enabled",
    UTILIZATION_LIMIT: "scale_down_utilization_threshold",
    UNNEEDED_S: "scale_down_unneeded_s",
    UNREADY_S: "scale_down_unready_s",
    DELAY_ADD_S: "scale_down_delay_after_add_s",
    DELAY_DELETE_S: "scale_down_delay_after_delete_s",
    DELAY_FAILURE_S: "scale_down_delay_after_failure_s",
    PARALLELISM: "max_scale_down_parallelism",
    DRAIN_PARALLELISM: "max_drain_parallelism",
    MAX_PER_SCALEUP: "max_nodes_per_scaleup",
    MAX_PROVISION_S: "max_node_provision_s",
    INITIAL_BACKOFF_S: "initial_backoff_s",
    MAX_BACKOFF_S: "max_backoff_s",
    MAX_NODES_TOTAL: "max_nodes_total",
    BALANCE: "balance_similar_node_groups",
}
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
    """Flags per cluster; the planes of `flag` are named in ca_layout (EXPANDER ... SHORTCUT)."""

    flag: F8  # (B, FLAGS)
    atomic: BOOL  # (B, G) all-or-nothing groups
    similar: BOOL  # (B, G, G) groups that may be balanced
    quotas: Quotas


class CaState(NamedTuple):
    """Memory across loops, then scratch of one loop. Planes are named in ca_layout."""

    last_failure_s: F8  # (B,) written by whoever carries out the deletions
    clock: F8  # (B, 4)
    node_s: F8  # (B, 3, N)
    group_s: F8  # (B, 2, G)
    node_count: I8  # (B,)
    group: I8  # (B, GROUP_PLANES, G)
    slot: I8  # (B, 3, N)
    budget: I8  # (B, 4, W + 1)
    leaving: I8  # (B, 3, 2 P)
    fork: Fork
    pending: Pending
    options: Options
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
    return DrainFlags(system_pods=stack.skip_nodes_with_system_pods, local_storage=stack.skip_nodes_with_local_storage)


def labels_match(
    a: Mapping[str, str], b: Mapping[str, str], ignored: frozenset[str] | set[str] = IGNORED_LABELS
) -> bool:
    """Whether two node templates carry the same labels, ignored ones aside."""
    return {k: v for k, v in a.items() if k not in ignored} == {k: v for k, v in b.items() if k not in ignored}


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

    for b, stack in enumerate(stacks):
        if group_names:
            tiers = priority_tiers(group_names[b], dict(stack.priorities))
            groups.priority_tier[b, : len(tiers)] = tiers
    flags = np.zeros((len(stacks), FLAGS))
    for plane, name in FLAG_NAMES.items():
        flags[:, plane] = [float(getattr(s, name)) for s in stacks]
    flags[:, EXPANDER] = [EXPANDERS.index(s.expander) for s in stacks]
    flags[:, CAPPED] = 1.0
    return CaConfig(
        flag=flags,
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


def _quotas(stacks: Sequence[ClusterAutoscaler], groups: Groups, pool_max: NDArray[np.int32] | None) -> Quotas:
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


def _budgets(classes: Classes) -> I8:
    """CaState.budget: each workload with a disruption budget has one of its own."""
    has = classes.pdb_kind != PDB_NONE
    size, w = has.shape
    out = np.zeros((size, 4, w + 1), np.int64)
    out[:, B_START, 1:] = np.cumsum(has, axis=1)
    for b in range(size):
        own = np.flatnonzero(has[b])
        out[b, B_ITEM, : len(own)] = own
    return out


def empty_ca_state(classes: Classes, topology: Topology, groups: Groups, nodes: Nodes, pods: Pods) -> CaState:
    """A controller that has just started: no cooldown, nothing unneeded, nothing in back-off."""
    size, w = classes.priority.shape
    g, n, p = groups.price.shape[1], nodes.group.shape[1], pods.workload.shape[1]
    state = CaState(
        last_failure_s=np.full(size, -np.inf),
        clock=np.full((size, 4), -np.inf),
        node_s=np.full((size, 3, n), np.nan),
        group_s=np.zeros((size, 2, g)),
        node_count=np.zeros(size, np.int64),
        group=np.zeros((size, GROUP_PLANES, g), np.int64),
        slot=np.zeros((size, 3, n), np.int64),
        budget=_budgets(classes),
        leaving=np.zeros((size, 3, 2 * p), np.int64),
        fork=empty_fork(classes, n, p, fit_scratch(classes, topology)),
        pending=empty_pending(size, w, g),
        options=empty_options(size, g),
        unneeded=empty_unneeded(size, n),
        crop=empty_cropped(size, g, n),
    )
    state.clock[:, LAST_LOOP] = np.nan
    state.clock[:, MIN_INTERVAL] = np.inf
    state.node_s[:, UNREMOVABLE_UNTIL] = -np.inf
    state.group_s[:, BACKOFF_UNTIL] = -np.inf
    return state


def empty_ca_output(groups: Groups, nodes: Nodes) -> CaOutput:
    """Nothing decided."""
    size, n = nodes.group.shape
    return CaOutput(
        add=np.zeros(groups.price.shape, np.int32),
        remove=np.zeros((size, n), np.int32),
        needs_drain=np.zeros((size, n), np.bool_),
        n_remove=np.zeros(size, np.int32),
    )
