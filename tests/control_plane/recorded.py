"""A recording's events as a Course."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.control_plane.course import Change, Course, add_span, as_steps, empty_course
from tests.control_plane.recording import Recording

INFINITE = float("inf")


@dataclass
class PodLife:
    """Times of one pod; inf where it never came to that."""

    w: int
    created: float
    bound: float = INFINITE
    ready: float = INFINITE
    deleted: float = INFINITE
    gone: float = INFINITE
    node: int = 0


@dataclass
class NodeLife:
    """One machine: from being asked for (or joining) until it is gone."""

    type: str = ""
    capacity: str = "on-demand"
    zone: str = ""
    pool: str = ""
    price: float = 0.0
    start: float = INFINITE
    end: float = INFINITE


def pod_lives(recording: Recording) -> dict[int, PodLife]:
    """By the pod's number."""
    lives: dict[int, PodLife] = {}
    for event in recording.of("pod"):
        if event["s"] == "created":
            lives[event["p"]] = PodLife(event["w"], event["t"])
            continue
        life = lives[event["p"]]
        setattr(life, event["s"], event["t"])
        if event["s"] == "bound":
            life.node = event["n"]
    return lives


def node_lives(recording: Recording) -> dict[int, NodeLife]:
    """By the machine's number. A machine without a claim lives from joining to leaving."""
    lives: dict[int, NodeLife] = {}
    for event in recording.events:
        if event["k"] == "machine":
            life = lives.setdefault(event["n"], NodeLife())
            life.type, life.capacity, life.price = event["type"], event["capacity"], event["price"]
            life.zone, life.pool = event["zone"], event["pool"]
        elif event["k"] == "node":
            life = lives.setdefault(event["n"], NodeLife())
            if event["s"] in ("asked", "joined"):
                life.start = min(life.start, event["t"])
            elif event["s"] in ("left", "gone"):
                life.end = event["t"]
    return lives


def recorded_course(recording: Recording, dt: float, workloads: int) -> Course:
    """From scenario time 0 to the end."""
    ticks = round(recording.header["end_s"] / dt)
    course = empty_course(ticks, workloads, dt)
    pods, nodes = pod_lives(recording), node_lives(recording)
    for life in pods.values():
        add_span(course.ready[:, life.w], dt, life.ready, life.deleted)
        add_span(course.pending[:, life.w], dt, life.created, min(life.bound, life.deleted))
        kind = nodes[life.node].type if life.node in nodes else ""
        seconds = _inside(life.bound, life.gone, ticks * dt)
        course.pod_s[life.w, kind] = course.pod_s.get((life.w, kind), 0.0) + seconds
    for node in nodes.values():
        seconds = add_span(course.nodes, dt, node.start, node.end)
        add_span(course.usd, dt, node.start, node.end, node.price * dt / 3600.0)
        key = f"{node.type}/{node.capacity}"
        course.node_s[key] = course.node_s.get(key, 0.0) + seconds
    for tick in recording.of("tick"):
        if tick["j"] >= 0:
            course.good[tick["j"]], course.bad[tick["j"]] = tick["good"], tick["bad"]
    for w in range(workloads):
        steps = list(_replicas(recording, w))
        before = [n for at_s, n in steps if at_s < 0]
        course.desired[:, w] = as_steps([s for s in steps if s[0] >= 0], ticks, dt, before[-1] if before else 0)
        course.changes += _changes(steps, w)
    return course


def _replicas(recording: Recording, w: int) -> Iterator[tuple[float, int]]:
    return ((event["t"], event["n"]) for event in recording.of("replicas") if event["w"] == w)


def _changes(steps: list[tuple[float, int]], w: int) -> Iterator[Change]:
    for (_, before), (at_s, after) in pairwise(steps):
        if at_s >= 0 and after != before:
            yield Change(at_s, w, before, after)


def _inside(start_s: float, end_s: float, horizon_s: float) -> float:
    return max(min(end_s, horizon_s) - max(start_s, 0.0), 0.0)


def sync_times(recording: Recording, workloads: int, period_s: float) -> list[list[float]]:
    """When the HPA controller looked at each workload; several metrics are asked for in one look."""
    times: list[list[float]] = [[] for _ in range(workloads)]
    for event in recording.of("sync"):
        own = times[event["w"]]
        if not own or event["t"] - own[-1] > 0.5 * period_s:
            own.append(event["t"])
    return times
