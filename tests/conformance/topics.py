"""Which adapter answers for which topic. Topics that are not here are left out, with this reason."""

from __future__ import annotations

from tests.conformance import autoscaler_cases, hpa_cases, karpenter_cases, scheduler_cases
from tests.conformance.cases import Adapter

ADAPTERS: dict[str, Adapter] = {
    **hpa_cases.ADAPTERS,
    **scheduler_cases.ADAPTERS,
    **autoscaler_cases.ADAPTERS,
    **karpenter_cases.ADAPTERS,
}
NOT_MODELLED = "not modelled yet"
