"""Tables of prices by instance type and region, and the packed ones that ship with the package.

Only the standard library: `trimtab prices` and the agent read these without pandas or NumPy.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from envs.allocatable import RULE_OF_PROVIDER, Allocatable, allocatable

DATA_DIR = Path(__file__).parent / "data" / "prices"
ANY_REGION = "*"
KINDS = ("on_demand", "spot", "commit_1y", "commit_3y")


@dataclass(frozen=True)
class PriceList:
    """Where a price comes from: the date it was valid on ("2026-07-20") and who published it."""

    date: str
    origin: str


@dataclass(frozen=True)
class Shape:
    """One instance type's size, without prices."""

    name: str
    vcpu: float  # cores
    memory_gib: float
    gpu: int
    arch: str  # amd64 or arm64
    allocatable: Allocatable


@dataclass(frozen=True)
class PriceTable:
    """USD per hour by type and region. Region "*" in a user's own table stands for every region."""

    cells: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    lists: Mapping[str, PriceList] = field(default_factory=dict)  # by region; "*" = all others

    def get(self, name: str, region: str) -> float | None:
        row = self.cells.get(name, {})
        return row.get(region, row.get(ANY_REGION))

    def list_of(self, region: str) -> PriceList:
        return self.lists.get(region) or self.lists[ANY_REGION]

    def regions_of(self, name: str) -> list[str]:
        return sorted(self.cells.get(name, {}))

    @cached_property
    def regions(self) -> frozenset[str]:
        return frozenset(region for row in self.cells.values() for region in row)


@dataclass(frozen=True)
class Packed:
    """Everything that ships for one provider."""

    title: str
    headline: PriceList
    shapes: Mapping[str, Shape]
    tables: Mapping[str, PriceTable]  # by kind; a kind that the lists lack is absent
    interruption: Mapping[str, Mapping[str, str]]  # type, region -> "<5%" ... ">20%" a month


@lru_cache(maxsize=1)
def _sources() -> dict[str, Any]:
    return dict(json.loads((DATA_DIR / "sources.json").read_text(encoding="utf-8")))


def providers() -> list[str]:
    """The providers that ship: aws, azure, gcp."""
    return sorted(set(_sources()) - {"lists"})


@lru_cache(maxsize=4)
def load_packed(provider: str) -> Packed:
    """Read the packed tables of one of `providers()`; cached (some 50-150 ms the first time)."""
    about = _sources()[provider]
    lists = {key: PriceList(**entry) for key, entry in _sources()["lists"].items()}
    tables = {
        kind: PriceTable(
            {name: {r: float(p) for r, p in row.items()} for name, row in _cells(f"{provider}_{kind}")},
            {region: lists[key] for region, key in about[kind].items()},
        )
        for kind in KINDS
        if kind in about
    }
    interruption = dict(_cells(f"{provider}_interruption")) if "interruption" in about else {}
    shapes = {row["type"]: _shape(row, provider) for row in _rows(f"{provider}_types")}
    return Packed(about["name"], lists[about["headline"]], shapes, tables, interruption)


def _cells(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    for row in _rows(name):
        yield row.pop("type"), {region: price for region, price in row.items() if price}


def _rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(DATA_DIR / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def _shape(row: Mapping[str, str], provider: str) -> Shape:
    vcpu, memory_gib, arch = float(row["vcpu"]), float(row["memory_gib"]), row["arch"]
    if row["allocatable_milli_cpu"]:
        cpu, mib = int(row["allocatable_milli_cpu"]) / 1000, int(row["allocatable_mib"])
        room = Allocatable(cpu, mib / 1024, int(row["max_pods"]), "listed")
    else:
        rule = RULE_OF_PROVIDER[provider]
        room = allocatable(rule, vcpu=vcpu, memory_gib=memory_gib, name=row["type"], arch=arch)
    return Shape(row["type"], vcpu, memory_gib, int(row["gpu"]), arch, room)
