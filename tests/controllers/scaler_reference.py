"""KEDA's scale loop and the forecast, slow and obvious: lists, dicts and whole passes over all that was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from envs.stack import KedaSpec

BIN_S, DAY, WEEK = 300.0, 288, 2016


@dataclass
class ScaleLoop:
    """What the KEDA operator does to one ScaledObject, poll by poll."""

    spec: KedaSpec
    low: int  # minReplicaCount
    created_s: float
    active_at: list[float] = field(default_factory=list)

    def poll(self, now_s: float, current: int, values: list[float | None], opened: list[bool]) -> int:
        """values: per trigger what it measures (None = unreadable). opened: per trigger, its cron window."""
        awake, broken = False, False
        for trigger, value, is_open in zip(self.spec.triggers, values, opened, strict=True):
            if trigger.type == "cron":
                awake |= is_open
            elif trigger.type not in ("cpu", "memory"):
                broken |= value is None
                awake |= value is not None and value > trigger.activation
        idle = self.spec.idle_replicas
        if awake:
            self.active_at.append(now_s)
            if current == 0:
                return max(self.low, 1)
            return self.low if idle is not None and current < self.low else current
        if broken:
            return self._fallback(current)
        may_sleep = self.low == 0 or idle is not None
        if may_sleep and current > 0:
            since = self.active_at[-1] + self.spec.cooldown_s if self.active_at else self._first_sleep_s()
            return 0 if now_s > since else current
        return self.low if idle is None and current < self.low else current

    def _first_sleep_s(self) -> float:
        return self.created_s + self.spec.initial_cooldown_s

    def _fallback(self, current: int) -> int:
        back = self.spec.fallback
        if back is None or back.replicas == 0:
            return current
        choices = {
            "static": back.replicas,
            "currentReplicas": current,
            "currentReplicasIfHigher": max(current, back.replicas),
            "currentReplicasIfLower": min(current, back.replicas),
        }
        return choices[back.behavior]


@dataclass
class Forecaster:
    """Everything ever measured, looked through again at each question."""

    lead_bins: int
    quantile: float
    capacity: float
    samples: list[tuple[float, float]] = field(default_factory=list)  # (time, requests/s), negative = unknown

    def bins(self) -> dict[int, float]:
        """Highest known sample of each bin; the last one is still open."""
        out: dict[int, float] = {}
        for at_s, rate in self.samples:
            number = math.floor(at_s / BIN_S)
            if rate >= 0:
                out[number] = max(out.get(number, -1.0), rate)
        return out

    def level(self, bins: dict[int, float], at: int, start: int) -> float | None:
        found = [bins[i] for i in range(at - 5, at + 1) if i in bins and i >= start]
        return sum(found) / len(found) if found else None

    def forecast(self, bins: dict[int, float], origin: int, target: int, season: int, start: int) -> float | None:
        if season == 0:
            return bins.get(origin)
        back = (DAY, WEEK)[season - 1]
        now, then = self.level(bins, origin, start), self.level(bins, origin - back, start)
        base = bins.get(target - back)
        if base is None or now is None or then is None:
            return None
        return base * min(max(now / then if then > 0 else 1.0, 0.5), 2.0)

    def floor_load(self) -> float | None:
        """Requests/s to be ready for."""
        bins = self.bins()
        if not bins:
            return None
        first = min(bins)
        last = max(math.floor(at_s / BIN_S) for at_s, _ in self.samples)
        closed = {i: v for i, v in bins.items() if i < last}
        scored: list[tuple[float, int, float]] = []
        for season in range(3):
            errors = self.errors(closed, last, season, first)
            weight = sum(0.5 ** (age / DAY) for age, _ in errors)
            if weight >= 12:
                mean = sum(0.5 ** (age / DAY) * abs(r) for age, r in errors) / weight
                scored.append((mean, season, self.upper(errors)))
        if not scored:
            return None
        _, season, upper = min(scored)
        made = [self.forecast(closed, last - 1, last + i, season, first) for i in range(self.lead_bins + 1)]
        known = [m for m in made if m is not None]
        return max(known) * math.exp(upper) if known else None

    def errors(self, closed: dict[int, float], last: int, season: int, first: int) -> list[tuple[int, float]]:
        """(how many were scored since, log error) of every bin that this season forecast."""
        small, out = 0.02 * self.capacity, []
        for number in sorted(closed):
            made = self.forecast(
                {i: v for i, v in closed.items() if i <= number}, number - self.lead_bins - 1, number, season, first
            )
            if made is not None:
                out.append(math.log((closed[number] + small) / (made + small)))
        return [(len(out) - 1 - i, r) for i, r in enumerate(out)]

    def upper(self, errors: list[tuple[int, float]]) -> float:
        """Quantile of the errors, weights halving in a week, rounded up to 0.02."""
        edge = [(min(max(math.floor(r / 0.02), -128), 127) + 1, 0.5 ** (age / WEEK)) for age, r in errors]
        total, reached = sum(weight for _, weight in edge), 0.0
        for step, weight in sorted(edge):
            reached += weight
            if reached >= self.quantile * total:
                return step * 0.02
        return 2.56
