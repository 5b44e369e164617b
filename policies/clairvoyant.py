"""The least that a scenario can cost at a service level, by Lagrangian duality: a certificate, not a heuristic.

Nodes: a block's pods need at least the linear program's fractional packing. Its dual gives every workload a price
per replica-second such that no node is worth more than it costs; any such prices bound the bill from below
by sum of price x replica-seconds, so that the workloads part. They are checked here in plain arithmetic, whatever
the solver says.

Services: least of sum over ticks of price x replica-seconds, with at most so many bad requests. The budget gets a
price too (the dual of a knapsack over ticks), ticks part, and their least costs are in the tables. Any price of a
bad and of a waiting request is valid, so the best of a grid is taken. Queues and batches: each good item takes its
work at the cheapest time within its window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from envs.bound import F8, PRICES, VOID, WAITS, Foresight, Machines, Served, ServiceTable, WorkTable

COUNTED = (1.0, 0.5, 0.0)  # parts of on-demand prices that are tried beside a commitment
ROUNDS = 2  # of pricing replicas by the plan that the former prices gave


@dataclass(frozen=True)
class Bound:
    """USD that no policy can go below."""

    workload_usd: F8  # (W,)
    floor_usd: float  # for nodes that are there whether pods need them or not, and commitments

    @property
    def usd(self) -> float:
        return float(self.workload_usd.sum()) + self.floor_usd


@dataclass(frozen=True)
class _Line:
    """USD >= usd - bad_usd x bad - wait_usd x (offered - good - bad), of one service; one entry per pair of prices."""

    usd: F8
    bad_usd: F8
    wait_usd: F8


class Clairvoyant:
    """Bounds of one scenario and seed, at any service level."""

    def __init__(self, known: Foresight, slo: F8) -> None:
        """slo (W,): objective of each workload, the service level at which replicas are priced."""
        counted = COUNTED if known.promised[0] > 0.0 else (1.0,)
        self._options = [_Priced(known, slo, part) for part in counted]

    def at(self, level: Served) -> Bound:
        """The bound at this service level."""
        return max((option.at(level) for option in self._options), key=lambda bound: bound.usd)


class _Priced:
    """Bounds by one choice of prices per replica-second.

    A committed use makes the bill promised + max(0, on demand - covered), which is at least promised + part x
    (on demand - covered) for any part from 0 to 1: on-demand nodes count with that part of their price.
    """

    def __init__(self, known: Foresight, slo: F8, part: float) -> None:
        self.known = known
        machines = known.machines
        price = np.where(machines.on_demand[:, None], part, 1.0) * machines.price
        self.machines = replace(machines, price=price)
        promised, off = known.promised
        self.fixed_usd = float(known.block_s.sum()) * promised * (1.0 - part / (1.0 - off))
        alone = np.where(machines.allowed[:, :, None], machines.share.max(axis=2)[:, :, None] * price, np.inf)
        placed = np.asarray(machines.allowed.any(axis=1))
        self.price = np.where(placed[:, None], alone.min(axis=1), 0.0)  # (W, T)
        self._price_again(slo)
        self._lines = [self._line(w, self.price) for w in range(len(known.tables))]

    def _price_again(self, slo: F8) -> None:
        """Prices from the packing's dual at the plan that the former prices gave; the best of ROUNDS is kept."""
        offered, best = self.known.offered, -np.inf
        level = Served(offered, slo * offered, (1.0 - slo) * offered)
        for _ in range(ROUNDS):
            price, floor_usd = shadow_prices(self.machines, self._plan(level), self.known.block_s)
            self.price = price
            usd = [self._usd(w, price, level, self._line(w, price)) for w in range(len(offered))]
            if sum(usd) + floor_usd > best:
                best, kept = sum(usd) + floor_usd, (price, floor_usd)
        self.price, self.floor_usd = kept

    def at(self, level: Served) -> Bound:
        usd = [self._usd(w, self.price, level, line) for w, line in enumerate(self._lines)]
        return Bound(np.array(usd), self.floor_usd + self.fixed_usd)

    def _line(self, w: int, price: F8) -> _Line | None:
        table = self.known.tables[w]
        return service_lines(table, price[w]) if isinstance(table, ServiceTable) else None

    def _usd(self, w: int, price: F8, level: Served, line: _Line | None) -> float:
        table, good, bad = self.known.tables[w], float(level.good[w]), float(level.bad[w])
        if isinstance(table, WorkTable):
            return work_usd(table, price[w], good)
        assert line is not None
        waiting = float(level.offered[w]) - good - bad
        usd = float((line.usd - line.bad_usd * bad - line.wait_usd * waiting).max())
        return max(usd, table.unit_s * float(price[w].min()) * good, 0.0)

    def _plan(self, level: Served) -> F8:
        """(W, T) replica-seconds about as a clairvoyant would spend them. Only to price by: need not be exact."""
        out = np.zeros_like(self.price)
        for w, table in enumerate(self.known.tables):
            if isinstance(table, WorkTable):
                out[w] = table.items * table.unit_s
            elif self.price[w].any():
                out[w] = _plan_service(table, self.price[w], level, w)
        return out


