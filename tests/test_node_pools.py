"""Node pools with several capacity types, limits and Karpenter's disruption fields, from YAML to node groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envs.cluster import InstanceType, NodeBudget, NodePool
from envs.cron import NEVER_FIRES, parse_cron
from envs.errors import InputError
from envs.min_values import unmet_min_values
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from envs.sim.pack_placement import node_groups, pack_placement
from envs.timeline import Names

POOL = """
name: pools
days: 0.1
workloads:
  - {name: web, demand: {generate: {base_rps: 10}}}
instance_types:
  - {name: box, vcpu: 4, memory: 16Gi, price: 0.2, spot_price: 0.05}
  - {name: big, vcpu: 8, memory: 32Gi, price: 0.4}
node_pools:
  - name: main
    instance_types: [box, big]
    zones: [a, b]
"""


def scenario(tmp_path: Path, more: str = "") -> Scenario:
    path = tmp_path / "s.yaml"
    path.write_text(POOL + "".join(f"    {line}\n" for line in more.splitlines()))
    return load_scenario(path)


def test_each_type_with_a_price_is_a_group_per_capacity_type_and_zone(tmp_path: Path) -> None:
    cluster = scenario(tmp_path, "capacity_types: [spot, on-demand]").cluster
    groups = node_groups(cluster)
    assert [g.name for g in groups] == [
        *("main/box/a/spot", "main/box/b/spot", "main/box/a", "main/box/b", "main/big/a", "main/big/b"),
    ]
    assert [g.price_usd_per_h for g in groups] == [0.05, 0.05, 0.2, 0.2, 0.4, 0.4]
    assert [g.home for g in groups] == [True, True, False, False, False, False]
    names = Names.of(cluster)
    assert names.groups == tuple(g.name for g in groups)
    assert names.group_capacity_type == tuple(g.capacity_type for g in groups)


def test_the_first_nodes_have_the_first_offered_type(tmp_path: Path) -> None:
    cluster = scenario(tmp_path, "capacity_type: spot\nmin_nodes: 3").cluster
    low = pack_placement([cluster])[2].min_nodes[0]
    assert low.tolist() == [2, 1]


def test_the_short_form_is_a_pool_of_one_capacity_type(tmp_path: Path) -> None:
    assert scenario(tmp_path, "capacity_type: spot").cluster.node_pools[0].capacity_types == ("spot",)
    assert scenario(tmp_path).cluster.node_pools[0].capacity_types == ("on-demand",)


def test_spot_prices_come_from_the_price_book() -> None:
    bench = load_scenario("bench")
    machine = bench.cluster.instance_types[0]
    assert machine.spot_price_usd_per_h is not None
    assert 0 < machine.spot_price_usd_per_h < machine.price_usd_per_h


def test_karpenter_fields_are_read_with_their_units(tmp_path: Path) -> None:
    pool = scenario(
        tmp_path,
        "limits: {cpu: 100, memory: 400Gi}\nexpire_after: 720h\n"
        "disruption: {consolidation_policy: Balanced, consolidate_after: Never, budgets: [{nodes: 3},"
        " {nodes: 20%, schedule: '0 9 * * mon-fri', duration: 8h, reasons: [Empty]}]}",
    ).cluster.node_pools[0]
    assert (pool.limit_cpu, pool.limit_memory_gib, pool.expire_after_s) == (100, 400, 720 * 3600)
    assert (pool.consolidation_policy, pool.consolidate_after_s) == ("Balanced", float("inf"))
    weekday = NodeBudget(0.2, True, ("Empty",), "0 9 * * mon-fri", 8 * 3600)
    assert pool.budgets == (NodeBudget(3, False), weekday)


def test_what_is_left_out_is_left_to_the_stack(tmp_path: Path) -> None:
    pool = scenario(tmp_path).cluster.node_pools[0]
    assert replace(pool, instance_types=(), zones=("zone-a",)) == NodePool("main", ())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("capacity_types: [spot, spot]", ("capacity_types", "twice")),
        ("instance_types: [big]\ncapacity_type: spot", ("capacity_types", "spot price")),
        ("disruption: {budgets: [{nodes: 200%}]}", ("budgets[0].nodes", "0% to 100%")),
        ("disruption: {budgets: [{nodes: many}]}", ("budgets[0].nodes", "many")),
        ("disruption: {budgets: [{schedule: '0 9 * *', duration: 1h}]}", ("budgets[0].schedule", "five fields")),
        ("disruption: {budgets: [{schedule: '@daily'}]}", ("budgets[0].schedule", "together")),
        ("disruption: {consolidation_policy: Often}", ("consolidation_policy", "WhenEmpty")),
        ("limits: {cpus: 3}", ("limits.cpus", "cpu")),
        ("expire_after: soon", ("expire_after", "soon")),
    ],
)
def test_bad_values_name_the_field_and_the_mend(tmp_path: Path, given: str, words: tuple[str, ...]) -> None:
    text = POOL.replace("    instance_types: [box, big]\n", "") if "instance_types" in given else POOL
    path = tmp_path / "s.yaml"
    path.write_text(text + "".join(f"    {line}\n" for line in given.splitlines()))
    with pytest.raises(InputError) as error:
        load_scenario(path)
    for word in words:
        assert word in str(error.value)


def test_cron_fields_become_masks() -> None:
    mask = parse_cron("*/20 9-17/4 1,15 jan-mar mon")
    assert mask.minute == 1 << 0 | 1 << 20 | 1 << 40
    assert mask.hour == 1 << 9 | 1 << 13 | 1 << 17
    assert (mask.day, mask.month, mask.weekday) == (1 << 1 | 1 << 15, 0b1110, 0b10)
    assert not mask.any_day
    assert parse_cron("@weekly") == parse_cron("0 0 * * sun")
    assert parse_cron("0 0 30 2 *").kind == NEVER_FIRES


BROKEN = ("60 * * * *", "* * * * 7", "5-1 * * * *", "* * * *", "@often", "*/0 * * * *", "x * * * *")


@pytest.mark.parametrize("text", BROKEN)
def test_broken_schedules_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_cron(text)


def test_a_machine_without_a_spot_price_is_not_offered_as_spot() -> None:
    assert InstanceType("box", 4, 16, 4, 16, 110, 0.2).price_of("spot") is None


def test_min_values_are_of_labels_that_the_types_have(tmp_path: Path) -> None:
    found = scenario(tmp_path, "min_values: {node.kubernetes.io/instance-type: 2, topology.kubernetes.io/zone: 2}")
    assert dict(found.cluster.node_pools[0].min_values) == {
        "node.kubernetes.io/instance-type": 2,
        "topology.kubernetes.io/zone": 2,
    }
    with pytest.raises(InputError, match=r"min_values.node.kubernetes.io/instance-typ") as error:
        scenario(tmp_path, "min_values: {node.kubernetes.io/instance-typ: 2}")
    assert 'did you mean "node.kubernetes.io/instance-type"' in str(error.value)
    with pytest.raises(InputError, match="min_values"):
        scenario(tmp_path, "min_values: {topology.kubernetes.io/zone: 51}")


def test_min_values_that_no_launch_can_meet_are_remarked_on(tmp_path: Path) -> None:
    kept = scenario(tmp_path, "min_values: {topology.kubernetes.io/zone: 2}")
    assert unmet_min_values(kept.cluster) == []
    (line,) = unmet_min_values(scenario(tmp_path, "min_values: {node.kubernetes.io/instance-type: 3}").cluster)
    assert "main: min_values asks for 3 values of node.kubernetes.io/instance-type, its types have 2" in line
