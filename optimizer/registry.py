"""Policies in MLflow's model registry: versions are bundles, `champion` is in use, `challenger` wants to be.

MLflow keeps and names the files; it never runs them. Bytes are fetched, compared with the checksums noted at
registration, and go through `policies.bundle` like any stranger's. `mlflow.*.load_model`, which executes what it loads,
is not called anywhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import InputError
from envs.nearest import did_you_mean
from optimizer.gates import Gate
from policies.bundle import MODEL_MAX_BYTES, Bundle, bundle_from, forecaster_inside, read_inside
from policies.manifest import MANIFEST_FILE, MANIFEST_MAX_BYTES, MODEL_FILE
from policies.mlflow_uri import artifact_location, quiet_mlflow, tracking_uri

CHAMPION, CHALLENGER = "champion", "challenger"
EXPERIMENT = "trimtab-policies"
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
REFERENCE = re.compile(r"^(?P<name>[a-z0-9-]+)(?:@(?P<alias>[A-Za-z][\w-]*)|/(?P<version>\d+))?$")
SHA, MANIFEST_SHA, KIND, BEFORE, FORCED = (
    "trimtab.sha256", "trimtab.manifest_sha256", "trimtab.kind", "trimtab.champion_before", "trimtab.forced",
)  # fmt: skip


@dataclass(frozen=True)
class Version:
    """One registered bundle."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: dict[str, str]
    created_ms: int
    run_id: str | None

    @property
    def ref(self) -> str:
        return f"{self.name}/{self.number}"


