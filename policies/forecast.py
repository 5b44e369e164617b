"""The quantile forecaster of a bundle: six more columns for its policy, from columns that the policy sees anyway.

For two leads, how long a pod takes to start and how long a pod takes that waits for a new node first, it says the log2
ratio of the load then to the load now, at three quantiles. What it reads is in the observation: lags, peaks, the same
minutes yesterday and last week, the start delay. So whoever encodes an observation knows nothing of it; a bundle
without one keeps its columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.observation import AUTOSCALING, FEATURE, Feature
from policies.manifest import INPUT, OUTPUT

QUANTILES = (0.5, 0.9, 0.99)
KINDS = ("pod", "node")  # leads
SIGHT_S = 30.0  # from load to a replica asked for: age of the metrics and the HPA's period, in the middle
NODE_S = 105.0  # more for a node: 15 s until it is asked for, 90 s of boot (of 40-150 s where policies are trained)
LONGEST_MIN = 15.0
_LOAD = ("lag_", "peak_", "day_", "week_", "knows_")
SEEN = tuple(name for name in AUTOSCALING if name.startswith(_LOAD))
COLUMNS = [AUTOSCALING.index(name) for name in SEEN]
START_DELAY = AUTOSCALING.index("start_delay")
LEAD = Feature("lead", 0.0, 4.0, "log2 of the lead in minutes")
INPUTS = (*(FEATURE[name] for name in SEEN), LEAD)
FORECAST = tuple(
    Feature(f"{kind}_q{round(100 * q)}", -3.0, 3.0, f"log2 of load / now, a {kind}'s start from now, quantile {q:g}")
    for kind in KINDS
    for q in QUANTILES
)
DECIMALS = 4  # as of actions: coarser than what other batch sizes change
LEAST_ROWS = 2


def leads_min(start_delay_s: NDArray[Any]) -> NDArray[np.float64]:
    """(2, N) minutes until a pod that is asked for now is ready: on a node that is there, and on a new one."""
    pod = np.asarray(start_delay_s, np.float64) + SIGHT_S
    return np.asarray(np.clip(np.stack([pod, pod + NODE_S]) / 60.0, 1.0, LONGEST_MIN))


def inputs(seen: NDArray[np.float32], minutes: NDArray[Any]) -> NDArray[np.float32]:
    """(N, len(INPUTS)) from the columns SEEN (N, len(SEEN)) and leads (N,)."""
    return np.concatenate([seen, np.log2(minutes).astype(np.float32)[:, None]], axis=1)


class Forecaster:
    """`extend` of a bundle's forecaster.onnx. Keeps its session; not for several threads at once."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def extend(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, len(AUTOSCALING)) -> (N, len(AUTOSCALING) + len(FORECAST)); rows depend on themselves only."""
        rows = np.asarray(observation, np.float32)
        both = leads_min(60.0 * rows[:, START_DELAY])
        parts = [self.quantiles(inputs(rows[:, COLUMNS], minutes)) for minutes in both]
        return np.concatenate([rows, *parts], axis=1)

    def quantiles(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, len(INPUTS)) -> (N, len(QUANTILES)) log2 ratios, held to the features' range, rounded."""
        padded = np.zeros((max(len(given), LEAST_ROWS), given.shape[1]), np.float32)
        padded[: len(given)] = np.nan_to_num(given)
        raw = self._session.run([OUTPUT], {INPUT: padded})[0][: len(given)]
        return np.round(np.clip(raw.astype(np.float64), FORECAST[0].low, FORECAST[0].high), DECIMALS).astype(np.float32)
