"""A stack's scheduler profile as a KubeSchedulerConfiguration profile."""

from __future__ import annotations

from typing import Any

from envs.stack import SchedulerProfile

_RESOURCES = {"cpu": "cpu", "memory": "memory", "gpu": "nvidia.com/gpu"}


def scheduler_profile(profile: SchedulerProfile) -> dict[str, Any] | None:
    """None for the defaults, which kube-scheduler then takes itself."""
    if profile == SchedulerProfile():
        return None
    weights = {
        "NodeResourcesFit": profile.fit_weight,
        "NodeResourcesBalancedAllocation": profile.balanced_weight,
        "PodTopologySpread": profile.spread_weight,
        "TaintToleration": profile.taint_weight,
        "NodeAffinity": profile.affinity_weight,
        "InterPodAffinity": profile.affinity_weight,
    }
    kept = [{"name": name, "weight": weight} for name, weight in weights.items() if weight > 0]
    dropped = [{"name": name} for name in weights]
    strategy: dict[str, Any] = {
        "type": profile.fit_strategy,
        "resources": [{"name": _RESOURCES[name], "weight": weight} for name, weight in profile.fit_resources],
    }
    if profile.fit_strategy == "RequestedToCapacityRatio":
        shape = [{"utilization": x, "score": y} for x, y in profile.fit_shape]
        strategy["requestedToCapacityRatio"] = {"shape": shape}
    args = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "NodeResourcesFitArgs",
        "scoringStrategy": strategy,
    }
    out: dict[str, Any] = {
        "schedulerName": "default-scheduler",
        "plugins": {"score": {"disabled": dropped, "enabled": kept}},
        "pluginConfig": [{"name": "NodeResourcesFit", "args": args}],
    }
    if profile.percentage_of_nodes_to_score:
        out["percentageOfNodesToScore"] = profile.percentage_of_nodes_to_score
    return out
