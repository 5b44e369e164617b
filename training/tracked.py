"""A training run that MLflow is told about: `training.train.run` with a Tracker around it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from training import train as engine
from training.config import TrainConfig
from training.tracking import Tracker

EXPERIMENT = "trimtab"


def train_tracked(
    config: TrainConfig,
    place: Path,
    preset: str,
    *,
    track: bool,
    report: engine.Report,
    say: Callable[[str], None],
    stop: Callable[[], bool],
    name: str = "",
    parent: Path | None = None,
) -> engine.Trained:
    """Train into `place`, going on with what is there. name: MLflow's of the run; parent: the sweep's folder.

    Raises what `training.train.run` raises.
    """
    params = {"preset": preset, **config.model_dump(mode="json")}
    with Tracker(place, EXPERIMENT, params, name=name, parent=parent) if track else nullcontext() as told:

        def update(seen: dict[str, float], rows: int) -> None:
            report(seen, rows)
            if told:
                told.metrics(seen, rows)

        made = engine.run(
            config, place, preset=preset, resume=True, report=update, say=say, stop=stop,
            mlflow_run_id=lambda: told.run_id if told else None,
        )  # fmt: skip
        if told:
            tell_results(told, place, made)
    return made


def tell_results(told: Tracker, place: Path, made: Any) -> None:
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
