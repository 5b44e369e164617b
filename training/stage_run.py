"""The stages of a run, in order: base, forecaster, replay of constants, hindsight labels, PPO, replay of its family.

Each makes its variants, rolls them out on the held-out worlds and is judged against the stage before (`StageTable`).
`replay` and `family` are ways to choose at run time: they are measured, and nothing is trained on top of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.observation import AUTOSCALING, Feature
from envs.stack_file import load_stack
from envs.vec_env import DrawnRows
from envs.world_draw import Draw, LoadSource
from policies.bundle import open_session
from policies.forecast import FORECAST, Forecaster
from policies.manifest import VariantPrior
from training.act import FEATURES, Act, Extend, act_of, until
from training.actor import Actor, actor_of
from training.config import PpoTry, TrainConfig
from training.export import MadeForecaster
from training.label_fit import fit
from training.labels import gather
from training.ppo import learn, load_checkpoint, make_model
from training.sb3_env import AutoscalingVecEnv
from training.stage_forecast import forecast_stage
from training.stage_plan import checkpoint_of, label_rows, with_try
from training.stage_replay import Candidates, Constants, Variants, replayed
from training.stages import BASE, Cost, StageTable
from training.validation import HeldOut, idle

Report = Callable[[dict[str, float], int], None]
Say = Callable[[str], None]
NOTHING_SEEN = np.zeros((0, len(AUTOSCALING)), np.float32)


@dataclass
class StageRun:
    """One run's stages. current: the network to beat, that of the last stage kept; networks: all that were made."""

    config: TrainConfig
    out: Path
    loads: Sequence[LoadSource]
    table: StageTable
    report: Report
    say: Say
    stop: Callable[[], bool]
    current: str = BASE
    networks: dict[str, Actor] = field(default_factory=dict)
    forecaster: MadeForecaster | None = None

    @property
    def chosen(self) -> str:
        """The network that is exported: the last stage's that was kept; where none was, the best of the last one."""
        if self.current in self.networks:
            return self.current
        return self.table.best([s for s in ("labels", "ppo") if s in self.config.stages][-1])

    @property
    def features(self) -> tuple[Feature, ...]:
        """What the networks of this run read."""
        return (*FEATURES, *FORECAST) if self.forecaster else FEATURES

    @property
    def extend(self) -> Extend | None:
        """From the encoder's columns to the networks'."""
        return self._forecasts().extend if self.forecaster else None

    def _forecasts(self) -> Forecaster:
        assert self.forecaster is not None
        return Forecaster(open_session(self.forecaster.model))

    def act(self, name: str) -> Act:
        """The network of that name as a function of the encoder's columns."""
        return until(self.stop, act_of(self.networks[name], self.extend))

    def _env(self, config: TrainConfig) -> AutoscalingVecEnv:
        return make_env(config, self.loads, self._forecasts() if self.forecaster else None)

    def forecast(self, held_out: Sequence[LoadSource]) -> None:
        """A forecaster for the networks of the stages to come, if it is kept."""
        rows, self.forecaster = forecast_stage(self.config, self.loads, held_out, self.say)
        self.table.rows += rows

    def base(self) -> None:
        self.table.cost(BASE, lambda: Cost(*self.table.held.roll(until(self.stop, idle))))

    def replay(self) -> None:
        """Constants, chosen by each service's own past."""
        self.say("replay over the constants, on held-out series")
        self._replayed("replay", Constants)
        self.table.judge("replay", ["replay"], BASE)

    def labels(self) -> None:
        """Every try fitted to the same labels."""
        chosen, w = self.config.labels, self.config.worlds
        core = DrawnRows(
            self.loads, [load_stack(name) for name in w.stacks], clusters=chosen.clusters,
            draw=draw_of(self.config, w.episode), prices=(w.price_low, w.price_high), seed=self.config.seed + 7919,
            period_s=w.period, threads=self.config.threads,
        )  # fmt: skip
        each, began = label_rows(self.config) // chosen.episodes, time.monotonic()

        def report(episodes: int, simulated: int) -> None:
            speed = simulated * each / max(time.monotonic() - began, 1e-9)
            self.report({"time/rows_per_s": speed}, episodes * each)

        marks = chosen.marks_min
        data = gather(
            core, self.out / "labels", episodes=chosen.episodes, marks_min=marks, hold_min=chosen.hold_min,
            every_min=round(chosen.every / 60.0), report=report, stop=self.stop,
        )  # fmt: skip
        self.say(f"hindsight labels: {len(data.observation):,} states, {len(chosen.tries)} tries to fit them")
        if self.extend:
            data = replace(data, observation=self.extend(data.observation))
        env = self._env(self.config)
        for t in chosen.tries:
            if self.stop():
                raise KeyboardInterrupt
            actor = actor_of(make_model(self.config, env).policy, self.features)
            mark = marks.index(round(t.horizon / 60.0))
            fit(actor, data, mark, t.method, seed=self.config.seed)
            self._network(t.name, actor)
        self._judge("labels", [t.name for t in chosen.tries])

    def ppo(self) -> None:
        """Every try trained for the same number of rows."""
        before = self.current
        for i, t in enumerate(self.config.ppo.tries):
            actor = self._trained(t, before, label_rows(self.config) + i * self.config.ppo.rows)
            self._network(t.name, actor)
        self._judge("ppo", [t.name for t in self.config.ppo.tries])

    def _trained(self, t: PpoTry, before: str, offset: int) -> Actor:
        config = with_try(self.config, t)
        env = self._env(config)
        model = make_model(config, env)
        checkpoint = checkpoint_of(self.config, self.out, t)
        if checkpoint.exists():
            load_checkpoint(checkpoint, model, env)
            self.say(f"going on after {model.num_timesteps:,} of {config.ppo.rows:,} rows")
        elif before in self.networks and t.start == "before":
            start_from(model, self.networks[before])
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        learn(
            model, env, config.ppo.rows, checkpoint.parent,
            lambda seen, rows: self.report(seen, rows + offset), self.stop,
        )  # fmt: skip
        return actor_of(model.policy, self.features)

    def family(self, prior: VariantPrior) -> None:
        """The network that is exported, its variants chosen by each service's own past: it must beat the network alone,
        and replay without a network."""
        name = self.chosen
        self.say("replay over the network's variants, on held-out series")
        act = self.act(name)
        self._replayed("family", lambda batch, beliefs: Variants(act, batch, beliefs, prior))
        for against in (name, "replay"):
            if against in self.table.costs:
                self.table.judge("family", ["family"], against)

    def _network(self, name: str, actor: Actor) -> None:
        self.networks[name] = actor
        self.say(f"validation: {name} on held-out series")
        self.table.cost(name, lambda: Cost(*self.table.held.roll(self.act(name))))

    def _judge(self, stage: str, names: list[str]) -> None:
        kept = self.table.judge(stage, names, self.current)
        best = next(r for r in self.table.rows if r.stage == stage and r.variant == self.table.best(stage))
        verdict = "kept" if kept else "not kept"
        self.say(
            f"{stage}: {best.variant} against {best.against}: {best.log_ratio:+.3f} [{best.low:+.3f}, {best.high:+.3f}]"
            f" in log cost, best of {best.tried}: {verdict}"
        )
        self.current = kept or self.current

    def _replayed(self, name: str, made: Callable[[Any, Sequence[float]], Candidates]) -> None:
        check = self.config.check

        def roll() -> Cost:
            batch = self.table.held.batch()
            chosen = made(batch, check.replay_beliefs)
            return Cost(replayed(batch, chosen, days=check.replay_days, stop=self.stop), NOTHING_SEEN)

        self.table.cost(name, roll)


