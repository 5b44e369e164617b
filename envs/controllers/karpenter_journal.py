"""The journal of a solve: what was put on existing nodes and into domains, so that it can be undone. Compiled."""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_layout import (
    J_CLASS,
    J_DOMAIN,
    J_KIND,
    J_OFF_NODE,
    J_ON_NODE,
    J_WHERE,
    N_CLAIMS,
    N_JOURNAL,
)
from envs.controllers.placement import all_plain
from envs.sim.jit import inner


@inner
def log(solve: Any, b: int, kind: int, where: int, w: int) -> None:
    """Add a journal entry; the journal has room for every pod and domain."""
    i = solve.at[b, N_JOURNAL]
    solve.at[b, N_JOURNAL] = i + 1
    solve.journal[b, J_KIND, i] = kind
    solve.journal[b, J_WHERE, i] = where
    solve.journal[b, J_CLASS, i] = w


@inner
def shift(classes: Any, topology: Any, nodes: Any, b: int, w: int, n: int, delta: int, counted: bool) -> None:
    """Put a pod of class w on node n's books (1) or take it off (-1), with its topology if that matters."""
    for r in range(classes.req.shape[2]):
        nodes.used[b, n, r] += delta * classes.req[b, w, r]
    if counted:
        nodes.pods_of[b, w, n] += delta
        g = nodes.group[b, n]
        for t in range(1, topology.group_domain.shape[2]):
            d = topology.group_domain[b, g, t]
            if d >= 0:
                topology.dom_pods[b, t, d, w] += delta


@inner
def take_off(config: Any, classes: Any, topology: Any, nodes: Any, solve: Any, b: int, w: int, n: int) -> None:
    """A pod of class w leaves node n in the simulation."""
    log(solve, b, J_OFF_NODE, n, w)
    shift(classes, topology, nodes, b, w, n, -1, not all_plain(config.plain, b))


@inner
def undo(config: Any, classes: Any, topology: Any, nodes: Any, solve: Any, b: int, mark: int) -> None:
    """Take the journal back to entry `mark`, and forget all claims."""
    counted, D = not all_plain(config.plain, b), topology.dom_pods.shape[2]
    for i in range(solve.at[b, N_JOURNAL] - 1, mark - 1, -1):
        kind, where, w = solve.journal[b, J_KIND, i], solve.journal[b, J_WHERE, i], solve.journal[b, J_CLASS, i]
        if kind == J_ON_NODE:
            shift(classes, topology, nodes, b, w, where, -1, counted)
        elif kind == J_OFF_NODE:
            shift(classes, topology, nodes, b, w, where, 1, counted)
        elif kind == J_DOMAIN:
            topology.dom_pods[b, where // D, where % D, w] -= 1
        else:
            solve.extra[b, where // D, where % D, w] -= 1
    solve.at[b, N_JOURNAL] = mark
    solve.at[b, N_CLAIMS] = 0
