"""Adapters for the Cluster Autoscaler's topics (topic -> Case -> Result)."""

from __future__ import annotations

from envs.controllers.ca_expanders import LEAST_NODES, LEAST_WASTE, MOST_PODS, PRICE, PRIORITY
from tests.conformance.autoscaler_choices import balancing_case, expander_case, limits_case, similar_case
from tests.conformance.autoscaler_removals import (
    budgets_case,
    drain_case,
    eligibility_case,
    pdb_case,
    removal_case,
    simulation_case,
    unneeded_case,
    utilization_case,
)
from tests.conformance.autoscaler_scaleup import binpacking_case, decision_case, pod_order_case
from tests.conformance.cases import Adapter

ADAPTERS: dict[str, Adapter] = {
    "ca_balancing": balancing_case,
    "ca_binpacking": binpacking_case,
    "ca_drain_rules": drain_case,
    "ca_expander_least_nodes": expander_case(LEAST_NODES),
    "ca_expander_least_waste": expander_case(LEAST_WASTE),
    "ca_expander_most_pods": expander_case(MOST_PODS),
    "ca_expander_price": expander_case(PRICE),
    "ca_expander_priority": expander_case(PRIORITY),
    "ca_node_removal": removal_case,
    "ca_pdb_tracker": pdb_case,
    "ca_pod_order": pod_order_case,
    "ca_resource_limits": limits_case,
    "ca_scaledown_budgets": budgets_case,
    "ca_scaledown_eligibility": eligibility_case,
    "ca_scaledown_simulation": simulation_case,
    "ca_scaleup_decision": decision_case,
    "ca_similar_groups": similar_case,
    "ca_unneeded_removable": unneeded_case,
    "ca_utilization": utilization_case,
}
