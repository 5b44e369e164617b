"""Text to numbers and back, once for the whole project.

Inside units: cores, GiB, seconds, USD, USD per hour, requests per second, shares (0-1). Everything
that a user may write ("250m", "1.5Gi", "$0.19/h", "1h30m", "70%", "120rps") is parsed here, at the
edge, and nowhere else. A bad value raises `envs.errors.InputError` that names the field, the value
and the right units. Plain numbers are taken in the unit that each function states.

Kubernetes quantities follow the API's grammar: a decimal number, then one suffix of
n u m k M G T P E (powers of 1000) or Ki Mi Gi Ti Pi Ei (powers of 1024), or an exponent (12e6).
Arithmetic is exact (fractions) until the last step, so "0.1" and "100m" are the same float.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from envs.errors import InputError

GIB = 2**30
HOURS_PER_MONTH = 730  # the clouds' own convention: 8760 / 12
_MAX_CHARS = 64
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
_WITH_UNIT = re.compile(rf"({_NUMBER})[ ]*([^0-9 ].*)?", re.DOTALL)
_GROUPED = re.compile(r"(?<![0-9,.])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9,])")
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w)")

_SI = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL = {suffix: Fraction(10) ** power for suffix, power in _SI.items()}
_BINARY = {f"{letter}i": Fraction(1024) ** (i + 1) for i, letter in enumerate("KMGTPE")}
_SECONDS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
    "w": Fraction(7 * 86400),
}


@dataclass(frozen=True)
class _Kind:
    """One sort of quantity: `units` maps each right suffix to inside units; `right` teaches them."""

    units: Mapping[str, Fraction]
    right: str
    most: float  # inside units; above it a value is a slip of the pen
    unit: str  # of `most`, for the message
    exponent_with_unit: bool = True


_CPU = _Kind(
    {s: _DECIMAL[s] for s in ("n", "u", "m", "", "k")},
    'CPU is in cores, such as "1.5", or thousandths of a core, such as "250m"',
    1e6,
    "cores",
    exponent_with_unit=False,
)
_MEMORY = _Kind(
    {s: scale / GIB for s, scale in {**_DECIMAL, **_BINARY}.items()},
    'memory is in bytes or with a suffix k M G T P E Ki Mi Gi Ti Pi Ei, such as "1.5Gi" or "512Mi"',
    16 * 2.0**30,
    "GiB",
    exponent_with_unit=False,
)
_QUANTITY = _Kind(
    {**_DECIMAL, **_BINARY},
    'a quantity is a number with one suffix of n u m k M G T P E Ki Mi Gi Ti Pi Ei, such as "500m" or "10k"',
    1e24,
    "",
    exponent_with_unit=False,
)
_RATE_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_RATE = _Kind(
    {
        **{"": Fraction(1), "rps": Fraction(1), "rpm": Fraction(1, 60), "qps": Fraction(1)},
        **{"k": Fraction(1000), "krps": Fraction(1000)},
        **{f"{n}/{u}": Fraction(1, s) for n in ("", "req", "requests") for u, s in _RATE_UNITS.items()},
    },
    'a rate is in requests per second, such as "120rps", "120/s" or "7200/min"',
    1e12,
    "requests/s",
)
_USD_PER_H = _Kind(
    {u: Fraction(1) for u in ("", "/h", "/hr", "/hour", "USD/h", "USD/hr", "USD/hour")},
    'a price is in US dollars per hour, such as "$0.19/h" or 0.19',
    1e9,
    "USD/h",
)
_USD = _Kind(
    {"": Fraction(1), "USD": Fraction(1), "k": Fraction(1000), "M": Fraction(10**6)},
    'an amount is in US dollars, such as "$250", "250 USD" or 250',
    1e15,
    "USD",
)
_NUMBER_KIND = _Kind({"": Fraction(1)}, "a plain number is wanted", 1e300, "")
_SHARE = _Kind({"": Fraction(1), "%": Fraction(1, 100)}, 'a share is written "70%" or 0.7', 1e9, "")
_PERCENT = _Kind({"": Fraction(1), "%": Fraction(1)}, 'a percentage is written "70%" or 70', 1e9, "%")


def parse_cpu(raw: object, *, file: Path | str | None = None, field: str = "cpu") -> float:
    """Cores. "250m" -> 0.25, "1.5" -> 1.5, 2 -> 2.0. Binary suffixes and M upwards are refused."""
    return _parse(raw, _CPU, file, field)


def parse_memory(raw: object, *, file: Path | str | None = None, field: str = "memory") -> float:
    """GiB. "1.5Gi" -> 1.5, "512Mi" -> 0.5, "2G" -> 1.862..., 1073741824 (bytes) -> 1.0.

    A value above zero but under 1 KiB is refused: nobody means it ("512m" is half a byte, 2 is two bytes).
    """
    gib = _parse(raw, _MEMORY, file, field)
    if 0 < gib * GIB < 1024:
        raise InputError(file, field, raw, f"that is {gib * GIB:g} bytes; {_MEMORY.right}")
    return gib


def parse_quantity(raw: object, *, file: Path | str | None = None, field: str = "value") -> float:
    """Any Kubernetes quantity as a plain number: "500m" -> 0.5, "10k" -> 10000.0, "1Ki" -> 1024.0."""
    return _parse(raw, _QUANTITY, file, field)


def parse_rate(raw: object, *, file: Path | str | None = None, field: str = "rate") -> float:
    """Requests per second. "120rps", "120/s", 120 -> 120.0; "7200/min" -> 120.0."""
    return _parse(raw, _RATE, file, field)


def parse_usd_per_h(raw: object, *, file: Path | str | None = None, field: str = "price") -> float:
    """US dollars per hour. "$0.19/h", "0.19 USD/h", "0.19", 0.19 -> 0.19.

    "$0.19" alone is refused (per what?), and so is any other period.
    """
    text = raw.strip() if isinstance(raw, str) else raw
    if isinstance(text, str) and "$" in text and "/" not in text:
        raise InputError(file, field, raw, f"say that it is per hour: {_USD_PER_H.right}")
    if isinstance(text, str) and re.search(r"/\s*(mo|month|y|yr|year|d|day)\w*$", text, re.IGNORECASE):
        mend = f"{_USD_PER_H.right}; the clouds count {HOURS_PER_MONTH} hours a month"
        raise InputError(file, field, raw, mend)
    return _parse(_without_dollar(raw), _USD_PER_H, file, field)


def parse_usd(raw: object, *, file: Path | str | None = None, field: str = "amount") -> float:
    """US dollars, not per anything. "$1,250.50", "250 USD", 250 -> dollars; "$0.19/h" is refused."""
    return _parse(_without_dollar(raw), _USD, file, field)


def parse_duration(raw: object, *, file: Path | str | None = None, field: str = "duration") -> float:
    """Seconds. "90s", "5m", "1h30m", "2d", "250ms"; a plain number is seconds. Up to 100 years."""
    right = 'a duration is in seconds or with units ms s m h d w, such as "90s", "5m" or "1h30m"'
    kind = _Kind({"": Fraction(1)}, right, 36500 * 86400.0, "s")
    text = _text(raw, kind, file, field).removeprefix("+")
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return _parse(raw, kind, file, field)
    total = sum((Fraction(number) * _SECONDS[unit] for number, unit in parts), Fraction(0))
    return _in_bounds(raw, total, kind, (file, field))


def parse_share(raw: object, *, file: Path | str | None = None, field: str = "share", maximum: float = 1.0) -> float:
    """A share between 0 and `maximum`: "70%" -> 0.7, 0.7 -> 0.7. 70 is refused: it could be either."""
    share = _parse(raw, _SHARE, file, field)
    if share > maximum:
        raise InputError(file, field, raw, f"must be at most {format_percent(maximum)}; {_SHARE.right}")
    return share


def parse_percent(raw: object, *, file: Path | str | None = None, field: str = "percent") -> float:
    """Percent, as in an HPA's averageUtilization: "80%" and 80 -> 80.0; over 100 is allowed."""
    return _parse(raw, _PERCENT, file, field)


