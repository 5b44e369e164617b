"""Numbers as people read them, shared by the terminal and the report."""

from __future__ import annotations

import math


def usd(value: float) -> str:
    """$1,234.56; whole dollars from 100,000 on; two digits that count for small unit prices."""
    if not math.isfinite(value):
        return "—"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size >= 100_000:
        return f"{sign}${size:,.0f}"
    if size >= 0.995 or size == 0:
        return f"{sign}${size:,.2f}"
    return f"{sign}${size:.3f}" if size >= 0.0995 else f"{sign}${size:.3g}"


def ratio(value: float) -> str:
    """A good-request ratio, with two digits that count of what is missing to 100 %: 99.95 %, 99.9987 %."""
    if not math.isfinite(value):
        return "—"
    if value >= 1.0:
        return "100 %"
    digits = min(8, max(2, 1 - math.floor(math.log10(100.0 * (1.0 - value)))))
    whole, _, decimals = f"{100.0 * value:.{digits}f}".partition(".")
    if whole == "100":
        return "over 99.999999 %"
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')} %"


def target(value: float) -> str:
    """An objective as it was written: 99.9 %."""
    return f"{100.0 * value:.10g} %"


def dollars(value: float) -> str:
    """Whole dollars for a sentence; with cents below a hundred."""
    return f"${value:,.0f}" if value >= 100 else usd(value)


def percent(value: float, digits: int = 1) -> str:
    if not math.isfinite(value):
        return "—"
    return f"{100.0 * value:.{digits}f} %".replace("-", "−")


def count(value: float) -> str:
    """12 340 000 as 12.3 M."""
    for size, unit in ((1e9, "bn"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:,.3g} {unit}" if scaled < 1000 else f"{scaled:,.0f} {unit}"
    return f"{value:,.0f}"


def more(value: float) -> str:
    """A difference of counts with its sign: +12.3 k, −40; "none" when it is less than one."""
    if abs(value) < 0.5:
        return "none"
    return f"{'+' if value > 0 else '−'}{count(abs(value))}"


def more_usd(value: float) -> str:
    """A difference of dollars with its sign, to the cent."""
    return "±$0.00" if abs(value) < 0.005 else f"{'+' if value > 0 else '−'}${abs(value):,.2f}"


def saving(share: float, low: float, high: float) -> str:
    """ "12.3 % [11.0, 13.5]", without the interval where there is none."""
    if not math.isfinite(share):
        return "—"
    text = f"{100.0 * share:+.1f} %"
    if math.isfinite(low):
        text += f" [{100.0 * low:+.1f}, {100.0 * high:+.1f}]"
    return text.replace("-", "−")


def names(items: tuple[str, ...] | list[str], limit: int = 5) -> str:
    """ "a, b and 3 more"."""
    if len(items) <= limit:
        return ", ".join(items)
    return ", ".join(items[:limit]) + f" and {len(items) - limit} more"
