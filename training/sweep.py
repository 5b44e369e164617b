"""A sweep: one training run per combination of settings and seed, each in a folder of its own.

The folder of a member is named after what sets it apart, so a larger sweep into the same place finds what a smaller
one has finished.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.document_path import schema_paths, split_path
from envs.errors import InputError
from envs.nearest import did_you_mean, nearest_names
from envs.vary import parse_axis, parse_value
from training.config import TrainConfig, checked

Override = tuple[str, str]  # (path, text), as `--set path=text` says it
FLAG = "--set"
OTHERWISE = {
    "seed": "is swept by --seeds N (from --seed on)",
    "threads": "changes no number; --workers says how many members train at once",
    "name": "is the policy's; members tell themselves apart by their folders",
}
MEMBERS_MAX = 10_000


@dataclass(frozen=True)
class Member:
    """One run of a sweep. settings: what differs from the configuration as given."""

    config: TrainConfig
    settings: tuple[Override, ...]
    folder: Path

    @property
    def setting(self) -> str:
        """What its seeds share: "ppo.learning_rate=1e-4, ppo.epochs=2"; "as given" for nothing."""
        return ", ".join(f"{path}={text}" for path, text in self.settings) or "as given"

    @property
    def label(self) -> str:
        seed = f"seed {self.config.seed}"
        return f"{self.setting}, {seed}" if self.settings else seed


def combinations(sets: Sequence[str]) -> list[tuple[Override, ...]]:
    """The grid of `path=v1,v2` texts, the last one varying fastest; one empty combination without any.

    Raises InputError for a path that is no setting (it names the nearest), or is given twice.
    """
    known = settable()
    axes: list[list[Override]] = []
    for text in sets:
        path, values = parse_axis(text, FLAG, "ppo.learning_rate=1e-4,3e-4")
        if path in OTHERWISE:
            raise InputError(FLAG, path, None, OTHERWISE[path])
        if path not in known:
            raise InputError(FLAG, path, None, _nearest(path, known))
        if any(axis[0][0] == path for axis in axes):
            raise InputError(FLAG, path, None, "is given twice; put all values into one: path=v1,v2")
        axes.append([(path, value) for value in values])
    return list(itertools.product(*axes))


def settable() -> list[str]:
    """Every setting of a configuration, as a path; sections are none."""
    paths = [path for path in schema_paths(TrainConfig) if ".*" not in path]  # a list is set as a whole
    return [p for p in paths if p not in OTHERWISE and not any(q.startswith(f"{p}.") for q in paths)]


def _nearest(path: str, known: Sequence[str]) -> str:
    """The mend for an unknown path: by its last name in any section, else as a whole, else some of them."""
    by_last = {one.rsplit(".", 1)[-1]: one for one in reversed(known)}
    near = [by_last[name] for name in nearest_names(path.rsplit(".", 1)[-1], by_last)]
    return _or(near) if near else did_you_mean(path, known, noun="setting")


def _or(near: Sequence[str]) -> str:
    return "unknown setting; did you mean " + " or ".join(f'"{one}"' for one in near) + "?"


def members_of(base: TrainConfig, sets: Sequence[str], seeds: int, place: Path) -> list[Member]:
    """Setting by setting, its seeds base.seed, +1, ...; every configuration is checked. Raises InputError."""
    grid = combinations(sets)
    if len(grid) * seeds > MEMBERS_MAX:
        raise InputError(FLAG, "grid", len(grid) * seeds, f"is too large; at most {MEMBERS_MAX:,} runs")
    members = []
    for settings in grid:
        document = base.model_dump(mode="json")
        for path, text in settings:
            _put(document, split_path(path), parse_value(path, text, FLAG))
        for k in range(seeds):
            config = checked({**document, "seed": base.seed + k}, FLAG)
            members.append(Member(config, settings, place / folder_name(settings, config.seed)))
    return members


def _put(document: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        document = document[key]
    document[keys[-1]] = value


def folder_name(settings: Sequence[Override], seed: int) -> str:
    """Readable, safe on every file system, and its own for each combination."""
    if not settings:
        return f"seed{seed}"
    text = "_".join(f"{path.rsplit('.', 1)[-1]}-{value}" for path, value in settings)
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:60]
    clash = hashlib.sha256(repr(tuple(settings)).encode()).hexdigest()[:4]
    return f"{readable}-{clash}-seed{seed}"
