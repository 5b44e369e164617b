"""What the control plane does, seen through watches: one state for the load, one log for the recording."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from envs.sim.pack_placement import NodeGroup
from tests.control_plane.api import Api
from tests.control_plane.clock import PlayClock
from tests.control_plane.objects import NAMESPACE
from tests.control_plane.shadow import GroupKey, PodNow, TickInput, group_key

Json = dict[str, Any]
HOSTNAME = "kubernetes.io/hostname"
WATCHES = {
    "pod": f"/api/v1/namespaces/{NAMESPACE}/pods",
    "node": "/api/v1/nodes",
    "deployment": f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
    "hpa": f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers",
}
KARPENTER_WATCHES = {"claim": "/apis/karpenter.sh/v1/nodeclaims", "event": "/api/v1/events"}


@dataclass
class Pod:
    """One pod as seen last; times in scenario seconds."""

    number: int
    name: str
    workload: int
    node: str = ""
    ready: bool = False
    deleted: bool = False
    ready_s: float = float("inf")


@dataclass
class Machine:
    """One node, or the claim for one. Keyed by host name, which a claim and its node share."""

    number: int
    stages: set[str] = field(default_factory=set)
    key: GroupKey = ("", "", "", "")


class World:
    """Fills `lines`, the recording's events, each with its time `t`."""

    def __init__(self, clock: PlayClock, workloads: int, groups: tuple[NodeGroup, ...]) -> None:
        self.clock, self.n = clock, workloads
        self.prices = {group_key(g.labels): g.price_usd_per_h for g in groups}
        self.lock = threading.Lock()
        self.lines: list[Json] = []
        self.pods: dict[str, Pod] = {}
        self.machines: dict[str, Machine] = {}
        self.changes: list[tuple[float, int, int]] = []  # when, workload, +1 or -1 ready pods
        self.ready = [0] * workloads
        self.counted = 0
        self.seen: dict[str, Any] = {}
        self.stop = threading.Event()

    def follow(self, api: Api, *, karpenter: bool) -> None:
        """Start the watches."""
        for kind, path in {**WATCHES, **(KARPENTER_WATCHES if karpenter else {})}.items():
            thread = threading.Thread(target=self._follow, args=(api, kind, path), daemon=True)
            thread.start()

    def close(self) -> None:
        """No more lines; the threads end with the API server."""
        self.stop.set()

    def add(self, kind: str, **fields: Any) -> None:
        """One line of the recording, now."""
        self.lines.append({"t": round(self.clock.now(), 3), "k": kind, **fields})

    def sampled_pods(self, w: int, sample_s: float) -> list[str]:
        """Names of the workload's pods that were Ready at sample_s."""
        with self.lock:
            return [pod.name for pod in self.pods.values() if pod.workload == w and pod.ready_s <= sample_s]

    def tick_input(self, start_s: float, end_s: float) -> TickInput:
        """Ready pod-seconds of [start_s, end_s) and what stands now; ticks must be asked for in order."""
        with self.lock:
            seconds = [count * (end_s - start_s) for count in self.ready]
            due = [change for change in self.changes if change[0] < end_s]
            self.changes = [change for change in self.changes if change[0] >= end_s]
            for at_s, w, step in due:
                seconds[w] += step * (end_s - max(at_s, start_s))
                self.ready[w] += step
            alive = [p for p in self.pods.values() if not p.deleted]
            return TickInput(
                ready_pod_s=seconds,
                starting=self._count(p.workload for p in alive if p.node and not p.ready),
                pending=self._count(p.workload for p in alive if not p.node),
                terminating=self._count(p.workload for p in self.pods.values() if p.deleted),
                pods=[PodNow(p.workload, p.node, p.ready) for p in alive if p.node],
                nodes={name: m.key for name, m in self.machines.items() if "joined" in m.stages},
            )

    def _count(self, workloads: Any) -> list[int]:
        out = [0] * self.n
        for w in workloads:
            out[w] += 1
        return out

    def _follow(self, api: Api, kind: str, path: str) -> None:
        handle: Callable[[str, Json], None] = getattr(self, f"_on_{kind}")
        for what, thing in api.watch(path, self.stop):
            with self.lock:
                if not self.stop.is_set():
                    handle(what, thing)

    def _on_pod(self, what: str, thing: Json) -> None:
        meta, status = thing["metadata"], thing.get("status", {})
        pod, revision = self.pods.get(meta["uid"]), int(meta["resourceVersion"])
        if pod is None:
            if what == "DELETED":
                return
            self.counted += 1
            pod = self.pods[meta["uid"]] = Pod(self.counted, meta["name"], int(meta["labels"]["app"][1:]))
            self.add("pod", p=pod.number, w=pod.workload, s="created", name=pod.name, rv=revision)
        if not pod.node and thing["spec"].get("nodeName"):
            pod.node = self._host(thing["spec"]["nodeName"])
            self.add("pod", p=pod.number, s="bound", n=self._machine(pod.node).number, rv=revision)
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
        if ready and not pod.ready and not pod.deleted:
            pod.ready, pod.ready_s = True, self.clock.now()
            self.changes.append((pod.ready_s, pod.workload, 1))
            self.add("pod", p=pod.number, s="ready", rv=revision)
        if (meta.get("deletionTimestamp") or what == "DELETED") and not pod.deleted:
            pod.deleted = True
            if pod.ready:
                self.changes.append((self.clock.now(), pod.workload, -1))
            self.add("pod", p=pod.number, s="deleted", rv=revision)
        if what == "DELETED":
            del self.pods[meta["uid"]]
            self.add("pod", p=pod.number, s="gone", rv=revision)

    def _host(self, node_name: str) -> str:
        return self.seen.get(f"host {node_name}", node_name)

    def _machine(self, host: str) -> Machine:
        return self.machines.setdefault(host, Machine(len(self.machines) + 1))

    def _on_node(self, what: str, thing: Json) -> None:
        meta = thing["metadata"]
        host = meta["labels"].get(HOSTNAME, meta["name"])
        self.seen[f"host {meta['name']}"] = host
        machine = self._machine(host)
        self._describe(machine, meta["labels"])
        self._stage(machine, "joined", meta)
        if any(c["type"] == "Ready" and c["status"] == "True" for c in thing.get("status", {}).get("conditions") or []):
            self._stage(machine, "ready", meta)
        taints = [t["key"] for t in thing["spec"].get("taints", [])]
        self._tainted(machine, "disrupted", "karpenter.sh/disrupted" in taints, meta)
        self._tainted(machine, "open", not any(t.startswith(_BLOCKING) for t in taints), meta)
        if meta.get("deletionTimestamp"):
            self._stage(machine, "deleted", meta)
        if what == "DELETED":
            self._stage(machine, "left", meta)

    def _on_claim(self, what: str, thing: Json) -> None:
        meta = thing["metadata"]
        machine = self._machine(meta["name"])
        self._stage(machine, "asked", meta)
        if "node.kubernetes.io/instance-type" in meta["labels"]:
            self._describe(machine, meta["labels"])
        if meta.get("deletionTimestamp"):
            self._stage(machine, "claim deleted", meta)
        if what == "DELETED":
            self._stage(machine, "gone", meta)

    def _describe(self, machine: Machine, labels: dict[str, str]) -> None:
        key = group_key(labels)
        if key == machine.key:
            return
        machine.key = key
        pool, kind, zone, capacity = key
        price = self.prices.get(key, 0.0)
        self.add("machine", n=machine.number, pool=pool, type=kind, zone=zone, capacity=capacity, price=price)

    def _stage(self, machine: Machine, stage: str, meta: Json) -> None:
        if stage not in machine.stages:
            machine.stages.add(stage)
            self.add("node", n=machine.number, s=stage, rv=int(meta["resourceVersion"]))

    def _tainted(self, machine: Machine, stage: str, on: bool, meta: Json) -> None:
        """Stages that come and go: `disrupted` and `open` (to ordinary pods)."""
        if on != (stage in machine.stages):
            (machine.stages.add if on else machine.stages.discard)(stage)
            self.add("node", n=machine.number, s=stage if on else f"not {stage}", rv=int(meta["resourceVersion"]))

    def _on_deployment(self, what: str, thing: Json) -> None:
        w, replicas = int(thing["metadata"]["name"][1:]), thing["spec"].get("replicas", 1)
        if what != "DELETED" and self._changed(f"replicas {w}", replicas):
            self.add("replicas", w=w, n=replicas)

    def _on_hpa(self, what: str, thing: Json) -> None:
        status = thing.get("status", {})
        told = {
            "current": status.get("currentReplicas", 0),
            "desired": status.get("desiredReplicas", 0),
            "conditions": {c["type"]: f"{c['status']} {c.get('reason', '')}" for c in status.get("conditions") or []},
        }
        w = int(thing["metadata"]["name"][1:])
        if what != "DELETED" and self._changed(f"hpa {w}", told):
            self.add("hpa", w=w, **told)

    def _on_event(self, what: str, thing: Json) -> None:
        about, count = thing["involvedObject"], thing.get("count", 1)
        key = f"event {thing['metadata']['name']}"
        if what == "DELETED" or not _of_karpenter(thing) or not self._changed(key, count):
            return
        self.add(
            "event",
            reason=thing["reason"],
            about=f"{about.get('kind', '')} {about.get('name', '')}",
            message=thing["message"][:200],
        )

    def _changed(self, key: str, value: Any) -> bool:
        if self.seen.get(key) == value:
            return False
        self.seen[key] = value
        return True


_BLOCKING = ("node.kubernetes.io/", "karpenter.sh/", "node.cloudprovider.kubernetes.io/")


def _of_karpenter(event: Json) -> bool:
    source = event.get("source", {}).get("component") or event.get("reportingComponent", "")
    return source == "karpenter"
