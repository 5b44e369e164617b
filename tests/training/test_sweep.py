"""A sweep: its grid, what it refuses, its members like single runs, its tables, and how it goes on after an end."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from envs.errors import InputError
from envs.executor import InProcess
from envs.interquartile import bootstrapped, interquartile_mean
from optimizer.cli import app

pytest.importorskip("stable_baselines3", reason="training needs the extra `train`")

from training import sweep_run
from training.config import TrainConfig
from training.spool import Spool
from training.sweep import Member, combinations, folder_name, members_of, settable
from training.sweep_results import Found, by_setting, found_in
from training.sweep_run import Step, check_sweep, run_sweep
from training.train import run
from training.uploader import PARENT_TAG, Uploader

TINY = {
    "name": "tiny",
    "threads": 1,
    "worlds": {"clusters": 2, "workloads": 3, "episode": "1h"},
    "ppo": {"rows": 6 * 120, "steps": 20, "batch": 60, "epochs": 2, "layers": [8]},
    "check": {"clusters": 2, "episode": "1h", "prior_workloads": 3, "prior_days": 0.05, "prior_prices": [30, 300]},
}
BASE = TrainConfig.model_validate(TINY)


def members(place: Path, *sets: str, seeds: int = 2) -> list[Member]:
    return members_of(BASE, sets, seeds, place)


def test_the_grid_is_every_setting_with_every_seed_in_folders_of_their_own(tmp_path):
    made = members(tmp_path, "ppo.learning_rate=1e-4,3e-4", "ppo.layers=[8],[16; 16]", seeds=3)
    assert len({m.folder for m in made}) == 2 * 2 * 3
    assert [m.config.seed for m in made[:3]] == [0, 1, 2]
    assert [m.config.ppo.learning_rate for m in made[::3]] == [1e-4, 1e-4, 3e-4, 3e-4]
    assert made[3].config.ppo.layers == (16, 16)
    assert made[0].label == "ppo.learning_rate=1e-4, ppo.layers=[8], seed 0"


@given(st.lists(st.tuples(st.sampled_from(settable()), st.text(min_size=1, max_size=90)), max_size=4))
def test_folder_names_are_safe_and_their_own(settings):
    name = folder_name(settings, 3)
    assert name == Path(name).name
    assert name.isascii()
    assert len(name) <= 80
    assert name != folder_name([*settings, ("ppo.gamma", "0.9")], 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ppo.learnin_rate=1e-4", r'did you mean "ppo.learning_rate"'),
        ("learning_rate=1e-4", r'did you mean "ppo.learning_rate"'),
        ("worlds.gama=0.9", r'did you mean "ppo.gamma"'),
        ("zzz=1", "settings are check.clusters"),
        ("ppo=1", "unknown setting"),
        ("seed=1,2", "--seeds"),
        ("threads=1,2", "--workers"),
        ("ppo.gamma", "write path=v1,v2"),
        ("ppo.gamma=0.9,,0.8", "empty value"),
        ("ppo.gamma=1.5", "ppo.gamma"),
        ("ppo.rows=many", "ppo.rows"),
        ("worlds.price_low=5000", "price_low"),
    ],
)
def test_a_wrong_setting_names_the_right_ones_and_writes_nothing(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(app, ["train", "--preset", "quick", "--set", text], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_twice_and_too_many_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="twice"):
        combinations(["ppo.gamma=0.9", "ppo.gamma=0.8"])
    with pytest.raises(InputError, match="at most"):
        members(tmp_path, "ppo.gamma=0.1,0.2,0.3", seeds=5000)


@pytest.fixture
def trained(monkeypatch):
    """Trains nothing: what a member would leave, and which members were asked for."""
    asked: list[str] = []

    def leave(task: Any, tell: Any, stopped: Any) -> str:
        asked.append(task.member.label)
        if stopped():
            return ""
        config = task.member.config
        if config.ppo.gamma == 0.5:
            return "ValueError: the weights ran away"
        ratio = -0.1 * config.ppo.gamma + 0.01 * config.seed
        rows = [[price, 1.0, 1.0, ratio, ratio - 0.045, ratio + 0.045] for price in (30.0, 300.0)]
        folder = task.member.folder
        (folder / "bundle").mkdir(parents=True)
        (folder / "bundle" / "manifest.json").write_text("{}")
        (folder / "config.json").write_text(config.model_dump_json())
        (folder / "stages.json").write_text(json.dumps({"rows": [*rows, [None, None, None, *rows[0][3:]]]}))
        lines = [f"{n},rollout/reward,{-ratio * n}" for n in (100, 200, 300)]
        (folder / "curve.csv").write_text("\n".join(["rows,name,value", *lines, "300,time/rows_per_s,9"]))
        tell(Step(task.index, config.ppo.rows, {"time/rows_per_s": 9.0}))
        return ""

    monkeypatch.setattr(sweep_run, "train_member", leave)
    return asked


def swept(place: Path, made: list[Member], stop: Any = lambda: False) -> Any:
    return run_sweep(
        place, made, InProcess(), preset="", track=False, told=lambda step: None, ended=lambda i, f: None, stop=stop
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_tables_hold_each_member_and_interquartile_means_over_seeds(tmp_path, trained):
    made = members(tmp_path, "ppo.gamma=0.8,0.9", seeds=5)
    result = swept(tmp_path, made)
    first, second = result.settings
    ratios = -0.08 + 0.01 * np.arange(5)
    assert first.log_ratio[0] == pytest.approx(interquartile_mean(ratios[None])[0])
    assert first.log_ratio[1] < first.log_ratio[0] < first.log_ratio[2]
    assert second.against_first == pytest.approx((-0.01, -0.01, -0.01))
    assert (first.better, second.better) == (4, 5)  # -0.04 + 0.045 is not below 0
    assert [float(row["log_ratio"]) for row in rows_of(tmp_path / "members.csv")[:5]] == pytest.approx(ratios)
    assert rows_of(tmp_path / "settings.csv")[1]["setting"] == "ppo.gamma=0.9"
    plain = json.loads((tmp_path / "sweep.json").read_text())
    assert (len(plain["members"]), len(plain["settings"])) == (10, 2)
    page = (tmp_path / "curves.html").read_text()
    assert "ppo.gamma=0.9, seed 4" in page
    assert 'src="http' not in page


def test_ctrl_c_keeps_finished_members_and_a_second_run_does_only_the_rest(tmp_path, trained):
    made = members(tmp_path, seeds=3)
    stops = iter([False, False, False, True, True, True])
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, made, lambda: next(stops))
    assert [row["state"] for row in rows_of(tmp_path / "members.csv")] == ["finished", "missing", "missing"]
    trained.clear()
    more = members(tmp_path, seeds=4)
    with pytest.raises(InputError, match="--resume"):
        check_sweep(tmp_path, more, resume=False)
    check_sweep(tmp_path, more, resume=True)
    assert [one.done for one in swept(tmp_path, more).found] == [True] * 4
    assert trained == ["seed 1", "seed 2", "seed 3"]


def test_a_member_that_fails_leaves_the_others_alone_and_is_tried_again(tmp_path, trained):
    made = members(tmp_path, "ppo.gamma=0.5,0.9")
    result = swept(tmp_path, made)
    assert [one.state for one in result.found] == ["failed", "failed", "finished", "finished"]
    assert math.isnan(result.settings[0].log_ratio[0])
    assert "ran away" in rows_of(tmp_path / "members.csv")[0]["error"]
    trained.clear()
    swept(tmp_path, made)
    assert len(trained) == 2


def test_another_configuration_in_a_members_folder_is_refused(tmp_path, trained):
    swept(tmp_path, members(tmp_path))
    with pytest.raises(InputError, match="another configuration"):
        check_sweep(tmp_path, members_of(BASE.model_copy(update={"name": "b"}), [], 2, tmp_path), resume=True)
    threads = members_of(BASE.model_copy(update={"threads": 7}), [], 2, tmp_path)
    check_sweep(tmp_path, threads, resume=True)  # they change no number


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=12))
def test_an_interval_holds_within_the_values_and_says_nothing_for_two(values):
    value, low, high = bootstrapped(np.array(values))
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert min(values) - 1e-9 <= value <= max(values) + 1e-9
    assert bootstrapped(np.array([*values, math.nan])) == (value, low, high)
    assert all(map(math.isnan, bootstrapped(np.array(values[:2]))[1:]))


def test_settings_are_compared_seed_by_seed_where_both_are_known(tmp_path):
    made = members(tmp_path, "ppo.gamma=0.8,0.9", seeds=4)
    ratios = [0.0, 1.0, 2.0, 3.0, -0.5, 0.5, 1.5, math.nan]
    _, second = by_setting([Found(m, log_ratio=r) for m, r in zip(made, ratios, strict=True)])
    assert second.against_first == pytest.approx((-0.5, -0.5, -0.5))
    assert (second.finished, second.of) == (3, 4)


def test_members_are_what_single_runs_are_and_parts_of_one_run_for_mlflow(tmp_path, monkeypatch):
    monkeypatch.setattr("training.tracking._start", lambda *_: None)
    made = members(tmp_path / "sweep", "ppo.learning_rate=1e-3")
    seen: list[Step] = []
    result = run_sweep(
        tmp_path / "sweep", made, InProcess(), preset="", track=True, told=seen.append, ended=lambda i, f: None,
        stop=lambda: False,
    )  # fmt: skip
    assert all(one.done for one in result.found)
    assert {step.index for step in seen} == {0, 1}
    alone = run(made[0].config, tmp_path / "alone")
    bundles = [folder / "policy.onnx" for folder in (alone.bundle, made[0].folder / "bundle")]
    assert bundles[0].read_bytes() == bundles[1].read_bytes()
    assert found_in(made[0]).log_ratio == pytest.approx(alone.judged.overall[0], abs=1e-5)
    child, parent = Spool(made[0].folder), Spool(tmp_path / "sweep")
    assert child.parent() is not None
    told = Server()
    uploaders = [Uploader(spool, "here", lambda: told, retry_max_s=0.0) for spool in (child, parent)]
    assert not uploaders[0].once()  # the sweep goes first
    assert uploaders[1].once()
    assert uploaders[0].once()
    assert told.parents == [None, "run-0"]


class Server:
    """Notes whose child each run is."""

    def __init__(self) -> None:
        self.parents: list[str | None] = []

    def begin(self, start: Any) -> str:
        self.parents.append(start["tags"].get(PARENT_TAG))
        return f"run-{len(self.parents) - 1}"

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture(autouse=True)
def no_real_tracking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
