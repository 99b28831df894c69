"""The chosen candidate as a model version: once for each fingerprint, however often it is tried or raced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from ..environment import home
from ..errors import StepError
from ..files import file_lock
from .client import connect
from .package import FINGERPRINT, Chosen, log_package, version_tags

ALIAS = "challenger"


@dataclass(frozen=True, slots=True)
class Registered:
    """A model version. `created` is False where it was there before."""

    name: str
    version: str
    alias: str
    created: bool


def register(chosen: Chosen) -> Registered:
    """Make the version unless it is there, and let the alias point at it. Raises StepError if it is empty."""
    client = connect()
    with file_lock(home() / "locks" / f"register-{chosen.name}"):
        version = find_version(client, chosen.name, chosen.run["fingerprint"])
        created = version is None
        if version is None:
            version = _create(client, chosen)
        client.set_registered_model_alias(chosen.name, ALIAS, version.version)
    return Registered(chosen.name, str(version.version), ALIAS, created)


def find_version(client: MlflowClient, name: str, fingerprint: str) -> ModelVersion | None:
    """The version that a run of this fingerprint made, if it still has its files."""
    condition = f"name = '{name}' and tags.`{FINGERPRINT}` = '{fingerprint}'"
    found = (version for version in client.search_model_versions(condition) if has_files(version))
    return next(found, None)


def has_files(version: ModelVersion) -> bool:
    """MLflow makes a version whether there is anything in it or not."""
    try:
        files = mlflow.artifacts.list_artifacts(artifact_uri=f"models:/{version.name}/{version.version}")
    except (mlflow.MlflowException, OSError):
        return False
    return any(Path(file.path).name == "MLmodel" for file in files)


def _create(client: MlflowClient, chosen: Chosen) -> ModelVersion:
    version = mlflow.register_model(log_package(chosen), chosen.name, tags=version_tags(chosen))
    if not has_files(version):
        client.delete_model_version(chosen.name, version.version)
        raise StepError(
            f"register: version {version.version} of {chosen.name} has no files; it was deleted again"
        )
    return version
