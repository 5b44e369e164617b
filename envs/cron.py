"""Cron expressions as Kubernetes reads them, and the windows that a start and an end expression span.

Five fields (minute, hour, day of month, month, day of week), with lists, ranges, steps and names, in a time
zone. If both day fields are restricted, either one matches. Rules: crontab(5) as robfig/cron v3 reads it,
which CronJobs, KEDA's cron scaler and Karpenter's budgets use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from envs.errors import InputError

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {3: {n: i + 1 for i, n in enumerate(_MONTHS)}, 4: {n: i for i, n in enumerate(_DAYS)}}
_PART = re.compile(r"(\*|\?|[0-9a-z]+(?:-[0-9a-z]+)?)(?:/([0-9]+))?\Z")
MINUTE_S = 60
LOOK_AHEAD_S = 366 * 86400  # a window's end is looked for this far
OFFSET_STEP_MIN = 15  # time zones change at quarter hours


@dataclass(frozen=True)
class Cron:
    """One expression; each field is the set of values that match."""

    text: str
    minute: frozenset[int]
    hour: frozenset[int]
    day: frozenset[int]
    month: frozenset[int]
    weekday: frozenset[int]  # 0 = Sunday
    any_day: bool  # day of month is * or ?
    any_weekday: bool

    def fires(self, local_minute: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these minutes (since 1970, local time) it fires in."""
        days = local_minute // 1440
        date = days.astype("datetime64[D]")
        month = date.astype("datetime64[M]")
        day = _among(self.day, (date - month).astype(np.int64) + 1)
        weekday = _among(self.weekday, (days + 4) % 7)
        either = day & weekday if self.any_day or self.any_weekday else day | weekday
        at = _among(self.minute, local_minute % 60) & _among(self.hour, local_minute // 60 % 24)
        return at & either & _among(self.month, month.astype(np.int64) % 12 + 1)


def _among(values: frozenset[int], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    table = np.zeros(64, np.bool_)
    table[list(values)] = True
    return table[numbers]


def parse_cron(text: object, *, field: str = "cron") -> Cron:
    """Raises InputError for anything that is not a five-field expression."""
    said = text if isinstance(text, str) else ""
    parts = said.lower().split()
    if len(parts) != len(_FIELDS) or len(said) > 200:
        mend = 'write five fields: minute hour day-of-month month day-of-week, as "0 8 * * 1-5"'
        raise InputError(None, field, text, mend)
    minute, hour, day, month, weekday = (_values(part, i, field, said) for i, part in enumerate(parts))
    return Cron(said, minute, hour, day, month, weekday, parts[2][0] in "*?", parts[4][0] in "*?")


def _values(part: str, index: int, field: str, text: str) -> frozenset[int]:
    name, low, high = _FIELDS[index]
    found: set[int] = set()
    for piece in part.split(","):
        match = _PART.match(piece)
        if match is None:
            raise InputError(None, field, text, f'"{piece}" is no {name}; as in 0, 8-18, */15, 1,15')
        span, step = match[1], int(match[2] or 1)
        if span in ("*", "?"):
            first, last = low, high
        else:
            ends = [_number(word, index) for word in span.split("-")]
            first, last = ends[0], ends[-1] if len(ends) > 1 or not match[2] else high
        if not low <= first <= last <= high or not 0 < step <= 1000:
            raise InputError(None, field, text, f'"{piece}": {name} runs from {low} to {high}')
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(word: str, index: int) -> int:
    known = _NAMES.get(index, {})
    return known[word] if word in known else (int(word) if word.isdecimal() and len(word) < 5 else -1)


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
    opening = minutes[parse_cron(start).fires(local)]
    closing = minutes[parse_cron(end).fires(local)]
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
