"""`--bound`: what perfect foresight would have paid, in the table, on the screen, in JSON and in the report."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from envs.scenario_file import load_scenario
from optimizer import whatif
from optimizer.bound import COLUMNS, without_broken
from optimizer.report.report import render
from optimizer.whatif_console import print_result
from optimizer.whatif_json import document


@pytest.fixture(scope="module")
def toy():
    return whatif.run("toy", stacks=["hpa-default", "static-peak"], days=0.25, seeds=2, bound=True, jobs=1)


@pytest.fixture(scope="module")
def shop():
    """Six hours of the web shop."""
    return whatif.run("webshop", stacks=["hpa-cpu-50", "rps-target"], days=0.25, bound=True, jobs=1)


def test_a_node_that_must_stay_is_all_that_the_toy_costs(toy):
    """One node at $1.00 an hour is its pool's minimum and carries everything: nothing is cheaper."""
    assert toy.table["bound_usd"].tolist() == pytest.approx([6.0, 6.0])
    assert toy.table["above_bound"].tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert toy.table["bound_at_slo_usd"].tolist() == pytest.approx([6.0, 6.0])


def test_each_row_is_above_its_bound_and_the_bound_is_most_of_a_sensible_cost(shop):
    table = shop.table
    assert (table["above_bound"] > 0.0).all()
    assert (table["cost_usd"] / table["bound_usd"] - 1.0).tolist() == pytest.approx(table["above_bound"].tolist())
    assert table["above_bound"].max() < 2.0
    assert table["bound_at_slo_usd"].nunique() == 1


def test_better_service_has_a_higher_bound(shop):
    table = shop.table.set_index("stack")
    better, worse = table.loc["hpa-cpu-50"], table.loc["rps-target"]
    assert better["good_ratio"] > worse["good_ratio"]
    assert better["bound_usd"] > worse["bound_usd"]


def test_everything_that_prints_a_row_prints_its_bound(shop):
    console = Console(width=120, file=io.StringIO())
    print_result(shop, console)
    text = console.file.getvalue()
    percent = f"{100 * shop.table['above_bound'][0]:.1f} %"
    assert "above bound" in text
    assert percent in text
    row = json.loads(document(shop))["rows"][0]
    assert row["bound_usd"] == pytest.approx(shop.table["bound_usd"][0])
    page = render(shop)
    assert "Above perfect foresight" in page
    assert percent in page


def test_without_the_flag_nothing_says_bound(shop):
    plain = whatif.run(load_scenario("toy"), stacks=["hpa-default"], days=0.05, jobs=1)
    assert not set(COLUMNS) & set(plain.table.columns)
    assert "Above perfect foresight" not in render(plain)


def test_progress_tells_of_the_bounds():
    steps: list[whatif.Step] = []
    whatif.run("toy", stacks=["hpa-default"], days=0.05, seeds=2, bound=True, jobs=1, progress=steps.append)
    assert [(s.bounds_done, s.bounds) for s in steps if s.bounds] == [(0, 2), (1, 2), (2, 2)]


def test_a_bound_above_a_bill_is_an_error_line_and_no_figure(monkeypatch):
    """A defect that is planted: the bound of the second seed comes out a quarter too high."""
    from optimizer import bound

    honest = bound.bounds_of

    def planted(*args, **kwargs):
        found = honest(*args, **kwargs)
        found.loc[found["seed"] == found["seed"].max(), "usd"] *= 1.25
        return found

    monkeypatch.setattr(bound, "bounds_of", planted)
    broken = whatif.run("toy", stacks=["hpa-default"], days=0.25, seeds=2, bound=True, jobs=1)
    (line,) = broken.about.notes
    assert line.startswith("error: the lower bound of hpa-default, seed")
    assert "$7.50 where $6.00 was paid" in line
    assert broken.table[["bound_usd", "above_bound"]].isna().all(axis=None)
    console = Console(width=200, file=io.StringIO())
    print_result(broken, console)
    assert "note: error" not in console.file.getvalue()
    assert line in console.file.getvalue().replace("\n", " ")
    assert "defect of Trimtab" in render(broken)


def test_rounding_is_no_defect(toy):
    bounds = toy.hourly.groupby(["row", "seed"])["usd"].sum().reset_index()
    kept, lines = without_broken(bounds.assign(usd=bounds["usd"] * (1.0 + 1e-9)), toy.hourly)
    assert lines == ()
    assert kept["usd"].notna().all()
