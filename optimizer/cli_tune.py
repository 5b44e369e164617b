"""`trimtab tune`: the best settings of a stack on a suite, or of each service for its own past."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envs.errors import InputError
from optimizer.cli_history import run_history

if TYPE_CHECKING:
    from optimizer.tune import Search, Trial

HELP = """The best settings: of a stack on a suite of scenarios, or (--from-history) of each service for its own past.

--stack NAME: a stack file that whatif takes. Every candidate meets the same load and the same random delays. The first
half of the trials covers the space evenly, the second half looks around the best so far; trial 0 is the stack as it is.
Beside the stack file there are its trials (.trials.jsonl) and a plot of cost against bad requests (.html).

Example: the HPA's settings on the training suite that ships, then the result against the default

    trimtab tune --stack hpa-default --scenarios train --out ours.yaml

    trimtab whatif webshop --stacks hpa-default,ours.yaml

Example: KEDA on your own scenario, at most two weeks, a price of 200 on the share of bad requests

    trimtab tune --stack keda --scenarios mine.yaml --days 14 --objective weighted --weight 200

Ctrl-C keeps what is finished; the same command with --resume goes on from there.

--from-history HISTORY: replays each workload's measured load under today's setting and 75 others (targets x scale-down
windows), each under three beliefs about the capacity of a replica, and proposes the one that would have cost least:
replica dollars plus a price on bad requests. --out DIR takes one patch file a workload for `kubectl patch`, and the
whole table. HISTORY is CSV, CSV.gz or Parquet with a time column and columns such as cart:served_rps, cart:errors_rps,
cart:timeouts_rps (or cart for a plain load); what is refused or gives up counts as offered. Workloads, prices and
today's settings come from the scenario.

Example: the last two weeks, the twenty services that move most money

    trimtab tune --from-history history.csv --scenario mine.yaml --top 20 --out proposals
