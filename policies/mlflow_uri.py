"""Which MLflow: the one that MLFLOW_TRACKING_URI names, or a database in the folder where the user stands."""

from __future__ import annotations

import os
from pathlib import Path


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or `mlflow.db` in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def artifact_location(uri: str) -> str | None:
    """Where a new experiment keeps its files: `mlruns` beside a database in this folder, else as the server says."""
    return (Path.cwd() / "mlruns").as_uri() if uri.startswith("sqlite:") else None


def quiet_mlflow() -> None:
    """Before MLflow is loaded: no usage data to its makers, no progress bars, no notes on migrations."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
