"""Play a scenario on a real control plane and record what it does.

    python -m tests.control_plane.record SCENARIO.yaml --minutes 20 --out REC.jsonl.gz [--speed 5]

Deployments, HPAs, budgets and nodes (or Karpenter's NodePools) are made from the scenario; its demand is played;
CPU and requests/s follow from the demand and the pods that are really Ready, by the simulator's own measurement
model, and are served as metrics APIs. With --speed N everything runs N times faster than life: the HPA's
periods, start delays, grace times and metric windows are divided by N (not with Karpenter).
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.scenario import Scenario
from envs.sim.pack_placement import node_groups
from envs.stack import Stack
from tests.control_plane import objects
from tests.control_plane.api import ApiError
from tests.control_plane.build import KUBERNETES, built, missing_reason
from tests.control_plane.clock import PlayClock
from tests.control_plane.components import Settings
from tests.control_plane.frozen import freeze, thawed, uses_karpenter
from tests.control_plane.https_server import HttpsServer
from tests.control_plane.karpenter_objects import KARPENTER, create_pools, karpenter_env, types_file
from tests.control_plane.metrics_api import MetricsApi, available, register
from tests.control_plane.plane import ControlPlane
from tests.control_plane.profile import scheduler_profile
from tests.control_plane.recording import FORMAT, write_recording
from tests.control_plane.shadow import Shadow
from tests.control_plane.speeds import check_speed, flags_of
from tests.control_plane.world import World

WARMUP_S = 300.0
PODS_S = 60.0  # wall seconds for the first pods to be Ready
LAG_S = 0.1  # wall seconds after a tick's end until it is served: watches deliver within that
_TRIED = re.compile(r'"Attempting to schedule pod" pod="[^"/]*/([^"]+)"')


def record(
    document: dict[str, Any], load: dict[str, Any], *, speed: int, progress: Callable[[float], None] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(header, events) of a frozen scenario, played from its warm-up to its end. Takes as long as it says."""
    with thawed(document, load) as scenario:
        stack = scenario.stacks[0]
        karpenter = uses_karpenter(stack)
        check_speed(scenario, stack, speed, karpenter=karpenter)
        shadow = Shadow(scenario, stack)
        settings = Settings(
            hpa=flags_of(scenario, stack, speed),
            scheduler_profile=scheduler_profile(stack.scheduler),
            karpenter_types=types_file(scenario) if karpenter else None,
            karpenter_env=karpenter_env(stack) if karpenter else {},
        )
        with ControlPlane(settings) as plane:
            player = Player(plane, scenario, stack, shadow, speed)
            events = player.play(progress)
    header = {
        "format": FORMAT,
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": {"kubernetes": KUBERNETES, **({"karpenter": KARPENTER} if karpenter else {})},
        "speed": speed,
        "start_s": -scenario.warmup_s,
        "end_s": scenario.horizon_s,
        "first_pods": "pending" if karpenter else "ready",
        "metric_age_s": shadow.metric_age_s,
        "scenario": document,
        "load": load,
    }
    return header, events


