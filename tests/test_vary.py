"""--vary: paths into a scenario, values, and the grid."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.document_path import places, replace, schema_paths, split_path
from envs.errors import InputError
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from envs.scenario_models import ScenarioDoc
from envs.stack import HpaSpec
from envs.vary import ALIASES, expand, parse_value, split_values

SEED = Path(__file__).parent / "fuzz" / "seeds" / "scenario.yaml"


def varied(*texts: str) -> Scenario:
    (overrides,) = expand(texts)
    return load_scenario(SEED, overrides=overrides)


def test_several_variations_make_the_full_grid_with_the_last_varying_fastest() -> None:
    assert expand(["a=1,2", "b.c=x,y"]) == [
        (("a", "1"), ("b.c", "x")),
        (("a", "1"), ("b.c", "y")),
        (("a", "2"), ("b.c", "x")),
        (("a", "2"), ("b.c", "y")),
    ]
    assert expand([]) == [()]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2", ["1", "2"]),
        ("[a],[b; c]", ["[a]", "[b; c]"]),
        ("[a, b],c", ["[a, b]", "c"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("{x: [1, 2], y: 3},4", ["{x: [1, 2], y: 3}", "4"]),
        ("it's,1", ["it's", "1"]),
    ],
)
def test_commas_split_values_except_within_brackets_and_quotes(text: str, parts: list[str]) -> None:
    assert split_values(text) == parts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80),
        ("0.5", 0.5),
        ("80%", "80%"),
        ("true", True),
        ("[a; b]", ["a", "b"]),
        ('"8"', "8"),
        ("~", None),
    ],
)
def test_values_keep_the_types_of_yaml(text: str, value: object) -> None:
    assert parse_value("x", text) == value


def test_paths_reach_traffic_prices_pools_and_workloads() -> None:
    base = load_scenario(SEED)
    assert varied("traffic_scale=3").demand[1].base_rps == 15.0  # type: ignore[union-attr]
    assert varied("prices.discount=50%").cluster.instance_types[0].price_usd_per_h == pytest.approx(0.04)
    assert varied("prices.overrides[own.big]=$2/h").cluster.instance_types[1].price_usd_per_h == 1.8
    pools = varied("node_pools.web.instance_types=[c7i.xlarge; own.big]").cluster.node_pools
    assert pools[0].instance_types == ("c7i.xlarge", "own.big")
    assert pools[1] == base.cluster.node_pools[1]
    slots = [w.service.slots for w in varied("workloads.jobs-*.service.slots=2").cluster.workloads]
    assert slots == [8, 2, 2, 2]
    assert [w.slo_target for w in varied("slo=95%").cluster.workloads] == [0.95] * 4
    assert varied("workloads.0.start_delay=7s").cluster.workloads[0].start_delay_s == 7.0
    assert varied("workloads[web].start_delay=7s") == varied("workloads.web.start_delay=7s")
    assert [p.boot_delay_s for p in varied("boot_delay=5m").cluster.node_pools] == [300.0, 300.0]


def test_paths_reach_hpas_of_workloads_and_of_stacks() -> None:
    hpa = varied("workloads.*.hpa.metrics.0.target=42").cluster.workloads[0].hpa
    assert isinstance(hpa, HpaSpec)
    assert hpa.metrics[0].target == 42.0
    stack = varied("stacks.hpa-default.replicas.metrics.0.target=55").stacks[0]
    assert isinstance(stack.replicas, HpaSpec)
    assert stack.replicas.metrics[0].target == 55.0
    plain = varied("stacks.hpa-default.nodes.scan_interval_s=20").stacks[0]
    assert plain.nodes.scan_interval_s == 20.0  # type: ignore[union-attr]
    assert plain.replicas == load_scenario(SEED).stacks[0].replicas


def test_a_pattern_passes_over_stacks_that_have_no_such_place() -> None:
    changed = varied("hpa_target=44").stacks
    assert changed[0].replicas.metrics[0].target == 44.0  # type: ignore[union-attr]
    assert changed[1] == load_scenario(SEED).stacks[1]
    slow = varied("stacks.hpa-default.replicas.behavior.scale_down.stabilization_s=60").stacks[0]
    assert slow.replicas.behavior.scale_down.stabilization_s == 60  # type: ignore[union-attr]


def test_defaults_are_varied_before_they_are_merged() -> None:
    assert varied("defaults.workload.slo=98%").cluster.workloads[0].slo_target == 0.98


def test_a_variation_reaches_stacks_that_the_caller_names() -> None:
    overrides = (("stacks.hpa-cpu-60.replicas.metrics.0.target", "61"),)
    stack = load_scenario("toy", overrides=overrides, stacks=["hpa-cpu-60"]).stacks[0]
    assert stack.replicas.metrics[0].target == 61.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("start_dely", '"workloads.*.start_delay"'),
        ("workloads.*.servic.slots", '"workloads.*.service"'),
        ("workloads.*.slots", '"workloads.*.service.slots"'),
        ("prices.discont", '"prices.discount"'),
        ("nodepools.web.max_nodes", '"node_pools.*.max_nodes"'),
        ("workloads.wbe.slo", '"web"'),
        ("node_pools.genral.max_nodes", '"general"'),
    ],
)
def test_a_wrong_path_names_the_nearest_right_ones(path: str, suggestion: str) -> None:
    with pytest.raises(InputError) as caught:
        varied(f"{path}=1")
    assert suggestion in caught.value.mend


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_stands_for_a_path_that_exists(alias: str) -> None:
    first = ALIASES[alias].split(".")[0]
    assert first == "stacks" or ALIASES[alias] in set(schema_paths(ScenarioDoc))


_PATHS = [p for p in schema_paths(ScenarioDoc) if not p.startswith("stacks")]


def _places_or_none(document: object, path: str) -> list[tuple[str | int, ...]]:
    try:
        return places(document, path, ScenarioDoc)
    except InputError:
        return []


@given(st.sampled_from(_PATHS), st.integers(-5, 5))
def test_setting_a_place_changes_that_place_and_nothing_else(path: str, value: int) -> None:
    document = {
        "name": "x",
        "prices": {"discount": 1},
        "workloads": [{"name": "a", "service": {"slots": 1}}, {"name": "b"}],
        "node_pools": [{"name": "p"}],
    }
    before = repr(document)
    where = _places_or_none(document, path)
    changed = replace(document, where, value)
    assert repr(document) == before
    for keys in where:
        here = changed
        for key in keys:
            here = here[key]
        assert here == value
    assert changed.keys() - document.keys() <= {path.split(".", maxsplit=1)[0]}
    assert all(changed[key] == document[key] for key in document if key != path.split(".", maxsplit=1)[0])


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert split_path(text)
