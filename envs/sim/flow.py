"""Per-workload state that changes every tick, and the static service parameters beside it.

Axes as in envs.sim.state; H = length of the metric history in ticks, F = fields of a row,
Y = rows kept. Units: seconds, cores, GiB, requests, USD.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.sim.backlog import META
from envs.sim.state import F8, I1, I4, I8

# fields of a 5-minute row, per workload
(
    OFFERED,
    GOOD,
    BAD_SATURATED,
    BAD_STARTING,
    BAD_NO_NODE,
    READY_S,
    DESIRED_S,
    PENDING_S,
    STARTING_S,
    CAPACITY,
    CPU_USED_S,
    CPU_REQUESTED_S,
    MEM_USED_S,
    MEM_REQUESTED_S,
    BACKLOG,
    OOM,
    USD,
    BAD_LOST,
) = range(18)
N_FIELDS = 18
# fields of a row, per node group
NODE_S, NODE_USD, USED_USD, UNUSED_USD, IDLE_USD = range(5)
N_GROUP_FIELDS = 5
# fields of a row, per cluster
PODS_STARTED, PODS_EVICTED, NODES_ADDED, NODES_REMOVED, REPLICA_CHANGES, NODES_LOST, INTERRUPTIONS = range(7)
N_CLUSTER_FIELDS = 7

SERVICE, QUEUE, BATCH = 0, 1, 2


class Service(NamedTuple):
    """Static parameters of workloads, (B, W) each. See envs.cluster.ServiceModel and Workload."""

    kind: I1
    slots: F8
    service_s: F8
    cv: F8
    cpu_s: F8  # CPU-seconds per request
    threshold_s: F8
    timeout_s: F8
    balancing: I1  # 0 random, 1 least_request, 2 pooled
    mem_base_gib: F8
    mem_slot_gib: F8
    cpu_request: F8  # cores
    mem_request_gib: F8
    cpu_limit: F8
    mem_limit_gib: F8
    start_mean_s: F8
    start_cv: F8
    grace_s: F8
    backlog_age_slo_s: F8
    deadline_s: F8
    metric_age_s: F8  # base age of this workload's samples; the scrape's sawtooth comes on top


class Flow(NamedTuple):
    """What one tick hands to the next, per workload."""

    spec_replicas: I4  # (B, W) spec.replicas
    n_ready: I4
    n_starting: I4
    n_pending: I4
    n_terminating: I4
    ready_pod_s: F8  # (B, W) ready pod-seconds of the tick in work
    young_until_s: F8  # until then some ready pod may be without a sample that counts
    tries: I4  # (B, W) failed scheduling tries in a row
    next_try_s: F8  # (B, W) not before, for pods that were there already; -inf = at once
    backlog: F8  # (B, W) requests waiting
    cohorts: I4  # (B, W) ring length of kinds queue and batch (envs.sim.backlog)
    ring: F8  # (B, W, K) items left of each cohort
    ring_meta: F8  # (B, W, 5)
    busy: F8  # (B, W) mean busy slots of the last tick
    cpu_per_pod: F8  # (B, W) cores a ready pod used in the last tick
    mem_per_pod_gib: F8
    speed: F8  # (B, W) CPU that a pod may have over what it burns with every slot busy, (0, 1]
    bound_in_group: I4  # (B, W, G) bound pods per node group, terminating ones included
    cum_cpu_s: F8  # (B, W, H) cumulative core-seconds at the end of each tick (ring)
    cum_mem_gib_s: F8  # (B, W, H)
    cum_ready_s: F8  # (B, W, H) cumulative ready pod-seconds
    cum_offered: F8  # (B, W, H) cumulative requests
    cum_bad: F8  # (B, W, H)
    backlog_ring: F8  # (B, W, H)


class Rows(NamedTuple):
    """Accumulators of 5-minute rows (a ring of Y rows), and totals over the horizon."""

    work: F8  # (B, Y, F, W)
    group: F8  # (B, Y, N_GROUP_FIELDS, G)
    cluster: F8  # (B, Y, N_CLUSTER_FIELDS)


class Clock(NamedTuple):
    """Controllers' own periods and phases, and what the tick needs between events."""

    tick_s: F8  # (B,) length of a tick
    hpa_period_s: F8  # (B,)
    ca_period_s: F8  # (B,)
    lowest_priority: I4  # (B,) of all workloads
    priorities: I1  # (B,) 1: workloads differ in priority, so preemption is possible
    claim_until_s: F8  # (B, N) until then a preempting pod has first call on the node's free room
    claim_priority: I4  # (B, N) its priority
    fresh: I1  # (B,) 1: pods were created since the scheduler looked
    hpa_order: I4  # (B, W) workloads by phase of their HPA sync
    hpa_phase_s: F8  # (B, W) in [0, sync period)
    hpa_next: I8  # (B,) index of the next sync: cycle * W + position
    ca_next_s: F8  # (B,) next Cluster Autoscaler loop; inf = none
    retry: I1  # (B,) 1: something was freed, unschedulable pods are worth another look
    first_tick: I8  # (B,) tick that the simulation started with (negative: warm-up)
    pool_max: I4  # (B, L) nodes of a pool in all
    active: I4  # (B, P) pods that are starting or terminating
    active_at: I4  # (B, P) position in `active`, -1 = not in it
    n_active: I4  # (B,)
    node_extra_s: F8  # (B, G) node-seconds in this tick beyond live nodes * dt (signed)
    live_nodes: I4  # (B, G) billed nodes
    drain_since_s: F8  # (B, N) start of a drain; of a free slot when its last node was removed
    n_draining: I4  # (B,)
    n_booting: I4  # (B,)
    api_delay_s: F8  # (B,) what a write to the API takes longer than usual
    api_since_s: F8  # (B,) since when
    overflow: I4  # (B,) pods or nodes that found no slot: must stay 0
    pod_event_s: F8  # (B, N) when a pod last came to or left a node; NaN = never
    claim_event_s: F8  # (B, N) lastPodEventTime of its NodeClaim; NaN = never
    pods_version: I8  # (B, N) goes up when a pod is bound to a node or told to end, and when the node is new
    ends_count: I1  # (B,) 1: a pod's end is such an event: kubelets report a terminal phase before the pod is gone
    changes: I8  # (B,) how often Karpenter's cluster state changed: a pod bound or gone, a node that is new, ready,
    # marked to go (or no longer) or gone; a pod's notice to end is none
    change_s: F8  # (B,) when that, or a node's arrival or end, last happened


