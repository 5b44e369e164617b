"""Catalogs of instance types that Karpenter's cases name: catalogs.jsonl[.gz] beside the vectors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

CATALOGS: dict[str, list[Any]] = {}


def read_catalogs(folder: Path) -> None:
    """Add the folder's catalogs, if it has any, to CATALOGS (id -> instance types)."""
    for path in (folder / "catalogs.jsonl", folder / "catalogs.jsonl.gz"):
        if path.exists():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", encoding="utf-8") as lines:
                CATALOGS.update(
                    {c["id"]: c["types"] for c in map(json.loads, filter(str.strip, lines)) if "types" in c}
                )
