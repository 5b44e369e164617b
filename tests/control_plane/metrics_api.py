"""metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io, answered from the shadow's measurement model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from envs.controllers.hpa_pack import SIGNAL_CONCURRENCY, SIGNAL_CPU, SIGNAL_MEMORY, SIGNAL_QUEUE, SIGNAL_RPS
from envs.sim.measure import RATE_AGE_S, RATE_WINDOW_S, RESOURCE_WINDOW_S
from tests.control_plane.api import Api
from tests.control_plane.clock import PlayClock
from tests.control_plane.objects import NAMESPACE
from tests.control_plane.shadow import Shadow
from tests.control_plane.world import World

Json = dict[str, Any]
SERVICE = "metrics"
GROUPS = {"metrics.k8s.io": "v1beta1", "custom.metrics.k8s.io": "v1beta2", "external.metrics.k8s.io": "v1beta1"}
SIGNALS = {"requests_per_second": SIGNAL_RPS, "queue_length": SIGNAL_QUEUE, "concurrency": SIGNAL_CONCURRENCY}
_RESOURCES = {
    "metrics.k8s.io": [("pods", "PodMetrics"), ("nodes", "NodeMetrics")],
    "custom.metrics.k8s.io": [],
    "external.metrics.k8s.io": [(name, "ExternalMetricValueList") for name in SIGNALS],
}
_EXTERNAL = re.compile(rf"/apis/external\.metrics\.k8s\.io/v1beta1/namespaces/{NAMESPACE}/([a-z_]+)")
_CUSTOM = re.compile(rf"/apis/custom\.metrics\.k8s\.io/v1beta2/namespaces/{NAMESPACE}/([a-z.]+)/([^/]+)/([a-z_]+)")
_PODS = re.compile(rf"/apis/metrics\.k8s\.io/v1beta1/namespaces/{NAMESPACE}/pods")
_WORKLOAD = re.compile(r"(?:app|workload)\s*(?:==?| in \()\s*w(\d+)")
Note = Callable[[int, str, float], None]  # workload, metric, value: an HPA asked


class MetricsApi:
    """Answers one path; threads may call it at once."""

    def __init__(self, shadow: Shadow, world: World, clock: PlayClock, note: Note) -> None:
        self.shadow, self.world, self.clock, self.note = shadow, world, clock, note

    def __call__(self, path: str, query: dict[str, str]) -> Json | None:
        for group, version in GROUPS.items():
            if path == f"/apis/{group}/{version}":
                return _discovery(group, version)
        selector = query.get("labelSelector", "")
        if _PODS.fullmatch(path):
            return self._resources(_index(selector))
        if found := _EXTERNAL.fullmatch(path):
            return self._external(found[1], _index(selector))
        if found := _CUSTOM.fullmatch(path):
            w = _index(selector) if found[1] == "pods" else _index(f"app={found[2]}")
            return self._custom_pods(found[3], w) if found[1] == "pods" else self._custom_object(found[3], w)
        return None

    def _resources(self, w: int) -> Json:
        """PodMetricsList of the pods that were scraped once they were Ready, terminating ones included."""
        now = self.clock.now()
        sample_s = self.shadow.sample_time(w, now)
        cpu = self.shadow.pod_milli(w, SIGNAL_CPU, now, sample_s)
        memory = self.shadow.pod_milli(w, SIGNAL_MEMORY, now, sample_s)
        self.note(w, "cpu", cpu)
        names = self.world.sampled_pods(w, sample_s) if cpu >= 0.0 else []
        usage = {"cpu": f"{round(max(cpu, 0.0) * 1e6)}n", "memory": f"{round(max(memory, 0.0) / 1000.0)}"}
        common = {
            "timestamp": self.clock.wall(sample_s),
            "window": f"{RESOURCE_WINDOW_S / self.clock.speed:g}s",
            "containers": [{"name": "c", "usage": usage}],
        }
        labels = {"app": f"w{w}"}
        items = [{"metadata": {"name": n, "namespace": NAMESPACE, "labels": labels}, **common} for n in names]
        return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}

    def _external(self, metric: str, w: int) -> Json:
        now = self.clock.now()
        value = self.shadow.total(w, SIGNALS[metric], now) if metric in SIGNALS and w >= 0 else -1.0
        self.note(w, metric, value)
        item = {
            "metricName": metric,
            "metricLabels": {},
            "timestamp": self.clock.wall(now - RATE_AGE_S),
            "windowSeconds": round(RATE_WINDOW_S / self.clock.speed),
            "value": f"{int(value * 1000)}m",
        }
        kind = {"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1"}
        return {**kind, "metadata": {}, "items": [item] if value >= 0.0 else []}

    def _custom_pods(self, metric: str, w: int) -> Json:
        now = self.clock.now()
        sample_s = now - RATE_AGE_S
        value = self.shadow.pod_milli(w, SIGNALS[metric], now, sample_s) if metric in SIGNALS and w >= 0 else -1.0
        self.note(w, metric, value)
        names = self.world.sampled_pods(w, sample_s) if value >= 0.0 else []
        described = [{"kind": "Pod", "apiVersion": "/v1", "namespace": NAMESPACE, "name": name} for name in names]
        return self._custom(metric, described, sample_s, value)

    def _custom_object(self, metric: str, w: int) -> Json:
        now = self.clock.now()
        value = self.shadow.total(w, SIGNALS[metric], now) if metric in SIGNALS and w >= 0 else -1.0
        self.note(w, metric, value)
        target = {"kind": "Deployment", "apiVersion": "apps/v1", "namespace": NAMESPACE, "name": f"w{w}"}
        return self._custom(metric, [target] if value >= 0.0 else [], now - RATE_AGE_S, value * 1000.0)

    def _custom(self, metric: str, described: list[Json], at_s: float, milli: float) -> Json:
        common = {
            "metric": {"name": metric, "selector": None},
            "timestamp": self.clock.wall(at_s),
            "windowSeconds": round(RATE_WINDOW_S / self.clock.speed),
            "value": f"{int(milli)}m",
        }
        kind = {"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2"}
        return {**kind, "metadata": {}, "items": [{"describedObject": one, **common} for one in described]}


def register(api: Api, port: int) -> None:
    """Tell the API server that these groups are answered at `port` of this machine."""
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port, "protocol": "TCP"}]}
    api.create("/api/v1/namespaces/default/services", {"metadata": {"name": SERVICE}, "spec": spec})
    for group, version in GROUPS.items():
        spec = {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": SERVICE, "namespace": "default", "port": port},
        }
        body = {"metadata": {"name": f"{version}.{group}"}, "spec": spec}
        api.create("/apis/apiregistration.k8s.io/v1/apiservices", body)


def available(api: Api) -> bool:
    """Whether the API server reaches the groups."""
    for group, version in GROUPS.items():
        status = api.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{version}.{group}").get("status", {})
        if not any(c["type"] == "Available" and c["status"] == "True" for c in status.get("conditions") or []):
            return False
    return True


def _index(selector: str) -> int:
    found = _WORKLOAD.search(selector)
    return int(found[1]) if found else -1


def _discovery(group: str, version: str) -> Json:
    resources = [
        {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get", "list"]}
        for name, kind in _RESOURCES[group]
    ]
    kind = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}"}
    return {**kind, "resources": resources}
