"""A slow, obvious kube-scheduler over the state tuples: dictionaries and loops, no kernel."""

from __future__ import annotations

from collections import Counter

from envs.sim.state import NODE_DRAINING, NODE_READY
from tests.controllers.scheduler_world import World


class Reference:
    """Filters of one world, read straight from the rules. Nodes are slots 0 .. hi-1."""

    def __init__(self, world: World) -> None:
        self.world = world
        c = world.nodes
        self.there = [n for n in range(int(c.hi[0])) if c.phase[0, n] in (NODE_READY, NODE_DRAINING)]

    def domain(self, n: int, t: int) -> str | None:
        """Value of topology key t on node n; None = the label is missing."""
        if t == 0:
            return f"host-{n}"
        d = int(self.world.topology.group_domain[0, self.world.nodes.group[0, n], t])
        return None if d < 0 else f"domain-{d}"

    def matching(self, n: int, s: int) -> int:
        return sum(int(self.world.nodes.pods_of[0, w, n]) for w in self.world.selected(s))

    def constraints(self, w: int, hard: bool) -> list[int]:
        c = self.world.classes
        return [
            k for k in range(c.spread_key.shape[2]) if c.spread_key[0, w, k] >= 0 and c.spread_hard[0, w, k] == hard
        ]

    def eligible(self, n: int, w: int, k: int, hard: bool) -> bool:
        c, g = self.world.classes, self.world.nodes.group[0, n]
        policy = c.spread_elig[0, w, k, g] if c.spread_elig.size else c.affinity_ok[0, w, g]
        keys = [int(c.spread_key[0, w, j]) for j in self.constraints(w, hard)]
        return bool(policy) and all(self.domain(n, t) is not None for t in keys)

    def resources_ok(self, n: int, w: int) -> bool:
        c, g = self.world.classes, self.world.nodes.group[0, n]
        free = self.world.groups.alloc[0, g] - self.world.nodes.used[0, n]
        return all(c.req[0, w, r] <= 0 or c.req[0, w, r] <= free[r] for r in range(len(free)))

    def spread_ok(self, n: int, w: int) -> bool:
        c = self.world.classes
        for k in self.constraints(w, True):
            t, s = int(c.spread_key[0, w, k]), int(c.spread_sel[0, w, k])
            if self.domain(n, t) is None:
                return False
            counts: Counter[str | None] = Counter()
            for m in self.there:
                if self.eligible(m, w, k, True):
                    counts[self.domain(m, t)] += self.matching(m, s)
            low = min(counts.values(), default=0)
            if len(counts) < c.spread_min_domains[0, w, k]:
                low = 0
            if counts[self.domain(n, t)] + int(c.spread_self[0, w, k]) - low > c.spread_skew[0, w, k]:
                return False
        return True

    def near(self, n: int, t: int, s: int) -> int | None:
        """Matching pods in n's domain on any node, free ones too; None = n lacks the key."""
        if self.domain(n, t) is None:
            return None
        every = [m for m in range(int(self.world.nodes.hi[0])) if self.world.nodes.group[0, m] >= 0]
        return sum(self.matching(m, s) for m in every if self.domain(m, t) == self.domain(n, t))

    def anti_affinity_ok(self, n: int, w: int) -> bool:
        c = self.world.classes
        pairs = list(zip(c.anti_key[0, w], c.anti_sel[0, w], strict=True))
        pairs += list(zip(c.ranti_key[0, w], c.ranti_sel[0, w], strict=True))
        return not any(t >= 0 and (self.near(n, int(t), int(s)) or 0) > 0 for t, s in pairs)

    def affinity_ok(self, n: int, w: int) -> bool:
        c = self.world.classes
        terms = [a for a in range(c.aff_key.shape[2]) if c.aff_key[0, w, a] >= 0]
        near = [self.near(n, int(c.aff_key[0, w, a]), int(c.aff_sel[0, w, a])) for a in terms]
        if any(x is None for x in near):
            return False
        if all(near):
            return True
        total = 0
        for a in terms:
            for m in self.there:
                if self.domain(m, int(c.aff_key[0, w, a])) is not None:
                    total += self.matching(m, int(c.aff_sel[0, w, a]))
        return total == 0 and all(c.aff_self[0, w, a] for a in terms)

    def fits(self, n: int, w: int) -> bool:
        g = self.world.nodes.group[0, n]
        if self.world.nodes.phase[0, n] != NODE_READY or not self.world.classes.fits_group[0, w, g]:
            return False
        checks = (self.resources_ok, self.spread_ok, self.anti_affinity_ok, self.affinity_ok)
        return all(check(n, w) for check in checks)
