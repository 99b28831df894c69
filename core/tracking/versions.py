"""Model versions: found by reference, fetched with their files, and marked with tags.

A reference is `models:/NAME@alias` or `models:/NAME/3`, with or without the `models:/`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow import MlflowClient, MlflowException
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from ..errors import InputError, ModelError, did_you_mean
from .faults import is_missing, mlflow_answers, upsert
from .package import FINGERPRINT, check_tags, files_at
from .tags import CHAMPION

REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^/:@]+)(?:@(?P<alias>[\w-]+)|/(?P<version>[0-9]+))")
SERVED = "artifacts/served"
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a registered model. `fingerprint` is that of the run that made it."""

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    @property
    def fingerprint(self) -> str:
        return self.tags.get(FINGERPRINT, "")


def is_reference(text: str) -> bool:
    """Whether the text names a model version, and not a folder."""
    return text.startswith("models:/") or (REFERENCE.fullmatch(text) is not None and not Path(text).exists())


def as_version(found: ModelVersion) -> Version:
    return Version(found.name, str(found.version), found.run_id or "", dict(found.tags))


@mlflow_answers()
def find(client: MlflowClient, reference: str) -> Version:
    """The version that is meant. Raises InputError where there is none, with what there is instead."""
    meant = REFERENCE.fullmatch(reference)
    if meant is None:
        raise InputError(
            f"{reference!r} is no model version: expected NAME@alias or NAME/3, as in models:/NAME@{CHAMPION}"
        )
    name, alias, number = meant["name"], meant["alias"], meant["version"]
    model = registered_model(client, name)
    if alias:
        number = {holder: str(held) for holder, held in model.aliases.items()}.get(alias)
        if number is None:
            raise InputError(_no_alias(model, alias))
    try:
        return as_version(client.get_model_version(name, number))
    except MlflowException as error:
        if not is_missing(error):
            raise
        raise InputError(_no_version(client, name, number)) from error


@mlflow_answers()
def registered_model(client: MlflowClient, name: str) -> RegisteredModel:
    """The registered model of that name. Raises InputError where there is none."""
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if not is_missing(error):
            raise
        names = [model.name for model in client.search_registered_models()]
        raise InputError(
            f"no registered model {name!r}{did_you_mean(name, names)}: there is {_listed(names)}; "
            "`stepladder run` on a config with `register: NAME` makes one"
        ) from error


@mlflow_answers()
def has_files(version: Version) -> bool:
    """MLflow makes a version whether there is anything in it or not."""
    return "MLmodel" in files_at(version.uri)


@mlflow_answers()
def download(version: Version, folder: Path) -> Path:
    """Put the version's package at `folder`, which is not there yet.

    Raises ModelError where it has none, or is not as it was registered.
    """
    uri = f"{version.uri}/{SERVED}"
    if not files_at(uri):
        raise ModelError(_no_package(version))
    with tempfile.TemporaryDirectory(dir=folder.parent) as fetched:
        package = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=fetched)
        check_tags(version, Path(package))
        shutil.move(package, folder)
    return folder


def set_tags(client: MlflowClient, version: Version, tags: Mapping[str, str]) -> None:
    with mlflow_answers():
        for tag, value in tags.items():
            upsert(client.set_model_version_tag, version.name, version.version, tag, value)


def load_as_mlflow_does(uri: str) -> None:
    """Load the version with its own loader, which runs that: check its hash before. Raises what it raises."""
    mlflow.pyfunc.load_model(uri)


def _no_alias(model: RegisteredModel, alias: str) -> str:
    there = [f"{held} (version {number})" for held, number in model.aliases.items()]
    first = f"`stepladder promote {model.name}` makes a version the champion"
    command = first if alias == CHAMPION else f"`stepladder show {model.name}/VERSION` takes a version too"
    near = did_you_mean(alias, model.aliases)
    return f"{model.name} has no version with the alias {alias!r}{near}: it has {_listed(there)}; {command}"


def _no_version(client: MlflowClient, name: str, number: str) -> str:
    found = client.search_model_versions(f"name = '{name}'")
    there = sorted((str(version.version) for version in found), key=int)
    return f"{name} has no version {number}: there is {_listed(there)}"


def _no_package(version: Version) -> str:
    return (
        f"version {version.version} of {version.name} has no package of Stepladder in it: expected "
        f"{SERVED}; its files are gone, or something else registered it. The run that made it can be "
        "registered again: `stepladder register RUN`"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more if names else "none"
