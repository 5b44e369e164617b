"""Frozen dataclasses of arrays to plain dicts and back, exactly; and equality that knows NaN.

Plain means JSON: numbers, strings, lists, dicts. NaN is written as null, infinities as "inf" and
"-inf". Floats survive because Python prints the shortest text that reads back to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeGuard, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
T = TypeVar("T")


def number_out(x: float) -> float | str | None:
    """One float as JSON can hold it."""
    if math.isnan(x):
        return None
    return x if math.isfinite(x) else str(x)


def number_in(x: Any) -> float:
    """The float back; raises ValueError or TypeError for anything else."""
    return math.nan if x is None else float(x)


def _numbers_in(plain: Any) -> Any:
    return [_numbers_in(item) for item in plain] if isinstance(plain, list) else number_in(plain)


def to_plain(value: Any) -> Any:
    """A dataclass, array, tuple, mapping or scalar in JSON's types. Raises TypeError for other types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return [to_plain(item) for item in value.tolist()]
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return number_out(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{type(value).__name__} has no plain form")


@cache
def hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def from_plain(kind: Any, plain: Any) -> Any:
    """The value of type `kind` (a dataclass, Array, float, or a tuple of such) that `plain` was made of.

    Raises TypeError, KeyError or ValueError when `plain` does not have that shape.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        known = hints(kind)
        if set(plain) != {f.name for f in fields(kind)}:
            raise KeyError(f"{kind.__name__}: fields {sorted(plain)}")
        return kind(**{name: from_plain(known[name], item) for name, item in plain.items()})
    if get_origin(kind) is np.ndarray:
        return np.array([_numbers_in(item) for item in plain], np.float64)
    if get_origin(kind) is tuple:
        return tuple(from_plain(get_args(kind)[0], item) for item in plain)
    return number_in(plain) if kind is float else plain


def read_only(array: Any) -> Array:
    """A float64 array that cannot be written to: a copy, or the array itself where nobody can write to it already."""
    if _frozen(array):
        return array
    copy = np.array(array, np.float64)
    copy.flags.writeable = False
    return copy


def _frozen(array: Any) -> TypeGuard[Array]:
    if type(array) is not np.ndarray or array.flags.writeable or array.dtype != np.float64:
        return False
    base = array.base
    return base is None or (type(base) is np.ndarray and not base.flags.writeable)


def equal(a: Any, b: Any) -> bool:
    """Same type, same values bit for bit but for NaN, which equals NaN."""
    return type(a) is type(b) and bool(to_plain(a) == to_plain(b))
