"""The server's side of tracking: each call may be made twice without harm, as an uploader may die between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from policies.mlflow_uri import artifact_location
from training.spool import values_in

SPOOL_TAG = "trimtab.spool"
METRICS_MAX, PARAMS_MAX, VALUE_MAX = 1000, 100, 6000  # of one log_batch, of MLflow's REST API
PERMANENT = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "PERMISSION_DENIED"})


class RefusedError(Exception):
    """The server will never take this record: go on with the next."""


class Sink(Protocol):
    """Where records go. Any exception but RefusedError means: later, again."""

    def begin(self, start: Mapping[str, Any]) -> str:
        """The run's id: found by the spool's mark, or made."""
        ...

    def resume(self, run_id: str) -> None: ...
    def metrics(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> None: ...
    def artifact(self, run_id: str, path: Path, under: str) -> None: ...
    def tag(self, run_id: str, name: str, value: str) -> None: ...
    def end(self, run_id: str, status: str, time_ms: int) -> None: ...


class MlflowSink:
    """An MLflow server or database."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self.uri = uri
        self._client = MlflowClient(tracking_uri=uri)

    def begin(self, start: Mapping[str, Any]) -> str:
        experiment = self._experiment(start["experiment"])
        with _permanent():
            found = self._client.search_runs([experiment], f"tags.`{SPOOL_TAG}` = '{start['spool']}'", max_results=1)
            run_id = found[0].info.run_id if found else self._make(experiment, start)
            self._params(run_id, start["params"])
        return str(run_id)

    def _make(self, experiment: str, start: Mapping[str, Any]) -> str:
        tags = {**start["tags"], SPOOL_TAG: start["spool"]}
        made = self._client.create_run(experiment, start_time=start["time_ms"], tags=tags, run_name=start["name"])
        return str(made.info.run_id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        with _permanent():
            return str(self._client.create_experiment(name, artifact_location=artifact_location(self.uri)))

    def _params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        rows = [Param(name, value[:VALUE_MAX]) for name, value in params.items()]
        for at in range(0, len(rows), PARAMS_MAX):
            self._client.log_batch(run_id, params=rows[at : at + PARAMS_MAX])

    def resume(self, run_id: str) -> None:
        with _permanent():
            self._client.update_run(run_id, status="RUNNING")

    def metrics(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Points of curves. MLflow keys a point by its time too, so the same one sent twice is one."""
        from mlflow.entities import Metric

        rows = [
            Metric(name, value, record["time_ms"], record["step"])
            for record in records
            for name, value in values_in(record["values"]).items()
        ]
        with _permanent():
            for at in range(0, len(rows), METRICS_MAX):
                self._client.log_batch(run_id, metrics=rows[at : at + METRICS_MAX])

    def artifact(self, run_id: str, path: Path, under: str) -> None:
        with _permanent():
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), f"{under}/{path.name}".lstrip("/"))
            else:
                self._client.log_artifact(run_id, str(path), under or None)

    def tag(self, run_id: str, name: str, value: str) -> None:
        with _permanent():
            self._client.set_tag(run_id, name, value)

    def end(self, run_id: str, status: str, time_ms: int) -> None:
        with _permanent():
            self._client.set_terminated(run_id, status, time_ms)


@contextmanager
def _permanent() -> Iterator[None]:
    """MLflow's refusals as RefusedError; a server that is down stays what it is."""
    try:
        yield
    except Exception as error:
        if getattr(error, "error_code", "") in PERMANENT:
            raise RefusedError(str(error)) from error
        raise
