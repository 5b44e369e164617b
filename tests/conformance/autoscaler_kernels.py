"""Python entries to the Cluster Autoscaler's inner kernels. Each only calls the simulator's own function."""

from __future__ import annotations

from typing import Any

from envs.controllers import (
    ca_deletion,
    ca_eligibility,
    ca_estimator,
    ca_expanders,
    ca_limits,
    ca_removal,
    ca_scaleup,
    ca_snapshot,
)
from envs.sim.jit import kernel

_keep_best = ca_expanders.keep_best
_quota_allows, _allowed_by, _balance = ca_limits.allowed_nodes, ca_limits.allowed_by, ca_limits.balance
_utilization, _ineligible = ca_eligibility.node_utilization, ca_eligibility.ineligible_reason
_removable_at, _crop = ca_deletion.removable_at, ca_deletion.crop_to_budgets
_share, _estimate = ca_estimator.size_share, ca_estimator.estimate
_movable, _allow = ca_removal.movable_pods, ca_removal.budgets_allow
_simulate, _find = ca_removal.simulate_removal, ca_removal.find_unneeded
_options, _plan = ca_scaleup.scale_up_options, ca_scaleup.scale_up_plan
_limit, _rollback = ca_deletion.unneeded_limit, ca_snapshot.rollback


@kernel
def keep_best(kind: int, groups: Any, options: Any, b: int, stabilization_usd: float) -> int:
    return _keep_best(kind, groups, options, b, stabilization_usd)


@kernel
def quota_allows(quotas: Any, b: int, g: int, n: int) -> int:
    return _quota_allows(quotas, b, g, n)


@kernel
def allowed_by(quotas: Any, b: int, q: int, g: int, r: int, n: int) -> int:
    return _allowed_by(quotas, b, q, g, r, n)


@kernel
def balance(group: Any, member: int, size: int, new_size: int, top: Any, b: int, n_members: int, n: int) -> int:
    return _balance(group, member, size, new_size, top, b, n_members, n)


@kernel
def utilization(alloc: Any, used: Any, b: int, g: int, n: int, gpu: bool, skip: Any) -> Any:
    return _utilization(alloc, used, b, g, n, gpu, skip[0], skip[1], skip[3])


@kernel
def ineligible(
    recent: bool, deleting: bool, disabled: bool, group: int, skip_unready: bool, use: float, limit: float
) -> int:
    return _ineligible(recent, deleting, disabled, group, skip_unready, use, limit)


@kernel
def removable_at(unneeded: Any, group: Any, min_nodes: Any, b: int, now_s: float) -> int:
    return _removable_at(unneeded, group, min_nodes, b, now_s)


@kernel
def crop(unneeded: Any, cropped: Any, group: Any, atomic: Any, b: int, total: int, drains: int) -> None:
    _crop(unneeded, cropped, group, atomic, b, total, drains)


@kernel
def unneeded_limit(now_unneeded: int, parallelism: int, unneeded_s: float, interval_s: float) -> int:
    return _limit(now_unneeded, parallelism, unneeded_s, interval_s)


@kernel
def size_share(req: Any, alloc: Any, b: int, w: int, g: int) -> float:
    return _share(req, alloc, b, w, g)


@kernel
def estimate(
    classes: Any, topology: Any, groups: Any, nodes: Any, state: Any, b: int, g: int, cap: int, shortcut: bool
) -> int:
    return _estimate(classes, topology, groups, nodes, state.fork, state.pending, b, g, cap, shortcut)


@kernel
def movable_pods(classes: Any, nodes: Any, pods: Any, state: Any, b: int, n: int, now_s: float) -> int:
    return _movable(classes.drain_code, nodes.first_pod, pods, state.fork, state.budget, state.leaving, b, n, now_s)


@kernel
def budgets_allow(budget: Any, leaving: Any, b: int, count: int) -> Any:
    return _allow(budget, leaving, b, count)


@kernel
def simulate_removal(
    classes: Any, topology: Any, groups: Any, nodes: Any, pods: Any, state: Any, b: int, n: int, now_s: float
) -> int:
    return _simulate(classes, topology, groups, nodes, pods, state.fork, state.budget, state.leaving, b, n, now_s)


@kernel
def find_unneeded(
    classes: Any,
    topology: Any,
    groups: Any,
    nodes: Any,
    pods: Any,
    state: Any,
    b: int,
    n_candidates: int,
    limit: int,
    now_s: float,
) -> int:
    return _find(classes, topology, groups, nodes, pods, state, b, n_candidates, limit, now_s)


@kernel
def scale_up_options(
    classes: Any, topology: Any, groups: Any, nodes: Any, cfg: Any, state: Any, b: int, now_s: float
) -> int:
    return _options(classes, topology, groups, nodes, cfg, state, b, now_s)


@kernel
def scale_up_plan(groups: Any, cfg: Any, state: Any, add: Any, b: int, o: int) -> int:
    return _plan(groups, cfg, state, add, b, o)


@kernel
def undo(classes: Any, topology: Any, groups: Any, nodes: Any, state: Any, b: int) -> None:
    _rollback(classes, topology, nodes, state.fork, b, 0)
