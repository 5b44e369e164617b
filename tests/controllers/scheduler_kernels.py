"""Python entries to kernels that otherwise only kernels call."""

from __future__ import annotations

from typing import Any

from envs.controllers import placement, scheduler
from envs.sim.jit import kernel

_bind, _unbind, _reserve, _count_pod = (
    placement.bind,
    placement.unbind,
    placement.reserve,
    placement.count_pod,
)
_measure, _fits = placement.measure, placement.fits
_schedule_one, _find_preemption = scheduler.schedule_one, scheduler.find_preemption


@kernel
def bind(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int) -> None:
    _bind(classes, topology, nodes, b, w, n)


@kernel
def unbind(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int) -> None:
    _unbind(classes, topology, nodes, b, w, n)


@kernel
def reserve(classes: Any, nodes: Any, b: int, w: int, n: int, delta: int) -> None:
    _reserve(classes, nodes, b, w, n, delta)


@kernel
def count_pod(topology: Any, nodes: Any, b: int, w: int, n: int, delta: int) -> None:
    _count_pod(topology, nodes, b, w, n, delta)


@kernel
def feasible_nodes(
    classes: Any, topology: Any, groups: Any, nodes: Any, b: int, w: int, scratch: Any, out: Any
) -> None:
    """out[n] = whether a pod of class w fits on slot n."""
    _measure(classes, topology, nodes, b, w, scratch)
    for n in range(nodes.hi[b]):
        out[n] = _fits(classes, topology, groups, nodes, b, w, n, scratch)


@kernel
def schedule_one(
    classes: Any, topology: Any, groups: Any, nodes: Any, profile: Any, rng: Any, b: int, w: int, scratch: Any
) -> int:
    return _schedule_one(classes, topology, groups, nodes, profile, rng, b, w, scratch)


@kernel
def find_preemption(
    classes: Any, topology: Any, groups: Any, nodes: Any, pods: Any, counts: Any, b: int, w: int, scratch: Any
) -> int:
    return _find_preemption(classes, topology, groups, nodes, pods, counts, b, w, scratch)
