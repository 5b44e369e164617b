"""The compiled HPA equals the slow reference on random worlds, and keeps its promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.controllers.hpa import POD_MISSING, POD_SAMPLED, POD_UNREADY, classify_pod, hpa_sync
from envs.controllers.hpa_pack import (
    NO_PODS,
    HpaArrays,
    HpaDefaults,
    HpaSample,
    empty_hpa_sample,
    empty_hpa_state,
    pack_hpa,
    write_hpa,
)
from envs.errors import InputError
from envs.stack import HpaBehavior, HpaMetric, HpaSpec, ScalingPolicy, ScalingRules
from tests.controllers.hpa_reference import GIB_MILLI, Controller, Pod, World, target_of

CPU_MILLI, MEMORY_BYTES = 250, 2**29
SEEDS = st.integers(0, 2**32 - 1)
KINDS = (
    HpaMetric("Resource", "cpu", "Utilization", 60),
    HpaMetric("Resource", "cpu", "AverageValue", 0.15),
    HpaMetric("Resource", "memory", "Utilization", 70),
    HpaMetric("Resource", "memory", "AverageValue", 0.3),
    HpaMetric("ContainerResource", "cpu", "Utilization", 130),
    HpaMetric("ContainerResource", "memory", "AverageValue", 0.2),
    HpaMetric("Pods", "requests_per_second", "AverageValue", 12.5),
    HpaMetric("Object", "requests_per_second", "Value", 90),
    HpaMetric("Object", "queue_length", "AverageValue", 20),
    HpaMetric("External", "queue_length", "Value", 50),
    HpaMetric("External", "requests_per_second", "AverageValue", 12.5),
)


def defaults(low: int = 1, high: int = 100) -> HpaDefaults:
    one = np.ones((1, 1))
    return HpaDefaults(
        80.0 * one,
        (CPU_MILLI * one).astype(np.int64),
        (MEMORY_BYTES * one).astype(np.int64),
        (low * one).astype(np.int32),
        (high * one).astype(np.int32),
    )


def packed(spec: HpaSpec, reserve: HpaSpec | None = None) -> HpaArrays:
    return pack_hpa([[spec]], **defaults()._asdict(), reserve=reserve)


def random_rules(rng: np.random.Generator) -> ScalingRules | None:
    if rng.random() < 0.2:
        return None
    policies = tuple(
        ScalingPolicy(
            str(rng.choice(["Pods", "Percent"])), int(rng.integers(1, 120)), int(rng.choice([15, 30, 60, 90]))
        )
        for _ in range(rng.integers(0, 4))
    )
    return ScalingRules(
        stabilization_s=None if rng.random() < 0.3 else int(rng.choice([0, 15, 30, 60, 120])),
        select=str(rng.choice(["Max", "Min", "Disabled"], p=[0.5, 0.4, 0.1])),
        policies=policies or None,
        tolerance=None if rng.random() < 0.5 else float(rng.choice([0.0, 0.01, 0.1, 0.3])),
    )


def random_spec(rng: np.random.Generator) -> HpaSpec:
    zero = bool(rng.random() < 0.2)
    picks = rng.choice(len(KINDS), size=rng.integers(1, 4), replace=False)
    behavior = None if rng.random() < 0.3 else HpaBehavior(random_rules(rng), random_rules(rng))
    return HpaSpec(
        metrics=tuple(KINDS[i] for i in picks),
        min_replicas=0 if zero else int(rng.integers(1, 4)),
        max_replicas=int(rng.integers(4, 40)),
        behavior=behavior,
        downscale_stabilization_s=float(rng.choice([0, 45, 120, 300])),
        scale_to_zero=zero,
    )


def rewritten(rng: np.random.Generator, spec: HpaSpec) -> HpaSpec:
    """Other targets, bounds and tolerance, as a plan would set them; the windows stay."""
    return replace(
        spec,
        metrics=tuple(replace(m, target=m.target * float(rng.choice([0.8, 1.0, 1.25]))) for m in spec.metrics),
        min_replicas=int(rng.integers(0, 4)),
        max_replicas=int(rng.integers(4, 40)),
        tolerance=float(rng.choice([0.05, 0.1, 0.2])),
    )


def unit_of(metric: HpaMetric) -> float:
    """What one pod shows at target, in milli-units."""
    if metric.target_type != "Utilization":
        return float(target_of(metric))
    return (CPU_MILLI if metric.name == "cpu" else MEMORY_BYTES * 1000) * metric.target / 100


def random_pod(rng: np.random.Generator, spec: HpaSpec, now_s: float, load: float) -> Pod:
    start = float(now_s - rng.integers(0, 400))
    values = (int(unit_of(m) * load * rng.uniform(0.9, 1.1)) for m in spec.metrics)
    return Pod(
        phase=str(rng.choice(["Running", "Pending", "Failed"], p=[0.88, 0.08, 0.04])),
        deleted=bool(rng.random() < 0.04),
        ready=[True, False, None][rng.choice(3, p=[0.88, 0.09, 0.03])],
        start_s=None if rng.random() < 0.02 else start,
        since_s=start + float(rng.integers(0, 60)),
        value=tuple(None if rng.random() < 0.06 else v for v in values),
    )


def random_world(rng: np.random.Generator, spec: HpaSpec, now_s: float, replicas: int) -> World:
    load = float(rng.choice([0.0, 0.3, 0.8, 0.95, 1.0, 1.05, 1.3, 3.0])) * rng.uniform(0.95, 1.05)
    count = max(0, replicas + int(rng.integers(-1, 2)))
    pods = tuple(random_pod(rng, spec, now_s, load) for _ in range(count))
    totals = tuple(
        None if rng.random() < 0.03 else int(target_of(m) * load * (replicas if m.target_type == "AverageValue" else 1))
        for m in spec.metrics
    )
    failed = tuple(bool(rng.random() < 0.03) for _ in spec.metrics)
    return World(now_s, pods, totals, failed, sample_s=now_s - float(rng.integers(0, 40)))


def pod_groups(hpa: HpaArrays, world: World, m: int) -> dict[int, list[int | None]]:
    """Samples of the pods by classify_pod's code."""
    found: dict[int, list[int | None]] = {POD_SAMPLED: [], POD_UNREADY: [], POD_MISSING: []}
    for pod in world.pods:
        known = pod.ready is not None
        code = classify_pod(
            pod.deleted or pod.phase == "Failed",
            pod.phase == "Pending",
            pod.value[m] is not None,
            bool(hpa.metric["by_readiness"][0, 0, m]),
            pod.ready is True,
            np.nan if pod.start_s is None else pod.start_s,
            pod.since_s if known and pod.since_s is not None else np.nan,
            world.sample_s,
            world.window_s,
            world.now_s,
            float(hpa.spec["cpu_initialization_s"][0, 0]),
            float(hpa.spec["initial_readiness_s"][0, 0]),
        )
        found.setdefault(code, []).append(pod.value[m])
    return found


