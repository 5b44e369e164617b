"""`trimtab train`: the command, found through the entry points `trimtab.commands`; nothing heavy is loaded here."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envs.errors import InputError

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.sweep import Member
    from training.sweep_run import Swept
    from training.train import Trained

HELP = """Train an autoscaling policy in the simulator, and make a bundle of it.

The network starts at the tuned base (its answer is 0) and learns how to move each service's set-points, by PPO on many
simulated clusters at once, over a range of prices on bad requests. Then it is judged on load that it never saw, against
that base: the table says whether it is better beyond its interval, and so does the last line. Everything that decides
the result is in CONFIG, a YAML file; the presets are such files.

Before PPO, or in its place, the network can learn from hindsight: load does not depend on what we do, so the simulator
says what each of fifteen set-points would have cost (--stages base,labels,ppo). The stages replay and family measure
what each service's own past is worth, without a network and with one; forecast adds a quantile forecaster. Each stage
is judged on held-out load against the one before, and kept only if it is cheaper beyond its interval: stages.csv has
them all, kept or not.

Everything goes into the folder of the run: config.json, curve.csv, checkpoint.pt, stages.csv, stages.json, bundle/.
Curves, tables and the bundle also go to MLflow: to MLFLOW_TRACKING_URI, or mlflow.db in this folder; mlflow ui shows
them.

Example: minutes on two cores, on the load that comes with Trimtab; then use what it made

    trimtab train --preset quick --out out/quick

    trimtab policy verify out/quick/bundle

Example: every stage, each against the one before

    trimtab train --preset quick --stages base,forecast,replay,labels,ppo,family --out out/all

Example: your own configuration and seed; Ctrl-C keeps what is learned, --resume goes on to the same result

    trimtab train mine.yaml --seed 7 --out out/mine

    trimtab train mine.yaml --seed 7 --out out/mine --resume

Example: a sweep: ten seeds of two learning rates, each run in a folder of its own, as many at once as there are cores;
then tables and a picture of them all. --resume does what is missing, after Ctrl-C or for more seeds

    trimtab train --preset quick --seeds 10 --set ppo.learning_rate=3e-4,1e-3 --out out/rates
"""
STOPPING = "stopping at the next update; Ctrl-C again stops at once"
NEEDS = ("torch", "stable_baselines3", "mlflow", "onnx", "onnxscript")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("train", help=HELP)(train)


def train(
    config: Annotated[str, typer.Argument(help="YAML file of the run; or use --preset.", show_default=False)] = "",
    preset: Annotated[str, typer.Option(help="quick (2 minutes) or full (half an hour), on two quiet cores.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default out/train/NAME-sSEED.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the configuration's.")] = None,
    stages: Annotated[
        str,
        typer.Option(
            help="Of base,forecast,replay,labels,ppo,family; instead of the configuration's.", show_default=False
        ),
    ] = "",
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=V1,V2", help="Change a setting; several values: a sweep.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="A sweep over so many seeds, from --seed on.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs of a sweep at once; default one a core. Changes no number.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run or sweep in that folder.")] = False,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Tell MLflow.")] = True,
) -> None:
    if bool(config) == bool(preset):
        raise InputError(None, "CONFIG", config or None, "give a configuration file, or --preset quick, or full")
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise InputError(None, "train", ", ".join(missing), "is not installed; pip install 'trimtab[train]' brings it")
    from training.config import load_config
    from training.sweep import members_of

    names = tuple(name.strip() for name in stages.split(",")) if stages else None
    chosen = load_config(preset or config, seed=seed, stages=names)
    place = out or Path("out") / "sweep" / chosen.name
    members = members_of(chosen, sets or [], seeds or 1, place)
    named = preset or Path(config).name
    if seeds is None and len(members) == 1:
        if workers is not None:
            raise InputError(None, "--workers", workers, "is for sweeps: add --seeds, or --set with several values")
        place = out or Path("out") / "train" / f"{chosen.name}-s{chosen.seed}"
        train_one(members[0].config, place, named, resume=resume, track=track)
    else:
        train_many(place, members, named, workers=workers, resume=resume, track=track)


def train_one(config: TrainConfig, place: Path, preset: str, *, resume: bool, track: bool) -> None:
    """A single run, and its last words."""
    from training.train import prepare

    prepare(config, place, resume=resume)
    made = run(config, place, preset, track=track)
    verdict = "better than the tuned base, beyond its interval" if made.kept else "NOT better than the tuned base"
    typer.echo(f"\nOn load that it never saw it is {verdict} (stages.csv has every stage).")
    typer.echo(f"Bundle: {made.bundle}   next: trimtab policy import {made.bundle}")


def train_many(
    place: Path, members: list[Member], preset: str, *, workers: int | None, resume: bool, track: bool
) -> None:
    """A sweep, and its tables. Exit code 1 where a run failed."""
    from training.sweep_console import print_swept

    swept = sweep(place, members, preset, workers=workers, resume=resume, track=track)
    print_swept(swept)
    typer.echo(f"\nTables, curves and bundles: {place}   picture: {place / 'curves.html'}")
    failed = [one for one in swept.found if not one.done]
    if failed:
        typer.echo(f"{len(failed)} failed, first {failed[0].member.label}: {failed[0].error}", err=True)
        raise typer.Exit(1)


def run(config: TrainConfig, place: Path, preset: str, *, track: bool) -> Trained:
    """Train with a progress bar and a tracker; Ctrl-C ends the run at its next update or step."""
    from envs.executor import asked_to_stop
    from training.progress import TrainBar
    from training.stage_plan import all_rows
    from training.tracked import train_tracked

    with TrainBar(sys.stderr, all_rows(config)) as bar, asked_to_stop(lambda: bar.say(STOPPING)) as stop:
        try:
            return train_tracked(config, place, preset, track=track, report=bar, say=bar.say, stop=stop)
        except KeyboardInterrupt:
            bar.say(f"interrupted; what is learned is in {place}; the same command with --resume goes on")
            raise


def sweep(place: Path, members: list[Member], preset: str, *, workers: int | None, resume: bool, track: bool) -> Swept:
    """Train all members with one progress bar; Ctrl-C ends those in work at their next update or step."""
    from envs.executor import asked_to_stop, available_cores, pick_executor
    from training.sweep_console import SweepBar
    from training.sweep_run import check_sweep, run_sweep, threads_each
    from training.train import finished

    at_once = min(workers or available_cores(), len(members))
    members = [replace(m, config=threads_each(m.config, at_once)) for m in members]
    check_sweep(place, members, resume=resume)
    missing = [i for i, member in enumerate(members) if not finished(member.folder)]
    with (
        SweepBar(sys.stderr, members, missing) as bar,
        asked_to_stop(lambda: bar.say(STOPPING)) as stop,
        pick_executor(workers, len(missing)) as executor,
    ):
        if len(missing) < len(members):
            bar.say(f"{len(members) - len(missing)} of {len(members)} runs are finished already")
        try:
            return run_sweep(
                place, members, executor, preset=preset, track=track, told=bar.step, ended=bar.ended, stop=stop
            )  # fmt: skip
        except KeyboardInterrupt:
            bar.say(f"interrupted; finished runs are in {place}; the same command with --resume goes on")
            raise
