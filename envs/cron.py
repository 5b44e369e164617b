"""Cron schedules of Karpenter's disruption budgets: text -> bit masks, once, at the edge.

Syntax of robfig/cron v3's standard parser, which Karpenter 1.14 uses: five fields (minute, hour, day of
month, month, day of week; UTC), lists, ranges, steps, names of months and days, and @yearly, @monthly,
@weekly, @daily, @hourly. Sunday is 0; 7 is refused, as there. @every is refused by the NodePool's CRD.
"""

from __future__ import annotations

from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# (name, lowest, highest, names of values)
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: i + 1 for i, name in enumerate(_MONTHS)}),
    ("day of week", 0, 6, {name: i for i, name in enumerate(_DAYS)}),
)
ALWAYS, CRON, BROKEN, NEVER_FIRES = 0, 1, 2, 3  # kinds of schedule


class CronMask(NamedTuple):
    """Bit v of a mask: the field may have value v. any_day: a day must match both its fields, else one of them."""

    minute: int
    hour: int
    day: int
    month: int
    weekday: int
    any_day: bool

    @property
    def kind(self) -> int:
        """CRON, or NEVER_FIRES for a date such as 30 February."""
        dates = any(self.month >> m + 1 & 1 and self.day & ((1 << n + 1) - 2) for m, n in enumerate(_MONTH_DAYS))
        return CRON if dates or not self.any_day else NEVER_FIRES


def parse_cron(text: str) -> CronMask:
    """The masks of a schedule. Raises ValueError that says what is wrong."""
    text = text.strip()
    if text.startswith("@"):
        if text not in _NAMED:
            raise ValueError(f"is none of {', '.join(_NAMED)}")
        text = _NAMED[text]
    parts = text.split()
    if len(parts) != 5:
        raise ValueError("needs five fields: minute, hour, day of month, month, day of week")
    found = [_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    minute, hour, day, month, weekday = (mask for mask, _ in found)
    return CronMask(minute, hour, day, month, weekday, found[2][1] or found[4][1])


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> tuple[int, bool]:
    mask, star = 0, False
    for part in filter(None, text.split(",")):
        bits, any_value = _range(part, name, low, high, names)
        mask |= bits
        star |= any_value
    return mask, star


def _range(text: str, name: str, low: int, high: int, names: dict[str, int]) -> tuple[int, bool]:
    """Mask of `*`, `5`, `2-9`, `*/3`, `2-9/3` or `5/3`, and whether it stands for every value."""
    span, *more = text.split("/")
    ends = span.split("-")
    if len(more) > 1 or len(ends) > 2:
        raise ValueError(f"{name}: {text!r} is no range")
    step = _number(more[0], name, {}) if more else 1
    star = ends[0] in ("*", "?")
    if star:
        first, last = low, high
    else:
        first = _number(ends[0], name, names)
        last = _number(ends[1], name, names) if len(ends) == 2 else (high if more else first)
    if first < low or last > high or first > last or step == 0:
        raise ValueError(f"{name}: {text!r} must rise within {low}-{high}, in steps of at least 1")
    return sum(1 << v for v in range(first, last + 1, step)), star and step == 1


def _number(text: str, name: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}: {text!r} is no number")
    return int(text)
