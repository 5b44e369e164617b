"""Everything that decides a training run, in one file: `trimtab train CONFIG`. Unknown keys are errors."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.schema_errors import describe_validation_error
from envs.schema_types import Duration, Share, StrictModel
from envs.yaml_reader import read_yaml

PRESETS = ("quick", "full")
Stage = Literal["base", "forecast", "replay", "labels", "ppo", "family"]
STAGES: tuple[Stage, ...] = ("base", "forecast", "replay", "labels", "ppo", "family")
NETWORKS = ("labels", "ppo")  # the stages that make one


class WorldsConfig(StrictModel):
    """Where the simulated clusters of an episode come from."""

    load_dir: Path | None = None
    """Folder of load traces; default the series that come with Trimtab."""
    held_out: Share = Field(default=0.2, ge=0, le=0.9)
    """Share of series, whole, that only validation sees."""
    clusters: int = Field(default=60, ge=1, le=4096)
    """Clusters side by side; a row is one of their services."""
    workloads: int = Field(default=8, ge=1, le=200)
    """Services of a cluster."""
    episode: Duration = Field(default=43_200.0, ge=3600, le=30 * 86_400)
    """Simulated time after which new worlds are drawn."""
    generated: Share = Field(default=0.2, ge=0, le=1)
    """Share of services whose load is made up."""
    spot: Share = Field(default=0.25, ge=0, le=1)
    """Share of clusters that may use spot nodes."""
    stacks: tuple[str, ...] = ("rps-target", "karpenter-rps")
    """Node autoscaler and scheduler come from these stacks, drawn per cluster."""
    price_low: float = Field(default=10.0, gt=0, le=1e6)
    """Least violation price drawn."""
    price_high: float = Field(default=3000.0, gt=0, le=1e6)
    """Largest violation price drawn; in between it is log-uniform."""
    period: Duration = Field(default=60.0, ge=60, le=3600)
    """Control period: whole minutes."""


class ForecastConfig(StrictModel):
    """The quantile forecaster, whose columns the networks of later stages see if it is kept."""

    services: int = Field(default=96, ge=8, le=10_000)
    """Services drawn on the training series, and two thirds as many on those held out."""
    days: float = Field(default=2.0, gt=0.1, le=60)
    """Of their load."""
    every: Duration = Field(default=300.0, ge=60, le=86_400)
    """Between two samples of a service."""
    tries: tuple[tuple[int, ...], ...] = Field(default=((32,), (64, 64), (96, 64)), min_length=1, max_length=30)
    """Hidden layers; the best on held-out series is taken, if it beats the naive forecasts beyond its interval."""


class LabelTry(StrictModel):
    """One way to fit a network to hindsight labels."""

    method: Literal["expected", "regress", "clone"] = "expected"
    """Least expected cost; squared loss on the cost of every set-point; or the best one in hindsight."""
    horizon: Duration = Field(default=1800.0, ge=60, le=86_400)
    """How far a set-point's cost is summed."""

    @property
    def name(self) -> str:
        return f"{self.method}-{round(self.horizon / 60)}m"


class LabelsConfig(StrictModel):
    """Hindsight labels: the simulator branched over fifteen set-points on the same future."""

    clusters: int = Field(default=16, ge=1, le=4096)
    """Clusters side by side; each is copied fifteen times."""
    episodes: int = Field(default=12, ge=1, le=100_000)
    """Draws of new worlds, of `worlds.episode` each."""
    every: Duration = Field(default=1800.0, ge=60, le=86_400)
    """Simulated time between two branchings."""
    hold: Duration = Field(default=900.0, ge=60, le=86_400)
    """How long a branch holds its set-point, before it goes back to the tuned base."""
    tries: tuple[LabelTry, ...] = Field(
        default=(LabelTry(), LabelTry(horizon=2700.0), LabelTry(method="regress")), min_length=1, max_length=30
    )
    """What is tried; the best on validation is taken, if it beats the base beyond its interval."""

    @property
    def hold_min(self) -> int:
        return round(self.hold / 60.0)

    @property
    def marks_min(self) -> tuple[int, ...]:
        """Minutes at which a branch's cost is noted."""
        return tuple(sorted({self.hold_min, *(round(t.horizon / 60.0) for t in self.tries)}))


class PpoTry(StrictModel):
    """One run of PPO among several that are compared."""

    seed: int = Field(default=0, ge=0, le=1_000_000)
    """Added to the run's."""
    log_std: float | None = Field(default=None, ge=-10, le=2)
    """Of the first exploration; null: as in `ppo`."""
    start: Literal["before", "base"] = "before"
    """From the stage before, or from the tuned base whatever that was."""

    @property
    def name(self) -> str:
        words = ["ppo", f"s{self.seed}" if self.seed else "", "" if self.log_std is None else f"std{self.log_std:g}"]
        return "-".join(w for w in [*words, "base" if self.start == "base" else ""] if w)


