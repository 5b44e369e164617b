"""What must never reach a tracking server, a log or a file of the run: passwords, tokens, keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
SECRET = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|credential|api[-_.]?key|access[-_.]?key|private[-_.]?key|auth)$"
)
IN_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]+@")
IN_QUERY = re.compile(r"(?i)([?&](?:sig|signature|token|key|password|secret)[^=&\s]*=)[^&\s]+")


def masked(text: str) -> str:
    """Without the user part of URLs (user:password@) and without signatures in queries."""
    return IN_QUERY.sub(rf"\1{HIDDEN}", IN_URL.sub(rf"\1{HIDDEN}@", text))


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as dotted names and texts; values of names that sound secret are hidden."""
    found: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        else:
            found[name] = HIDDEN if SECRET.search(str(key)) else masked(str(value))
    return found
