"""Training never waits for the tracking server; whatever dies when, the run is complete in the end, each point once."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.manifest import TraceUsed
from training import tracking
from training.mlflow_sink import RefusedError
from training.secret_words import flat, masked
from training.spool import Spool, line_of, pending
from training.tracking import Tracker
from training.uploader import Uploader, drain


class FakeServer:
    """Takes records as MLflow does: points by (name, step, time), runs by the spool's mark. Fails where it is told to.

    A call may fail before it did anything or after it did everything: the caller sees the same error.
    """

    def __init__(self, failures: Sequence[str] = ()) -> None:
        self.failures = list(failures)
        self.runs: dict[str, str] = {}
        self.points: set[tuple[str, int, float, int]] = set()
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.status = ""

    def _call(self, done: Any) -> None:
        failure = self.failures.pop(0) if self.failures else "none"
        if failure == "before":
            raise ConnectionError("down")
        done()
        if failure == "after":
            raise ConnectionError("answer lost")

    def begin(self, start: Mapping[str, Any]) -> str:
        self._call(lambda: self.runs.setdefault(start["spool"], f"run-{len(self.runs)}"))
        return self.runs[start["spool"]]

    def resume(self, run_id: str) -> None:
        self._call(lambda: setattr(self, "status", "RUNNING"))

    def metrics(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        rows = {(n, r["step"], v, r["time_ms"]) for r in records for n, v in r["values"].items()}
        self._call(lambda: self.points.update(rows))

    def artifact(self, run_id: str, path: Path, under: str) -> None:
        self._call(lambda: self.files.__setitem__(f"{under}/{path.name}", path.read_bytes()))

    def tag(self, run_id: str, name: str, value: str) -> None:
        self._call(lambda: self.tags.__setitem__(name, value))

    def end(self, run_id: str, status: str, time_ms: int) -> None:
        self._call(lambda: setattr(self, "status", status))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No uploader process: the test is the uploader."""
    monkeypatch.setattr(tracking, "_start", lambda *_: None)


def train(folder: Path, steps: range, plot: Path | None = None) -> None:
    with Tracker(folder, "e", {"lr": 0.1}) as t:
        for step in steps:
            t.metrics({"loss": 1.0 / (step + 1), "rate": float(step)}, step)
        t.tag("stage", "ppo")
        if plot:
            t.artifact(plot)