def sample_of(hpa: HpaArrays, world: World, metrics: tuple[HpaMetric, ...]) -> HpaSample:
    sample = empty_hpa_sample(1, 1, hpa.metric.shape[2])
    ready = sum(p.phase == "Running" and p.ready is True for p in world.pods)
    sample.pods_ready[0, 0] = ready if world.pods else NO_PODS
    for m, metric in enumerate(metrics):
        ok = not world.failed[m]
        if metric.type in ("Object", "External"):
            total = world.total[m]
            sample.metric[0, 0, m] = (ok and total is not None, 0, 0, 0, total or 0)
        else:
            found = pod_groups(hpa, world, m)
            counts = (len(found[POD_SAMPLED]), len(found[POD_UNREADY]), len(found[POD_MISSING]))
            sample.metric[0, 0, m] = (ok, *counts, sum(v or 0 for v in found[POD_SAMPLED]))
    return sample


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_equals_the_reference_in_closed_loop_on_random_worlds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    slow = Controller(spec, {"cpu": CPU_MILLI, "memory": MEMORY_BYTES * 1000})
    hpa = packed(spec)
    state = empty_hpa_state(hpa, shortest_sync_s=5.0)
    replicas, now_s = int(rng.integers(0, 42)), 400.0
    for _ in range(40):
        now_s += 15.0 if rng.random() < 0.7 else float(rng.integers(5000, 30000)) / 1000
        world = random_world(rng, spec, now_s, replicas)
        status = max(0, replicas + int(rng.choice([0, 0, 0, -1, 1])))
        ok = bool(rng.random() < 0.95)
        want = slow.sync(world, replicas, status, ok)
        got = hpa_sync(hpa, state, sample_of(hpa, world, spec.metrics), 0, 0, now_s, replicas, status, ok)
        assert got == want
        replicas = want if rng.random() < 0.95 else int(rng.integers(0, 42))
        if rng.random() < 0.05:
            spec = rewritten(rng, spec)
            slow.spec = spec
            write_hpa(hpa, 0, 0, spec, defaults())


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_never_leaves_min_and_max_once_it_acts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    hpa = packed(spec)
    state = empty_hpa_state(hpa)
    replicas = int(rng.integers(1, 60))
    for step in range(20):
        world = random_world(rng, spec, 400.0 + 15 * step, replicas)
        sample = sample_of(hpa, world, spec.metrics)
        replicas = hpa_sync(hpa, state, sample, 0, 0, world.now_s, replicas, replicas)
        low, high = hpa.spec["min_replicas"][0, 0], hpa.spec["max_replicas"][0, 0]
        assert low <= replicas <= high


