"""Cron expressions fire and windows open when the calendar says so."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.cron import parse_cron
from envs.cron_windows import check_cron, fires, parse_zone, windows
from envs.errors import InputError

WEEK = (0.0, 7 * 86400.0)


def field(rng: np.random.Generator, low: int, high: int) -> str:
    kind = int(rng.integers(5))
    a, z = sorted(int(x) for x in rng.integers(low, high + 1, 2))
    return ("*", str(a), f"{a}-{z}", f"*/{int(rng.integers(1, 9))}", f"{a},{z}")[kind]


def expression(rng: np.random.Generator) -> str:
    hour = field(rng, 0, 23)
    return f"{field(rng, 0, 59)} {hour} {field(rng, 1, 31) if rng.random() < 0.3 else '*'} * {field(rng, 0, 6)}"


def slow_values(text: str, low: int, high: int) -> set[int]:
    out: set[int] = set()
    for piece in text.split(","):
        span, _, step = piece.partition("/")
        a, z = (low, high) if span == "*" else ((span + "-" + span).split("-")[0], (span + "-" + span).split("-")[1])
        out |= {n for n in range(int(a), int(z) + 1) if (n - int(a)) % int(step or 1) == 0}
    return out


def slow_fires(text: str, local: datetime) -> bool:
    minute, hour, day, month, weekday = text.split()
    on_day = local.day in slow_values(day, 1, 31)
    on_weekday = local.isoweekday() % 7 in slow_values(weekday, 0, 6)
    either = on_day and on_weekday if {day, weekday} & {"*", "*/1"} else on_day or on_weekday
    clock = local.minute in slow_values(minute, 0, 59) and local.hour in slow_values(hour, 0, 23)
    return clock and either and local.month in slow_values(month, 1, 12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_an_expression_fires_in_the_minutes_that_a_calendar_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = expression(rng)
    origin = datetime(2024, 2, 26, tzinfo=UTC) + timedelta(days=int(rng.integers(0, 400)))
    first = int(origin.timestamp()) // 60
    minutes = np.arange(first, first + 3 * 1440, 7)
    slow = [slow_fires(text, datetime.fromtimestamp(int(m) * 60, UTC)) for m in minutes]
    assert fires(parse_cron(text), minutes).tolist() == slow


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]))
def test_a_window_is_open_while_its_end_comes_before_its_start(seed: int, zone: str) -> None:
    rng = np.random.default_rng(seed)
    hours = sorted(int(h) for h in rng.integers(0, 24, 2))
    start, end = f"{int(rng.integers(60))} {hours[0]} * * {field(rng, 1, 5)}", f"0 {hours[1]} * * *"
    origin = datetime(2026, 3, 27, tzinfo=UTC)  # Berlin's clocks change on the 29th, New York's had on the 8th
    opened = windows(start, end, zone, origin.isoformat(), WEEK)
    info = ZoneInfo(zone)

    def next_after(text: str, at: datetime) -> datetime:
        moment = at.replace(second=0) + timedelta(minutes=1)
        for _ in range(8 * 1440):
            if slow_fires(text, moment.astimezone(info)):
                return moment
            moment += timedelta(minutes=1)
        return datetime.max.replace(tzinfo=UTC)

    for minute in rng.integers(0, 7 * 1440, 12):
        at = origin + timedelta(minutes=int(minute))
        slow = next_after(end, at) <= next_after(start, at) < datetime.max.replace(tzinfo=UTC)
        assert any(a <= minute * 60 < z for a, z in opened) == slow


def test_business_hours_open_five_times_a_week_and_follow_the_clock_change() -> None:
    opened = windows("0 8 * * 1-5", "0 20 * * 1-5", "Europe/Berlin", "2026-03-26T00:00:00Z", WEEK)
    hours = [(a / 3600, z / 3600) for a, z in opened]
    # Thursday and Friday at UTC+1, from Monday the 30th on at UTC+2
    assert hours == [(7, 19), (31, 43), (102, 114), (126, 138), (150, 162)]


def test_a_window_that_is_open_at_the_edge_has_no_edge_there() -> None:
    assert windows("0 0 * * *", "30 0 1 1 *", "UTC", "2026-06-01T12:00:00Z", WEEK) == ()
    hour = (0.0, 3600.0)
    assert windows("0 7 1 1 *", "0 8 1 1 *", "UTC", "2026-12-15T00:00:00Z", hour) == ()  # the start comes first
    ((opens, closes),) = windows("0 8 2 1 *", "0 8 1 1 *", "UTC", "2026-12-15T00:00:00Z", hour)
    assert (opens, closes) == (-math.inf, math.inf)


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "* * * * 7", "a * * * *", None, 5, "1" * 300])
def test_what_is_no_expression_is_refused_with_its_mend(text: object) -> None:
    with pytest.raises(InputError, match="start"):
        check_cron(text, field="start")


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", 3, None])
def test_a_zone_that_nobody_knows_is_refused(name: object) -> None:
    with pytest.raises(InputError, match="time zone"):
        parse_zone(name)
