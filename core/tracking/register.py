"""The chosen candidate as a model version: once for each fingerprint, however often it is tried or raced."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient

from ..environment import home
from ..errors import StepError
from ..files import file_lock
from .client import connect
from .duplicates import settle
from .faults import mlflow_answers, upsert
from .package import Chosen, log_package
from .tags import CHALLENGER, REGISTRATION
from .versions import Version


@dataclass(frozen=True, slots=True)
class Registered:
    """A model version. `created` is False where it was there before."""

    name: str
    version: str
    alias: str
    created: bool


def register(chosen: Chosen) -> Registered:
    """Make the version unless it is there, and let the alias point at it. Raises StepError if it is empty."""
    name, token = chosen.name, secrets.token_hex(8)
    with mlflow_answers(), file_lock(home() / "locks" / f"register-{name}"):
        client = connect()
        version = settle(client, name, chosen.run["fingerprint"]) or _create(client, chosen, token)
        upsert(client.set_registered_model_alias, name, CHALLENGER, version.version)
    created = version.tags.get(REGISTRATION) == token
    return Registered(name, version.version, CHALLENGER, created)


def _create(client: MlflowClient, chosen: Chosen, token: str) -> Version:
    """Make a version; what is returned is the one that stays, if others have made one at the same time."""
    logged = log_package(chosen)
    tags = {**logged.tags, REGISTRATION: token}
    # Not waited for: MLflow would ask for a version that somebody else may have settled already.
    made = mlflow.register_model(logged.uri, chosen.name, await_registration_for=None, tags=tags)
    version = settle(client, chosen.name, chosen.run["fingerprint"])
    if version is None:
        client.delete_model_version(chosen.name, made.version)
        raise StepError(
            f"register: version {made.version} of {chosen.name} has no files; it was deleted again"
        )
    return version
