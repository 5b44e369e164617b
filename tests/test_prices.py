"""The price book: the shipped lists, a user's own, discounts, commitments, and `trimtab prices`."""

from __future__ import annotations

import csv
import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from envs.allocatable import allocatable
from envs.discounts import Discount, bill_with_commitment
from envs.errors import InputError
from envs.price_file import load_book
from envs.price_tables import DATA_DIR, providers
from envs.prices import PriceBook
from optimizer.cli import app

BOOKS = {name: PriceBook.load(name) for name in ("aws", "azure", "gcp")}
MIB = 1 / 1024


def test_headline_prices_are_those_of_the_lists() -> None:
    assert BOOKS["aws"].instance_type("m5.large", "us-east-1").price_usd_per_h == 0.096
    assert BOOKS["aws"].instance_type("m5.large", "eu-west-1").price_usd_per_h == 0.107
    assert BOOKS["azure"].instance_type("Standard_D2ps_v6", "eastus").price_usd_per_h == 0.0702
    gcp = BOOKS["gcp"].priced("a2-highgpu-1g", "africa-south1")
    assert (gcp.list_usd_per_h, gcp.spot_usd_per_h) == (4.80478794, 1.441435835)
    assert BOOKS["gcp"].commit_price("a2-highgpu-1g", "africa-south1") == 3.026983
    assert BOOKS["gcp"].commit_price("a2-highgpu-1g", "africa-south1", years=3) == 1.681707
    assert BOOKS["aws"].spot_price("c5.12xlarge", "af-south-1") == 0.84816


def test_a_price_of_another_date_says_so() -> None:
    new, old = (BOOKS["aws"].priced("m5.large", region) for region in ("us-east-1", "eu-west-1"))
    assert new.price_list.date == "2026-07-20"
    assert "older" not in new.source
    assert old.price_list.date == "2024-04"
    assert old.source.startswith("2024-04, ec2instances.info")
    assert "older than this book's newest list, 2026-07-20" in old.source
    assert "older" in BOOKS["aws"].price_source("spot", "us-east-1")


def test_listed_allocatable_is_used_where_the_list_has_it() -> None:
    one = BOOKS["aws"].priced("c5.12xlarge", "us-east-1")
    assert (one.instance.allocatable_cpu, one.instance.max_pods) == (47.81, 234)
    assert one.instance.allocatable_memory_gib == 88002 * MIB
    assert one.allocatable_rule == "listed"
    assert BOOKS["aws"].priced("p3.2xlarge", "us-east-1").allocatable_rule == "eks"
    assert BOOKS["gcp"].priced("e2-standard-4", "us-central1").allocatable_rule == "gke"
    assert BOOKS["azure"].priced("Standard_D4s_v5", "eastus").allocatable_rule == "aks"


def test_the_eks_rule_gives_every_listed_value() -> None:
    checked = 0
    for shape in BOOKS["aws"].shapes.values():
        room = shape.allocatable
        if room.rule != "listed":
            continue
        by_rule = allocatable(
            "eks", vcpu=shape.vcpu, memory_gib=shape.memory_gib, max_pods=room.max_pods, arch=shape.arch
        )
        assert abs(by_rule.cpu - room.cpu) <= 0.0011
        assert abs(by_rule.memory_gib - room.memory_gib) <= 1.01 * MIB
        checked += 1
    assert checked == 1094


def test_gke_and_aks_reservations_match_worked_numbers() -> None:
    gke = allocatable("gke", vcpu=4, memory_gib=16, name="e2-standard-4")
    assert (gke.cpu, gke.max_pods) == (3.92, 110)
    assert gke.memory_gib == pytest.approx(16 - (1 + 0.8 + 0.8) - 100 * MIB)
    assert allocatable("gke", vcpu=2, memory_gib=4, name="e2-medium").cpu == 0.94
    big = allocatable("gke", vcpu=64, memory_gib=256)
    assert big.memory_gib == pytest.approx(256 - (1 + 0.8 + 0.8 + 6.72 + 2.56) - 100 * MIB)
    assert big.cpu == pytest.approx(64 - 0.06 - 0.01 - 0.01 - 60 * 0.0025)
    assert allocatable("gke", vcpu=1, memory_gib=0.6).memory_gib == pytest.approx(0.6 - 355 * MIB)
    eight_gb = allocatable("aks", vcpu=2, memory_gib=8, max_pods=30)
    assert eight_gb.memory_gib == pytest.approx(8 - 650 * MIB - 100 * MIB)
    assert eight_gb.cpu == 1.9
    four_gb = allocatable("aks", vcpu=8, memory_gib=4, max_pods=70)
    assert four_gb.memory_gib == pytest.approx(4 - 1 - 100 * MIB)
    assert four_gb.cpu == pytest.approx(7.82)
    assert allocatable("aks", vcpu=96, memory_gib=384).cpu == pytest.approx(96 - 1.06)


