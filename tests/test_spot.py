"""The spot market as a user writes it, and when its nodes are taken back."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from envs.cluster import InstanceType
from envs.errors import InputError
from envs.fault_plan import plan_of
from envs.prices import PriceBook
from envs.scenario import Scenario
from envs.scenario_file import scenario_from_document
from envs.sim.fault_state import OP_BLOCK, OP_INTERRUPT, OP_PRICE, OP_RECOMMEND
from envs.spot import BUCKETS, MONTH_H, SpotMarket
from envs.spot_draws import shock_notices, shocks, single_notices
from envs.spot_series import history_points
from envs.yaml_reader import only_mapping, parse_yaml

MACHINE = InstanceType("big", 8, 32, 8, 32, 50, 1.0, spot_price_usd_per_h=0.3, interrupted_per_month=0.2)
HOUR, DAY = 3600.0, 86_400.0


def world(spot: str = "{}", *, folder: Path = Path("."), provider: str = "aws", extra: str = "") -> Scenario:
    text = f"""
name: market
provider: {provider}
region: us-east1
days: 10
instance_types: [{{name: big, vcpu: 8, memory: 32Gi, price: 1, spot_price: 0.3}}]
workloads: [{{name: web, demand: {{generate: {{base_rps: 50}}}}{extra}}}]
node_pools:
  - {{name: spot, instance_types: [big], zones: [a, b], max_nodes: 20, capacity_types: [spot]}}
  - {{name: main, instance_types: [big], zones: [a]}}
