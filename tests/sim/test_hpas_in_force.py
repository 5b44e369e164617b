"""What a plan writes straight into the HPA arrays is what the rewritten objects would have packed to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.action import WORKLOAD_FIELDS, hpa_after, targets_of
from envs.controllers.hpa_pack import HpaDefaults, pack_hpa, write_hpa
from envs.errors import InputError
from envs.hpas_in_force import HpasInForce, fields_of
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, ScalingPolicy, ScalingRules

RPS = HpaMetric("External", "requests_per_second", "AverageValue", 12.5)
LIMITED = ScalingRules(policies=(ScalingPolicy("Pods", 2, 60),), select="Min", stabilization_s=90)
SPECS = (
    HpaSpec(),
    HpaSpec(metrics=(RPS,), behavior=HpaBehavior(scale_down=ScalingRules(stabilization_s=120))),
    HpaSpec(metrics=(replace(RPS, capacity_share=0.7),), behavior=HpaBehavior(scale_up=LIMITED)),
    HpaSpec(metrics=(HpaMetric("Resource", "memory", "AverageValue", 1.5), HpaMetric()), min_replicas=0),
    HpaSpec(metrics=(RPS,), scale_to_zero=True, min_replicas=2, max_replicas=9, behavior=HpaBehavior()),
)
HIGHS = np.array([90.0, 0.5, 0.5, 600.0, 1800.0, 9.0, 99.0, 9.0])
ROOM = HpaSpec(
    metrics=(RPS, RPS),
    behavior=HpaBehavior(ScalingRules(stabilization_s=600), ScalingRules(stabilization_s=1800)),
)


def packed() -> tuple[HpaDefaults, object]:
    W = len(SPECS)
    own = HpaDefaults(
        np.full((1, W), 40.0), np.full((1, W), 500), np.full((1, W), 1 << 28), np.ones((1, W)), np.full((1, W), 50)
    )
    return own, pack_hpa([SPECS], **own._asdict(), reserve=ROOM)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_sequence_of_plans_leaves_equal_arrays_and_equal_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (own, straight), (_, slow) = packed(), packed()
    hpas, specs = HpasInForce(SPECS), list(SPECS)
    for _ in range(4):
        rows = rng.uniform(0.0, HIGHS[:, None], (len(WORKLOAD_FIELDS), len(SPECS)))
        rows[[f.whole for f in WORKLOAD_FIELDS]] //= 1.0
        rows[rng.random(rows.shape) < rng.choice([0.2, 0.8])] = np.nan
        targets = targets_of({"workload": rows, "pool": np.zeros((5, 0))})
        hpas.apply(straight, 0, targets, own)
        for w, spec in enumerate(specs):
            specs[w] = hpa_after(spec, targets, w)
            write_hpa(slow, 0, w, specs[w], own)
        for mine, theirs in zip(straight, slow, strict=True):
            assert mine.tobytes() == theirs.tobytes()
        np.testing.assert_array_equal(hpas.values, np.array([fields_of(spec) for spec in specs]).T)


def test_a_window_without_room_is_refused() -> None:
    own, arrays = packed()
    rows = np.full((len(WORKLOAD_FIELDS), len(SPECS)), np.nan)
    rows[4, 1] = 1801.0
    with pytest.raises(InputError, match="stabilizationWindowSeconds"):
        HpasInForce(SPECS).apply(arrays, 0, targets_of({"workload": rows, "pool": np.zeros((5, 0))}), own)