@settings(max_examples=60, deadline=None)
@given(
    failures=st.lists(st.sampled_from(["none", "before", "after"]), max_size=30),
    steps=st.integers(0, 1200),
    split=st.integers(0, 1200),
)
def test_whatever_call_fails_the_run_is_complete_in_the_end_with_each_point_once(failures, steps, split):
    """Training in two sittings, the second of which repeats some steps, as after a kill between two checkpoints."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "_start", lambda *_: None)
        folder, server = Path(name) / "run", FakeServer(failures)
        uploader = Uploader(Spool(folder), "here", lambda: server, retry_max_s=0.0)
        train(folder, range(min(split, steps)))
        uploader.once()
        train(folder, range(max(0, min(split, steps) - 50), steps))
        assert sum(not uploader.once() for _ in range(len(failures) + 2)) <= len(failures)
        assert uploader.once()
        assert list(server.runs.values()) == ["run-0"]
        assert Counter((n, s) for n, s, _, _ in server.points) == Counter(
            (n, s) for n in ("loss", "rate") for s in range(steps)
        )
        assert (server.status, server.tags) == ("FINISHED", {"stage": "ppo"})
        assert Spool(folder).run_id() == "run-0"


def test_a_half_written_line_is_cut_off_and_nothing_else(tmp_path, quiet):
    train(tmp_path / "r", range(3))
    spool = Spool(tmp_path / "r")
    whole = spool.lines.read_bytes()
    spool.lines.write_bytes(whole + b'{"kind":"metrics","st')
    assert len(list(spool.records())) == whole.count(b"\n")
    train(tmp_path / "r", range(3, 5))
    assert spool.lines.read_bytes().startswith(whole + b'{"kind":"resume"')
    server = FakeServer()
    drain(spool, server, "here")
    assert {step for _, step, _, _ in server.points} == set(range(5))


def test_what_a_server_refuses_does_not_block_what_follows(tmp_path, quiet):
    train(tmp_path / "r", range(2))
    server, said = FakeServer(), []

    def refuse(*_: object) -> None:
        raise RefusedError("metric name")

    server.metrics = refuse  # type: ignore[method-assign]
    drain(Spool(tmp_path / "r"), server, "here", said.append)
    assert server.status == "FINISHED"
    assert said == ["refused: metrics: metric name"]


def test_another_server_gets_everything_from_the_start(tmp_path, quiet):
    train(tmp_path / "r", range(2))
    first, second = FakeServer(), FakeServer()
    drain(Spool(tmp_path / "r"), first, "first")
    drain(Spool(tmp_path / "r"), second, "second")
    assert first.points == second.points != set()


def test_files_are_sent_as_they_were(tmp_path, quiet):
    plot = tmp_path / "plot.html"
    plot.write_text("first")
    with Tracker(tmp_path / "r", "e", {}) as t:
        t.artifact(plot, "plots")
        plot.write_text("second")
        t.table("stage results", [{"stage": "base", "cost": 1.5}, {"stage": "ppo", "note": "a,b"}])
    server = FakeServer()
    drain(Spool(tmp_path / "r"), server, "here")
    assert server.files["plots/plot.html"] == b"first"
    assert server.files["tables/stage results.csv"] == b'stage,cost,note\nbase,1.5,\nppo,,"a,b"\n'


def test_numbers_that_are_not_finite_travel(tmp_path, quiet):
    with Tracker(tmp_path / "r", "e", {}) as t:
        t.metrics({"a": math.nan, "b": math.inf}, 0)
    spool = Spool(tmp_path / "r")
    assert [record for _, record in spool.records()][1]["values"] == {"a": None, "b": "inf"}
    assert pending(tmp_path) == [tmp_path / "r"]
    with pytest.raises(ValueError, match="JSON"):
        line_of({"x": math.nan})


def test_a_run_that_raises_is_failed_and_one_interrupted_is_killed(tmp_path, quiet):
    for error, status in [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]:
        with pytest.raises(error), Tracker(tmp_path / status, "e", {}):
            raise error
        server = FakeServer()
        drain(Spool(tmp_path / status), server, "here")
        assert server.status == status


def test_secrets_stay_at_home(tmp_path, quiet):
    params = {
        "lr": 0.1,
        "db": {"password": "hunter2", "url": "postgresql://me:hunter2@db/x"},
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "api_token": "hunter2",
        "data": "https://x/y?sig=hunter2&z=1",
    }
    with Tracker(tmp_path / "r", "e", params) as t:
        t.tag("note", "http://me:hunter2@server")
    assert flat(params)["lr"] == "0.1"
    assert all(b"hunter2" not in path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file())
    assert masked("cannot reach http://me:hunter2@server/api: no route") == (
        "cannot reach http://(hidden)@server/api: no route"
    )


def test_a_point_costs_microseconds(tmp_path, quiet):
    """A training update takes some 100 ms and writes one line: 1 % of it is a millisecond."""
    with Tracker(tmp_path / "r", "e", {}) as t:
        start = time.process_time()
        for step in range(2000):
            t.metrics({"loss": 1.0, "rate": 2.0, "clip": 0.1}, step)
        assert (time.process_time() - start) / 2000 < 0.001


def killed_trainer(folder: Path) -> None:
    """A trainer in a process of its own that is killed with -9 while it writes."""
    code = (
        "import sys; from pathlib import Path; from training.tracking import Tracker\n"
        f"t = Tracker(Path({str(folder)!r}), 'e', {{'lr': 1}}); t.__enter__()\n"
        "for step in range(10**9):\n"
        "    t.metric('loss', 1.0, step)\n"
        "    if step == 300: print('ready', flush=True)\n"
    )
    trainer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == b"ready\n"
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()


def test_a_run_killed_at_any_moment_goes_on_as_the_same_run(tmp_path, monkeypatch):
    """With the real uploader, the real MLflow, and its database in the folder where the user stands."""
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    killed_trainer(tmp_path / "runs" / "a")
    done = last_step(tmp_path / "runs" / "a")
    data = [TraceUsed(source="nab", trace="elb", sha256="0" * 64)]
    with Tracker(tmp_path / "runs" / "a", "e", {"lr": 1}, data=data) as t:
        for step in range(done - 5, done + 20):
            t.metric("loss", 1.0, step)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert run.info.run_id == t.run_id
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "1"})
    assert run.info.artifact_uri.startswith((tmp_path / "mlruns").as_uri())
    assert sorted(p.step for p in client.get_metric_history(run.info.run_id, "loss")) == list(range(done + 20))
    assert pending(tmp_path / "runs") == []


def last_step(run: Path) -> int:
    lines = Spool(run).lines.read_bytes().splitlines()
    return max(json.loads(line)["step"] for line in lines[:-1] if b'"metrics"' in line)
