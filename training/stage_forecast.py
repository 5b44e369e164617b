"""The forecaster as a stage: every try fitted to the same samples, the best judged against the naive forecasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from envs.world_draw import LoadSource
from training.config import TrainConfig, layers_name
from training.export import MadeForecaster, made_forecaster
from training.forecast_data import gather_samples
from training.forecaster import fit_forecaster, judge_forecaster
from training.stages import Row


def forecast_stage(
    config: TrainConfig, loads: Sequence[LoadSource], held_out: Sequence[LoadSource], say: Callable[[str], None]
) -> tuple[list[Row], MadeForecaster | None]:
    """(its lines of the stage table, the forecaster if it is kept). A few seconds; equal arguments, equal bytes."""
    c, seed = config.forecast, config.seed
    given: Any = {"days": c.days, "every_min": round(c.every / 60.0)}
    train = gather_samples(loads, services=c.services, seed=seed, **given)
    test = gather_samples(held_out, services=c.services * 2 // 3, seed=seed + 1, generated=0.0, **given)
    say(f"forecaster: {len(train.came):,} samples, {len(c.tries)} tries to fit them")
    nets = {layers_name(layers): fit_forecaster(train, layers, seed=seed) for layers in c.tries}
    made = {name: judge_forecaster(net, train, test, seed=seed, tried=len(nets)) for name, net in nets.items()}
    chosen = min(made, key=lambda name: made[name].against[0])
    rows = [
        Row("forecast", name, f.naive, f.loss, *f.against, tried=len(made), kept=name == chosen and f.better)
        for name, f in made.items()
    ]
    best = made[chosen]
    ratio, low, high = best.against
    verdict = "kept" if best.better else "not kept"
    say(f"forecast: {chosen} against {best.naive}: {ratio:+.3f} [{low:+.3f}, {high:+.3f}] in log loss: {verdict}")
    return rows, made_forecaster(nets[chosen], best.table, seed) if best.better else None
