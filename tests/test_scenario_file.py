"""Scenarios from YAML: what is read, what is filled in, and where faults are said to be."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.cluster import DisruptionBudget, ServiceModel
from envs.errors import InputError
from envs.scenario import GeneratedDemand, Scenario, TraceDemand
from envs.scenario_checks import idle_bad_share, unreachable_slos
from envs.scenario_expand import expand_document, merge
from envs.scenario_file import gallery, load_scenario, load_traces, scenario_schema
from envs.scenario_models import ScenarioDoc
from envs.stack import HpaMetric, HpaSpec, StaticNodes

SEED = Path(__file__).parent / "fuzz" / "seeds" / "scenario.yaml"
HEAD = """\
name: s
days: 1
node_pools: [{name: nodes, instance_types: [m7i.2xlarge]}]
"""
WEB = "{name: web, demand: {generate: {base_rps: 10}}%s}"


def load(folder: Path, text: str, **options: object) -> Scenario:
    (folder / "s.yaml").write_text(text)
    return load_scenario(folder / "s.yaml", **options)  # type: ignore[arg-type]


def test_every_scenario_of_the_gallery_loads_and_every_slo_in_it_can_be_met() -> None:
    assert {"toy", "webshop", "flash-crowd", "queues-and-batch", "company", "bench", "storm"} <= set(gallery())
    for name in gallery():
        scenario = load_scenario(name)
        assert scenario.name == name
        assert scenario.description
        assert scenario.stacks
        assert unreachable_slos(scenario.cluster) == []


def test_the_toy_costs_24_dollars_by_hand() -> None:
    toy = load_scenario("toy")
    pool, machine = toy.cluster.node_pools[0], toy.cluster.instance_types[0]
    web = toy.cluster.workloads[0]
    fits = math.floor((machine.allocatable_cpu - pool.daemon_cpu) / web.cpu_request)
    assert (fits, web.min_replicas, web.max_replicas, pool.min_nodes) == (2, 2, 2, 1)
    assert machine.price_usd_per_h * 24 * toy.horizon_s / 86_400 == 24.0
    assert web.service.capacity_rps == 100.0


def test_the_webshop_has_twelve_services_on_real_load() -> None:
    shop = load_scenario("webshop")
    assert len(shop.cluster.workloads) == 12
    assert shop.horizon_s == 14 * 86_400
    assert all(isinstance(d, TraceDemand) for d in shop.demand)
    assert len({d.column for d in shop.demand if isinstance(d, TraceDemand)}) == 12
    assert len(load_traces(shop)) == 12


@pytest.mark.parametrize("name", ["company", "bench"])
def test_the_large_worlds_have_500_workloads(name: str) -> None:
    scenario = load_scenario(name)
    assert len(scenario.cluster.workloads) == 500
    assert len({w.name for w in scenario.cluster.workloads}) == 500
    assert len({w.team for w in scenario.cluster.workloads}) == 18


def test_requests_default_to_the_use_at_full_slots(tmp_path: Path) -> None:
    service = "service: {slots: 6, service_time: 200ms, cpu_per_request: 50ms, threshold: 2s, "
    service += "memory_base: 1Gi, memory_per_busy_slot: 64Mi}"
    web = load(tmp_path, HEAD + "workloads: [" + WEB % f", {service}" + "]").cluster.workloads[0]
    assert web.cpu_request == pytest.approx(6 * 0.05 / 0.2)
    assert web.memory_request_gib == pytest.approx(1 + 6 / 16)


def test_the_request_factor_scales_given_and_derived_requests(tmp_path: Path) -> None:
    text = HEAD + "workloads: [" + WEB % ", cpu_request: 800m, cpu_request_factor: 0.5" + "]"
    assert load(tmp_path, text).cluster.workloads[0].cpu_request == pytest.approx(0.4)


def test_everything_in_a_full_document_arrives() -> None:
    scenario = load_scenario(SEED)
    web, first_job = scenario.cluster.workloads[:2]
    assert [w.name for w in scenario.cluster.workloads] == ["web", "jobs-01", "jobs-02", "jobs-03"]
    assert web.pdb == DisruptionBudget(max_unavailable=0.25, is_share=True)
    assert web.node_selector == (("tier", "web"),)
    assert isinstance(web.hpa, HpaSpec)
    assert web.hpa.metrics == (HpaMetric("Resource", "cpu", "Utilization", 60.0),)
    assert web.anti_affinity[0].workloads == ("web",)
    assert (web.slo_target, web.start_delay_s, first_job.backlog_age_slo_s) == (0.999, 20.0, 60.0)
    trace, shape = scenario.demand[0], scenario.demand[1]
    assert isinstance(trace, TraceDemand)
    assert (trace.path, trace.mean_rps, trace.offset_s) == (SEED.parent / "wide.csv", 180.0, 60.0)
    assert isinstance(shape, GeneratedDemand)
    assert (shape.base_rps, shape.flash_at_s, shape.flash_factor) == (7.5, (300.0,), 4.0)
    prices = {t.name: t.price_usd_per_h for t in scenario.cluster.instance_types}
    assert prices["m7i.large"] == pytest.approx(0.08 * 0.9)
    assert prices["own.big"] == pytest.approx(0.70 * 0.9)
    assert scenario.cluster.node_pools[0].boot_delay_s == 120.0
    assert scenario.stacks[1].name == "own"
    assert isinstance(scenario.stacks[1].nodes, StaticNodes)
    assert scenario.intent.budget_usd_per_h == 5.0
    assert scenario.horizon_s == pytest.approx(1728)


def test_own_prices_come_before_the_book(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("type,vcpu,memory_gib,price_usd_per_h\nm7i.2xlarge,8,32,0.11\n")
    text = HEAD + "prices: {file: p.csv}\nworkloads: [" + WEB % "" + "]"
    assert load(tmp_path, text).cluster.instance_types[0].price_usd_per_h == 0.11


def test_a_commitment_takes_the_books_price_for_it(tmp_path: Path) -> None:
    text = (HEAD + "workloads: [" + WEB % "" + "]").replace("m7i.2xlarge", "n2-standard-8")
    text += "\nprovider: gcp\nregion: us-central1\n"
    list_price = load(tmp_path, text).cluster.instance_types[0].price_usd_per_h
    committed = load(tmp_path, text + "prices: {commitment: 1y}\n").cluster.instance_types[0].price_usd_per_h
    assert 0.5 * list_price < committed < list_price


def test_stacks_that_the_caller_names_replace_those_of_the_file() -> None:
    scenario = load_scenario("toy", stacks=["hpa-cpu-50", "static-peak"])
    assert [stack.name for stack in scenario.stacks] == ["hpa-cpu-50", "static-peak"]


def test_a_fault_in_a_default_is_said_to_be_there(tmp_path: Path) -> None:
    text = HEAD + "defaults:\n  workload:\n    start_delay: soon\nworkloads: [" + WEB % "" + "]"
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    assert caught.value.field == "line 6: defaults.workload.start_delay"


def test_a_fault_in_a_counted_entry_is_said_to_be_in_the_users_list(tmp_path: Path) -> None:
    text = (
        HEAD
        + "workloads:\n  - "
        + WEB % ", slo: 99%"
        + "\n  - "
        + (WEB % ", count: 5, slo: 2").replace("web", "'a{n}'")
    )
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    assert caught.value.field == 'line 6: workloads[1] "a1".slo'


def test_a_repeated_trace_may_be_shorter_than_the_horizon(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("time_s,web\n0,1\n60,2\n120,3\n")
    text = HEAD + "workloads: [{name: web, demand: {trace: l.csv%s}}]"
    with pytest.raises(InputError, match="repeat: true"):
        load(tmp_path, text % "")
    assert load(tmp_path, text % ", repeat: true").demand[0].repeat  # type: ignore[union-attr]


def test_an_entrys_own_source_of_load_drops_the_defaults() -> None:
    base = {"demand": {"trace": "a.csv", "column": "x", "scale": 2}, "pdb": {"max_unavailable": 1}}
    own = merge(base, {"demand": {"generate": {"base_rps": 1}}, "pdb": {"min_available": 1}})
    assert own == {"demand": {"scale": 2, "generate": {"base_rps": 1}}, "pdb": {"min_available": 1}}
    assert merge({"demand": {"generate": {}}}, {"demand": {"trace": "b"}}) == {"demand": {"trace": "b"}}


@given(st.integers(1, 40), st.lists(st.integers(0, 9), min_size=1, max_size=7))
def test_copies_are_numbered_and_take_values_in_turn(count: int, values: list[int]) -> None:
    entry = {"name": "w-{n:03}", "count": count, "each": {"a.b": values}, "a": {"c": 1}}
    full, origins = expand_document({"workloads": [entry]}, None)
    assert [w["name"] for w in full["workloads"]] == [f"w-{n:03}" for n in range(1, count + 1)]
    assert [w["a"] for w in full["workloads"]] == [{"b": values[n % len(values)], "c": 1} for n in range(count)]
    assert {origin.index for origin in origins["workloads"]} == {0}
    assert entry["a"] == {"c": 1}


def test_the_schema_knows_every_field_with_a_sentence() -> None:
    schema = scenario_schema()
    json.dumps(schema)
    own = [part for name, part in schema["$defs"].items() if "Doc" in name]
    for model in (schema, *own):
        for name, field in model["properties"].items():
            assert len(field.get("description", "")) > 5, name
            assert field["description"].endswith((".", "4 autonomous.")), name
    assert set(schema["properties"]) == {*ScenarioDoc.model_fields, "defaults"}
    assert {"count", "each"} <= set(schema["$defs"]["WorkloadDoc"]["properties"])
    assert schema["$defs"]["WorkloadDoc"]["properties"]["hpa"]["anyOf"][0]["$ref"] == "#/$defs/HpaModel"
    references = set(re.findall(r"#/\$defs/(\w+)", json.dumps(schema)))
    assert references <= set(schema["$defs"])
    duration = schema["properties"]["tick"]
    assert {part["type"] for part in duration["anyOf"]} == {"number", "string"}


def test_a_lognormal_service_time_beats_its_threshold_as_computed_by_hand() -> None:
    # cv 1: s2 = ln 2, mu = ln 0.1 - s2 / 2; ln 0.5 is (1.6094 + 0.3466) / 0.8326 = 2.3494 deviations up
    assert idle_bad_share(ServiceModel(service_time_s=0.1, service_cv=1, threshold_s=0.5)) == pytest.approx(
        0.009402, abs=2e-6
    )
    assert idle_bad_share(ServiceModel(service_time_s=0.1, service_cv=0, threshold_s=0.1)) == 0.0
    assert idle_bad_share(ServiceModel(service_time_s=0.2, service_cv=0, threshold_s=0.1)) == 1.0


def test_loading_twice_gives_the_same_scenario() -> None:
    assert load_scenario(SEED) == load_scenario(SEED)