def service_lines(table: ServiceTable, price: F8) -> _Line:
    """Dual bounds of a service whose replica-second costs price (T,) USD, on the grid of PRICES and WAITS.

    A table is the least of lines in (wait, price), so concave, and what is read between its nodes by straight
    lines is never too high.
    """
    if not price.any():
        zero = np.zeros(1)
        return _Line(zero, zero, zero)
    unit = float(price.mean()) * table.unit_s
    usd = np.zeros((len(WAITS), len(PRICES)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for t in np.flatnonzero(price > 0.0):
            ratio = float(price.mean() / price[t])
            usd += price[t] * _between(table.least[t], WAITS * ratio, PRICES * ratio)
    usd[~(usd > VOID)] = -np.inf
    bad_usd = np.broadcast_to(PRICES * unit, usd.shape)
    wait_usd = WAITS[:, None] * unit + table.idle_bad * bad_usd
    return _Line(usd.ravel(), bad_usd.ravel(), wait_usd.ravel())


def _between(least: F8, waits: F8, prices: F8) -> F8:
    """(len(waits), len(prices)): least (Q, E) between its nodes, NaN beyond them."""
    across = _weights(PRICES, prices) @ least.T  # (E', Q)
    return np.asarray(_weights(WAITS, waits) @ across.T)


def _weights(nodes: F8, at: F8) -> F8:
    """(len(at), len(nodes)) weights of straight lines between nodes; NaN beyond them."""
    out = np.zeros((len(at), len(nodes)))
    k = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2)
    f = (at - nodes[k]) / (nodes[k + 1] - nodes[k])
    f = np.where(np.abs(f) < 1e-12, 0.0, np.where(np.abs(f - 1.0) < 1e-12, 1.0, f))
    rows = np.arange(len(at))
    out[rows, k], out[rows, k + 1] = 1.0 - f, f
    out[(f < 0.0) | (f > 1.0)] = np.nan
    return out


def work_usd(table: WorkTable, price: F8, good: float) -> float:
    """USD of `good` items, each worked on when that is cheapest within its window, the cheapest items first."""
    cost = table.unit_s * _window_least(price, table.reach)
    order = np.argsort(cost, kind="stable")
    before = np.cumsum(table.items[order]) - table.items[order]
    return float((cost[order] * np.clip(good - before, 0.0, table.items[order])).sum())


def _window_least(price: F8, reach: int) -> F8:
    """(T,) least price from each block to `reach` blocks later."""
    padded = np.append(price, np.full(reach, np.inf))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, reach + 1).min(axis=1))