"""
SUITE, HISTORY = "A stack on a suite", "Each service on its own past"


def _option(panel: str, *words: str, **given: Any) -> Any:
    return typer.Option(*words, rich_help_panel=panel, **given)


STACK = typer.Option(help="Stack to tune; with --from-history, today's (default the scenario's first).")
OUT = typer.Option(help="Stack file, default ./NAME-tuned.yaml; with --from-history a new folder.")
DAYS = typer.Option(help="Only the first days of each scenario; of a history the last (default 14).")
SCENARIOS = _option(SUITE, help="A suite (train), a suite file, or a scenario.")
TRIALS = _option(SUITE, min=1, max=100_000, help="Settings to try.")
OBJECTIVE = _option(SUITE, help="cost@slo: cheapest that meets every SLO. weighted: cost index + weight x bad share.")
WEIGHT = _option(SUITE, min=0, help="Of the bad share, for objective weighted.")
SEED = _option(SUITE, min=0, help="Of the search (a scenario's own seed stays).")
PER_WORKLOAD = _option(SUITE, "--per-workload", help="Hindsight: each workload its own best setting. Not attainable.")
JOBS = _option(SUITE, min=1, help="Processes. Default: every core. Changes no number.")
RESUME = _option(SUITE, "--resume", help="Go on with an interrupted search.")
FORCE = _option(SUITE, "--force", help="Start afresh where files are there already.")
PLOT = _option(SUITE, "--plot/--no-plot", help="Write the plot.")
FILES = _option(HISTORY, "--from-history", metavar="HISTORY", help="Measured load; several files: repeat it.")
SCENARIO = _option(HISTORY, help="YAML file or gallery name with the workloads.")
PRICE = _option(HISTORY, "--violation-price", min=0.0, help="Of a bad share of 1 at an SLO of 99.9 %, x ideal cost.")
CALIBRATE = _option(
    HISTORY, "--calibrate/--no-calibrate", help="Take a replica's capacity from the history where it tells."
)
TOP = _option(HISTORY, min=1, help="Workloads to show, most dollars moved first.")
PATCH = _option(HISTORY, help="Patch files for: hpa or keda.")
MAX_GAP = _option(HISTORY, help="Longest gap in the history to bridge, such as 2h.")
AS_JSON = _option(HISTORY, "--json", help="Print one JSON document and nothing else.")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("tune", help=HELP)(tune)


def tune(
    stack: Annotated[str, STACK] = "",
    out: Annotated[Path | None, OUT] = None,
    days: Annotated[float | None, DAYS] = None,
    scenarios: Annotated[str, SCENARIOS] = "train",
    trials: Annotated[int, TRIALS] = 200,
    objective: Annotated[str, OBJECTIVE] = "cost@slo",
    weight: Annotated[float, WEIGHT] = 100.0,
    seed: Annotated[int, SEED] = 0,
    per_workload: Annotated[bool, PER_WORKLOAD] = False,
    jobs: Annotated[int | None, JOBS] = None,
    resume: Annotated[bool, RESUME] = False,
    force: Annotated[bool, FORCE] = False,
    plot: Annotated[bool, PLOT] = True,
    from_history: Annotated[list[Path] | None, FILES] = None,
    scenario: Annotated[str, SCENARIO] = "",
    price: Annotated[float | None, PRICE] = None,
    calibrate: Annotated[bool, CALIBRATE] = True,
    top: Annotated[int, TOP] = 20,
    patch: Annotated[str, PATCH] = "hpa",
    max_gap: Annotated[str, MAX_GAP] = "1h",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    if days is not None and not 0 < days <= 3660:
        raise InputError(None, "--days", days, "must be above 0 and at most 3660")
    if from_history:
        run_history(
            from_history, scenario, stack=stack, days=_whole_days(days), price=price, top=top, calibrate=calibrate,
            patch=patch, max_gap=max_gap, out=out, as_json=as_json,
        )  # fmt: skip
        return
    if not stack:
        raise InputError(None, "--stack", None, "name the stack to tune, such as hpa-default; or give --from-history")
    search = _wanted(stack, scenarios, days, trials=trials, objective=objective, weight=weight, seed=seed)
    place = out or Path(f"{search.stack.name}-{'hindsight' if per_workload else 'tuned'}.yaml")
    found = _search(search, place, jobs=jobs, resume=resume, force=force)
    command = shlex.join(_words(search, stack, scenarios, days, per_workload))
    _write(search, found, place, command, per_workload=per_workload, plot=plot)


def _whole_days(days: float | None) -> int:
    """Of a history; by default two weeks."""
    if days is not None and (days != int(days) or days > 400):
        raise InputError(None, "--days", days, "with --from-history it must be a whole number from 1 to 400")
    return 14 if days is None else int(days)


def _wanted(stack: str, scenarios: str, days: float | None, **asked: Any) -> Search:
    """The search that was asked for. Raises InputError."""
    from envs.objective import OBJECTIVES
    from envs.stack_file import load_stack
    from envs.suite import load_suite
    from optimizer.tune import Search

    if asked["objective"] not in OBJECTIVES:
        raise InputError(None, "--objective", asked["objective"], f"must be {' or '.join(OBJECTIVES)}")
    if not math.isfinite(asked["weight"]):
        raise InputError(None, "--weight", asked["weight"], "must be a number")
    loaded = load_stack(stack)
    if loaded.replay is not None:
        raise InputError(None, "--stack", stack, "tunes itself, hour by hour (replay); tune the stack without it")
    if loaded.learned is not None:
        raise InputError(None, "--stack", stack, "is moved by a learned policy; tune the stack without `learned:`")
    return Search(loaded, load_suite(scenarios, days=days), **asked)


def _search(search: Search, place: Path, *, jobs: int | None, resume: bool, force: bool) -> list[Trial]:
    """Run what is missing, with a progress bar; every finished trial is on disk at once."""
    from envs.scenario_writer import check_place
    from optimizer import tune as engine
    from optimizer.progress import TrialBar
    from optimizer.tune_trials import TrialFile, Workers

    file = TrialFile(place.with_suffix(".trials.jsonl"), search)
    check_place(place, force=force or resume)
    check_place(file.path, force=force or resume)
    done = file.read() if resume and file.path.exists() else []
    if not done:
        file.start()
    with TrialBar(sys.stderr, search.trials, len(done)) as bar:
        try:
            with Workers(jobs, bar) as workers:
                return engine.tune(search, workers, done, file.append)
        except KeyboardInterrupt:
            bar.stop()
            said = f"finished trials are in {file.path}; the same command with --resume goes on."
            typer.echo(f"trimtab: interrupted; {said}", err=True)
            raise typer.Exit(130) from None


def _write(search: Search, trials: list[Trial], place: Path, command: str, *, per_workload: bool, plot: bool) -> None:
    from envs.scenario_writer import render, write_new
    from envs.stack_file import document_of
    from optimizer import tune as engine
    from optimizer import tune_plot

    best = engine.best_of(search, trials)
    make = engine.per_workload_stack if per_workload else None
    stack = make(search, trials, place.stem) if make else engine.tuned_stack(search, best, place.stem)
    head = header(search, best, command, per_workload=per_workload)
    write_new(place, render(document_of(stack), head=head), force=True)
    if plot:
        write_new(place.with_suffix(".html"), tune_plot.render(search, trials, command), force=True)
    typer.echo(tune_plot.story(search, trials))
    files = [place.name, place.with_suffix(".trials.jsonl").name, *([place.with_suffix(".html").name] if plot else [])]
    typer.echo(f"\nIn {place.parent}: {', '.join(files)}")


def header(search: Search, best: Trial, command: str, *, per_workload: bool) -> list[str]:
    """Comment lines of a tuned stack: how it was made, so that it can be made again."""
    from optimizer.grid import trimtab_version

    hindsight = (
        "NOT ATTAINABLE: each workload has the setting that was best for it on this very load." if per_workload else ""
    )
    lines = [
        hindsight,
        f"Made by: {command}",
        f"Suite {search.suite.name} (digest {search.suite.digest}), {search.trials} trials, search seed {search.seed},",
        f"objective {search.objective}{f' with weight {search.weight:g}' if search.objective == 'weighted' else ''}, "
        f"trimtab {trimtab_version()}.",
        f"Best: trial {best.number}, ${best.node_usd:,.2f}, cost index {best.cost_index:.3f},",
        f"{100 * best.bad_share:.4f} % bad requests, {best.missed} reachable SLOs missed.",
    ]
    return [line for line in lines if line]


def _words(search: Search, stack: str, scenarios: str, days: float | None, per_workload: bool) -> list[str]:
    """The command that gives the same stack; where it goes and on how many cores is left out."""
    words = ["trimtab", "tune", "--stack", stack, "--scenarios", scenarios, "--trials", str(search.trials)]
    if search.objective == "weighted":
        words += ["--objective", "weighted", "--weight", f"{search.weight:g}"]
    words += ["--seed", str(search.seed)] if search.seed else []
    words += ["--days", f"{days:g}"] if days is not None else []
    return words + (["--per-workload"] if per_workload else [])
