"""The trained actor as a function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.executor import Stopped
from envs.observation import AUTOSCALING, FEATURE
from envs.plain import Array
from envs.set_point_action import DIGITS

Act = Callable[[NDArray[np.float32]], Array]
Extend = Callable[[NDArray[np.float32]], NDArray[np.float32]]
FEATURES = tuple(FEATURE[name] for name in AUTOSCALING)


def act_of(actor: Any, extend: Extend | None = None) -> Act:
    """The actor as a function of the encoder's arrays, rounded as a bundle's network rounds.

    extend: makes the columns beyond the encoder's, where a forecaster does.
    """

    def act(observation: NDArray[np.float32]) -> Array:
        with torch.no_grad():
            raw = actor(torch.as_tensor(extend(observation) if extend else observation)).numpy()
        return np.asarray(np.round(np.clip(raw.astype(np.float64), -1.0, 1.0), DIGITS), np.float64)

    return act


def until(stop: Stopped, act: Act) -> Act:
    """The same function, which raises KeyboardInterrupt once it is asked to stop: a roll-out asks it every minute."""

    def act_or_stop(observation: NDArray[np.float32]) -> Array:
        if stop():
            raise KeyboardInterrupt
        return act(observation)

    return act_or_stop
