"""Quantities: what is read, what is printed, and what a slip of the pen is told."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envs import quantities as q
from envs.errors import InputError

GIB = 2**30
PARSERS: list[Callable[..., float]] = [
    q.parse_cpu,
    q.parse_memory,
    q.parse_quantity,
    q.parse_rate,
    q.parse_usd_per_h,
    q.parse_usd,
    q.parse_duration,
    q.parse_share,
    q.parse_percent,
    q.parse_number,
    q.parse_int,
]


@pytest.mark.parametrize(
    ("raw", "cores"),
    [
        ("250m", 0.25),
        ("1.5", 1.5),
        (2, 2.0),
        ("100m", 0.1),
        ("0.1", 0.1),
        ("1e3m", None),
        ("2e0", 2.0),
        ("+1", 1.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1500000u", 1.5),
        ("250000000n", 0.25),
        ("1k", 1000.0),
        (0.5, 0.5),
        ("0", 0.0),
        (" 3 ", 3.0),
        ("2Gi", None),
        ("1M", None),
        ("2 cores", None),
    ],
)
def test_cpu_is_read_in_cores(raw: object, cores: float | None) -> None:
    if cores is None:
        with pytest.raises(InputError, match="CPU is in cores"):
            q.parse_cpu(raw)
    else:
        assert q.parse_cpu(raw) == cores


@pytest.mark.parametrize(
    ("raw", "n_bytes"),
    [
        ("1.5Gi", 1.5 * GIB),
        ("512Mi", GIB / 2),
        ("2G", 2e9),
        (1073741824, GIB),
        ("128974848000m", 128974848),
        ("129e6", 129e6),
        ("129M", 129e6),
        ("1Ki", 1024),
        ("1k", None),
        ("2k", 2000),
        ("1Ti", 1024 * GIB),
        ("1E", 1e18),
        ("1Ei", 2.0**60),
        ("1P", 1e15),
        ("1Pi", 2.0**50),
        ("1T", 1e12),
        ("0", 0),
        ("1e3Ki", None),
        ("512m", None),
        (2, None),
        ("512MB", None),
        ("2GiB", None),
        ("1.5gi", None),
    ],
)
def test_memory_is_read_in_gib(raw: object, n_bytes: float | None) -> None:
    if n_bytes is None:
        with pytest.raises(InputError, match="memory is in bytes"):
            q.parse_memory(raw)
    else:
        assert q.parse_memory(raw) == n_bytes / GIB


def test_memory_with_a_trailing_b_is_told_the_kubernetes_suffix() -> None:
    with pytest.raises(InputError, match='write "Gi" for "GiB"'):
        q.parse_memory("2GiB")


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        (45, 45),
        ("45", 45),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1w", 604800),
        ("1m30s", 90),
        ("0", 0),
        ("10us", 1e-5),
        ("+5m", 300),
    ],
)
def test_durations_are_read_in_seconds(raw: object, seconds: float) -> None:
    assert q.parse_duration(raw) == seconds


@pytest.mark.parametrize("raw", ["-5m", "5 apples", "5m 3", "m5", "h", "1h-30m", "5M", "6000w", "1e400"])
def test_bad_durations_are_refused(raw: str) -> None:
    with pytest.raises(InputError, match="a duration is in seconds"):
        q.parse_duration(raw)


@pytest.mark.parametrize("raw", ["$0.19/h", "0.19 USD/h", "0.19", 0.19, "$0.19 /hour", "$0.19/hr"])
def test_prices_are_dollars_per_hour(raw: object) -> None:
    assert q.parse_usd_per_h(raw) == 0.19


@pytest.mark.parametrize("raw", ["$0.19", "$10/month", "10/mo", "€0.19/h", "-0.1", "-$0.1/h", "$", "$5/d"])
def test_prices_per_anything_else_are_refused(raw: str) -> None:
    with pytest.raises(InputError, match=r"a price is in US dollars per hour|must not be negative"):
        q.parse_usd_per_h(raw)


@pytest.mark.parametrize(("raw", "usd"), [("$10", 10), ("1,250.50 USD", 1250.5), (7, 7), ("$2k", 2000)])
def test_plain_dollars(raw: object, usd: float) -> None:
    assert q.parse_usd(raw) == usd


@pytest.mark.parametrize("raw", ["$0.19/h", "12,34", "1,2345", "$$5", "10 EUR"])
def test_plain_dollars_refuse_what_is_not(raw: str) -> None:
    with pytest.raises(InputError, match="an amount is in US dollars"):
        q.parse_usd(raw)


@pytest.mark.parametrize(("raw", "share"), [("70%", 0.7), (0.7, 0.7), ("0.7", 0.7), ("99.9%", 0.999), (1, 1)])
def test_shares(raw: object, share: float) -> None:
    assert q.parse_share(raw) == share


@pytest.mark.parametrize("raw", [70, "101%", "1.01"])
def test_a_share_over_one_is_refused(raw: object) -> None:
    with pytest.raises(InputError, match="at most 100%"):
        q.parse_share(raw)
    assert q.parse_share("120%", maximum=2.0) == 1.2


@pytest.mark.parametrize(
    ("raw", "rps"),
    [("120rps", 120), ("120/s", 120), ("120 req/s", 120), ("7200/min", 120), (120, 120), ("1.2krps", 1200)],
)
def test_rates(raw: object, rps: float) -> None:
    assert q.parse_rate(raw) == rps


def test_percent_and_quantity_and_numbers() -> None:
    assert q.parse_percent("80%") == q.parse_percent(80) == 80.0
    assert q.parse_quantity("500m") == 0.5
    assert q.parse_quantity("1Ki") == 1024.0
    assert q.parse_int("5") == q.parse_int(5.0) == 5
    assert q.parse_int("-5", minimum=-10) == -5
    assert q.parse_number("-0.5", minimum=-1.0) == -0.5


@pytest.mark.parametrize("raw", ["5.5", True, "0x5", 11, -1, "1_0"])
def test_integers_refuse_what_is_not_whole_or_in_bounds(raw: object) -> None:
    with pytest.raises(InputError):
        q.parse_int(raw, maximum=10)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "raw",
    [
        "10 apples",
        "-5m",
        "NaN",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        "1e400",
        "1e99999999",
        "",
        "   ",
        "\0",
        "١",
        "9" * 10_000,
        "1" + "0" * 10_000 + "Gi",
        10**5000,
        -(10**5000),
        math.nan,
        math.inf,
        -1,
        -0.5,
        None,
        True,
        [],
        {},
        object(),
        b"1",
        "1..5",
        "1.5.5",
        "--1",
        "+-1",
        "e5",
        "1e",
        "0x10",
        "1_000",
        "½",
    ],
    ids=lambda raw: f"{type(raw).__name__}-{raw}"[:20] if isinstance(raw, str | float) else type(raw).__name__,
)
def test_nonsense_is_one_clean_line(parse: Callable[..., float], raw: object) -> None:
    with pytest.raises(InputError) as caught:
        parse(raw, file="s.yaml", field="here.there")
    message = str(caught.value)
    assert message.startswith("s.yaml: here.there: ")
    assert "\n" not in message
    assert len(message) < 500


@given(st.sampled_from(PARSERS), st.text(max_size=80) | st.floats() | st.integers())
def test_any_input_gives_a_finite_value_or_an_input_error(parse: Callable[..., float], raw: object) -> None:
    try:
        value = parse(raw)
    except InputError:
        return
    assert math.isfinite(value)
    assert value >= 0


amounts = st.floats(0, 1e6)


@given(amounts)
@example(0.9996)
@example(0.9995)
def test_cpu_is_printed_to_the_thousandth_of_a_core(cores: float) -> None:
    assert abs(q.parse_cpu(q.format_cpu(cores)) - cores) <= 0.000501


@given(st.integers(0, 10**9))
def test_cpu_in_whole_thousandths_survives_exactly(milli: int) -> None:
    assert q.parse_cpu(q.format_cpu(milli / 1000)) == milli / 1000


@given(amounts)
@example(0.9996)
@example(0.99949)
def test_memory_is_printed_to_a_hundredth_mib_or_a_thousandth_gib(gib: float) -> None:
    text = q.format_memory(gib)
    if text in ("0Mi", "0Gi"):
        assert gib * 1024 <= 0.005
        return
    assert abs(q.parse_memory(text) - gib) <= (0.0000051 if text.endswith("Mi") else 0.000501)


@given(amounts)
def test_dollars_are_printed_to_the_cent(usd: float) -> None:
    assert q.parse_usd(q.format_usd(usd)) == round(usd, 2)


@given(amounts)
def test_prices_are_printed_to_six_decimals(usd_per_h: float) -> None:
    assert q.parse_usd_per_h(q.format_usd_per_h(usd_per_h)) == round(usd_per_h, 6)


@given(st.floats(0, 3e9))
def test_durations_are_printed_to_the_millisecond(seconds: float) -> None:
    assert abs(q.parse_duration(q.format_duration(seconds)) - seconds) <= 0.000501


@given(st.integers(0, 3 * 10**12))
def test_durations_in_whole_milliseconds_survive_exactly(millis: int) -> None:
    assert q.parse_duration(q.format_duration(millis / 1000)) == millis / 1000


@given(st.integers(0, 10_000))
def test_percents_in_hundredths_survive_exactly(basis_points: int) -> None:
    assert q.parse_share(q.format_percent(basis_points / 10_000)) == basis_points / 10_000


@given(amounts)
def test_rates_are_printed_to_the_thousandth(rps: float) -> None:
    assert q.parse_rate(q.format_rate(rps)) == round(rps, 3)


def test_what_people_will_see() -> None:
    assert q.format_cpu(0.25) == "250m"
    assert q.format_cpu(1.5) == "1.5"
    assert q.format_memory(0.5) == "512Mi"
    assert q.format_memory(1.5) == "1.5Gi"
    assert q.format_usd(1250.5) == "$1,250.50"
    assert q.format_usd(-3.0) == "-$3.00"
    assert q.format_usd_per_h(0.19) == "$0.19/h"
    assert q.format_usd_per_h(0.0042) == "$0.0042/h"
    assert q.format_duration(5400) == "1h30m"
    assert q.format_duration(0.09) == "0.09s"
    assert q.format_percent(0.7) == "70%"
    assert q.format_percent(0.0) == "0%"
    assert q.format_percent(1.0) == "100%"
    assert q.format_percent(0.9999999) == "99.99999%"
    assert q.format_percent(3.2e-6) == "0.00032%"
    assert q.format_rate(120) == "120rps"