class Registry:
    """The registry of one MLflow. Its errors are InputErrors that name the server."""

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()
        with _reaching(self.uri):
            self._client = _client(self.uri)

    def names(self) -> list[str]:
        """Of policies, sorted; other models of the same MLflow are left out."""
        with _reaching(self.uri):
            return sorted(m.name for m in self._client.search_registered_models() if self._is_ours(m.name))

    def _is_ours(self, name: str) -> bool:
        return any(SHA in v.tags for v in self._client.search_model_versions(f"name='{name}'", max_results=100))

    def versions(self, name: str) -> list[Version]:
        """Newest first. Raises InputError for an unknown name."""
        self._check_name(name)
        with _reaching(self.uri):
            aliases = dict(self._client.get_registered_model(name).aliases)
            found = self._client.search_model_versions(f"name='{name}'", max_results=10_000)
        made = [_version(one, aliases) for one in found if SHA in one.tags]
        return sorted(made, key=lambda one: -one.number)

    def _check_name(self, name: str) -> None:
        names = self.names()
        if name not in names:
            raise InputError(None, "policy", name, did_you_mean(name, names, noun="name") if names else NONE_YET)

    def find(self, reference: str) -> Version:
        """NAME (its champion, else its newest), NAME@alias or NAME/version. Raises InputError."""
        match = REFERENCE.match(reference)
        if not match:
            raise InputError(None, "policy", reference, "must be NAME, NAME@alias or NAME/version")
        versions = self.versions(match["name"])
        if match["version"]:
            wanted = [v for v in versions if v.number == int(match["version"])]
        elif match["alias"]:
            wanted = [v for v in versions if match["alias"] in v.aliases]
        else:
            wanted = [v for v in versions if CHAMPION in v.aliases] or versions[:1]
        if not wanted:
            there = ", ".join(_brief(v) for v in versions[:8])
            raise InputError(None, "policy", reference, f"there is no such version; there are {there}")
        return wanted[0]

    def fetch(self, version: Version) -> Bundle:
        """The bundle, as registered to the bit. Raises InputError."""
        from mlflow.artifacts import download_artifacts

        with tempfile.TemporaryDirectory(prefix="trimtab-") as place:
            with _reaching(self.uri):
                uri = self._client.get_model_version_download_uri(version.name, str(version.number))
                folder = Path(download_artifacts(artifact_uri=uri, dst_path=place, tracking_uri=self.uri))
            manifest = read_inside(folder, MANIFEST_FILE, MANIFEST_MAX_BYTES)
            model = read_inside(folder, MODEL_FILE, MODEL_MAX_BYTES)
            forecaster = forecaster_inside(folder)
        for field, data in ((MANIFEST_SHA, manifest), (SHA, model)):
            real = hashlib.sha256(data).hexdigest()
            if version.tags.get(field) != real:
                raise InputError(version.ref, field, real[:12], "is not what was registered; do not use this version")
        return bundle_from(manifest, model, version.ref, forecaster)  # its checksum is in the manifest

    def add(self, bundle: Bundle, name: str) -> Version:
        """Register a bundle as the newest version of `name`, and as its challenger."""
        tags = {
            SHA: bundle.manifest.model.sha256,
            MANIFEST_SHA: hashlib.sha256(bundle.text).hexdigest(),
            KIND: bundle.manifest.kind,
        }
        with _reaching(self.uri):
            run = self._store(bundle)
            self._ensure(name)
            made = self._client.create_model_version(
                name, source=f"{run.info.artifact_uri}/bundle", run_id=run.info.run_id, tags=tags
            )
            self._client.set_registered_model_alias(name, CHALLENGER, str(made.version))
        return self.find(f"{name}/{made.version}")

    def _store(self, bundle: Bundle) -> Any:
        """A finished run that holds the files."""
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(EXPERIMENT, artifact_location=artifact_location(self.uri))
        )
        tags = {"trimtab.training_run": bundle.manifest.mlflow_run_id or ""}
        run = self._client.create_run(
            experiment, run_name=f"{bundle.manifest.name}-{bundle.manifest.version}", tags=tags
        )
        with tempfile.TemporaryDirectory(prefix="trimtab-") as place:
            for name, data in bundle.files.items():
                (Path(place) / name).write_bytes(data)
            self._client.log_artifacts(run.info.run_id, place, "bundle")
        self._client.set_terminated(run.info.run_id)
        return run

    def _ensure(self, name: str) -> None:
        if name not in {m.name for m in self._client.search_registered_models()}:
            self._client.create_registered_model(name)

    def promote(self, version: Version, gates: Sequence[Gate], forced: str = "") -> Version | None:
        """Make it champion; the gates' verdicts, and the reason where forced, stay on it as tags. Who was before."""
        before = next((v for v in self.versions(version.name) if CHAMPION in v.aliases), None)
        tags = {f"trimtab.gate.{gate.name}": f"{'passed' if gate.passed else 'failed'}: {gate.said}" for gate in gates}
        tags |= {FORCED: forced} if forced else {}
        if before is not None and before.number != version.number:
            tags[BEFORE] = str(before.number)
        with _reaching(self.uri):
            for name, value in tags.items():
                self._client.set_model_version_tag(version.name, str(version.number), name, value[:4000])
            self._client.set_registered_model_alias(version.name, CHAMPION, str(version.number))
            if CHALLENGER in version.aliases:
                self._client.delete_registered_model_alias(version.name, CHALLENGER)
        return before

    def rollback(self, name: str) -> tuple[Version, Version]:
        """(new champion, old champion): back to who was champion before this one. Raises InputError."""
        versions = self.versions(name)
        now = next((v for v in versions if CHAMPION in v.aliases), None)
        if now is None:
            raise InputError(None, "policy", name, "has no champion; promote a version first")
        before = next((v for v in versions if str(v.number) == now.tags.get(BEFORE)), None)
        if before is None:
            raise InputError(None, "policy", now.ref, "replaced no champion; promote another version instead")
        with _reaching(self.uri):
            self._client.set_registered_model_alias(name, CHAMPION, str(before.number))
            self._client.delete_model_version_tag(name, str(now.number), BEFORE)
        return self.find(before.ref), now


NONE_YET = "there are no policies yet; trimtab policy import DIR registers a bundle"


def _brief(version: Version) -> str:
    return version.ref + "".join(f" @{alias}" for alias in version.aliases)


def _version(found: Any, aliases: dict[str, Any]) -> Version:
    number = int(found.version)
    names = tuple(sorted(alias for alias, of in aliases.items() if int(of) == number))
    return Version(found.name, number, names, dict(found.tags), int(found.creation_timestamp), found.run_id)


def _client(uri: str) -> Any:
    quiet_mlflow()
    for name, value in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"), ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")):
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError:
        mend = "is not installed; pip install 'trimtab[train]' brings it (policy verify works without)"
        raise InputError(None, "mlflow", None, mend) from None
    return MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


@contextmanager
def _reaching(uri: str) -> Iterator[None]:
    """Errors of MLflow and of the way there as one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("mlflow", "requests", "urllib3", "sqlalchemy")):
            raise
        shown = re.sub(r"://[^/\s@]+@", "://", uri)
        reason = re.sub(r"://[^/\s@]+@", "://", " ".join(str(error).split()))[:300]
        raise InputError(shown, "mlflow", None, f"{reason} (MLFLOW_TRACKING_URI says which server)") from None
