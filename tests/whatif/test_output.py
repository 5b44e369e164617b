"""What a terminal and a program get: the table, the words, the JSON document, the command."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from envs.errors import InputError
from optimizer import cell_run, whatif
from optimizer import whatif_words as words
from optimizer.cli import app
from optimizer.cli_whatif import command_line
from optimizer.progress import DaysBar
from optimizer.whatif_console import print_result
from optimizer.whatif_json import SCHEMA, as_dict, document
from tests.whatif_fixtures import HOSTILE, STACKS, scenario, short, simulate


@pytest.fixture(scope="module")
def result():
    return whatif.run(scenario(days=2.0), simulate=simulate, jobs=1)


def screen(result, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_result(result, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_screen_fits_its_width_and_keeps_what_matters(result, width):
    text = screen(result, width)
    assert max(map(len, text.splitlines())) <= width
    for said in ("cost", "saving", "good", "SLOs", "hpa-default", "static-peak", "(idle)", "cost by pool"):
        assert said in text


def test_widest_screen_has_every_column(result):
    head = screen(result, 120).splitlines()[1]
    for title in ("$/M req", "CPU used", "node-h", "pods/h", "nodes/h"):
        assert title in head


def test_screen_says_notes_and_unreachable_slos_once(result):
    text = screen(result, 120)
    assert text.count("were interpolated") == 1
    assert "no number of replicas meets the SLO of: mailer" in text


def test_markup_in_names_is_shown_as_it_is():
    hostile = whatif.run(scenario(days=1.0, hostile=True), simulate=simulate, jobs=1)
    assert HOSTILE in screen(hostile, 120)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "100 %"),
        (0.9995, "99.95 %"),
        (0.99975, "99.975 %"),
        (0.5, "50.00 %"),
        (0.999987, "99.9987 %"),
        (0, "0.00 %"),
    ],
)
def test_ratio_has_the_digits_that_its_distance_from_one_needs(value, text):
    assert words.ratio(value) == text


def test_a_ratio_below_one_never_reads_as_100():
    for power in range(1, 16):
        assert not words.ratio(1.0 - 10.0**-power).startswith("100")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "$1,234.50"), (250000.0, "$250,000"), (0.0, "$0.00"), (0.0421, "$0.0421"), (-3.0, "−$3.00")],
)
def test_money_reads_as_money(value, text):
    assert words.usd(value) == text


def test_json_has_the_documented_shape(result):
    read = json.loads(document(result))
    assert read["schema"] == SCHEMA
    assert set(read) == {
        *("schema", "trimtab_version", "scenario", "scenario_fingerprint"),
        *("days", "seeds", "out", "notes", "rows"),
    }
    row = read["rows"][1]
    assert {
        "stack",
        "variation",
        "cost_usd",
        "good_ratio",
        "slos_met",
        "slos",
        "saving_share",
        "saving_low",
    } <= set(row)
    assert sum(part["usd"] for part in row["by_namespace"]) == pytest.approx(row["cost_usd"])
    assert len(row["worst_hours"]) == 10
    assert row["worst_hours"][0]["time"].endswith("Z")
    assert read["rows"][0]["unreachable_slos"] == ["mailer"]


def test_json_says_null_for_what_is_unknown():
    one_day = whatif.run(short(), stacks=STACKS[:2], simulate=simulate, jobs=1)
    assert json.loads(document(one_day))["rows"][1]["saving_low"] is None
    assert as_dict(one_day)["rows"][1]["stack"] == "hpa-cpu-50"


def test_command_line_leaves_out_where_and_how_fast():
    said = command_line("my shop.yaml", ["a", "b"], ["x=1,2"], days=2.5, seeds=3, flags=["--sensitivity"])
    assert said == "trimtab whatif 'my shop.yaml' --stacks a,b --vary x=1,2 --days 2.5 --seeds 3 --sensitivity"


def test_progress_is_silent_when_not_on_a_terminal():
    stream = io.StringIO()
    with DaysBar(stream) as bar:
        bar(whatif.Step(1, 4, 3.0, 12.0))
    assert stream.getvalue() == ""
    assert (bar.cells_done, bar.cells) == (1, 4)


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(cell_run, "default_simulate", lambda: simulate)


@pytest.mark.usefixtures("stand_in")
def test_command_writes_the_folder_and_prints_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["whatif", "toy", "--days", "0.1", "--jobs", "1"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "In whatif-toy: report.html" in done.stdout
    assert {p.name for p in (tmp_path / "whatif-toy").iterdir()} == {
        *("cells", "report.html", "results.csv", "results.parquet"),
        *("timeline.parquet", "timeline_nodes.parquet"),
    }


@pytest.mark.usefixtures("stand_in")
def test_json_is_the_only_thing_on_stdout(tmp_path):
    arguments = [
        "whatif",
        "toy",
        "--days",
        "0.1",
        "--jobs",
        "1",
        "--json",
        "--no-report",
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert json.loads(done.stdout)["days"] == pytest.approx(0.1)
    assert not (tmp_path / "o" / "report.html").exists()


@pytest.mark.parametrize("arguments", [["webshopp"], ["toy", "--stacks", "hpa-defualt"], ["toy", "--vary", "priice=2"]])
def test_wrong_names_are_input_errors_that_write_nothing(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        CliRunner().invoke(app, ["whatif", *arguments], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_help_teaches_with_two_examples():
    text = CliRunner().invoke(app, ["whatif", "--help"]).stdout
    assert text.count("trimtab whatif ") >= 2


def test_help_loads_no_heavy_library():
    code = (
        "import sys, optimizer.cli; "
        "heavy = {'pandas', 'numba', 'torch', 'mlflow', 'onnxruntime', 'plotly', 'pyarrow', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
