"""What the gates said of a version, written down where the version is: as tags, and as a file of its model.

The file is `promotion/<name>/<version>/verdict.json` among the files of the logged model behind the version.
A version that was copied to another registered model has the same files, so each keeps its verdict under its
own name. Where no logged model stands behind a version, the file is its run's; without a run, the tags are
all. A later verdict replaces an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient, MlflowException
from mlflow.entities.model_registry import ModelVersion

from ..evaluation.judging import Judgement
from .faults import is_missing, mlflow_answers
from .tags import GATE, TEST_SHA256, VERDICT, VERDICT_REASON
from .versions import as_version, set_tags

LONGEST_KEY, LONGEST_VALUE = 250, 5000
NOT_IN_A_KEY = re.compile(r"[^\w.\- :]")
MODEL_SOURCE = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+))?")


@dataclass(frozen=True, slots=True)
class Ruling:
    """All judgements on `version` of the registered model `name`, who was to be replaced, and on which rows.

    `at` is a time in UTC.
    """

    name: str
    version: str
    champion: str | None
    judgements: Sequence[Judgement]
    test_sha256: str
    at: str

    @property
    def passed(self) -> bool:
        return all(judgement.verdict.passed for judgement in self.judgements)

    @property
    def verdict(self) -> Literal["passed", "rejected"]:
        return "passed" if self.passed else "rejected"

    @property
    def reason(self) -> str:
        """What those said that refuse; where none does, how many there are."""
        refusing = [str(each) for each in self.judgements if not each.verdict.passed]
        return "; ".join(refusing) or f"passed: {len(self.judgements)} of {len(self.judgements)} gates"

    def __str__(self) -> str:
        """One line for each gate, below one on the whole."""
        stays = f"version {self.champion} stays champion" if self.champion else "there is no champion still"
        head = f"{self.name}: version {self.version} is not promoted, {stays}"
        if self.passed:
            head = f"{self.name}: version {self.version} may be promoted"
        return "\n".join([head, *(f"  - {judgement}" for judgement in self.judgements)])

    def to_json(self) -> dict[str, Any]:
        about = {"name": self.name, "version": self.version, "champion": self.champion, "at": self.at}
        said = {"verdict": self.verdict, "reason": self.reason, "test_sha256": self.test_sha256}
        return {**about, **said, "gates": [judgement.to_json() for judgement in self.judgements]}


def write_verdict(client: MlflowClient, ruling: Ruling, file: Path) -> None:
    """Write the ruling's tags and put `file` among the version's files; nothing of an earlier one is left."""
    tags = tags_of(ruling)
    with mlflow_answers():
        version = client.get_model_version(ruling.name, ruling.version)
        _log_file(client, version, file)
        for earlier in version.tags.keys() - tags.keys():
            if earlier.startswith(GATE):
                client.delete_model_version_tag(ruling.name, ruling.version, earlier)
    set_tags(client, as_version(version), tags)


def tags_of(ruling: Ruling) -> dict[str, str]:
    """Within MLflow's limits; the verdict comes last."""
    tags: dict[str, str] = {}
    for judgement in ruling.judgements:
        gate, verdict = f"{GATE}{judgement.gate}", judgement.verdict
        tags[_key(gate)] = f"{'passed' if verdict.passed else 'refused'}: {verdict.reason}"
        tags |= {_key(f"{gate}.{name}"): str(figure) for name, figure in verdict.figures.items()}
    tags |= {TEST_SHA256: ruling.test_sha256, VERDICT_REASON: ruling.reason, VERDICT: ruling.verdict}
    return {key: _shortened(value) for key, value in tags.items()}


def _log_file(client: MlflowClient, version: ModelVersion, file: Path) -> None:
    place = f"promotion/{version.name}/{version.version}"
    model_id = _logged_model(client, version.source)
    if model_id:
        client.log_model_artifact(model_id, str(file), place)
    elif version.run_id:
        client.log_artifact(version.run_id, str(file), place)


def _logged_model(client: MlflowClient, source: str) -> str | None:
    """The id of the logged model at a version's source; that of a copy is the version it was copied from."""
    found = MODEL_SOURCE.fullmatch(source)
    if found is None or found["version"] is None:
        return found and found["name"]
    try:
        return _logged_model(client, client.get_model_version(found["name"], found["version"]).source)
    except MlflowException as error:
        if not is_missing(error):
            raise
        return None


def _key(text: str) -> str:
    return NOT_IN_A_KEY.sub("_", text)[:LONGEST_KEY]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
