"""`trimtab whatif`: every stack x variation x seed on a scenario."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envs.errors import InputError

if TYPE_CHECKING:
    from optimizer.whatif import WhatIf

HELP = """What a scenario would have cost, and which SLOs it would have broken, stack by stack.

Runs every stack x variation x seed as one grid on all cores, prints the comparison, and leaves a
folder with report.html (open it in a browser, it needs no network), results.csv, results.parquet and
the 5-minute rows. The first row is what the others are compared with.

Example: two weeks of a web shop under three autoscaler settings

    trimtab whatif webshop --stacks hpa-default,hpa-cpu-70,rps-target

Example: your own traffic, two sets of machines, five seeds

    trimtab whatif mine.yaml --vary 'node_pools.web.instance_types=[m7i.xlarge],[c7i.xlarge]' --seeds 5 --out compare

With --bound each row also says how far it is above the cost that no policy could have gone below.

Ctrl-C keeps what is finished; the same command with --resume goes on from there.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("whatif", help=HELP)(whatif)


def whatif(
    scenario: Annotated[
        str, typer.Argument(help="A scenario of the gallery (`trimtab scenario list`) or a YAML file.")
    ],
    stacks: Annotated[
        str, typer.Option(help="Stacks to compare, by name or file: a,b,c. Default: the scenario's own.")
    ] = "",
    vary: Annotated[
        list[str] | None, typer.Option(help="path=v1,v2: one row per value; several make every combination.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Simulate only the first days.")] = None,
    seeds: Annotated[int, typer.Option(help="Random seeds per row; more of them narrow the interval.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: ./whatif-NAME, a fresh one.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes. Default: every core. Changes no number.")] = None,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Add rows at half and twice the CPU requests for stacks on CPU."),
    ] = False,
    bound: Annotated[
        bool, typer.Option("--bound", help="Add what perfect foresight would have paid for the same service.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start afresh in a folder of a former run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
) -> None:
    names = [name.strip() for name in stacks.split(",") if name.strip()]
    varies = list(vary or ())
    place = out or _default_output(scenario, resume=resume)
    from optimizer import whatif as engine
    from optimizer.progress import DaysBar

    with DaysBar(sys.stderr) as bar:
        try:
            result = engine.run(
                scenario,
                stacks=names or None,
                vary=varies,
                days=days,
                seeds=seeds,
                out=place,
                jobs=jobs,
                resume=resume,
                force=force,
                sensitivity=sensitivity,
                bound=bound,
                progress=bar,
            )
        except KeyboardInterrupt:
            bar.stop()
            done = f"{bar.cells_done} of {bar.cells} cells are finished"
            typer.echo(f"trimtab: interrupted; {done} in {place}. The same command with --resume goes on.", err=True)
            raise typer.Exit(130) from None
    flags = [flag for flag, given in (("--sensitivity", sensitivity), ("--bound", bound)) if given]
    command = command_line(scenario, names, varies, days=days, seeds=seeds, flags=flags)
    if report:
        from optimizer.report.report import write_report

        write_report(result, place / "report.html", command=command)
    _show(result, place, as_json=as_json, report=report)


def _show(result: WhatIf, place: Path, *, as_json: bool, report: bool) -> None:
    if as_json:
        from optimizer.whatif_json import document

        typer.echo(document(result))
        return
    from optimizer.whatif_console import print_result

    print_result(result)
    names = [*(["report.html"] if report else []), "results.csv", "results.parquet", "timeline.parquet"]
    typer.echo(f"\nIn {place}: " + ", ".join(names))


def _default_output(scenario: str, *, resume: bool) -> Path:
    """./whatif-NAME; -2, -3, ... when a former run is there, so that a second try never needs --out."""
    from optimizer.cell_store import free_output, latest_output

    name = Path(scenario).stem if scenario else ""
    if not name:
        raise InputError(None, "SCENARIO", scenario, "give a name of the gallery or a YAML file")
    return latest_output(name, Path()) if resume else free_output(name, Path())


def command_line(
    scenario: str, stacks: list[str], vary: list[str], *, days: float | None, seeds: int, flags: list[str]
) -> str:
    """The command that gives the same numbers; where they go and on how many cores is left out."""
    import shlex

    words = ["trimtab", "whatif", scenario]
    words += ["--stacks", ",".join(stacks)] if stacks else []
    for text in vary:
        words += ["--vary", text]
    words += ["--days", f"{days:g}"] if days is not None else []
    words += ["--seeds", str(seeds)] if seeds != 1 else []
    return shlex.join([*words, *flags])
