"""Windows between two cron expressions, in a time zone: KEDA's cron trigger and scheduled scaling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from envs.cron import CronMask, parse_cron
from envs.errors import InputError

MINUTE_S = 60
LOOK_AHEAD_S = 366 * 86400  # a window's end is looked for this far
OFFSET_STEP_MIN = 15  # time zones change at quarter hours


def check_cron(text: object, *, field: str = "cron") -> str:
    """The expression itself. Raises InputError for anything that is none."""
    said = text if isinstance(text, str) and len(text) <= 200 else ""
    try:
        parse_cron(said)
    except ValueError as error:
        raise InputError(None, field, text, f'{error}; as in "0 8 * * 1-5"') from None
    return said


def fires(cron: CronMask, local_minute: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these minutes (since 1970, local time) it fires in."""
    days = local_minute // 1440
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    day = _has(cron.day, (date - month).astype(np.int64) + 1)
    weekday = _has(cron.weekday, (days + 4) % 7)
    on_day = day & weekday if cron.any_day else day | weekday
    at = _has(cron.minute, local_minute % 60) & _has(cron.hour, local_minute // 60 % 24)
    return at & on_day & _has(cron.month, month.astype(np.int64) % 12 + 1)


def _has(mask: int, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    table = np.array([bool(mask >> bit & 1) for bit in range(64)])
    return table[numbers]


def parse_zone(name: object, *, field: str = "timezone") -> str:
    """A name of the IANA time zone database. Raises InputError."""
    _zone(name if isinstance(name, str) else "", field)
    return str(name)


@lru_cache(maxsize=256)
def _zone(name: str, field: str = "timezone") -> tzinfo:
    if name in ("UTC", "Etc/UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(None, field, name, "is no time zone; as Europe/Berlin, America/New_York, UTC") from None


@lru_cache(maxsize=256)
def windows(
    start: str, end: str, zone: str, start_utc: str, span_s: tuple[float, float]
) -> tuple[tuple[float, ...], ...]:
    """When the window from `start` to `end` is open: ((opens_s, closes_s), ...), seconds from start_utc.

    Open: `end` fires before `start` does. span_s: the part looked at; what is open at its first moment opens at
    -inf, what is still open at its last closes at +inf. As KEDA's cron scaler decides; a minute skipped
    by daylight saving never fires, one that is repeated fires twice.
    """
    origin = datetime.fromisoformat(start_utc)
    origin = origin if origin.tzinfo else origin.replace(tzinfo=UTC)
    zero = origin.timestamp() / MINUTE_S
    first, last = int(np.floor(zero + span_s[0] / MINUTE_S)), int(np.ceil(zero + span_s[1] / MINUTE_S))
    minutes = np.arange(first, last + LOOK_AHEAD_S // MINUTE_S, dtype=np.int64)
    local = minutes + _offsets(minutes, zone)
    opening = minutes[fires(parse_cron(start), local)]
    closing = minutes[fires(parse_cron(end), local)]
    span = minutes[: last - first + 1]
    opened = _next(closing, span) <= _next(opening, span)  # neither fires any more: closed
    opened &= _next(closing, span) < np.iinfo(np.int64).max
    edges = np.flatnonzero(np.diff(opened.astype(np.int8), prepend=0, append=0))
    seconds = ((np.append(span, last + 1)[edges]) - zero) * MINUTE_S
    seconds[edges == 0] = -np.inf
    seconds[edges == len(span)] = np.inf
    return tuple((float(a), float(b)) for a, b in seconds.reshape(-1, 2))


def _next(fires: NDArray[np.int64], minutes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first firing strictly after each minute's start; the largest integer where there is none."""
    place = np.searchsorted(fires, minutes, side="right")
    return np.append(fires, np.iinfo(np.int64).max)[place]


def _offsets(minutes: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Minutes to add to UTC for local time."""
    info = _zone(zone)
    if info is UTC:
        return np.zeros(len(minutes), np.int64)
    days = np.arange(minutes[0] // 1440, minutes[-1] // 1440 + 2)
    daily = np.array([_offset(int(day) * 1440, info) for day in days])
    out = daily[minutes // 1440 - days[0]]
    for i in np.flatnonzero(np.diff(daily)):  # the zone changes within this day
        for quarter in range(0, 1440, OFFSET_STEP_MIN):
            at = int(days[i]) * 1440 + quarter
            out[(minutes >= at) & (minutes < at + OFFSET_STEP_MIN)] = _offset(at, info)
    return out


def _offset(minute: int, zone: tzinfo) -> int:
    shift = datetime.fromtimestamp(minute * MINUTE_S, zone).utcoffset() or timedelta(0)
    return round(shift.total_seconds() / MINUTE_S)
