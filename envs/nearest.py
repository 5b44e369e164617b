"""The right names nearest to a wrong one, for messages that say how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MAX_NAME = 64  # difflib is quadratic in the length


def nearest_names(name: object, right: Iterable[str], *, count: int = 3) -> list[str]:
    """Up to `count` of the `right` names that are most like `name`, best first; maybe none.

    Case does not matter, and a right name that starts with `name` or holds it counts as near.
    """
    wanted = str(name)[:_MAX_NAME].lower()
    by_lower = {candidate.lower(): candidate for candidate in right}
    near = difflib.get_close_matches(wanted, by_lower, n=count, cutoff=0.6)
    if len(wanted) >= 3:
        near += sorted((c for c in by_lower if wanted in c and c not in near), key=lambda c: (len(c), c))
    return [by_lower[key] for key in near[:count]]


def did_you_mean(name: object, right: Iterable[str], *, noun: str, plural: str = "") -> str:
    """The mend for an unknown name: 'unknown stack; did you mean "hpa-cpu-50"?', else the right names."""
    names = sorted(right)
    near = nearest_names(name, names)
    if near:
        return f"unknown {noun}; did you mean {' or '.join(map(_quoted, near))}?"
    if not names:
        return f"unknown {noun}; there are none"
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"unknown {noun}; the {plural or noun + 's'} are {shown}"


def _quoted(name: str) -> str:
    return f'"{name}"'