def plain_sample(replicas: int, usage_milli: int, unready: int = 0, missing: int = 0) -> HpaSample:
    sample = empty_hpa_sample(1, 1, 1)
    sample.metric[0, 0, 0] = (True, replicas - unready - missing, unready, missing, usage_milli)
    return sample


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 20000),
    st.integers(0, 20000),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_more_load_never_lowers_the_count(replicas: int, one: int, two: int, unready: int, missing: int) -> None:
    total = replicas + unready + missing
    spec = HpaSpec(max_replicas=1000, behavior=HpaBehavior(scale_down=ScalingRules(stabilization_s=0)))
    counts = []
    for usage in sorted((one, two)):
        hpa = packed(spec)
        sample = plain_sample(total, usage, unready, missing)
        counts.append(hpa_sync(hpa, empty_hpa_state(hpa), sample, 0, 0, 15.0, total, total))
    assert counts[0] <= counts[1]


def run(hpa: HpaArrays, usage_per_pod: list[int], replicas: int) -> list[int]:
    state, counts = empty_hpa_state(hpa), []
    for step, usage in enumerate(usage_per_pod):
        sample = plain_sample(replicas, usage * replicas)
        replicas = hpa_sync(hpa, state, sample, 0, 0, 15.0 * (step + 1), replicas, replicas)
        counts.append(replicas)
    return counts


def test_doubles_at_twice_the_target() -> None:
    assert run(packed(HpaSpec(metrics=(HpaMetric(target=50.0),))), [250], 4) == [8]


def test_default_paths_differ_from_one_replica() -> None:
    """Without `behavior` at most max(2 x, 4) = 4; with its defaults at most 1 + 4 = 5."""
    assert run(packed(HpaSpec()), [5000], 1) == [4]
    assert run(packed(HpaSpec(behavior=HpaBehavior())), [5000], 1) == [5]


def test_a_start_seeds_the_history_so_nothing_shrinks_for_one_window() -> None:
    """300 s at 15 s: without `behavior` the seed of sync 0 still counts at sync 20, not at 21."""
    assert run(packed(HpaSpec()), [0] * 22, 10) == [10] * 21 + [1]
    assert run(packed(HpaSpec(behavior=HpaBehavior())), [0] * 22, 10) == [10] * 20 + [1, 1]


def test_failed_update_keeps_the_recommendation_but_no_event() -> None:
    rules = ScalingRules(policies=(ScalingPolicy("Pods", 2, 60),))
    hpa = packed(HpaSpec(behavior=HpaBehavior(scale_up=rules)))
    state = empty_hpa_state(hpa)
    sample = plain_sample(4, 5000)
    assert hpa_sync(hpa, state, sample, 0, 0, 15.0, 4, 4, False) == 4
    assert state.memory["ups"][0, 0] == 0
    assert hpa_sync(hpa, state, sample, 0, 0, 30.0, 4, 4, True) == 6
    assert hpa_sync(hpa, state, plain_sample(6, 9000), 0, 0, 45.0, 6, 6, True) == 6