def parse_number(
    raw: object,
    *,
    file: Path | str | None = None,
    field: str = "number",
    minimum: float = 0.0,
    maximum: float = math.inf,
) -> float:
    """A finite plain number between `minimum` and `maximum`, both allowed."""
    value = _parse(raw, _NUMBER_KIND, file, field, signed=minimum < 0)
    if not minimum <= value <= maximum:
        raise InputError(file, field, raw, _between(minimum, maximum))
    return value


def parse_int(
    raw: object,
    *,
    file: Path | str | None = None,
    field: str = "count",
    minimum: int = 0,
    maximum: int = 10**9,
) -> int:
    """A whole number between `minimum` and `maximum`; "5" and 5.0 count, "5.5" and true do not."""
    value = _parse(raw, _NUMBER_KIND, file, field, signed=minimum < 0)
    if value != int(value):
        raise InputError(file, field, raw, "must be a whole number")
    if not minimum <= value <= maximum:
        raise InputError(file, field, raw, _between(minimum, maximum))
    return int(value)


def format_cpu(cores: float) -> str:
    """250m under one core, else 1.5. Rounded to a thousandth of a core."""
    milli = round(cores * 1000)
    return f"{milli}m" if 0 < milli < 1000 else _trim(f"{milli / 1000:.3f}")


