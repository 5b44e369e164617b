"""What a PodDisruptionBudget allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.controllers import disruption
from envs.controllers.disruption import NO_LIMIT
from envs.sim.jit import kernel
from tests.controllers.scheduler_world import random_world

_pdb_allowed = disruption.pdb_allowed


@kernel
def pdb_allowed(classes: Any, healthy: int, expected: int) -> int:
    return _pdb_allowed(classes, 0, 0, healthy, expected)


@pytest.mark.parametrize(
    ("kind", "value", "healthy", "expected", "allowed"),
    [
        (0, 0, 3, 3, NO_LIMIT),
        (1, 2, 3, 3, 1),
        (1, 4, 3, 3, 0),
        (2, 1, 3, 3, 1),
        (2, 1, 2, 3, 0),
        (2, 9, 3, 3, 3),
        (3, 0.5, 7, 7, 3),  # 3.5 rounds up: 4 must stay
        (4, 0.5, 7, 7, 4),  # 3.5 rounds up: 4 may go
        (4, 0.07, 100, 100, 7),  # 0.07 * 100 is above 7 in binary
        (3, 0.29, 100, 100, 71),
        (2, 1, 1, 0, 0),  # nothing is expected: nothing is allowed
    ],
)
def test_shares_round_up_and_unhealthy_pods_use_the_budget_up(kind, value, healthy, expected, allowed):
    classes = random_world(0).classes
    classes.pdb_kind[0, 0], classes.pdb_value[0, 0] = np.int8(kind), value
    assert pdb_allowed(classes, healthy, expected) == allowed
