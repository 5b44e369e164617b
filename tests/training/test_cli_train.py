"""`trimtab train` from the outside: what it refuses, how it is interrupted, what it tells MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from envs.errors import InputError
from optimizer.cli import app
from training import cli_train
from training import train as engine
from training.progress import TrainBar
from training.spool import Spool


def trimtab(*words: object) -> str:
    done = CliRunner().invoke(app, ["train", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_help_teaches_and_loads_nothing_heavy():
    assert trimtab("--help").count("trimtab train ") >= 3
    code = (
        "import sys, optimizer.cli, training.cli_train; "
        "heavy = {'torch', 'mlflow', 'stable_baselines3', 'numpy', 'numba', 'onnx', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead: 1", "did you mean seed|unknown key"),
        ("ppo: {rows: many}", "ppo.rows"),
        ("ppo: {gamma: 1.5}", "ppo.gamma"),
        ("[1, 2]", "mapping"),
    ],
)
def test_a_bad_configuration_writes_nothing(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        trimtab("mine.yaml")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("words", [[], ["quick.yaml", "--preset", "quick"], ["--preset", "quik"], ["none.yaml"]])
def test_neither_both_nor_unknown(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        trimtab(*words)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named_in_the_base_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_train, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(InputError, match=r"torch.*trimtab\[train\]"):
        trimtab("--preset", "quick")


def test_a_folder_with_a_run_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine.prepare(cli_train_config(), Path("run"), resume=False)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="--resume"):
        trimtab("--preset", "quick", "--out", "run")
    with pytest.raises(InputError, match="another configuration"):
        trimtab("--preset", "quick", "--seed", "5", "--out", "run", "--resume")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def cli_train_config() -> Any:
    from training.config import load_config

    return load_config("quick")


def stub(updates: int, at: Callable[[int], None] = lambda update: None) -> Callable[..., Any]:
    """An engine that reports `updates` updates of 1,000 rows, in place of one that simulates."""

    def run(config: Any, out: Path, **given: Any) -> Any:
        for update in range(updates):
            at(update)
            if given["stop"]():
                raise KeyboardInterrupt
            given["report"]({"rollout/reward": 0.01 * update, "time/rows_per_s": 5e4}, 1000 * (update + 1))
        return SimpleNamespace(bundle=out / "bundle", kept=True)

    return run


def steps_of(run: Path) -> list[int]:
    return [record["step"] for _, record in Spool(run).records() if record["kind"] == "metrics"]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, no uploader, and no bundle to read at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.tracking._start", lambda *_: None)
    monkeypatch.setattr("training.tracked.tell_results", lambda *_: None)
    return tmp_path


def test_every_update_reaches_the_spool_and_the_parameters_too(offline, monkeypatch):
    monkeypatch.setattr(engine, "run", stub(5))
    said = trimtab("--preset", "quick", "--out", "run", "--seed", "3")
    assert "better than the tuned base" in said
    assert "trimtab policy import run/bundle" in said
    assert steps_of(offline / "run") == [1000, 2000, 3000, 4000, 5000]
    first = next(iter(Spool(offline / "run").records()))[1]
    assert (first["params"]["seed"], first["params"]["preset"]) == ("3", "quick")
    assert first["params"]["ppo.gamma"] == "0.97"


@pytest.fixture
def interruptible():
    """Ctrl-C as at a terminal: a background job of a shell starts with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_at_the_next_update_and_resume_goes_on(offline, monkeypatch, capsys, interruptible):
    def press(update: int) -> None:
        if update == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(engine, "run", stub(5, press))
    done = CliRunner().invoke(app, ["train", "--preset", "quick", "--out", "run"])
    assert done.exit_code != 0
    assert steps_of(offline / "run") == [1000, 2000]
    *_, last = Spool(offline / "run").records()
    assert last[1]["status"] == "KILLED"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.setattr(engine, "run", stub(5))
    trimtab("--preset", "quick", "--out", "run", "--resume")
    assert steps_of(offline / "run") == [1000, 2000, 3000, 4000, 5000]


@pytest.mark.parametrize(("words", "said"), [("labels,pqo", "stages"), ("base,replay", "make no network")])
def test_stages_that_are_none_write_nothing(offline, words, said):
    with pytest.raises(InputError, match=said):
        trimtab("--preset", "quick", "--stages", words)
    assert list(offline.iterdir()) == []


def test_stages_of_the_command_line_are_the_runs(offline, monkeypatch):
    monkeypatch.setattr(engine, "run", stub(2))
    trimtab("--preset", "quick", "--stages", "base, labels,ppo", "--out", "run", "--no-track")
    assert json.loads((offline / "run" / "config.json").read_text())["stages"] == ["base", "labels", "ppo"]


def test_no_track_leaves_no_trace_of_mlflow(offline, monkeypatch):
    monkeypatch.setattr(engine, "run", stub(2))
    trimtab("--preset", "quick", "--out", "run", "--no-track")
    assert [p.name for p in (offline / "run").iterdir()] == ["config.json"]
    assert json.loads((offline / "run" / "config.json").read_text())["name"] == "trimtab-quick"


def test_without_a_terminal_progress_is_a_few_lines(tmp_path):
    with (tmp_path / "log").open("w") as stream, TrainBar(stream, 100_000) as bar:
        for rows in range(100, 100_100, 100):
            bar({"rollout/reward": 0.01, "time/rows_per_s": 50_000.0}, rows)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 20
    assert lines[-1] == "100,000 of 100,000 rows, 50,000 rows/s, reward +0.0100"