spot: {spot}
"""
    file = folder / "market.yaml"
    return scenario_from_document(only_mapping(parse_yaml(text, file=file), file=file), file)


def test_a_bucket_becomes_a_rate_per_hour() -> None:
    """5-10 % a month: its middle, -ln(1 - 0.075) / 730 h = 1.07e-4 an hour; 1,000 nodes lose 77 in a month."""
    machine = InstanceType("m", 4, 16, 4, 16, 50, 0.2, interrupted_per_month=BUCKETS["5-10%"])
    rate = SpotMarket().hazard_per_h(machine)
    assert rate == pytest.approx(1.068e-4, rel=1e-3)
    assert 1.0 - math.exp(-rate * MONTH_H) == pytest.approx(0.075)


def test_the_shipped_buckets_are_all_known_and_reach_the_instance_types() -> None:
    book = PriceBook.load("aws")
    found = {bucket for row in book.interruption.values() for bucket in row.values()}
    assert found == set(BUCKETS)
    known = [t for t in book.types("us-east-1", max_cpu=8) if t.interruption_per_month]
    assert all(t.instance.interrupted_per_month == BUCKETS[t.interruption_per_month] for t in known)
    assert len(known) > 50


@pytest.mark.parametrize("together", [0.0, 0.5, 1.0])
def test_the_mean_rate_is_the_hazard_however_it_is_split(together: float) -> None:
    spot = SpotMarket(together=together, hazard_factor=40.0)
    horizon_s, most = 400 * DAY, 10
    alone = single_notices(spot, MACHINE, "g", most, seed=1, horizon_s=horizon_s)
    shared = shocks(spot, MACHINE, "big/a", 1, horizon_s)
    taken = shock_notices(spot, shared, "g", most, seed=1, horizon_s=horizon_s)
    mean = spot.hazard_per_h(MACHINE) * most * horizon_s / HOUR
    scatter = (mean * (1.0 + together * spot.shock_share * most)) ** 0.5
    assert abs(len(alone) + len(taken) - mean) < 4 * scatter


def test_shocks_take_nodes_of_a_type_and_zone_together() -> None:
    spot = SpotMarket(together=1.0, hazard_factor=20.0)
    shared = shocks(spot, MACHINE, "big/a", 3, 100 * DAY)
    assert len(shared) > 10
    times = np.array([t for t, _ in shock_notices(spot, shared, "g", 10, seed=3, horizon_s=100 * DAY)])
    starts = np.array([s.at_s for s in shared])
    nearest = times - starts[np.searchsorted(starts, times, side="right") - 1]
    assert nearest.min() >= 0.0
    assert nearest.max() <= spot.shock_spread_s
    assert len(times) > 3 * len(starts)


def test_both_pools_of_a_type_and_zone_meet_the_same_stock_outs_and_no_other_zone_does() -> None:
    plan = plan_of(world("{hazard_factor: 500}"), 0)
    blocked = {g: [(o[0], o[3]) for o in plan if o[1] == OP_BLOCK and o[2] == g] for g in range(3)}
    assert blocked[0]
    assert blocked[1]
    assert blocked[0] != blocked[1]
    assert not blocked[2], "on-demand never runs out"
    told = {o[2] for o in plan if o[1] == OP_INTERRUPT}
    assert told == {0, 1}


def test_recommendations_come_the_lead_before_the_notice() -> None:
    plan = plan_of(world("{hazard_factor: 100, rebalance_lead: 4m, notice: 90s}"), 0)
    notices = sorted((o[0], o[2], o[3]) for o in plan if o[1] == OP_INTERRUPT)
    earlier = sorted((o[0] + o[4] - 90.0, o[2], o[3]) for o in plan if o[1] == OP_RECOMMEND)
    assert [x[0] for x in earlier] == pytest.approx([x[0] for x in notices])
    assert all(o[4] <= 90.0 + 240.0 for o in plan if o[1] == OP_RECOMMEND)


def test_no_interruptions_no_operations() -> None:
    assert plan_of(world("{interruptions: false}"), 0) == []
    assert plan_of(world("{hazard_factor: 0}"), 0) == []


def test_a_workload_may_refuse_spot() -> None:
    selector = dict(world(extra=", spot: false").cluster.workloads[0].node_selector)
    assert selector == {"karpenter.sh/capacity-type": "on-demand"}
    assert not world().cluster.workloads[0].node_selector


def test_per_month_takes_patterns_and_the_first_counts() -> None:
    spot = world("{per_month: {bi*: 40%, '*': 1%}}").spot
    assert spot.per_month == (("big", 0.4),)


def test_a_series_of_ones_own_moves_the_price(tmp_path: Path) -> None:
    (tmp_path / "spot.csv").write_text("at,type,usd_per_h,zone\n0,big,0.25,\n36h,big,0.5,\n2d,big,0.2,b\n")
    scenario = world("{prices: spot.csv, interruptions: false}", folder=tmp_path)
    plan = [o for o in plan_of(scenario, 0) if o[1] == OP_PRICE]
    assert [(o[0], round(o[3], 9)) for o in plan if o[2] == 0] == [(0.0, 0.25), (36 * HOUR, 0.5), (10 * DAY, 0.3)]
    assert [(o[0], round(o[3], 9)) for o in plan if o[2] == 1] == [(2 * DAY, 0.2), (10 * DAY, 0.3)]
    assert not [o for o in plan if o[2] == 2], "on-demand keeps its price"


def test_google_clouds_history_is_replayed_from_a_day() -> None:
    text = "{price_history: 2024-05-01, interruptions: false}"
    scenario = world(text, provider="gcp")
    assert scenario.spot.series == ()  # no type of that cluster is Google's
    points = history_points("gcp", "us-east1", date(2023, 5, 8), 800 * DAY, at=(None, "x"))
    of_one = [p for p in points if p.instance_type == "e2-standard-4"]
    assert len(of_one) > 3
    assert of_one[0].from_s == 0.0
    assert len({p.usd_per_h for p in of_one}) > 3


BAD = [
    ("{price_history: 2024-13-01}", "aws", "no day"),
    ("{price_history: 2024-05-01}", "aws", "only Google Cloud"),
    ("{price_history: 2020-05-01}", "gcp", "starts on"),
    ("{prices: nowhere.csv}", "aws", "nowhere"),
    ("{prices: a.csv, price_history: 2024-05-01}", "gcp", "not both"),
    ("{per_month: {big: 100%}}", "aws", "under 1"),
    ("{per_month: {bgi: 10%}}", "aws", "big"),
    ("{shock_share: 0}", "aws", "shock_share"),
    ("{hazard_factor: -1}", "aws", "hazard_factor"),
    ("{hazrd: 1}", "aws", "hazard_factor|hazrd"),
]


@pytest.mark.parametrize(("spot", "provider", "said"), BAD)
def test_a_bad_market_is_an_input_error(spot: str, provider: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        world(spot, provider=provider, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at,type\n0,big\n", "usd_per_h"),
        ("at,type,usd_per_h\nsoon,big,1\n", "line 2"),
        ("at,type,usd_per_h\n1,big,-1\n", "line 2"),
        ("at,type,usd_per_h\n1,big\n", "line 2"),
        ("", "header"),
    ],
)
def test_a_bad_series_names_the_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "spot.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        world("{prices: spot.csv}", folder=tmp_path)
