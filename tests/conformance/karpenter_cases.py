"""Adapters for Karpenter's topics (topic -> Case -> Result)."""

from __future__ import annotations

from tests.conformance import karpenter_prices, karpenter_provisioning, karpenter_rules
from tests.conformance.cases import Adapter

ADAPTERS: dict[str, Adapter] = {
    "karpenter_balanced_candidate_filter": karpenter_rules.filter_case,
    "karpenter_balanced_move": karpenter_rules.move_case,
    "karpenter_balanced_score": karpenter_rules.score_case,
    "karpenter_budget_active": karpenter_rules.active_case,
    "karpenter_budget_allowed": karpenter_rules.allowed_case,
    "karpenter_budget_remaining": karpenter_rules.remaining_case,
    "karpenter_candidate_order": karpenter_rules.order_case,
    "karpenter_consolidate_after": karpenter_rules.quiet_case,
    "karpenter_consolidation_price_rules": karpenter_prices.decision_case,
    "karpenter_design_script_scores": karpenter_rules.script_case,
    "karpenter_eviction_cost": karpenter_rules.eviction_case,
    "karpenter_node_disruption_cost": karpenter_rules.node_cost_case,
    "karpenter_price_filter": karpenter_prices.price_filter_case,
    "karpenter_provisioning": karpenter_provisioning.provisioning_case,
    "karpenter_same_type_filter": karpenter_prices.same_type_case,
}
