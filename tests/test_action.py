"""Actions decode to fields of real objects within their bounds, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.action import FIELDS, bounds, decode, full_target, hpa_after, nothing, pool_after, raw_of, raw_size
from envs.cluster import ClusterSpec, NodePool, ServiceModel, Workload
from envs.plain import equal
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, ScalingRules
from tests.snapshots import RPS_HPA, TYPE, random_spec

SEEDS = st.integers(0, 2**32 - 1)
ONE = ClusterSpec((Workload("web"),), (NodePool("pool", ("m.large",)),), (TYPE,))


@given(SEEDS)
def test_every_raw_vector_decodes_inside_the_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    raw = rng.normal(0, 3, raw_size(spec))
    targets = decode(raw, spec).targets
    for field in FIELDS:
        low, high = bounds(field, spec)
        value = getattr(targets, field.name)
        assert ((value >= low) & (value <= high)).all()


@given(SEEDS)
def test_targets_survive_the_way_through_a_raw_vector(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    once = decode(rng.uniform(-1, 1, raw_size(spec)), spec).targets
    twice = decode(raw_of(once, spec), spec).targets
    for field in FIELDS:
        np.testing.assert_allclose(getattr(twice, field.name), getattr(once, field.name), rtol=1e-12, atol=1e-12)


def test_not_finite_leaves_as_it_is() -> None:
    raw = np.full(raw_size(ONE), np.nan)
    raw[3] = np.inf
    assert equal(decode(raw, ONE).targets, nothing(ONE))
    assert np.isnan(raw_of(nothing(ONE), ONE)).all()


def test_a_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="raw action"):
        decode(np.zeros(3), ONE)


def test_full_target_is_in_the_unit_of_the_first_metric() -> None:
    service = ServiceModel(slots=8, service_time_s=0.1)
    web = Workload("web", service=service, cpu_request=0.5)
    assert full_target(web) == 100.0
    assert full_target(replace(web, hpa=RPS_HPA)) == 80.0
    cores = HpaSpec(metrics=(HpaMetric("Resource", "cpu", "AverageValue", 0.3),))
    assert full_target(replace(web, hpa=cores)) == 0.5


def test_hpa_after_sets_what_the_plan_says_and_nothing_else() -> None:
    spec = HpaSpec(behavior=HpaBehavior(scale_up=ScalingRules(select="Min")))
    assert hpa_after(spec, nothing(ONE), 0) == spec
    plan = replace(
        nothing(ONE),
        hpa_target=np.array([55.0]),
        hpa_min_replicas=np.array([3.0]),
        hpa_stabilization_down_s=np.array([120.0]),
    )
    after = hpa_after(spec, plan, 0)
    assert after.metrics[0].target == 55.0
    assert (after.min_replicas, after.max_replicas) == (3, None)
    assert after.behavior == HpaBehavior(ScalingRules(select="Min"), ScalingRules(stabilization_s=120))


def test_hpa_after_keeps_a_missing_behavior_missing() -> None:
    """Setting one would turn on other default rate policies than the controller's built-in ones."""
    plan = replace(nothing(ONE), hpa_target=np.array([55.0]))
    assert hpa_after(HpaSpec(), plan, 0).behavior is None


def test_pool_after_sets_limits_weight_and_types() -> None:
    plan = replace(nothing(ONE), min_nodes=np.array([2.0]), weight=np.array([10.0]), requirements=(("m.large",),))
    after = pool_after(ONE.node_pools[0], plan, 0)
    assert after == replace(ONE.node_pools[0], min_nodes=2, weight=10)
