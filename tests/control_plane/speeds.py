"""Which speeds a scenario can be played at: every controller's period must stay a whole second."""

from __future__ import annotations

from collections.abc import Iterator

from envs.errors import InputError
from envs.scenario import Scenario
from envs.stack import HpaSpec, ScalingRules, Stack
from tests.control_plane.components import HpaFlags

MAX_SPEED = 5
DEFAULT_PERIOD_S = 15  # of the policies that the API server fills in when a behavior names none


def hpa_of(stack: Stack, workload: object) -> HpaSpec | None:
    """The HPA in force for a workload: its own object where it has one, else the stack's; None = fixed."""
    own = getattr(workload, "hpa", None)
    if stack.use_workload_hpa and isinstance(own, HpaSpec):
        return own
    return stack.replicas if isinstance(stack.replicas, HpaSpec) else None


def flags_of(scenario: Scenario, stack: Stack, speed: int) -> HpaFlags:
    """The HPA controller's flags at `speed`. Raises InputError where workloads ask for different ones."""
    specs = [h for w in scenario.cluster.workloads if (h := hpa_of(stack, w)) is not None]
    wanted = dict.fromkeys(
        (h.sync_period_s, h.downscale_stabilization_s, h.initial_readiness_s, h.cpu_initialization_s, h.tolerance)
        for h in specs
    )
    if len(wanted) > 1:
        mend = "the HPA controller has one set of flags for a cluster; give every workload the same"
        raise InputError(scenario.source, "hpa", f"{len(wanted)} different sets", mend)
    if not wanted:
        return HpaFlags()
    *periods, tolerance = next(iter(wanted))
    return HpaFlags(*(period / speed for period in periods), tolerance)


def check_speed(scenario: Scenario, stack: Stack, speed: int, *, karpenter: bool) -> None:
    """Raises InputError naming the period that `speed` would break."""
    if not 1 <= speed <= MAX_SPEED:
        raise InputError(None, "--speed", speed, f"must be from 1 to {MAX_SPEED}")
    if karpenter and speed > 1:
        mend = "must be 1 with Karpenter: its 10 s loop and 15 s validation cannot be divided"
        raise InputError(None, "--speed", speed, mend)
    for workload in scenario.cluster.workloads:
        spec = hpa_of(stack, workload)
        for field, seconds in _periods(spec) if spec is not None else ():
            if seconds % speed:
                mend = f"{field} of {workload.name} is {seconds:g} s, and {seconds:g} / {speed} is no whole second"
                raise InputError(None, "--speed", speed, mend)
        if workload.grace_s % speed:
            mend = f"grace of {workload.name} is {workload.grace_s:g} s, and that / {speed} is no whole second"
            raise InputError(None, "--speed", speed, mend)


def _periods(spec: HpaSpec) -> Iterator[tuple[str, float]]:
    yield "sync_period_s", spec.sync_period_s
    yield "downscale_stabilization_s", spec.downscale_stabilization_s
    yield "initial_readiness_s", spec.initial_readiness_s
    yield "cpu_initialization_s", spec.cpu_initialization_s
    if spec.behavior is not None:
        for name, rules in (("scale_up", spec.behavior.scale_up), ("scale_down", spec.behavior.scale_down)):
            yield from _rule_periods(f"behavior.{name}", rules or ScalingRules())


def _rule_periods(name: str, rules: ScalingRules) -> Iterator[tuple[str, float]]:
    yield f"{name}.stabilization_s", float(rules.stabilization_s or 0)
    if rules.policies is None:
        yield f"{name}'s default policies' period", DEFAULT_PERIOD_S
    for policy in rules.policies or ():
        yield f"{name}.policies.period_s", policy.period_s