def test_wakes_from_zero_only_when_it_went_there_by_itself() -> None:
    metric = HpaMetric("External", "queue_length", "AverageValue", 10)
    rules = ScalingRules(stabilization_s=0)
    spec = HpaSpec((metric,), 0, 10, HpaBehavior(scale_down=rules), scale_to_zero=True)
    hpa = packed(spec)
    state, sample = empty_hpa_state(hpa), empty_hpa_sample(1, 1, 1)
    sample.metric[0, 0, 0] = (True, 0, 0, 0, 30_000)
    assert hpa_sync(hpa, state, sample, 0, 0, 15.0, 0, 0) == 0
    sample.metric["usage"] = 0
    assert hpa_sync(hpa, state, sample, 0, 0, 30.0, 3, 3) == 0
    sample.metric["usage"] = 30_000
    assert hpa_sync(hpa, state, sample, 0, 0, 45.0, 0, 0) == 3


def test_a_raised_minimum_wakes_what_slept_once_a_metric_is_valid() -> None:
    metric = HpaMetric("External", "queue_length", "AverageValue", 10)
    behavior = HpaBehavior(scale_down=ScalingRules(stabilization_s=0))
    hpa = packed(HpaSpec((metric,), 0, 10, behavior, scale_to_zero=True))
    state, sample = empty_hpa_state(hpa), empty_hpa_sample(1, 1, 1)
    sample.metric[0, 0, 0] = (True, 0, 0, 0, 0)
    assert hpa_sync(hpa, state, sample, 0, 0, 15.0, 3, 3) == 0
    write_hpa(hpa, 0, 0, HpaSpec((metric,), 2, 10, behavior, scale_to_zero=True), defaults())
    sample.metric["ok"] = False
    assert hpa_sync(hpa, state, sample, 0, 0, 30.0, 0, 0) == 0
    sample.metric["ok"] = True
    assert hpa_sync(hpa, state, sample, 0, 0, 45.0, 0, 0) == 2


def test_a_value_metric_changes_nothing_while_there_is_no_pod_at_all() -> None:
    spec = HpaSpec(metrics=(HpaMetric("Object", "queue_length", "Value", 10),), behavior=HpaBehavior())
    sample = empty_hpa_sample(1, 1, 1)
    sample.metric[0, 0, 0] = (True, 0, 0, 0, 50_000)
    for pods_ready, want in ((NO_PODS, 5), (4, 10)):
        hpa = packed(spec)
        sample.pods_ready[:] = pods_ready
        assert hpa_sync(hpa, empty_hpa_state(hpa), sample, 0, 0, 15.0, 5, 5) == want


def test_a_live_hpa_follows_a_rewritten_target_and_keeps_its_history() -> None:
    spec = HpaSpec(metrics=(HpaMetric(target=80.0),))
    hpa = packed(spec)
    state = empty_hpa_state(hpa)
    assert hpa_sync(hpa, state, plain_sample(10, 2000), 0, 0, 15.0, 10, 10) == 10
    write_hpa(hpa, 0, 0, HpaSpec(metrics=(HpaMetric(target=40.0),), min_replicas=2), defaults())
    assert hpa_sync(hpa, state, plain_sample(10, 2000), 0, 0, 30.0, 10, 10) == 20
    assert state.memory["n"][0, 0] == 2  # 10, the start among it, and 20


def test_a_rewrite_that_needs_more_than_was_reserved_is_refused() -> None:
    wide = HpaSpec(behavior=HpaBehavior(scale_down=ScalingRules(stabilization_s=3600)))
    with pytest.raises(InputError, match="stabilizationWindowSeconds"):
        write_hpa(packed(HpaSpec()), 0, 0, wide, defaults())
    write_hpa(packed(HpaSpec(), reserve=wide), 0, 0, wide, defaults())


def test_a_metric_that_nothing_measures_is_refused() -> None:
    with pytest.raises(InputError, match="latency"):
        packed(HpaSpec(metrics=(HpaMetric("Pods", "latency", "AverageValue", 1.0),)))


