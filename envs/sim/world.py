"""Every array of a batch of clusters in one nested tuple: what the tick kernel works on."""

from __future__ import annotations

from typing import Any, NamedTuple

from envs.sim.flow import Clock, Flow, Rows, Service
from envs.sim.state import F8, I4, Classes, Groups, Nodes, Pods, Topology


class Money(NamedTuple):
    """How a node's dollars are split between its CPU and its memory, (B, G)."""

    cpu_share: F8  # of the node's price
    cap_cpu: F8  # cores sold
    cap_mem_gib: F8


class Scratch(NamedTuple):
    """Working memory of one tick, so that kernels allocate nothing. One row per cluster."""

    node_cpu: F8  # (B, N) cores wanted by ready pods
    node_s: F8  # (B, G) billed node-seconds of this tick
    node_usd: F8  # (B, G) their dollars
    core_usd: F8  # (B, G) dollars of one core for this tick
    gib_usd: F8  # (B, G) likewise of one GiB
    used_usd: F8  # (B, G) dollars of what pods used
    paid_usd: F8  # (B, G) of what they used or reserved
    granted: F8  # (B, W) cores granted on full nodes
    wanted: F8  # (B, W)
    known: F8  # (B, W, KNOWN) what each service remembers of the queueing tables
    failed: I4  # (B, W) pass in which the class found no node
    passes: I4  # (B,)
    event_s: F8  # (B, E) times of this tick's events
    event_kind: I4  # (B, E)
    event_id: I4  # (B, E)


class Sim(NamedTuple):
    """A batch of clusters. `hpa*`, `ca*` and `kp*` are the controllers' own configuration and memory."""

    classes: Classes
    topology: Topology
    groups: Groups
    nodes: Nodes
    pods: Pods
    service: Service
    flow: Flow
    rows: Rows
    clock: Clock
    money: Money
    scratch: Scratch
    faults: Any  # envs.sim.fault_state.Faults
    rng: Any  # (B, N_STREAMS) uint64
    tables: Any  # envs.sim.queueing.QueueTables
    hpa: Any  # envs.controllers.hpa.HpaArrays
    hpa_state: Any
    hpa_sample: Any
    profile: Any  # envs.controllers.scheduler profile
    scheduler: Any  # its scratch
    ca: Any  # envs.controllers.cluster_autoscaler.CaConfig
    ca_state: Any
    ca_out: Any
    static_replicas: I4  # (B, W) fixed count, -1 = the HPA decides
    kp: Any  # envs.controllers.karpenter_layout.KpConfig
    kp_solve: Any
    kp_state: Any  # envs.controllers.karpenter_state.KpState
    scalers: Any  # envs.controllers.scaler_pack.Scalers
