"""A version copied to another registered model: once for each fingerprint, as registering is."""

from __future__ import annotations

from mlflow import MlflowClient, MlflowException

from ..environment import home
from ..errors import ModelError
from ..files import file_lock
from .duplicates import settle
from .faults import mlflow_answers, upsert
from .tags import CHALLENGER, COPIED_FROM, of_the_version
from .versions import Version, as_version, has_files


@mlflow_answers()
def copy_version(client: MlflowClient, version: Version, to: str) -> Version:
    """The same version in the registered model `to`, where it is the challenger now.

    Both have the same files. What promotions and people said of it stays behind. Raises ModelError for a
    version without files, or one that no run of Stepladder made.
    """
    if not version.fingerprint or not has_files(version):
        raise ModelError(f"{version.uri} cannot be copied: it has no files, or no run of Stepladder made it")
    with file_lock(home() / "locks" / f"register-{to}"):
        copy = settle(client, to, version.fingerprint) or _copied(client, version, to)
        upsert(client.set_registered_model_alias, to, CHALLENGER, copy.version)
    return copy


def _copied(client: MlflowClient, version: Version, to: str) -> Version:
    """Made with its tags in one write; MLflow's own copying would bring verdict and approval along."""
    try:
        client.create_registered_model(to)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {**of_the_version(version.tags), COPIED_FROM: version.uri}
    run_id = version.run_id or None
    made = client.create_model_version(to, version.uri, run_id, tags, await_creation_for=None)
    return settle(client, to, version.fingerprint) or as_version(made)
