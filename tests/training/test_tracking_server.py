"""Against a real `mlflow server` that is killed in the middle: training goes on, and the run is complete afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from training.spool import Spool
from training.tracking import Tracker

STEPS = 300


class Server:
    """`mlflow server` on a free port of this machine, its database and files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        words += ["--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "./files"]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **quiet},
            )  # fmt: skip

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """No goodbye: as a node that is lost."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.kill()


def until(true: Callable[[], bool], within_s: float = 120.0) -> None:
    """Waits for an event of another process, looking ten times a second."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_an_outage_in_the_middle_of_a_run_loses_nothing(server, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    plot = tmp_path / "plot.html"
    plot.write_text("<p>curve</p>")
    run = tmp_path / "runs" / "a"
    with Tracker(run, "outage", {"lr": 0.1, "seed": 7}, flush_s=120.0, retry_max_s=1.0) as t:
        assert t.run_id is None  # nobody waited for the server, which is not up yet
        t.metrics({"loss": 1.0, "rate": 5.0}, 0)
        until(lambda: t.run_id is not None and sent(run, server) == Spool(run).size())
        server.kill()
        assert not server.is_up()
        spent = time.process_time()
        for step in range(1, STEPS):
            t.metrics({"loss": 1.0 / step, "rate": 5.0}, step)
        t.table("stages", [{"stage": "ppo", "cost": 1.5}])
        t.artifact(plot, "plots")
        assert time.process_time() - spent < 0.001 * STEPS
        until(lambda: "rror" in log(run))  # the uploader met the outage
        server.start()
    client = MlflowClient(server.url)
    found = client.get_run(t.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"lr": "0.1", "seed": "7"}
    for name in ("loss", "rate"):
        assert [p.step for p in client.get_metric_history(t.run_id, name)] == list(range(STEPS))
    assert Path(client.download_artifacts(t.run_id, "plots/plot.html")).read_text() == "<p>curve</p>"
    assert Path(client.download_artifacts(t.run_id, "tables/stages.csv")).read_text() == "stage,cost\nppo,1.5\n"


def sent(run: Path, server: Server) -> int:
    return Spool(run).sent(server.url).offset


def log(run: Path) -> str:
    path = run / "tracking" / "uploader.log"
    return path.read_text() if path.exists() else ""


def test_without_a_server_the_run_ends_and_the_next_start_sends_what_is_left(tmp_path, monkeypatch, capfd):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    with Tracker(tmp_path / "runs" / "first", "e", {"n": 1}, flush_s=0.5) as t:
        t.metric("loss", 1.0, 0)
    assert "sends what is left" in capfd.readouterr().err
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with Tracker(tmp_path / "runs" / "second", "e", {"n": 2}, flush_s=120.0) as t:
        t.metric("loss", 2.0, 0)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert {(r.info.run_name, r.info.status, r.data.metrics["loss"]) for r in runs} == {
        ("first", "FINISHED", 1.0),
        ("second", "FINISHED", 2.0),
    }
