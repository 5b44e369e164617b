"""`trimtab evaluate`: policies on load that they never saw, per source, at equal SLO, with intervals."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envs.errors import InputError

if TYPE_CHECKING:
    from optimizer.evaluate_cases import Kind

HELP = """How good are policies on load that they never saw: dollars at equal SLO, per source, with intervals.

A policy is any stack, by name or file. Each runs at its own setting and at eight others of its dial (its frontier) on
every case; the last one is compared with each of the others. All is paired: the same load, the same random delays.

--load-dir takes a folder of recorded load (CSV, CSV.gz or Parquet; manifest.csv groups traces by source). A trace
becomes a service by a fixed rule, and is judged for three days after two days of history, in a cluster and alone.

Example: three autoscalers on your own recordings

    trimtab evaluate --policies hpa-default,hpa-tuned,replay --load-dir traces --out judged

Example: on the training suite that ships, three seeds, as JSON

    trimtab evaluate --policies hpa-tuned,rps-tuned --suite train --seeds 3 --json figures.json

Example: the robustness suite, in which one thing goes wrong at a time

    trimtab evaluate --policies hpa-tuned,karpenter-balanced --suite robustness --out robust

Ctrl-C keeps what is finished in --out; the same command with --resume goes on from there.
"""
STOPPING = "finishing what is in work; Ctrl-C again stops at once"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate", help=HELP)(evaluate)


def evaluate(
    policies: Annotated[str, typer.Option(help="Stacks by name or file: a,b,c. The last is compared with the others.")],
    suite: Annotated[
        str, typer.Option(help="A suite (train, robustness; of traces: dev, validation), a suite file, or a scenario.")
    ] = "",
    load_dir: Annotated[Path | None, typer.Option(help="A folder of recorded load.")] = None,
    seeds: Annotated[
        int, typer.Option(help="Seeds of each case: other windows of a trace, other noise and delays.")
    ] = 1,
    days: Annotated[float | None, typer.Option(help="Judged days of a case. Default: 3; of a suite its own.")] = None,
    services: Annotated[int, typer.Option(help="Services of a cluster on a trace.")] = 5,
    kinds: Annotated[str, typer.Option(help="Cases of a trace: cluster, alone, or both.")] = "cluster,alone",
    sweep: Annotated[int, typer.Option(help="Settings of each frontier; 0: own settings only.")] = 8,
    sweep_last: Annotated[int | None, typer.Option(help="Likewise of the last policy. Default: as --sweep.")] = None,
    bound: Annotated[bool, typer.Option("--bound", help="Add what perfect foresight would have paid.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for runs, tables and report.html. Default: keep nothing.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes. Default: every core. Changes no number.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted evaluation.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start afresh in a folder of a former evaluation.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html into --out.")] = True,
) -> None:
    from envs.executor import asked_to_stop
    from optimizer import evaluate as engine
    from optimizer.progress import EvaluateBar

    if resume and out is None:
        raise InputError(None, "--resume", None, "say where: --out DIR")
    if json_file is not None and json_file.is_dir():
        raise InputError(None, "--json", str(json_file), "is a folder; give a file")
    if json_file is not None and not os.access(json_file.resolve().parent, os.W_OK):
        raise InputError(None, "--json", str(json_file), "its folder is not there or not writable; give another")
    names = [name.strip() for name in policies.split(",") if name.strip()]
    with EvaluateBar(sys.stderr) as bar, asked_to_stop(lambda: bar.say(STOPPING)) as stop:
        try:
            result = engine.evaluate(
                names, load_dir=load_dir, suite=suite or None, seeds=seeds, days=days, services=services,
                kinds=_kinds(kinds), sweep=sweep, sweep_last=sweep_last, bound=bound, out=out, resume=resume,
                force=force, jobs=jobs, progress=bar, stop=stop,
            )  # fmt: skip
        except KeyboardInterrupt:
            bar.stop()
            where = f"; finished runs are in {out}, --resume goes on from there" if out else ""
            typer.echo(f"trimtab: interrupted{where}", err=True)
            raise typer.Exit(130) from None
    from optimizer.evaluate_console import print_result
    from optimizer.evaluate_json import document

    if json_file is not None:
        json_file.write_text(document(result), encoding="utf-8")
    print_result(result)
    if out is not None:
        from optimizer.evaluate_files import write_files

        command = _command(policies, suite, load_dir, seeds=seeds, days=days, services=services, sweep=sweep)
        typer.echo(f"\nIn {out}: " + ", ".join(write_files(result, out, command=command, report=report)))


def _command(
    policies: str, suite: str, load_dir: Path | None, *, seeds: int, days: float | None, services: int, sweep: int
) -> str:
    """The command that gives the same numbers; where they go and on how many cores is left out."""
    words = ["trimtab", "evaluate", "--policies", policies]
    words += ["--suite", suite] if suite else []
    words += ["--load-dir", str(load_dir)] if load_dir is not None else []
    words += ["--seeds", str(seeds)] if seeds != 1 else []
    words += ["--days", f"{days:g}"] if days is not None else []
    words += ["--services", str(services)] if services != 5 else []
    words += ["--sweep", str(sweep)] if sweep != 8 else []
    return shlex.join(words)


def _kinds(text: str) -> list[Kind]:
    from optimizer.evaluate_cases import KINDS

    asked = [word.strip() for word in text.split(",")]
    wrong = next((word for word in asked if word not in KINDS), None)
    if wrong is not None:
        raise InputError(None, "--kinds", wrong, "must be cluster, alone, or cluster,alone")
    return [kind for kind in KINDS if kind in asked]