def make_env(
    config: TrainConfig, loads: Sequence[LoadSource], forecaster: Forecaster | None = None
) -> AutoscalingVecEnv:
    """The environment of a run."""
    w = config.worlds
    core = DrawnRows(
        loads,
        [load_stack(name) for name in w.stacks],
        clusters=w.clusters,
        draw=draw_of(config, w.episode),
        prices=(w.price_low, w.price_high),
        seed=config.seed,
        period_s=w.period,
        threads=config.threads,
        twin=True,
    )
    return AutoscalingVecEnv(core, forecaster)


def make_held(config: TrainConfig, loads: Sequence[LoadSource]) -> HeldOut:
    """The worlds of validation."""
    check = config.check
    stacks = [load_stack(name) for name in config.worlds.stacks]
    draw = draw_of(config, check.episode)
    return HeldOut(loads, stacks, draw, clusters=check.clusters, seed=config.seed, threads=config.threads)


def draw_of(config: TrainConfig, horizon_s: float) -> Draw:
    """How worlds of this length are drawn."""
    w = config.worlds
    return Draw(horizon_s=horizon_s, workloads=w.workloads, generated=w.generated, spot=w.spot)


def start_from(model: Any, actor: Actor) -> None:
    """The policy's actor as that one is; its value function begins anew."""
    with torch.no_grad():
        model.policy.mlp_extractor.policy_net.load_state_dict(actor.trunk.state_dict())
        model.policy.action_net.load_state_dict(actor.head.state_dict())
