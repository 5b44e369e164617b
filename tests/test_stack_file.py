"""Stacks from names and YAML: what ships, what users write, and what a wrong key is told."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from envs import hpa_models, scaler_models, stack_models
from envs import stack as spec
from envs.cluster import NodeBudget
from envs.errors import InputError
from envs.scenario_file import load_scenario
from envs.stack_file import (
    document_of,
    hpa_from_document,
    load_stack,
    stack_document,
    stack_from_document,
    stack_names,
    stack_schema,
    tuned_names,
)

SHIPPED = [
    *("business-hours", "forecast", "hpa-cpu-50", "hpa-cpu-60", "hpa-cpu-70", "hpa-default"),
    *(
        "karpenter",
        "karpenter-balanced",
        "karpenter-rps",
        "keda",
        "keda-zero",
        "most-allocated",
        "replay",
        "replay-cpu",
        "replay-karpenter",
        "replay-packed",
        "rps-target",
        "static-p95",
        "static-peak",
        "trimtab",
        "trimtab-cluster-autoscaler",
    ),
]


def test_what_ships() -> None:
    assert sorted({*stack_names()} - {*tuned_names()}) == SHIPPED
    for name in SHIPPED:
        stack = load_stack(name)
        assert stack.name == name
        assert 40 < len(stack.description) < 120
        if not name.startswith(("karpenter", "trimtab", "replay-packed", "replay-karpenter")):
            assert stack.nodes == spec.ClusterAutoscaler(expander="least-waste")


def test_karpenter_has_its_own_defaults_and_balanced_differs_in_its_policy() -> None:
    default, balanced, rps = (load_stack(f"karpenter{n}") for n in ("", "-balanced", "-rps"))
    assert default.nodes == rps.nodes == spec.Karpenter()
    assert balanced.nodes == spec.Karpenter(consolidation_policy="Balanced", use_pool_settings=False)
    assert default.replicas == load_stack("hpa-default").replicas
    assert rps.replicas == load_stack("rps-target").replicas


def test_hpa_default_is_every_default() -> None:
    stack = load_stack("hpa-default")
    assert stack == spec.Stack("hpa-default", description=stack.description)


def test_the_variants_differ_from_the_default_in_what_their_name_says() -> None:
    def metric(name: str) -> spec.HpaMetric:
        replicas = load_stack(name).replicas
        assert isinstance(replicas, spec.HpaSpec)
        assert len(replicas.metrics) == 1
        return replicas.metrics[0]

    assert [metric(f"hpa-cpu-{n}").target for n in (50, 60, 70)] == [50.0, 60.0, 70.0]
    assert metric("hpa-default").target == 80.0
    rps = metric("rps-target")
    assert (rps.type, rps.name, rps.target_type, rps.capacity_share) == (
        *("External", "requests_per_second", "AverageValue", 0.7),
    )
    assert load_stack("static-peak").replicas == spec.StaticReplicas(quantile=1.0)
    assert load_stack("static-p95").replicas == spec.StaticReplicas(quantile=0.95)
    assert load_stack("most-allocated").scheduler.fit_strategy == "MostAllocated"
    assert load_stack("most-allocated").replicas == load_stack("hpa-default").replicas


@pytest.mark.parametrize(
    ("model", "dataclass"),
    [
        (hpa_models.MetricModel, spec.HpaMetric),
        (hpa_models.PolicyModel, spec.ScalingPolicy),
        (hpa_models.RulesModel, spec.ScalingRules),
        (hpa_models.BehaviorModel, spec.HpaBehavior),
        (hpa_models.HpaModel, spec.HpaSpec),
        (hpa_models.StaticReplicasModel, spec.StaticReplicas),
        (scaler_models.TriggerModel, spec.KedaTrigger),
        (scaler_models.FallbackModel, spec.KedaFallback),
        (scaler_models.KedaModel, spec.KedaSpec),
        (scaler_models.ForecastModel, spec.ForecastSpec),
        (scaler_models.WindowModel, spec.ScheduleWindow),
        (scaler_models.ScheduleModel, spec.ScheduleSpec),
        (stack_models.ClusterAutoscalerModel, spec.ClusterAutoscaler),
        (stack_models.KarpenterModel, spec.Karpenter),
        (stack_models.StaticNodesModel, spec.StaticNodes),
        (stack_models.SchedulerModel, spec.SchedulerProfile),
        (stack_models.StackModel, spec.Stack),
    ],
)
def test_the_file_has_exactly_the_fields_of_the_type_each_with_a_sentence(
    model: type[BaseModel], dataclass: Any
) -> None:
    assert set(model.model_fields) - {"kind"} == {f.name for f in fields(dataclass)}
    for name, info in model.model_fields.items():
        assert info.description, name
        assert info.description.strip().endswith((".", ")")), name


def test_an_empty_file_means_every_default(tmp_path: Path) -> None:
    path = tmp_path / "My Stack!.yaml"
    path.write_text("{}\n")
    assert load_stack(path) == spec.Stack("my-stack-")  # so the defaults of file and types are the same


def test_a_stack_spelled_out() -> None:
    stack = stack_from_document(
        {
            "name": "ours",
            "replicas": {
                "metrics": [
                    {"target": "65%"},
                    {"name": "memory", "target_type": "AverageValue", "target": "512Mi"},
                    {"type": "Pods", "name": "concurrency", "target": 6},
                    {"type": "External", "name": "requests_per_second", "target": "120rps"},
                ],
                "behavior": {
                    "scale_down": {
                        "stabilization_s": "10m",
                        "select": "Min",
                        "policies": [{"type": "Percent", "value": 10, "period_s": "1m"}],
                    }
                },
                "min_replicas": 2,
            },
            "nodes": {
                "expander": "priority",
                "priorities": [{"value": 10, "patterns": [".*spot.*"]}],
                "scale_down_unneeded_s": "5m",
                "max_memory_total_gib": "512Gi",
                "max_cores_total": 200,
            },
        }
    )
    hpa, nodes = stack.replicas, stack.nodes
    assert isinstance(hpa, spec.HpaSpec)
    assert isinstance(nodes, spec.ClusterAutoscaler)
    assert [m.target for m in hpa.metrics] == [65.0, 0.5, 6.0, 120.0]
    assert hpa.behavior is not None
    assert hpa.behavior.scale_down == spec.ScalingRules(600, "Min", (spec.ScalingPolicy("Percent", 10, 60),))
    assert hpa.behavior.scale_up is None
    assert (hpa.min_replicas, hpa.max_replicas) == (2, None)
    assert nodes.priorities == ((10, (".*spot.*",)),)
    assert (nodes.scale_down_unneeded_s, nodes.max_memory_total_gib, nodes.max_cores_total) == (*(300.0, 512.0, 200.0),)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("replcas: {}", 'line 1: replcas: unknown key; did you mean "replicas" or "replay"?'),
        (
            "replicas:\n  metrics:\n  - {tagret: 50}",
            "line 3: replicas.metrics[0].tagret: unknown key; did you",
        ),
        (
            "replicas:\n  minReplicas: 2",
            'line 2: replicas.minReplicas: unknown key; did you mean "min_replicas',
        ),
        ("replicas: {kind: vpa}", "replicas.kind: 'vpa': must be 'hpa' or 'static' or 'keda' or "),
        ("replicas: {kind: static, quantile: 95}", "replicas.quantile: 95"),
        ("replicas: 5", "replicas: 5: a mapping (key: value) is wanted here"),
        ("replicas: {metrics: []}", "replicas.metrics: has 0 entries; at least 1 are wanted"),
        ("replicas: {metrics: [{target: -1}]}", "metrics[0].target: -1.0: must not be negative"),
        ("replicas: {metrics: [{target: 0}]}", "metrics[0].target: 0.0: must be above zero"),
        ("replicas: {metrics: [{target: 2Gi}]}", "metrics[0].target: '2Gi'"),
        ("replicas: {metrics: [{target: .nan}]}", "metrics[0].target"),
        ("replicas: {metrics: [{name: queue_length}]}", "for type Resource it must be cpu or memory"),
        ("replicas: {metrics: [{type: Pods, name: cpu}]}", "for type Pods it must be requests_per_second or"),
        (
            "replicas: {metrics: [{type: External, name: queue_length}]}",
            "give either target or capacity_share",
        ),
        (
            "replicas: {metrics: [{type: Pods, name: queue_length, target_type: Value, target: 3}]}",
            "target_type: 'Value': for type Pods it must be AverageValue",
        ),
        (
            "replicas: {metrics: [{capacity_share: 70%}]}",
            "capacity_share: 0.7: is for name requests_per_second",
        ),
        (
            "replicas: {metrics: [{type: External, name: requests_per_second, capacity_share: 70}]}",
            "at most 100%",
        ),
        ("replicas: {min_replicas: 5, max_replicas: 2}", "min_replicas: 5: is above max_replicas 2"),
        ("replicas: {min_replicas: 0}", "min_replicas: 0: needs scale_to_zero: true"),
        ("replicas: {max_replicas: 2.5}", "max_replicas: 2.5: must be a whole number"),
        ("replicas: {sync_period_s: 5 apples}", "sync_period_s: '5 apples': unit 'apples' does not fit"),
        ("replicas: {sync_period_s: 0}", "sync_period_s"),
        ("replicas: {behavior: {scale_up: {policies: [{type: Pods, value: 4}]}}}", "period_s: is missing"),
        ("replicas: {behavior: {scale_up: {stabilization_s: 1.5s}}}", "must be whole seconds"),
        ("replicas: {behavior: {scale_up: {stabilization_s: 2h}}}", "less than or equal to 3600"),
        ("nodes: {expander: cheapest}", "must be 'least-waste', 'random', "),
        ("nodes: {expander: priority}", "nodes.priorities: the priority expander needs at least one level"),
        ("nodes: {priorities: [{value: 1, patterns: ['(']}]}", "is no regular expression"),
        ("nodes: {scale_down_enabled: maybe}", "must be true or false"),
        ("nodes: {max_cores_total: -5}", "must be greater than 0"),
        ("nodes: {initial_backoff_s: 1h}", "initial_backoff_s: 3600.0: is above max_backoff_s 1800"),
        ("scheduler: {fit_strategy: Most}", "'LeastAllocated', 'MostAllocated' or"),
        ("scheduler: {fit_shape: [{utilization: 5, score: 1}, {utilization: 5, score: 2}]}", "must rise"),
        ("scheduler: {fit_resources: {disk: 1}}", "must be 'cpu', 'memory' or 'gpu'"),
        ("replicas: {kind: keda, triggers: []}", "replicas.triggers: has 0 entries"),
        ("replicas: {kind: keda, triggers: [{}]}", "threshold: give either threshold or capacity_share"),
        ("replicas: {kind: keda, triggers: [{threshold: -3}]}", "triggers[0].threshold: -3"),
        ("replicas: {kind: keda, triggers: [{type: cpu, threshold: 2Gi}]}", "triggers[0].threshold: '2Gi'"),
        ("replicas: {kind: keda, triggers: [{type: cpu, activation: 3}]}", "cpu and memory never wake"),
        ("replicas: {kind: keda, triggers: [{type: cron, start: 0 8 * * *}]}", "triggers[0].end: type cron needs"),
        (
            "replicas: {kind: keda, triggers: [{type: cron, start: 0 8 * *, end: 0 9 * * *, desired_replicas: 2}]}",
            "triggers[0].start: '0 8 * *': needs five fields",
        ),
        ("replicas: {kind: keda, triggers: [{threshold: 5, timezone: Berlin}]}", "timezone: 'Berlin': is no time zone"),
        (
            "replicas: {kind: keda, triggers: [{threshold: 5, start: 0 8 * * *}]}",
            "'0 8 * * *': is for type cron",
        ),
        ("replicas: {kind: keda, triggers: [{threshold: 5, drain_s: 5}]}", "drain_s: 5.0: is for type queue_length"),
        ("replicas: {kind: keda, min_replicas: 5, max_replicas: 2}", "min_replicas: 5: is above max_replicas 2"),
        ("replicas: {kind: keda, min_replicas: 0, triggers: [{type: cpu}]}", "they cannot wake a workload"),
        ("replicas: {kind: keda, idle_replicas: 2}", "idle_replicas: 2"),
        ("replicas: {kind: keda, polling_interval_s: 1s}", "polling_interval_s"),
        ("replicas: {kind: forecast, quantile: 100%}", "replicas.quantile"),
        ("replicas: {kind: forecast, hpa: {metrics: [{target: 0}]}}", "hpa.metrics[0].target: 0.0: must be above zero"),
        ("replicas: {kind: schedule, windows: [{}]}", "windows[0].min_replicas: give either min_replicas or"),
        ("replicas: {kind: schedule, windows: [{min_replicas: 3, end: x}]}", "windows[0].end: 'x': needs five fields"),
        ("name: No Spaces", "name: 'No Spaces'"),
        ("name: [1]", "name: 'list': must be text"),
        ("a: 1\na: 2", "line 2: 'a': this key is given twice"),
        ("", "is empty"),
        ("- 1", "is a list; a mapping"),
        ("replicas: !!python/name:os.system x", "tags are not allowed"),
    ],
)
def test_a_wrong_file_is_told_where_and_how_to_mend_it(tmp_path: Path, yaml: str, said: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(yaml)
    with pytest.raises(InputError) as caught:
        load_stack(path)
    message = str(caught.value)
    assert said in message
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hpa-cpu-55", 'did you mean "hpa-cpu-50"'),
        ("static", 'did you mean "static-p95"'),
        ("zzz", "the stacks are business-hours, "),
        ("none.yaml", "none.yaml: file: does not exist"),
        ("a\0b", "unknown stack"),
        ("x" * 5000, "unknown stack"),
        ("", "unknown stack"),
    ],
)
def test_unknown_stacks_get_the_right_names(name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_stack(name)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_relative_paths_start_at_the_folder(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("nodes: {kind: static}\n")
    assert load_stack("ours.yaml", folder=tmp_path).nodes == spec.StaticNodes()


def test_errors_inside_a_scenario_name_the_place() -> None:
    with pytest.raises(InputError) as caught:
        stack_from_document({"nodes": {"expandr": "random"}}, file="shop.yaml", where="stacks[1]")
    assert str(caught.value) == 'shop.yaml: stacks[1].nodes.expandr: unknown key; did you mean "expander"?'
    with pytest.raises(InputError, match=r"workloads\[0\]\.hpa\.metrics\[0\]\.target: '-1': must not be"):
        hpa_from_document({"kind": "hpa", "metrics": [{"target": "-1"}]}, where="workloads[0].hpa")
    with pytest.raises(InputError, match="hpa: 'list': a mapping"):
        hpa_from_document([])


def test_the_schema_is_json_with_a_sentence_for_every_field() -> None:
    schema = stack_schema()
    json.dumps(schema, allow_nan=False)
    assert schema["additionalProperties"] is False
    models = [schema, *schema["$defs"].values()]
    for model in models:
        for name, field in model["properties"].items():
            assert field.get("description"), name
    assert schema["$defs"]["HpaModel"]["properties"]["sync_period_s"]["default"] == 15.0


@pytest.mark.parametrize("name", SHIPPED)
def test_spelled_out_documents_read_back_as_the_same_stack(name: str) -> None:
    document = stack_document(name)
    assert stack_from_document(json.loads(json.dumps(document, allow_nan=False))) == load_stack(name)
    assert document["nodes"].get("scale_down_unneeded_s", 600.0) == (
        165.0 if name in ("trimtab-cluster-autoscaler", "replay-packed") else 600.0
    )


seconds = st.integers(1, 1800)
shares = st.floats(0.01, 1.0)
metrics = st.one_of(
    st.builds(spec.HpaMetric, st.sampled_from(["Resource", "ContainerResource"]), target=st.floats(1, 300)),
    st.builds(
        spec.HpaMetric,
        st.just("Resource"),
        st.sampled_from(["cpu", "memory"]),
        st.just("AverageValue"),
        st.floats(0.01, 1000),
    ),
    st.builds(
        spec.HpaMetric,
        st.sampled_from(["Object", "External"]),
        st.sampled_from(["requests_per_second", "queue_length", "concurrency"]),
        st.sampled_from(["AverageValue", "Value"]),
        st.floats(0.01, 1e6),
    ),
    st.builds(
        spec.HpaMetric,
        st.just("External"),
        st.just("requests_per_second"),
        st.just("AverageValue"),
        st.just(80.0),
        shares,
    ),
)
policies = st.builds(spec.ScalingPolicy, st.sampled_from(["Pods", "Percent"]), st.integers(1, 500), seconds)
rules = st.builds(
    spec.ScalingRules,
    st.none() | st.integers(0, 3600),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.none() | st.lists(policies, min_size=1, max_size=3).map(tuple),
    st.none() | shares,
)
hpas = st.builds(
    spec.HpaSpec,
    metrics=st.lists(metrics, min_size=1, max_size=3).map(tuple),
    min_replicas=st.none() | st.integers(1, 5),
    max_replicas=st.none() | st.integers(5, 500),
    behavior=st.none() | st.builds(spec.HpaBehavior, st.none() | rules, st.none() | rules),
    tolerance=shares,
)
budgets = st.sampled_from([NodeBudget(), NodeBudget(3, False, ("Empty",)), NodeBudget(0.25, True, (), "@daily", 600.0)])
triggers = st.one_of(
    st.builds(
        spec.KedaTrigger,
        st.sampled_from(["requests_per_second", "queue_length", "concurrency"]),
        threshold=st.floats(0.01, 1e6),
        target_type=st.sampled_from(["AverageValue", "Value"]),
        activation=st.floats(0, 1e6),
    ),
    st.builds(spec.KedaTrigger, capacity_share=shares),
    st.builds(spec.KedaTrigger, st.just("queue_length"), drain_s=st.floats(0.1, 1000)),
    st.builds(spec.KedaTrigger, st.just("memory"), threshold=st.floats(0.01, 1000)),
    st.builds(spec.KedaTrigger, st.just("cpu"), threshold=st.floats(1, 300), target_type=st.just("Utilization")),
    st.builds(
        spec.KedaTrigger,
        st.just("cron"),
        timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
        start=st.just("0 8 * * *"),
        end=st.just("0 9 * * *"),
        desired_replicas=st.integers(1, 9),
    ),
)
kedas = st.builds(
    spec.KedaSpec,
    triggers=st.lists(triggers, min_size=1, max_size=3).map(lambda some: (spec.KedaTrigger(capacity_share=0.5), *some)),
    min_replicas=st.none() | st.integers(1, 5),
    max_replicas=st.none() | st.integers(5, 500),
    idle_replicas=st.none() | st.just(0),
    fallback=st.none() | st.builds(spec.KedaFallback, st.integers(0, 9), st.integers(0, 9)),
    behavior=st.none() | st.builds(spec.HpaBehavior, st.none() | rules, st.none() | rules),
)
floors = st.one_of(
    st.builds(spec.ForecastSpec, st.floats(0.1, 0.99), shares, st.none() | st.floats(1, 900), hpa=hpas),
    st.builds(
        spec.ScheduleSpec,
        st.just((spec.ScheduleWindow(min_replicas=3), spec.ScheduleWindow(load_quantile=0.5))),
        shares,
        hpas,
    ),
)
nodes = st.one_of(
    st.just(spec.StaticNodes()),
    st.builds(
        spec.Karpenter,
        consolidation_policy=st.sampled_from(["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]),
        consolidate_after_s=st.just(float("inf")) | st.floats(0, 86_400),
        budgets=st.lists(budgets, max_size=2).map(tuple),
        expire_after_s=st.just(float("inf")) | st.floats(1, 1e6),
        spot_to_spot=st.booleans(),
    ),
    st.builds(
        spec.ClusterAutoscaler,
        scale_down_unneeded_s=st.floats(0, 86_400),
        max_cores_total=st.just(float("inf")) | st.floats(1, 1e6),
        max_memory_total_gib=st.just(float("inf")) | st.floats(1, 1e6),
        priorities=st.lists(st.tuples(st.integers(0, 9), st.just((".*a", "b+"))), max_size=2).map(tuple),
    ),
)


@given(
    st.builds(
        spec.Stack,
        name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
        description=st.text(max_size=50),
        replicas=hpas | st.builds(spec.StaticReplicas, shares, shares, st.floats(0.1, 10)) | kedas | floors,
        nodes=nodes,
        scheduler=st.builds(
            spec.SchedulerProfile,
            fit_strategy=st.sampled_from(["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"]),
            fit_resources=st.sampled_from([(("cpu", 1),), (("gpu", 5), ("cpu", 1))]),
            fit_shape=st.sampled_from([((0, 10), (50, 0), (100, 10)), ((0, 0),)]),
        ),
        use_workload_hpa=st.booleans(),
    )
)
def test_any_stack_survives_being_written_and_read(stack: spec.Stack) -> None:
    assert stack_from_document(json.loads(json.dumps(document_of(stack)))) == stack


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["replicas", "nodes", "kind", "metrics", "target", "name", "type", "behavior", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(junk)
def test_any_document_gives_a_stack_or_an_input_error(data: object) -> None:
    try:
        said = ""
        stack_from_document(data, file="f.yaml")
    except InputError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("stack", "path", "text", "field", "value"),
    [
        ("keda-zero", "stacks.*.replicas.cooldown_s", "10m", "cooldown_s", 600.0),
        ("keda", "stacks.keda.replicas.min_replicas", "0", "min_replicas", 0),
        ("forecast", "stacks.*.replicas.quantile", "99%", "quantile", 0.99),
        ("business-hours", "stacks.*.replicas.utilization", "0.5", "utilization", 0.5),
    ],
)
def test_vary_reaches_into_every_scaler(stack: str, path: str, text: str, field: str, value: float) -> None:
    varied = load_scenario("toy", overrides=[(path, text)], stacks=[stack]).stacks[0]
    assert getattr(varied.replicas, field) == value
    trigger = load_scenario("toy", overrides=[("stacks.*.replicas.triggers.0.capacity_share", "50%")], stacks=["keda"])
    assert trigger.stacks[0].replicas.triggers[0].capacity_share == 0.5  # type: ignore[union-attr]
    with pytest.raises(InputError, match="cooldown"):
        load_scenario("toy", overrides=[("stacks.*.replicas.cooldown", "5m")], stacks=["keda"])


def test_the_guide_names_every_stack_and_its_example_loads(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "stacks.md").read_text()
    assert all(f"`{name}`" in guide for name in SHIPPED)
    *scalers, own = (block.split("```")[0] for block in guide.split("```yaml\n")[1:5])
    for block, kind in zip(scalers, (spec.KedaSpec, spec.ForecastSpec, spec.ScheduleSpec), strict=True):
        (tmp_path / "ours.yaml").write_text(block)
        assert isinstance(load_stack(tmp_path / "ours.yaml").replicas, kind)
    (tmp_path / "ours.yaml").write_text(own)
    stack = load_stack(tmp_path / "ours.yaml")
    assert isinstance(stack.replicas, spec.HpaSpec)
    assert [m.target for m in stack.replicas.metrics] == [65.0, 120.0]


def test_a_bundle_lies_beside_the_stack_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("learned: {bundle: made/bundle}\n")
    learned = load_stack(tmp_path / "ours.yaml").learned
    assert learned is not None
    assert learned.bundle == str(tmp_path / "made" / "bundle")
    shipped = load_stack("trimtab").learned
    assert shipped is not None
    assert shipped.bundle == "pretrained"
