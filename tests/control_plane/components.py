"""Command lines and configuration files of every component of one control plane."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.control_plane.stages import kwok_documents

PORTS = ("etcd", "etcd_peer", "api", "kwok", "karpenter_metrics", "karpenter_health")
# What a scenario needs of the controller manager: everything else only costs CPU.
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "horizontal-pod-autoscaler-controller",
    "disruption-controller",
    "daemonset-controller",
    "garbage-collector-controller",
    "pod-garbage-collector-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "namespace-controller",
)
ADMIN = "admin"


@dataclass(frozen=True)
class HpaFlags:
    """The HPA controller's flags in real seconds; defaults are Kubernetes' own."""

    sync_period_s: float = 15.0
    downscale_stabilization_s: float = 300.0
    initial_readiness_s: float = 30.0
    cpu_initialization_s: float = 300.0
    tolerance: float = 0.1


@dataclass(frozen=True)
class Settings:
    """What one control plane is started with. karpenter_types: None leaves Karpenter out."""

    hpa: HpaFlags = field(default_factory=HpaFlags)
    scheduler_profile: dict[str, Any] | None = None  # one entry of KubeSchedulerConfiguration.profiles
    karpenter_types: list[dict[str, Any]] | None = None
    karpenter_env: dict[str, str] = field(default_factory=dict)
    feature_gates: str = ""

    @staticmethod
    def from_json(data: dict[str, Any]) -> Settings:
        return Settings(**{**data, "hpa": HpaFlags(**data["hpa"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Component:
    """One process: its name, command line and extra environment."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)


def free_ports() -> dict[str, int]:
    """A free TCP port for each name. All are held while choosing, so they differ."""
    held = {name: socket.create_server(("127.0.0.1", 0)) for name in PORTS}
    try:
        return {name: one.getsockname()[1] for name, one in held.items()}
    finally:
        for one in held.values():
            one.close()


def write_files(folder: Path, ports: dict[str, int], token: str, settings: Settings) -> None:
    """kubeconfig, tokens, kwok's stages, the scheduler's profile, Karpenter's instance types. JSON is YAML."""
    (folder / "tokens.csv").write_text(f"{token},{ADMIN},{ADMIN},system:masters\n")
    _write(folder / "kubeconfig", _kubeconfig(ports["api"], token))
    (folder / "kwok.yaml").write_text("\n---\n".join(json.dumps(d) for d in kwok_documents()))
    _write(folder / "scheduler.yaml", _scheduler_config(folder, settings))
    if settings.karpenter_types is not None:
        _write(folder / "instance-types.json", settings.karpenter_types)


def etcd(programs: Path, folder: Path, ports: dict[str, int]) -> Component:
    client, peer = (f"http://127.0.0.1:{ports[name]}" for name in ("etcd", "etcd_peer"))
    flags = (
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
    )
    return Component("etcd", (str(programs / "controlplane"), "etcd", *flags))


def api_server(programs: Path, folder: Path, ports: dict[str, int], settings: Settings) -> Component:
    key = folder / "sa.key"
    flags = [
        f"--etcd-servers=http://127.0.0.1:{ports['etcd']}",
        f"--secure-port={ports['api']}",
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={folder / 'tls.crt'}",
        f"--tls-private-key-file={folder / 'tls.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--enable-priority-and-fairness=false",
        "--profiling=false",
    ]
    if settings.feature_gates:
        flags.append(f"--feature-gates={settings.feature_gates}")
    return Component("kube-apiserver", (str(programs / "controlplane"), "kube-apiserver", *flags))


def controllers(programs: Path, folder: Path, ports: dict[str, int], settings: Settings) -> list[Component]:
    """Everything that talks to the API server."""
    parts = [_controller_manager(programs, folder, settings), _scheduler(programs, folder)]
    parts.append(_kwok(programs, folder, ports))
    if settings.karpenter_types is not None:
        parts.append(_karpenter(programs, folder, ports, settings))
    return parts


def _controller_manager(programs: Path, folder: Path, settings: Settings) -> Component:
    hpa, pre = settings.hpa, "--horizontal-pod-autoscaler"
    flags = (
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--service-account-private-key-file={folder / 'sa.key'}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--controllers={','.join(CONTROLLERS)}",
        "--kube-api-qps=200",
        "--kube-api-burst=300",
        f"{pre}-sync-period={hpa.sync_period_s:g}s",
        f"{pre}-downscale-stabilization={hpa.downscale_stabilization_s:g}s",
        f"{pre}-initial-readiness-delay={hpa.initial_readiness_s:g}s",
        f"{pre}-cpu-initialization-period={hpa.cpu_initialization_s:g}s",
        f"{pre}-tolerance={hpa.tolerance:g}",
    )
    return Component("kube-controller-manager", (str(programs / "controlplane"), "kube-controller-manager", *flags))


def _scheduler(programs: Path, folder: Path) -> Component:
    flags = (f"--config={folder / 'scheduler.yaml'}", "--secure-port=0", "--v=3")
    return Component("kube-scheduler", (str(programs / "controlplane"), "kube-scheduler", *flags))


def _kwok(programs: Path, folder: Path, ports: dict[str, int]) -> Component:
    flags = (
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--config={folder / 'kwok.yaml'}",
        "--manage-all-nodes=true",
        f"--server-address=127.0.0.1:{ports['kwok']}",
        "--node-ip=127.0.0.1",
        f"--node-port={ports['kwok']}",
    )
    return Component("kwok", (str(programs / "kwok"), *flags))


def _karpenter(programs: Path, folder: Path, ports: dict[str, int], settings: Settings) -> Component:
    env = {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "INSTANCE_TYPES_FILE_PATH": str(folder / "instance-types.json"),
        "DISABLE_LEADER_ELECTION": "true",
        "METRICS_PORT": str(ports["karpenter_metrics"]),
        "HEALTH_PROBE_PORT": str(ports["karpenter_health"]),
        "LOG_LEVEL": "debug",
        **settings.karpenter_env,
    }
    return Component("karpenter", (str(programs / "karpenter"),), env)


def _kubeconfig(port: int, token: str) -> dict[str, Any]:
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "plane",
        "clusters": [{"name": "plane", "cluster": cluster}],
        "users": [{"name": ADMIN, "user": {"token": token}}],
        "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": ADMIN}}],
    }


def _scheduler_config(folder: Path, settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(folder / "kubeconfig"), "qps": 200, "burst": 300},
        "leaderElection": {"leaderElect": False},
    }
    if settings.scheduler_profile is not None:
        config["profiles"] = [settings.scheduler_profile]
    return config


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1))