def test_capacity_share_becomes_an_external_average_value() -> None:
    hpa = packed(HpaSpec(metrics=(HpaMetric("External", "requests_per_second", capacity_share=0.7),)))
    assert hpa.metric["target"][0, 0, 0] == 56_000  # 0.7 of 80 requests/s
    sample = empty_hpa_sample(1, 1, 1)
    sample.metric[0, 0, 0] = (True, 0, 0, 0, 300_000)
    assert hpa_sync(hpa, empty_hpa_state(hpa), sample, 0, 0, 15.0, 4, 4) == 6  # ceil(300 / 56)


def test_memory_targets_are_milli_bytes() -> None:
    hpa = packed(HpaSpec(metrics=(HpaMetric("Resource", "memory", "AverageValue", 0.5),)))
    assert hpa.metric["target"][0, 0, 0] == GIB_MILLI // 2
    assert hpa.metric["request"][0, 0, 0] == MEMORY_BYTES * 1000


def test_packing_many_equals_writing_each() -> None:
    """Equal HPAs are copied, unequal workloads are not."""
    rng = np.random.default_rng(3)
    kinds = [random_spec(rng) for _ in range(3)]
    specs = [[kinds[i] for i in rng.integers(0, 3, 6)] for _ in range(4)]
    own = defaults()
    fields = {name: np.repeat(np.repeat(value, 4, 0), 6, 1) for name, value in own._asdict().items()}
    fields["capacity_rps"] = rng.choice([50.0, 80.0], (4, 6))
    many = pack_hpa(specs, **fields)
    for b in range(4):
        for w in range(6):
            one = many._replace(**{k: np.zeros_like(v) for k, v in many._asdict().items() if k != "room_us"})
            write_hpa(one, b, w, specs[b][w], HpaDefaults(**fields))
            assert one.spec[b, w] == many.spec[b, w]
            assert (one.metric[b, w][: len(specs[b][w].metrics)] == many.metric[b, w][: len(specs[b][w].metrics)]).all()
            assert (one.policy[b, w]["value"] == many.policy[b, w]["value"]).all()
            assert (one.policy[b, w]["type"] == many.policy[b, w]["type"]).all()


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_stabilization_walks_no_window_yet_finds_what_a_walk_would(seed: int, both: bool) -> None:
    """Windows change from sync to sync; what a shorter one has left behind, a longer one does not bring back."""
    rng = np.random.default_rng(seed)
    rules = ScalingRules(stabilization_s=600)
    metric = HpaMetric("External", "queue_length", "AverageValue", 1.0)
    free = ScalingRules(policies=(ScalingPolicy("Pods", 1000, 15),))
    behavior = HpaBehavior(replace(free, stabilization_s=0), replace(free, stabilization_s=600))
    hpa = packed(
        HpaSpec((metric,), 1, 100, behavior, tolerance=0.0), HpaSpec((metric,), behavior=HpaBehavior(rules, rules))
    )
    state, sample = empty_hpa_state(hpa), empty_hpa_sample(1, 1, 1)
    kept: list[tuple[int, int]] = [(15_000_000, 10)]
    replicas, proposal = 10, 10
    for step in range(1, 200):
        now_us = step * 15_000_000
        if rng.random() < 0.3:
            hpa.spec["window_down_us"] = rng.integers(0, 41) * 15_000_000
            hpa.spec["window_up_us"] = rng.integers(0, 41) * 15_000_000 if both else 0
        proposal = (
            int(np.clip(proposal + rng.integers(-3, 3), 1, 40)) if rng.random() < 0.9 else int(rng.integers(1, 41))
        )
        up, down = now_us - int(hpa.spec["window_up_us"][0, 0]), now_us - int(hpa.spec["window_down_us"][0, 0])
        kept = [(us, n) for us, n in kept if us > min(up, down)]
        least = min([proposal, *(n for us, n in kept if us > up)])
        largest = max([proposal, *(n for us, n in kept if us > down)])
        kept.append((now_us, proposal))
        sample.metric[0, 0, 0] = (True, 0, 0, 0, proposal * 1000)
        want = min(max(replicas, least), largest)
        got = hpa_sync(hpa, state, sample, 0, 0, now_us / 1e6, replicas, replicas)
        assert got == want
        replicas = got
