"""Nodes that cannot be consolidated, found by counting: most of them need no simulation. Compiled.

If more pods of at least some CPU size are to move than so large pods have room anywhere, no order of placing
them succeeds. Sizes are a few of the CPU requests there are (`kp.size`), each with the least memory that a pod
of that size asks for, so the room is never counted too small. Pods that may go on the same node groups are a
family; the pods of one meet only the nodes that it may use. Family 0 may use all of them.

A pod prefers a node that boots to a new one, and a move that relies on a node that boots is not made. So where
one has room for any pod of a family, these have to find room on ready nodes alone.
"""

from __future__ import annotations

from typing import Any

from envs.controllers.karpenter_layout import NO_LIMIT, S_CPU, S_MEMORY
from envs.controllers.karpenter_roll import note_roll
from envs.controllers.karpenter_state import LIST, R_FAMILY, UNLISTED
from envs.sim.jit import inner
from envs.sim.state import CPU, MEM, NODE_BOOTING, NODE_READY, PODS


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
    """room[f, k] = pods of size k or more that have room on the ready nodes of family f, at most; and boots[f].

    After waiting pods have been placed and nodes in their quiet time closed.
    """
    room, boots, smallest = s.kp_state.room[b], s.kp_state.boots[b], s.kp.size[b, S_CPU, 0]
    room[:] = 0
    boots[:] = False
    phase, group, closed = s.nodes.phase[b], s.nodes.group[b], s.kp_solve.closed[b]
    alloc, used, family_has = s.groups.alloc[b], s.nodes.used[b], s.kp.family_has[b]
    for n in range(s.nodes.hi[b]):
        g = group[n]
        if g < 0 or closed[n] or alloc[g, CPU] - used[n, CPU] < smallest:
            continue
        if phase[n] == NODE_BOOTING and takes_widest(s, b, n):
            for f in range(1, boots.shape[0]):
                boots[f] = boots[f] or family_has[f, g]
        for k in range(room.shape[1] if phase[n] == NODE_READY else 0):
            count = most_on_node(s, b, k, n)
            if count == 0:
                break  # nor for anything larger
            for f in range(room.shape[0]):
                room[f, k] += count if family_has[f, g] else 0


@inner
def takes_widest(s: Any, b: int, n: int) -> bool:
    """Whether node n has room for a pod of any class, and nothing but room decides."""
    alloc, used, widest = s.groups.alloc[b, s.nodes.group[b, n]], s.nodes.used[b, n], s.kp.widest[b]
    takes = True
    for r in range(widest.shape[0]):
        takes = takes and (widest[r] == 0 or used[r] + widest[r] <= alloc[r])
    return takes


@inner
def count_new(s: Any, b: int) -> None:
    """on_new: the most pods of each size or more that one new node has room for. After `measure_cheaper`."""
    on_new, cheaper, groups = s.kp_state.on_new[b], s.kp_state.cheaper[b], s.groups.price.shape[1]
    for k in range(on_new.shape[1]):
        on_new[groups, k] = 0
        for g in range(groups):
            alloc, daemon = s.groups.alloc[b, g], s.groups.daemon[b, g]
            here = most_pods(s.kp.size[b], k, alloc[CPU] - daemon[CPU], alloc[MEM] - daemon[MEM], NO_LIMIT)
            on_new[groups, k] = max(on_new[groups, k], here)
            on_new[g, k] = most_pods(s.kp.size[b], k, cheaper[0, g], cheaper[1, g], NO_LIMIT)


@inner
def cannot_move(s: Any, b: int, n: int) -> bool:
    """Whether the pods of candidate n are too many for the other nodes and one cheaper new node."""
    if note_roll(s, b, n) == UNLISTED:
        return False
    g, f = s.nodes.group[b, n], s.kp_state.roll_of[b, n, R_FAMILY]
    room, at_least, on_new = s.kp_state.room[b, f], s.kp_state.at_least[b, n], s.kp_state.on_new[b, g]
    counted, boots = s.kp.family_has[b, f, g], s.kp_state.boots[b, f]
    for k in range(room.shape[0]):
        if at_least[k] == 0:
            return False
        most = room[k] + (0 if boots else on_new[k])
        if at_least[k] > most or (counted and at_least[k] > most - most_on_node(s, b, k, n)):
            return True
    return False


@inner
def too_many(s: Any, b: int, listed: int) -> Any:
    """(least, most): so many nodes of LIST, from its start, have too many pods for the other nodes and one new node.

    Of whatever type: the nodes together cost more than most. What does not move with some nodes does not move
    with more of them; nothing is known of more than `most`, where a node's roll does not hold.
    """
    tally, least = s.kp_state.tally[b], listed + 1
    tally[:] = 0
    for i in range(listed):
        n = s.kp_state.node[b, LIST, i]
        if note_roll(s, b, n) == UNLISTED:
            return least, i
        if least > listed and exceeds_room(s, b, n):
            least = i + 1
    return least, listed


@inner
def exceeds_room(s: Any, b: int, n: int) -> bool:
    """Add node n's pods and its own room to the tally; whether its family's pods are too many now."""
    f = s.kp_state.roll_of[b, n, R_FAMILY]
    tally, room, at_least = s.kp_state.tally[b, f], s.kp_state.room[b, f], s.kp_state.at_least[b, n]
    counted, boots = s.kp.family_has[b, f, s.nodes.group[b, n]], s.kp_state.boots[b, f]
    on_new, exceeds = s.kp_state.on_new[b, s.groups.price.shape[1]], False
    for k in range(tally.shape[0]):
        own = most_on_node(s, b, k, n) if counted else 0
        if own == 0 and at_least[k] == 0:
            break  # nor of anything larger
        tally[k] += at_least[k] + own
        exceeds = exceeds or tally[k] > room[k] + (0 if boots else on_new[k])
    return exceeds
