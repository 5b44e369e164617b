"""Pack the collected price lists into `envs/data/prices` (run by hand when the lists change).

    python -m training.make_price_book SOURCE_DIR

One table per provider and kind of price: a row per instance type, a column per region, USD per
hour, an empty cell where there is no price. Types are described once per provider. What is changed
on the way: prices of 0 and types of 0 GiB are dropped; architectures become amd64 or arm64; GPUs and
arm64 of Google Cloud are read from the machine family's name; Azure's constrained sizes
(`E16-4ds_v5`) get the vCPUs that the guest sees (4).
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "envs" / "data" / "prices"
TYPE_COLUMNS = (
    "type",
    "vcpu",
    "memory_gib",
    "gpu",
    "arch",
    "allocatable_milli_cpu",
    "allocatable_mib",
    "max_pods",
)
G2_GPUS = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}  # vCPU -> L4 GPUs
GCP_ARM_FAMILIES = ("t2a", "c4a", "n4a")
Row = Mapping[str, str]
Table = dict[str, dict[str, str]]  # type -> region -> price


def read(source: Path, name: str) -> Iterator[Row]:
    with gzip.open(source / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def pack_aws(source: Path) -> None:
    """us-east-1 from the July 2026 list, every other region from April 2024's."""
    newest = list(read(source, "aws_instances_us_east_1_2026-07"))
    older = list(read(source, "aws_regions_ondemand_spot_2024-04"))
    types = {row["type"]: _type(row, row["gpu"], row["arch"]) for row in [*older, *newest]}
    on_demand = _table((r["type"], r["region"], r["ondemand"]) for r in older if r["region"] != "us-east-1")
    for row in newest:
        on_demand[row["type"]]["us-east-1"] = row["ondemand_us_east_1"]
    advisor = read(source, "aws_spot_advisor_linux_2025-07")
    buckets = ((r["type"], r["region"], r["interruption_per_month"]) for r in advisor)
    _write_types("aws", types)
    _write_table("aws_on_demand", on_demand)
    _write_table("aws_spot", _table((r["type"], r["region"], r["spot_avg"]) for r in older))
    _write_table("aws_interruption", _table((t, r, b) for t, r, b in buckets if t in types))


def pack_azure(source: Path) -> None:
    rows = [row for row in read(source, "azure_ondemand_2026-06") if float(row["mem_gib"]) > 0]
    _write_types("azure", {r["type"]: _type(_constrained(r), r["gpu"], r["arch"]) for r in rows})
    _write_table("azure_on_demand", _table((r["type"], r["region"], r["ondemand"]) for r in rows))


def pack_gcp(source: Path) -> None:
    rows = list(read(source, "gcp_regions_ondemand_spot_commit_2025-06-26"))
    _write_types("gcp", {r["type"]: _type(r, str(_gcp_gpus(r)), _gcp_arch(r["type"])) for r in rows})
    for name, column in (
        ("on_demand", "ondemand"),
        ("spot", "spot"),
        ("commit_1y", "commit_1y_hour"),
        ("commit_3y", "commit_3y_hour"),
    ):
        _write_table(f"gcp_{name}", _table((r["type"], r["region"], r[column]) for r in rows))


def pack_gcp_history(source: Path) -> None:
    """Rows of (date, region, type, spot) where the spot price changed, by region, type and date."""
    rows = sorted(read(source, "gcp_spot_history_2023-05_2025-06"), key=lambda r: (r["region"], r["type"], r["date"]))
    kept: list[list[str]] = []
    for row in rows:
        same = kept and kept[-1][1:] == [row["region"], row["type"], row["spot"]]
        if row["spot"] and not same:
            kept.append([row[name] for name in ("date", "region", "type", "spot")])
    _write("gcp_spot_history", [["date", "region", "type", "spot"], *kept])


def _type(row: Row, gpu: str, arch: str) -> list[str]:
    normal = {"x86_64": "amd64", "i386": "amd64"}.get(arch, arch)
    listed = [row.get("alloc_cpu_milli", ""), row.get("alloc_mem_mib", ""), row.get("max_pods", "")]
    return [row["type"], row["vcpu"], f"{float(row['mem_gib']):.10g}", gpu, normal, *map(_whole, listed)]


def _whole(number: str) -> str:
    return str(int(float(number))) if number else ""


def _constrained(row: Row) -> Row:
    match = re.match(r"Standard_[A-Z]+[0-9]+-([0-9]+)", row["type"])
    return {**row, "vcpu": match[1]} if match else row


def _gcp_gpus(row: Row) -> int:
    family, _, size = row["type"].partition("-")
    if family == "g2":
        return G2_GPUS[int(row["vcpu"])]
    match = re.search(r"gpu-([0-9]+)g$", size)
    return int(match[1]) if match else 0


def _gcp_arch(name: str) -> str:
    return "arm64" if name.partition("-")[0] in GCP_ARM_FAMILIES else "amd64"


def _table(cells: Iterable[tuple[str, str, str]]) -> Table:
    table: Table = defaultdict(dict)
    for name, region, text in cells:
        if text.strip("0."):  # neither empty nor a zero
            table[name][region] = text
    return table


def _write_types(provider: str, types: Mapping[str, list[str]]) -> None:
    _write(f"{provider}_types", [list(TYPE_COLUMNS), *(types[name] for name in sorted(types))])


def _write_table(name: str, table: Table) -> None:
    regions = sorted({region for row in table.values() for region in row})
    rows = [[kind, *(table[kind].get(region, "") for region in regions)] for kind in sorted(table)]
    _write(name, [["type", *regions], *rows])


def _write(name: str, rows: Iterable[list[str]]) -> None:
    """Bytes depend on the rows only: no time stamp and no file name in the gzip header."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    (TARGET / f"{name}.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


def main() -> None:
    source = Path(sys.argv[1])
    TARGET.mkdir(parents=True, exist_ok=True)
    pack_aws(source)
    pack_azure(source)
    pack_gcp(source)
    pack_gcp_history(source)


if __name__ == "__main__":
    main()
