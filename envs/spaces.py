"""Gymnasium spaces of the observation's data sheet and of residual actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.observation import FEATURE


def box_of(names: Sequence[str], rows: int = 1) -> Any:
    """The ranges of these features, rows times over."""
    low, high = (np.array([getattr(FEATURE[n], end) for n in names] * rows, np.float32) for end in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


def action_box(size: int) -> Any:
    """[-1, 1] per action."""
    return spaces.Box(-1.0, 1.0, (size,), np.float32)
