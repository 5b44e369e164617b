"""Users' own Kubernetes objects become a scenario: nothing is dropped without a note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.cluster import AntiAffinity, DisruptionBudget, NodeBudget, SpreadConstraint, Toleration, Workload
from envs.errors import InputError
from envs.manifest_files import parse_manifests
from envs.manifests import draft_from_manifests, draft_from_objects
from envs.scenario import Scenario
from envs.scenario_draft import Draft, draft_from_load, draft_text, safe_name, write_draft
from envs.scenario_file import load_scenario, scenario_from_document
from envs.scenario_writer import guess, plain, render
from envs.stack import (
    HpaBehavior,
    HpaMetric,
    HpaSpec,
    KedaFallback,
    KedaSpec,
    KedaTrigger,
    ScalingPolicy,
    ScalingRules,
)
from envs.type_labels import type_labels
from envs.yaml_reader import only_mapping, parse_yaml

DATA = Path(__file__).parent / "data" / "manifests"


@pytest.fixture(scope="module")
def draft() -> Draft:
    return draft_from_manifests(DATA)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory, draft: Draft) -> Scenario:
    out = tmp_path_factory.mktemp("init") / "out.yaml"
    write_draft(draft, out)
    return load_scenario(out)


def workload(scenario: Scenario, name: str) -> Workload:
    return scenario.cluster.workloads[scenario.cluster.workload_index(name)]


def one(body: dict[str, Any], *others: dict[str, Any]) -> tuple[Scenario, Draft]:
    """The scenario of a Deployment whose pod spec is `body`, and other objects."""
    pod = {"containers": [{"name": "c", "resources": {"requests": {"cpu": 1, "memory": "1Gi"}}}], **body}
    spec = {"template": {"metadata": {"labels": {"app": "a"}}, "spec": pod}}
    objects = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec},
        *others,
    ]
    draft = draft_from_objects(parse_manifests(yaml.safe_dump_all(objects), "x.yaml"), "x")
    document = only_mapping(parse_yaml(draft_text(draft)), file=None)
    return scenario_from_document(document, Path("x.yaml")), draft


def test_requests_are_those_that_the_scheduler_counts(scenario: Scenario) -> None:
    checkout = workload(scenario, "checkout")
    assert checkout.cpu_request == 2.0  # the init container's peak over 500m + 50m + 100m (sidecar)
    assert checkout.memory_request_gib == pytest.approx((512 + 64 + 64) / 1024)
    assert checkout.cpu_limit == float("inf")  # the sidecar has none
    assert workload(scenario, "orders").memory_request_gib == 2.0


def test_placement_is_kept(scenario: Scenario) -> None:
    checkout = workload(scenario, "checkout")
    assert checkout.tolerations == (Toleration("dedicated", "Equal", "web", "NoSchedule"),)
    assert checkout.spread == (SpreadConstraint("topology.kubernetes.io/zone", 1, True),)
    assert checkout.anti_affinity == (AntiAffinity("kubernetes.io/hostname"),)
    assert dict(checkout.node_selector) == {
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": "us-east-1a",
    }
    assert (checkout.priority, checkout.grace_s, checkout.safe_to_evict) == (1000, 60.0, False)
    assert checkout.pdb == DisruptionBudget(max_unavailable=0.25, is_share=True)
    assert (checkout.namespace, checkout.team) == ("shop", "payments")


def test_an_hpa_arrives_with_every_metric_and_its_behavior(scenario: Scenario) -> None:
    checkout = workload(scenario, "checkout")
    assert (checkout.min_replicas, checkout.max_replicas, checkout.initial_replicas) == (3, 40, 4)
    assert isinstance(checkout.hpa, HpaSpec)
    assert checkout.hpa.metrics == (
        HpaMetric("Resource", "cpu", "Utilization", 65.0),
        HpaMetric("Resource", "memory", "AverageValue", 800 / 1024),
        HpaMetric("ContainerResource", "cpu", "Utilization", 70.0),
        HpaMetric("Pods", "requests_per_second", "AverageValue", 60.0),
        HpaMetric("Object", "requests_per_second", "Value", 2000.0),
        HpaMetric("External", "queue_length", "AverageValue", 30.0),
    )
    up = ScalingRules(0, "Max", (ScalingPolicy("Percent", 100, 15), ScalingPolicy("Pods", 4, 15)))
    down = ScalingRules(120, "Max", (ScalingPolicy("Pods", 1, 60),))
    assert checkout.hpa.behavior == HpaBehavior(up, down)


def test_a_scaled_object_arrives_with_every_trigger(scenario: Scenario) -> None:
    worker = workload(scenario, "worker")
    assert (worker.min_replicas, worker.max_replicas) == (0, 30)
    office = {"start": "0 8 * * *", "end": "0 18 * * *", "timezone": "Europe/Berlin", "desired_replicas": 5}
    assert worker.hpa == KedaSpec(
        triggers=(
            KedaTrigger("requests_per_second", 100.0),
            KedaTrigger("cron", **office),
            KedaTrigger("cpu", 75.0, "Utilization"),
            KedaTrigger("queue_length", 20.0),
        )
    )
    assert [(m.type, m.name, m.target) for m in worker.hpa.hpa.metrics] == [
        ("External", "requests_per_second", 100.0),
        ("External", "schedule", 1.0),
        ("Resource", "cpu", 75.0),
        ("External", "queue_length", 20.0),
    ]


def scaled_object(**spec: object) -> dict[str, Any]:
    trigger = {"type": "prometheus", "metadata": {"query": "rps", "threshold": "5", "activationThreshold": "2"}}
    body = {"scaleTargetRef": {"name": "a"}, "triggers": [trigger], **spec}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "s"}, "spec": body}


def test_what_a_scaled_object_sets_besides_its_triggers_is_kept() -> None:
    more = {
        **{"pollingInterval": 10, "cooldownPeriod": 60, "initialCooldownPeriod": 30, "idleReplicaCount": 0},
        **{"minReplicaCount": 2, "fallback": {"failureThreshold": 4, "replicas": 6, "behavior": "currentReplicas"}},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}},
    }
    scenario, _ = one({}, scaled_object(**more))
    assert scenario.cluster.workloads[0].hpa == KedaSpec(
        triggers=(KedaTrigger(threshold=5.0, activation=2.0),),
        polling_interval_s=10.0,
        cooldown_s=60.0,
        initial_cooldown_s=30.0,
        idle_replicas=0,
        fallback=KedaFallback(6, 4, "currentReplicas"),
        behavior=HpaBehavior(None, ScalingRules(60)),
    )


def test_a_scaled_object_on_cpu_alone_keeps_a_replica() -> None:
    cpu = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}
    scenario, draft = one({}, scaled_object(triggers=[cpu], minReplicaCount=0))
    assert scenario.cluster.workloads[0].min_replicas == 1
    assert any("could wake it from zero" in note for note in draft.notes)


def test_a_broken_schedule_is_told_where() -> None:
    metadata = {"timezone": "Mars", "start": "0 8 * * *", "end": "0 18 * * *", "desiredReplicas": "5"}
    with pytest.raises(InputError, match=r"timezone: 'Mars': is no time zone"):
        one({}, scaled_object(triggers=[{"type": "cron", "metadata": metadata}]))


def test_a_node_pool_offers_types_that_meet_its_requirements(scenario: Scenario) -> None:
    web = next(pool for pool in scenario.cluster.node_pools if pool.name == "web")
    types = {t.name: t for t in scenario.cluster.instance_types}
    assert 1 < len(web.instance_types) <= 12
    for name in web.instance_types:
        assert name[0] in "cm"
        assert int(name[1]) > 6
        assert types[name].vcpu in (4, 8)
        assert types[name].arch == "amd64"
    assert web.zones == ("us-east-1a", "us-east-1b")
    assert web.taints[0].key == "dedicated"
    assert (web.max_nodes, web.weight, dict(web.labels)) == (50, 10, {"pool": "web"})
    assert (web.limit_cpu, web.limit_memory_gib, web.capacity_types) == (200, 800, ("spot", "on-demand"))
    assert (web.consolidation_policy, web.consolidate_after_s) == ("WhenEmptyOrUnderutilized", 60)
    assert (web.budgets, web.expire_after_s) == ((NodeBudget(0.1, True),), 720 * 3600)
    assert {pool.daemon_cpu for pool in scenario.cluster.node_pools} == {0.15}


def test_what_has_no_equal_is_noted_and_guesses_are_marked(draft: Draft) -> None:
    notes = "\n".join(draft.notes)
    for word in (
        *("cpu-brand NotIn old", "limits of"),
        *(
            "1 Service",
            "init container",
            "held at 3 replicas",
        ),
        *("aws-sqs-queue", "container metric of app", "has no CPU request", "no NodePool takes worker"),
    ):
        assert word in notes
    text = draft_text(draft)
    for field in ("base_rps", "slots", "service_time", "cpu_per_request", "threshold", "start_delay"):
        lines = [line for line in text.splitlines() if line.strip().startswith(f"{field}:")]
        lines = [line for line in lines if not line.startswith(" " * 10)]  # the triggers' own are no guess
        assert lines
        assert all("# guess" in line for line in lines), field


def test_the_guessed_service_uses_the_request_at_full_slots(scenario: Scenario) -> None:
    for w in scenario.cluster.workloads:
        full = w.service.slots * w.service.cpu_s_per_request / w.service.service_time_s
        assert full == pytest.approx(w.cpu_request)
        memory = w.service.memory_base_gib + w.service.slots * w.service.memory_per_busy_slot_gib
        assert memory <= w.memory_request_gib * (1 + 1e-9)


def test_names_stay_unique_over_namespaces() -> None:
    pod = {"template": {"spec": {"containers": [{"name": "c"}]}}}
    objects = [
        {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": space}, "spec": pod}
        for kind in ("Deployment", "StatefulSet")
        for space in ("a", "b")
    ]
    draft = draft_from_objects(parse_manifests(yaml.safe_dump_all(objects), "x.yaml"), "x")
    names = [w["name"] for w in plain(draft.document)["workloads"]]
    assert names == ["a/web", "b/web", "a/statefulset/web", "b/statefulset/web"]


def test_an_arm_pod_gets_arm_nodes_and_a_gpu_pod_gpus() -> None:
    arm, _ = one({"nodeSelector": {"kubernetes.io/arch": "arm64"}})
    assert {t.arch for t in arm.cluster.instance_types} == {"arm64"}
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": 2, "cpu": 4, "memory": "16Gi"}}}
    gpu, _ = one({"containers": [container]})
    assert gpu.cluster.workloads[0].gpu_request == 2
    assert all(t.gpu >= 2 for t in gpu.cluster.instance_types)


def node_pool(*requirements: dict[str, Any]) -> dict[str, Any]:
    template = {"spec": {"requirements": list(requirements)}}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "p"},
        "spec": {"template": template},
    }


AMD = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
CPU_KEY = "karpenter.k8s.aws/instance-cpu"


@pytest.mark.parametrize(
    ("bounds", "sizes"),
    [
        ([("Gte", "4"), ("Lte", "8")], {4, 8}),
        ([("Gt", "4"), ("Lt", "32")], {8, 16}),
        ([("In", "4")], {4}),
        ([("NotIn", "2"), ("Exists", ""), ("Lt", "8")], {4}),
    ],
)
def test_requirements_of_a_nodepool_choose_its_types(bounds: list[tuple[str, str]], sizes: set[float]) -> None:
    terms = [{"key": CPU_KEY, "operator": op, "values": [value] if value else []} for op, value in bounds]
    scenario, _ = one({}, node_pool(*terms, AMD))
    assert {t.vcpu for t in scenario.cluster.instance_types} & {2, 4, 8, 16, 32, 48, 64} == sizes


@pytest.mark.parametrize("operator", ["Gt", "Gte", "Lt", "Lte"])
def test_a_bound_is_one_whole_number(operator: str) -> None:
    with pytest.raises(InputError, match="whole number"):
        one({}, node_pool({"key": CPU_KEY, "operator": operator, "values": ["four"]}))


def test_min_values_are_read_and_their_choice_is_kept() -> None:
    """Twelve types stand for the hundreds of an open pool; where it insists on ten families, more are taken."""
    family = "karpenter.k8s.aws/instance-family"
    term = {"key": family, "operator": "Exists", "minValues": 10}
    scenario, _ = one({}, node_pool(term, {"key": CPU_KEY, "operator": "Lte", "values": ["16"]}, AMD))
    pool = scenario.cluster.node_pools[0]
    assert pool.min_values == ((family, 10),)
    for cpu in (2, 8, 16):
        left = [t for t in scenario.cluster.instance_types if t.vcpu >= cpu]
        assert len({type_labels(t)[family] for t in left}) >= 10, "a claim of that size still has its choice"


def test_min_values_of_a_label_that_no_type_has_are_noted() -> None:
    odd = {"key": "karpenter.k8s.aws/instance-network-bandwidth", "operator": "Exists", "minValues": 3}
    scenario, draft = one({}, node_pool(odd, AMD))
    assert scenario.cluster.node_pools[0].min_values == ()
    assert any("minValues 3 of karpenter.k8s.aws/instance-network-bandwidth is left out" in n for n in draft.notes)
    with pytest.raises(InputError, match="from 1 to 50"):
        one({}, node_pool({**odd, "minValues": 51}))


@pytest.mark.parametrize(
    ("operator", "values", "bought"),
    [
        ("In", ["spot", "on-demand"], ("spot", "on-demand")),
        ("NotIn", ["spot"], ("on-demand",)),
        ("NotIn", ["on-demand"], ("spot",)),
        ("Exists", [], ("on-demand", "spot")),
    ],
)
def test_capacity_types_by_every_operator(operator: str, values: list[str], bought: tuple[str, ...]) -> None:
    term = {"key": "karpenter.sh/capacity-type", "operator": operator, "values": values}
    scenario, _ = one({}, node_pool(term, AMD))
    assert scenario.cluster.node_pools[0].capacity_types == bought


def test_zones_are_those_that_every_requirement_allows() -> None:
    zone = "topology.kubernetes.io/zone"
    named = {"key": zone, "operator": "In", "values": ["z1", "z2", "z3"]}
    but = {"key": zone, "operator": "NotIn", "values": ["z2"]}
    scenario, _ = one({}, node_pool(named, but, AMD))
    assert scenario.cluster.node_pools[0].zones == ("z1", "z3")
    _, draft = one({}, node_pool(but, AMD))
    assert any("NotIn z2 names no zone to use" in note for note in draft.notes)


def test_a_deployment_that_nothing_scales_stays_as_it_is() -> None:
    scenario, draft = one({})
    web = scenario.cluster.workloads[0]
    assert (web.min_replicas, web.max_replicas, web.hpa) == (1, 1, None)
    assert "Deployment default/a: nothing scales it; it is held at 1 replicas" in draft.notes


def test_an_hpa_without_its_deployment_is_noted() -> None:
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "gone"}, "maxReplicas": 3},
    }
    _, draft = one({}, hpa)
    assert any("gone, which is not in the folder" in note for note in draft.notes)


def test_lists_and_json_are_opened_and_bombs_refused(tmp_path: Path) -> None:
    assert len(parse_manifests('{"kind": "List", "items": [{"kind": "A"}, {"kind": "B"}]}', "x.json")) == 2
    for index in range(5001):
        (tmp_path / f"{index}.yaml").touch()
    with pytest.raises(InputError, match="manifest files"):
        draft_from_manifests(tmp_path)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "k8s").mkdir()
    (tmp_path / "secret.yaml").write_text("kind: Secret\n")
    (tmp_path / "k8s" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(InputError, match="holds no"):
        draft_from_manifests(tmp_path / "k8s")


def test_a_load_file_becomes_a_workload_per_series(tmp_path: Path) -> None:
    rows = "".join(f"{3600 * i},{80 + 40 * (i % 24 > 8)},{i % 5}\n" for i in range(72))
    (tmp_path / "traffic.csv").write_text("time_s,Shop Front,api\n" + rows)
    (tmp_path / "sub").mkdir()
    out = tmp_path / "sub" / "mine.yaml"
    text = write_draft(draft_from_load(tmp_path / "traffic.csv", out), out)
    scenario = load_scenario(out)
    assert [w.name for w in scenario.cluster.workloads] == ["Shop-Front", "api"]
    assert scenario.horizon_s == 3 * 86_400
    assert 'column: "Shop Front"  # mean 10' in text
    assert "# guess" in text
    with pytest.raises(InputError, match="--force"):
        write_draft(draft_from_load(tmp_path / "traffic.csv", out), out)
    assert [path.name for path in out.parent.iterdir()] == ["mine.yaml"]


@given(st.text(max_size=30))
def test_a_safe_name_is_a_name(text: str) -> None:
    name = safe_name(text, "fallback")
    assert name[0].isalnum()
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-")


_LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
_SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(_LETTERS, max_size=130)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_KEYS = st.text(_LETTERS, max_size=8)
_TREES = st.recursive(
    _SCALARS | _FLOATS | _SCALARS.map(lambda v: guess(v, "so\nit\tis # here")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=15,
)


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _TREES, min_size=1, max_size=5), st.lists(st.text(max_size=20), max_size=2))
def test_what_is_written_is_read_back(document: dict[str, Any], head: list[str]) -> None:
    head = [" ".join(line.split()) for line in head if line.isprintable()]
    (back,) = parse_yaml(render(document, head=head))
    assert back.data == plain(document)