@given(st.sampled_from(["eks", "gke", "aks"]), st.floats(0.1, 1000), st.floats(0.1, 30000), st.integers(1, 1000))
def test_allocatable_is_never_negative_nor_more_than_sold(
    rule: str, vcpu: float, memory_gib: float, max_pods: int
) -> None:
    room = allocatable(rule, vcpu=vcpu, memory_gib=memory_gib, max_pods=max_pods)  # type: ignore[arg-type]
    assert 0 <= room.cpu < vcpu
    assert 0 <= room.memory_gib < memory_gib


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp"])
def test_every_shipped_type_is_whole(provider: str) -> None:
    book = BOOKS[provider]
    for shape in book.shapes.values():
        assert shape.arch in ("amd64", "arm64")
        assert 0 < shape.allocatable.cpu < shape.vcpu
        assert 0 <= shape.allocatable.memory_gib < shape.memory_gib
        assert shape.allocatable.max_pods >= 4
        assert shape.gpu >= 0
    for kind, table in book.tables.items():
        assert set(table.cells) <= set(book.shapes), kind
        for row in table.cells.values():
            assert all(0 < price < 1000 and math.isfinite(price) for price in row.values())


def test_names_that_mean_something_are_read_right() -> None:
    gcp, azure = BOOKS["gcp"].shapes, BOOKS["azure"].shapes
    assert [gcp[n].gpu for n in ("a2-megagpu-16g", "g2-standard-24", "a3-highgpu-8g", "n2-standard-4")] == [
        *(16, 2, 8, 0)
    ]
    assert (gcp["t2a-standard-4"].arch, gcp["c4a-standard-4"].arch, gcp["n2d-standard-4"].arch) == (
        *("arm64", "arm64", "amd64"),
    )
    assert azure["Standard_E16-4ds_v5"].vcpu == 4