class Player:
    """One scenario on one control plane."""

    def __init__(self, plane: ControlPlane, scenario: Scenario, stack: Stack, shadow: Shadow, speed: int) -> None:
        self.plane, self.api, self.scenario, self.stack = plane, plane.api, scenario, stack
        self.shadow, self.speed = shadow, speed
        self.karpenter = uses_karpenter(stack)
        self.stop = threading.Event()

    def play(self, progress: Callable[[float], None] | None) -> list[dict[str, Any]]:
        """Set up, then serve tick after tick until the horizon."""
        self._prepare()
        clock = PlayClock.starting(-self.scenario.warmup_s, self.speed)
        world = World(clock, self.shadow.n, node_groups(self.scenario.cluster))
        asked = MetricsApi(self.shadow, world, clock, lambda w, m, v: world.add("sync", w=w, m=m, v=round(v, 3)))
        folder = self.plane.folder
        server = HttpsServer(asked, folder / "tls.crt", folder / "tls.key")
        try:
            register(self.api, server.port)
            until(lambda: available(self.api), "the metrics APIs")
            if not self.karpenter:
                self._create_workloads()
                self._wait_pods()
            world.clock = asked.clock = clock = PlayClock.starting(-self.scenario.warmup_s, self.speed)
            world.follow(self.api, karpenter=self.karpenter)
            if self.karpenter:
                self._create_workloads()
            self._create_autoscalers()
            self._run(world, clock, progress)
        finally:
            world.close()
            server.close()
        return [*world.lines, *self._tried(world, clock)]

    def _prepare(self) -> None:
        """Everything that is there before the load is: namespace, priorities, nodes with their DaemonSets."""
        self.api.create("/api/v1/namespaces", {"metadata": {"name": objects.NAMESPACE}})
        for priority in sorted({w.priority for w in self.scenario.cluster.workloads} - {0}):
            self.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", objects.priority_class(priority))
        for pool in self.scenario.cluster.node_pools:
            daemon = objects.daemon_set(pool)
            if daemon is not None:
                self.api.create("/apis/apps/v1/namespaces/kube-system/daemonsets", daemon)
        if self.karpenter:
            create_pools(self.api, self.scenario, self.stack)
            return
        nodes = list(objects.fixed_nodes(self.scenario))
        for node in nodes:
            self.api.create("/api/v1/nodes", node)
        daemons = sum(_has_daemons(self.scenario, node) for node in nodes)
        until(
            lambda: self._running("kube-system") >= daemons and self._open_nodes() >= len(nodes),
            "the fixed nodes",
            120.0,
        )

    def _running(self, namespace: str) -> int:
        pods = self.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return sum(pod["status"].get("phase") == "Running" for pod in pods)

    def _open_nodes(self) -> int:
        """Nodes whose not-ready taint is gone."""
        nodes = self.api.get("/api/v1/nodes")["items"]
        return sum(
            not any(t["key"].startswith("node.kubernetes.io/") for t in n["spec"].get("taints", [])) for n in nodes
        )

    def _create_workloads(self) -> None:
        workloads, space = self.scenario.cluster.workloads, objects.NAMESPACE
        names = {w.name: i for i, w in enumerate(workloads)}
        for i, w in enumerate(workloads):
            budget = objects.disruption_budget(i, w)
            if budget is not None:
                self.api.create(f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets", budget)
            body = objects.deployment(i, w, self.shadow.initial[i], self.speed, names)
            self.api.create(f"/apis/apps/v1/namespaces/{space}/deployments", body)

    def _wait_pods(self) -> None:
        """The replay starts with every pod Ready that fits; what does not fit is Pending from the start."""
        with contextlib.suppress(TimeoutError):
            until(lambda: self._running(objects.NAMESPACE) >= sum(self.shadow.initial), "the first pods", PODS_S)

    def _create_autoscalers(self) -> None:
        for i, w in enumerate(self.scenario.cluster.workloads):
            hpa = objects.autoscaler(i, w, self.stack, self.speed)
            if hpa is not None:
                self.api.create(f"/apis/autoscaling/v2/namespaces/{objects.NAMESPACE}/horizontalpodautoscalers", hpa)

    def _run(self, world: World, clock: PlayClock, progress: Callable[[float], None] | None) -> None:
        dt = self.shadow.dt
        for tick in range(self.shadow.tick, round(self.scenario.horizon_s / dt)):
            if not clock.wait_until((tick + 1) * dt + LAG_S * self.speed, self.stop):
                return
            served = self.shadow.serve(tick, given := world.tick_input(tick * dt, (tick + 1) * dt))
            world.add(
                "tick",
                j=tick,
                ready=[round(x, 2) for x in given.ready_pod_s],
                good=[round(x, 2) for x in served.good],
                bad=[round(x, 3) for x in served.bad],
            )
            if progress is not None:
                progress((tick + 1) * dt)

    def _tried(self, world: World, clock: PlayClock) -> list[dict[str, Any]]:
        """The order in which kube-scheduler took pods up, from its log; the time says nothing."""
        numbers = {line["name"]: line["p"] for line in world.lines if line["k"] == "pod" and "name" in line}
        log = self.plane.log("kube-scheduler")
        tried = [numbers[name] for name in _TRIED.findall(log) if name in numbers]
        return [{"t": clock.now(), "k": "tried", "p": tried}]


def until(done: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Wait until `done`. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if done():
                return
        except (ApiError, OSError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{what} did not come within {timeout_s:.0f} s")


def _has_daemons(scenario: Scenario, node: dict[str, Any]) -> bool:
    pools = {pool.name: pool for pool in scenario.cluster.node_pools}
    return objects.daemon_set(pools[node["metadata"]["labels"][objects.NODEPOOL]]) is not None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.control_plane.record", description=__doc__.split("\n\n")[0])
    parser.add_argument("scenario", help="scenario file or gallery name")
    parser.add_argument("--minutes", type=float, required=True, help="scenario minutes to record, after the warm-up")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .jsonl.gz")
    parser.add_argument("--speed", type=int, default=1, help="times faster than life, 1-5; 1 with Karpenter")
    parser.add_argument("--stack", help="stack name or file; default the scenario's first")
    nodes = "replace the stack's node autoscaler; as it is, Karpenter stands in for the Cluster Autoscaler"
    parser.add_argument("--nodes", choices=("as-is", "fixed", "karpenter"), default="as-is", help=nodes)
    parser.add_argument("--warmup", type=float, default=WARMUP_S / 60, help="scenario minutes before time 0")
    options = parser.parse_args()
    if built() is None:
        print(missing_reason(), file=sys.stderr)
        return 2
    try:
        document, load = freeze(options.scenario, stack_name=options.stack, minutes=options.minutes,
                                warmup_s=options.warmup * 60.0, nodes=options.nodes)  # fmt: skip
        total = options.minutes * 60.0
        header, events = record(document, load, speed=options.speed, progress=lambda at_s: _show(at_s, total))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    write_recording(options.out, header, events)
    print(f"\n{options.out}: {len(events)} events, {options.out.stat().st_size / 1024:.0f} KiB", file=sys.stderr)
    return 0


def _show(at_s: float, total: float) -> None:
    if sys.stderr.isatty() or at_s % 300 == 0:
        end = "" if sys.stderr.isatty() else "\n"
        print(f"\r{at_s / 60:6.1f} of {total / 60:.1f} scenario minutes", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
