"""`trimtab train`: the command, found through the entry points `trimtab.commands`; nothing heavy is loaded here."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envs.errors import InputError

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.tracking import Tracker
    from training.train import Trained

HELP = """Train an autoscaling policy in the simulator, and make a bundle of it.

The network starts at the tuned base (its answer is 0) and learns how to move each service's set-points, by PPO on many
simulated clusters at once, over a range of prices on bad requests. Then it is judged on load that it never saw, against
that base: the table says whether it is better beyond its interval, and so does the last line. Everything that decides
the result is in CONFIG, a YAML file; the presets are such files.

Before PPO, or in its place, the network can learn from hindsight: load does not depend on what we do, so the simulator
says what each of fifteen set-points would have cost (--stages base,labels,ppo). The stages replay and family measure
what each service's own past is worth, without a network and with one. Each stage is judged on held-out load against the
one before, and kept only if it is cheaper beyond its interval: stages.csv has them all, kept or not.

Everything goes into the folder of the run: config.json, curve.csv, checkpoint.pt, stages.csv, stages.json, bundle/.
Curves, tables and the bundle also go to MLflow: to MLFLOW_TRACKING_URI, or mlflow.db in this folder; mlflow ui shows
them.

Example: minutes on two cores, on the load that comes with Trimtab; then use what it made

    trimtab train --preset quick --out out/quick

    trimtab policy verify out/quick/bundle

Example: every stage, each against the one before

    trimtab train --preset quick --stages base,replay,labels,ppo,family --out out/all

Example: your own configuration and seed; Ctrl-C keeps what is learned, --resume goes on to the same result

    trimtab train mine.yaml --seed 7 --out out/mine

    trimtab train mine.yaml --seed 7 --out out/mine --resume
"""
NEEDS = ("torch", "stable_baselines3", "mlflow", "onnx", "onnxscript")
EXPERIMENT = "trimtab"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("train", help=HELP)(train)


def train(
    config: Annotated[str, typer.Argument(help="YAML file of the run; or use --preset.", show_default=False)] = "",
    preset: Annotated[str, typer.Option(help="quick (3 minutes) or full (15 minutes), on two quiet cores.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default out/train/NAME-sSEED.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the configuration's.")] = None,
    stages: Annotated[
        str, typer.Option(help="Of base,replay,labels,ppo,family; instead of the configuration's.", show_default=False)
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Tell MLflow.")] = True,
) -> None:
    if bool(config) == bool(preset):
        raise InputError(None, "CONFIG", config or None, "give a configuration file, or --preset quick, or full")
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise InputError(None, "train", ", ".join(missing), "is not installed; pip install 'trimtab[train]' brings it")
    from training.config import load_config
    from training.train import prepare

    names = tuple(name.strip() for name in stages.split(",")) if stages else None
    chosen = load_config(preset or config, seed=seed, stages=names)
    place = out or Path("out") / "train" / f"{chosen.name}-s{chosen.seed}"
    prepare(chosen, place, resume=resume)
    made = run(chosen, place, preset or Path(config).name, track=track)
    verdict = "better than the tuned base, beyond its interval" if made.kept else "NOT better than the tuned base"
    typer.echo(f"\nOn load that it never saw it is {verdict} (stages.csv has every stage).")
    typer.echo(f"Bundle: {made.bundle}   next: trimtab policy import {made.bundle}")


def run(config: TrainConfig, place: Path, preset: str, *, track: bool) -> Trained:
    """Train with a progress bar and a tracker; Ctrl-C ends the run at its next update."""
    from training import train as engine
    from training.progress import TrainBar
    from training.stage_run import all_rows

    with tracker(config, place, preset, track=track) as told, TrainBar(sys.stderr, all_rows(config)) as bar:

        def report(seen: dict[str, float], rows: int) -> None:
            bar(seen, rows)
            if told:
                told.metrics(seen, rows)

        with asked_to_stop() as stop:
            try:
                made = engine.run(
                    config, place, preset=preset, resume=True, report=report, say=bar.say, stop=stop,
                    mlflow_run_id=lambda: told.run_id if told else None,
                )  # fmt: skip
            except KeyboardInterrupt:
                bar.say(f"interrupted; what is learned is in {place}; the same command with --resume goes on")
                raise
        if told:
            tell_results(told, place, made)
    return made


def tracker(config: TrainConfig, place: Path, preset: str, *, track: bool) -> Any:
    """The run's tracker, or nothing."""
    if not track:
        return nullcontext()
    from training.tracking import Tracker

    return Tracker(place, EXPERIMENT, {"preset": preset, **config.model_dump(mode="json")})


def tell_results(told: Tracker, place: Path, made: Trained) -> None:
    """What is known at the end, as files and notes of the run."""
    from policies.bundle import read_bundle

    manifest = read_bundle(made.bundle).manifest
    for name, table in (("stages", manifest.stages), ("validation", manifest.evaluation)):
        told.table(name, [dict(zip(table.columns, row, strict=True)) for row in table.rows])
    told.table("data", [trace.model_dump() for trace in manifest.data])
    told.tag("trimtab.kept", str(made.kept).lower())
    told.tag("trimtab.bundle_sha256", manifest.model.sha256)
    for name in ("config.json", "curve.csv", "stages.csv"):
        told.artifact(place / name)
    told.artifact(made.bundle)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; pressed twice, it interrupts at once."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