def empty_flow(b: int, w: int, g: int, history: int, cohorts: I4) -> Flow:
    """All zero, speed 1. cohorts (B, W): ring length of each workload."""

    def ints() -> I4:
        return np.zeros((b, w), np.int32)

    def reals(*more: int) -> F8:
        return np.zeros((b, w, *more))

    return Flow(
        spec_replicas=ints(),
        n_ready=ints(),
        n_starting=ints(),
        n_pending=ints(),
        n_terminating=ints(),
        ready_pod_s=reals(),
        young_until_s=reals(),
        tries=ints(),
        next_try_s=np.full((b, w), -np.inf),
        backlog=reals(),
        cohorts=cohorts,
        ring=reals(int(cohorts.max())),
        ring_meta=reals(META),
        busy=reals(),
        cpu_per_pod=reals(),
        mem_per_pod_gib=reals(),
        speed=np.ones((b, w)),
        bound_in_group=np.zeros((b, w, g), np.int32),
        cum_cpu_s=reals(history),
        cum_mem_gib_s=reals(history),
        cum_ready_s=reals(history),
        cum_offered=reals(history),
        cum_bad=reals(history),
        backlog_ring=reals(history),
    )


def empty_rows(b: int, y: int, w: int, g: int) -> Rows:
    """All zero."""
    return Rows(np.zeros((b, y, N_FIELDS, w)), np.zeros((b, y, N_GROUP_FIELDS, g)), np.zeros((b, y, N_CLUSTER_FIELDS)))