def _plan_service(table: ServiceTable, price: F8, level: Served, w: int) -> F8:
    """(T,) replica-seconds at the prices that bind the service level: the table less its slope times its price."""
    line = service_lines(table, price)
    waiting = level.offered[w] - level.good[w] - level.bad[w]
    best = int(np.argmax(line.usd - line.bad_usd * level.bad[w] - line.wait_usd * waiting))
    q, e = divmod(best, len(PRICES))
    e = min(e, len(PRICES) - 2)
    slope = (table.least[:, q, e + 1] - table.least[:, q, e]) / (PRICES[e + 1] - PRICES[e])
    return np.asarray(np.clip(table.least[:, q, e] - PRICES[e] * slope, 0.0, None))


def shadow_prices(machines: Machines, replica_s: F8, block_s: F8) -> tuple[F8, float]:
    """((W, T) USD per replica-second, USD for the floor of nodes): a feasible dual of the packing in each block.

    Maximises sum of price x replica_s (W, T). Feasible by arithmetic: a node's resources are worth no more
    than the node, a pod no more than its resources on the best node for it.
    """
    share, which = np.unique(
        np.concatenate([machines.share.reshape(len(replica_s), -1), machines.allowed], axis=1), axis=0,
        return_inverse=True,
    )  # fmt: skip
    G, R = machines.share.shape[1:]
    alike = np.zeros((len(share), replica_s.shape[1]))
    np.add.at(alike, which.ravel(), replica_s)
    shares, allowed = share[:, : G * R].reshape(-1, G, R), share[:, G * R :] > 0.5
    out, floor_usd = np.zeros((len(share), replica_s.shape[1])), 0.0
    solver = _PackingDual(shares, allowed, machines.floor)
    for t in range(replica_s.shape[1]):
        node_price = machines.price[:, t]
        value = np.clip(solver.solve(alike[:, t] / block_s[t], node_price), 0.0, None)  # (G, R)
        sums = value.sum(axis=1)
        over = sums > node_price
        value[over] *= (node_price[over] / sums[over])[:, None]
        worth = np.where(allowed, (shares * value).sum(axis=2), np.inf).min(axis=1)
        out[:, t] = np.where(allowed.any(axis=1), worth, 0.0)
        floor_usd += float((machines.floor * np.clip(node_price - value.sum(axis=1), 0.0, None)).sum()) * block_s[t]
    return out[which.ravel()], floor_usd


class _PackingDual:
    """max sum of need x worth - sum of floor x value: worth_w <= share_wg . value_g, sum of value_g <= price_g."""

    def __init__(self, shares: F8, allowed: NDArray[np.bool_], floor: F8) -> None:
        from scipy.sparse import coo_array

        (W, G, R), (w, g) = shares.shape, np.nonzero(allowed)
        rows = np.arange(len(w))
        row = np.concatenate([rows, np.repeat(rows, R), np.repeat(np.arange(G) + len(w), R)])
        column = np.concatenate([w, (W + (g * R)[:, None] + np.arange(R)).ravel(), W + np.arange(G * R)])
        value = np.concatenate([np.ones(len(w)), -shares[w, g].ravel(), np.ones(G * R)])
        self.matrix = coo_array((value, (row, column)), shape=(len(w) + G, W + G * R)).tocsr()
        self.pairs, self.shape = len(w), (W, G, R)
        self.floor = np.repeat(floor, R)
        self.served = allowed.any(axis=1)

    def solve(self, need: F8, price: F8) -> F8:
        """(G, R) value of each resource; zeros where the solver gives up, which is feasible too."""
        from scipy.optimize import linprog

        W, G, R = self.shape
        scale = float(price.max()) or 1.0
        size = float(need.max()) or 1.0
        weight = np.where(self.served, need / size + 1e-6, 0.0)  # so that what needs nothing now has a price too
        cost = np.concatenate([-weight, self.floor / size])
        limit = np.concatenate([np.zeros(self.pairs), price / scale])
        high = np.where(self.served, np.inf, 0.0)
        bounds = np.stack([np.zeros(W + G * R), np.concatenate([high, np.full(G * R, np.inf)])], axis=1)
        found = linprog(cost, A_ub=self.matrix, b_ub=limit, bounds=bounds, method="highs")
        return np.asarray(found.x[W:]).reshape(G, R) * scale if found.x is not None else np.zeros((G, R))
