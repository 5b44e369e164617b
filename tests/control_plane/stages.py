"""kwok's stages: what a fake kubelet does with nodes and pods, and when.

A pod starts (startTime, not Ready) when it is bound, is Ready after its annotation READY_DELAY (a
uniform delay up to READY_JITTER) and is gone DELETE_DELAY after it was deleted. Nodes are Ready at once:
boot time is Karpenter's nodeRegistrationDelay.
"""

from __future__ import annotations

from typing import Any

PREFIX = "stage.trimtab.dev"
READY_DELAY, READY_JITTER = f"{PREFIX}/ready-delay", f"{PREFIX}/ready-jitter"
DELETE_DELAY = f"{PREFIX}/delete-delay"

_POD_START = """
{{ $now := Now }}
conditions:
- {lastTransitionTime: {{ $now | Quote }}, status: "True", type: Initialized}
- {lastTransitionTime: {{ $now | Quote }}, status: "False", type: Ready, reason: ContainersNotReady}
- {lastTransitionTime: {{ $now | Quote }}, status: "False", type: ContainersReady, reason: ContainersNotReady}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
phase: Pending
startTime: {{ $now | Quote }}
"""
_POD_READY = """
{{ $now := Now }}
conditions:
- {lastTransitionTime: {{ $now | Quote }}, status: "True", type: Ready}
- {lastTransitionTime: {{ $now | Quote }}, status: "True", type: ContainersReady}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  name: {{ .name | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
phase: Running
"""
_NODE_START = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
  message: {{ .message | Quote }}
  reason: {{ .reason | Quote }}
  status: {{ .status | Quote }}
  type: {{ .type | Quote }}
{{ end }}
addresses:
- {address: {{ NodeIP | Quote }}, type: InternalIP}
- {address: {{ NodeName | Quote }}, type: Hostname}
nodeInfo:
  {architecture: amd64, operatingSystem: linux, kubeletVersion: kwok, kubeProxyVersion: kwok, bootID: kwok,
   containerRuntimeVersion: kwok, kernelVersion: kwok, machineID: kwok, osImage: kwok, systemUUID: kwok}
phase: Running
"""
_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'
_DELETED = ".metadata.deletionTimestamp"


def kwok_documents() -> list[dict[str, Any]]:
    """The configuration of kwok as documents."""
    return [
        {
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "kind": "KwokConfiguration",
            "options": {
                "manageAllNodes": True,
                "nodeLeaseDurationSeconds": 40,
                "nodeLeaseParallelism": 4,
                "nodePlayStageParallelism": 4,
                "podPlayStageParallelism": 8,
            },
        },
        _stage("node-start", "Node", [_if(_READY, "NotIn", "True")], _NODE_START),
        _stage("pod-start", "Pod", [_if(_DELETED, "DoesNotExist"), _if(".status.startTime", "DoesNotExist")],
               _POD_START),
        _stage("pod-ready", "Pod",
               [_if(_DELETED, "DoesNotExist"), _if(".status.startTime", "Exists"), _if(_READY, "NotIn", "True")],
               _POD_READY, _delay(READY_DELAY, READY_JITTER)),
        _stage("pod-delete", "Pod", [_if(_DELETED, "Exists"), _if(".metadata.finalizers", "DoesNotExist")], None,
               _delay(DELETE_DELAY, None)),
    ]  # fmt: skip


def _if(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def _delay(annotation: str, jitter: str | None) -> dict[str, Any]:
    delay: dict[str, Any] = {
        "durationMilliseconds": 0,
        "durationFrom": {"expressionFrom": f'.metadata.annotations["{annotation}"]'},
    }
    if jitter is not None:
        delay["jitterDurationFrom"] = {"expressionFrom": f'.metadata.annotations["{jitter}"]'}
    return delay


def _stage(
    name: str, kind: str, conditions: list[dict[str, Any]], status: str | None, delay: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One Stage; status None deletes the object."""
    spec: dict[str, Any] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": conditions},
        "next": {"delete": True} if status is None else {"statusTemplate": status},
    }
    if delay is not None:
        spec["delay"] = delay
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}
