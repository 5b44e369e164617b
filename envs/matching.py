"""Taints, tolerations, label selectors and node affinity: the string rules of scheduling, in plain Python.

Evaluated once, at the edge, into the class-by-group tables that the kernels read
(`envs.sim.state.Classes`); nothing here is called while a simulation runs. Rules: Kubernetes 1.36
concepts "Taints and Tolerations" and "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from envs.cluster import Taint, Toleration

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
HARD_EFFECTS = ("NoSchedule", "NoExecute")
SOFT_EFFECT = "PreferNoSchedule"


@dataclass(frozen=True)
class Requirement:
    """One expression over a label: key, operator, values. Gt and Lt compare whole numbers."""

    key: str
    operator: Operator = "In"
    values: tuple[str, ...] = ()


Selector = tuple[Requirement, ...]  # all must hold; an empty one matches everything


@dataclass(frozen=True)
class PreferredTerm:
    """One entry of preferredDuringScheduling node affinity; weight 1-100."""

    weight: int
    requirements: Selector


def selector(match_labels: Mapping[str, str] | None = None, expressions: Iterable[Requirement] = ()) -> Selector:
    """A label selector from its two halves: equal labels and expressions."""
    equal = tuple(Requirement(key, "In", (value,)) for key, value in sorted((match_labels or {}).items()))
    return equal + tuple(expressions)


def matches_labels(requirements: Selector | None, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy every requirement. None (no selector) matches nothing, () everything."""
    return requirements is not None and all(_holds(r, labels) for r in requirements)


def matches_node_affinity(
    labels: Mapping[str, str],
    *,
    node_selector: Mapping[str, str] | None = None,
    required_any_of: Sequence[Selector] | None = None,
) -> bool:
    """Node selector and required node affinity: every selector label, and at least one of the terms.

    required_any_of None means that there is no required affinity; an empty list, and an empty
    term in a list, match no node.
    """
    if any(labels.get(key) != value for key, value in (node_selector or {}).items()):
        return False
    if required_any_of is None:
        return True
    return any(term and matches_labels(term, labels) for term in required_any_of)


def preferred_affinity_score(labels: Mapping[str, str], preferred: Iterable[PreferredTerm]) -> int:
    """Sum of the weights of the preferred terms that a node's labels satisfy (an empty term counts)."""
    return sum(term.weight for term in preferred if matches_labels(term.requirements, labels))


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether one of the tolerations matches the taint.

    Empty effect matches every effect, empty key every key; operator Equal compares the value, Exists
    does not. Other operators (Lt, Gt) are behind a feature gate that is off: they match nothing.
    """
    return any(_toleration_matches(t, taint) for t in tolerations)


def hard_taints_tolerated(tolerations: Sequence[Toleration], taints: Iterable[Taint]) -> bool:
    """Whether every NoSchedule and NoExecute taint is tolerated: the TaintToleration filter."""
    return all(tolerates(tolerations, t) for t in taints if t.effect in HARD_EFFECTS)


def intolerable_soft_taints(tolerations: Sequence[Toleration], taints: Iterable[Taint]) -> int:
    """Number of PreferNoSchedule taints that are not tolerated: the raw TaintToleration score."""
    return sum(not tolerates(tolerations, t) for t in taints if t.effect == SOFT_EFFECT)


def _toleration_matches(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator == "Equal" and toleration.value == taint.value


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    present, value = requirement.key in labels, labels.get(requirement.key, "")
    match requirement.operator:
        case "In":
            return present and value in requirement.values
        case "NotIn":
            return not present or value not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case _:
            return present and _compares(requirement, value)


def _compares(requirement: Requirement, value: str) -> bool:
    try:
        have, bound = int(value), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if requirement.operator == "Gt" else have < bound
