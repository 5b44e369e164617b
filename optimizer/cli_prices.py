"""`trimtab prices`: look into the price book."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from envs.prices import PriceBook, PricedType

app = typer.Typer(help="Look into the price book.", no_args_is_help=True, rich_markup_mode="rich")
Sort = Literal["price", "cpu", "name", "price-per-cpu"]
CSV_COLUMNS = (
    "type",
    "vcpu",
    "memory_gib",
    "price_usd_per_h",
    "region",
    "gpu",
    "arch",
    "allocatable_cpu",
    "allocatable_memory_gib",
    "max_pods",
    "spot_usd_per_h",
    "commit_1y_usd_per_h",
    "commit_3y_usd_per_h",
)
Provider = Annotated[str, typer.Option("--provider", help="aws, azure or gcp.")]
Book = Annotated[Path | None, typer.Option("--book", help="Your own price book (CSV or YAML) instead.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def prices() -> None:
    """Look into the price book."""


@app.command("list")
def list_types(
    provider: Provider = "aws",
    region: Annotated[str, typer.Option(help="Region, as the provider writes it.")] = "",
    min_cpu: Annotated[str, typer.Option(help="At least this many cores.")] = "0",
    max_cpu: Annotated[str, typer.Option(help="At most this many cores.")] = "",
    min_memory: Annotated[str, typer.Option(help='At least this much memory, such as "16Gi".')] = "0",
    arch: Annotated[str, typer.Option(help="amd64 or arm64.")] = "",
    gpu: Annotated[int | None, typer.Option(min=0, help="0: without GPU; N: with at least N.")] = None,
    sort: Annotated[Sort, typer.Option(help="What to sort by.")] = "price",
    limit: Annotated[int, typer.Option(min=0, help="Rows to show; 0: all.")] = 40,
    book: Book = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, in the form that --book reads.")] = False,
) -> None:
    """Instance types with size, what is left for pods, and price.

    [bold]Example[/bold]: the cheapest arm64 machines with 4-16 cores, 16 GiB or more, in Ireland

        trimtab prices list --region eu-west-1 --arch arm64 --min-cpu 4 --max-cpu 16 --min-memory 16Gi
    """
    from envs.quantities import parse_cpu, parse_memory

    open_book = _open_book(provider, book)
    where = region or _home_region(open_book)
    found = open_book.types(
        where,
        min_cpu=parse_cpu(min_cpu, field="--min-cpu"),
        max_cpu=parse_cpu(max_cpu, field="--max-cpu") if max_cpu else float("inf"),
        min_memory_gib=parse_memory(min_memory, field="--min-memory"),
        arch=arch or None,
        gpu=gpu,
    )
    found.sort(key=_sort_key(sort))
    shown = found[:limit] if limit else found
    if as_json:
        typer.echo(json.dumps(_as_json(open_book, where, shown), indent=2))
    elif as_csv:
        _write_csv(shown)
    else:
        _print_table(open_book, where, shown, len(found))


@app.command("regions")
def list_regions(provider: Provider = "aws", book: Book = None, as_json: AsJson = False) -> None:
    """Regions of a provider, how many types have a price there, and of which date.

    [bold]Example[/bold]: trimtab prices regions --provider gcp
    """
    open_book = _open_book(provider, book)
    table = open_book.tables["on_demand"]
    rows = [
        {"region": r, "types": sum(r in row for row in table.cells.values()), "date": table.list_of(r).date}
        for r in open_book.regions()
    ]
    if as_json:
        typer.echo(json.dumps({"provider": open_book.provider, "regions": rows}, indent=2))
        return
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in rows[0]:
        grid.add_column(name, justify="right" if name == "types" else "left")
    for row in rows:
        grid.add_row(*map(str, row.values()))
    console = _console()
    console.print(f"{open_book.title}: {len(rows)} regions, with the date of their prices", style="bold")
    console.print(grid)


def _open_book(provider: str, book: Path | None) -> PriceBook:
    from envs.price_file import load_book
    from envs.prices import PriceBook

    return load_book(book) if book is not None else PriceBook.load(provider, at=(None, "--provider"))


def _home_region(book: PriceBook) -> str:
    """The region shown when none is named: the provider's largest in North America, else the first."""
    homes = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1"}
    return homes.get(book.provider) or book.regions()[0]


