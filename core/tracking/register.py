"""The chosen candidate as a model version: once for each fingerprint, however often it is tried or raced.

The package is pyfunc from code: `loader.py`, and the folder that `core/model/served.py` reads: `artifact/`,
`served.json` (which base) and `candidate.json` (its entry of result.json, for gates).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema

from ..environment import home
from ..errors import StepError
from ..files import file_lock, link
from .client import connect

ALIAS = "challenger"
FINGERPRINT, LOADER_SHA256 = "stepladder.fingerprint", "stepladder.loader_sha256"
LOADER = Path(__file__).with_name("loader.py")
LIBRARIES = ("stepladder", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is registered under `name`: the candidate's entry and artifact folder, its base, MLflow's run."""

    name: str
    entry: Mapping[str, Any]
    artifact: Path
    base: Mapping[str, Any] | None
    run: Mapping[str, Any]
    run_id: str


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
    tags = {
        FINGERPRINT: chosen.run["fingerprint"],
        LOADER_SHA256: hashlib.sha256(LOADER.read_bytes()).hexdigest(),
        "stepladder.candidate": chosen.entry["id"],
        "stepladder.method": chosen.entry["method"],
        "stepladder.run_dir": chosen.run["run_dir"],
        "stepladder.base_fingerprint": chosen.base["fingerprint"] if chosen.base else "",
    }
    version = mlflow.register_model(_log(chosen), chosen.name, tags=tags)
    if not has_files(version):
        client.delete_model_version(chosen.name, version.version)
        raise StepError(
            f"register: version {version.version} of {chosen.name} has no files; it was deleted again"
        )
    return version


def _log(chosen: Chosen) -> str:
    """Log the package to the candidate's run; returns its URI."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mlflow.start_run(run_id=chosen.run_id),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # advice to infer the signature, which is given
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(LOADER),
            artifacts={"served": str(_pack(chosen, Path(folder) / "served"))},
            signature=ModelSignature(Schema([ColSpec("string", "input")]), Schema([ColSpec("string")])),
            pip_requirements=[f"{library}=={installed(library)}" for library in LIBRARIES],
        )
    uri: str = info.model_uri
    return uri


def _pack(chosen: Chosen, folder: Path) -> Path:
    link(chosen.artifact, folder / "artifact")
    (folder / "served.json").write_text(json.dumps({"base": chosen.base}, indent=2))
    (folder / "candidate.json").write_text(
        json.dumps({"run": chosen.run, "candidate": chosen.entry}, indent=2)
    )
    return folder
