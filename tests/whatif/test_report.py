"""report.html: whole, offline, escaped, and saying what it must."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest

from envs.stack_file import load_stack
from optimizer import whatif
from optimizer.report import words
from optimizer.report.differences import describe, differing_settings
from optimizer.report.report import plotly_js, render, write_report
from tests.whatif_fixtures import HOSTILE, STACKS, scenario, simulate

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects ids, scripts and anything that would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.scripts = 0
        self.outside: list[str] = []
        self.words: list[str] = []
        self.feed(text.replace(plotly_js(), "plotly"))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given["id"]} if "id" in given else set()
        self.scripts += tag == "script"
        self.outside += [given[k] for k in ("src", "href") if k in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def result():
    return whatif.run(scenario(days=2.0), simulate=simulate, jobs=1)


@pytest.fixture(scope="module")
def html(result):
    return render(result, command="trimtab whatif toy --stacks 'a & b'")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_page_loads_nothing_from_elsewhere(page, html):
    assert page.outside == []
    own = html[: html.index("plotly.js v")] + html[html.rindex("<script>") :]
    assert "http" not in own
    assert "@import" not in own
    assert "url(" not in own


def test_page_has_every_part(page):
    sections = {
        "comparison",
        "tradeoff",
        "cost-over-time",
        "load",
        "nodes",
        "slo",
        "worst",
        "parts",
        "differences",
        "inputs",
    }
    assert sections <= page.ids
    assert {f"chart-{name}" for name in ("scatter", "cost", "load", "nodes")} <= page.ids
    for said in (
        "Where the money went",
        "The ten worst hours",
        "What differs between the stacks",
        "Exact inputs",
    ):
        assert said in page.text


def test_page_names_the_exact_inputs(page, result):
    for said in (
        "trimtab whatif toy --stacks 'a & b'",
        result.about.version,
        result.about.fingerprint,
        "kind: queue",
    ):
        assert said in page.text


def test_page_says_what_an_slo_cannot_reach_and_notes_once(page):
    assert page.text.count("no number of replicas meets it") == 1
    assert page.text.count("2 gaps (35 min in all) were interpolated") == 1


def test_chart_data_matches_the_frames(html, result):
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])
    assert [row["label"] for row in data["rows"]] == ["hpa-default", "hpa-cpu-50", "static-peak"]
    first = data["rows"][0]
    assert len(first["time"]) == 48
    total = sum(sum(series) for series in first["pools"].values())
    assert total == pytest.approx(result.table["cost_usd"][0], rel=1e-3)
    assert set(first["workloads"]) == set(data["workloads"])


def test_page_is_about_five_megabytes(html):
    assert 4e6 < len(html.encode()) < 6e6


def test_equal_results_give_equal_pages(tmp_path, result):
    for name in ("a.html", "b.html"):
        write_report(result, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_names_from_users_are_never_markup(page):
    hostile = whatif.run(scenario(days=1.0, hostile=True), simulate=simulate, jobs=1)
    html = render(hostile, command=f"trimtab whatif {HOSTILE}")
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)" in html
    read = Page(html)
    assert read.scripts == page.scripts
    assert HOSTILE in read.text


def test_many_workloads_and_rows_keep_the_page_small():
    big = whatif.run(scenario(days=3.0, workloads=60), simulate=simulate, jobs=1, seeds=1)
    html = render(big)
    assert len(html.encode()) < 8e6
    assert "20 more workloads" in Page(html).text


def table(*rows):
    names = "stack slos_met slos usd_per_30_days cost_usd saving_share saving_low saving_high"
    return pd.DataFrame([dict(zip(names.split(), row, strict=True)) | {"variation": ""} for row in rows])


BASE = ("hpa-default", 11, 12, 2000.0, 1000.0, 0.0, 0.0, 0.0)


def test_headline_names_the_cheapest_that_serves_as_well():
    cheap = ("hpa-cpu-70", 11, 12, 1500.0, 750.0, 0.25, 0.2, 0.3)
    cheaper_but_worse = ("none", 3, 12, 100.0, 50.0, 0.95, 0.9, 0.99)
    said = words.headline(table(BASE, cheap, cheaper_but_worse))
    assert said.main == (
        "hpa-cpu-70 costs $1,500 a month, 25.0 % less than hpa-default [95 % interval 20.0 to 30.0], "
        "and breaks 1 of 12 SLOs."
    )
    assert said.rest == "hpa-default costs $2,000 a month and breaks 1 of 12 SLOs."


def test_headline_names_what_better_service_costs():
    dear = ("hpa-cpu-50", 12, 12, 3000.0, 1500.0, -0.5, -0.6, -0.4)
    said = words.headline(table(BASE, dear))
    assert said.main == "hpa-default costs $2,000 a month and breaks 1 of 12 SLOs."
    assert said.rest == (
        "hpa-cpu-50 meets all 12 SLOs, and costs $3,000, 50.0 % more than hpa-default [95 % interval 40.0 to 60.0]."
    )


def test_headline_without_an_interval_or_an_alternative():
    nan = float("nan")
    said = words.headline(table(BASE, ("b", 12, 12, 1500.0, 750.0, 0.25, nan, nan)))
    assert said.main == "b costs $1,500 a month, 25.0 % less than hpa-default, and meets all 12 SLOs."
    assert words.headline(table(BASE)).rest == ""
    worse = words.headline(table(BASE, ("c", 2, 12, 1500.0, 750.0, 0.25, nan, nan)))
    assert worse.rest == "None of the others is cheaper without breaking more SLOs."


def hour(**changes):
    numbers = {
        "bad": 100.0, "bad_saturated": 20.0, "bad_starting": 78.0, "bad_no_node": 2.0, "bad_lost": 0.0,
        "workload": "web",
        "load_rps": 300.0, "load_before_rps": 100.0, "capacity_rps": 280.0, "ready": 7.0, "ready_before": 3.0,
        "pods_started": 4.0, "nodes_added": 1.0, "nodes_removed": 0.0,
    }  # fmt: skip
    return SimpleNamespace(**(numbers | changes))


def test_worst_hour_says_why_and_what_was_going_on():
    assert words.main_reason(hour()) == "starting"
    assert words.why(hour()) == (
        "78 % because new pods were still starting; 20 % because every replica was ready and still too busy"
    )
    assert words.what_was_going_on(hour()) == (
        "load went from 100/s to 300/s, capacity averaged 280/s on 7.0 ready replicas (3.0 the hour before). "
        "In the cluster: 4 pods started, 1 node added."
    )
    calm = hour(load_rps=101.0, ready_before=7.0, pods_started=0.0, nodes_added=0.0)
    assert words.what_was_going_on(calm) == "load was 101/s, capacity averaged 280/s on 7.0 ready replicas."


def test_differences_list_only_what_differs():
    settings = dict(differing_settings([STACKS[0], STACKS[1]]))
    assert settings == {"replicas.metrics[0].target": ["80", "50"]}
    kinds = dict(differing_settings([STACKS[0], STACKS[2]]))
    assert kinds == {"replicas": ["HPA v2", "fixed count"]}


def test_stacks_are_described_in_words():
    assert describe(STACKS[1]) == "HPA on CPU at 50 %; Cluster Autoscaler (least-waste); LeastAllocated scheduling"
    assert "moved each 60 s by a network" in describe(load_stack("trimtab"))
    assert describe(STACKS[2]).startswith("fixed replicas for the peak load at 70 % utilization")
