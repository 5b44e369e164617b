"""Runs a sweep: what is missing of it, on a pool of processes, as child runs of one MLflow run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.executor import Executor, Stopped, Tell, available_cores
from training.config import TrainConfig
from training.sweep import Member
from training.sweep_plot import page
from training.sweep_results import FILES, Found, Setting, by_setting, found_in, write_results
from training.tracked import EXPERIMENT, train_tracked
from training.tracking import Tracker
from training.train import check_inputs, finished, holds

STARTED = '{"settings": [], "members": []}\n'


@dataclass(frozen=True)
class Task:
    """What a worker needs to know."""

    index: int
    member: Member
    preset: str
    track: bool


@dataclass(frozen=True)
class Step:
    """A member's progress: rows so far, and the numbers of the update."""

    index: int
    rows: int
    seen: dict[str, float]


@dataclass(frozen=True)
class Swept:
    """What a sweep knows in the end."""

    found: list[Found]
    settings: list[Setting]


def check_sweep(place: Path, members: Sequence[Member], *, resume: bool) -> None:
    """Raises InputError where load, stacks or the folder do not do; nothing is written."""
    for config in {member.setting: member.config for member in members}.values():
        check_inputs(config)
    if (place / "config.json").exists():
        raise InputError(place, "--out", str(place), "holds a single run; give another folder")
    if (place / FILES[0]).exists() and not resume:
        raise InputError(place, "--out", str(place), "holds a sweep already: add --resume, or give another folder")
    for member in members:
        holds(member.config, member.folder, resume=True)


def run_sweep(
    place: Path,
    members: Sequence[Member],
    executor: Executor,
    *,
    preset: str,
    track: bool,
    told: Callable[[Step], None],
    ended: Callable[[int, Found], None],
    stop: Stopped,
) -> Swept:
    """Train what is not finished, and write the tables of all. A member that fails leaves the others alone.

    Raises KeyboardInterrupt after stop(), with the tables of what is finished on disk.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not (place / FILES[0]).exists():
            (place / FILES[0]).write_text(STARTED, encoding="utf-8")
    except OSError as refused:
        mend = f"no folder can be made or written there ({refused.strerror}); give another"
        raise InputError(None, "--out", str(place), mend) from None
    errors: dict[int, str] = {}
    with _tracker(place, members, preset) if track else nullcontext() as parent:
        tasks = [Task(i, m, preset, track) for i, m in enumerate(members) if not finished(m.folder)]
        for task, error in executor.run(train_member, tasks, told, stop):
            errors[task.index] = error
            ended(task.index, found_in(task.member, error))
        found = [found_in(m, errors.get(i, "")) for i, m in enumerate(members)]
        swept = Swept(found, by_setting(found))
        write_results(place, swept.found, swept.settings, page(place.name, swept.found, swept.settings))
        if parent:
            _tell(parent, place, swept)
        if stop():
            raise KeyboardInterrupt
    return swept


def train_member(task: Task, tell: Tell, stopped: Stopped) -> str:
    """Train one member into its folder; what work of an Executor is. What went wrong: "" where it is finished or was
    called off."""
    member = task.member
    try:
        train_tracked(
            member.config, member.folder, task.preset, track=task.track, name=member.label,
            parent=member.folder.parent, say=lambda line: None, stop=stopped,
            report=lambda seen, rows: tell(Step(task.index, rows, seen)),
        )  # fmt: skip
    except KeyboardInterrupt:
        return ""
    except Exception as error:  # such as weights that ran away at a large learning rate: the others go on
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        (member.folder / "error.txt").write_text(text + "\n", encoding="utf-8")
        return text
    (member.folder / "error.txt").unlink(missing_ok=True)
    return ""


def threads_each(config: TrainConfig, workers: int) -> TrainConfig:
    """The configuration with its share of the cores; the number of threads changes no result."""
    return config.model_copy(update={"threads": max(available_cores() // workers, 1)})


def _tracker(place: Path, members: Sequence[Member], preset: str) -> Tracker:
    """Of the run above the members' own."""
    shared = members[0].config.model_dump(mode="json", exclude={"seed", "threads"})
    seeds = sorted({member.config.seed for member in members})
    swept = json.dumps(list(dict.fromkeys(member.setting for member in members)))
    return Tracker(place, EXPERIMENT, {"preset": preset, "sweep": swept, "seeds": f"{seeds[0]}-{seeds[-1]}", **shared})


def _tell(parent: Tracker, place: Path, swept: Swept) -> None:
    step = sum(one.done for one in swept.found)
    numbers: dict[str, Any] = {"sweep/finished": float(step)}
    for i, setting in enumerate(swept.settings):
        numbers |= dict(
            zip([f"sweep/{i}/{end}" for end in ("log_ratio", "low", "high")], setting.log_ratio, strict=True)
        )
    parent.metrics(numbers, step)
    parent.tag("trimtab.sweep", "; ".join(setting.name for setting in swept.settings)[:1000])
    for name in FILES:
        parent.artifact(place / name)
