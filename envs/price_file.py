"""A user's own price book: a CSV or YAML file, checked row by row.

CSV has a header; YAML has the same rows under `types:`. Columns: type, vcpu, memory_gib and
price_usd_per_h, and any of those below; an empty cell is "not given". A row without a region holds in
every region. At most 8 MiB, also when unpacked from .gz.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from envs.allocatable import RULE_OF_PROVIDER, Allocatable, allocatable
from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.price_tables import ANY_REGION, PriceList, PriceTable, Shape
from envs.prices import PriceBook, normal_arch
from envs.quantities import parse_int, parse_number
from envs.schema_errors import describe_validation_error
from envs.schema_types import Count, Cpu, StrictModel, UsdPerHour
from envs.yaml_reader import MAX_BYTES, YamlDocument, decode_text, only_mapping, parse_yaml, read_bytes

MAX_ROWS = 200_000
PRICE_COLUMNS = {
    "on_demand": "price_usd_per_h",
    "spot": "spot_usd_per_h",
    "commit_1y": "commit_1y_usd_per_h",
    "commit_3y": "commit_3y_usd_per_h",
}


class BookRow(StrictModel):
    """One instance type, in one region or in all."""

    type: str = Field(max_length=100, pattern=r"^\S+$")
    """Name of the instance type."""
    vcpu: Cpu = Field(gt=0)
    """Cores."""
    memory_gib: float = Field(gt=0)
    """Memory, GiB."""
    price_usd_per_h: UsdPerHour
    """On-demand price, USD per hour."""
    region: str = Field(default=ANY_REGION, max_length=100, pattern=r"^\S+$")
    """Region; every region when not given."""
    gpu: Count = 0
    """Number of GPUs."""
    arch: str = "amd64"
    """amd64 or arm64."""
    allocatable_cpu: Cpu | None = None
    """Cores that pods may request; by the provider's reservation rule when not given."""
    allocatable_memory_gib: float | None = Field(default=None, ge=0)
    """GiB that pods may request; by the provider's reservation rule when not given."""
    max_pods: int | None = Field(default=None, ge=1)
    """Pods per node; the provider's default when not given."""
    spot_usd_per_h: UsdPerHour | None = None
    """Spot price, USD per hour."""
    commit_1y_usd_per_h: UsdPerHour | None = None
    """Price under a commitment of one year, USD per hour."""
    commit_3y_usd_per_h: UsdPerHour | None = None
    """Price under a commitment of three years, USD per hour."""

    @field_validator("memory_gib", "allocatable_memory_gib", mode="before")
    @classmethod
    def _gib(cls, raw: object) -> float:
        return parse_number(raw, field="memory_gib", maximum=1e6)

    @field_validator("max_pods", mode="before")
    @classmethod
    def _pods(cls, raw: object) -> int:
        return parse_int(raw, field="max_pods", minimum=1, maximum=100_000)

    @field_validator("arch")
    @classmethod
    def _arch(cls, raw: str) -> str:
        return normal_arch(raw)

    @model_validator(mode="after")
    def _allocatable_is_part(self) -> BookRow:
        if self.allocatable_cpu is not None and self.allocatable_cpu > self.vcpu:
            raise InputError(None, "allocatable_cpu", self.allocatable_cpu, "is more than vcpu")
        if self.allocatable_memory_gib is not None and self.allocatable_memory_gib > self.memory_gib:
            raise InputError(None, "allocatable_memory_gib", self.allocatable_memory_gib, "is more than memory_gib")
        return self


def load_book(path: Path | str, *, provider: str = "custom") -> PriceBook:
    """The book in a .csv, .csv.gz, .yaml, .yml or .json file. Raises InputError.

    `provider` names the book, and for aws, gcp and azure it chooses the reservation rule of types
    whose allocatable is not given; for other names GKE's rule is taken, the one with no assumption
    about a hypervisor or the number of pods.
    """
    path = Path(path)
    rows = list(_rows(path))
    if not rows:
        raise InputError(path, "file", None, "holds no instance types; give at least one row")
    lines: dict[tuple[str, str], int] = {}
    shapes: dict[str, Shape] = {}
    cells: dict[str, dict[str, dict[str, float]]] = {kind: {} for kind in PRICE_COLUMNS}
    for line, row in rows:
        first = lines.setdefault((row.type, row.region), line)
        if first != line:
            raise InputError(path, f"line {line}: type", row.type, f"is given twice; first on line {first}")
        shape = _shape(row, provider)
        if shapes.setdefault(row.type, shape) != shape:
            mend = "has another size on another line; a type has one size in all regions"
            raise InputError(path, f"line {line}: type", row.type, mend)
        for kind, column in PRICE_COLUMNS.items():
            price = getattr(row, column)
            if price is not None:
                cells[kind].setdefault(row.type, {})[row.region] = price
    listed = PriceList("", str(path))
    tables = {kind: PriceTable(table, {ANY_REGION: listed}) for kind, table in cells.items() if table}
    return PriceBook(provider, str(path), listed, shapes, tables)


