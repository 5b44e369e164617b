"""Taints, tolerations, selectors and node affinity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.cluster import Taint, Toleration
from envs.matching import (
    PreferredTerm,
    Requirement,
    hard_taints_tolerated,
    intolerable_soft_taints,
    matches_labels,
    matches_node_affinity,
    preferred_affinity_score,
    selector,
    tolerates,
)

EVERYTHING = Toleration(operator="Exists")


@pytest.mark.parametrize(
    ("toleration", "ok"),
    [
        (Toleration("team", "Equal", "a", "NoSchedule"), True),
        (Toleration("team", "Equal", "b", "NoSchedule"), False),
        (Toleration("team", "Exists", "", "NoSchedule"), True),
        (Toleration("team", "Exists", "", "NoExecute"), False),
        (Toleration("team", "Equal", "a", ""), True),
        (Toleration("other", "Exists"), False),
        (EVERYTHING, True),
    ],
)
def test_a_toleration_matches_key_value_and_effect(toleration, ok):
    assert tolerates([toleration], Taint("team", "a", "NoSchedule")) is ok


@given(st.lists(st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])))
def test_hard_taints_filter_and_soft_ones_count(effects):
    taints = [Taint(f"k{i}", "v", effect) for i, effect in enumerate(effects)]
    assert hard_taints_tolerated([], taints) is all(e == "PreferNoSchedule" for e in effects)
    assert intolerable_soft_taints([], taints) == effects.count("PreferNoSchedule")
    assert hard_taints_tolerated([EVERYTHING], taints)
    assert intolerable_soft_taints([EVERYTHING], taints) == 0


@pytest.mark.parametrize(
    ("requirement", "ok"),
    [
        (Requirement("size", "In", ("8", "16")), True),
        (Requirement("size", "NotIn", ("8",)), False),
        (Requirement("gone", "NotIn", ("8",)), True),
        (Requirement("gone", "In", ("8",)), False),
        (Requirement("size", "Exists"), True),
        (Requirement("gone", "DoesNotExist"), True),
        (Requirement("size", "Gt", ("7",)), True),
        (Requirement("size", "Lt", ("8",)), False),
        (Requirement("zone", "Gt", ("7",)), False),
        (Requirement("gone", "Lt", ("7",)), False),
    ],
)
def test_requirements_follow_their_operator(requirement, ok):
    assert matches_labels((requirement,), {"size": "8", "zone": "a"}) is ok


def test_no_selector_matches_nothing_and_an_empty_one_everything():
    assert not matches_labels(None, {"a": "b"})
    assert matches_labels(selector(), {})
    assert matches_labels(selector({"a": "b"}), {"a": "b", "c": "d"})


def test_node_affinity_needs_the_selector_and_one_term():
    labels = {"zone": "a", "arch": "arm64"}
    in_a, in_b = (Requirement("zone", "In", ("a",)),), (Requirement("zone", "In", ("b",)),)
    assert matches_node_affinity(labels)
    assert matches_node_affinity(labels, node_selector={"arch": "arm64"}, required_any_of=[in_b, in_a])
    assert not matches_node_affinity(labels, node_selector={"arch": "amd64"}, required_any_of=[in_a])
    assert not matches_node_affinity(labels, required_any_of=[in_b])
    assert not matches_node_affinity(labels, required_any_of=[])
    assert not matches_node_affinity(labels, required_any_of=[()])
    assert preferred_affinity_score(labels, [PreferredTerm(30, in_a), PreferredTerm(50, in_b)]) == 30
