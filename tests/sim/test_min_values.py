"""minValues of NodePools: launches and consolidation keep the choice that a pool insists on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.controllers import karpenter_variety
from envs.sim.jit import kernel
from envs.stack import Karpenter
from envs.timeline import Timeline
from envs.type_labels import TYPE_KEY
from tests.sim.test_karpenter import HOUR_S, SLOW, created_s, hour, pool, web

TWO = ((TYPE_KEY, 2),)
BEST_EFFORT = Karpenter(
    min_values_policy="BestEffort", validation_s=SLOW.validation_s, expire_after_s=SLOW.expire_after_s
)
_variety = karpenter_variety.variety


def test_nothing_is_launched_for_a_pod_that_leaves_too_few_types() -> None:
    """A pod of 6 cores fits on the big type only; the pool wants a choice of two."""
    nodes = pool("small", "big", initial_nodes=0, min_values=TWO)
    line = hour(web(1, cpu_request=6.0), nodes)
    assert (line.nodes_added.sum(), line.ready.sum()) == (0, 0)


def test_best_effort_launches_what_there_is() -> None:
    nodes = pool("small", "big", initial_nodes=0, min_values=TWO)
    line = hour(web(1, cpu_request=6.0), nodes, BEST_EFFORT)
    assert line.node_usd.sum() == pytest.approx((HOUR_S - created_s() - 1.0) / HOUR_S, abs=1e-9)


@pytest.mark.parametrize(("min_values", "bought"), [((), [1.0]), (TWO, [0.5, 0.5])])
def test_a_pod_that_would_narrow_a_claim_too_far_gets_a_claim_of_its_own(min_values: Any, bought: list[float]) -> None:
    """Three pods of 2 cores. Two fit on either type, the third would leave the big one only ($1.00): with minValues 2
    it goes to a second claim, and the cheapest of each, a small node at $0.50, is bought."""
    line = hour(web(3), pool("small", "big", initial_nodes=0, consolidate_after_s=np.inf, min_values=min_values))
    assert line.nodes_added.sum() == len(bought)
    assert line.node_usd.sum() == pytest.approx(sum(bought) * (HOUR_S - created_s() - 1.0) / HOUR_S, abs=1e-9)


@pytest.mark.parametrize("karpenter", [SLOW, BEST_EFFORT])
def test_a_move_must_leave_the_choice_among_what_is_cheaper(karpenter: Karpenter) -> None:
    """A pod of 2 cores on the big node: one type is cheaper, where the pool wants two. BestEffort keeps what its claim
    had, which is two."""

    def moved(**fields: Any) -> Timeline:
        return hour(web(1), pool("big", "small", initial_nodes=1, **fields), karpenter)

    assert moved(min_values=TWO).nodes_removed.sum() == 0
    assert moved(min_values=((TYPE_KEY, 1),)).nodes_removed.sum() == 1


def test_minima_on_zones_count_all_zones_of_the_types() -> None:
    """A pod that is bound to one zone leaves the choice of types that are sold in two."""
    two_zones = (("topology.kubernetes.io/zone", 2),)
    tied = web(1, node_selector=(("topology.kubernetes.io/zone", "b"),))
    nodes = pool("small", initial_nodes=0, zones=("a", "b"), min_values=two_zones)
    assert hour(tied, nodes).nodes_added.sum() == 1
    assert hour(web(1), pool("small", initial_nodes=0, zones=("a",), min_values=two_zones)).nodes_added.sum() == 0


class _Config(NamedTuple):
    kind: Any
    value: Any


class _Groups(NamedTuple):
    pool: Any


class _Solve(NamedTuple):
    kept_kind: Any
    seen_value: Any


@kernel
def _count(config: Any, groups: Any, solve: Any, pool: int, mask: Any) -> int:
    return _variety(config, groups, solve, 0, pool, 0, mask)


@settings(deadline=None)
@given(st.data(), st.integers(1, 12))
def test_variety_is_the_number_of_values_of_the_types_that_are_left(data: st.DataObject, count: int) -> None:
    def draw(low: int, high: int) -> Any:
        values = data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
        return np.array(values, np.int64)

    pools, kind, value, mask = draw(0, 1), draw(0, 4), draw(-1, 5), draw(0, 1).astype(np.bool_)
    kind += 5 * pools  # a type of one pool is no type of the other
    mask &= pools == 1
    left = {int(k) for k in kind[mask]}
    expected = {int(v) for k, v, p in zip(kind, value, pools, strict=True) if p == 1 and k in left and v >= 0}
    solve = _Solve(np.zeros((1, 10), np.bool_), np.zeros((1, 6), np.bool_))
    config = _Config(kind[None], value[None, None])
    assert _count(config, _Groups(pools[None]), solve, 1, mask) == len(expected)
