"""One version for one fingerprint, also where processes that share no lock have registered it at once.

MLflow cannot make a version on condition that there is none yet. So whoever has made one looks again: the
numbers of versions rise in the order in which they are made, so all find the same lowest one, and keep that.
"""

from __future__ import annotations

from collections import Counter

from mlflow import MlflowClient, MlflowException

from .faults import is_missing
from .package import FINGERPRINT
from .standing import read_standing
from .versions import Version, as_version, has_files, registered_model


def settle(client: MlflowClient, name: str, fingerprint: str) -> Version | None:
    """The lowest version of this fingerprint that has its files; the higher ones are deleted.

    One that has an alias, or has been champion, stays too. None where there is no version with files.
    """
    versions = _search(client, f"name = '{name}' and tags.`{FINGERPRINT}` = '{fingerprint}'")
    kept = next((version for version in versions if has_files(version)), None)
    if kept is None or kept == versions[-1]:
        return kept
    held = _held(client, name)
    for version in versions[versions.index(kept) + 1 :]:
        if version.version not in held:
            _delete(client, version)
    return kept


def settle_all(client: MlflowClient, name: str) -> None:
    """Settle every fingerprint that has more than one version: what killed processes have left."""
    counts = Counter(version.fingerprint for version in _search(client, f"name = '{name}'"))
    for fingerprint, versions in counts.items():
        if fingerprint and versions > 1:
            settle(client, name, fingerprint)


def _search(client: MlflowClient, condition: str) -> list[Version]:
    """In the order in which they were made."""
    found = [as_version(version) for version in client.search_model_versions(condition)]
    return sorted(found, key=lambda version: int(version.version))


def _held(client: MlflowClient, name: str) -> set[str | None]:
    aliased = {str(version) for version in registered_model(client, name).aliases.values()}
    return {*aliased, *read_standing(client, name).champions}


def _delete(client: MlflowClient, version: Version) -> None:
    try:
        client.delete_model_version(version.name, version.version)
    except MlflowException as error:
        if not is_missing(error):  # another process was quicker
            raise
