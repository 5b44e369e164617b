"""Scenario time on a wall clock that runs `speed` times faster."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class PlayClock:
    """Scenario second `at_s` was at monotonic time `origin`."""

    origin: float
    at_s: float
    speed: float

    @staticmethod
    def starting(at_s: float, speed: float) -> PlayClock:
        return PlayClock(time.monotonic(), at_s, speed)

    def now(self) -> float:
        """Scenario seconds."""
        return (time.monotonic() - self.origin) * self.speed + self.at_s

    def wait_until(self, at_s: float, stop: threading.Event) -> bool:
        """Sleep until scenario second at_s; False when stopped first."""
        left = (at_s - self.now()) / self.speed
        return not stop.wait(max(left, 0.0))

    def wall(self, at_s: float) -> str:
        """That scenario second as an API timestamp (whole seconds, as metav1.Time has)."""
        ago = (self.now() - at_s) / self.speed
        return datetime.fromtimestamp(time.time() - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
