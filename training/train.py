"""A training run: the stages of its configuration, prior of the network's variants, bundle.

Everything a run makes lies in its folder: `config.json`, `curve.csv`, `checkpoint.pt`, `stages.csv`, `stages.json`,
`bundle/`; and what a resumed run need not do again: `labels/`, `validation/`. A run that was killed goes on with
`resume` to the same bundle.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import InputError
from envs.plain import Array
from envs.set_point_action import ACTIONS
from envs.stack_file import load_stack
from envs.world_draw import DAY_S, LoadSource, loads_in, shipped_loads
from policies.family import CONSTANTS, VARIANTS
from policies.manifest import Table, TraceUsed, VariantPrior
from training.act import FEATURES
from training.config import TrainConfig
from training.export import Described, export_bundle
from training.stage_plan import rows_done
from training.stage_run import StageRun, make_held
from training.stages import BASE, StageTable
from training.validation import Judged
from training.variant_prior import variant_regret

VERSION = "1"
Report = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class Trained:
    """What a run made. kept: whether the network beat the tuned base on validation, beyond its interval. network: the
    variant that was exported."""

    bundle: Path
    judged: Judged
    network: str = ""

    @property
    def kept(self) -> bool:
        return self.judged.better


def all_loads(config: TrainConfig) -> tuple[LoadSource, ...]:
    """The series that the run may use: those that every one of its worlds fits into. InputError below two."""
    folder = config.worlds.load_dir
    loads = shipped_loads() if folder is None else loads_in(folder)
    longest_s = max(config.worlds.episode, config.check.episode, config.check.prior_days * DAY_S)
    long_enough = tuple(s for s in loads if s.duration_s > longest_s + 1.0)
    if len(long_enough) < 2:
        mend = f"{len(long_enough)} series are longer than {longest_s / 3600.0:g} h (the longest of worlds.episode, "
        mend += "check.episode and check.prior_days); give two or more, or shorten these"
        raise InputError(folder, "worlds.load_dir", len(loads), mend)
    return long_enough


def split(loads: Sequence[LoadSource], share: float) -> tuple[list[LoadSource], list[LoadSource]]:
    """(for training, held out): whole series, by a hash of their names, at least one each."""
    ranked = sorted(loads, key=lambda s: hashlib.sha256(f"{s.path.name}/{s.column}".encode()).digest())
    cut = min(max(round(share * len(ranked)), 1), len(ranked) - 1)
    return ranked[cut:], ranked[:cut]


class Curve:
    """curve.csv: one line per update and number; a resumed run drops what came after its checkpoint."""

    def __init__(self, path: Path, report: Report, upto: int) -> None:
        self.path, self.report, self.upto = path, report, upto
        kept = []
        if upto and path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                kept = [row for row in csv.reader(stream) if row[0].isdigit() and int(row[0]) <= upto]
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["rows", "name", "value"], *kept])

    def __call__(self, seen: dict[str, float], rows: int) -> None:
        if rows > self.upto:
            with self.path.open("a", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([rows, name, f"{value:.6g}"] for name, value in seen.items())
        self.report(seen, rows)


def run(
    config: TrainConfig,
    out: Path,
    *,
    preset: str = "",
    resume: bool = False,
    report: Report = lambda seen, rows: None,
    say: Callable[[str], None] = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
    mlflow_run_id: Callable[[], str | None] = lambda: None,
) -> Trained:
    """Train, judge, export. report(numbers, rows so far) after each update; stop() asks for an end.
    mlflow_run_id() is asked at the end: a tracking server may be reached late.

    Raises InputError for a folder that holds another run, KeyboardInterrupt after stop() with a checkpoint on disk.
    """
    prepare(config, out, resume=resume)
    train_loads, held_out = split(all_loads(config), config.worlds.held_out)
    say(f"{len(train_loads)} load series to train on, {len(held_out)} held out for validation")
    curve = Curve(out / "curve.csv", report, rows_done(config, out))
    table = StageTable(make_held(config, held_out), out / "validation", config.seed)
    stages = StageRun(config, out, train_loads, table, curve, say, stop)
    if "forecast" in config.stages:
        stages.forecast(held_out)
    stages.base()
    for name in ("replay", "labels", "ppo"):
        if name in config.stages:
            getattr(stages, name)()
    actor = stages.networks[stages.chosen]
    say("prior: what each variant of the network costs the training fleet")
    prior = make_prior(config, stages.act(stages.chosen), train_loads)
    if "family" in config.stages:
        stages.family(prior)
    mine = table.costs[stages.chosen]
    judged = table.held.judged(mine.mean, table.costs[BASE].mean, mine.seen)
    table.write(out / "stages.csv")
    write_json(out / "stages.json", stage_table(judged).model_dump())
    described = describe(config, preset, judged, prior, train_loads, mlflow_run_id())
    seen = stages.extend(judged.seen) if stages.extend else judged.seen
    described = replace(
        described, stages=table.table(), features=stages.features, seen=seen, forecaster=stages.forecaster
    )
    export_bundle(actor, out / "bundle", described, force=True)
    return Trained(out / "bundle", judged, stages.chosen)


def prepare(config: TrainConfig, out: Path, *, resume: bool) -> None:
    """Make the folder, or check that it holds this very run; its load and stacks are looked at before anything is
    written.
    """
    check_inputs(config)
    if not holds(config, out, resume=resume):
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_json(out / "config.json", config.model_dump(mode="json"))
        except OSError as error:
            mend = f"no folder can be made or written there ({error.strerror}); give another"
            raise InputError(None, "--out", str(out), mend) from None


def check_inputs(config: TrainConfig) -> None:
    """Raises InputError where its load or its stacks do not do."""
    all_loads(config)
    for name in config.worlds.stacks:
        load_stack(name)


def holds(config: TrainConfig, out: Path, *, resume: bool) -> bool:
    """Whether the folder holds this very run (threads do not count: they change no number).

    Raises InputError where it holds another one, or any without resume.
    """
    file = out / "config.json"
    if not file.exists():
        return False
    if not resume:
        raise InputError(out, "--out", str(out), "holds a run already: add --resume, or give another folder")
    found = json.loads(file.read_text(encoding="utf-8"))
    if {**found, "threads": config.threads} != config.model_dump(mode="json"):
        raise InputError(file, "config", config.name, "is of another configuration; give another --out")
    return True


def finished(out: Path) -> bool:
    """Whether the run in that folder has come to its end."""
    return (out / "stages.json").exists() and (out / "bundle" / "manifest.json").exists()


def make_prior(config: TrainConfig, act: Callable[[NDArray[np.float32]], Array], loads: Sequence[LoadSource]) -> Any:
    """Mean log-regret of each variant at each price."""
    check = config.check
    regret = variant_regret(
        act, loads, check.prior_prices, workloads=check.prior_workloads, days=check.prior_days, seed=config.seed,
        period_min=round(config.worlds.period / 60.0),
    )  # fmt: skip
    return VariantPrior(
        prices=list(check.prior_prices), variants=list(VARIANTS), constants=list(CONSTANTS), log_regret=regret
    )


def stage_table(judged: Judged) -> Table:
    """Validation, a row a price."""
    heads = ["violation_price", "cost", "base_cost", "log_ratio", "low", "high"]
    rows: list[list[Any]] = [[*(round(x, 5) for x in row)] for row in judged.rows]
    total: list[Any] = [None, None, None, *(round(x, 5) for x in judged.overall)]
    return Table(title="network against the tuned base on held-out series", columns=heads, rows=[*rows, total])


def describe(
    config: TrainConfig, preset: str, judged: Judged, prior: Any, loads: Sequence[LoadSource], run_id: str | None
) -> Described:
    """The manifest's words."""
    files = {s.path: hashlib.sha256(s.path.read_bytes()).hexdigest() for s in loads}
    used = [TraceUsed(source=s.source, trace=s.column or s.path.name, sha256=files[s.path]) for s in loads]
    return Described(
        name=config.name,
        version=VERSION,
        kind="autoscaling",
        features=FEATURES,
        actions=ACTIONS,
        seen=judged.seen,
        seed=config.seed,
        preset=preset,
        data=used,
        evaluation=stage_table(judged),
        mlflow_run_id=run_id,
        prior=prior,
    )


def write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