def _rows(path: Path) -> Iterator[tuple[int, BookRow]]:
    name = path.name.lower()
    if name.endswith((".yaml", ".yml", ".json")):
        return _yaml_rows(only_mapping(parse_yaml(read_bytes(path), file=path), file=path))
    if name.endswith((".csv", ".csv.gz")):
        data = read_bytes(path)
        return _csv_rows(decode_text(_unzipped(data, path) if name.endswith(".gz") else data, file=path), path)
    raise InputError(path, "file", path.suffix, "must end in .csv, .csv.gz, .yaml, .yml or .json")


def _unzipped(data: bytes, path: Path) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            plain = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise InputError(path, "file", None, "is not a whole gzip file") from None
    if len(plain) > MAX_BYTES:
        raise InputError(path, "file", None, f"unpacks to more than {MAX_BYTES:,} bytes")
    return plain


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, BookRow]]:
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)
    try:
        header = _header(next(reader, []), path)
        for count, cells in enumerate(reader):
            if count >= MAX_ROWS:
                raise InputError(path, f"line {reader.line_num}", None, f"more than {MAX_ROWS:,} rows")
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                mend = f"has {len(cells)} cells, the header {len(header)}"
                raise InputError(path, f"line {reader.line_num}", None, mend)
            given = {c: v.strip() for c, v in zip(header, cells, strict=True) if v.strip()}
            yield reader.line_num, _row(given, path, f"line {reader.line_num}: ")
    except csv.Error as error:
        raise InputError(path, f"line {reader.line_num}", None, f"is not valid CSV: {error}") from None


def _header(cells: list[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    known = list(BookRow.model_fields)
    if not any(names):
        raise InputError(path, "line 1", None, f"is empty; a header is wanted: {', '.join(known[:4])}, ...")
    for name in names:
        if name not in known:
            hint = "; separate columns by commas" if ";" in name or "\t" in name else ""
            mend = did_you_mean(name, known, noun="column") + hint
            raise InputError(path, "line 1", name, mend)
        if names.count(name) > 1:
            raise InputError(path, "line 1", name, "this column is given twice; remove one")
    for name in known[:4]:
        if name not in names:
            raise InputError(path, "line 1", None, f"column {name} is missing; add it")
    return names


def _yaml_rows(document: YamlDocument) -> Iterator[tuple[int, BookRow]]:
    for key in document.data:
        if key != "types":
            mend = did_you_mean(key, ["types"], noun="key")
            raise InputError(document.file, f"line {document.line_of((key,))}: {key}", None, mend)
    entries = document.data.get("types")
    if not isinstance(entries, list):
        raise InputError(document.file, "types", None, "a list of instance types is wanted here")
    for i, entry in enumerate(entries):
        line = document.line_of(("types", i))
        if not isinstance(entry, dict):
            raise InputError(document.file, f"line {line}: types[{i}]", entry, "a mapping is wanted here")
        yield line, _row(entry, document.file, f"line {line}: ")


def _row(given: dict[str, Any], path: Path | str, where: str) -> BookRow:
    try:
        return BookRow.model_validate(given)
    except ValidationError as error:
        found = describe_validation_error(error, path, model=BookRow)
        raise InputError(path, where + found.field, found.value, found.mend) from None


def _shape(row: BookRow, provider: str) -> Shape:
    room = allocatable(
        RULE_OF_PROVIDER.get(provider, "gke"),
        vcpu=row.vcpu,
        memory_gib=row.memory_gib,
        max_pods=row.max_pods,
        name=row.type,
        arch=row.arch,
    )
    cpu = room.cpu if row.allocatable_cpu is None else row.allocatable_cpu
    memory = room.memory_gib if row.allocatable_memory_gib is None else row.allocatable_memory_gib
    given = row.allocatable_cpu is not None and row.allocatable_memory_gib is not None
    rule = "given" if given else room.rule
    return Shape(row.type, row.vcpu, row.memory_gib, row.gpu, row.arch, Allocatable(cpu, memory, room.max_pods, rule))
