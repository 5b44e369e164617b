"""The resilience table: differences of paired runs, and only where there is something to compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.discounts import CommittedUse
from envs.faults import AFTERMATH_S, Fault
from envs.ledger import ledger_of
from envs.scenario import Scenario
from envs.spot import SpotMarket
from envs.stack import Stack
from envs.timeline import Names, Rollout, Timeline
from optimizer.report.report import render
from optimizer.report.words import describe_fault
from optimizer.whatif import WhatIf, run
from tests.whatif_fixtures import STACKS, scenario, simulate

CROWD = Fault("flash-crowd", "crowd", at_s=5 * 3600.0, duration_s=1800.0, factor=3.0)
CRASH = Fault("node-crash", "crash", at_s=9 * 3600.0)


def failing(
    shop: Scenario, stack: Stack, seed: int, *, days: float | None = None, sink: Any = None, **_: Any
) -> Rollout:
    """The stand-in, with 1,000 more bad requests and $2 more in each row of the faults' own hours."""

    def worse(timeline: Timeline) -> None:
        if shop.faults:
            hit = sum((timeline.time_s >= f.at_s) & (timeline.time_s < f.at_s + 3600.0) for f in shop.faults)  # type: ignore[operator]
            extra = np.zeros_like(timeline.bad_lost)
            extra[:, 0] = 1000.0 * hit
            usd = timeline.node_usd + 2.0 * np.asarray(hit)[:, None] / timeline.node_usd.shape[1]
            timeline = replace(timeline, bad_lost=extra, node_usd=usd)
        sink(timeline)

    return simulate(shop, stack, seed, days=days, sink=worse)


def result(**changes: Any) -> WhatIf:
    shop = replace(scenario(days=1.0), faults=(CROWD, CRASH), stacks=STACKS[:2], **changes)
    return run(shop, simulate=failing, jobs=1)


def without_spot(shop: Scenario) -> Any:
    pools = tuple(replace(p, capacity_types=("on-demand",)) for p in shop.cluster.node_pools)
    return replace(shop.cluster, node_pools=pools)


def test_lines_are_what_a_run_with_faults_has_beyond_one_without() -> None:
    frame = result(cluster=without_spot(scenario())).resilience
    assert frame["fault"].tolist() == ["crowd", "crash", "all faults"] * 2
    assert frame["extra_bad"].to_numpy() == pytest.approx([12_000.0, 12_000.0, 24_000.0] * 2)
    assert frame["extra_usd"].to_numpy() == pytest.approx([24.0, 24.0, 48.0] * 2)
    assert frame["hours"].tolist() == pytest.approx([0.5 + AFTERMATH_S / 3600, AFTERMATH_S / 3600, 24.0] * 2)
    assert frame["times"].tolist() == [1, 1, 2] * 2


def test_spot_pools_add_a_line_of_their_own() -> None:
    frame = result(spot=SpotMarket()).resilience
    assert frame["fault"].tolist()[-1] == "spot interruptions"
    assert frame["extra_bad"].iloc[-1] == 0.0


def test_nothing_to_compare_no_table() -> None:
    shop = replace(scenario(days=1.0), stacks=STACKS[:1])
    calm = run(replace(shop, cluster=without_spot(shop)), simulate=simulate, jobs=1)
    assert calm.resilience.empty
    assert "What each fault did" not in render(calm)


def test_the_page_and_the_json_have_it(tmp_path: Path) -> None:
    import json

    from optimizer.whatif_json import document

    found = result()
    page = render(found)
    assert "What each fault did" in page
    assert "load x3 on all workloads, day 1, 05:00, 30m" in page
    rows = json.loads(document(found))["rows"]
    assert [line["fault"] for line in rows[0]["resilience"]][:2] == ["crowd", "crash"]
    assert rows[0]["nodes_lost"] == 0.0


def test_faults_are_described_in_words() -> None:
    said = {
        Fault("zone-loss", "z", at_s=90_000.0, duration_s=5400.0, zone="b"): "zone b, day 2, 01:00, 1h30m",
        Fault("node-crash", "n", per_node_hour=0.01): "0.01 per node and hour, at random",
        Fault(
            "telemetry-delay", "d", per_day=2.0, duration_s=60.0, delay_s=180.0
        ): "samples of all workloads 180 s late, 2 a day, 1m",
        Fault("telemetry-gap", "t", per_day=2.0, duration_s=60.0): "no samples of all workloads, 2 a day, 1m",
        Fault("price-change", "p", at_s=0.0, factor=2.0, capacity_type="spot"): "x2, spot, day 1, 00:00",
    }
    assert {fault: describe_fault(fault) for fault in said} == said


# a committed use


def committed(usd_per_h: float, discount: float = 0.3) -> WhatIf:
    promise = CommittedUse(usd_per_h, discount) if usd_per_h else None
    return run(replace(scenario(days=1.0), stacks=STACKS[:2], committed_use=promise), simulate=simulate, jobs=1)


@pytest.mark.parametrize("usd_per_h", [0.0, 0.2, 5.0, 500.0])
def test_the_bill_is_the_list_less_what_was_saved_plus_what_was_wasted(usd_per_h: float) -> None:
    found = committed(usd_per_h)
    for line in found.table.itertuples():
        terms: Any = line
        bill = terms.list_usd - terms.commitment_saved_usd + terms.commitment_wasted_usd
        assert terms.cost_usd == pytest.approx(bill, rel=1e-12)
        assert terms.commitment_used_usd + terms.commitment_wasted_usd == pytest.approx(24 * usd_per_h)
        assert terms.commitment_saved_usd == pytest.approx(terms.commitment_used_usd * 0.3 / 0.7)
        for frame in (found.by_namespace, found.by_team, found.by_pool):
            assert frame[frame["row"] == terms.row]["usd"].sum() == pytest.approx(terms.cost_usd, rel=1e-9)


def test_too_large_a_commitment_costs_more_than_none() -> None:
    none, little, much = (float(committed(x).table["cost_usd"][0]) for x in (0.0, 0.2, 500.0))
    assert little < none < much


def test_a_ledger_with_a_commitment_adds_up_to_the_bill() -> None:
    parts: list[Timeline] = []
    shop = scenario(days=1.0)
    simulate(shop, STACKS[0], 0, sink=parts.append)
    line, names = Timeline.concat(parts), Names.of(shop.cluster)
    plain, promised = ledger_of(line, names), ledger_of(line, names, CommittedUse(2.0, 0.25))
    terms = promised.commitment
    assert promised.total_usd == pytest.approx(plain.total_usd - terms["saved"] + terms["wasted"])
    assert terms["used"] + terms["wasted"] == pytest.approx(48.0)
    assert committed(2.0, 0.25).table["cost_usd"][0] == pytest.approx(promised.total_usd)
