"""The one decision function: simulation and the live agent call it, an audit recomputes it.

history -> observation -> policy -> raw action -> proposal -> guardrails -> plan. Pure: equal inputs
give equal outputs, nothing passed in is changed, and any error becomes a plan that holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.action import GROUPS, Plan, Proposal, decode, nothing, rows_of
from envs.cluster import ClusterSpec, object_names
from envs.guardrails import PIPELINE, Facts, Guard, Limits, Verdict, all_in_force, permit
from envs.intent import Intent
from envs.observation import encode
from envs.plain import Array, from_plain, read_only, to_plain
from envs.snapshot import History, Snapshot
from policies.policy import Policy, PolicyMemory, Sight


@dataclass(frozen=True)
class Guards:
    """limits and the ordered pipeline; incumbents run with pipeline=()."""

    limits: Limits = field(default_factory=Limits)
    pipeline: tuple[tuple[str, Guard], ...] = PIPELINE


GUARDS = Guards()


@dataclass(frozen=True, eq=False)
class Memory:
    """What one decision hands to the next. *_changed_s: when a plan last changed anything there."""

    workload_changed_s: Array  # (W,) -inf = never
    pool_changed_s: Array  # (L,)
    policy: PolicyMemory

    def __post_init__(self) -> None:
        object.__setattr__(self, "workload_changed_s", read_only(self.workload_changed_s))
        object.__setattr__(self, "pool_changed_s", read_only(self.pool_changed_s))

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> Memory:
        """The memory that `to_dict` wrote. Raises KeyError, TypeError or ValueError on another shape."""
        made: Memory = from_plain(Memory, plain)
        return made


@dataclass(frozen=True, eq=False)
class Decision:
    """What was wanted, what the guards said, what may be done."""

    proposal: Proposal
    verdicts: tuple[Verdict, ...]
    plan: Plan


def first_memory(policy: Policy, spec: ClusterSpec) -> Memory:
    """Before the first decision: nothing was ever changed."""
    never = -np.inf
    return Memory(np.full(len(spec.workloads), never), np.full(len(spec.node_pools), never), policy.start(spec))


def held(policy: Policy, spec: ClusterSpec, name: str, why: str) -> Decision:
    """Change nothing, and say why."""
    targets = nothing(spec)
    plan = Plan(targets, hold=True, why=f"{name}: {why}")
    return Decision(Proposal(policy.name, targets), (Verdict(name, True, why),), plan)


def check_history(history: History, spec: ClusterSpec) -> str:
    """Why this history cannot be judged; empty when it can."""
    if not history:
        return "no snapshot yet"
    names = object_names(spec)
    if any((s.workload_names, s.pool_names) != names for s in history):
        return "the snapshot's workloads or pools are not those of the cluster's specification"
    return ""


def remember_changes(memory: Memory, plan: Plan, snapshot: Snapshot, now_s: float) -> tuple[Array, Array]:
    """(W,), (L,) last change per object: now where the plan differs from what is in force."""
    changed = {}
    for group in GROUPS:
        value, old = rows_of(plan.targets, group), all_in_force(snapshot, group)
        changed[group] = (np.isfinite(value) & (value != old)).any(axis=0)
    for i, types in enumerate(plan.targets.requirements):
        changed["pool"][i] |= bool(types)
    return (
        np.where(changed["workload"], now_s, memory.workload_changed_s),
        np.where(changed["pool"], now_s, memory.pool_changed_s),
    )


def decide(
    policy: Policy,
    memory: Memory,
    history: History,
    spec: ClusterSpec,
    intent: Intent,
    now_s: float,
    key: int,
    *,
    guards: Guards = GUARDS,
) -> tuple[Decision, Memory]:
    """One decision and the memory for the next.

    history: oldest first, the last snapshot is now. key: seed of this decision. Never raises for what
    a policy, a guard or telemetry does: the plan then holds and says why, and the memory stays.
    """
    reason = check_history(history, spec)
    if reason:
        return held(policy, spec, "history", reason), memory
    try:
        sight = Sight(encode(history, spec, intent, policy.reads), spec, intent, now_s, key)
        raw, policy_memory = policy.act(sight, memory.policy)
        proposal = decode(raw, spec, policy.name)
    except Exception as error:
        return held(policy, spec, "policy", f"{type(error).__name__}: {error}"), memory
    facts = Facts(
        snapshot=history[-1],
        spec=spec,
        intent=intent,
        now_s=now_s,
        workload_changed_s=memory.workload_changed_s,
        pool_changed_s=memory.pool_changed_s,
        limits=guards.limits,
    )
    plan, verdicts = permit(proposal, facts, guards.pipeline)
    changed = remember_changes(memory, plan, history[-1], now_s)
    return Decision(proposal, verdicts, plan), Memory(*changed, policy_memory)
