"""The table of choices: what replay chose for each workload, and what every candidate would have cost.

One JSON document with the SHA-256 of its own content. `dump` writes it, `load` refuses one that was changed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

SCHEMA = "trimtab-replay-choices/1"


def content_hash(document: dict[str, Any]) -> str:
    """SHA-256 of the document without its own checksum, keys sorted, no spaces."""
    bare = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def dump(document: dict[str, Any]) -> str:
    """The document as text, with schema and checksum. ValueError for NaN or infinity."""
    whole = {"schema": SCHEMA, **document}
    return json.dumps({**whole, "sha256": content_hash(whole)}, indent=1, allow_nan=False) + "\n"


def load(text: str) -> dict[str, Any]:
    """The document back. Raises ValueError for another schema, a wrong checksum, or no JSON at all."""
    document = json.loads(text)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"not a table of choices: its schema is not {SCHEMA}")
    if document.get("sha256") != content_hash(document):
        raise ValueError("the checksum does not match: the table was changed or cut")
    return document
