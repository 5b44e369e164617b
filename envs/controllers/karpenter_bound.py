"""Nodes that cannot be consolidated, found by counting: most of them need no simulation. Compiled.

If more pods of at least some CPU size are to move than so large pods have room anywhere, no order of placing
them succeeds. Sizes are a few of the CPU requests there are (`kp.size`), each with the least memory that a pod
of that size asks for, so the room is never counted too small. Pods that may go on the same node groups are a
family; the pods of one meet only the nodes that it may use. Family 0 may use all of them.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_layout import NO_LIMIT, S_CPU, S_MEMORY
from envs.controllers.karpenter_roll import note_roll
from envs.controllers.karpenter_state import LIST, R_FAMILY, UNLISTED
from envs.sim.jit import inner
from envs.sim.state import CPU, MEM, NODE_READY, PODS


@inner
def most_pods(size: Any, k: int, cpu: int, memory: int, pods: int) -> int:
    """At most so many pods of size k or more have room in what is free. size: (SIZE_PLANES, sizes)."""
    if cpu < size[S_CPU, k] or pods < 1 or (size[S_MEMORY, k] > 0 and memory < size[S_MEMORY, k]):
        return 0
    if cpu < 2 * size[S_CPU, k]:
        return 1
    count = min(cpu // size[S_CPU, k], pods)
    return min(count, memory // size[S_MEMORY, k]) if size[S_MEMORY, k] > 0 else count


@inner
def most_on_node(s: Any, b: int, k: int, n: int) -> int:
    """At most so many more pods of size k or more have room on node n."""
    alloc, used = s.groups.alloc[b, s.nodes.group[b, n]], s.nodes.used[b, n]
    return most_pods(s.kp.size[b], k, alloc[CPU] - used[CPU], alloc[MEM] - used[MEM], alloc[PODS] - used[PODS])


@inner
def count_room(s: Any, b: int) -> None:
    """room[f, k] = pods of size k or more that have room on the ready nodes of family f, at most.

    After waiting pods have been placed and nodes in their quiet time closed.
    """
    room, smallest = s.kp_state.room[b], s.kp.size[b, S_CPU, 0]
    room[:] = 0
    phase, group, closed = s.nodes.phase[b], s.nodes.group[b], s.kp_solve.closed[b]
    alloc, used, family_has = s.groups.alloc[b], s.nodes.used[b], s.kp.family_has[b]
    for n in range(s.nodes.hi[b]):
        g = group[n]
        if phase[n] != NODE_READY or closed[n] or alloc[g, CPU] - used[n, CPU] < smallest:
            continue
        for k in range(room.shape[1]):
            count = most_on_node(s, b, k, n)
            if count == 0:
                break  # nor for anything larger
            for f in range(room.shape[0]):
                room[f, k] += count if family_has[f, g] else 0


@inner
def cannot_move(s: Any, b: int, n: int) -> bool:
    """Whether the pods of candidate n are too many for the other nodes and one cheaper new node."""
    if note_roll(s, b, n) == UNLISTED:
        return False
    g, f = s.nodes.group[b, n], s.kp_state.roll_of[b, n, R_FAMILY]
    room, at_least = s.kp_state.room[b, f], s.kp_state.at_least[b, n]
    counted, cpu, memory = s.kp.family_has[b, f, g], s.kp_state.cheaper[b, 0, g], s.kp_state.cheaper[b, 1, g]
    for k in range(room.shape[0]):
        if at_least[k] == 0:
            return False
        own = most_on_node(s, b, k, n) if counted else 0
        if at_least[k] > room[k] - own + most_pods(s.kp.size[b], k, cpu, memory, NO_LIMIT):
            return True
    return False


@inner
def cannot_move_all(s: Any, b: int, count: int) -> bool:
    """Whether the pods of the first `count` nodes of LIST are too many for the other nodes and one new node.

    Of whatever type: the nodes together cost more than most.
    """
    tally, room = s.kp_state.tally[b], s.kp_state.room[b]
    tally[:] = 0
    for i in range(count):
        n = s.kp_state.node[b, LIST, i]
        if note_roll(s, b, n) == UNLISTED:
            return False
        f = s.kp_state.roll_of[b, n, R_FAMILY]
        counted = s.kp.family_has[b, f, s.nodes.group[b, n]]
        for k in range(tally.shape[1]):
            own = most_on_node(s, b, k, n) if counted else 0
            if own == 0 and s.kp_state.at_least[b, n, k] == 0:
                break
            tally[f, k] += s.kp_state.at_least[b, n, k] + own
    for f in range(tally.shape[0]):
        for k in range(tally.shape[1]):
            if tally[f, k] > room[f, k] and tally[f, k] > room[f, k] + most_on_new(s, b, k):
                return True
    return False


@inner
def most_on_new(s: Any, b: int, k: int) -> int:
    """At most so many pods of size k or more have room on one new node of any type."""
    most = 0
    for g in range(s.groups.alloc.shape[1]):
        alloc, daemon = s.groups.alloc[b, g], s.groups.daemon[b, g]
        most = max(most, most_pods(s.kp.size[b], k, alloc[CPU] - daemon[CPU], alloc[MEM] - daemon[MEM], NO_LIMIT))
    return most
