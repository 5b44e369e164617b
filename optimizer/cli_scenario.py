"""`trimtab scenario`: list, show, check and make scenarios."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="List, show, check and make scenarios: a cluster, its load, its prices and a horizon in YAML.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="PATH=VALUE",
        help="Change a value first, such as traffic_scale=2 or 'workloads.*.start_delay=60s'.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite FILE if it exists.")]


@app.callback()
def scenario() -> None:
    """List, show, check and make scenarios."""


@app.command("list")
def list_() -> None:
    """List the gallery: scenarios that come with Trimtab. Any of the names works as SCENARIO elsewhere."""
    from optimizer.scenario_tables import gallery_table, print_wide

    print_wide(gallery_table())


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A gallery name or a YAML file.")],
    vary: Vary = None,
    limit: Annotated[int, typer.Option(min=1, help="Workloads to show.")] = 40,
) -> None:
    """Show what a scenario holds: workloads with their load, node pools with prices, stacks.

    [bold]trimtab scenario show webshop[/bold]
    [bold]trimtab scenario show my.yaml --vary traffic_scale=1.5[/bold]
    """
    from envs.scenario_file import load_scenario, load_traces
    from optimizer.scenario_tables import print_scenario

    loaded = load_scenario(name, overrides=_one_variation(vary))
    print_scenario(loaded, load_traces(loaded), limit=limit)


@app.command("check")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file or a gallery name.")],
    vary: Vary = None,
) -> None:
    """Check a scenario file: one OK line with what was found, or exit code 2 with what to mend.

    Checked are the YAML itself, every field and unit, names of instance types, stacks and regions, that each
    pod fits a node, that each load file can be read and covers the horizon.
    """
    from envs.scenario_file import load_scenario, load_traces
    from envs.vary import expand
    from optimizer.scenario_tables import check_line

    for overrides in expand(vary or []):
        loaded = load_scenario(file, overrides=overrides)
        typer.echo(check_line(loaded, load_traces(loaded), overrides))


@app.command("init")
def init(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.yaml", help="The file to write.")],
    load: Annotated[
        Path | None, typer.Option("--load", help="Your traffic: CSV, CSV.gz or Parquet, requests/s.")
    ] = None,
    manifests: Annotated[
        Path | None, typer.Option("--from-manifests", metavar="DIR", help="Your Kubernetes manifests.")
    ] = None,
    provider: Annotated[str, typer.Option(help="aws, azure or gcp.")] = "aws",
    region: Annotated[str, typer.Option(help="Region whose prices to use.")] = "",
    max_gap: Annotated[str, typer.Option(help="With --load: longest gap to bridge, such as 2h.")] = "1h",
    force: Force = False,
) -> None:
    """Write a commented scenario from your traffic or from your manifests.

    What neither says is guessed and marked [bold]# guess[/bold]; what cannot be simulated yet
    is listed at the top.

    [bold]trimtab scenario init --load traffic.csv --out mine.yaml[/bold]
    [bold]trimtab scenario init --from-manifests k8s/ --out mine.yaml[/bold]
    """
    from envs.errors import InputError
    from envs.quantities import parse_duration
    from envs.scenario_draft import DEFAULT_REGIONS, draft_from_load, write_draft
    from envs.scenario_writer import check_place

    if (load is None) == (manifests is None):
        raise InputError(None, "--load", None, "give exactly one of --load FILE and --from-manifests DIR")
    check_place(out, force=force)
    where = region or DEFAULT_REGIONS.get(provider, "")
    if load is not None:
        gap = parse_duration(max_gap, field="--max-gap")
        draft = draft_from_load(load, out, provider=provider, region=where, max_gap_s=gap)
    else:
        from envs.manifests import draft_from_manifests

        assert manifests is not None
        draft = draft_from_manifests(manifests, provider=provider, region=where)
    text = write_draft(draft, out, force=force)
    guesses = sum("# guess" in line and not line.startswith("#") for line in text.splitlines())
    typer.echo(
        f"wrote {out}: {len(draft.document['workloads'])} workloads, {guesses} values marked # guess, "
        f"{len(draft.notes)} notes at the top; next: trimtab scenario show {out}"
    )


@app.command("schema")
def schema(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it to a file.")] = None,
    force: Force = False,
) -> None:
    """Print the JSON Schema of a scenario file, for completion and checks in your editor.

    With the YAML language server, put this on the file's first line:
    [bold]# yaml-language-server: $schema=scenario.schema.json[/bold]
    """
    import json

    from envs.scenario_file import scenario_schema
    from envs.scenario_writer import write_new

    text = json.dumps(scenario_schema(), indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_new(out, text, force=force)
        typer.echo(f"wrote {out}")


def _one_variation(vary: list[str] | None) -> tuple[tuple[str, str], ...]:
    from envs.errors import InputError
    from envs.vary import expand

    variations = expand(vary or [])
    if len(variations) > 1:
        raise InputError("--vary", "values", len(variations), "give one value each here; whatif takes several")
    return variations[0]