def format_memory(gib: float) -> str:
    """512Mi under one GiB (to 0.01 MiB), else 1.5Gi (to 0.001 GiB)."""
    if round(gib, 3) >= 1 or gib == 0:
        return _trim(f"{gib:.3f}") + "Gi"
    return _trim(f"{gib * 1024:.2f}") + "Mi"


def format_usd(usd: float) -> str:
    """$1,250.50: to the cent."""
    sign = "-" if round(usd, 2) < 0 else ""
    return f"{sign}${abs(usd):,.2f}"


def format_usd_per_h(usd_per_h: float) -> str:
    """$0.0042/h: at least two decimals, at most six."""
    digits = f"{usd_per_h:.6f}"
    return f"${digits[:-4]}{digits[-4:].rstrip('0')}/h"


def format_duration(seconds: float) -> str:
    """1h30m, 2d, 0.09s: to the millisecond."""
    left = round(seconds * 1000)
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    if left or not text:
        text += _trim(f"{left // 1000}.{left % 1000:03d}") + "s"
    return text


def format_percent(share: float) -> str:
    """70%, 99.95%, 99.99999%: to 0.01 percentage points, finer where that would round to 0 % or 100 %."""
    tail = min(abs(share), abs(1.0 - share)) * 100.0
    decimals = 2 if tail == 0.0 else min(12, max(2, 1 - math.floor(math.log10(tail))))
    return _trim(f"{share * 100:.{decimals}f}") + "%"


def format_rate(per_s: float) -> str:
    """120rps: to 0.001 requests per second."""
    return _trim(f"{per_s:.3f}") + "rps"


def _parse(raw: object, kind: _Kind, file: Path | str | None, field: str, *, signed: bool = False) -> float:
    text = _text(raw, kind, file, field)
    match = _WITH_UNIT.fullmatch(text)
    if match is None:
        raise InputError(file, field, raw, f"is not a number with a unit; {kind.right}")
    number, unit = match[1], (match[2] or "").strip()
    scale = kind.units.get(unit)
    exponent = "e" in number or "E" in number
    if scale is None or (exponent and unit and not kind.exponent_with_unit):
        raise InputError(file, field, raw, _unit_mend(unit, kind))
    return _in_bounds(raw, Fraction(number) * scale, kind, (file, field), signed=signed)


def _text(raw: object, kind: _Kind, file: Path | str | None, field: str) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise InputError(file, field, type(raw).__name__, f"is neither text nor a number; {kind.right}")
    if isinstance(raw, int) and abs(raw) > 10**60:
        raise InputError(file, field, "a whole number of over 60 digits", f"is too large; {kind.right}")
    if isinstance(raw, float) and not math.isfinite(raw):
        raise InputError(file, field, raw, f"is not a finite number; {kind.right}")
    if isinstance(raw, str):
        text = raw.strip()
    else:
        text = str(float(raw)) if isinstance(raw, float) else str(raw)
    if len(text) > _MAX_CHARS:
        raise InputError(file, field, raw, f"is longer than {_MAX_CHARS} characters; {kind.right}")
    if not text:
        raise InputError(file, field, raw, f"is empty; {kind.right}")
    return text


def _in_bounds(
    raw: object, value: Fraction, kind: _Kind, at: tuple[Path | str | None, str], *, signed: bool = False
) -> float:
    if value < 0 and not signed:
        raise InputError(*at, raw, f"must not be negative; {kind.right}")
    if abs(value) > Fraction(kind.most):
        limit = f"{kind.most:g} {kind.unit}".strip()
        raise InputError(*at, raw, f"is too large (the most is {limit}); {kind.right}")
    return float(value)


def _unit_mend(unit: str, kind: _Kind) -> str:
    bare = unit.removesuffix("B")
    if bare != unit and bare in kind.units:
        return f'write "{bare}" for "{unit}"; {kind.right}'
    return f"unit {unit[:20]!r} does not fit here; {kind.right}"


def _without_dollar(raw: object) -> object:
    """Drop one leading dollar sign, and thousands separators where they are grouped by three."""
    if not isinstance(raw, str):
        return raw
    text = raw.strip()
    sign = "-" if text.startswith("-$") else ""
    return sign + _GROUPED.sub(lambda m: m[1].replace(",", ""), text.removeprefix(sign).removeprefix("$"))


def _between(minimum: float, maximum: float) -> str:
    if math.isinf(maximum):
        return f"must be at least {minimum:g}"
    return f"must be between {minimum:g} and {maximum:g}"


def _trim(digits: str) -> str:
    """Drop trailing zeros of the decimals ("1.50" -> "1.5", "2.00" -> "2")."""
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