class PpoConfig(StrictModel):
    """Stable-Baselines3's PPO. The output layer starts at zero, so that training starts at the tuned base."""

    rows: int = Field(default=4_000_000, ge=1, le=10_000_000_000)
    """Rows (service x control period) to train on."""
    steps: int = Field(default=36, ge=2, le=4096)
    """Control periods between two updates; an episode should be a multiple."""
    batch: int = Field(default=4320, ge=2, le=10_000_000)
    """Rows of one gradient step."""
    epochs: int = Field(default=4, ge=1, le=100)
    """Passes over the rows of an update."""
    gamma: Share = Field(default=0.97, ge=0, lt=1)
    """Discount per control period."""
    gae_lambda: Share = Field(default=0.9, ge=0, le=1)
    """Of generalised advantage estimation."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """At the start."""
    learning_rate_end: float = Field(default=1e-4, gt=0, le=1)
    """At the end; linear in between."""
    log_std: float = Field(default=-2.3, ge=-10, le=2)
    """Of the first exploration: sigma 0.1. Wider teaches a fat safety margin."""
    layers: tuple[int, ...] = Field(default=(64, 64), min_length=1, max_length=8)
    """Hidden layers of policy and value function."""
    clip: float = Field(default=0.2, gt=0, le=1)
    """PPO's clip range."""
    entropy: float = Field(default=0.0, ge=0, le=1)
    """Weight of the entropy bonus."""
    tries: tuple[PpoTry, ...] = Field(default=(PpoTry(),), min_length=1, max_length=30)
    """Runs that are compared; the best on validation is taken."""


class CheckConfig(StrictModel):
    """How stages are judged, and the prior of the network's variants."""

    clusters: int = Field(default=24, ge=2, le=4096)
    """Clusters of validation, on series that training did not see."""
    episode: Duration = Field(default=86_400.0, ge=3600, le=30 * 86_400)
    """Length of a validation."""
    prior_workloads: int = Field(default=32, ge=1, le=10_000)
    """Services of the training fleet whose replay makes the prior."""
    prior_days: float = Field(default=2.0, gt=0, le=60)
    """How much of their past is replayed."""
    prior_prices: tuple[float, ...] = Field(default=(30.0, 300.0, 3000.0), min_length=2, max_length=20)
    """Violation prices at which it is made."""
    replay_days: float = Field(default=1.0, gt=0, le=7)
    """Measured past that the stages `replay` and `family` start from."""
    replay_beliefs: tuple[float, ...] = Field(default=(0.85, 1.0, 1.15), min_length=1, max_length=9)
    """Factors on a replica's capacity that their losses are averaged over."""


class TrainConfig(StrictModel):
    """A training run."""

    name: str = Field(default="trimtab", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Of the policy that it makes."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of everything that is drawn."""
    threads: int = Field(default=2, ge=1, le=256)
    """For the simulator; the result does not depend on it."""
    stages: tuple[Stage, ...] = ("base", "ppo")
    """What is made and judged, each against the one before: any of base, forecast, replay, labels, ppo,
    family."""
    worlds: WorldsConfig = WorldsConfig()
    """Simulated clusters."""
    forecast: ForecastConfig = ForecastConfig()
    """The forecaster."""
    labels: LabelsConfig = LabelsConfig()
    """Hindsight labels."""
    ppo: PpoConfig = PpoConfig()
    """The learner."""
    check: CheckConfig = CheckConfig()
    """Validation and prior."""


def load_config(path_or_preset: str | Path, **changes: Any) -> TrainConfig:
    """The configuration in a YAML file, or the preset of that name. Raises InputError."""
    if str(path_or_preset) in PRESETS:
        source = resources.files("training") / "presets" / f"{path_or_preset}.yaml"
        path = Path(str(source))
    else:
        path = Path(path_or_preset)
        if not path.exists():
            mend = f"there is no such file; as a preset: {did_you_mean(str(path_or_preset), PRESETS, noun='preset')}"
            raise InputError(None, "CONFIG", str(path_or_preset), mend)
    data = read_yaml(path).data
    if not isinstance(data, dict):
        raise InputError(path, "config", type(data).__name__, "must be a mapping, such as `ppo: {rows: 4000000}`")
    return checked(data | {k: v for k, v in changes.items() if v is not None}, path)


def checked(data: dict[str, Any], source: Path | str) -> TrainConfig:
    """The document as a configuration. source: where it is from, for the message. Raises InputError."""
    try:
        config = TrainConfig.model_validate(data)
    except ValidationError as error:
        raise describe_validation_error(error, source, model=TrainConfig) from None
    if config.worlds.period % 60 or config.worlds.price_low >= config.worlds.price_high:
        raise InputError(source, "worlds", None, "period is in whole minutes, and price_low is below price_high")
    check_stages(config, source)
    return config


def layers_name(layers: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in layers)


def check_stages(config: TrainConfig, path: Path | str) -> None:
    """Raise InputError unless the stages make a network, and the tries have names of their own."""
    if not set(NETWORKS) & set(config.stages):
        raise InputError(path, "stages", ", ".join(config.stages), "make no network: add labels, or ppo, or both")
    for field, names in (
        ("labels.tries", [t.name for t in config.labels.tries]),
        ("ppo.tries", [t.name for t in config.ppo.tries]),
        ("forecast.tries", [layers_name(layers) for layers in config.forecast.tries]),
    ):
        if len(set(names)) != len(names):
            raise InputError(path, field, ", ".join(names), "two are the same; change one, or leave it out")
    longest = max(config.labels.marks_min)
    if "labels" in config.stages and config.worlds.episode <= 60.0 * longest:
        mend = f"a branch runs for {longest} minutes; make worlds.episode longer"
        raise InputError(path, "labels.tries", longest, mend)
    if min(config.labels.marks_min) < config.labels.hold_min:
        raise InputError(path, "labels.hold", config.labels.hold, "a horizon is at least as long as hold")