def test_filters() -> None:
    book = BOOKS["aws"]
    some = book.types("us-east-1", min_cpu=4, max_cpu=8, min_memory_gib=16, arch="aarch64", gpu=0)
    assert some
    for t in some:
        assert 4 <= t.instance.vcpu <= 8
        assert t.instance.memory_gib >= 16
        assert (t.instance.arch, t.instance.gpu) == ("arm64", 0)
    assert all(t.instance.gpu >= 4 for t in book.types("us-east-1", gpu=4))
    names = [t.instance.name for t in book.types("us-east-1")]
    assert names == sorted(names)
    assert len(names) == 1101


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: BOOKS["aws"].instance_type("m5.lrge", "us-east-1"), 'did you mean "m5.large"'),
        (lambda: BOOKS["aws"].instance_type("m5.large", "us-east1"), 'did you mean "us-east-1"'),
        (lambda: BOOKS["aws"].types("mars-north-1"), "unknown aws region"),
        (lambda: BOOKS["aws"].instance_type("p2.xlarge", "us-east-1"), "it has one in ap-northeast-1, "),
        (lambda: BOOKS["azure"].spot_price("Standard_D4s_v5", "eastus"), "has no spot prices"),
        (lambda: BOOKS["aws"].commit_price("m5.large", "us-east-1"), "has no commit-1y prices"),
        (lambda: BOOKS["gcp"].commit_price("n2-standard-4", "us-east1", years=2), "1 or 3 years"),
        (lambda: BOOKS["gcp"].types("us-east1", arch="sparc"), "unknown architecture"),
        (lambda: PriceBook.load("oracle"), "unknown provider; the providers are aws, azure, gcp"),
    ],
)
def test_wrong_names_get_the_right_ones(ask: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        ask()  # type: ignore[operator]
    assert said in str(caught.value)


def test_discounts_take_the_first_match_and_leave_spot_alone() -> None:
    rules = (Discount(0.25, "m5*"), Discount(0.1, provider="aws"), Discount(0.5, provider="gcp"))
    book = BOOKS["aws"].with_discounts(rules)
    m5, c5 = book.priced("m5.large", "us-east-1"), book.priced("c5.large", "us-east-1")
    assert m5.instance.price_usd_per_h == pytest.approx(0.072)
    assert m5.list_usd_per_h == 0.096
    assert m5.spot_usd_per_h == BOOKS["aws"].spot_price("m5.large", "us-east-1")
    assert c5.instance.price_usd_per_h == pytest.approx(0.0765)


def test_a_commitment_bills_to_the_cent() -> None:
    """$6/h at 40 % off buys $10 of on-demand use an hour. Hours with $0, $5, $10 and $18 of use."""
    bill, used, wasted = bill_with_commitment(np.array([0.0, 5.0, 10.0, 18.0]), 6.0, 0.4)
    np.testing.assert_allclose(bill, [6.0, 6.0, 6.0, 14.0])
    np.testing.assert_allclose(used, [0.0, 3.0, 6.0, 6.0])
    np.testing.assert_allclose(wasted, [6.0, 3.0, 0.0, 0.0])
    bill, used, wasted = bill_with_commitment(np.array([2.0]), 6.0, 0.4, step_h=0.25)
    np.testing.assert_allclose([bill[0], used[0], wasted[0]], [1.5 - 0.0, 1.2, 0.3])
    for wrong in (1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="discount"):
            bill_with_commitment(np.array([1.0]), 1.0, wrong)


@given(arrays(float, 5, elements=st.floats(0, 1e4)), st.floats(0, 1e4), st.floats(0, 0.95))
def test_a_commitment_conserves_money(spend: np.ndarray, commitment: float, discount: float) -> None:
    bill, used, wasted = bill_with_commitment(spend, commitment, discount)
    tolerance = 1e-9 * (1 + spend + commitment)
    assert np.all(np.abs(used + wasted - commitment) <= tolerance)
    assert np.all(wasted >= 0)
    assert np.all(bill + tolerance >= np.maximum(commitment, spend * (1 - discount)))
    assert np.all(bill <= commitment + spend + tolerance)


def test_the_shipped_data_is_small_and_says_where_it_comes_from() -> None:
    assert sum(p.stat().st_size for p in DATA_DIR.rglob("*") if p.is_file()) < 1_000_000
    notice = (DATA_DIR / "NOTICE").read_text()
    for file in DATA_DIR.glob("*.csv.gz"):
        assert file.name in notice
    assert {p.name for p in (DATA_DIR / "LICENSES").iterdir()} == {*("APACHE-2.0.txt", "ec2instances.info_MIT.txt")}
    assert providers() == ["aws", "azure", "gcp"]


def test_the_book_loads_without_pandas_or_numpy() -> None:
    code = (
        "import sys; from envs.prices import PriceBook; PriceBook.load('gcp').types('us-east1');"
        "sys.exit(bool({'pandas', 'numpy', 'numba', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


GOOD = "type,vcpu,memory_gib,price_usd_per_h\nbig,8,32,$0.4/h\nsmall,2,4,0.1\n"


def own(tmp_path: Path, text: str | bytes, name: str = "own.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_an_own_book_holds_in_every_region(tmp_path: Path) -> None:
    book = load_book(own(tmp_path, GOOD))
    big = book.instance_type("big", "anywhere")
    assert (big.vcpu, big.memory_gib, big.price_usd_per_h, big.arch) == (8, 32, 0.4, "amd64")
    assert book.priced("big", "x").source == str(tmp_path / "own.csv")
    assert big.allocatable_cpu == pytest.approx(8 - 0.09)
    with pytest.raises(InputError, match='did you mean "small"'):
        book.instance_type("smal", "x")
    assert [t.instance.name for t in book.types("x", min_cpu=4)] == ["big"]


def test_an_own_book_may_name_regions(tmp_path: Path) -> None:
    text = (
        "type,vcpu,memory_gib,price_usd_per_h,region,max_pods,allocatable_cpu,allocatable_memory_gib,arch\n"
        "a,2,4,0.1,here,58,1.9,3.5,x86_64\na,2,4,0.2,there,58,1.9,3.5,amd64\n"
    )
    book = load_book(own(tmp_path, text), provider="aws")
    assert book.regions() == ["here", "there"]
    one = book.priced("a", "there").instance
    assert (one.price_usd_per_h, one.max_pods, one.allocatable_cpu, one.allocatable_memory_gib) == (
        *(0.2, 58, 1.9, 3.5),
    )
    with pytest.raises(InputError, match="unknown aws region"):
        book.types("elsewhere")


def test_yaml_and_gzip_say_the_same_as_csv(tmp_path: Path) -> None:
    rows = list(csv.DictReader(GOOD.splitlines()))
    yaml = "types:\n" + "".join(f"- {json.dumps(row)}\n" for row in rows)
    books = [
        load_book(own(tmp_path, GOOD)),
        load_book(own(tmp_path, yaml, "own.yaml")),
        load_book(own(tmp_path, gzip.compress(GOOD.encode()), "own.csv.gz")),
        load_book(own(tmp_path, ("\ufeff" + GOOD).replace("\n", "\r\n"))),
        load_book(own(tmp_path, GOOD.replace("\n", "\r"))),
    ]
    assert len({str(sorted(b.shapes.items())) for b in books}) == 1
    assert len({str(b.tables["on_demand"].cells) for b in books}) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: is empty; a header is wanted: type, vcpu"),
        ("\n\n", "line 1: is empty"),
        ("type,vcpu,memory_gib,price_usd_per_h\n", "holds no instance types"),
        (GOOD.replace("8,32", "8,-32"), "line 2: memory_gib: '-32': must not be negative"),
        (GOOD.replace("8,32", "8,0"), "line 2: memory_gib"),
        (GOOD.replace("0.1", "-0.1"), "line 3: price_usd_per_h: '-0.1': must not be negative"),
        (GOOD.replace("0.1", "NaN"), "line 3: price_usd_per_h: 'NaN': is not a number"),
        (GOOD.replace("0.1", "1e400"), "line 3: price_usd_per_h: '1e400': is too large"),
        (GOOD.replace("0.1", "10 apples"), "line 3: price_usd_per_h: '10 apples'"),
        (GOOD.replace("0.1", "$72/month"), "the clouds count 730 hours a month"),
        (GOOD.replace("0.1", ""), "line 3: price_usd_per_h: is missing"),
        (GOOD.replace("small,2", "small,8Gi"), "line 3: vcpu: '8Gi': unit 'Gi' does not fit here"),
        (GOOD.replace("small", "big"), "line 3: type: 'big': is given twice; first on line 2"),
        (GOOD.replace("vcpu", "vpcu"), 'did you mean "vcpu"?'),
        (GOOD.replace("vcpu", "type"), "this column is given twice"),
        (
            GOOD.replace(",price_usd_per_h", "").replace(",0.1", "").replace(",$0.4/h", ""),
            "is missing; add it",
        ),
        (GOOD.replace(",", ";"), "separate columns by commas"),
        (GOOD + "x,1\n", "line 4: has 2 cells, the header 4"),
        (GOOD + '"x,1\n', "line 4: is not valid CSV"),
        (b"\x00\x01\x02\xff" * 50, "is not UTF-8 text"),
        (GOOD.replace("big", "b\0ig"), "NUL"),
        (GOOD.replace("big", "b" * 101), "line 2: type: "),
        (GOOD + '"' + "x" * 200_000 + '",1,1,1\n', "line 4: is not valid CSV"),
    ],
)
def test_a_bad_own_book_says_which_line_and_how_to_mend_it(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_book(own(tmp_path, text))
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(tmp_path / "own.csv"))
    assert "\n" not in message
    assert len(message) < 600


def test_bad_files_of_other_kinds(tmp_path: Path) -> None:
    cases = {
        "own.txt": (GOOD, "must end in .csv"),
        "own.csv.gz": (b"\x1f\x8b\x08\x00garbage", "is not a whole gzip file"),
        "bomb.csv.gz": (gzip.compress(b"a" * 20_000_000), "unpacks to more than"),
        "a.yaml": ("types: 3\n", "a list of instance types is wanted"),
        "b.yaml": ("typos: []\n", 'did you mean "types"'),
        "c.yaml": ("types: [3]\n", "line 1: types[0]: 3: a mapping is wanted"),
        "d.yaml": ("types:\n- {type: a, vcpu: 1, memory_gib: 1, price: 1}\n", "line 2: price: unknown key"),
        "e.yaml": ("types: &a [*a]\n", "anchors are not allowed"),
        "f.yaml": ("types: []\n", "holds no instance types"),
    }
    for name, (text, said) in cases.items():
        with pytest.raises(InputError) as caught:
            load_book(own(tmp_path, text, name))
        assert said in str(caught.value), name
    rows = "type,vcpu,memory_gib,price_usd_per_h,allocatable_cpu\na,2,4,1,3\n"
    with pytest.raises(InputError, match=r"line 2: allocatable_cpu: 3\.0: is more than vcpu"):
        load_book(own(tmp_path, rows))
    sizes = "type,vcpu,memory_gib,price_usd_per_h,region\na,2,4,1,x\na,4,4,1,y\n"
    with pytest.raises(InputError, match="one size in all regions"):
        load_book(own(tmp_path, sizes))


cell = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(st.lists(cell, min_size=3, max_size=5), max_size=4), st.booleans())
def test_any_csv_gives_a_book_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], headed: bool
) -> None:
    body = "\n".join(",".join(row) for row in rows)
    path = own(tmp_path_factory.getbasetemp(), (GOOD if headed else "") + body, "fuzz.csv")
    try:
        book, said = load_book(path), ""
    except InputError as error:
        book, said = None, str(error)
    assert (book is None) == bool(said)
    assert "\n" not in said


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["prices", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_list_command_shows_date_source_and_price_per_cpu() -> None:
    text = run("list", "--provider", "aws", "--region", "us-east-1", "--min-cpu", "4", "--limit", "3")
    assert "$/vCPU-h" in text
    assert "on-demand: 2026-07-20, karpenter-provider-aws" in text
    assert "3 of 939 types" in text
    assert "a1.xlarge" in text


def test_sorting_and_json() -> None:
    def listed(sort: str) -> list[dict[str, float]]:
        text = run("list", "--region", "us-east-1", "--gpu", "0", "--sort", sort, "--json", "--limit", "0")
        return json.loads(text)["types"]

    for sort, key in (("price", "price_usd_per_h"), ("cpu", "vcpu"), ("price-per-cpu", "usd_per_vcpu_h")):
        values = [t[key] for t in listed(sort)]
        assert values == sorted(values)
    assert [t["type"] for t in listed("name")] == sorted(t["type"] for t in listed("price"))


def test_printed_csv_is_an_own_book(tmp_path: Path) -> None:
    text = run("list", "--provider", "gcp", "--region", "us-east1", "--csv", "--limit", "0")
    book = load_book(own(tmp_path, text), provider="gcp")
    theirs = BOOKS["gcp"].types("us-east1")
    ours = book.types("us-east1")
    assert [t.instance.name for t in ours] == [t.instance.name for t in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.list_usd_per_h == b.list_usd_per_h
        assert (a.spot_usd_per_h, a.commit_1y_usd_per_h) == (b.spot_usd_per_h, b.commit_1y_usd_per_h)
        assert abs(a.instance.allocatable_memory_gib - b.instance.allocatable_memory_gib) <= 0.000501
    shown = run("list", "--book", str(tmp_path / "own.csv"), "--limit", "2")
    assert "us-east1" in shown


def test_the_regions_command() -> None:
    assert "africa-south1" in run("regions", "--provider", "gcp")
    rows = json.loads(run("regions", "--json"))["regions"]
    assert {"region": "us-east-1", "types": 1101, "date": "2026-07-20"} in rows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--region", "eu-wst-1"], 'unknown aws region; did you mean "eu-west-1"'),
        (["--provider", "gpc"], 'unknown provider; did you mean "gcp"'),
        (["--min-cpu", "2Gi"], "--min-cpu: '2Gi': unit 'Gi' does not fit"),
        (["--min-memory", "16"], "--min-memory: '16': that is 16 bytes"),
        (["--book", "none.csv"], "none.csv: file: does not exist"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "optimizer.cli", "prices", "list", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
