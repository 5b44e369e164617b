"""What the stages of a configuration come to: rows to simulate, tries of PPO and where their checkpoints lie."""

from __future__ import annotations

from pathlib import Path

from training.config import PpoTry, TrainConfig
from training.labels import POINTS
from training.ppo import CHECKPOINT, timesteps


def with_try(config: TrainConfig, t: PpoTry) -> TrainConfig:
    """The configuration of one of PPO's tries."""
    log_std = config.ppo.log_std if t.log_std is None else t.log_std
    return config.model_copy(
        update={"seed": config.seed + t.seed, "ppo": config.ppo.model_copy(update={"log_std": log_std})}
    )


def label_rows(config: TrainConfig) -> int:
    """Rows that hindsight labels simulate, about: branches, without the way between them."""
    if "labels" not in config.stages:
        return 0
    chosen, minutes = config.labels, round(config.worlds.episode / 60.0)
    longest, every = max(chosen.marks_min), round(chosen.every / 60.0)
    branchings = -(-(minutes - longest) // every)
    return chosen.episodes * branchings * longest * len(POINTS) * chosen.clusters * config.worlds.workloads


def all_rows(config: TrainConfig) -> int:
    """Rows of a whole run, for its progress bar."""
    return label_rows(config) + ("ppo" in config.stages) * len(config.ppo.tries) * config.ppo.rows


def checkpoint_of(config: TrainConfig, out: Path, t: PpoTry) -> Path:
    """A try's checkpoint; of one alone it lies in the run's folder."""
    return out / CHECKPOINT if len(config.ppo.tries) == 1 else out / "tries" / t.name / CHECKPOINT


def rows_done(config: TrainConfig, out: Path) -> int:
    """Rows up to the last checkpoint of a run that is to go on."""
    for i, t in reversed(list(enumerate(config.ppo.tries))):
        path = checkpoint_of(config, out, t)
        if "ppo" in config.stages and path.exists():
            return label_rows(config) + i * config.ppo.rows + timesteps(path)
    return 0
