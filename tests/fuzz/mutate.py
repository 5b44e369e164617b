"""Seeded mutations of inputs: of bytes, of lines, and of the structure of YAML and CSV."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Sequence
from typing import Any

import yaml

NASTY_VALUES: tuple[Any, ...] = (
    *(None, "", " ", True, False, 0, -1, 1, 2**31, 2**63, 10**40, -(10**40), 0.1, -0.5, 1e308),
    *(float("nan"), float("inf"), float("-inf"), "nan", "inf", "1e999", "-0", "0x10", "1_000", "1:30"),
    *("250m", "1.5Gi", "-1Gi", "99999999Ei", "100%", "-5%", "1000%", "$0.19/h", "$-1/h", "90s"),
    *("1h30m", "-3s", "5 parsecs", "no", "yes", "null", "~", "*", "**", "a.b.c", "[x]", "{}", "{n}"),
    *("{n:09}", "{n.__class__}", "../../etc/passwd", "/dev/zero", "/", ".", "a" * 300, "é", "\u2028"),
    *("\U0001f600", "\x07", "\ufeff", "\\", "!!python/object/apply:os.system", "&a", "*a", "%s%n"),
    *("0" * 70, "9" * 400, "m7i.large", "hpa-default", [], {}, [[]], [None], {"": None}, [{}] * 3),
    *({"a": {"b": {"c": []}}}, [1, "a", None], {"name": 1}),
)
NASTY_BYTES: tuple[bytes, ...] = (
    *(b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3(", b"\r", b"\t", b"\n\n", b"---\n"),
    *(b"...\n", b"&a ", b"*a", b"!!str ", b"!x ", b"%YAML 1.1\n", b"<<: *a\n", b"? ", b": ", b"- "),
    *(b"[", b"]", b"{", b"}", b"'", b'"', b"|\n", b">-\n", b"#", b",", b";", b"nan", b"inf", b"1e999"),
    *(b"-1", b"9" * 80, b'"\n"', b",,,", b"2026-01-01T00:00:00Z", b"2026-01-01", b"{{ .Values.x }}"),
    *(b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"PAR1"),
)
MAX_SIZE = 1 << 16
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def mutate_bytes(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to four edits at random places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = _edit(data, others, rng)[:MAX_SIZE]
    return data


def _edit(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + int(rng.expovariate(1 / 12)) + 1)
    match rng.randrange(9):
        case 0:
            return data[:at] + bytes([rng.randrange(256)]) + data[end:]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + rng.choice(NASTY_BYTES) + data[at:]
        case 3:
            return data[:at] + rng.choice(NASTY_BYTES) + data[end:]
        case 4:
            return data[:at] + data[at:end] * rng.randrange(2, 6) + data[end:]
        case 5:
            return data[:at]
        case 6:
            other = rng.choice(others)
            return data[:at] + other[rng.randrange(len(other) + 1) :]
        case 7:
            return _edit_lines(data, rng)
        case _:
            return data[:at] + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 8))) + data[at:]


def _edit_lines(data: bytes, rng: random.Random) -> bytes:
    """Repeat, drop, swap or indent a line."""
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            lines.insert(i, lines[j])
        case 1:
            del lines[i]
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            lines[i] = b" " * rng.randrange(1, 5) + lines[i]
    return b"\n".join(lines)


def mutate_cells(data: bytes, rng: random.Random) -> bytes:
    """Replace cells of a CSV text by nasty values, or repeat columns and rows."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(rng.choice((1, 1, 2, 5))):
        row = rng.choice(rows)
        at = rng.randrange(len(row))
        match rng.randrange(7):
            case 0:
                del row[at]
                row.append(b"") if not row else None
            case 1:
                row.insert(at, rng.choice(row))
            case 2 | 3:
                row[at] = str(rng.choice((0, 1, 60, 90.5, 1e6, 1e-3, 120))).encode()
            case _:
                row[at] = str(rng.choice(NASTY_VALUES)).encode("utf-8", "replace")
    return b"\n".join(b",".join(row) for row in rows)


def mutate_tree(documents: list[Any], rng: random.Random) -> bytes:
    """Replace, delete, rename, move or repeat nodes of YAML documents; the result is YAML again."""
    documents = copy.deepcopy(documents)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        places = [place for document in documents for place in _places(document)]
        if places:
            _change(*rng.choice(places), rng.choice(places), rng)
    text = yaml.dump_all(documents, Dumper=_DUMPER, allow_unicode=True, sort_keys=False, width=120)
    return text.encode("utf-8", "surrogatepass")[:MAX_SIZE]


def _places(node: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything below a node."""
    found: list[tuple[Any, Any]] = []
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    for key in keys:
        found.append((node, key))
        found += _places(node[key])
    return found


def _change(container: Any, key: Any, other: tuple[Any, Any], rng: random.Random) -> None:
    if (isinstance(container, dict) and key not in container) or (
        isinstance(container, list) and key >= len(container)
    ):
        return
    match rng.randrange(8):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[rng.choice((str(key) + "x", str(key)[:-1], "name", "é", ""))] = container.pop(key)
        case 2 if isinstance(container, list):
            container += [copy.deepcopy(container[key]) for _ in range(rng.randrange(1, 4))]
        case 3 if isinstance(container, dict):
            container[str(rng.choice(NASTY_VALUES))[:50]] = copy.deepcopy(rng.choice(NASTY_VALUES))
        case 4:
            source, name = other
            value = source[name] if _has(source, name) else None
            container[key] = copy.deepcopy(value)
        case 5 | 6 if isinstance(container[key], int | float) and not isinstance(container[key], bool):
            container[key] = container[key] * rng.choice((-1, 0, 0.5, 2, 3, 1000, 1e9, 1e30))
        case 5 | 6 if isinstance(container[key], str):
            container[key] = _other_number(container[key], rng)
        case _:
            container[key] = copy.deepcopy(rng.choice(NASTY_VALUES))


def _other_number(text: str, rng: random.Random) -> str:
    """The text with another number in it ("90s" as "9s"), so that units stay and bounds are met."""
    return re.sub(r"[0-9.]+", lambda _: str(rng.choice((0, 1, 2, 7, 60, 999, 0.5, 1e6))), text, count=1)


def _has(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)
