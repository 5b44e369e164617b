"""A slow, obvious HorizontalPodAutoscaler v2: one dict entry per pod, plain lists for history.

Written from the rules (Kubernetes 1.36) apart from the kernel: nothing is summed beforehand, nothing
is a ring, times are compared as whole microseconds of plain lists that only grow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from envs.stack import HpaMetric, HpaSpec, ScalingPolicy, ScalingRules

GIB_MILLI = 1000 * 2**30


@dataclass(frozen=True)
class Pod:
    """value: sample per metric index, None = the metrics API does not have this pod."""

    phase: str = "Running"
    deleted: bool = False
    ready: bool | None = True
    start_s: float | None = 0.0
    since_s: float | None = 0.0
    value: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class World:
    """What one sync sees. total: per metric, of Object and External; None where the API failed."""

    now_s: float
    pods: tuple[Pod, ...]
    total: tuple[int | None, ...]
    failed: tuple[bool, ...]
    sample_s: float = 0.0
    window_s: float = 15.0


@dataclass
class Controller:
    spec: HpaSpec
    request: dict[str, int]  # milli-units per pod by metric name
    recommendations: list[tuple[int, int]] = field(default_factory=list)  # (us, replicas)
    ups: list[tuple[int, int]] = field(default_factory=list)
    downs: list[tuple[int, int]] = field(default_factory=list)
    scaled_to_zero: bool = False

    # -- limits of the spec with defaults

    def rules(self, up: bool) -> ScalingRules:
        behavior = self.spec.behavior
        given = None if behavior is None else (behavior.scale_up if up else behavior.scale_down)
        return given or ScalingRules()

    def policies(self, up: bool) -> tuple[ScalingPolicy, ...]:
        given = self.rules(up).policies
        if given:
            return given
        if up:
            return (ScalingPolicy("Percent", 100, 15), ScalingPolicy("Pods", 4, 15))
        return (ScalingPolicy("Percent", 100, 15),)

    def window_us(self, up: bool) -> int:
        seconds = self.rules(up).stabilization_s
        if seconds is None:
            seconds = 0 if up else self.spec.downscale_stabilization_s
        return round(seconds * 1e6)

    def inside(self, ratio: float) -> bool:
        up, down = self.rules(True).tolerance, self.rules(False).tolerance
        low = 1.0 - (self.spec.tolerance if down is None else down)
        return low <= ratio <= 1.0 + (self.spec.tolerance if up is None else up)

    # -- metrics

    def groups(self, m: int, world: World) -> tuple[dict[int, int], list[int], list[int]]:
        """(samples by pod number, unready, missing) of metric m."""
        metric = self.spec.metrics[m]
        seen: dict[int, int] = {}
        unready, missing = [], []
        for i, pod in enumerate(world.pods):
            if pod.deleted or pod.phase == "Failed":
                continue
            value = pod.value[m]
            if pod.phase == "Pending":
                unready.append(i)
            elif value is None:
                missing.append(i)
            elif metric.name == "cpu" and metric.type != "Pods" and self.idle(pod, world):
                unready.append(i)
            else:
                seen[i] = value
        return seen, unready, missing

    def idle(self, pod: Pod, world: World) -> bool:
        if pod.ready is None or pod.start_s is None or pod.since_s is None:
            return True
        if world.now_s < pod.start_s + self.spec.cpu_initialization_s:
            return not pod.ready or world.sample_s < pod.since_s + world.window_s
        return not pod.ready and pod.since_s < pod.start_s + self.spec.initial_readiness_s

    def ratio(self, metric: HpaMetric, values: dict[int, int]) -> float:
        if metric.target_type == "Utilization":
            requested = self.request[metric.name] * len(values)
            return (100 * sum(values.values()) // requested) / round(metric.target)
        return (sum(values.values()) // len(values)) / target_of(metric)

    def per_pod(self, m: int, world: World, current: int) -> int | None:
        metric = self.spec.metrics[m]
        values, unready, missing = self.groups(m, world)
        if not values or (metric.target_type == "Utilization" and self.request.get(metric.name, 0) <= 0):
            return None
        first = self.ratio(metric, values)
        grow = bool(unready) and first > 1.0
        if not missing and not grow:
            return current if self.inside(first) else math.ceil(first * len(values))
        if first < 1.0:
            values.update(dict.fromkeys(missing, self.full(metric)))
        if first > 1.0:
            values.update(dict.fromkeys([*missing, *(unready if grow else [])], 0))
        second = self.ratio(metric, values)
        if self.inside(second) or (first - 1.0) * (second - 1.0) < 0.0:
            return current
        wanted = math.ceil(second * len(values))
        return max(wanted, current) if second > 1.0 else min(wanted, current)

    def full(self, metric: HpaMetric) -> int:
        """What a missing pod is taken to use when the rest is below target."""
        if metric.target_type == "Utilization":
            return self.request[metric.name] * max(100, round(metric.target)) // 100
        return target_of(metric)

    def total(self, m: int, world: World, current: int, status: int) -> int | None:
        metric, value = self.spec.metrics[m], world.total[m]
        if value is None:
            return None
        if metric.target_type == "AverageValue":
            at_target = status > 0 and self.inside(value / (target_of(metric) * status))
            return status if at_target else math.ceil(value / target_of(metric))
        ratio = value / target_of(metric)
        if current == 0:
            return math.ceil(ratio)
        if self.inside(ratio):
            return current
        ready = sum(p.phase == "Running" and p.ready is True for p in world.pods)
        return math.ceil(ratio * ready) if world.pods else None

    def proposal(self, world: World, current: int, status: int) -> int | None:
        found = []
        for m, metric in enumerate(self.spec.metrics):
            if world.failed[m]:
                found.append(None)
            elif metric.type in ("Object", "External"):
                found.append(self.total(m, world, current, status))
            else:
                found.append(self.per_pod(m, world, current))
        valid = [f for f in found if f is not None]
        if not valid or (len(valid) < len(found) and max(valid) < current):
            return None
        return max(valid)

    # -- stabilization and rates

    def stabilized(self, now_us: int, current: int, proposal: int) -> int:
        since_up, since_down = now_us - self.window_us(True), now_us - self.window_us(False)
        if self.spec.behavior is None:
            return max([proposal, *(n for us, n in self.recommendations if us >= since_down)])
        low = min([proposal, *(n for us, n in self.recommendations if us > since_up)])
        high = max([proposal, *(n for us, n in self.recommendations if us > since_down)])
        return sorted((low, current, high))[1]

    def reach(self, policy: ScalingPolicy, up: bool, now_us: int, current: int) -> int:
        since = now_us - policy.period_s * 1_000_000
        start = current - sum(n for us, n in self.ups if us > since)
        start += sum(n for us, n in self.downs if us > since)
        if policy.type == "Pods":
            return start + policy.value if up else start - policy.value
        if up:
            return math.ceil(start * (1 + policy.value / 100))
        return math.trunc(start * (1 - policy.value / 100))

    def rate_limit(self, up: bool, now_us: int, current: int) -> int:
        select = self.rules(up).select
        if select == "Disabled":
            return current
        reaches = [self.reach(p, up, now_us, current) for p in self.policies(up)]
        if up:
            return max(current, max(reaches) if select == "Max" else min(reaches))
        return min(current, min(reaches) if select == "Max" else max(reaches))

    def limited(self, now_us: int, current: int, wanted: int, bounds: tuple[int, int]) -> int:
        low, high = bounds
        if self.spec.behavior is None:
            return max(low, min(wanted, high, max(2 * current, 4)))
        if wanted > current:
            return min(wanted, high, self.rate_limit(True, now_us, current))
        if wanted < current:
            return max(wanted, low, self.rate_limit(False, now_us, current))
        return wanted

    def store(self, now_us: int, change: int) -> None:
        """One event older than the direction's longest policy gives way to the new one."""
        up = change > 0
        events = self.ups if up else self.downs
        oldest = now_us - max(p.period_s for p in self.policies(up)) * 1_000_000
        stale = [i for i, (us, _) in enumerate(events) if us < oldest]
        if stale:
            events[stale[-1]] = (now_us, abs(change))
        else:
            events.append((now_us, abs(change)))

    def sync(self, world: World, current: int, status: int, update_ok: bool = True) -> int:
        """spec.replicas after one sync."""
        low, high = self.spec.min_replicas or 0, self.spec.max_replicas or 0
        wakes = any(m.type in ("Object", "External") for m in self.spec.metrics)
        low = low if self.spec.scale_to_zero and wakes else max(1, low)
        now_us = round(world.now_s * 1e6)
        if not self.recommendations:
            self.recommendations.append((now_us, current))
        if current == 0 and not self.scaled_to_zero:
            return 0
        if current > 0 and not low <= current <= high:
            wanted = high if current > high else low
        else:
            proposal = self.proposal(world, current, status)
            if proposal is None:
                return current
            stable = self.stabilized(now_us, current, proposal)
            self.recommendations.append((now_us, proposal))
            wanted = self.limited(now_us, current, stable, (low, high))
            wanted = max(wanted, low) if current == 0 else wanted
        if wanted == current or not update_ok:
            return current
        if self.spec.behavior is not None:
            self.store(now_us, wanted - current)
        self.scaled_to_zero = wanted == 0 == low
        return wanted


def target_of(metric: HpaMetric) -> int:
    """Milli-units."""
    return round(metric.target * (GIB_MILLI if metric.name == "memory" else 1000))