def _sort_key(sort: Sort) -> Callable[[PricedType], tuple[float | str, ...]]:
    keys: dict[str, Callable[[PricedType], tuple[float | str, ...]]] = {
        "price": lambda t: (t.instance.price_usd_per_h, t.instance.name),
        "cpu": lambda t: (t.instance.vcpu, t.instance.price_usd_per_h, t.instance.name),
        "name": lambda t: (t.instance.name,),
        "price-per-cpu": lambda t: (t.usd_per_vcpu_h, t.instance.name),
    }
    return keys[sort]


def _row(priced: PricedType) -> dict[str, object]:
    one = priced.instance
    return {
        **{"type": one.name, "vcpu": one.vcpu, "memory_gib": one.memory_gib},
        **{"price_usd_per_h": one.price_usd_per_h, "region": priced.region, "gpu": one.gpu, "arch": one.arch},
        "allocatable_cpu": round(one.allocatable_cpu, 3),
        "allocatable_memory_gib": round(one.allocatable_memory_gib, 3),
        "max_pods": one.max_pods,
        "spot_usd_per_h": priced.spot_usd_per_h,
        "commit_1y_usd_per_h": priced.commit_1y_usd_per_h,
        "commit_3y_usd_per_h": priced.commit_3y_usd_per_h,
    }


def _as_json(book: PriceBook, region: str, shown: list[PricedType]) -> dict[str, object]:
    types = [
        {
            **_row(t),
            "usd_per_vcpu_h": round(t.usd_per_vcpu_h, 6),
            "interruption_per_month": t.interruption_per_month or None,
            "allocatable_rule": t.allocatable_rule,
        }
        for t in shown
    ]
    return {"provider": book.provider, "region": region, "sources": _sources(book, region), "types": types}


def _sources(book: PriceBook, region: str) -> dict[str, str]:
    return {kind: book.price_source(kind, region) for kind in book.tables}


def _write_csv(shown: list[PricedType]) -> None:
    writer = csv.DictWriter(sys.stdout, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(t) for t in shown)


def _print_table(book: PriceBook, region: str, shown: list[PricedType], total: int) -> None:
    from rich.table import Table

    console = _console()
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0) if console.width > 90 else (0, 1, 0, 0))
    columns = _columns(shown)
    for name, _ in columns:
        grid.add_column(name, justify="left" if name in ("type", "arch") else "right", no_wrap=name != "type")
    for row in zip(*(cells for _, cells in columns), strict=True):
        grid.add_row(*row)
    console.print(f"{book.title}, {region}: {total} types, USD per hour", style="bold")
    if shown:
        console.print(grid)
    else:
        console.print("No type matches; loosen --min-cpu, --max-cpu, --min-memory, --arch or --gpu.")
    if 0 < len(shown) < total:
        console.print(f"{len(shown)} of {total} types; --limit 0 shows all.", style="dim")
    console.print("* what pods may request, after the system's reservation", style="dim")
    sources = _sources(book, region)
    for source in dict.fromkeys(sources.values()):
        kinds = ", ".join(kind.replace("_", "-") for kind in sources if sources[kind] == source)
        console.print(f"{kinds}: {source}", style="dim", soft_wrap=True)


def _columns(shown: list[PricedType]) -> list[tuple[str, list[str]]]:
    """Heading and cells of each column; columns with nothing to say are left out."""
    columns = [
        ("type", [t.instance.name for t in shown]),
        ("vCPU", [f"{t.instance.vcpu:g}" for t in shown]),
        ("GiB", [f"{t.instance.memory_gib:.4g}" for t in shown]),
        ("GPU", [str(t.instance.gpu or "") for t in shown]),
        ("arch", [t.instance.arch for t in shown]),
        ("vCPU*", [f"{t.instance.allocatable_cpu:.2f}" for t in shown]),
        ("GiB*", [f"{t.instance.allocatable_memory_gib:.1f}" for t in shown]),
        ("pods", [str(t.instance.max_pods) for t in shown]),
        ("$/h", [f"{t.instance.price_usd_per_h:.4f}" for t in shown]),
        ("$/vCPU-h", [f"{t.usd_per_vcpu_h:.4f}" for t in shown]),
        ("spot $/h", [f"{t.spot_usd_per_h:.4f}" if t.spot_usd_per_h is not None else "" for t in shown]),
    ]
    return [(name, cells) for name, cells in columns if any(cells)]


def _console() -> Console:
    """Standard output; wide where it is not a terminal, so that a pipe or a file loses nothing."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(width=width, markup=False, highlight=False)
